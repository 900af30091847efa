/* div.c - y = a / b, broadcast; integers round towards zero, and x / 0 is 0. */
#include "ops/walk/binary.h"

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] / b[i];
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] / b[i];
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = -dy[i] * a[i] / (b[i] * b[i]);
}

/* Division by zero and INT64_MIN / -1 trap on x86. */
static int64_t integer(int64_t a, int64_t b) {
    if (b == 0) return 0;
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static uint64_t of_uint64(uint64_t a, uint64_t b) { return b ? a / b : 0; }

static const struct binary functions = {value, da, db, integer, NULL, of_uint64};

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] range=0.5,3 lanes -> Y[2,3,5]",
    "A[2,3,5] B[3,1]:p range=0.5,3 lanes -> Y[2,3,5]",
    "f(1) B[2,3] range=0.5,3 lanes -> Y[2,3]",
    "A[4,5] B[4,1] range=0.5,3 lanes -> Y[4,5]",
    "i64{7,-7,5,-9223372036854775808} i64{2,2,0,-1} -> i64{3,-3,0,-9223372036854775808}",
    "u64{18446744073709551615,7} u64{10,18446744073709551615} -> u64{1844674407370955161,0}",
    NULL,
};

OT_ARITHMETIC(Div, OT_X(0) | OT_X(1));
