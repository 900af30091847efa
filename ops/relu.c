/* relu.c - y = max(x, 0), for integers too. NaN stays NaN. */
#include "ops/walk/unary.h"

static void value(const float *x, float *y, int64_t n, const void *plan) {
    (void)plan;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static int64_t integer(int64_t x, ot_type type, const void *plan) {
    (void)plan;
    return x < 0 && type != OT_UINT64 ? 0 : x;
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    (void)plan;
    (void)x;
    for (int64_t i = 0; i < n; i++) dx[i] = ot_pass(y[i] > 0, dy[i]);
}

static void forward(struct op_node *n) { ot_unary_forward_number(n, value, integer); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1,0,3,nan} @6 -> f{0,0,3,nan}",
    "f{-1,0,-0,1}:x -> f{0,0,0,1} d0=f{0,0,0,1}",
    "X[0,3] -> Y[0,3]",
    "X[] -> Y[]",
    "X[18,300] lanes -> Y[18,300]",
    "i64{-3,0,9007199254740993} -> i64{0,0,9007199254740993}",
    "i8{-128,127} -> i8{0,127}",
    "u64{18446744073709551615} -> u64{18446744073709551615}",
    "b{1} -> error: input 0 is bool",
    NULL,
};

const struct op ot_op_Relu = {
    .name = "Relu",
    .since = 6,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_Y(0),
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare_number,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
