/* stream.c - cuts the nonzeros of a sparse product into panels and chunks, and orders them. */
#include "ops/product/stream.h"

#include <limits.h>
#include <string.h>

/* FEW: tiles from which on a copy of the values in the order of the stream pays. */
enum { TASKS = 16, LEAST_CHUNK = 2048, LARGE = 1 << 19, FEW = 4 };

/* ---- channels ---- */

/* Can the image stand for its packed form, dead channels and all? */
static bool needs_no_packing(const struct stream *s, const struct kernels *k) {
    return !s->flat.samples && s->lines.reach + s->columns.reach == 0 && s->in.pixel == OT_UNIT &&
           s->grid_h <= OT_TILE_LINES && s->grid_h * s->grid_w <= k->tile &&
           s->in.channel == (size_t)(s->grid_h * s->grid_w) * OT_UNIT;
}

/* Numbers the channels that have nonzeros, or all of an image that is not packed or packed whole;
 * index[channel] is its number. */
static bool find_live(struct stream *s, const struct kernels *k, struct arena *arena,
                      const struct nonzero *nonzero, int nnz, int32_t *index) {
    for (int c = 0; c < s->channels; c++)
        index[c] = nnz && (s->same_tiles_as || needs_no_packing(s, k));
    for (int i = 0; i < nnz; i++) index[nonzero[i].channel] = 1;
    for (int c = 0; c < s->channels; c++) s->live += index[c];
    s->channel = ot_arena_alloc(arena, (size_t)s->live, sizeof *s->channel);
    if (!s->channel) return false;
    for (int c = 0, n = 0; c < s->channels; c++) {
        if (!index[c]) continue;
        s->channel[n] = c;
        index[c] = n++;
    }
    return true;
}

/* ---- chunks and order ---- */

/* Where a panel has a channel. */
struct channel_place {
    int32_t panel, offset;
};

/* A nonzero in the order of the lists. */
struct placed {
    int32_t row, slot, offset;
};

struct builder {
    struct stream *s;
    const struct nonzero *nonzero;
    int nnz;
    int64_t tiles;               /* of all blocks */
    int32_t *index;              /* channel -> live channel */
    struct channel_place *place; /* per channel */
    int lists;                   /* chunks * panels * planes */
    int32_t *from;               /* lists + 1: where the order of a list begins */
    struct placed *placed;       /* nonzeros by list, then row */
    int32_t *segment;            /* per row of a list: where it begins in placed */
    int32_t *sorted;             /* segments by length */
    int32_t *visits;             /* per plane and row: lists that have it and come later */
    bool *begun;                 /* per plane and row: an earlier list has it */
};

/* Cuts the rows into chunks of about the same number of nonzeros (an empty row counts as one). */
static bool cut_rows(const struct builder *b, struct arena *arena) {
    struct stream *s = b->s;
    const int64_t weight = (int64_t)b->nnz + s->rows;
    int64_t chunks = b->tiles < TASKS ? TASKS / (b->tiles ? b->tiles : 1) : 1;
    if (b->nnz > LARGE && chunks < TASKS / 2) chunks = TASKS / 2;
    if (chunks > weight / LEAST_CHUNK) chunks = weight / LEAST_CHUNK;
    if (chunks > s->rows) chunks = s->rows;
    s->chunks = chunks < 1 ? 1 : (int)chunks;
    s->chunk_row = ot_arena_alloc(arena, (size_t)s->chunks + 1, sizeof *s->chunk_row);
    if (!s->chunk_row) return false;
    int64_t done = 0;
    int chunk = 0;
    for (int r = 0, k = 0; r < s->rows; r++) {
        while (chunk < s->chunks && done * s->chunks >= weight * chunk) s->chunk_row[chunk++] = r;
        for (done++; k < b->nnz && b->nonzero[k].row == r; k++) done++;
    }
    while (chunk <= s->chunks) s->chunk_row[chunk++] = s->rows;
    return true;
}

