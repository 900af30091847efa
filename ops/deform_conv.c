/* deform_conv.c - DeformConv: a convolution whose every tap stands where its offset puts it,
 * between four elements of x, and is multiplied by its mask (ONNX DeformConv-19, 22; Zhu, Hu, Lin,
 * Dai, "Deformable ConvNets v2", arXiv 1811.11168). Elements outside are 0.
 *
 * Taps are laid out as a matrix [channels, taps][places], which W multiplies, sample by sample. The
 * gradient of that matrix goes to x channel by channel, and to offsets and masks tap by tap.
 */
#include <math.h>
#include <string.h>

#include "ops/product/dnnl.h"
#include "ops/product/window.h"

enum { X, W, OFFSET, B, MASK };

struct deform_conv_plan {
    struct conv_shape shape;
    int64_t taps, places, group;     /* group: channels that share offsets */
    int64_t x_size, y_size, columns; /* floats of a sample; of the matrix of taps */
};

/* A sample on its way. */
struct work {
    const struct op_node *n;
    int64_t sample;
    float *columns; /* the matrix, or its gradient */
};

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}
static struct tensor *wanted(const struct op_node *n, int i) {
    return i < n->n_in ? n->dx[i] : NULL;
}

/* ---- prepare ---- */

static ot_status check_shape(const struct op_node *n, int i, int rank, const int64_t *dim,
                             ot_error *err) {
    const struct tensor *t = input(n, i);
    struct tensor expected = {.rank = rank};
    char p[128], q[128];
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    memcpy(expected.dim, dim, (size_t)rank * sizeof *dim);
    if (ot_same_shape(t, &expected)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d has shape %s, expected %s", i,
                      ot_shape_text(t, p, sizeof p), ot_shape_text(&expected, q, sizeof q));
}

static ot_status read_shape(const struct op_node *n, struct deform_conv_plan *plan, ot_error *err) {
    const struct tensor *x = n->x[X], *w = n->x[W];
    const int64_t groups = ot_attr_int(n->node, "group", 1);
    const int64_t shared = ot_attr_int(n->node, "offset_group", 1);
    struct window window;
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, W, OT_FLOAT, err));
    if (x->rank != 4)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input 0 has %d spatial dimensions, only 2 are supported", x->rank - 2);
    OT_TRY(ot_conv_window(n, w, false, &window, err));
    if (ot_elements(x) < 1 || groups < 1 || shared < 1 || x->dim[1] % groups ||
        w->dim[0] % groups || x->dim[1] % shared || w->dim[1] != x->dim[1] / groups)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %lld input and %lld output channels, which do not fit "
                          "groups of %lld channels and %lld groups of offsets",
                          (long long)x->dim[1], (long long)w->dim[0], (long long)w->dim[1],
                          (long long)shared);
    plan->shape =
        (struct conv_shape){.n = x->dim[0], .c = x->dim[1], .m = w->dim[0], .groups = (int)groups};
    ot_window_shape(&window, &plan->shape);
    plan->taps = w->dim[2] * w->dim[3];
    plan->group = x->dim[1] / shared;
    plan->places = plan->shape.oh * plan->shape.ow;
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct deform_conv_plan *plan = ot_op_plan(n);
    const struct conv_shape *c = &plan->shape;
    OT_TRY(read_shape(n, plan, err));
    const int64_t all = c->c / plan->group * plan->taps;
    const int64_t offset[] = {c->n, 2 * all, c->oh, c->ow}, mask[] = {c->n, all, c->oh, c->ow};
    const int64_t y[] = {c->n, c->m, c->oh, c->ow}, matrix[] = {c->c, plan->taps, plan->places};
    OT_TRY(check_shape(n, OFFSET, 4, offset, err));
    OT_TRY(check_shape(n, B, 1, &c->m, err));
    OT_TRY(check_shape(n, MASK, 4, mask, err));
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, y, err));
    if (!ot_shape_count(matrix, 3, (int64_t)1 << 40, &plan->columns))
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the kernel has more than 2^40 taps over all positions");
    plan->x_size = ot_conv_inputs(c);
    plan->y_size = ot_conv_outputs(c);
    n->forward_scratch_size = (size_t)plan->columns * sizeof(float);
    n->backward_scratch_size = n->forward_scratch_size;
    n->flops = 2.0 * (double)plan->columns * (double)(c->n * c->m / c->groups);
    return OT_OK;
}

