/* depthwise.c - convolutions whose groups are single channels: a task is a channel.
 *
 * Forward and the data gradient are the same walk where the stride is 1: the taps from behind, and
 * what they lacked of padding. Else dy is spread over dx. The sums of the weight gradient go over
 * blocks in their order, in double.
 */
#include "ops/depthwise.h"

#include <string.h>

#include "ops/kernels/kernels.h"

struct job {
    const struct op_node *n;
    const struct conv_shape *s;
    const float *bias;
    float *dx, *dw, *dbias;
    int64_t blocks;
    int lanes;
};

bool ot_is_depthwise(const struct conv_shape *s) {
    return s->groups == s->c && s->c == s->m && s->kh * s->kw <= OT_DEPTHWISE_TAPS &&
           s->h * s->w <= INT32_MAX && s->oh * s->ow <= INT32_MAX;
}

static struct depthwise describe(const struct job *job) {
    const struct conv_shape *s = job->s;
    return (struct depthwise){
        .h = (int)s->h, .w = (int)s->w, .oh = (int)s->oh, .ow = (int)s->ow, .kh = s->kh,
        .kw = s->kw, .stride_h = s->stride_h, .stride_w = s->stride_w,
        .dilation_h = s->dilation_h, .dilation_w = s->dilation_w, .top = s->pad_top,
        .left = s->pad_left, .pixel = (size_t)job->lanes};
}

/* Unit u of channel c in a tensor whose channels have `area` places. */
static float *unit(const struct job *job, const float *p, int64_t area, int64_t c, int64_t u) {
    const int64_t units = job->lanes / OT_UNIT, block = u / units;
    return (float *)p + (block * job->s->c + c) * area * job->lanes + u % units * OT_UNIT;
}

static int64_t all_units(const struct job *job) { return job->blocks * (job->lanes / OT_UNIT); }

static void forward_channel(void *arg, int task, int worker) {
    (void)worker;
    const struct job *job = arg;
    const struct conv_shape *s = job->s;
    struct depthwise a = describe(job);
    a.tap = ot_f(job->n->x[1]) + (int64_t)task * s->kh * s->kw;
    a.bias = job->bias ? job->bias[task] : 0;
    for (int64_t u = 0; u < all_units(job); u++) {
        a.x = unit(job, ot_f(job->n->x[0]), s->h * s->w, task, u);
        a.y = unit(job, ot_f(job->n->y[0]), s->oh * s->ow, task, u);
        job->n->kernels->depthwise(&a);
    }
}

void ot_depthwise_forward(const struct op_node *n, const struct conv_shape *s, const float *bias) {
    struct job job = {.n = n, .s = s, .bias = bias, .blocks = ot_lane_blocks(n->x[0]),
                      .lanes = n->x[0]->lanes};
    ot_parallel_for(n->pool, (int)s->c, forward_channel, &job);
}

static void zero_unit(float *x, int64_t area, int lanes) {
    for (int64_t i = 0; i < area; i++) memset(x + i * lanes, 0, OT_UNIT * sizeof *x);
}

static void data_unit(const struct job *job, int64_t c, int64_t u) {
    const struct conv_shape *s = job->s;
    const int taps = s->kh * s->kw;
    const float *tap = ot_f(job->n->x[1]) + c * taps;
    float turned[OT_DEPTHWISE_TAPS];
    float *dx = unit(job, job->dx, s->h * s->w, c, u);
    float *dy = unit(job, ot_f(job->n->dy[0]), s->oh * s->ow, c, u);
    struct depthwise a = describe(job);
    if (s->stride_h > 1 || s->stride_w > 1) {
        a.tap = tap;
        a.x = dx;
        a.y = dy;
        zero_unit(dx, s->h * s->w, job->lanes);
        job->n->kernels->depthwise_data(&a);
        return;
    }
    for (int k = 0; k < taps; k++) turned[k] = tap[taps - 1 - k];
    a.h = (int)s->oh;
    a.w = (int)s->ow;
    a.oh = (int)s->h;
    a.ow = (int)s->w;
    a.top = (s->kh - 1) * s->dilation_h - s->pad_top;
    a.left = (s->kw - 1) * s->dilation_w - s->pad_left;
    a.tap = turned;
    a.x = dy;
    a.y = dx;
    job->n->kernels->depthwise(&a);
}

/* Adds unit u's share to sum, taps first, then the bias. */
static void weight_unit(const struct job *job, int64_t c, int64_t u, double *sum) {
    const struct conv_shape *s = job->s;
    float part[OT_DEPTHWISE_TAPS + 1];
    struct depthwise a = describe(job);
    const int64_t left = ot_lane_samples(job->n->x[0]) - u * OT_UNIT;
    a.used = left < 0 ? 0 : left < OT_UNIT ? (int)left : OT_UNIT;
    a.x = unit(job, ot_f(job->n->x[0]), s->h * s->w, c, u);
    a.y = unit(job, ot_f(job->n->dy[0]), s->oh * s->ow, c, u);
    a.sum = part;
    job->n->kernels->depthwise_weight(&a);
    for (int k = 0; k <= s->kh * s->kw; k++) sum[k] += (double)part[k];
}

static void backward_channel(void *arg, int task, int worker) {
    (void)worker;
    const struct job *job = arg;
    const int taps = job->s->kh * job->s->kw;
    double sum[OT_DEPTHWISE_TAPS + 1] = {0};
    for (int64_t u = 0; u < all_units(job); u++) {
        if (job->dw || job->dbias) weight_unit(job, task, u, sum);
        if (job->dx) data_unit(job, task, u);
    }
    for (int k = 0; job->dw && k < taps; k++) job->dw[task * taps + k] = (float)sum[k];
    if (job->dbias) job->dbias[task] = (float)sum[taps];
}

void ot_depthwise_backward(const struct op_node *n, const struct conv_shape *s, float *dx,
                           float *dw, float *dbias) {
    struct job job = {.n = n, .s = s, .dx = dx, .dw = dw, .dbias = dbias,
                      .blocks = ot_lane_blocks(n->x[0]), .lanes = n->x[0]->lanes};
    ot_parallel_for(n->pool, (int)s->c, backward_channel, &job);
}
