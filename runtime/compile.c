/* compile.c - makes a plan: the list of its stages. */
#include "runtime/session.h"

static ot_status find_trained(struct plan *p, ot_error *err) {
    const int n = p->session->n_parameters;
    p->trains = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->trains);
    if (!p->trains) return ot_plan_no_memory(err);
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_ACCUMULATE) p->trains[p->step[s].a->parameter] = true;
    for (int i = 0; i < p->n_nodes; i++) p->mixes |= p->node[i]->n.mixes;
    return OT_OK;
}

/* Nodes that run have work memory; constants have done without since they were folded. */
static ot_status open_nodes(struct plan *p, ot_error *err) {
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_FORWARD)
            OT_TRY(ot_op_open(p->step[s].node, &p->arena, err));
    return OT_OK;
}

/* The budget is the memory limit: where it is too small, that is what has to be said. */
static ot_status blame_limit(const struct plan *p, ot_status status, ot_error *err) {
    if (status != OT_ERROR_NO_MEMORY || !p->arena.refused) return status;
    return ot_fail(err, OT_ERROR_LIMIT,
                   "the plan of the step needs more than %zu bytes, the memory limit is %zu bytes",
                   p->arena.used + p->arena.refused, p->arena.budget);
}

ot_status ot_plan_new(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                      bool frugal, struct plan **plan, ot_error *err) {
    struct plan *p = ot_block_alloc(&s->allocator, 1, sizeof *p);
    if (!p) return ot_plan_no_memory(err);
    p->session = s;
    p->kind = kind;
    p->frugal = frugal;
    ot_arena_init(&p->arena, &s->allocator, (size_t)s->options.limits.memory_bytes);
    p->graph = s->graph;
    p->parameter_of = s->parameter_of;
    ot_status status = ot_plan_take_inputs(p, inputs, n, err);
    if (!status) status = ot_unroll(p, err);
    if (!status) status = ot_lower(p, err);
    if (!status) status = ot_join(p, err);
    if (!status) status = ot_differentiate(p, err);
    if (!status) status = find_trained(p, err);
    if (!status && ot_plan_trains(kind) && kind != OT_PLAN_MEASURE)
        status = ot_recompute(p, frugal, err);
    if (!status) status = open_nodes(p, err);
    if (!status) status = ot_plan_memory(p, err);
    if (status) {
        status = blame_limit(p, status, err);
        ot_plan_free(p);
        return status;
    }
    *plan = p;
    return OT_OK;
}
