/* mod.c - the remainder of a / b: fmod=0 takes the sign of b (integers), fmod=1 that of a. */
#include <math.h>

#include "ops/binary.h"
#include "ops/number.h"

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = fmodf(a[i], b[i]);
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = -dy[i] * truncf(a[i] / b[i]);
}

/* x mod 0 is 0; % traps there, and for INT64_MIN % -1. */
static int64_t integer(int64_t a, int64_t b) {
    int64_t r = b == 0 || b == -1 ? 0 : a % b;
    return r && (r < 0) != (b < 0) ? r + b : r;
}

static int64_t remainder_of_a(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

static const struct binary forms[] = {{value, da, db, integer, NULL},
                                      {value, da, db, remainder_of_a, NULL}};

static const struct binary *form(const struct op_node *n) {
    return &forms[ot_attr_int(n->node, "fmod", 0) != 0];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    if (form(n) == forms && !ot_is_integer(n->x[0]->type))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'fmod' must be 1 for floats");
    return ot_binary_prepare(n, form(n), err);
}

static const char *const cases[] = {
    "A[2,3,5] f(2):p range=2.125,3.875 fmod=1 lanes -> Y[2,3,5]",
    "f{5.5,-5.5} f{2,2} fmod=1 -> f{1.5,-1.5}",
    "i64{7,-7,7,1} i64{3,3,-3,0} -> i64{1,2,-2,0}",
    "i64{7,-7,7,1} i64{3,3,-3,0} fmod=1 -> i64{1,-1,1,0}",
    "A[2] B[2] -> error: fmod",
    NULL,
};

const struct op ot_op_Mod = {
    .name = "Mod", .since = 10, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attributes = "fmod:i", .needs = OT_X(0) | OT_X(1), .parameters = 3,
    .state_size = sizeof(struct binary_state), .lanes = ot_broadcast_lanes,
    .prepare = prepare, .forward = ot_binary_forward, .backward = ot_binary_backward,
    .cases = cases,
};
