/* probe.c - steps that tell gradients outside the masks of weights, where the request asks for
 * them. Such a step stands before the backward step of the node that multiplies with the weight,
 * which may write over x and dy; a run that nobody asks leaves it out. */
#include "runtime/compile/plan.h"

#include <math.h>

/* The request for this weight, or NULL. */
static const struct probe_request *find(const struct plan *p, const struct tensor *weight) {
    const int parameter = ot_entry((struct tensor *)weight)->parameter;
    for (int i = 0; parameter >= 0 && i < p->request.n_probes; i++)
        if (p->request.probe[i].parameter == parameter) return &p->request.probe[i];
    return NULL;
}

ot_status ot_plan_probe(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    const int i = ot_op_probed_input(n);
    const bool weighs = n->n_in > i && n->x[i] && n->dy[0] && ot_training_wants(n, i);
    const struct probe_request *r = weighs ? find(p, n->x[i]) : NULL;
    if (!r) return OT_OK;
    OT_TRY(ot_op_prepare_probe(n, r->slots, err));
    if (n->probe_scratch_size && (pn->probe_scratch = ot_plan_buffer(p, n->probe_scratch_size)) < 0)
        return ot_plan_no_memory(err);
    return ot_plan_step(p, (struct step){.kind = OT_STEP_PROBE, .node = n, .a = ot_entry(n->x[i])},
                        err);
}

static int count_steps(const struct plan *p, int parameter) {
    int n = 0;
    for (int s = 0; s < p->n_steps; s++)
        n += p->step[s].kind == OT_STEP_PROBE && p->step[s].a->parameter == parameter;
    return n;
}

/* Gradients at all positions come one after the other, and are not kept: those of several nodes do
 * not add up. */
ot_status ot_plan_check_probes(const struct plan *p, ot_error *err) {
    for (int i = 0; i < p->request.n_probes; i++) {
        const struct probe_request *r = &p->request.probe[i];
        const int n = count_steps(p, r->parameter);
        if (n == 1 || (n && r->slots)) continue;
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "weight '%s': gradients outside its mask are not available: %d operators "
                       "multiply with its nonzeros, expected one",
                       p->model->parameter[r->parameter].name, n);
    }
    return OT_OK;
}

double ot_plan_probe_share(const struct plan *p) {
    const struct plan *whole = p->part[0] ? p->part[0] : p;
    double probes = 0, steps = 0;
    for (int s = 0; s < whole->n_steps; s++) {
        const struct step *step = &whole->step[s];
        if (step->kind == OT_STEP_PROBE) probes += step->node->probe_predicted;
        if (step->kind == OT_STEP_FORWARD) steps += step->node->predicted[0];
        if (step->kind == OT_STEP_BACKWARD) steps += step->node->predicted[1];
    }
    return steps > 0 ? probes / steps : 0;
}

int64_t ot_plan_probe_interval(const struct plan *p, int64_t least, double share) {
    const double steps = ceil(ot_plan_probe_share(p) / share);
    return steps > (double)least ? (int64_t)steps : least;
}
