/* affine_grid.c - AffineGrid: grid[n, p] = theta[n] (p, 1) for all places p of an image or a
 * volume, whose axes run from -1 to 1; the last axis of the image comes first in p. */
#include "ops/op.h"

enum { MOST = 3 };

struct affine_grid_plan {
    int rank;                            /* 2 or 3 spatial axes */
    int64_t samples, places, size[MOST]; /* size: in the order of the coordinates */
    bool corners;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *theta = n->x[0];
    struct affine_grid_plan *plan = ot_op_plan(n);
    const int64_t *size;
    int count;
    char text[128];
    int64_t dim[MOST + 2];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_ints(n, 1, &size, &count, err));
    plan->rank = count - 2;
    if (plan->rank < 2 || plan->rank > MOST || theta->rank != 3 || theta->dim[0] != size[0] ||
        theta->dim[1] != plan->rank || theta->dim[2] != plan->rank + 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "theta has shape %s, which does not fit a size of %d numbers",
                          ot_shape_text(theta, text, sizeof text), count);
    dim[0] = plan->samples = size[0];
    plan->places = 1;
    for (int i = 0; i < plan->rank; i++) {
        dim[i + 1] = plan->size[plan->rank - 1 - i] = size[i + 2];
        if (size[i + 2] < 1 || !ot_shape_count((int64_t[]){plan->places, size[i + 2]}, 2,
                                               (int64_t)1 << 40, &plan->places))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 1 (size) contains %lld, expected at least 1, and at most 2^40 "
                              "elements in all",
                              (long long)size[i + 2]);
    }
    dim[plan->rank + 1] = plan->rank;
    plan->corners = ot_attr_int(n->node, "align_corners", 0) != 0;
    return ot_op_set(n, n->y[0], OT_FLOAT, plan->rank + 2, dim, err);
}

/* Coordinates of a place, and a 1 behind them. */
static void coordinates(const struct affine_grid_plan *plan, int64_t place, float *p) {
    for (int i = 0; i < plan->rank; i++) {
        const float size = (float)plan->size[i], k = (float)(place % plan->size[i]);
        p[i] = !plan->corners ? (2 * k + 1) / size - 1 : size > 1 ? 2 * k / (size - 1) - 1 : 0;
        place /= plan->size[i];
    }
    p[plan->rank] = 1;
}

static void forward_sample(void *arg, int sample, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct affine_grid_plan *plan = n->plan;
    const int columns = plan->rank + 1;
    const float *theta = ot_f(n->x[0]) + sample * plan->rank * columns;
    float *y = ot_f(n->y[0]) + sample * plan->places * plan->rank, p[MOST + 1];
    for (int64_t k = 0; k < plan->places; k++) {
        coordinates(plan, k, p);
        for (int i = 0; i < plan->rank; i++, y++) {
            *y = 0;
            for (int j = 0; j < columns; j++) *y += theta[i * columns + j] * p[j];
        }
    }
}

static void backward_sample(void *arg, int sample, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct affine_grid_plan *plan = n->plan;
    const int columns = plan->rank + 1;
    const float *dy = ot_f(n->dy[0]) + sample * plan->places * plan->rank;
    float *dtheta = ot_f(n->dx[0]) + sample * plan->rank * columns, p[MOST + 1];
    double sum[MOST * (MOST + 1)] = {0};
    for (int64_t k = 0; k < plan->places; k++, dy += plan->rank) {
        coordinates(plan, k, p);
        for (int i = 0; i < plan->rank * columns; i++)
            sum[i] += (double)dy[i / columns] * (double)p[i % columns];
    }
    for (int i = 0; i < plan->rank * columns; i++) dtheta[i] = (float)sum[i];
}

static void forward(struct op_node *n) {
    const struct affine_grid_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->samples, forward_sample, n);
}

static void backward(struct op_node *n) {
    const struct affine_grid_plan *plan = n->plan;
    if (n->dx[0]) ot_parallel_for(n->pool, (int)plan->samples, backward_sample, n);
}

static const char *const cases[] = {
    "T[2,2,3] i64{2,3,4,5} -> Y[2,4,5,2]",
    "T[2,3,4] i64{2,1,2,3,1} align_corners=1 -> Y[2,2,3,1,3]",
    "f[1,2,3]{1,0,0,0,1,0.5} i64{1,1,2,2} -> f[1,2,2,2]{-0.5,0,0.5,0,-0.5,1,0.5,1}",
    "T[2,2,3] i64{3,3,4,5} -> error: theta has shape [2,2,3]",
    "T[2,2,3] i64{2,3,0,5} -> error: input 1 (size) contains 0",
    NULL};

const struct op ot_op_AffineGrid = {
    .name = "AffineGrid",
    .since = 20,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "align_corners:i",
    .plan_size = sizeof(struct affine_grid_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "size must be constant",
    .cases = cases,
};