static void find_places(struct builder *b, int channels) {
    const struct stream *s = b->s;
    for (int c = 0; c < channels; c++)
        b->place[c] = (struct channel_place){
            b->index[c] / s->width, (int32_t)((size_t)(b->index[c] % s->width) * s->channel_size)};
}

/* Counting sort of the nonzeros into the lists. */
static void sort_lists(struct builder *b, const int32_t *line, const int32_t *column) {
    struct stream *s = b->s;
    for (int pass = 0; pass < 2; pass++) {
        for (int k = 0, chunk = 0; k < b->nnz; k++) {
            const struct nonzero *z = &b->nonzero[k];
            const struct channel_place at = b->place[z->channel];
            while (z->row >= s->chunk_row[chunk + 1]) chunk++;
            const int list = (chunk * s->panels + at.panel) * s->planes + z->plane;
            if (pass)
                b->placed[b->from[list]++] =
                    (struct placed){z->row, z->slot, at.offset + line[z->i] + column[z->j]};
            else
                b->from[list + 1]++;
        }
        if (pass) break;
        for (int i = 0; i < b->lists; i++) b->from[i + 1] += b->from[i];
    }
    memmove(b->from + 1, b->from, (size_t)b->lists * sizeof *b->from);
    b->from[0] = 0;
}

static int row_at(const struct builder *b, int i) { return b->placed[i].row; }

/* Segments (rows) of a list; segment[n] is its end. */
static int find_segments(struct builder *b, int list) {
    int n = 0;
    for (int i = b->from[list], row = -1; i < b->from[list + 1]; i++) {
        b->segment[n] = i;
        n += row_at(b, i) != row;
        row = row_at(b, i);
    }
    b->segment[n] = b->from[list + 1];
    return n;
}

/* Stable counting sort of n segments by length; all long ones count as one length. */
static void sort_segments(struct builder *b, int n) {
    enum { LENGTHS = 1024 };
    int32_t at[LENGTHS + 1] = {0};
    for (int i = 0; i < n; i++) {
        int length = b->segment[i + 1] - b->segment[i];
        at[length < LENGTHS ? length : LENGTHS]++;
    }
    for (int i = 0, sum = 0; i <= LENGTHS; i++) {
        int count = at[i];
        at[i] = sum;
        sum += count;
    }
    for (int i = 0; i < n; i++) {
        int length = b->segment[i + 1] - b->segment[i];
        b->sorted[at[length < LENGTHS ? length : LENGTHS]++] = i;
    }
}

/* Rows without nonzeros are in the first list of their chunk: the kernel writes their start. */
static int emit_empty(struct builder *b, int chunk, int plane, int rows, int entries) {
    struct stream *s = b->s;
    for (int r = s->chunk_row[chunk]; r < s->chunk_row[chunk + 1]; r++) {
        size_t at = (size_t)plane * (size_t)s->rows + (size_t)r;
        if (b->visits[at] || b->begun[at]) continue;
        s->row[rows] = r << OT_ROW_SHIFT | OT_ROW_FIRST | OT_ROW_LAST;
        s->value_index[rows] = 0;
        s->ptr[rows++] = entries;
    }
    return rows;
}

static int emit_list(struct builder *b, int n, int plane, int rows, int *entries) {
    struct stream *s = b->s;
    for (int i = 0; i < n; i++) {
        int segment = b->sorted[i], row = row_at(b, b->segment[segment]);
        size_t at = (size_t)plane * (size_t)s->rows + (size_t)row;
        s->row[rows] = row << OT_ROW_SHIFT | (b->begun[at] ? 0 : OT_ROW_FIRST) |
                       (--b->visits[at] ? 0 : OT_ROW_LAST);
        s->value_index[rows] = s->slot ? *entries : b->placed[b->segment[segment]].slot;
        s->ptr[rows++] = *entries;
        b->begun[at] = true;
        for (int o = b->segment[segment]; o < b->segment[segment + 1]; o++) {
            if (s->slot) s->slot[*entries] = b->placed[o].slot;
            s->offset[(*entries)++] = b->placed[o].offset;
        }
    }
    return rows;
}

