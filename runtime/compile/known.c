/* known.c - shapes, and values that no data decide, of a graph that grows. */
#include "runtime/compile/known.h"

#include <string.h>

#include "runtime/compile/lower.h"

ot_status ot_known_open(struct known *k, const struct plan *p, const struct graph *g,
                        ot_error *err) {
    struct request r = p->request;
    r.kind = OT_PLAN_RUN;
    *k = (struct known){.g = g};
    struct plan *q = k->plan = ot_plan_alloc(&p->compiler, &r);
    if (!q) return ot_plan_no_memory(err);
    q->batch_from = p->batch_from;
    q->batch_to = p->batch_to;
    q->input_entry = p->input_entry;
    return OT_OK;
}

void ot_known_close(struct known *k) {
    ot_plan_unref(k->plan);
    k->plan = NULL;
}

/* The array of n elements with room for `room`, zeros behind. */
static void *grow_array(struct known *k, const void *array, int n, int room, size_t size) {
    void *more = ot_arena_alloc(&k->plan->arena, (size_t)room, size);
    if (more && n) memcpy(more, array, (size_t)n * size);
    return more;
}

static ot_status push_value(struct known *k, int v, ot_error *err) {
    if (k->n_pending == k->room) {
        const int room = k->room ? 2 * k->room : 256;
        int *more = grow_array(k, k->pending, k->n_pending, room, sizeof *more);
        if (!more) return ot_plan_no_memory(err);
        k->pending = more;
        k->room = room;
    }
    k->pending[k->n_pending++] = v;
    return OT_OK;
}

/* An input, a constant, or a weight, whose contents nobody may rely on. */
static ot_status take_source(struct known *k, int v, ot_error *err) {
    struct plan *q = k->plan;
    const struct value *value = &k->g->value[v];
    struct entry *e = ot_plan_entry(q, value->name);
    if (!e) return ot_plan_no_memory(err);
    for (int i = 0; i < q->request.n_inputs; i++)
        if (k->g->input[i] == v) e->t = q->input_entry[i]->t;
    if (value->constant) {
        const bool weight = v < q->model->graph->n_values && q->parameter_of[v] >= 0;
        e->t = *value->constant;
        e->t.role = weight || e->t.pattern ? OT_ROLE_INPUT : OT_ROLE_CONST;
        if (e->t.role == OT_ROLE_INPUT) e->t.data = NULL;
        e->t.pattern = NULL;
    } else if (!e->t.type) {
        return ot_fail(err, OT_ERROR_INVALID, "value '%s' is used before it is computed",
                       value->name);
    }
    q->rows[v] = e;
    return OT_OK;
}

static ot_status take_node(struct known *k, int number, ot_error *err) {
    struct plan *q = k->plan;
    const struct node *node = &k->g->node[number];
    const struct op *op = ot_op_of(node);
    struct plan_node *pn = op ? ot_node_new(q, &q->arena, op, node, number) : NULL;
    if (!pn) return ot_plan_no_memory(err);
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] >= 0) pn->n.x[i] = &q->rows[node->in[i]]->t;
    for (int j = 0; j < node->n_out; j++) {
        if (node->out[j] < 0) continue;
        struct entry *y = ot_plan_entry(q, k->g->value[node->out[j]].name);
        if (!y) return ot_plan_no_memory(err);
        pn->n.y[j] = &y->t;
        q->rows[node->out[j]] = y;
    }
    return ot_node_finish(q, pn, err);
}

/* Takes the value on top, or asks for what it is made of. */
static ot_status work(struct known *k, ot_error *err) {
    const int v = k->pending[k->n_pending - 1], producer = k->g->value[v].producer;
    const int before = k->n_pending;
    if (k->plan->rows[v]) {
        k->n_pending--;
        return OT_OK;
    }
    if (producer < 0) return take_source(k, v, err);
    const struct node *node = &k->g->node[producer];
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] >= 0 && !k->plan->rows[node->in[i]])
            OT_TRY(push_value(k, node->in[i], err));
    return k->n_pending == before ? take_node(k, producer, err) : OT_OK;
}

ot_status ot_known_look(struct known *k, int v, const struct tensor **t, ot_error *err) {
    if (k->n_rows < k->g->n_values) {
        const int room = k->g->n_values + k->g->n_values / 2;
        struct entry **more = grow_array(k, k->plan->rows, k->n_rows, room, sizeof *more);
        if (!more) return ot_plan_no_memory(err);
        k->plan->rows = more;
        k->n_rows = room;
    }
    k->n_pending = 0;
    OT_TRY(push_value(k, v, err));
    while (k->n_pending) OT_TRY(work(k, err));
    *t = &k->plan->rows[v]->t;
    return OT_OK;
}

ot_status ot_known_number(struct known *k, int v, int64_t *number, bool *is_known, ot_error *err) {
    const struct tensor *t;
    OT_TRY(ot_known_look(k, v, &t, err));
    *is_known = t->role == OT_ROLE_CONST;
    if (!*is_known) return OT_OK;
    if (ot_elements(t) != 1)
        return ot_fail(err, OT_ERROR_INVALID, "value '%.80s' has %lld elements, expected one",
                       k->g->value[v].name, (long long)ot_elements(t));
    switch (t->type) {
    case OT_INT64: *number = *(const int64_t *)t->data; return OT_OK;
    case OT_INT32: *number = *(const int32_t *)t->data; return OT_OK;
    case OT_BOOL: *number = *(const uint8_t *)t->data != 0; return OT_OK;
    default:
        return ot_fail(err, OT_ERROR_INVALID,
                       "value '%.80s' is %s, expected an integer or a boolean", k->g->value[v].name,
                       ot_type_name(t->type));
    }
}
