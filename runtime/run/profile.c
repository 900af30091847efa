/* profile.c - the clocks of a profile. */
#include "runtime/run/profile.h"

void ot_timing_add(struct timing *t, double start) {
    t->seconds += ot_clock() - start;
    t->calls++;
}

bool ot_step_weight(const struct step *step) {
    const struct op_node *n = step->node;
    return step->kind == OT_STEP_BACKWARD && n->flops > 0 && n->n_in >= 2 &&
           n->n_in <= OT_PRODUCT_INPUTS && n->dx[1] && ot_entry(n->x[1])->weight &&
           n->x[1]->rank >= 2;
}
