/* max_pool.c - MaxPool: y = the largest x of each window; NaN if there is one.
 *
 * Forward notes where it found the maximum (the first of equal ones), for its own backward and for
 * the output Indices; positions that come from outside are never used. A window with nothing but
 * padding gives -inf. Integers of 8 bits go through floats, which hold them all; nothing but
 * padding gives the least of them.
 */
#include "ops/walk/pooling.h"

#include <math.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/number.h"

struct max_pool_plan {
    struct pooling p;
    bool column_major; /* of Indices */
};

static bool is_small(const struct tensor *x) { return x->type == OT_INT8 || x->type == OT_UINT8; }

static bool lanes(const struct op_node *n, int lane_rank) {
    return !is_small(n->x[0]) && ot_pooling_lanes(n, lane_rank);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct max_pool_plan *plan = ot_op_plan(n);
    const int64_t order = ot_attr_int(n->node, "storage_order", 0);
    if (order != 0 && order != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'storage_order' is %lld, expected 0 or 1", (long long)order);
    if (is_small(n->x[0])) {
        OT_TRY(ot_pooling_shape(n, &plan->p, err));
        n->forward_scratch_size = (size_t)(ot_count(n->x[0]) + ot_count(n->y[0])) * sizeof(float);
    } else {
        OT_TRY(ot_pooling_prepare(n, &plan->p, err));
    }
    plan->column_major = order;
    if (order && n->x[0]->rank > 4)
        return ot_op_fail(
            n, err, OT_ERROR_UNSUPPORTED,
            "attribute 'storage_order' is 1, which is not supported with 3 spatial dimensions");
    const bool indices = n->n_out > 1 && n->y[1];
    if (indices) OT_TRY(ot_op_set(n, n->y[1], OT_INT64, n->y[0]->rank, n->y[0]->dim, err));
    if (ot_training_wants(n, 0) || indices)
        n->save_size = (size_t)ot_count(n->y[0]) * sizeof(int32_t);
    return OT_OK;
}

/* y = max(y, x), at = position where x is taken, for n outputs: x moves by `stride`, its position
 * by `step`. at NULL: nobody asks. */
static inline void take_larger(const float *x, int64_t stride, int32_t position, int32_t step,
                               float *y, int32_t *at, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        const float v = x[j * stride];
        const bool larger = v > y[j] || v != v || (at && at[j] < 0);
        y[j] = larger ? v : y[j];
        if (at) at[j] = larger ? position + (int32_t)j * step : at[j];
    }
}

/* Tap (., b) of the outputs of one row; x_row: row of x that the tap falls into. */
static void take_row(const struct pooling *p, const float *x, int64_t x_row, int64_t b, float *y,
                     int32_t *at) {
    const int64_t stride = p->w.stride[1];
    int64_t from, to;
    ot_pooling_span(p, 1, b, &from, &to);
    const int64_t k = x_row * p->w.in[1] + ot_pooling_at(p, 1, from, b);
    if (at)
        take_larger(x + k, stride, (int32_t)k, (int32_t)stride, y + from, at + from, to - from);
    else
        take_larger(x + k, stride, 0, 0, y + from, NULL, to - from);
}

/* Outputs without a place. */
static void clear_outputs(float *y, int32_t *at, int64_t n) {
    for (int64_t j = 0; j < n; j++) y[j] = -INFINITY;
    for (int64_t j = 0; j < n && at; j++) at[j] = -1;
}

/* Outputs of one plane in rows. at: the positions of the maxima, or NULL. */
static void pool_rows(const struct pooling *p, const float *x, float *y, int32_t *at) {
    const int64_t row = p->w.out[1], taps = p->w.kernel[2] * p->w.kernel[0];
    for (int64_t i = 0; i < p->w.out[2] * p->w.out[0]; i++, y += row) {
        int32_t *row_at = at ? at + i * row : NULL;
        clear_outputs(y, row_at, row);
        for (int64_t a = 0; a < taps; a++) {
            const int64_t x_row = ot_pooling_at(p, 0, i % p->w.out[0], a % p->w.kernel[0]);
            const int64_t depth = ot_pooling_at(p, 2, i / p->w.out[0], a / p->w.kernel[0]);
            if (x_row < 0 || x_row >= p->w.in[0] || depth < 0 || depth >= p->w.in[2]) continue;
            for (int64_t b = 0; b < p->w.kernel[1]; b++)
                take_row(p, x, depth * p->w.in[0] + x_row, b, y, row_at);
        }
    }
}

/* Outputs j to `to` of row i in lanes, whose windows have the same places inside the input. a: all
 * but what depends on i and j, with x, y and at at the beginning of the plane. */
