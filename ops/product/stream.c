/* stream.c - makes the stream of a sparse product: panels and chunks, the memory of its lists, and
 * the tables from which stream_fill.c fills them. */
#include "ops/product/stream.h"

#include <limits.h>

/* FEW: tiles from which on a copy of the values in the order of the stream pays. */
enum { TASKS = 16, LEAST_CHUNK = 2048, LARGE = 1 << 19, FEW = 4 };

struct builder {
    struct stream *s;
    const struct kernels *kernels;
    struct arena *arena;
    const struct stream_weight *w;
    struct stream_map map;
    int slots;      /* of the pattern, those that feed something */
    int64_t tiles;  /* of all blocks */
    int32_t *index; /* channel of the stream -> live channel */
    void *block[8]; /* for the time of this work */
    int n_blocks;
};

/* Memory of the stream where it follows other patterns, else for the time of this work. Contents
 * are anything. NULL: out of memory. */
static void *allocate(struct builder *b, size_t count, size_t size) {
    if (b->w->changes) return ot_arena_alloc_dirty(b->arena, count, size);
    return b->block[b->n_blocks++] = ot_block_alloc_dirty(&b->arena->allocator, count, size);
}

/* ---- channels ---- */

/* The taps of all columns: their planes as segments, their channels as offsets. */
static bool list_columns(struct builder *b) {
    const struct stream_weight *w = b->w;
    const size_t cols = (size_t)w->pattern->cols, all = (size_t)w->groups * cols;
    struct slot_place *col = b->map.col = allocate(b, all, sizeof *col);
    b->map.row = allocate(b, (size_t)w->pattern->rows, sizeof *b->map.row);
    b->map.group_rows = w->group_rows;
    b->map.cols = w->pattern->cols;
    if (!col || !b->map.row) return false;
    for (int channel = 0; all && channel < w->groups * w->group_channels; channel++)
        for (int t = 0; t < w->taps; t++) *col++ = (struct slot_place){w->tap[t].plane, channel};
    return true;
}

/* Marks the channels of the stream that have nonzeros, and counts these. */
static void mark_channels(struct builder *b) {
    const struct pattern *p = b->w->pattern;
    for (int r = 0; r < p->rows; r++) {
        const struct slot_place *const col = ot_stream_columns(&b->map, r);
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            const struct slot_place at = col[p->col[k]];
            if (at.segment < 0) continue;
            b->index[b->w->transposed ? r : at.offset] = 1;
            b->slots++;
        }
    }
}

/* Can the image stand for its packed form, dead channels and all? */
static bool needs_no_packing(const struct stream *s, const struct kernels *k) {
    return !s->flat.samples && s->lines.reach + s->columns.reach == 0 && s->in.pixel == OT_UNIT &&
           s->grid_h <= OT_TILE_LINES && s->grid_h * s->grid_w <= k->tile &&
           s->in.channel == (size_t)(s->grid_h * s->grid_w) * OT_UNIT;
}

/* Numbers the channels that have nonzeros; all of an image that is not packed or packed whole, or
 * of which another pattern may take others; index[channel] is its number. */
static bool find_live(struct builder *b) {
    struct stream *s = b->s;
    b->index = allocate(b, (size_t)s->channels, sizeof *b->index);
    if (!b->index || !list_columns(b)) return false;
    for (int c = 0; c < s->channels; c++) b->index[c] = 0;
    mark_channels(b);
    const bool whole = s->same_tiles_as || needs_no_packing(s, b->kernels);
    const bool all = b->w->changes || (b->slots && whole);
    for (int c = 0; c < s->channels; c++) s->live += b->index[c] |= all;
    s->channel = ot_arena_alloc(b->arena, (size_t)s->live, sizeof *s->channel);
    if (!s->channel) return false;
    for (int c = 0, n = 0; c < s->channels; c++) {
        if (!b->index[c]) continue;
        s->channel[n] = c;
        b->index[c] = n++;
    }
    return true;
}

/* ---- tiles and chunks ---- */

