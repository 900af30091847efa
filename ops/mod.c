/* mod.c - the remainder a - n b: with fmod=0, n = floor(a / b) and the sign is that of b; with
 * fmod=1, n = trunc(a / b) and the sign is that of a (Mod-28, which has floats with fmod=0 too).
 * da = dy, db = -n dy: n is piecewise constant. */
#include <math.h>

#include "ops/number.h"
#include "ops/walk/binary.h"

static void truncated(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = fmodf(a[i], b[i]);
}

static inline float floored_of(float a, float b) {
    const float r = fmodf(a, b); /* exact; NaN where b is 0 or a infinite */
    if (r == 0) return copysignf(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

static void floored(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = floored_of(a[i], b[i]);
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
}

static void truncated_db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = -dy[i] * truncf(a[i] / b[i]);
}

static void floored_db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = -dy[i] * floorf(a[i] / b[i]);
}

/* x mod 0 is 0; % traps there, and for INT64_MIN % -1. */
static int64_t remainder_of_a(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

static int64_t integer(int64_t a, int64_t b) {
    int64_t r = remainder_of_a(a, b);
    return r && (r < 0) != (b < 0) ? r + b : r;
}

static uint64_t of_uint64(uint64_t a, uint64_t b) { return b ? a % b : 0; }

static const struct binary forms[] = {
    {floored, da, floored_db, integer, NULL, of_uint64},
    {truncated, da, truncated_db, remainder_of_a, NULL, of_uint64}};

static const struct binary *form(const struct op_node *n) {
    return &forms[ot_attr_int(n->node, "fmod", 0) != 0];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    if (n->node->opset < 28 && form(n) == forms && !ot_is_integer(n->x[0]->type))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'fmod' must be 1 for floats before opset 28");
    return ot_binary_prepare(n, form(n), err);
}

static const char *const cases[] = {
    "A[2,3,5] f(2):p range=2.125,3.875 fmod=1 lanes -> Y[2,3,5]",
    "A[2,3,5] f(2):p range=-3.875,-2.125 @28 lanes -> Y[2,3,5]",
    "f{5.5,-5.5} f{2,2} fmod=1 -> f{1.5,-1.5}",
    "f{5.5,-5.5,5.5,-5.5,4,-4,0.5,-0.5,0.5} f{2,2,-2,-2,2,-2,inf,inf,-inf} @28 -> "
    "f{1.5,0.5,-0.5,-1.5,0,0,0.5,inf,-inf}",
    "f{4,-4,5.5}:x f{2,2,2}:x fmod=1 -> f{0,0,1.5} d0=f{1,1,1} d1=f{-2,2,-2}",
    "f{4,-4,5.5,-5.5}:x f{2,2,2,2}:x @28 -> f{0,0,1.5,0.5} d0=f{1,1,1,1} d1=f{-2,2,-2,3}",
    "f{1,inf,nan} f{0,2,2} @28 -> f{nan,nan,nan}",
    "i64{7,-7,7,1} i64{3,3,-3,0} -> i64{1,2,-2,0}",
    "i64{7,-7,7,1} i64{3,3,-3,0} fmod=1 -> i64{1,-1,1,0}",
    "u64{18446744073709551615} u64{10} -> u64{5}",
    "A[2] B[2] -> error: fmod",
    NULL,
};

const struct op ot_op_Mod = {
    .name = "Mod",
    .since = 10,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "fmod:i",
    .needs = OT_X(0) | OT_X(1),
    .parameters = 3,
    .plan_size = sizeof(struct binary_plan),
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = ot_binary_forward,
    .backward = ot_binary_backward,
    .cases = cases,
};
