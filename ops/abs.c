/* abs.c - y = |x|, for integers too; the gradient at 0 is 0. */
#include <math.h>

#include "ops/walk/unary.h"

static void value(const float *x, float *y, int64_t n, const void *plan) {
    (void)plan;
    for (int64_t i = 0; i < n; i++) y[i] = fabsf(x[i]);
}

static int64_t integer(int64_t x, ot_type type, const void *plan) {
    (void)plan;
    return x < 0 && type != OT_UINT64 ? (int64_t)(0 - (uint64_t)x) : x;
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    (void)plan;
    (void)y;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * (float)((x[i] > 0) - (x[i] < 0));
}

static void forward(struct op_node *n) { ot_unary_forward_number(n, value, integer); }

static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1,0,1}:x -> f{1,0,1} d0=f{-1,0,1}",
    "i64{3,-4} -> i64{3,4}",
    "u64{18446744073709551615} -> u64{18446744073709551615}",
    NULL,
};

const struct op ot_op_Abs = {
    .name = "Abs",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0),
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare_number,
    .forward = forward,
    .again = forward,
    .backward = backward,
    .cases = cases,
};