/* Of so many nonzeros, an empty row counting as one. */
static void count_chunks(const struct builder *b, int nnz) {
    struct stream *s = b->s;
    const int64_t weight = (int64_t)nnz + s->rows;
    int64_t chunks = b->tiles < TASKS ? TASKS / (b->tiles ? b->tiles : 1) : 1;
    if (nnz > LARGE && chunks < TASKS / 2) chunks = TASKS / 2;
    if (chunks > weight / LEAST_CHUNK) chunks = weight / LEAST_CHUNK;
    if (chunks > s->rows) chunks = s->rows;
    s->chunks = chunks < 1 ? 1 : (int)chunks;
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
        lists > most || lists * s->planes > most || (int64_t)s->rows * s->planes > most / s->panels)
        return ot_fail(err, OT_ERROR_LIMIT,
                       "the output has %lld tiles, too many for a sparse product",
                       (long long)tasks);
    return OT_OK;
}

/* ---- places of slots ---- */

/* What each tap of an axis adds to an offset: `run` floats from run to run, `position` from one
 * packed position to the next. */
static int32_t *distances(struct builder *b, const struct axis *a, const int64_t *tap, int taps,
                          size_t run, size_t position) {
    int32_t *distance = allocate(b, (size_t)taps, sizeof *distance);
    for (int i = 0; distance && i < taps; i++)
        distance[i] = (int32_t)((size_t)ot_axis_run(a, tap[i]) * run +
                                (size_t)ot_axis_base(a, tap[i]) * position);
    return distance;
}

/* Where a live channel stands in its panel. */
static int32_t channel_offset(const struct builder *b, int channel) {
    const struct stream *s = b->s;
    return (int32_t)((size_t)(b->index[channel] % s->width) * s->channel_size);
}

/* A column of the weight: its tap, and its channel, of the packed input or of the output. */
static struct slot_place place_column(const struct builder *b, const struct stream_tap *t,
                                      int channel, const int32_t *line, const int32_t *column) {
    const struct stream *s = b->s;
    if (t->plane < 0) return (struct slot_place){b->map.segments, 0};
    const int32_t distance = line[t->i] + column[t->j];
    if (b->w->transposed)
        return (struct slot_place){(channel * s->planes + t->plane) * s->panels, distance};
    return (struct slot_place){b->index[channel] / s->width, channel_offset(b, channel) + distance};
}

/* The tables of all rows and columns of the weight. */
static void set_places(struct builder *b, const int32_t *line, const int32_t *column) {
    const struct stream_weight *w = b->w;
    const struct stream *s = b->s;
    const size_t all = (size_t)w->groups * (size_t)w->pattern->cols;
    struct slot_place *col = b->map.col, *row = b->map.row;
    for (int channel = 0; all && channel < w->groups * w->group_channels; channel++)
        for (int t = 0; t < w->taps; t++)
            *col++ = place_column(b, &w->tap[t], channel, line, column);
    for (int r = 0; r < w->pattern->rows; r++)
        row[r] = w->transposed ? (struct slot_place){b->index[r] / s->width, channel_offset(b, r)}
                               : (struct slot_place){r * s->panels, 0};
}

static bool make_map(struct builder *b, const int64_t *tap_y, int taps_y, const int64_t *tap_x,
                     int taps_x) {
    const struct stream *s = b->s;
    struct stream_map *m = &b->map;
    const size_t plane = s->flat.plane, line_runs = (size_t)s->columns.runs * plane;
    const size_t rows = (size_t)s->rows, panels = (size_t)s->panels;
    const bool flat = s->flat.samples;
    const int32_t *line =
        distances(b, &s->lines, tap_y, taps_y, line_runs,
                  flat ? (size_t)s->flat.pitch : (size_t)s->columns.length * OT_UNIT);
    const int32_t *column = distances(b, &s->columns, tap_x, taps_x, plane, flat ? 1 : OT_UNIT);
    const size_t left = rows * (size_t)s->planes, segments = left * panels;
    m->segments = (int32_t)segments;
    m->in_runs = !b->w->transposed;
    m->start = allocate(b, segments + panels + left + 3 * rows, sizeof *m->start);
    if (!line || !column || !m->start) return false;
    m->left = m->start + segments + panels;
    m->slot = m->left + left;
    m->present = m->slot + rows;
    m->sorted = m->present + rows;
    set_places(b, line, column);
    return true;
}