/* Read where the weight has them, once or a few times, values come from far away, and fastest in
 * their order there. */
static void order_segments(struct builder *b, int n) {
    if (b->s->slot) {
        sort_segments(b, n);
        return;
    }
    for (int i = 0; i < n; i++) b->sorted[i] = i;
}

/* Counts the lists of each row; returns the rows of all lists, empty rows once. */
static size_t count_visits(struct builder *b) {
    const size_t rows = (size_t)b->s->planes * (size_t)b->s->rows;
    size_t total = 0;
    for (int i = 0; i < b->lists; i++) {
        int n = find_segments(b, i);
        size_t from = (size_t)(i % b->s->planes) * (size_t)b->s->rows;
        for (int j = 0; j < n; j++) b->visits[from + (size_t)row_at(b, b->segment[j])]++;
        total += (size_t)n;
    }
    for (size_t r = 0; r < rows; r++) total += !b->visits[r];
    return total;
}

/* May kernels find values where the weight has them, since a row's part of a panel is a piece of
 * its slots? Pieces of several panels lie apart, which costs more than a copy if it is done often.
 */
static bool in_slot_order(const struct builder *b) {
    for (int k = 0; k < b->nnz; k++)
        if (b->nonzero[k].slot != k) return false;
    return b->s->planes == 1 && b->tiles < FEW && !b->s->often;
}

static bool emit(struct builder *b, struct arena *arena) {
    struct stream *s = b->s;
    const size_t total = count_visits(b);
    s->list = ot_arena_alloc(arena, (size_t)b->lists + 1, sizeof *s->list);
    s->row = ot_arena_alloc_dirty(arena, total, sizeof *s->row);
    s->ptr = ot_arena_alloc_dirty(arena, total + 1, sizeof *s->ptr);
    s->value_index = ot_arena_alloc_dirty(arena, total, sizeof *s->value_index);
    s->offset = ot_arena_alloc_dirty(arena, (size_t)b->nnz + 1, sizeof *s->offset);
    if (!s->list || !s->row || !s->ptr || !s->value_index || !s->offset) return false;
    if (!in_slot_order(b)) {
        s->slot = ot_arena_alloc_dirty(arena, (size_t)b->nnz, sizeof *s->slot);
        if (!s->slot) return false;
    }
    int rows = 0, entries = 0;
    for (int i = 0; i < b->lists; i++) {
        int plane = i % s->planes, panel = i / s->planes % s->panels;
        s->list[i] = rows;
        if (panel == 0) rows = emit_empty(b, i / s->planes / s->panels, plane, rows, entries);
        int n = find_segments(b, i);
        order_segments(b, n);
        rows = emit_list(b, n, plane, rows, &entries);
    }
    s->list[b->lists] = rows;
    s->ptr[rows] = entries;
    s->offset[entries] = 0;
    s->nnz = entries;
    return true;
}

/* ---- all of it ---- */

/* What each tap of an axis adds to an offset: `run` floats from run to run, `position` from one
 * packed position to the next. */
static int32_t *distances(const struct axis *a, const ot_allocator *al, const int64_t *tap,
                          int taps, size_t run, size_t position) {
    int32_t *distance = ot_block_alloc(al, (size_t)taps, sizeof *distance);
    for (int i = 0; distance && i < taps; i++)
        distance[i] = (int32_t)((size_t)ot_axis_run(a, tap[i]) * run +
                                (size_t)ot_axis_base(a, tap[i]) * position);
    return distance;
}

static void set_tile(struct stream *s) {
    if (s->flat.samples) {
        ot_flat_tile(&s->flat, s->tiles_w * s->tile_w);
        s->channel_size = (size_t)s->lines.runs * (size_t)s->columns.runs * s->flat.plane;
        return;
    }
    ot_axis_tile(&s->lines, s->tile_h);
    ot_axis_tile(&s->columns, s->tile_w);
    s->channel_size = (size_t)s->lines.length * (size_t)s->columns.length * OT_UNIT;
}

