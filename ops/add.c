/* add.c - y = a + b, broadcast; integers too, which wrap. */
#include "ops/walk/binary.h"

static void value(const float *a, const float *b, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void da(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
}

static void db(const float *a, const float *b, const float *dy, float *dx, int64_t n) {
    (void)a;
    (void)b;
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i];
}

static int64_t integer(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }

static const struct binary functions = {value, da, db, integer, NULL, NULL};

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] lanes -> Y[2,3,5]",
    "A[2,3,4,5] B[3,1,1]:p lanes -> Y[2,3,4,5]",
    "A[2,3] B[3]:p lanes -> Y[2,3]",
    "A[2,3,5] B[]:p lanes -> Y[2,3,5]",
    "A[3,1,5] B[2,3,4,1] -> Y[2,3,4,5]",
    "B[1,3,1,1]:p A[18,3,2,2] lanes -> Y[18,3,2,2]",
    "A[2,3,4] B[2,3,1] lanes -> Y[2,3,4]",
    "A[2,3,400] B[400]:p lanes -> Y[2,3,400]",
    "A[300] B[1] -> Y[300]",
    "A[2,3,4,5] B[3,4] broadcast=1 axis=1 @6 -> Y[2,3,4,5]",
    "A[2,3,4,5] B[4,5]:p broadcast=1 @6 -> Y[2,3,4,5]",
    "A[2,3] B[3] @6 -> error: the shapes differ",
    "A[2,3] B[3] broadcast=1 axis=5 @6 -> error: attribute 'axis' is 5",
    "i64{1,-2,3} i64(10) -> i64{11,8,13}",
    "i32{1,2} i32{3,4} -> i32{4,6}",
    "i64{9223372036854775807} i64{1} -> i64{-9223372036854775808}",
    "A[3] B[4] -> error: do not broadcast",
    "A[0] B[5] -> error: do not broadcast",
    "A[0,5] B[1,5]:p -> Y[0,5]",
    "A[2] B[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2] -> Y[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]",
    "A[2] i64{1,2} -> error: input 1 is int64",
    "f[2,1,2]{1.6,-0.3,0.4,-1.9} f[3,1]{0.7,1.7,1.3} -> f[2,3,2]{2.3,0.4,3.3,1.4,2.9,"
    "0.9999999,1.1,-1.2,2.1,-0.1999999,1.7,-0.6}",
    NULL,
};

OT_ARITHMETIC(Add, 0);
