/* masked_find.c - finds nodes that mask a weight: evaluates what may be a mask. */
#include <stdlib.h>

#include "ops/op.h"
#include "runtime/compile/masked_parts.h"

/* ---- what a node does with elements of a weight ---- */

/* Does it only move elements of its first input, and know beforehand where to? */
static bool is_mover(const struct graph *g, const struct node *node) {
    const struct op *op = ot_op_of(node);
    if (!op || op->moves != OT_X(0)) return false;
    for (int i = 1; i < node->n_in; i++)
        if (node->in[i] >= 0 && !g->value[node->in[i]].constant) return false;
    return true;
}

static bool rounds(const struct node *node) {
    return ot_masked_is(node, "QuantizeLinear") || ot_masked_is(node, "DequantizeLinear");
}

bool ot_masked_passes(const struct graph *g, const struct node *node) {
    return is_mover(g, node) || rounds(node);
}

int ot_masked_origin(const struct masks *m, const struct node *node, int i) {
    const int v = i < node->n_in ? node->in[i] : -1;
    if (v < 0) return -1;
    const struct tensor *t = m->g->value[v].constant;
    if (!t) return m->origin[v];
    if (t->rank < 2 || t->pattern || ot_elements(t) > INT32_MAX || !ot_elements(t)) return -1;
    if (t->type == OT_FLOAT) return v;
    return i == 0 && m->uses[v] == 1 && ot_is_integer_weight(m->g, node) ? v : -1;
}

/* ---- where elements have gone ---- */

static int by_node(const void *k, const void *masking) {
    return *(const int *)k - ((const struct masking *)masking)->node;
}

/* The nodes between a weight and value v, the last one first. */
static int way_of(const struct masks *m, int v, int *way, int most) {
    int n = 0;
    while (!m->g->value[v].constant) {
        const int k = m->g->value[v].producer;
        if (n == most) return -1;
        way[n++] = k;
        const struct masking *masking =
            m->n ? bsearch(&k, m->list, (size_t)m->n, sizeof *m->list, by_node) : NULL;
        v = m->g->node[k].in[masking ? masking->input : 0];
    }
    return n;
}

static bool move_numbers(struct const_work *e, const struct masks *m, int k, int v,
                         struct tensor *t) {
    const struct node *node = &m->g->node[k];
    struct tensor *x[OT_CONST_MOST] = {t}, *y[OT_CONST_MOST], out[OT_CONST_MOST];
    if (!is_mover(m->g, node)) return true;
    if (node->n_in > OT_CONST_MOST || node->n_out > OT_CONST_MOST) return false;
    for (int i = 1; i < node->n_in; i++)
        x[i] = node->in[i] < 0 ? NULL : m->g->value[node->in[i]].constant;
    for (int j = 0; j < node->n_out; j++) {
        out[j] = (struct tensor){.role = OT_ROLE_CONST};
        y[j] = node->out[j] < 0 ? NULL : &out[j];
    }
    if (!ot_const_run(e, k, x, y)) return false;
    for (int j = 0; j < node->n_out; j++)
        if (node->out[j] == v || node->n_out == 1) *t = out[j];
    return true;
}

/* *t: the shape of v, and in its data the number of the element of its origin that each element is;
 * no data where nothing has moved. */
static bool numbers_of(struct const_work *e, const struct masks *m, int v, int root,
                       struct tensor *t) {
    int way[OT_CONST_MOST];
    const int n = way_of(m, v, way, OT_CONST_MOST);
    *t = *m->g->value[root].constant;
    t->role = OT_ROLE_CONST;
    t->type = OT_INT32;
    t->data = NULL;
    if (n < 0 || !m->turned[v]) return n >= 0;
    const int64_t count = ot_elements(t);
    int *number = t->data = ot_arena_alloc(&e->arena, (size_t)count, sizeof *number);
    for (int64_t i = 0; number && i < count; i++) number[i] = (int)i;
    bool good = number != NULL;
    for (int i = n - 1; good && i >= 0; i--) {
        const int next = i ? m->g->node[way[i - 1]].in[0] : v;
        good = move_numbers(e, m, way[i], next, t);
    }
    return good;
}

/* ---- is it a mask? ---- */

