/* tanh.c - y = tanh(x). */
#include "ops/walk/unary.h"

static void forward(struct op_node *n) {
    ot_unary_forward_kernel(n, OT_TANH, (struct params){0, 0});
}
static void backward(struct op_node *n) {
    ot_unary_backward_kernel(n, OT_FROM_TANH, (struct params){0, 0});
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{0,1,-50} -> f{0,0.7615942,-1}",
    NULL,
};

const struct op ot_op_Tanh = {
    .name = "Tanh",
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
