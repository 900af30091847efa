/* grid_sample.c - GridSample: y[n, c, p] = x[n, c] at grid[n, p], by nearest element, linear or
 * cubic (a = -0.75), over one to three spatial axes (ONNX GridSample-16, 20). Of
 * integers and bools the nearest alone: the standard does not say how what lies between them is
 * rounded, and its reference rounds the weights.
 *
 * Along each axis a place has one, two or four taps; the value is the sum over all their
 * combinations. Gradients of x and of the grid (through the taps' slopes) are taken sample by
 * sample, in one order.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

enum { MOST = 3, TAPS = 4 };
enum mode { NEAREST, LINEAR, CUBIC };
enum padding { ZEROS, BORDER, REFLECTION };

struct grid_sample_plan {
    enum mode mode;
    enum padding padding;
    bool corners;
    int rank;
    int64_t channels, in, out;        /* elements of a channel of x, of y */
    int64_t size[MOST], stride[MOST]; /* of x; the axis that comes first in the grid first */
};

static ot_status read_mode(const struct op_node *n, struct grid_sample_plan *plan, ot_error *err) {
    const char *mode = ot_attr_string(n->node, "mode", "linear");
    const char *padding = ot_attr_string(n->node, "padding_mode", "zeros");
    if (!strcmp(mode, "nearest"))
        plan->mode = NEAREST;
    else if (!strcmp(mode, "linear") || !strcmp(mode, "bilinear"))
        plan->mode = LINEAR;
    else if (!strcmp(mode, "cubic") || !strcmp(mode, "bicubic"))
        plan->mode = CUBIC;
    else
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'linear', 'nearest' or 'cubic'",
                          mode);
    if (!strcmp(padding, "zeros"))
        plan->padding = ZEROS;
    else if (!strcmp(padding, "border"))
        plan->padding = BORDER;
    else if (!strcmp(padding, "reflection"))
        plan->padding = REFLECTION;
    else
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'padding_mode' is '%.40s', expected 'zeros', 'border' or 'reflection'",
            padding);
    plan->corners = ot_attr_int(n->node, "align_corners", 0) != 0;
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *grid = n->x[1];
    struct grid_sample_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    char p[128], q[128];
    OT_TRY(read_mode(n, plan, err));
    const bool whole = ot_is_integer(x->type) || x->type == OT_BOOL;
    if (whole && plan->mode != NEAREST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input 0 is %s, for which only mode 'nearest' is supported",
                          ot_type_name(x->type));
    if (!whole) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    plan->rank = x->rank - 2;
    if (plan->rank < 1 || plan->rank > MOST || grid->rank != x->rank || grid->dim[0] != x->dim[0] ||
        grid->dim[x->rank - 1] != plan->rank || ot_elements(x) < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the grid has shape %s, which does not fit input 0 of shape %s",
                          ot_shape_text(grid, p, sizeof p), ot_shape_text(x, q, sizeof q));
    plan->channels = x->dim[1];
    plan->in = plan->out = 1;
    for (int i = 0; i < plan->rank; i++) {
        plan->size[i] = x->dim[x->rank - 1 - i];
        plan->stride[i] = plan->in;
        plan->in *= plan->size[i];
        plan->out *= grid->dim[i + 1];
        dim[i + 2] = grid->dim[i + 1];
    }
    dim[0] = x->dim[0];
    dim[1] = x->dim[1];
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    n->flops = 2.0 * (double)ot_elements(n->y[0]);
    for (int i = 0; i < plan->rank; i++)
        n->flops *= plan->mode == CUBIC ? 4 : plan->mode == LINEAR ? 2 : 1;
    return OT_OK;
}

/* ---- the taps of one place along one axis ---- */

struct taps {
    int n;
    int64_t index[TAPS];             /* -1: outside, 0 there */
    float weight[TAPS], slope[TAPS]; /* slope: of the weight, by the grid's coordinate */
};

/* Mirrors x at `low` and `high`, as often as it takes; *sign: how the result goes with x. */
static double reflect(double x, double low, double high, double *sign) {
    const double range = high - low;
    *sign = 1;
    if (range <= 0) {
        *sign = 0;
        return low;
    }
    double over = x - low;
    if (over < 0) {
        over = -over;
        *sign = -1;
    }
    const double flips = floor(over / range), rest = over - flips * range;
    if (fmod(flips, 2) == 0) return low + rest;
    *sign = -*sign;
    return high - rest;
}

/* Into [0, size) by the padding, for a place between elements. */
static double inside(const struct grid_sample_plan *plan, double x, int64_t size, double *sign) {
    const double last = (double)(size - 1);
    *sign = 1;
    if (plan->padding == ZEROS) return x;
    if (plan->padding == REFLECTION)
        x = plan->corners ? reflect(x, 0, last, sign) : reflect(x, -0.5, last + 0.5, sign);
    if (x >= 0 && x <= last) return x;
    *sign = 0;
    return x < 0 ? 0 : last;
}

