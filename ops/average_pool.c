/* average_pool.c - AveragePool: y = the mean of each window.
 *
 * The mean is over the elements inside the input, or with count_include_pad over those inside the
 * padded input. A window with nothing but padding gives 0.
 */
#include "ops/pooling.h"

#include <string.h>

enum { PIECE = 16 };

struct state {
    struct pooling p;
    bool include_pad;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    s->include_pad = ot_attr_int(n->node, "count_include_pad", 0) != 0;
    return ot_pooling_prepare(n, &s->p, err);
}

/* y += scale * x; in pieces, which compilers turn into vectors */
static void add(const float *x, float scale, float *y, int64_t n) {
    int64_t k = 0;
    for (; k + PIECE <= n; k += PIECE)
        for (int j = 0; j < PIECE; j++) y[k + j] += scale * x[k + j];
    for (; k < n; k++) y[k] += scale * x[k];
}

static float weight(const struct state *s, struct taps h, struct taps w) {
    const int64_t count = s->include_pad ? h.padded * w.padded : h.count * w.count;
    return count > 0 ? 1.0f / (float)count : 0;
}

/* Forward: y of one plane from its x. Backward: dx, zeroed, from dy. */
static void plane(const struct state *s, const float *x, float *y, const float *dy, float *dx) {
    const struct pooling *p = &s->p;
    for (int64_t i = 0; i < ot_pooling_out(p); i++) {
        const struct taps h = ot_pooling_taps(p, 0, i / p->w.out[1]);
        const struct taps w = ot_pooling_taps(p, 1, i % p->w.out[1]);
        const float scale = weight(s, h, w);
        for (int64_t k = 0; k < h.count * w.count; k++) {
            const int64_t row = h.at + k / w.count * p->w.dilation[0];
            const int64_t at = (row * p->w.in[1] + w.at + k % w.count * p->w.dilation[1]) *
                               p->inner;
            if (x)
                add(x + at, scale, y + i * p->inner, p->inner);
            else
                add(dy + i * p->inner, scale, dx + at, p->inner);
        }
    }
}

static void forward_plane(const struct op_node *n, int64_t number) {
    const struct state *s = n->state;
    const int64_t in = ot_pooling_in(&s->p) * s->p.inner, out = ot_pooling_out(&s->p) * s->p.inner;
    float *y = ot_f(n->y[0]) + number * out;
    memset(y, 0, (size_t)out * sizeof *y);
    plane(s, ot_f(n->x[0]) + number * in, y, NULL, NULL);
}

static void backward_plane(const struct op_node *n, int64_t number) {
    const struct state *s = n->state;
    const int64_t in = ot_pooling_in(&s->p) * s->p.inner, out = ot_pooling_out(&s->p) * s->p.inner;
    float *dx = ot_f(n->dx[0]) + number * in;
    memset(dx, 0, (size_t)in * sizeof *dx);
    plane(s, NULL, NULL, ot_f(n->dy[0]) + number * out, dx);
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    ot_pooling_run(n, &s->p, forward_plane);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    if (n->dx[0]) ot_pooling_run(n, &s->p, backward_plane);
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
    .state_size = sizeof(struct state),
    .lanes = ot_pooling_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