/* ---- lists ---- */

/* May kernels find values where the weight has them, since segments follow one another there as
 * they do here? Pieces of several panels lie apart, which costs more than a copy if it is done
 * often. */
static bool in_slot_order(const struct builder *b) {
    const bool kept = !b->w->transposed || b->w->group_rows == 1 || b->w->group_channels == 1;
    return kept && b->s->planes == 1 && b->tiles < FEW && !b->s->often;
}

/* `rows` of all lists, and so many slots. */
static bool make_lists(struct builder *b, size_t rows, int slots) {
    struct stream *s = b->s;
    struct arena *arena = b->arena;
    const size_t lists = (size_t)(s->chunks * s->panels * s->planes);
    s->chunk_row = ot_arena_alloc(arena, (size_t)s->chunks + 1, sizeof *s->chunk_row);
    s->list = ot_arena_alloc(arena, lists + 1, sizeof *s->list);
    s->row = ot_arena_alloc_dirty(arena, rows, sizeof *s->row);
    s->ptr = ot_arena_alloc_dirty(arena, rows + 1, sizeof *s->ptr);
    s->value_index = ot_arena_alloc_dirty(arena, rows, sizeof *s->value_index);
    s->offset = ot_arena_alloc_dirty(arena, (size_t)slots + 1, sizeof *s->offset);
    if (!in_slot_order(b)) {
        s->slot = ot_arena_alloc_dirty(arena, (size_t)slots, sizeof *s->slot);
        if (!s->slot) return false;
    }
    return s->chunk_row && s->list && s->row && s->ptr && s->value_index && s->offset;
}

/* The rows of all lists that so many slots can have. */
static size_t most_rows(const struct stream *s, const struct stream_map *m, int slots) {
    const size_t rows = (size_t)s->rows * (size_t)s->planes + (size_t)slots;
    return rows < (size_t)m->segments ? rows : (size_t)m->segments;
}

static bool keep_map(struct builder *b) {
    b->s->map = ot_arena_alloc(b->arena, 1, sizeof *b->s->map);
    if (b->s->map) *b->s->map = b->map;
    return b->s->map;
}

static bool fill_lists(struct builder *b) {
    const struct stream_weight *w = b->w;
    size_t rows;
    const int slots = ot_stream_count(b->s, &b->map, w->pattern, &rows);
    const bool made = w->changes ? make_lists(b, most_rows(b->s, &b->map, w->capacity), w->capacity)
                                 : make_lists(b, rows, slots);
    if (!made || (w->changes && !keep_map(b))) return false;
    ot_stream_fill(b->s, &b->map, w->pattern, slots);
    return true;
}

/* ---- all of it ---- */

ot_status ot_stream_build(struct stream *s, const struct kernels *k, struct arena *arena,
                          const struct stream_weight *w, const int64_t *tap_y, int taps_y,
                          const int64_t *tap_x, int taps_x, int64_t blocks, ot_error *err) {
    struct builder b = {.s = s, .kernels = k, .arena = arena, .w = w};
    ot_status status = OT_OK;
    bool made = find_live(&b);
    if (made) {
        const int nnz = w->changes ? w->expected : b.slots;
        ot_stream_shape(s, k, nnz);
        set_tile(s);
        b.tiles = blocks * s->tiles_h * s->tiles_w;
        count_chunks(&b, nnz);
        status = check_limits(s, blocks, err);
        made = status || (make_map(&b, tap_y, taps_y, tap_x, taps_x) && fill_lists(&b));
    }
    for (int i = 0; i < b.n_blocks; i++) ot_block_free(&arena->allocator, b.block[i]);
    return made ? status : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a sparse product");
}

void ot_stream_follow(struct stream *s, const struct pattern *p) {
    size_t rows;
    const int slots = ot_stream_count(s, s->map, p, &rows);
    ot_stream_fill(s, s->map, p, slots);
}

void ot_stream_refresh(const struct stream *s, const float *value, float *copy, int64_t from,
                       int64_t to) {
    for (int64_t k = from; k < to; k++) copy[k] = value[s->slot[k]];
}
