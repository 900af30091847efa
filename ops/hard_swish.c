/* hard_swish.c - y = x max(0, min(1, x / 6 + 1 / 2)). */
#include "ops/walk/unary.h"

static void forward(struct op_node *n) {
    ot_unary_forward_kernel(n, OT_HARD_SWISH, (struct params){0, 0});
}
static void backward(struct op_node *n) {
    ot_unary_backward_kernel(n, OT_HARD_SWISH, (struct params){0, 0});
}

static const char *const cases[] = {
    "X[2,3,5] lanes range=-5,5 -> Y[2,3,5]",
    "f{-4,0,1,5} -> f{0,0,0.6666667,5}",
    "f{-4,-3,0,3,4}:x -> f{0,0,0,3,4} d0=f{0,0,0.5,1,1}",
    NULL,
};

const struct op ot_op_HardSwish = {
    .name = "HardSwish",
    .since = 14,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0),
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