static void pool_run(const struct pooling *p, const struct kernels *k, struct max_pool a, int64_t i,
                     int64_t j, int64_t to) {
    const int64_t out = (i * p->w.out[1] + j) * p->inner;
    int64_t at[2] = {i, j}, taps[2];
    for (int d = 0; d < 2; d++) {
        const int64_t start = ot_pooling_at(p, d, at[d], 0), step = p->w.dilation[d];
        taps[d] = ot_pooling_taps(p, d, at[d], false);
        at[d] = start < 0 ? start + (step - 1 - start) / step * step : start;
    }
    a.y += out;
    if (a.at) a.at += out;
    if (!taps[0] || !taps[1]) {
        clear_outputs(a.y, a.at, (to - j) * p->inner);
        return;
    }
    a.position = (int32_t)(at[0] * p->w.in[1] + at[1]);
    a.x += a.position * p->inner;
    a.lines = (int)taps[0];
    a.columns = (int)taps[1];
    a.outputs = (int)(to - j);
    k->max_pool(&a);
}

static struct hop move_by(const struct pooling *p, int64_t places) {
    return (struct hop){(size_t)places * (size_t)p->inner, (int32_t)places};
}

/* The same in lanes. */
static void pool_lanes(const struct pooling *p, const struct kernels *k, const float *x, float *y,
                       int32_t *at) {
    const struct max_pool a = {.x = x,
                               .line = move_by(p, p->w.dilation[0] * p->w.in[1]),
                               .column = move_by(p, p->w.dilation[1]),
                               .next = move_by(p, p->w.stride[1]),
                               .lanes = (size_t)p->inner,
                               .y = y,
                               .at = at};
    int64_t from, to, last_from, last_to; /* outputs with all columns inside */
    ot_pooling_span(p, 1, 0, &from, &last_to);
    ot_pooling_span(p, 1, p->w.kernel[1] - 1, &last_from, &to);
    if (last_to < to) to = last_to;
    for (int64_t i = 0; i < p->w.out[0]; i++)
        for (int64_t j = 0, behind; j < p->w.out[1]; j = behind) {
            behind = j == from && to > from ? to : j + 1;
            pool_run(p, k, a, i, j, behind);
        }
}

static void pool_integers(const struct op_node *n, int64_t plane, int32_t *at) {
    const struct pooling *p = &((const struct max_pool_plan *)n->plan)->p;
    const ot_type type = n->x[0]->type;
    const int64_t in = ot_pooling_in(p), out = ot_pooling_out(p);
    float *x = (float *)n->scratch + plane * in;
    float *y = (float *)n->scratch + p->planes * in + plane * out;
    for (int64_t i = 0; i < in; i++)
        x[i] = (float)ot_load_integer(n->x[0]->data, type, plane * in + i);
    pool_rows(p, x, y, at);
    for (int64_t i = 0; i < out; i++)
        ot_store_integer(n->y[0]->data, type, plane * out + i, ot_whole(type, (double)y[i]));
}

static void forward_plane(const struct op_node *n, int64_t plane) {
    const struct max_pool_plan *plan = n->plan;
    const struct pooling *p = &plan->p;
    const int64_t size = ot_pooling_out(p) * p->inner;
    const int64_t first = plane * ot_pooling_in(p) * p->inner;
    int32_t *at = n->save_size ? (int32_t *)n->save + plane * size : NULL;
    if (is_small(n->x[0]))
        pool_integers(n, plane, at);
    else if (p->inner > 1)
        pool_lanes(p, n->kernels, ot_f(n->x[0]) + first, ot_f(n->y[0]) + plane * size, at);
    else
        pool_rows(p, ot_f(n->x[0]) + first, ot_f(n->y[0]) + plane * size, at);
    if (n->n_out < 2 || !n->y[1]) return;
    int64_t *index = (int64_t *)n->y[1]->data + plane * size;
    for (int64_t i = 0; i < size; i++) {
        const int64_t row = at[i] / p->w.in[1], column = at[i] % p->w.in[1];
        index[i] =
            plane * ot_pooling_in(p) + (plan->column_major ? column * p->w.in[0] + row : at[i]);
    }
}

static void forward(struct op_node *n) {
    const struct max_pool_plan *plan = n->plan;
    ot_pooling_run(n, &plan->p, forward_plane);
}

