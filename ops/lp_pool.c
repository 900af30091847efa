/* lp_pool.c - LpPool: y = (sum of |x|^p over the window)^(1/p); GlobalLpPool: over a whole channel.
 *
 * dx = dy |x|^(p-1) sign(x) / y^(p-1), and 0 where y is 0.
 */
#include <math.h>
#include <string.h>

#include "ops/walk/pooling.h"

struct lp_pool_plan {
    struct pooling p;
    float power;
};

static ot_status read_power(const struct op_node *n, struct lp_pool_plan *plan, ot_error *err) {
    const int64_t p = ot_attr_int(n->node, "p", 2);
    if (p < 1 || p > 64)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'p' is %lld, expected 1 to 64",
                          (long long)p);
    plan->power = (float)p;
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct lp_pool_plan *plan = ot_op_plan(n);
    OT_TRY(read_power(n, plan, err));
    return ot_pooling_prepare(n, &plan->p, err);
}

static ot_status prepare_global(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct lp_pool_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(read_power(n, plan, err));
    if (x->rank < 3)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 3",
                          x->rank);
    for (int i = 0; i < x->rank; i++) dim[i] = i < 2 ? x->dim[i] : 1;
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, x->rank, dim, err));
    const int64_t all = ot_dims_product(x, 2, x->rank);
    plan->p = (struct pooling){.w = {.rank = 3,
                                     .in = {1, all, 1},
                                     .out = {1, 1, 1},
                                     .kernel = {1, all, 1},
                                     .stride = {1, 1, 1},
                                     .dilation = {1, 1, 1}},
                               .planes = (x->lanes ? ot_lane_blocks(x) : x->dim[0]) * x->dim[1],
                               .inner = x->lanes ? x->lanes : 1,
                               .grain = 1 + 16384 / (all + 1)};
    return OT_OK;
}

static float power_of(float x, float p) {
    const float a = fabsf(x);
    return p == 2 ? a * a : p == 1 ? a : powf(a, p);
}

/* One output of a plane and one of its taps, for all lanes. at: of the output; k: of the input. */
typedef void tap_fn(const struct op_node *n, int64_t at, int64_t k);

static void add_tap(const struct op_node *n, int64_t at, int64_t k) {
    const struct lp_pool_plan *plan = n->plan;
    for (int64_t l = 0; l < plan->p.inner; l++)
        ot_f(n->y[0])[at + l] += power_of(ot_f(n->x[0])[k + l], plan->power);
}

static void back_tap(const struct op_node *n, int64_t at, int64_t k) {
    const struct lp_pool_plan *plan = n->plan;
    for (int64_t l = 0; l < plan->p.inner; l++) {
        const float x = ot_f(n->x[0])[k + l], y = ot_f(n->y[0])[at + l];
        const float slope = y > 0 ? power_of(x / y, plan->power - 1) : 0;
        ot_f(n->dx[0])[k + l] += ot_f(n->dy[0])[at + l] * (x < 0 ? -slope : x > 0 ? slope : 0);
    }
}

/* All taps of all outputs of a plane that lie inside the input. */
static void each_tap(const struct op_node *n, int64_t plane, tap_fn *fn) {
    const struct pooling *p = &((const struct lp_pool_plan *)n->plan)->p;
    const struct window *w = &p->w;
    const int64_t taps = w->kernel[0] * w->kernel[1] * w->kernel[2];
    for (int64_t o = 0; o < ot_pooling_out(p); o++)
        for (int64_t t = 0; t < taps; t++) {
            const int64_t i =
                ot_pooling_at(p, 2, o / w->out[1] / w->out[0], t / w->kernel[1] / w->kernel[0]);
            const int64_t j =
                ot_pooling_at(p, 0, o / w->out[1] % w->out[0], t / w->kernel[1] % w->kernel[0]);
            const int64_t k = ot_pooling_at(p, 1, o % w->out[1], t % w->kernel[1]);
            if (i < 0 || i >= w->in[2] || j < 0 || j >= w->in[0] || k < 0 || k >= w->in[1])
                continue;
            fn(n, (plane * ot_pooling_out(p) + o) * p->inner,
               (plane * ot_pooling_in(p) + (i * w->in[0] + j) * w->in[1] + k) * p->inner);
        }
}

static void forward_plane(const struct op_node *n, int64_t plane) {
    const struct lp_pool_plan *plan = n->plan;
    const int64_t count = ot_pooling_out(&plan->p) * plan->p.inner;
    float *y = ot_f(n->y[0]) + plane * count;
    memset(y, 0, (size_t)count * sizeof *y);
    each_tap(n, plane, add_tap);
    for (int64_t i = 0; i < count; i++)
        y[i] = plan->power == 2 ? sqrtf(y[i]) : powf(y[i], 1 / plan->power);
}

static void backward_plane(const struct op_node *n, int64_t plane) {
    const struct lp_pool_plan *plan = n->plan;
    const int64_t count = ot_pooling_in(&plan->p) * plan->p.inner;
    memset(ot_f(n->dx[0]) + plane * count, 0, (size_t)count * sizeof(float));
    each_tap(n, plane, back_tap);
}

static void forward(struct op_node *n) {
    ot_pooling_run(n, &((const struct lp_pool_plan *)n->plan)->p, forward_plane);
}

static void backward(struct op_node *n) {
    if (n->dx[0]) ot_pooling_run(n, &((const struct lp_pool_plan *)n->plan)->p, backward_plane);
}

static const char *const cases[] = {
    "X[2,3,6,5] kernel_shape=2,3 strides=2,1 pads=0,1,0,1 lanes -> Y[2,3,3,5]",
    "X[2,2,7] kernel_shape=3 strides=2 p=3 lanes -> Y[2,2,3]",
    "X[1,2,4,3,5] kernel_shape=2,2,2 dilations=1,1,2 p=4 @18 -> Y[1,2,3,2,3]",
    "X[1,2,5] kernel_shape=2 p=1 range=1,3 -> Y[1,2,4]",
    "f[1,1,4]{3,-4,0,0} kernel_shape=2 strides=2 -> f[1,1,2]{5,0}",
    "X[1,2,5] kernel_shape=2 p=0 -> error: 'p' is 0",
    NULL};

static const char *const global_cases[] = {
    "X[2,3,4,5] lanes -> Y[2,3,1,1]", "X[2,3,2,2,2] p=3 lanes -> Y[2,3,1,1,1]",
    "f[1,1,3]{1,-2,2} -> f[1,1,1]{3}", "X[2,3] -> error: rank 2", NULL};

static bool global_lanes(const struct op_node *n, int lane_rank) {
    return lane_rank == 1 && n->x[0]->rank >= 3;
}

const struct op ot_op_LpPool = {
    .name = "LpPool",
    .since = 2,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "kernel_shape:I strides:I pads:I dilations:I auto_pad:s ceil_mode:i p:i",
    .needs = OT_X(0) | OT_Y(0),
    .plan_size = sizeof(struct lp_pool_plan),
    .lanes = ot_pooling_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};

const struct op ot_op_GlobalLpPool = {
    .name = "GlobalLpPool",
    .since = 2,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "p:i",
    .needs = OT_X(0) | OT_Y(0),
    .plan_size = sizeof(struct lp_pool_plan),
    .lanes = global_lanes,
    .prepare = prepare_global,
    .forward = forward,
    .backward = backward,
    .cases = global_cases,
};
