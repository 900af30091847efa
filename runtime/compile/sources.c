/* sources.c - values that no node computes, as entries of a plan. */
#include "runtime/compile/lower.h"

/* A value that no node computes: input, parameter or constant. */
static ot_status source(struct plan *p, int v, ot_error *err) {
    const struct value *value = &p->graph->value[v];
    struct entry *e = ot_plan_entry(p, value->name);
    if (!e) return ot_plan_no_memory(err);
    int k = p->parameter_of[v];
    if (k >= 0) {
        const struct parameter *w = &p->model->parameter[k];
        e->t = w->t;
        e->t.data = NULL; /* a context has it */
        e->parameter = k;
        e->weight = true;
        e->wants = ot_plan_trains(p->request.kind) && ot_is_trained(w) &&
                   !(w->is_norm && p->request.bn == OT_BN_FROZEN);
    } else if (value->constant) {
        e->t = *value->constant;
        e->t.role = OT_ROLE_CONST;
    } else {
        return ot_fail(err, OT_ERROR_INVALID, "value '%s' is used before it is computed",
                       value->name);
    }
    e->t.half = ot_half_of(value->type);
    p->rows[v] = e;
    return OT_OK;
}

ot_status ot_lower_source(struct plan *p, int v, struct entry **e, ot_error *err) {
    if (!p->rows[v] && !p->lanes[v]) OT_TRY(source(p, v, err));
    *e = p->lanes[v] ? p->lanes[v] : p->rows[v];
    return OT_OK;
}