/* And for the number of an element. */
static int64_t element_index(const struct grid_sample_plan *plan, double i, int64_t size) {
    double sign;
    if (plan->padding == ZEROS) return i >= 0 && i < (double)size ? (int64_t)i : -1;
    const int64_t k = (int64_t)(inside(plan, i, size, &sign) + 0.5);
    return k < size ? k : size - 1;
}

static void cubic_weights(double t, float *weight, float *slope) {
    const double a = -0.75;
    for (int k = 0; k < TAPS; k++) {
        const double d = t - (double)(k - 1), x = fabs(d), sign = d < 0 ? -1 : 1;
        const bool near = k == 1 || k == 2;
        weight[k] = (float)(near ? ((a + 2) * x - (a + 3)) * x * x + 1
                                 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a);
        slope[k] = (float)(sign * (near ? (3 * (a + 2) * x - 2 * (a + 3)) * x
                                        : (3 * a * x - 10 * a) * x + 8 * a));
    }
}

static struct taps taps_at(const struct grid_sample_plan *plan, int axis, float coordinate) {
    const int64_t size = plan->size[axis];
    const double scale = (double)(plan->corners ? size - 1 : size) / 2;
    double sign = 1, x = ((double)coordinate + 1) * scale - (plan->corners ? 0 : 0.5);
    struct taps t = {.n = plan->mode == CUBIC ? 4 : plan->mode == LINEAR ? 2 : 1};
    x = x > -0x1p40 && x < 0x1p40 ? x : -0x1p40; /* NaN too */
    if (plan->mode != CUBIC) x = inside(plan, x, size, &sign);
    if (plan->mode == NEAREST) x = nearbyint(x);
    const double base = floor(x), rest = x - base;
    const int before = plan->mode == CUBIC;
    if (plan->mode == CUBIC) {
        cubic_weights(rest, t.weight, t.slope);
    } else {
        t.weight[0] = (float)(1 - rest);
        t.weight[1] = (float)rest;
        t.slope[0] = plan->mode == LINEAR ? -1.0f : 0;
        t.slope[1] = 1.0f;
    }
    for (int k = 0; k < t.n; k++) {
        t.index[k] = element_index(plan, base + k - before, size);
        t.slope[k] *= (float)(scale * sign);
    }
    return t;
}

/* ---- all combinations of taps ---- */

/* Element of x, its weight, and the weight's slopes by the grid's coordinates. */
struct point {
    int64_t at;
    float weight, slope[MOST];
};

static int points_at(const struct grid_sample_plan *plan, const float *grid, struct point *point) {
    struct taps t[MOST];
    int n = 0, all = 1;
    for (int a = 0; a < plan->rank; a++) {
        t[a] = taps_at(plan, a, grid[a]);
        all *= t[a].n;
    }
    for (int i = 0; i < all; i++) {
        struct point p = {0, 1, {1, 1, 1}};
        bool there = true;
        for (int a = 0, rest = i; a < plan->rank; rest /= t[a++].n) {
            const int k = rest % t[a].n;
            there = there && t[a].index[k] >= 0;
            p.at += t[a].index[k] * plan->stride[a];
            p.weight *= t[a].weight[k];
            for (int b = 0; b < plan->rank; b++)
                p.slope[b] *= a == b ? t[a].slope[k] : t[a].weight[k];
        }
        if (there) point[n++] = p;
    }
    return n;
}

enum { POINTS = TAPS * TAPS * TAPS, GRAIN = 256 };

/* One place of all channels of integers or bools, from element `from` of x to element `to` of y:
 * the point itself, or 0 outside. */
static void pick_integers(const struct op_node *n, const struct point *point, int count,
                          int64_t from, int64_t to) {
    const struct grid_sample_plan *plan = n->plan;
    const struct tensor *x = n->x[0], *y = n->y[0];
    for (int64_t c = 0; c < plan->channels; c++, from += plan->in, to += plan->out)
        ot_store_integer(y->data, y->type, to,
                         count ? ot_load_integer(x->data, x->type, from + point[0].at) : 0);
}

static void forward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct grid_sample_plan *plan = n->plan;
    struct point point[POINTS];
    int64_t from, to;
    ot_task_range(n->x[0]->dim[0] * plan->out, GRAIN, task, &from, &to);
    for (int64_t k = from; k < to; k++) {
        const int count = points_at(plan, ot_f(n->x[1]) + k * plan->rank, point);
        const int64_t at_x = k / plan->out * plan->channels * plan->in;
        const int64_t at_y = k / plan->out * plan->channels * plan->out + k % plan->out;
        if (n->y[0]->type != OT_FLOAT) {
            pick_integers(n, point, count, at_x, at_y);
            continue;
        }
        const float *x = ot_f(n->x[0]) + at_x;
        float *y = ot_f(n->y[0]) + at_y;
        for (int64_t c = 0; c < plan->channels; c++, x += plan->in, y += plan->out) {
            float sum = 0;
            for (int i = 0; i < count; i++) sum += point[i].weight * x[point[i].at];
            *y = sum;
        }
    }
}