static void backward_plane(const struct op_node *n, int64_t plane) {
    const struct max_pool_plan *plan = n->plan;
    const struct pooling *p = &plan->p;
    const int64_t inner = p->inner, size = ot_pooling_out(p) * inner;
    const float *dy = ot_f(n->dy[0]) + plane * size;
    const int32_t *at = (const int32_t *)n->save + plane * size;
    float *dx = ot_f(n->dx[0]) + plane * ot_pooling_in(p) * inner;
    memset(dx, 0, (size_t)(ot_pooling_in(p) * inner) * sizeof *dx);
    for (int64_t i = 0; i < size; i += inner)
        for (int64_t j = 0; j < inner; j++)
            if (at[i + j] >= 0) dx[at[i + j] * inner + j] += dy[i + j];
}

static void backward(struct op_node *n) {
    const struct max_pool_plan *plan = n->plan;
    if (n->dx[0]) ot_pooling_run(n, &plan->p, backward_plane);
}

static const char *const cases[] = {
    "X[2,3,8,8] kernel_shape=2,2 strides=2,2 distinct range=-13,13 lanes -> Y[2,3,4,4]",
    "X[2,2,7,9] kernel_shape=3,3 strides=2,2 pads=1,1,1,1 distinct range=-9,9 lanes "
    "-> Y[2,2,4,5]",
    "f[1,1,3]{2,2,1}:x kernel_shape=3 -> f[1,1,1]{2} d0=f[1,1,3]{1,0,0}",
    "X[2,3,8] kernel_shape=3 strides=2 ceil_mode=1 distinct lanes -> Y[2,3,4]",
    "X[1,2,7,7] kernel_shape=2,2 dilations=2,3 distinct range=-4,4 -> Y[1,2,5,4]",
    "X[1,1,5,5] kernel_shape=2,2 strides=2,2 auto_pad=SAME_UPPER distinct -> Y[1,1,3,3]",
    "f[1,1,2,3]{1,5,2,7,3,6} kernel_shape=2,2 -> f[1,1,1,2]{7,6} i64[1,1,1,2]{3,5}",
    "f[1,1,2,3]{1,5,2,7,3,6} kernel_shape=2,2 storage_order=1 -> f[1,1,1,2]{7,6} "
    "i64[1,1,1,2]{1,5}",
    "X[17,2,9,11] kernel_shape=3,3 dilations=2,3 pads=2,4,1,3 distinct range=-4,4 lanes "
    "-> Y[17,2,8,12]",
    "X[2,1,4,3] kernel_shape=3,2 strides=2,3 pads=1,1,1,0 distinct lanes -> Y[2,1,2,1]",
    "f[1,1,3]{1,nan,2} kernel_shape=2 -> f[1,1,2]{nan,nan}",
    "u8[1,1,3,3]{1,200,3,4,5,6,7,8,9} kernel_shape=2,2 -> u8[1,1,2,2]{200,200,8,9}",
    "i8[1,1,4]{-1,-2,-128,3} kernel_shape=2 pads=1,1 -> i8[1,1,5]{-1,-1,-2,3,3}",
    "u8[1,1,2,2]{1,2,4,3} kernel_shape=2,2 -> u8[1,1,1,1]{4} i64[1,1,1,1]{2}",
    "i32[1,1,2]{1,2} kernel_shape=2 -> error: input 0 is int32",
    "X[1,1,5,5] kernel_shape=2,2 ceil_mode=9 -> error: 'ceil_mode'",
    "X[1,1,5,5] kernel_shape=2,2 storage_order=7 -> error: 'storage_order'",
    "X[1,1,5,5] kernel_shape=2,2 pads=3,0,0,0 -> error: 'pads'",
    "X[1,1,5,5] kernel_shape=2,2 strides=0,1 -> error: 'strides'",
    "X[2,2,4,5,3] kernel_shape=2,3,2 strides=1,2,1 pads=1,0,1,0,2,0 distinct range=-9,9 -> "
    "Y[2,2,4,3,3]",
    "f[1,1,2,1,2]{1,2,8,5} kernel_shape=2,1,1 -> f[1,1,1,1,2]{8,5} i64[1,1,1,1,2]{2,3}",
    "X[1,1,5,5,5] kernel_shape=2,2,2 storage_order=1 -> error: 3 spatial dimensions",
    "X[1,1,5,5,5,5] kernel_shape=2,2,2,2 -> error: 4 spatial dimensions",
    "X[1,1,5,5] -> error: 'kernel_shape'",
    NULL};

const struct op ot_op_MaxPool = {
    .name = "MaxPool",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 2,
    .attributes = "kernel_shape:I strides:I pads:I dilations:I auto_pad:s ceil_mode:i "
                  "storage_order:i",
    .plan_size = sizeof(struct max_pool_plan),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "floats and 8-bit integers only",
    .cases = cases,
};
