/* compile.c - makes a plan: the list of its stages. */
#include "runtime/compile/plan.h"

static ot_status find_trained(struct plan *p, ot_error *err) {
    const int n = p->model->n_parameters;
    p->trains = ot_arena_alloc(&p->arena, (size_t)n, sizeof *p->trains);
    if (!p->trains) return ot_plan_no_memory(err);
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_ACCUMULATE) p->trains[p->step[s].a->parameter] = true;
    for (int i = 0; i < p->n_nodes; i++) p->mixes |= p->node[i]->n.mixes;
    return OT_OK;
}

/* The budget is the memory limit: where it is too small, that is what has to be said. */
static ot_status blame_limit(const struct plan *p, ot_status status, ot_error *err) {
    if (status != OT_ERROR_NO_MEMORY || !p->arena.refused) return status;
    return ot_fail(
        err, OT_ERROR_LIMIT,
        "the plan of the step needs more than %zu bytes, but the memory limit is %zu bytes",
        p->arena.used + p->arena.refused, p->arena.budget);
}

static ot_status compile(struct plan *p, ot_error *err) {
    const enum plan_kind kind = p->request.kind;
    const int parameters = p->model->n_parameters;
    p->seen = ot_arena_alloc(&p->arena, (size_t)parameters, sizeof *p->seen);
    p->slots = ot_arena_alloc(&p->arena, (size_t)parameters, sizeof *p->slots);
    if (!p->seen || !p->slots) return ot_plan_no_memory(err);
    for (int k = 0; k < parameters; k++) p->slots[k] = ot_plan_slots(&p->model->parameter[k]);
    OT_TRY(ot_plan_take_inputs(p, err));
    OT_TRY(ot_unroll(p, err));
    OT_TRY(ot_lower(p, err));
    OT_TRY(ot_join(p, err));
    OT_TRY(ot_differentiate(p, err));
    OT_TRY(find_trained(p, err));
    if (ot_plan_trains(kind) && kind != OT_PLAN_MEASURE) OT_TRY(ot_recompute(p, err));
    return ot_plan_memory(p, err);
}

/* From here on nothing changes: contexts may share the plan. */
static void finish_plan(struct plan *p) {
    for (int i = 0; i < p->n_nodes; i++) {
        p->node[i]->number = i;
        p->node[i]->n.pool = NULL;
        p->node[i]->n.arena = NULL;
    }
    p->compiler = (struct compiler){0};
}

ot_status ot_plan_new(const struct compiler *c, const struct request *r, struct plan **plan,
                      ot_error *err) {
    struct plan *p = ot_plan_alloc(c, r);
    if (!p) return ot_plan_no_memory(err);
    ot_status status = compile(p, err);
    if (status) {
        status = blame_limit(p, status, err);
        ot_plan_unref(p);
        return status;
    }
    finish_plan(p);
    *plan = p;
    return OT_OK;
}
