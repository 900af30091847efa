/* sqrt.c - y = sqrt(x); NaN for x < 0. The gradient at 0 is infinite. */
#include <math.h>

#include "ops/walk/unary.h"

static void value(const float *x, float *y, int64_t n, const void *plan) {
    (void)plan;
    for (int64_t i = 0; i < n; i++) y[i] = sqrtf(x[i]);
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    (void)plan;
    (void)x;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] / (2 * y[i]);
}

static void forward(struct op_node *n) { ot_unary_forward(n, value); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] range=0.5,4 lanes -> Y[2,3,5]",
    "f{4,0,-1} -> f{2,0,nan}",
    "f{0,1}:x -> f{0,1} d0=f{inf,0.5}",
    NULL,
};

const struct op ot_op_Sqrt = {
    .name = "Sqrt",
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
