/* profile.h - clocks around the steps of a plan. Off, they cost a branch a run. */
#ifndef OT_RUN_PROFILE_H
#define OT_RUN_PROFILE_H

#include "runtime/base/clock.h"
#include "runtime/compile/plan.h"

/* The most inputs of a product: data, weight, bias, and room for what is fused into it. */
enum { OT_PRODUCT_INPUTS = 8 };

struct profile {
    bool on;
    struct timing optimizer;
};

void ot_timing_add(struct timing *t, double start);

/* Whether a step is the backward pass of a product with a weight whose gradient is wanted. */
bool ot_step_weight(const struct step *step);

#endif
