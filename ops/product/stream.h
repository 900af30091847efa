/* stream.h - the nonzeros of one sparse product in the order in which kernels read them.
 *
 * Output row r at grid position (oy, ox) is the sum over its nonzeros of
 * value * in[channel][oy * step_h + ty][ox * step_w + tx]. An output image may be several planes
 * (the residues of a stride), which read the same packed input. Channels are cut into panels whose
 * packed tile stays in the first-level cache, rows into chunks that may run in parallel. Within
 * (chunk, panel, plane) rows come ordered by their number of nonzeros, so that loops end where the
 * last one ended; where values are read from the weight itself, in the order of the weight.
 *
 * In the flat form (flat.h) the grid is one line of units, and what is packed is whole images.
 */
#ifndef OT_OPS_PRODUCT_STREAM_H
#define OT_OPS_PRODUCT_STREAM_H

#include "ops/product/flat.h"
#include "runtime/base/pattern.h"

/* A tap of the weight's kernel: the plane that it feeds (-1: none), and its number on each axis. */
struct stream_tap {
    int32_t plane, i, j;
};

/* The weight whose slots a stream orders. */
struct stream_weight {
    const struct pattern *pattern;
    int groups, group_rows, group_channels; /* rows and input channels of a group */
    int taps;                               /* of each channel */
    const struct stream_tap *tap;
    bool transposed; /* rows of the stream are input channels of the weight */
    bool changes; /* the stream will follow other patterns of this shape: what it reserves depends
                   * on the two numbers below alone, not on the pattern */
    int expected; /* slots that tile and panels are chosen for */
    int capacity; /* most slots of any pattern */
};

/* A segment is what one list has of a row; they are numbered by row, plane and panel. Slot k in row
 * r and column c of the weight belongs to segment row[r].segment + col[c].segment, and reads at
 * row[r].offset + col[c].offset. */
struct slot_place {
    int32_t segment, offset;
};

struct stream_map {
    int group_rows, cols;         /* of the weight; each group has its own columns: */
    struct slot_place *row, *col; /* col.segment >= segments: feeds nothing */
    bool in_runs;                 /* segments of a row ascend with its columns */
    int32_t segments;
    int32_t *start;            /* of each segment: its slots, then where the next one goes */
    int32_t *left;             /* of each row and plane: lists that have it and come later */
    int32_t *slot;             /* of each row, where values are read in place: the next one */
    int32_t *present, *sorted; /* rows of a list */
};

/* Output positions of one plane, and where its first one stands in an output row. */
struct plane {
    int grid_h, grid_w;
    size_t from;
};

struct stream {
    struct axis lines, columns; /* of the packed input */
    struct flat flat;           /* and, in that form, what its planes hold: */
    struct flat_part *part;     /* lines.runs * columns.runs */
    struct image in;
    int channels; /* of the input */
    int rows;     /* output rows (features) */
    int planes;
    struct plane *plane;
    int grid_h, grid_w; /* of the largest plane */
    struct place out;
    bool weight; /* the stream of weight gradients, too: a forward one, in training or
                  * not, so that both sum up alike */
    bool often;  /* the stream runs many times with the same values */
    const struct stream *same_tiles_as; /* NULL, or the one whose tiles it takes; then all channels
                                         * count as live, so that a packed tile is whole */
    int tile_h, tile_w, tiles_h, tiles_w;

    int panels, chunks, width;        /* width: channels a panel */
    int live;                         /* channels with nonzeros */
    int32_t *channel;                 /* live */
    size_t channel_size;              /* floats of one packed channel */
    int32_t *list;                    /* chunks * panels * planes + 1: first entry in row[] */
    int32_t *row, *ptr, *value_index; /* as in kernels.h, over all lists */
    int32_t *chunk_row;               /* chunks + 1 */
    int nnz;
    int32_t *offset; /* nnz + 1 */
    int32_t *slot;   /* of the weight's value; NULL: `value_index` numbers the slots themselves */
    size_t value;    /* else where a copy of them in the order of the offsets stands in
                      * the node's work memory */
    struct stream_map *map; /* of a stream that follows other patterns; else NULL */
};

/* Fills in the second half from the slots of a weight; the first half (up to same_tiles_as) and the
 * taps of both axes are given. blocks: how often the whole image is done. */
ot_status ot_stream_build(struct stream *s, const struct kernels *k, struct arena *arena,
                          const struct stream_weight *w, const int64_t *tap_y, int taps_y,
                          const int64_t *tap_x, int taps_x, int64_t blocks, ot_error *err);

/* The stream of another pattern of the same shape, of at most the slots that were reserved. */
void ot_stream_follow(struct stream *s, const struct pattern *p);

/* The columns that row `row` of the weight has. */
static inline const struct slot_place *ot_stream_columns(const struct stream_map *m, int row) {
    return m->col + (size_t)(row / m->group_rows) * (size_t)m->cols;
}

/* ---- stream_fill.c ---- */

/* Counts the slots of each segment, and the lists of each row. Returns the slots of all of them;
 * *rows: the rows of all lists, those without slots once. */
int ot_stream_count(const struct stream *s, const struct stream_map *m, const struct pattern *p,
                    size_t *rows);
/* Puts so many slots, which have been counted, into lists that have room for them. */
void ot_stream_fill(struct stream *s, const struct stream_map *m, const struct pattern *p,
                    int slots);

/* Chooses tiles and panels for nnz nonzeros; the first half and `live` are given. */
void ot_stream_shape(struct stream *s, const struct kernels *k, int nnz);

/* Does one tile cover lines that stand in the image as they would be packed? */
static inline bool ot_stream_packed(const struct stream *s) {
    const struct axis *l = &s->lines, *c = &s->columns;
    return s->channel_size == s->in.channel && s->in.pixel == OT_UNIT &&
           s->tiles_h * s->tiles_w == 1 && l->length == l->size && l->step == 1 && l->first == 0 &&
           c->length == c->size && c->step == 1 && c->first == 0;
}

/* copy[k] = value[slot[k]] for k in [from, to). */
void ot_stream_refresh(const struct stream *s, const float *value, float *copy, int64_t from,
                       int64_t to);

/* Chunks [from, to): what one task does of a tile. */
struct chunks {
    int from, to;
};

static inline struct entries ot_stream_list(const struct stream *s, int chunk, int panel,
                                            int plane) {
    int list = (chunk * s->panels + panel) * s->planes + plane;
    return (struct entries){.rows = s->list[list + 1] - s->list[list],
                            .row = s->row + s->list[list],
                            .ptr = s->ptr + s->list[list],
                            .at = s->value_index + s->list[list],
                            .offset = s->offset};
}

#endif
