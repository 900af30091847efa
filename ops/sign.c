/* sign.c - y = -1, 0 or 1, for integers too; the gradient is 0. */
#include "ops/walk/unary.h"

static void value(const float *x, float *y, int64_t n, const void *plan) {
    (void)plan;
    for (int64_t i = 0; i < n; i++) y[i] = (float)((x[i] > 0) - (x[i] < 0));
}

static int64_t integer(int64_t x, ot_type type, const void *plan) {
    (void)plan;
    return type == OT_UINT64 ? x != 0 : (x > 0) - (x < 0);
}

static void forward(struct op_node *n) { ot_unary_forward_number(n, value, integer); }

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "i64{3,-4,0} -> i64{1,-1,0}",
    "u64{18446744073709551615,0} -> u64{1,0}",
    "f{-2,0,2}:x -> f{-1,0,1} d0=f{0,0,0}",
    NULL,
};

const struct op ot_op_Sign = {
    .name = "Sign",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = 0,
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare_number,
    .forward = forward,
    .backward = ot_unary_backward_zero,
    .cases = cases,
};
