/* sub.c - y = a - b, broadcast; integers too, which wrap. */
#include "ops/walk/binary.h"

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] - b[i];
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = -dy[i];
}

static int64_t integer(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }

static const struct binary functions = {value, da, db, integer, NULL, NULL};

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] lanes -> Y[2,3,5]",
    "A[2,3,5] B[5]:p lanes -> Y[2,3,5]",
    "B[3,1]:p A[2,3,5] lanes -> Y[2,3,5]",
    "i64{1,-2} i64{3,4} -> i64{-2,-6}",
    "f[2,1,2]{0,1.8,-1.4,1.8} f[3,1]{-0.8,-0.3,1.3} -> f[2,3,2]{0.8,2.6,0.3,2.1,-1.3,0.5,"
    "-0.6,2.6,-1.1,2.1,-2.7,0.5}",
    NULL,
};

OT_ARITHMETIC(Sub, 0);
