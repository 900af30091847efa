/* exp.c - y = exp(x). */
#include "ops/walk/unary.h"

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    (void)plan;
    (void)x;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * y[i];
}

static void forward(struct op_node *n) {
    ot_unary_forward_kernel(n, OT_EXP, (struct params){0, 0});
}
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{0,1} -> f{1,2.7182818}",
    NULL,
};

const struct op ot_op_Exp = {
    .name = "Exp",
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