static ot_status check_limits(const struct stream *s, int64_t blocks, ot_error *err) {
    size_t floats;
    if (!ot_mul(s->channel_size, (size_t)s->width, &floats) || floats > INT32_MAX / 2)
        return ot_fail(err, OT_ERROR_LIMIT,
                       "the kernel with its dilation covers %zu positions of a channel, too many "
                       "for a sparse product",
                       s->channel_size);
    int64_t tasks = blocks * s->tiles_h, lists = (int64_t)s->chunks * s->panels, most = INT_MAX / 4;
    if (tasks > most || tasks * s->tiles_w > most || tasks * s->tiles_w * s->chunks > most ||
        lists > most || lists * s->planes > most)
        return ot_fail(err, OT_ERROR_LIMIT,
                       "the output has %lld tiles, too many for a sparse product",
                       (long long)tasks);
    return OT_OK;
}

ot_status ot_stream_build(struct stream *s, const struct kernels *k, struct arena *arena,
                          const struct nonzero *nonzero, int nnz, const int64_t *tap_y, int taps_y,
                          const int64_t *tap_x, int taps_x, int64_t blocks, ot_error *err) {
    const ot_allocator *al = &arena->allocator;
    struct builder b = {.s = s, .nonzero = nonzero, .nnz = nnz};
    int32_t *line = NULL, *column = NULL;
    ot_status status = OT_ERROR_NO_MEMORY;
    b.index = ot_block_alloc(al, (size_t)s->channels, sizeof *b.index);
    if (!b.index || !find_live(s, k, arena, nonzero, nnz, b.index)) goto done;
    ot_stream_shape(s, k, nnz);
    set_tile(s);
    b.tiles = blocks * s->tiles_h * s->tiles_w;
    if (!cut_rows(&b, arena)) goto done;
    status = check_limits(s, blocks, err);
    if (status) goto out;
    status = OT_ERROR_NO_MEMORY;
    b.lists = s->chunks * s->panels * s->planes;
    b.from = ot_block_alloc(al, (size_t)b.lists + 1, sizeof *b.from);
    b.place = ot_block_alloc_dirty(al, (size_t)s->channels, sizeof *b.place);
    b.placed = ot_block_alloc_dirty(al, (size_t)nnz, sizeof *b.placed);
    b.segment = ot_block_alloc_dirty(al, (size_t)s->rows + 1, sizeof *b.segment);
    b.sorted = ot_block_alloc_dirty(al, (size_t)s->rows, sizeof *b.sorted);
    b.visits = ot_block_alloc(al, (size_t)s->planes * (size_t)s->rows, sizeof *b.visits);
    b.begun = ot_block_alloc(al, (size_t)s->planes * (size_t)s->rows, sizeof *b.begun);
    const size_t plane = s->flat.plane, line_runs = (size_t)s->columns.runs * plane;
    const bool flat = s->flat.samples;
    line = distances(&s->lines, al, tap_y, taps_y, line_runs,
                     flat ? (size_t)s->flat.pitch : (size_t)s->columns.length * OT_UNIT);
    column = distances(&s->columns, al, tap_x, taps_x, plane, flat ? 1 : OT_UNIT);
    if (!b.from || !b.place || !b.placed || !b.segment || !b.sorted || !b.visits || !b.begun ||
        !line || !column)
        goto done;
    find_places(&b, s->channels);
    sort_lists(&b, line, column);
    if (emit(&b, arena)) status = OT_OK;
done:
    if (status) ot_fail(err, status, "out of memory for a sparse product");
out:
    ot_block_free(al, b.index);
    ot_block_free(al, b.from);
    ot_block_free(al, b.place);
    ot_block_free(al, b.placed);
    ot_block_free(al, b.segment);
    ot_block_free(al, b.sorted);
    ot_block_free(al, b.visits);
    ot_block_free(al, b.begun);
    ot_block_free(al, line);
    ot_block_free(al, column);
    return status;
}

void ot_stream_refresh(const struct stream *s, const float *value, float *copy, int64_t from,
                       int64_t to) {
    for (int64_t k = from; k < to; k++) copy[k] = value[s->slot[k]];
}
