/* mean_variance.c - MeanVarianceNormalization: y = (x - mean) / (deviation + 1e-9), mean and
 * deviation over some axes. dx = (dy - mean of dy - y mean of dy y) / (deviation + 1e-9). */
#include <math.h>

#include "ops/walk/fold.h"

struct mean_variance_plan {
    struct move move; /* from x to its statistics */
    int64_t count;    /* of statistics */
    float share;      /* 1 / elements of one */
};

static ot_status read_axes(const struct op_node *n, uint32_t *axes, ot_error *err) {
    static const int64_t usual[] = {0, 2, 3};
    int count;
    const int64_t *list = ot_attr_ints(n->node, "axes", &count);
    if (!list) {
        list = usual;
        count = 3;
    }
    *axes = 0;
    for (int i = 0; i < count; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, list[i], n->x[0]->rank, &axis, err));
        *axes |= 1u << axis;
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    uint32_t axes;
    return !read_axes(n, &axes, NULL) && !(axes & ((1u << lane_rank) - 1));
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct mean_variance_plan *plan = ot_op_plan(n);
    uint32_t axes;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(read_axes(n, &axes, err));
    if (axes & 1) ot_op_along(n, 0);
    const int64_t elements = ot_fold_move(n->x[0], axes, &plan->move);
    if (!elements)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the axes of the mean have no elements");
    plan->count = ot_count(n->x[0]) / elements;
    plan->share = 1 / (float)elements;
    ot_op_like(n->y[0], n->x[0]);
    n->save_size = n->backward_scratch_size = (size_t)plan->count * 2 * sizeof(float);
    return OT_OK;
}

struct work {
    const float *x, *mean, *inverse;
    float *y;
};

static void value_run(void *arg, int64_t x, int64_t to, int64_t n, int64_t step, int64_t to_step) {
    const struct work *w = arg;
    for (int64_t i = 0; i < n; i++, x += step, to += to_step)
        w->y[x] = (w->x[x] - w->mean[to]) * w->inverse[to];
}

static void forward(struct op_node *n) {
    const struct mean_variance_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]);
    float *mean = n->save, *inverse = mean + plan->count;
    ot_fold(n->pool, &plan->move, OT_FOLD_SUM, x, NULL, plan->share, mean);
    ot_fold(n->pool, &plan->move, OT_FOLD_VARIANCE, x, mean, plan->share, inverse);
    for (int64_t i = 0; i < plan->count; i++) inverse[i] = 1 / (sqrtf(inverse[i]) + 1e-9f);
    struct work w = {x, mean, inverse, ot_f(n->y[0])};
    ot_move_each(n->pool, &plan->move, value_run, &w);
}

/* ---- backward ---- */

struct back {
    const float *y, *dy, *inverse;
    const float *mean, *dot; /* of dy, of dy y; NULL: dx = dy y */
    float *dx;
};

static void gradient_run(void *arg, int64_t x, int64_t to, int64_t n, int64_t step,
                         int64_t to_step) {
    const struct back *b = arg;
    for (int64_t i = 0; i < n; i++, x += step, to += to_step)
        b->dx[x] = b->dot ? (b->dy[x] - b->mean[to] - b->y[x] * b->dot[to]) * b->inverse[to]
                          : b->dy[x] * b->y[x];
}

static void backward(struct op_node *n) {
    const struct mean_variance_plan *plan = n->plan;
    float *mean = n->scratch, *dot = mean + plan->count;
    if (!n->dx[0]) return;
    struct back b = {.y = ot_f(n->y[0]),
                     .dy = ot_f(n->dy[0]),
                     .dx = ot_f(n->dx[0]),
                     .inverse = (const float *)n->save + plan->count,
                     .mean = mean};
    ot_fold(n->pool, &plan->move, OT_FOLD_SUM, b.dy, NULL, plan->share, mean);
    ot_move_each(n->pool, &plan->move, gradient_run, &b);
    ot_fold(n->pool, &plan->move, OT_FOLD_SUM, b.dx, NULL, plan->share, dot);
    b.dot = dot;
    ot_move_each(n->pool, &plan->move, gradient_run, &b);
}

static const char *const cases[] = {
    "X[2,3,4,5] -> Y[2,3,4,5]",
    "X[2,3,4,5] axes=2,3 lanes -> Y[2,3,4,5]",
    "X[2,3,4] axes=-1 lanes -> Y[2,3,4]",
    "X[3,70] axes=0 -> Y[3,70]",
    "f[2,1,1,2]{1,3,5,7} -> f[2,1,1,2]{-1.3416408,-0.4472136,0.4472136,1.3416408}",
    "f[1,1,1,2]{5,5} -> f[1,1,1,2]{0,0}",
    "X[2,3] -> error: axis 2",
    "X[2,0] axes=1 -> error: no elements",
    NULL,
};

const struct op ot_op_MeanVarianceNormalization = {
    .name = "MeanVarianceNormalization",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axes:I",
    .needs = OT_Y(0),
    .plan_size = sizeof(struct mean_variance_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
