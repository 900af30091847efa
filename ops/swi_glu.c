/* swi_glu.c - SwiGLU: y = b a sigmoid(alpha a), a gate times a value of the same shape (Shazeer,
 * arXiv 2002.05202). With s = sigmoid(alpha a): da = dy b s (1 + alpha a (1 - s)), db = dy a s. */
#include "ops/kernels/exponential.h"
#include "ops/op.h"

enum { GRAIN = 16384 };

struct state {
    float alpha;
};

static inline float sigmoid(float x) { return 1 / (1 + ot_exp(-x)); }

static bool lanes(const struct op_node *n, int lane_rank) {
    return n->x[0]->rank >= lane_rank && !ot_is_fixed(n->x[0]) && !ot_is_fixed(n->x[1]);
}

/* In place of nodes that spell it out. */
static bool fits(const struct op_node *n) {
    return n->x[0]->type == OT_FLOAT && n->x[1]->type == OT_FLOAT &&
           ot_same_shape(n->x[0], n->x[1]);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    char a[128], b[128];
    ((struct state *)n->state)->alpha = ot_attr_float(n->node, "alpha", 1);
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    if (!ot_same_shape(n->x[0], n->x[1]))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "a gate %s for values %s",
                          ot_shape_text(n->x[0], a, sizeof a), ot_shape_text(n->x[1], b, sizeof b));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

static void forward_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const float alpha = ((const struct state *)n->state)->alpha;
    const float *a = ot_f(n->x[0]), *b = ot_f(n->x[1]);
    float *restrict y = ot_f(n->y[0]);
    int64_t i, to;
    (void)worker;
    ot_task_range(ot_count(n->y[0]), GRAIN, task, &i, &to);
    for (; i < to; i++) y[i] = a[i] * sigmoid(alpha * a[i]) * b[i];
}

static void backward_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const float alpha = ((const struct state *)n->state)->alpha;
    const float *a = ot_f(n->x[0]), *b = ot_f(n->x[1]), *dy = ot_f(n->dy[0]);
    float *restrict da = n->dx[0] ? ot_f(n->dx[0]) : NULL;
    float *restrict db = n->dx[1] ? ot_f(n->dx[1]) : NULL;
    int64_t from, to;
    (void)worker;
    ot_task_range(ot_count(n->dy[0]), GRAIN, task, &from, &to);
    for (int64_t i = from; da && i < to; i++) {
        const float s = sigmoid(alpha * a[i]);
        da[i] = dy[i] * b[i] * s * (1 + alpha * a[i] * (1 - s));
    }
    for (int64_t i = from; db && i < to; i++) db[i] = dy[i] * a[i] * sigmoid(alpha * a[i]);
}

static void forward(struct op_node *n) {
    ot_parallel_for(n->pool, ot_task_count(ot_count(n->y[0]), GRAIN), forward_task, n);
    ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    ot_parallel_for(n->pool, ot_task_count(ot_count(n->dy[0]), GRAIN), backward_task, n);
    for (int i = 0; i < 2; i++)
        if (n->dx[i]) ot_op_clear_spare(n->dx[i]);
}

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] lanes -> Y[2,3,5]",
    "A[2,3,5] B[2,3,5] alpha=1.5 lanes -> Y[2,3,5]",
    "f{-1,0,1,3} f{2,2,2,-1} -> f{-0.53788285,0,1.4621172,-2.8577224}",
    "A[2,3] B[3] -> error: a gate [2,3] for values [3]",
    NULL,
};

const struct op ot_op_SwiGLU = {
    .name = "SwiGLU", .since = 28, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attributes = "alpha:f", .needs = OT_X(0) | OT_X(1), .state_size = sizeof(struct state),
    .fits = fits, .lanes = lanes, .prepare = prepare, .forward = forward, .backward = backward,
    .again = forward, .cases = cases,
};
