/* hard_swish.c - y = x max(0, min(1, x / 6 + 1 / 2)). */
#include "ops/unary.h"

static float clamp(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
static float slope(float x) {
    float inside = x / 3 + 0.5f;
    return x <= -3 ? 0 : x >= 3 ? 1 : inside;
}

static void value(const float *x, float *y, int64_t n, const void *state) {
    (void)state;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * clamp(x[i] / 6 + 0.5f);
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *state) {
    (void)state;
    (void)y;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * slope(x[i]);
}

static void forward(struct op_node *n) { ot_unary_forward(n, value); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes range=-5,5 -> Y[2,3,5]",
    "f{-4,0,1,5} -> f{0,0,0.6666667,5}",
    "f{-4,-3,0,3,4}:x -> f{0,0,0,3,4} d0=f{0,0,0.5,1,1}",
    NULL,
};

const struct op ot_op_HardSwish = {
    .name = "HardSwish", .since = 14, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attributes = "", .needs = OT_X(0),
    .lanes = ot_unary_lanes, .prepare = ot_unary_prepare, .forward = forward, .backward = backward,
    .again = forward,
    .cases = cases,
};
