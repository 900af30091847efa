/* mul.c - y = a b, broadcast; integers too, which wrap. */
#include "ops/binary.h"

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * b[i];
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * a[i];
}

static int64_t integer(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }

static const struct binary functions = {value, da, db, integer, NULL, NULL};

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] lanes -> Y[2,3,5]",
    "A[2,3,4,5] B[2,3,1,1] lanes -> Y[2,3,4,5]",
    "A[17,3,2,2] B[17,3,1,1] lanes -> Y[17,3,2,2]",
    "A[2,3,4,5] B[3,1,1]:p lanes -> Y[2,3,4,5]",
    "A[2,3,5] f(0.5) lanes -> Y[2,3,5]",
    "f(0.5) A[2,3,5] lanes -> Y[2,3,5]",
    "A[3,1,5] B[2,3,4,1] -> Y[2,3,4,5]",
    "i64{3,-2} i64(4) -> i64{12,-8}",
    "f[2,1]{-0.4,0.2} f[2,1,3]{-1.9,1,0.2,-0.7,1.2,-0.8} -> f[2,2,3]{0.76,-0.4,-0.08000001,"
    "-0.38,0.2,0.04,0.28,-0.48,0.32,-0.14,0.24,-0.16}",
    NULL,
};

OT_ARITHMETIC(Mul, OT_X(0) | OT_X(1));
