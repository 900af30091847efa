/* read.c - recognises an algorithm: every binding has to be understood. */
#include "runtime/info/training.h"

#include <string.h>

#include "runtime/model/gradient_fault.h"

/* ---- what Gradient differentiates ---- */

static ot_status read_loss(struct reader *r) {
    int y;
    const char *fault = ot_gradient_fault(r->g, &r->g->node[r->gradient], &y);
    return fault ? ot_training_refuse(r, r->gradient, fault) : ot_training_read_loss(r, y);
}

/* ---- statistics, which forward updates ---- */

static bool is_own_statistic(const struct graph *g, const struct node *n, int key, int from) {
    const struct op *op = ot_op_of(n);
    struct match m;
    if (ot_training_match(g, "Identity(x)", from, &m)) from = m.value[0];
    for (int i = 0; op && op->statistics && i < n->n_in; i++)
        for (int j = 1; j < n->n_out; j++)
            if (n->in[i] == key && n->out[j] == from) return i == j + 2; /* mean 3, 1; var 4, 2 */
    return false;
}

static ot_status read_statistic(struct reader *r, const struct binding *b) {
    for (int k = 0; k < r->g->n_nodes; k++)
        if (is_own_statistic(r->g, &r->g->node[k], b->key, b->from)) return OT_OK;
    return ot_fail(r->err, OT_ERROR_UNSUPPORTED,
                   "training_info: running statistic '%.80s' is updated with '%.80s', which is not "
                   "its own value",
                   r->g->value[b->key].name, r->g->value[b->from].name);
}

/* Where BatchNormalization trains, its statistics move, and have to be kept. */
static ot_status check_statistics(struct reader *r) {
    if (r->s->bn != OT_BN_AUTO) return OT_OK;
    for (int k = 0; k < r->g->n_nodes; k++) {
        const struct node *n = &r->g->node[k];
        const struct op *op = ot_op_of(n);
        if (!op || !op->statistics || !ot_node_trains(n)) continue;
        for (int i = 3; i < n->n_in && i < 5; i++)
            if (n->in[i] >= 0 && r->bound[n->in[i]] < 0)
                return ot_training_refuse(
                    r, k, "it is in training form, but its running statistics are not updated");
    }
    return OT_OK;
}

/* ---- bindings ---- */

static ot_status read_binding(struct reader *r, const struct binding *b) {
    const int i = r->s->model->parameter_of[b->key], k = r->g->value[b->from].producer;
    if (i < 0) return OT_OK; /* of a rule, it is hoped */
    r->understood[b - r->g->algorithm->binding] = true;
    if (r->s->model->parameter[i].is_statistic) return read_statistic(r, b);
    r->t->trains[i] = true;
    if (k >= r->g->n_nodes) return ot_training_read_rule(r, i, k, b->from);
    return ot_fail(r->err, OT_ERROR_UNSUPPORTED,
                   "training_info: weight '%.80s' is updated with '%.80s', which the algorithm "
                   "does not compute",
                   r->g->value[b->key].name, r->g->value[b->from].name);
}

static ot_status check_understood(const struct reader *r) {
    const struct algorithm *a = r->g->algorithm;
    for (int b = 0; b < a->n_bindings; b++)
        if (!r->understood[b])
            return ot_fail(r->err, OT_ERROR_UNSUPPORTED,
                           "training_info: '%.80s' is updated with '%.80s', but is neither a "
                           "weight nor state of the optimizer",
                           r->g->value[a->binding[b].key].name,
                           r->g->value[a->binding[b].from].name);
    return OT_OK;
}

static ot_status read_all(struct reader *r) {
    const struct algorithm *a = r->g->algorithm;
    for (int v = 0; v < r->g->n_values; v++) r->bound[v] = -1;
    for (int b = 0; b < a->n_bindings; b++) r->bound[a->binding[b].key] = b;
    for (int b = 0; b < a->n_bindings; b++) OT_TRY(read_binding(r, &a->binding[b]));
    if (!r->has_rule)
        return ot_fail(r->err, OT_ERROR_UNSUPPORTED, "training_info updates no weight");
    OT_TRY(check_understood(r));
    OT_TRY(check_statistics(r));
    return read_loss(r);
}

ot_status ot_training_recognise(const struct recipe *s, const struct training **training,
                                ot_error *err) {
    struct arena *arena = &s->model->graph->arena;
    const size_t n = (size_t)s->model->n_parameters;
    struct reader r = {.s = s, .g = s->model->graph, .gradient = -1, .err = err};
    r.t = ot_arena_alloc(arena, 1, sizeof *r.t);
    r.bound = ot_block_alloc(&s->model->allocator, (size_t)r.g->n_values, sizeof *r.bound);
    r.understood =
        ot_block_alloc(&s->model->allocator, (size_t)r.g->algorithm->n_bindings, sizeof(bool));
    if (r.t) r.t->trains = ot_arena_alloc(arena, n, sizeof *r.t->trains);
    if (r.t) r.t->moment = ot_arena_alloc(arena, n * OT_OPTIMIZER_MOMENTS, sizeof *r.t->moment);
    ot_status status = OT_OK;
    if (!r.t || !r.bound || !r.understood || !r.t->trains || !r.t->moment)
        status = ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for training_info");
    if (!status) status = read_all(&r);
    for (size_t i = 0; !status && i < n; i++)
        if (!r.t->trains[i] && ot_is_trained(&s->model->parameter[i]))
            s->model->parameter[i].fixed = OT_FIXED_FROZEN;
    if (!status) *training = r.t;
    ot_block_free(&s->model->allocator, r.bound);
    ot_block_free(&s->model->allocator, r.understood);
    return status;
}
