/* sparse_tile.h - a tile of a sparse product over blocks of lanes: where it stands, how its inputs
 * come into the caches, and what is fetched for the next one meanwhile. */
#ifndef OT_OPS_PRODUCT_SPARSE_TILE_H
#define OT_OPS_PRODUCT_SPARSE_TILE_H

#include "ops/product/stream.h"

/* h x w units of a sub-block, from grid position (oy, ox) on. */
struct tile {
    int64_t block;
    int oy, ox, h, w;
};

/* Tile number `item` of all sub-blocks. */
struct tile ot_tile_at(const struct stream *s, int64_t item);

/* Where its outputs stand, in floats from the first one of its sub-block. */
static inline size_t ot_tile_from(const struct stream *s, const struct tile *t) {
    return (size_t)t->oy * s->out.line + (size_t)t->ox * s->out.step;
}

/* Is this a large pointwise product, which does little else than read? */
static inline bool ot_stream_wide(const struct stream *s) {
    return s->tiles_h == 1 && s->tiles_w > 16;
}

/* How pieces of channels are copied that stand so many floats apart, their units likewise. */
struct pack_way ot_copy_way(const struct stream *s, size_t channel, size_t unit);

/* The inputs of a panel for this tile of image x: where they stand if that is the packed form
 * already, else packed into `buffer` (channel_size * width floats). */
const float *ot_panel_input(const struct kernels *k, const struct stream *s, const float *x,
                            const struct tile *t, int panel, float *buffer);

/* What tile `next` reads of image x, spread over the rows that these chunks visit; *p stays empty
 * where there is nothing. */
void ot_prefetch_input(const struct stream *s, const struct tile *next, const float *x,
                       struct chunks c, struct prefetch *p);
/* Does the second-level cache hold what a tile reads of dy beside its other data? */
bool ot_dy_fits(const struct stream *s, struct chunks c);
/* Likewise what `next` reads of dy for the weight gradient, if that fits; dy: where it begins. */
void ot_prefetch_dy(const struct stream *s, const struct tile *next, const float *dy,
                    struct chunks c, struct prefetch *p);

#endif
