/* sigmoid.c - y = 1 / (1 + exp(-x)). */
#include "ops/walk/unary.h"

static void forward(struct op_node *n) {
    ot_unary_forward_kernel(n, OT_SIGMOID, (struct params){0, 0});
}
static void backward(struct op_node *n) {
    ot_unary_backward_kernel(n, OT_FROM_SIGMOID, (struct params){0, 0});
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{0,100,-100,1} -> f{0.5,1,0,0.7310586}",
    NULL,
};

const struct op ot_op_Sigmoid = {
    .name = "Sigmoid",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_Y(0),
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
