/* mul.c - y = a b, broadcast; integers too, which wrap. Gates and factors of channels have loops of
 * their own (scale.h). */
#include "ops/walk/binary.h"
#include "ops/walk/scale.h"

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
    "A[19,5,9,31] B[19,5,1,1] lanes -> Y[19,5,9,31]",
    "A[2,17,1,1] B[2,17,5,7] lanes -> Y[2,17,5,7]",
    "A[3,16,5,4] B[3,16,1,1] lanes -> Y[3,16,5,4]",
    "A[3,32,5,4] B[32,1,1]:p lanes -> Y[3,32,5,4]",
    "A[3,7,21]:p B[3,1,1] -> Y[3,7,21]",
    "A[2,37,19] B[19]:p lanes -> Y[2,37,19]",
    "A[3,1]:p B[19,3,18] lanes -> Y[19,3,18]",
    "A[2,3,5] f(0.5) lanes -> Y[2,3,5]",
    "f(0.5) A[2,3,5] lanes -> Y[2,3,5]",
    "A[3,1,5] B[2,3,4,1] -> Y[2,3,4,5]",
    "i64{3,-2} i64(4) -> i64{12,-8}",
    "f[2,1]{-0.4,0.2} f[2,1,3]{-1.9,1,0.2,-0.7,1.2,-0.8} -> f[2,2,3]{0.76,-0.4,-0.08000001,"
    "-0.38,0.2,0.04,0.28,-0.48,0.32,-0.14,0.24,-0.16}",
    NULL,
};

struct mul_plan {
    struct binary_plan binary;
    bool scales; /* x[large] has the shape of y, and the other one is its factors */
    int large;
    struct scale_view view;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct mul_plan *plan = ot_op_plan(n);
    OT_TRY(ot_binary_prepare(n, &functions, err));
    if (n->node->opset < 7 || plan->binary.mixed) return OT_OK;
    for (int i = 0; i < 2 && !plan->scales; i++) {
        const struct tensor *x = n->x[i];
        plan->scales = ot_same_shape(x, n->y[0]) && x->lanes == n->y[0]->lanes &&
                       x->lane_rank == n->y[0]->lane_rank &&
                       ot_scale_find(x, n->x[1 - i], &plan->view) && ot_scale_pays(&plan->view);
        plan->large = i;
    }
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct mul_plan *plan = n->plan;
    if (!plan->scales) {
        ot_binary_forward(n);
        return;
    }
    ot_scale_forward(n, &plan->view, ot_f(n->x[plan->large]), ot_f(n->x[1 - plan->large]),
                     ot_f(n->y[0]));
    ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    const struct mul_plan *plan = n->plan;
    if (!plan->scales) {
        ot_binary_backward(n);
        return;
    }
    const struct tensor *dx = n->dx[plan->large], *db = n->dx[1 - plan->large];
    ot_scale_backward(n, &plan->view, ot_f(n->x[plan->large]), ot_f(n->x[1 - plan->large]),
                      ot_f(n->dy[0]), dx ? ot_f(dx) : NULL, db ? ot_f(db) : NULL);
    for (int i = 0; i < 2; i++)
        if (n->dx[i]) ot_op_clear_spare(n->dx[i]);
}

const struct op ot_op_Mul = {
    .name = "Mul",
    .since = 6,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "broadcast:i axis:i",
    .needs = OT_X(0) | OT_X(1),
    .parameters = OT_X(0) | OT_X(1),
    .plan_size = sizeof(struct mul_plan),
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
