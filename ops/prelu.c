/* prelu.c - y = x for x > 0, else slope x, so that the derivative at 0 is the slope; the slope is
 * broadcast to x, before opset 7 along its channels (He, Zhang, Ren, Sun, arXiv 1502.01852). */
#include "ops/walk/binary.h"

static void value(const float *x, const float *slope, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] <= 0 ? slope[i] * x[i] : x[i];
}

static void da(const float *x, const float *slope, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = (x[i] <= 0 ? slope[i] : 1) * dy[i];
}

static void db(const float *x, const float *slope, const float *dy, float *dx, int64_t n) {
    (void)slope;
    for (int64_t i = 0; i < n; i++) dx[i] = (x[i] < 0 ? x[i] : 0) * dy[i];
}

static int64_t integer(int64_t x, int64_t slope) {
    return x < 0 ? (int64_t)((uint64_t)slope * (uint64_t)x) : x;
}

static uint64_t of_uint64(uint64_t x, uint64_t slope) { return (void)slope, x; }

static const struct binary functions = {value, da, db, integer, NULL, of_uint64};

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_binary_prepare(n, &functions, err));
    if (!ot_same_shape(n->y[0], n->x[0]))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 1 (slope) does not broadcast to the shape of input 0");
    return OT_OK;
}

static const char *const cases[] = {
    "X[2,3,4,5] S[3,1,1]:p lanes -> Y[2,3,4,5]",
    "X[2,3,5] S[5]:p lanes -> Y[2,3,5]",
    "X[2,3] S[1]:p lanes -> Y[2,3]",
    "X[2,3] S[2,3] -> Y[2,3]",
    "f{-2,0,3} f{0.5,2,2} -> f{-1,0,3}",
    "f[3,1]{-1,0,1}:x f{0.25}:p -> f[3,1]{-0.25,0,1} d0=f[3,1]{0.25,0.25,1} d1=f{-1}",
    "i32{-2,3} i32{5,7} -> i32{-10,3}",
    "u64{18446744073709551615} u64{5} -> u64{18446744073709551615}",
    "X[3] S[2,3] -> error: input 1 (slope) does not broadcast to the shape of input 0",
    "X[2,3,4,4] S[3]:p @6 lanes -> Y[2,3,4,4]",
    "X[2,3,5] S[1]:p @6 lanes -> Y[2,3,5]",
    NULL,
};

const struct op ot_op_PRelu = {
    .name = "PRelu",
    .since = 6,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0) | OT_X(1),
    .parameters = 2,
    .plan_size = sizeof(struct binary_plan),
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = ot_binary_forward,
    .backward = ot_binary_backward,
    .again = ot_binary_forward,
    .cases = cases,
};