static void forward(struct op_node *n) {
    const struct grid_sample_plan *plan = n->plan;
    const int64_t places = n->x[0]->dim[0] * plan->out;
    if (places > 0) ot_parallel_for(n->pool, ot_task_count(places, GRAIN), forward_task, n);
}

/* One place: adds to dx, sets its part of dgrid. */
static void backward_place(const struct op_node *n, int64_t k) {
    const struct grid_sample_plan *plan = n->plan;
    struct point point[POINTS];
    const int count = points_at(plan, ot_f(n->x[1]) + k * plan->rank, point);
    const int64_t first = k / plan->out * plan->channels;
    float sum[MOST] = {0};
    for (int64_t c = first; c < first + plan->channels; c++) {
        const float *x = ot_f(n->x[0]) + c * plan->in;
        const float dy = ot_f(n->dy[0])[c * plan->out + k % plan->out];
        for (int i = 0; i < count; i++) {
            if (n->dx[0]) ot_f(n->dx[0])[c * plan->in + point[i].at] += dy * point[i].weight;
            for (int a = 0; a < plan->rank; a++) sum[a] += dy * x[point[i].at] * point[i].slope[a];
        }
    }
    for (int a = 0; a < plan->rank && n->dx[1]; a++) ot_f(n->dx[1])[k * plan->rank + a] = sum[a];
}

static void backward_sample(void *arg, int sample, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct grid_sample_plan *plan = n->plan;
    const int64_t size = plan->channels * plan->in;
    if (n->dx[0]) memset(ot_f(n->dx[0]) + sample * size, 0, (size_t)size * sizeof(float));
    for (int64_t k = sample * plan->out; k < (sample + 1) * plan->out; k++) backward_place(n, k);
}

static void backward(struct op_node *n) {
    if (n->dx[0] || n->dx[1]) ot_parallel_for(n->pool, (int)n->x[0]->dim[0], backward_sample, n);
}

static const char *const cases[] = {
    "X[1,3,4,5] f[1,3,2,2]{0.15,0.05,-0.6,-0.5,0.6,0.5,-0.2,-0.95,1.1,0.9,0.9,-1.1}:x @16 "
    "-> Y[1,3,3,2]",
    "X[2,3,4,5] G[2,3,2,2] mode=bicubic padding_mode=border align_corners=1 range=-1,1 @16 "
    "-> Y[2,3,3,2]",
    "X[2,2,4,5] G[2,3,2,2] mode=cubic padding_mode=reflection @20 -> Y[2,2,3,2]",
    "X[1,2,3,4] f[1,2,3,2]{0.5,0.3,-0.5,-0.3,1.4,-1.2,0.05,0.9,2.6,3.4,-1.6,-3.9}:x "
    "padding_mode=reflection @20 -> Y[1,2,2,3]",
    "X[1,2,3,4] f[1,2,3,2]{0.5,0.3,-0.5,-0.3,1.4,-1.2,0.05,0.9,2.6,3.4,-1.6,-3.9}:x "
    "padding_mode=border align_corners=1 @20 -> Y[1,2,2,3]",
    "X[1,2,3,4,2] f[1,1,2,2,3]{0.1,0.5,-0.3,-0.8,-0.5,0.3,0.7,0,0.9,0.2,0.95,-0.9}:x @20 "
    "-> Y[1,2,1,2,2]",
    "X[2,2,5] G[2,4,1] mode=cubic @20 -> Y[2,2,4]",
    "X[1,2,3,3] f[1,1,2,2]{-1,0.2,0.9,nan} mode=nearest @20 -> Y[1,2,1,2]",
    "f[1,1,2,2]{1,2,3,4} f[1,1,3,2]{0,0,-1,-1,0.5,-0.5} @16 -> f[1,1,1,3]{2.5,0.25,2}",
    "i64[1,1,2,2]{1,2,3,9007199254740993} f[1,1,3,2]{0.5,0.5,-0.5,0.5,-3,0} mode=nearest @20 -> "
    "i64[1,1,1,3]{9007199254740993,3,0}",
    "b[1,1,2,2]{1,0,0,1} f[1,1,2,2]{0.5,0.5,-0.5,0.5} mode=nearest @20 -> b[1,1,1,2]{1,0}",
    "u8[1,1,2,2]{1,2,3,4} f[1,1,1,2]{0,0} @16 -> error: input 0 is uint8",
    "X[1,2,3,3] G[2,1,2,2] -> error: the grid has shape [2,1,2,2]",
    "X[1,2,3,3] G[1,1,2,2] mode=area -> error: 'area'",
    "X[1,2,3,3] G[1,1,2,2] padding_mode=wrap -> error: 'wrap'",
    NULL};

const struct op ot_op_GridSample = {
    .name = "GridSample",
    .since = 16,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "mode:s padding_mode:s align_corners:i",
    .needs = OT_X(0) | OT_X(1),
    .plan_size = sizeof(struct grid_sample_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "integers and booleans with mode nearest only",
    .cases = cases,
};
