/* leaky_relu.c - y = x for x > 0, else alpha x; so the slope at 0 is alpha. */
#include "ops/walk/unary.h"

struct leaky_relu_plan {
    float alpha;
};

static void value(const float *x, float *y, int64_t n, const void *plan) {
    const struct leaky_relu_plan p = *(const struct leaky_relu_plan *)plan;
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] <= 0 ? p.alpha : 1) * x[i];
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    const struct leaky_relu_plan p = *(const struct leaky_relu_plan *)plan;
    (void)y;
    for (int64_t i = 0; i < n; i++) dx[i] = (x[i] <= 0 ? p.alpha : 1) * dy[i];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct leaky_relu_plan *plan = ot_op_plan(n);
    plan->alpha = ot_attr_float(n->node, "alpha", 0.01f);
    return ot_unary_prepare(n, err);
}

static void forward(struct op_node *n) { ot_unary_forward(n, value); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1,2} alpha=0.5 -> f{-0.5,2}",
    "f{-1,0,-0,1}:x alpha=0.5 -> f{-0.5,0,0,1} d0=f{0.5,0.5,0.5,1}",
    "f{-1,0.5,2}:x alpha=-0.6 -> f{0.6,0.5,2} d0=f{-0.6,1,1}",
    "X[18,7] lanes alpha=-0.6 -> Y[18,7]",
    "f{-1,2} @6 -> f{-0.01,2}",
    NULL,
};

const struct op ot_op_LeakyRelu = {
    .name = "LeakyRelu",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "alpha:f",
    .needs = OT_X(0),
    .plan_size = sizeof(struct leaky_relu_plan),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
