/* sparse_tile.c - tiles of a sparse product, and how they come into the caches. */
#include "ops/product/sparse_tile.h"

/* Floats of dy that a second-level cache holds beside what else a tile needs; more of them fetched
 * ahead drive that out (docs/benchmarks.md). */
enum { DY_AHEAD = (256 << 10) / sizeof(float) };

struct tile ot_tile_at(const struct stream *s, int64_t item) {
    const int64_t per_block = (int64_t)s->tiles_h * s->tiles_w;
    const int i = (int)(item % per_block);
    struct tile t = {.block = item / per_block,
                     .oy = i / s->tiles_w * s->tile_h,
                     .ox = i % s->tiles_w * s->tile_w};
    t.h = s->grid_h - t.oy < s->tile_h ? s->grid_h - t.oy : s->tile_h;
    t.w = s->grid_w - t.ox < s->tile_w ? s->grid_w - t.ox : s->tile_w;
    return t;
}

/* ---- packing ---- */

/* Wide products gain from fetching the next tile, others from the channels that follow. The next
 * tile, whole pieces of memory away, comes faster into the second-level cache; what is used at once
 * belongs into the first. Memory delivers the pieces of several channels at once up to twice as
 * fast as one by one; with lines that other tiles have read, one by one is no slower and nearer to
 * what comes next (docs/benchmarks.md). */
struct pack_way ot_copy_way(const struct stream *s, size_t channel, size_t unit) {
    const bool wide = ot_stream_wide(s), interleave = s->lines.reach + s->columns.reach == 0;
    const size_t next =
        wide ? (size_t)s->tile_w * unit : (interleave ? OT_INTERLEAVE : 2) * channel;
    return (struct pack_way){(ptrdiff_t)next, wide, interleave};
}

static int panel_channels(const struct stream *s, int panel) {
    const int left = s->live - panel * s->width;
    return left < s->width ? left : s->width;
}

const float *ot_panel_input(const struct kernels *k, const struct stream *s, const float *x,
                            const struct tile *t, int panel, float *buffer) {
    const int from = panel * s->width, n = panel_channels(s, panel);
    if (n > 0 && ot_stream_packed(s) && s->channel[from + n - 1] - s->channel[from] == n - 1)
        return x + (size_t)s->channel[from] * s->in.channel;
    ot_pack(k, &s->lines, &s->columns, &s->in, x, s->channel + from, n,
            ot_copy_way(s, s->in.channel, s->in.pixel), t->oy, t->ox, buffer);
    return buffer;
}

/* ---- the next tile ---- */

/* First input position of one axis that tile `output` reads and the tile before it did not. */
static int64_t first_new(const struct axis *a, int64_t output, int tile) {
    const struct axis_run *run = &a->run[0];
    return output * a->step + a->first + run->from + (int64_t)(run->count - tile) * a->step;
}

/* Units and lines are given; channels stand `channel` floats apart. */
static void spread_prefetch(const struct stream *s, struct chunks c, size_t channel, int channels,
                            struct prefetch *p) {
    const int lists = s->panels * s->planes, rows = s->list[c.to * lists] - s->list[c.from * lists];
    p->channel = channel * sizeof(float) - (size_t)(p->lines - 1) * p->line;
    p->left = rows ? channels * p->lines : 0;
    p->per_row = rows ? (p->left + rows - 1) / rows : 0;
}

void ot_prefetch_input(const struct stream *s, const struct tile *next, const float *x,
                       struct chunks c, struct prefetch *p) {
    const struct axis *l = &s->lines, *r = &s->columns;
    if (!l->runs || !r->runs) return;
    const int64_t from = first_new(l, next->oy, s->tile_h) * (int64_t)s->in.line +
                         first_new(r, next->ox, s->tile_w) * (int64_t)s->in.pixel;
    *p = (struct prefetch){.at = (uintptr_t)x + (uintptr_t)(from * (int64_t)sizeof(float)),
                           .unit = s->in.pixel * (size_t)(r->step / r->runs) * sizeof(float),
                           .line = s->in.line * (size_t)(l->step / l->runs) * sizeof(float),
                           .units = next->w * r->runs,
                           .lines = next->h * l->runs};
    spread_prefetch(s, c, s->in.channel, s->channels, p);
}

bool ot_dy_fits(const struct stream *s, struct chunks c) {
    const int64_t rows = s->chunk_row[c.to] - s->chunk_row[c.from];
    return rows * s->tile_h * s->tile_w * OT_UNIT <= DY_AHEAD;
}

void ot_prefetch_dy(const struct stream *s, const struct tile *next, const float *dy,
                    struct chunks c, struct prefetch *p) {
    const int first = s->chunk_row[c.from], rows = s->chunk_row[c.to] - first;
    if (!ot_dy_fits(s, c)) return;
    *p = (struct prefetch){.at = (uintptr_t)(dy + (size_t)first * s->out.pitch),
                           .unit = s->out.step * sizeof(float),
                           .line = s->out.line * sizeof(float),
                           .units = next->w,
                           .lines = next->h};
    spread_prefetch(s, c, s->out.pitch, rows, p);
}