/* ---- one tap at one place ---- */

/* Four elements of a channel with their weights, and the slopes of these by both coordinates.
 * Outside the weights and slopes are 0. */
struct point {
    int64_t at[4];
    float weight[4], slope_y[4], slope_x[4];
    float mask;
};

/* Two neighbours along one axis. */
static void neighbours_of(float v, int64_t size, int64_t at[2], float weight[2], float slope[2]) {
    const float before = v > -1 && v < (float)size ? floorf(v) : -2;
    for (int k = 0; k < 2; k++) {
        const int64_t i = (int64_t)before + k;
        const bool there = i >= 0 && i < size;
        const float rest = v - before;
        at[k] = there ? i : 0;
        weight[k] = !there ? 0 : k ? rest : 1 - rest;
        slope[k] = !there ? 0 : k ? 1 : -1;
    }
}

/* tap: of all groups of offsets. */
static struct point point_at(const struct work *w, int64_t tap, int64_t place) {
    const struct deform_conv_plan *plan = w->n->plan;
    const struct conv_shape *c = &plan->shape;
    const int64_t first = w->sample * (c->c / plan->group) * plan->taps + tap, k = tap % plan->taps;
    const float *offset = ot_f(w->n->x[OFFSET]) + 2 * first * plan->places + place;
    const struct tensor *mask = input(w->n, MASK);
    const int64_t top = place / c->ow * c->stride_h - c->pad_top + k / c->kw * c->dilation_h;
    const int64_t left = place % c->ow * c->stride_w - c->pad_left + k % c->kw * c->dilation_w;
    int64_t row[2], column[2];
    float wy[2], wx[2], dy[2], dx[2];
    neighbours_of((float)top + offset[0], c->h, row, wy, dy);
    neighbours_of((float)left + offset[plan->places], c->w, column, wx, dx);
    struct point p = {.mask = mask ? ot_f(mask)[first * plan->places + place] : 1};
    for (int i = 0; i < 4; i++) {
        p.at[i] = row[i / 2] * c->w + column[i % 2];
        p.weight[i] = wy[i / 2] * wx[i % 2];
        p.slope_y[i] = dy[i / 2] * wx[i % 2];
        p.slope_x[i] = wy[i / 2] * dx[i % 2];
    }
    return p;
}

static float sum4(const float *x, const int64_t *at, const float *weight) {
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += weight[i] * x[at[i]];
    return sum;
}

/* ---- all taps of a sample ---- */

/* Channels that share the offsets of this tap. */
static int64_t first_channel(const struct deform_conv_plan *plan, int tap) {
    return tap / plan->taps * plan->group;
}

static int tap_count(const struct deform_conv_plan *plan) {
    return (int)(plan->shape.c / plan->group * plan->taps);
}

static float *columns_row(const struct work *w, int64_t channel, int64_t tap) {
    const struct deform_conv_plan *plan = w->n->plan;
    return w->columns + (channel * plan->taps + tap % plan->taps) * plan->places;
}

static void read_tap(void *arg, int tap, int worker) {
    (void)worker;
    const struct work *w = arg;
    const struct deform_conv_plan *plan = w->n->plan;
    const int64_t plane = plan->shape.h * plan->shape.w, first = first_channel(plan, tap);
    for (int64_t i = 0; i < plan->places; i++) {
        const struct point p = point_at(w, tap, i);
        const float *x = ot_f(w->n->x[X]) + w->sample * plan->x_size + first * plane;
        for (int64_t c = first; c < first + plan->group; c++, x += plane)
            columns_row(w, c, tap)[i] = p.mask * sum4(x, p.at, p.weight);
    }
}

