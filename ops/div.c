/* div.c - y = a / b, broadcast; integers round towards zero, and x / 0 is 0. */
#include "ops/binary.h"

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

static const struct binary functions = {value, da, db, integer, NULL};

static ot_status prepare(struct op_node *n, ot_error *err) {
    return ot_binary_prepare(n, &functions, err);
}
static void forward(struct op_node *n) { ot_binary_forward(n, &functions); }
static void backward(struct op_node *n) { ot_binary_backward(n, &functions); }

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] range=0.5,3 lanes -> Y[2,3,5]",
    "A[2,3,5] B[3,1]:p range=0.5,3 lanes -> Y[2,3,5]",
    "f(1) B[2,3] range=0.5,3 lanes -> Y[2,3]",
    "A[4,5] B[4,1] range=0.5,3 lanes -> Y[4,5]",
    "i64{7,-7,5,-9223372036854775808} i64{2,2,0,-1} -> i64{3,-3,0,-9223372036854775808}",
    NULL,
};

const struct op ot_op_Div = {
    .name = "Div", .since = 6, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attributes = "broadcast:i axis:i", .needs = OT_X(0) | OT_X(1), .parameters = 3,
    .state_size = sizeof(struct binary_state), .lanes = ot_broadcast_lanes,
    .prepare = prepare, .forward = forward, .backward = backward, .cases = cases,
    .again = forward,
};
