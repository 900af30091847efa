/* stream_shape.c - the tile and the panel of a sparse product, by predicted time. */
#include "ops/product/stream.h"

enum { STREAMING = 2 << 20 }; /* bytes of an image that no second-level cache holds */

static int ceil_div(int a, int b) { return (a + b - 1) / b; }

/* Costs in the time of one 16-float multiply-add. Loads that miss the first-level cache wait for
 * the same fill buffers as what large images bring in from memory: `fetched` a line at most.
 * cache, cache_2: bytes of the first- and of the second-level cache that packed inputs may fill. */
struct cost {
    double nonzero, row, output, packed, packed_2, strip, miss, miss_2, fetched, most_fetched, copy;
    double cache, cache_2;
};

/* Fitted to sweeps over the layers of bench --kernels, on Sapphire Rapids and on Zen 3; the generic
 * kernels go by the latter. */
static const struct cost avx512 = {.nonzero = 0.9,
                                   .row = 10,
                                   .output = 2.4,
                                   .packed = 2.5,
                                   .packed_2 = 4,
                                   .strip = 6,
                                   .miss = 0.45,
                                   .miss_2 = 0.26,
                                   .fetched = 8,
                                   .most_fetched = 4,
                                   .copy = 0,
                                   .cache = 46 * 1024,
                                   .cache_2 = 300 * 1024};
static const struct cost avx2 = {.nonzero = 0.9,
                                 .row = 10,
                                 .output = 2.4,
                                 .packed = 3.7,
                                 .packed_2 = 4,
                                 .strip = 7,
                                 .miss = 0.77,
                                 .miss_2 = 0.26,
                                 .fetched = 1,
                                 .most_fetched = 1,
                                 .copy = 2.5,
                                 .cache = 30 * 1024,
                                 .cache_2 = 300 * 1024};

struct shape_choice {
    int h, w, width;
    double time;
};

/* Units of a channel that a tile of h x w reads. */
static double units_read(const struct stream *s, int h, int w) {
    const struct axis *l = &s->lines, *c = &s->columns;
    if (s->flat.samples)
        return (double)l->runs * c->runs * w +
               ((double)l->reach * c->runs * s->flat.pitch + (double)l->runs * c->reach) / OT_UNIT;
    return (double)(l->reach + l->runs * h) * (c->reach + c->runs * w);
}

/* The share of so many bytes that a cache does not hold. */
static double missed(double bytes, double cache) { return bytes > cache ? 1 - cache / bytes : 0; }

/* The share of an axis that is read: strides leave out what no tap needs. */
static double axis_share(const struct axis *a, int grid) {
    const double read = (double)a->reach + (double)a->runs * grid;
    return read < a->size ? read / a->size : 1;
}

/* Time that loads of a panel of so many bytes take beyond the multiply-adds that they feed. */
static double estimate_misses(const struct stream *s, const struct cost *cost, double loads,
                              double bytes) {
    const double image = (double)s->in.channel * s->channels * sizeof(float) *
                         axis_share(&s->lines, s->grid_h) * axis_share(&s->columns, s->grid_w);
    double fetched = 0;
    if (image > STREAMING) {
        fetched = cost->fetched * image / (OT_UNIT * sizeof(float));
        if (fetched > cost->most_fetched * loads) fetched = cost->most_fetched * loads;
    }
    return missed(bytes, cost->cache) * (cost->miss * loads + fetched) +
           missed(bytes, cost->cache_2) * cost->miss_2 * loads;
}

/* Time of one pass over the image with tiles of h x w units and panels of `width` channels. */
static double estimate(const struct stream *s, const struct cost *cost, int nnz, int h, int w,
                       int width) {
    double units = units_read(s, h, w);
    double tiles = (double)ceil_div(s->grid_h, h) * ceil_div(s->grid_w, w);
    double outputs = (double)s->grid_h * s->grid_w;
    double panels = s->live ? ceil_div(s->live, width) : 1, rows = s->rows * (double)s->planes;
    double each = nnz / (rows * panels), visits = rows * panels * (each < 1 ? each : 1);
    double bytes = units * width * OT_UNIT * sizeof(float);
    double strips = (double)(s->lines.reach + s->lines.runs * h) * s->columns.runs;
    double pack = units * (cost->packed + missed(bytes, cost->cache_2) * cost->packed_2) +
                  strips * cost->strip;
    /* of dy, for the weight gradient; in rows it is packed once, whatever the panels */
    double copies = s->weight && panels > 1 && !s->flat.samples ? s->rows * outputs : 0;
    const bool packs = !s->flat.samples && (tiles > 1 || s->lines.reach + s->columns.reach > 0);
    return nnz * (outputs + tiles * cost->nonzero) +
           estimate_misses(s, cost, nnz * outputs, bytes) +
           visits * (tiles * cost->row + outputs * cost->output) + copies * cost->copy +
           (packs ? tiles * s->live * pack : 0);
}

/* Lists have as many places for rows as rows and panels make; most of them are not to be empty. */
static bool is_listed(const struct stream *s, int nnz, int width) {
    const double rows = (double)s->rows * s->planes;
    return rows * ceil_div(s->live, width) <= 8 * (nnz + rows);
}

/* Tries panels from what fills half the cache up to all channels. */
static void try_tile(const struct stream *s, const struct cost *cost, int nnz, int h, int w,
                     struct shape_choice *best) {
    double units = units_read(s, h, w);
    int most = s->live ? s->live : 1;
    int width = units < 1 ? most : (int)(cost->cache / 2 / (units * OT_UNIT * sizeof(float)));
    for (width = width < 1 ? 1 : width;; width += 1 + width / 6) {
        if (width > most) width = most;
        if (width < most && !is_listed(s, nnz, width)) continue;
        double time = estimate(s, cost, nnz, h, w, width);
        if (!best->h || time < best->time) *best = (struct shape_choice){h, w, width, time};
        if (width == most) return;
    }
}

static bool is_allowed(const struct stream *s, int h, int w) {
    return !s->same_tiles_as || (h == s->same_tiles_as->tile_h && w == s->same_tiles_as->tile_w);
}

void ot_stream_shape(struct stream *s, const struct kernels *k, int nnz) {
    const struct cost *cost = k->width < OT_UNIT ? &avx2 : &avx512;
    struct shape_choice best = {.h = 0};
    for (int h = 1; h <= OT_TILE_LINES && h <= s->grid_h; h++)
        for (int w = 1; w <= s->grid_w && h * w <= k->tile; w++)
            if (k->spmm[h - 1][w - 1] && is_allowed(s, h, w)) try_tile(s, cost, nnz, h, w, &best);
    if (!best.h) best = (struct shape_choice){.h = 1, .w = 1};
    s->tile_h = best.h;
    s->tiles_h = ceil_div(s->grid_h, best.h);
    s->tiles_w = ceil_div(s->grid_w, best.w);
    s->tile_w = s->tiles_w ? ceil_div(s->grid_w, s->tiles_w) : 1; /* even ones */
    s->width = best.width < 1 ? 1 : best.width;
    s->panels = s->live ? ceil_div(s->live, s->width) : 1;
    if (s->live) s->width = ceil_div(s->live, s->panels);
}
