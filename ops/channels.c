/* channels.c - the elements of a channel, a piece at a time: float within one, double over all. */
#include "ops/channels.h"

#include "ops/kernels/kernels.h"

enum {
    PIECE = 512, /* two of them fit any first-level cache, and float holds the sum */
    SHORT = 128  /* shorter runs are put side by side first */
};

struct total {
    double n, mean, square; /* of moments */
    double a, ab;           /* of products */
};

struct walk {
    const struct kernels *kernels;
    float b0;
    struct total total;
    size_t n; /* elements in a and b */
    float a[PIECE], b[PIECE];
};

/* b NULL: moments of a, else products. */
static void add_piece(struct walk *w, const float *a, const float *b, size_t n) {
    struct total *t = &w->total;
    float p, q;
    if (b) {
        w->kernels->products(a, b, w->b0, n, &p, &q);
        t->a += (double)p;
        t->ab += (double)q;
        return;
    }
    w->kernels->moments(a, n, &p, &q);
    const double m = (double)n, all = t->n + m, d = (double)p - t->mean;
    t->mean += d * m / all;
    t->square += (double)q + d * d * t->n * m / all;
    t->n = all;
}

static void flush(struct walk *w, bool pairs) {
    if (w->n) add_piece(w, w->a, pairs ? w->b : NULL, w->n);
    w->n = 0;
}

static void add_run(struct walk *w, const float *a, const float *b, int64_t n) {
    if (n < SHORT) {
        if (w->n + (size_t)n > PIECE) flush(w, b != NULL);
        for (int64_t i = 0; i < n; i++) w->a[w->n + (size_t)i] = a[i];
        for (int64_t i = 0; b && i < n; i++) w->b[w->n + (size_t)i] = b[i];
        w->n += (size_t)n;
        return;
    }
    for (int64_t i = 0; i < n; i += PIECE)
        add_piece(w, a + i, b ? b + i : NULL, (size_t)(n - i < PIECE ? n - i : PIECE));
}

static void add_channel(struct walk *w, const struct channels *c, const float *a, const float *b,
                        int64_t channel) {
    for (int64_t o = 0; o < c->outer; o++) {
        const int64_t at = (o * c->channels + channel) * c->inner;
        const bool spare = o == c->spare_block;
        const int64_t run = spare ? c->used : c->inner, step = spare ? c->lanes : c->inner;
        for (int64_t i = at; i < at + c->inner; i += step)
            add_run(w, a + i, b ? b + i : NULL, run);
    }
    flush(w, b != NULL);
}

void ot_channels_of(const struct tensor *x, struct channels *c) {
    *c = (struct channels){.channels = x->dim[1],
                           .outer = x->lanes ? ot_lane_blocks(x) : x->dim[0],
                           .inner = ot_dims_product(x, 2, x->rank) * (x->lanes ? x->lanes : 1),
                           .spare_block = -1,
                           .count = x->dim[0] * ot_dims_product(x, 2, x->rank)};
    if (!x->lanes || x->dim[0] % x->lanes == 0) return;
    c->spare_block = c->outer - 1;
    c->lanes = x->lanes;
    c->used = x->dim[0] % x->lanes;
}

void ot_channel_moments(const struct kernels *k, const struct channels *c, const float *x,
                        int64_t channel, double *mean, double *square) {
    struct walk w = {.kernels = k};
    add_channel(&w, c, x, NULL, channel);
    *mean = w.total.mean;
    *square = w.total.square;
}

void ot_channel_products(const struct kernels *k, const struct channels *c, const float *a,
                         const float *b, float b0, int64_t channel, double *sum_a,
                         double *sum_ab) {
    struct walk w = {.kernels = k, .b0 = b0};
    add_channel(&w, c, a, b, channel);
    *sum_a = w.total.a;
    *sum_ab = w.total.ab;
}
