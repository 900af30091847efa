/* ceil.c - the smallest integer >= x; the gradient is 0. */
#include <math.h>

#include "ops/unary.h"

static void value(const float *x, float *y, int64_t n, const void *state) {
    (void)state;
    for (int64_t i = 0; i < n; i++) y[i] = ceilf(x[i]);
}

static void forward(struct op_node *n) { ot_unary_forward(n, value); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1.5,2.25,3} -> f{-1,3,3}",
    NULL,
};

const struct op ot_op_Ceil = {
    .name = "Ceil", .since = 6, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attributes = "", .needs = 0,
    .lanes = ot_unary_lanes, .prepare = ot_unary_prepare, .forward = forward,
    .backward = ot_unary_backward_zero, .cases = cases,
};
