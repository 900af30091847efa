/* average_pool.c - AveragePool: y = the mean of each window.
 *
 * The mean is over the elements inside the input, or with count_include_pad over those inside the
 * padded input. A window with nothing but padding gives 0.
 */
#include "ops/walk/pooling.h"

#include <string.h>

enum { PIECE = 16 }; /* divides L */

struct average_pool_plan {
    struct pooling p;
    float *share[3]; /* 1 / taps of each output, for each dimension; weights are products */
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct average_pool_plan *plan = ot_op_plan(n);
    const bool padding = ot_attr_int(n->node, "count_include_pad", 0) != 0;
    OT_TRY(ot_pooling_prepare(n, &plan->p, err));
    for (int d = 0; d < 3; d++) {
        plan->share[d] = ot_arena_alloc(n->arena, (size_t)plan->p.w.out[d], sizeof(float));
        if (!plan->share[d]) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
        for (int64_t o = 0; o < plan->p.w.out[d]; o++) {
            const int64_t taps = ot_pooling_taps(&plan->p, d, o, padding);
            plan->share[d][o] = taps ? 1.0f / (float)taps : 0;
        }
    }
    return OT_OK;
}

/* What a tap does, for `n` outputs: y += x * weight, or, backward, dx += dy * weight. x moves by
 * stride; the weight of all is scale, times that of each output in rows. */
static void tap_row(float *x, int64_t stride, float *y, float scale, const float *share, int64_t n,
                    bool back) {
    for (int64_t j = 0; j < n && back; j++) x[j * stride] += y[j] * (scale * share[j]);
    for (int64_t j = 0; j < n && !back; j++) y[j] += x[j * stride] * (scale * share[j]);
}

static void tap_lanes(float *x, float *y, float weight, int64_t n, bool back) {
    float *to = back ? x : y;
    const float *from = back ? y : x;
    for (int64_t k = 0; k < n; k += PIECE)
        for (int j = 0; j < PIECE; j++) to[k + j] += from[k + j] * weight;
}

/* One plane, forward (x to y) or back (y to x); what is written was zeroed. */
static void plane(const struct average_pool_plan *plan, float *x, float *y, bool back) {
    const struct pooling *p = &plan->p;
    const int64_t inner = p->inner, stride = p->w.stride[1];
    const int64_t row_taps = p->w.out[0] * p->w.kernel[0] * p->w.kernel[1];
    for (int64_t t = 0; t < p->w.out[2] * p->w.kernel[2] * row_taps; t++) {
        const int64_t b = t % p->w.kernel[1], a = t / p->w.kernel[1] % p->w.kernel[0];
        const int64_t i = t / p->w.kernel[1] / p->w.kernel[0] % p->w.out[0];
        const int64_t c = t / row_taps % p->w.kernel[2], o = t / row_taps / p->w.kernel[2];
        const int64_t x_row = ot_pooling_at(p, 0, i, a), depth = ot_pooling_at(p, 2, o, c);
        if (x_row < 0 || x_row >= p->w.in[0] || depth < 0 || depth >= p->w.in[2]) continue;
        int64_t from, to;
        ot_pooling_span(p, 1, b, &from, &to);
        const int64_t line = (depth * p->w.in[0] + x_row) * p->w.in[1];
        float *xs = x + (line + ot_pooling_at(p, 1, from, b)) * inner;
        float *ys = y + ((o * p->w.out[0] + i) * p->w.out[1] + from) * inner;
        const float scale = plan->share[2][o] * plan->share[0][i];
        if (inner == 1) tap_row(xs, stride, ys, scale, plan->share[1] + from, to - from, back);
        for (int64_t j = from; j < to && inner > 1; j++, xs += stride * inner, ys += inner)
            tap_lanes(xs, ys, scale * plan->share[1][j], inner, back);
    }
}

static void forward_plane(const struct op_node *n, int64_t number) {
    const struct average_pool_plan *plan = n->plan;
    const int64_t in = ot_pooling_in(&plan->p) * plan->p.inner,
                  out = ot_pooling_out(&plan->p) * plan->p.inner;
    float *y = ot_f(n->y[0]) + number * out;
    memset(y, 0, (size_t)out * sizeof *y);
    plane(plan, ot_f(n->x[0]) + number * in, y, false);
}

static void backward_plane(const struct op_node *n, int64_t number) {
    const struct average_pool_plan *plan = n->plan;
    const int64_t in = ot_pooling_in(&plan->p) * plan->p.inner,
                  out = ot_pooling_out(&plan->p) * plan->p.inner;
    float *dx = ot_f(n->dx[0]) + number * in;
    memset(dx, 0, (size_t)in * sizeof *dx);
    plane(plan, dx, ot_f(n->dy[0]) + number * out, true);
}

static void forward(struct op_node *n) {
    const struct average_pool_plan *plan = n->plan;
    ot_pooling_run(n, &plan->p, forward_plane);
}

static void backward(struct op_node *n) {
    const struct average_pool_plan *plan = n->plan;
    if (n->dx[0]) ot_pooling_run(n, &plan->p, backward_plane);
}

static const char *const cases[] = {
    "X[2,3,8,8] kernel_shape=2,2 strides=2,2 lanes -> Y[2,3,4,4]",
    "X[2,2,7,9] kernel_shape=3,3 strides=2,2 pads=1,1,1,1 lanes -> Y[2,2,4,5]",
    "X[2,2,7,9] kernel_shape=3,3 strides=2,2 pads=1,1,1,1 count_include_pad=1 -> Y[2,2,4,5]",
    "X[2,3,8] kernel_shape=3 strides=2 ceil_mode=1 lanes -> Y[2,3,4]",
    "X[1,2,9] kernel_shape=3 dilations=2 @19 -> Y[1,2,5]",
    "X[1,1,5,5] kernel_shape=2,2 strides=2,2 auto_pad=SAME_LOWER -> Y[1,1,3,3]",
    "f[1,1,4]{1,2,3,4} kernel_shape=3 strides=2 pads=1,1 count_include_pad=1 -> f[1,1,2]{1,3}",
    "f[1,1,4]{1,2,3,4} kernel_shape=3 strides=2 pads=1,1 -> f[1,1,2]{1.5,3}",
    "f[1,1,4]{1,2,3,4} kernel_shape=3 strides=2 ceil_mode=1 count_include_pad=1 -> "
    "f[1,1,2]{2,3.5}",
    "X[2,2,4,5,6] kernel_shape=2,3,2 strides=1,2,3 pads=1,0,1,0,2,0 -> Y[2,2,4,3,2]",
    "X[1,1,3,3,3] kernel_shape=2,2,2 dilations=2,1,1 count_include_pad=1 pads=1,0,0,1,0,0 @19 -> "
    "Y[1,1,3,2,2]",
    "f[1,1,2,1,2]{1,2,3,5} kernel_shape=2,1,2 -> f[1,1,1,1,1]{2.75}",
    "f[1,1,1]{5} kernel_shape=2 dilations=2 pads=1,1 @19 -> f[1,1,1]{0}",
    "X[1,1,5,5] kernel_shape=2,2 ceil_mode=9 -> error: 'ceil_mode'",
    "X[1,1,5,5] kernel_shape=2,2 pads=2,0,0,0 -> error: 'pads'",
    NULL};

const struct op ot_op_AveragePool = {
    .name = "AveragePool",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "kernel_shape:I strides:I pads:I dilations:I auto_pad:s ceil_mode:i "
                  "count_include_pad:i",
    .plan_size = sizeof(struct average_pool_plan),
    .lanes = ot_pooling_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
