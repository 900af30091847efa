/* hard_sigmoid.c - y = max(0, min(1, alpha x + beta)). */
#include "ops/walk/unary.h"

struct hard_sigmoid_plan {
    float alpha, beta;
};

static float clamp(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

static void value(const float *x, float *y, int64_t n, const void *plan) {
    const struct hard_sigmoid_plan p = *(const struct hard_sigmoid_plan *)plan;
    for (int64_t i = 0; i < n; i++) y[i] = clamp(p.alpha * x[i] + p.beta);
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    const struct hard_sigmoid_plan p = *(const struct hard_sigmoid_plan *)plan;
    (void)x;
    for (int64_t i = 0; i < n; i++) dx[i] = ot_pass((y[i] > 0) & (y[i] < 1), p.alpha * dy[i]);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct hard_sigmoid_plan *plan = ot_op_plan(n);
    plan->alpha = ot_attr_float(n->node, "alpha", 0.2f);
    plan->beta = ot_attr_float(n->node, "beta", 0.5f);
    return ot_unary_prepare(n, err);
}

static void forward(struct op_node *n) { ot_unary_forward(n, value); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes range=-4,4 alpha=0.4 beta=0.5 -> Y[2,3,5]",
    "f{-10,0,1,10} -> f{0,0.5,0.7,1}",
    "f{-4,-3,0,3,4}:x alpha=0.16666667 -> f{0,0,0.5,1,1} d0=f{0,0,0.1666667,0,0}",
    NULL,
};

const struct op ot_op_HardSigmoid = {
    .name = "HardSigmoid",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "alpha:f beta:f",
    .needs = OT_Y(0),
    .plan_size = sizeof(struct hard_sigmoid_plan),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
