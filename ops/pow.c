/* pow.c - y = a^b, broadcast; da = b a^(b-1), db = a^b log a, and db = 0 for a = 0. NaN for a
 * negative base with a fractional exponent. */
#include <math.h>

#include "ops/number.h"
#include "ops/walk/binary.h"

/* Squares are what most models ask for. */
static inline float power(float a, float b) { return b == 2 ? a * a : powf(a, b); }

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = power(a[i], b[i]);
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float slope = b[i] == 2 ? a[i] : b[i] == 0 ? 0 : power(a[i], b[i] - 1);
        dx[i] = dy[i] * b[i] * slope;
    }
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = a[i] == 0 ? 0 : dy[i] * power(a[i], b[i]) * logf(a[i]);
}

static uint64_t of_uint64(uint64_t a, uint64_t b) {
    uint64_t y = 1;
    for (; b; b >>= 1, a *= a)
        if (b & 1) y *= a;
    return y;
}

static int64_t integer(int64_t a, int64_t b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    return (int64_t)of_uint64((uint64_t)a, (uint64_t)b);
}

static const struct binary functions = {value, da, db, integer, pow, of_uint64};

/* From opset 12 the types may differ. A constant integer exponent becomes floats, for those have a
 * gradient. */
static ot_status convert_exponent(struct op_node *n, ot_error *err) {
    struct binary_plan *plan = ot_op_plan(n);
    const struct tensor *b = n->x[1];
    if (n->x[0]->type != OT_FLOAT || !ot_is_integer(b->type) || b->role != OT_ROLE_CONST)
        return OT_OK;
    int64_t count = ot_elements(b);
    float *f = ot_arena_alloc(n->arena, (size_t)count, sizeof *f);
    if (!f) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t k = 0; k < count; k++) f[k] = (float)ot_load_integer(b->data, b->type, k);
    plan->converted = f;
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(convert_exponent(n, err));
    return ot_binary_prepare(n, &functions, err);
}

static const char *const cases[] = {
    "A[2,3,5] f(2) lanes -> Y[2,3,5]",
    "A[2,3,5] f(0.5) range=0.5,3 lanes -> Y[2,3,5]",
    "A[2,3,5] f(3) lanes -> Y[2,3,5]",
    "A[2,3,5] i64(2) lanes -> Y[2,3,5]",
    "A[2,3] B[2,3] range=0.5,2 lanes -> Y[2,3]",
    "A[2,3,4] B[3,1]:p range=0.5,2 lanes -> Y[2,3,4]",
    "f{0,2,-2,4} f{0,3,2,-0.5} -> f{1,8,4,0.5}",
    "f{-8} f{0.5} -> f{nan}",
    "f{0,0,0,0,2}:x f{0,2,1,3,0}:x -> f{1,0,0,0,1} d0=f{0,0,1,0,0} d1=f{0,0,0,0,0.6931472}",
    "i64{2,-3,5} i64{10,3,-1} -> i64{1024,-27,0}",
    "i32{2,3,-2} f{2,0.5,-1} -> i32{4,1,0}",
    "i64{2,3} i32{2,3} -> i64{4,27}",
    "u64{1,3} u64{18446744073709551615,18446744073709551615} -> u64{1,12297829382473034411}",
    "f{2,4}:c i32{2,-1}:x -> f{4,0.25}",
    "f[2,1]{1.6,1.7} f{1.2,-1.2,-1.7} -> f[2,3]{1.757697,0.5689263,0.4497757,1.890335,"
    "0.5290068,0.4057297}",
    NULL,
};

const struct op ot_op_Pow = {
    .name = "Pow",
    .since = 6,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "broadcast:i axis:i",
    .needs = OT_X(0) | OT_X(1),
    .parameters = 3,
    .plan_size = sizeof(struct binary_plan),
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = ot_binary_forward,
    .backward = ot_binary_backward,
    .cases = cases,
};