static bool is_zero(const struct tensor *t) {
    for (int64_t i = 0, n = ot_elements(t); i < n; i++)
        if (t->type != OT_FLOAT || ot_f(t)[i] != 0) return false;
    return true;
}

/* What the node takes beside the weight, where it is known and, of a Where, zero. */
static bool find_others(struct const_work *e, const struct masks *m, struct masking *k,
                        struct tensor other[3]) {
    const struct node *node = &m->g->node[k->node];
    for (int i = 0; i < node->n_in; i++) {
        if (i == k->input) continue;
        const struct tensor *t =
            node->in[i] < 0 ? NULL : ot_const_value(e, node->in[i], k->made, &k->n_made);
        if (!t || (i > 0 && node->n_in == 3 && !is_zero(t))) return false;
        other[i] = *t;
        other[i].role = OT_ROLE_CONST;
    }
    return true;
}

/* What the node makes of ones in place of the weight: the mask. NULL: not a mask. */
static const float *let_through(struct const_work *e, const struct masking *k,
                                const struct tensor *shape, struct tensor other[3]) {
    struct tensor made = {.role = OT_ROLE_CONST};
    struct tensor *x[3] = {&other[0], &other[1], &other[2]}, *y = &made;
    const int64_t count = ot_elements(shape);
    float *one = ot_arena_alloc(&e->arena, (size_t)count, sizeof *one);
    if (!one) return NULL;
    for (int64_t i = 0; i < count; i++) one[i] = 1;
    other[k->input] = *shape;
    other[k->input].type = OT_FLOAT;
    other[k->input].data = one;
    if (!ot_const_run(e, k->node, x, &y)) return NULL;
    if (made.type != OT_FLOAT || !ot_same_shape(&made, shape)) return NULL;
    for (int64_t i = 0; i < count; i++)
        if (ot_f(&made)[i] != 0 && ot_f(&made)[i] != 1) return NULL;
    return ot_f(&made);
}

/* The largest constant that the mask is made of gives it its name. */
static void name_mask(const struct masks *m, struct masking *k) {
    const struct node *node = &m->g->node[k->node];
    k->named = -1;
    for (int l = -1; l < k->n_made; l++) {
        const struct node *of = l < 0 ? node : &m->g->node[k->made[l]];
        for (int i = 0; i < of->n_in; i++) {
            const int v = of->in[i];
            if (v < 0 || !m->g->value[v].constant || (l < 0 && i == k->input)) continue;
            if (k->named < 0 ||
                ot_elements(m->g->value[v].constant) > ot_elements(m->g->value[k->named].constant))
                k->named = v;
        }
    }
}

/* Where all is open, or all closed, a trained scale may look the same. */
static bool is_certain(const struct masks *m, const struct masking *k, int64_t ones) {
    const struct value *v = k->named < 0 ? NULL : &m->g->value[k->named];
    if (!v || v->note == OT_NOTE_PARAMETER) return false;
    return (ones && ones < k->count) || v->note == OT_NOTE_FIXED || v->constant->type != OT_FLOAT ||
           ot_elements(v->constant) == k->count;
}

static bool is_masking(struct const_work *e, struct masks *m, struct masking *k,
                       ot_status *status) {
    struct tensor t, other[3];
    if (!find_others(e, m, k, other)) return false;
    k->count = ot_elements(m->g->value[k->root].constant);
    if (!numbers_of(e, m, m->g->node[k->node].in[k->input], k->root, &t)) return false;
    const float *through = let_through(e, k, &t, other);
    if (!through) return false;
    k->count = ot_elements(&t);
    uint8_t *lets = ot_arena_alloc(&m->arena, ot_bit_bytes(k->count), 1);
    int *number = t.data ? ot_arena_alloc(&m->arena, (size_t)k->count, sizeof *number) : NULL;
    if (!lets || (t.data && !number)) *status = OT_ERROR_NO_MEMORY;
    if (*status) return false;
    int64_t ones = 0;
    for (int64_t i = 0; i < k->count; i++) {
        if (through[i] != 0) ot_set_bit(lets, i);
        ones += through[i] != 0;
    }
    if (number) memcpy(number, t.data, (size_t)k->count * sizeof *number);
    k->lets = lets;
    k->number = number;
    name_mask(m, k);
    return is_certain(m, k, ones);
}