/* Gradients of the offsets and masks of a tap. */
static void backward_tap(void *arg, int tap, int worker) {
    (void)worker;
    const struct work *w = arg;
    const struct deform_conv_plan *plan = w->n->plan;
    const int64_t plane = plan->shape.h * plan->shape.w, first = first_channel(plan, tap);
    const int64_t at = (w->sample * tap_count(plan) + tap) * plan->places;
    struct tensor *offset = wanted(w->n, OFFSET), *mask = wanted(w->n, MASK);
    for (int64_t i = 0; i < plan->places; i++) {
        const struct point p = point_at(w, tap, i);
        const float *x = ot_f(w->n->x[X]) + w->sample * plan->x_size + first * plane;
        float by_y = 0, by_x = 0, by_mask = 0;
        for (int64_t c = first; c < first + plan->group; c++, x += plane) {
            const float d = columns_row(w, c, tap)[i];
            by_y += d * sum4(x, p.at, p.slope_y);
            by_x += d * sum4(x, p.at, p.slope_x);
            by_mask += d * sum4(x, p.at, p.weight);
        }
        if (offset) ot_f(offset)[2 * at + i] = p.mask * by_y;
        if (offset) ot_f(offset)[2 * at + plan->places + i] = p.mask * by_x;
        if (mask) ot_f(mask)[at + i] = by_mask;
    }
}

static void backward_channel(void *arg, int channel, int worker) {
    (void)worker;
    const struct work *w = arg;
    const struct deform_conv_plan *plan = w->n->plan;
    const int64_t plane = plan->shape.h * plan->shape.w;
    float *dx = ot_f(w->n->dx[X]) + w->sample * plan->x_size + channel * plane;
    memset(dx, 0, (size_t)plane * sizeof *dx);
    for (int64_t k = 0; k < plan->taps; k++) {
        const int64_t tap = channel / plan->group * plan->taps + k;
        const float *d = columns_row(w, channel, tap);
        for (int64_t i = 0; i < plan->places; i++) {
            const struct point p = point_at(w, tap, i);
            for (int j = 0; j < 4; j++) dx[p.at[j]] += p.mask * d[i] * p.weight[j];
        }
    }
}

/* ---- samples ---- */

enum product { FORWARD, DATA, WEIGHT }; /* y = W c, dc = W^T dy, dW = dy c^T */

static void multiply_matrices(const struct work *w, enum product kind, bool accumulate) {
    struct op_node *n = (struct op_node *)w->n;
    const struct deform_conv_plan *plan = n->plan;
    const int64_t g = plan->shape.groups, m = plan->shape.m / g, k = plan->shape.c / g * plan->taps;
    const struct dense_gemm gemm[] = {
        [FORWARD] = {.m = m, .n = plan->places, .k = k, .alpha = 1, .accumulate = accumulate},
        [DATA] = {.ta = true, .m = k, .n = plan->places, .k = m, .alpha = 1},
        [WEIGHT] = {
            .tb = true, .m = m, .n = k, .k = plan->places, .alpha = 1, .accumulate = accumulate}};
    for (int64_t i = 0; i < g; i++) {
        const float *weight = ot_f(n->x[W]) + i * m * k;
        float *c = w->columns + i * k * plan->places;
        const int64_t y = w->sample * plan->y_size + i * m * plan->places;
        if (kind == FORWARD)
            ot_dense_gemm(n, &gemm[kind], weight, c, ot_f(n->y[0]) + y);
        else if (kind == DATA)
            ot_dense_gemm(n, &gemm[kind], weight, ot_f(n->dy[0]) + y, c);
        else
            ot_dense_gemm(n, &gemm[kind], ot_f(n->dy[0]) + y, c, ot_f(n->dx[W]) + i * m * k);
    }
}

