/* channels.c - the elements of a channel, a piece at a time: float within one, double over all. */
#include "ops/walk/channels.h"

#include <string.h>

enum {
    PIECE = 512,       /* two of them fit any first-level cache, and float holds the sum */
    UNIT_PIECE = 4096, /* of OT_UNIT channels */
    SHORT = 128        /* shorter runs are put side by side first */
};

enum { X, DY, MORE, Y, SOURCES }; /* what is read, in rows of pointers; NULL: nobody does */

struct total {
    double n, mean[OT_UNIT], square[OT_UNIT]; /* of moments */
    double sum[OT_UNIT], product[OT_UNIT];    /* of gradients */
};

struct walk {
    const struct kernels *kernels;
    const struct norm_gradient *gradient; /* NULL: moments are asked for */
    bool units;
    struct total total;
    size_t n;                              /* elements in piece */
    float piece[SOURCES][PIECE + OT_UNIT]; /* OT_UNIT: what a copy of whole units may write more */
};

static int side_by_side(bool units) { return units ? OT_UNIT : 1; }

static void add_moments(struct walk *w, double n, const float *mean, const float *square) {
    struct total *t = &w->total;
    const double all = t->n + n, share = n / all;
    for (int l = 0; l < side_by_side(w->units); l++) {
        const double d = (double)mean[l] - t->mean[l];
        t->mean[l] += d * share;
        t->square[l] += (double)square[l] + d * d * t->n * share;
    }
    t->n = all;
}

static void add_piece(struct walk *w, const float *const *at, size_t n) {
    const int channels = side_by_side(w->units);
    float p[OT_UNIT], q[OT_UNIT];
    if (!w->gradient) {
        (w->units ? w->kernels->unit_moments : w->kernels->moments)(at[X], n, p, q);
        add_moments(w, (double)n / channels, p, q);
        return;
    }
    struct norm_gradient a = *w->gradient;
    a.x = at[X];
    a.dy = at[DY];
    a.more = at[MORE];
    a.y = at[Y];
    w->kernels->norm_sums(&a, n, p, q);
    for (int l = 0; l < channels; l++) {
        w->total.sum[l] += (double)p[l];
        w->total.product[l] += (double)q[l];
    }
}

static void advance(const float **at, const float *const *from, int64_t by) {
    for (int k = 0; k < SOURCES; k++) at[k] = from[k] ? from[k] + by : NULL;
}

static void flush(struct walk *w, const float *const *from) {
    const float *at[SOURCES];
    for (int k = 0; k < SOURCES; k++) at[k] = from[k] ? w->piece[k] : NULL;
    if (w->n) add_piece(w, at, w->n);
    w->n = 0;
}

/* n < SHORT elements behind those of the piece; `whole`: in whole units, for spare lanes follow. */
static void put_run(struct walk *w, const float *const *from, int64_t at, int64_t n, bool whole) {
    if (w->n + (size_t)n > PIECE) flush(w, from);
    for (int k = 0; k < SOURCES; k++) {
        const float *const in = from[k] ? from[k] + at : NULL;
        float *const to = w->piece[k] + w->n;
        for (int64_t i = 0; in && whole && i < n; i += OT_UNIT)
            memcpy(to + i, in + i, OT_UNIT * sizeof *to);
        for (int64_t i = 0; in && !whole && i < n; i++) to[i] = in[i];
    }
    w->n += (size_t)n;
}

static void add_run(struct walk *w, const float *const *from, int64_t at, int64_t n, bool whole) {
    const float *part[SOURCES];
    if (n < SHORT) {
        put_run(w, from, at, n, whole);
        return;
    }
    const int64_t most = w->units ? UNIT_PIECE : PIECE;
    for (int64_t i = 0; i < n; i += most) {
        advance(part, from, at + i);
        add_piece(w, part, (size_t)(n - i < most ? n - i : most));
    }
}

static void add_channel(struct walk *w, const struct channels *c, const float *const *from,
                        int64_t channel) {
    for (int64_t o = 0; o < c->outer; o++) {
        const int64_t at = (o * c->channels + channel) * c->inner;
        const bool spare = o == c->spare_block;
        const int64_t run = spare ? c->used : c->inner, step = spare ? c->lanes : c->inner;
        for (int64_t i = at; i < at + c->inner; i += step) add_run(w, from, i, run, spare);
    }
    flush(w, from);
}

void ot_channels_of(const struct tensor *x, struct channels *c) {
    *c = (struct channels){.channels = x->dim[1],
                           .outer = x->lanes ? ot_lane_blocks(x) : x->dim[0],
                           .inner = ot_dims_product(x, 2, x->rank) * (x->lanes ? x->lanes : 1),
                           .spare_block = -1,
                           .count = x->dim[0] * ot_dims_product(x, 2, x->rank)};
    if (x->lane_rank == 2) {
        c->units = true;
        c->channels /= OT_UNIT;
        c->outer = x->dim[0];
    }
    if (x->lane_rank != 1 || x->dim[0] % x->lanes == 0) return;
    c->spare_block = c->outer - 1;
    c->lanes = x->lanes;
    c->used = x->dim[0] % x->lanes;
}

void ot_channel_moments(const struct kernels *k, const struct channels *c, const float *x,
                        int64_t channel, double *mean, double *square) {
    struct walk w = {.kernels = k, .units = c->units};
    const float *from[SOURCES] = {[X] = x};
    add_channel(&w, c, from, channel);
    memcpy(mean, w.total.mean, (size_t)side_by_side(c->units) * sizeof *mean);
    memcpy(square, w.total.square, (size_t)side_by_side(c->units) * sizeof *square);
}

void ot_channel_sums(const struct kernels *k, const struct channels *c,
                     const struct norm_gradient *a, int64_t channel, double *sum, double *product) {
    struct walk w = {.kernels = k, .gradient = a, .units = c->units};
    const float *from[SOURCES] = {[X] = a->x, [DY] = a->dy, [MORE] = a->more, [Y] = a->y};
    add_channel(&w, c, from, channel);
    memcpy(sum, w.total.sum, (size_t)side_by_side(c->units) * sizeof *sum);
    memcpy(product, w.total.product, (size_t)side_by_side(c->units) * sizeof *product);
}

ot_status ot_channel_vector(const struct op_node *n, int i, int64_t channels, bool *one,
                            ot_error *err) {
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    const struct tensor *t = n->x[i];
    const int64_t elements = ot_elements(t);
    bool fits = elements == channels && (t->rank > 0 || one);
    int longer = 0;
    for (int k = 0; k < t->rank; k++) longer += t->dim[k] != 1;
    if (one) {
        *one = elements == 1 && channels != 1;
        fits |= *one;
    }
    if (fits && longer <= 1) return OT_OK;
    char text[128];
    return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d has shape %s, expected [%lld]", i,
                      ot_shape_text(t, text, sizeof text), (long long)channels);
}