/* Tries input i of node k as the weight, the others as the mask. */
static bool try_input(struct masks *m, int k, int i, ot_status *status) {
    struct masking found = {.node = k, .input = i};
    struct const_work e;
    found.root = ot_masked_origin(m, &m->g->node[k], i);
    if (found.root < 0 || m->n == m->room) return false;
    const int64_t count = ot_elements(m->g->value[found.root].constant);
    if (count > m->budget) return false;
    ot_const_begin(&e, m->compiler, m->kernels, ((size_t)1 << 20) + 64 * (size_t)count);
    const bool is = is_masking(&e, m, &found, status);
    m->budget -= (found.count ? count : 0) + (int64_t)(e.arena.used / sizeof(float));
    ot_const_end(&e);
    if (is) m->list[m->n++] = found;
    return is;
}

/* Of two constants, the second is tried as the mask first, lest a file says which is a parameter.
 */
static bool try_node(struct masks *m, int k, ot_status *status) {
    const struct node *node = &m->g->node[k];
    const bool selects = ot_masked_is(node, "Where") && node->n_in == 3;
    if (node->n_out != 1 || node->out[0] < 0) return false;
    if (!selects && !(ot_masked_is(node, "Mul") && node->n_in == 2)) return false;
    const int first = selects ? 1 : 0, second = first + 1;
    const bool other =
        node->in[second] >= 0 && m->g->value[node->in[second]].note == OT_NOTE_PARAMETER;
    return try_input(m, k, other ? second : first, status) ||
           (!*status && try_input(m, k, other ? first : second, status));
}

/* ---- the first pass ---- */

static ot_status find_all(struct masks *m, ot_error *err) {
    struct graph *g = m->g;
    ot_status status = OT_OK;
    for (int k = 0; k < g->n_nodes; k++) {
        const struct node *node = &g->node[k];
        const bool moves = is_mover(g, node);
        const bool masks = !moves && !rounds(node) && try_node(m, k, &status);
        if (status) return ot_masked_no_memory(err);
        if (!moves && !masks && !rounds(node)) continue;
        const int i = masks ? m->list[m->n - 1].input : 0;
        for (int j = 0; j < node->n_out; j++) {
            if (node->out[j] < 0) continue;
            m->origin[node->out[j]] = ot_masked_origin(m, node, i);
            m->turned[node->out[j]] = (moves && !ot_masked_is(node, "Identity")) ||
                                      (node->in[i] >= 0 && m->turned[node->in[i]]);
        }
    }
    return OT_OK;
}

/* A tensor that somebody else takes, too, may be trained there. */
static ot_status check_shared(struct masks *m, ot_error *err) {
    struct graph *g = m->g;
    bool *makes = ot_arena_alloc(&m->arena, (size_t)g->n_nodes, sizeof *makes);
    int *inside = ot_arena_alloc(&m->arena, (size_t)g->n_values, sizeof *inside);
    if (!makes || !inside) return ot_masked_no_memory(err);
    for (int l = 0; l < m->n; l++)
        for (int i = 0; i < m->list[l].n_made; i++) makes[m->list[l].made[i]] = true;
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; makes[k] && i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) inside[g->node[k].in[i]]++;
    for (int l = 0; l < m->n; l++) {
        const struct node *node = &g->node[m->list[l].node];
        for (int i = 0; i < node->n_in; i++)
            if (i != m->list[l].input && !makes[m->list[l].node]) inside[node->in[i]]++;
    }
    for (int b = 0; g->algorithm && b < g->algorithm->n_bindings; b++)
        inside[g->algorithm->binding[b].key] = -1;
    for (int l = 0; l < m->n; l++) {
        struct masking *k = &m->list[l];
        const struct value *v = &g->value[k->named];
        k->wrong = v->constant->type == OT_FLOAT && ot_elements(v->constant) > 1 &&
                   inside[k->named] != m->uses[k->named];
        if (!k->wrong) g->value[k->named].is_mask = true;
    }
    return OT_OK;
}

ot_status ot_masked_find(struct masks *m, ot_error *err) {
    OT_TRY(find_all(m, err));
    return m->n ? check_shared(m, err) : OT_OK;
}