static void add_bias(const struct work *w) {
    const struct deform_conv_plan *plan = w->n->plan;
    float *y = ot_f(w->n->y[0]) + w->sample * plan->y_size;
    for (int64_t m = 0; m < plan->shape.m; m++)
        for (int64_t i = 0; i < plan->places; i++) *y++ = ot_f(w->n->x[B])[m];
}

static void forward(struct op_node *n) {
    const struct deform_conv_plan *plan = n->plan;
    const bool bias = input(n, B) != NULL;
    struct work w = {.n = n, .columns = n->scratch};
    for (; w.sample < plan->shape.n; w.sample++) {
        ot_parallel_for(n->pool, tap_count(plan), read_tap, &w);
        if (bias) add_bias(&w);
        multiply_matrices(&w, FORWARD, bias);
    }
}

static void backward_bias(struct op_node *n) {
    const struct deform_conv_plan *plan = n->plan;
    for (int64_t m = 0; m < plan->shape.m; m++) {
        double sum = 0;
        for (int64_t sample = 0; sample < plan->shape.n; sample++) {
            const float *dy = ot_f(n->dy[0]) + sample * plan->y_size + m * plan->places;
            for (int64_t i = 0; i < plan->places; i++) sum += (double)dy[i];
        }
        ot_f(n->dx[B])[m] = (float)sum;
    }
}

static void backward(struct op_node *n) {
    const struct deform_conv_plan *plan = n->plan;
    const bool taps = wanted(n, OFFSET) || wanted(n, MASK);
    struct work w = {.n = n, .columns = n->scratch};
    for (; w.sample < plan->shape.n; w.sample++) {
        if (n->dx[X] || taps) multiply_matrices(&w, DATA, false);
        if (n->dx[X]) ot_parallel_for(n->pool, (int)plan->shape.c, backward_channel, &w);
        if (taps) ot_parallel_for(n->pool, tap_count(plan), backward_tap, &w);
        if (!n->dx[W]) continue;
        ot_parallel_for(n->pool, tap_count(plan), read_tap, &w);
        multiply_matrices(&w, WEIGHT, w.sample > 0);
    }
    if (wanted(n, B)) backward_bias(n);
}

static const char *const cases[] = {
    "X[2,2,5,4] W[3,2,3,2]:p O[2,12,3,3] B[3]:p -> Y[2,3,3,3]",
    "X[2,4,5,5] W[6,2,3,3]:p O[2,36,3,3] - M[2,18,3,3] group=2 offset_group=2 strides=2,2 "
    "pads=1,1,1,1 -> Y[2,6,3,3]",
    "X[1,2,6,5] W[2,2,2,2]:p O[1,8,4,6] B[2]:p M[1,4,4,6] dilations=2,1 pads=0,1,0,1 range=-3,3 "
    "-> Y[1,2,4,6]",
    "f[1,1,2,2]{1,2,3,4} f[1,1,1,1]{2} f[1,2,2,2]{0,0.5,0,0,0,-1,0.25,2} "
    "-> f[1,1,2,2]{2,4,6.5,0}",
    "X[1,2,4,4] W[2,2,2,2] O[1,4,3,3] -> error: input 2 has shape [1,4,3,3], expected [1,8,3,3]",
    "X[1,3,4,4] W[2,2,2,2] O[1,8,3,3] -> error: the node has 3 input and 2 output channels",
    "X[1,2,4] W[2,2,2] O[1,4,3] -> error: 1 spatial dimensions",
    NULL};

const struct op ot_op_DeformConv = {
    .name = "DeformConv",
    .since = 19,
    .min_in = 3,
    .max_in = 5,
    .min_out = 1,
    .max_out = 1,
    .attributes = "dilations:I group:i kernel_shape:I offset_group:i pads:I strides:I",
    .needs = OT_X(X) | OT_X(W) | OT_X(OFFSET) | OT_X(MASK),
    .parameters = OT_X(W) | OT_X(B),
    .plan_size = sizeof(struct deform_conv_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "2 spatial dimensions only",
    .cases = cases,
};
