/* stream_fill.c - puts the slots of a pattern into the lists of a stream: two passes over the slots
 * with a counting sort between them. What a slot adds to a segment and to an offset stands in
 * tables (struct stream_map), so that a pass looks up one place a slot. */
#include <string.h>

#include "ops/product/stream.h"

enum { FRESH = 1 << 30 }; /* in `left`: no list has had the row yet */

/* ---- counting ---- */

/* The slots of a row from k on that are in the segment of slot k: the next one behind them. */
static inline int end_of_run(const struct slot_place *col, const int *of, int k, int end) {
    const int32_t segment = col[of[k]].segment;
    do k++;
    while (k < end && col[of[k]].segment == segment);
    return k;
}

static void count_slots(const struct stream_map *m, const struct pattern *p) {
    const int *const of = p->col;
    for (int r = 0; r < p->rows; r++) {
        const struct slot_place *const col = ot_stream_columns(m, r);
        int32_t *const slots = m->start + m->row[r].segment;
        const int end = p->row[r + 1];
        for (int k = p->row[r], next; m->in_runs && k < end; k = next) {
            next = end_of_run(col, of, k, end);
            slots[col[of[k]].segment] += next - k;
        }
        for (int k = p->row[r]; !m->in_runs && k < end; k++) slots[col[of[k]].segment]++;
    }
}

int ot_stream_count(const struct stream *s, const struct stream_map *m, const struct pattern *p,
                    size_t *rows) {
    const size_t none =
        (size_t)s->panels; /* slots that feed nothing are counted behind the others */
    int slots = 0;
    memset(m->start, 0, ((size_t)m->segments + none) * sizeof *m->start);
    count_slots(m, p);
    *rows = 0;
    for (int i = 0, segment = 0; i < s->rows * s->planes; i++) {
        int lists = 0;
        for (const int end = segment + s->panels; segment < end; segment++) {
            slots += m->start[segment];
            lists += m->start[segment] > 0;
        }
        m->left[i] = lists | FRESH;
        *rows += lists ? (size_t)lists : 1;
    }
    return slots;
}

/* ---- order ---- */

static int32_t *segment_of(const struct stream *s, const struct stream_map *m, int row, int plane,
                           int panel) {
    return &m->start[(row * s->planes + plane) * s->panels + panel];
}

/* Cuts the rows where about the same number of nonzeros lies between (an empty row counts as one).
 */
static void cut_rows(struct stream *s, const struct stream_map *m, int slots) {
    const int64_t weight = (int64_t)slots + s->rows;
    const int32_t *in = m->start;
    int64_t done = 0;
    int chunk = 0;
    for (int r = 0; r < s->rows; r++) {
        while (chunk < s->chunks && done * s->chunks >= weight * chunk) s->chunk_row[chunk++] = r;
        if (!s->slot) m->slot[r] = (int32_t)(done - r);
        done++;
        for (const int32_t *end = in + s->planes * s->panels; in < end; in++) done += *in;
    }
    while (chunk <= s->chunks) s->chunk_row[chunk++] = s->rows;
}

/* Rows without nonzeros are in the first list of their chunk: the kernel writes their start. */
static int emit_empty(struct stream *s, const struct stream_map *m, int chunk, int plane, int rows,
                      int entries) {
    for (int r = s->chunk_row[chunk]; r < s->chunk_row[chunk + 1]; r++) {
        if (m->left[r * s->planes + plane] != FRESH) continue;
        s->row[rows] = r << OT_ROW_SHIFT | OT_ROW_FIRST | OT_ROW_LAST;
        s->value_index[rows] = 0;
        s->ptr[rows++] = entries;
    }
    return rows;
}

/* Stable counting sort of the n rows of a list by their number of slots, `most` at most; all long
 * rows count as one length. */
static const int32_t *sort_rows(const struct stream *s, const struct stream_map *m, int plane,
                                int panel, int n, int most) {
    enum { LENGTHS = 1024 };
    int32_t at[LENGTHS + 1];
    if (most > LENGTHS) most = LENGTHS;
    memset(at, 0, ((size_t)most + 1) * sizeof *at);
    for (int i = 0; i < n; i++) {
        const int length = *segment_of(s, m, m->present[i], plane, panel);
        at[length < most ? length : most]++;
    }
    for (int i = 0, sum = 0; i <= most; i++) {
        const int rows = at[i];
        at[i] = sum;
        sum += rows;
    }
    for (int i = 0; i < n; i++) {
        const int length = *segment_of(s, m, m->present[i], plane, panel);
        m->sorted[at[length < most ? length : most]++] = m->present[i];
    }
    return m->sorted;
}

/* The rows of a list in its order: that of the weight where values are read in place, once or a few
 * times, since they come from far away. */
static const int32_t *order_list(const struct stream *s, const struct stream_map *m, int chunk,
                                 int panel, int plane, int *n) {
    int most = 0;
    *n = 0;
    for (int r = s->chunk_row[chunk]; r < s->chunk_row[chunk + 1]; r++) {
        const int length = *segment_of(s, m, r, plane, panel);
        if (length > most) most = length;
        m->present[*n] = r;
        *n += length > 0;
    }
    return s->slot ? sort_rows(s, m, plane, panel, *n, most) : m->present;
}

/* Lists these rows, and turns their numbers of slots into places. */
static int emit_list(struct stream *s, const struct stream_map *m, int panel, int plane,
                     const int32_t *row, int n, int rows, int *entries) {
    for (int i = 0; i < n; i++) {
        int32_t *const start = segment_of(s, m, row[i], plane, panel);
        int32_t *const left = &m->left[row[i] * s->planes + plane];
        const int length = *start, first = *left & FRESH ? OT_ROW_FIRST : 0;
        *left = (*left & ~FRESH) - 1;
        s->row[rows] = row[i] << OT_ROW_SHIFT | first | (*left ? 0 : OT_ROW_LAST);
        s->value_index[rows] = s->slot ? *entries : m->slot[row[i]];
        s->ptr[rows++] = *entries;
        if (!s->slot) m->slot[row[i]] += length;
        *start = *entries;
        *entries += length;
    }
    return rows;
}

static void order(struct stream *s, const struct stream_map *m) {
    int rows = 0, entries = 0, list = 0;
    for (int chunk = 0; chunk < s->chunks; chunk++)
        for (int panel = 0; panel < s->panels; panel++)
            for (int plane = 0; plane < s->planes; plane++) {
                int n;
                s->list[list++] = rows;
                if (!panel) rows = emit_empty(s, m, chunk, plane, rows, entries);
                const int32_t *row = order_list(s, m, chunk, panel, plane, &n);
                rows = emit_list(s, m, panel, plane, row, n, rows, &entries);
            }
    s->list[list] = rows;
    s->ptr[rows] = entries;
    s->offset[entries] = 0;
    s->nnz = entries;
}

/* ---- all slots ---- */

/* Slots [from, to) of the weight, which stand one behind the other in a segment. */
static void place_run(struct stream *s, const struct slot_place *col, const int *of,
                      struct slot_place row, int from, int to, int at) {
    int32_t *const offset = s->offset + at, *const slot = s->slot + (s->slot ? at : 0);
    for (int k = from; k < to; k++) offset[k - from] = row.offset + col[of[k]].offset;
    for (int k = from; s->slot && k < to; k++) slot[k - from] = k;
}

static void place_runs(struct stream *s, const struct stream_map *m, const struct pattern *p) {
    const int *const of = p->col;
    for (int r = 0; r < p->rows; r++) {
        const struct slot_place *const col = ot_stream_columns(m, r);
        const int end = p->row[r + 1];
        for (int k = p->row[r], next; k < end; k = next) {
            next = end_of_run(col, of, k, end);
            const int segment = m->row[r].segment + col[of[k]].segment;
            place_run(s, col, of, m->row[r], k, next, m->start[segment]);
        }
    }
}

static void place_each(struct stream *s, const struct stream_map *m, const struct pattern *p) {
    const int *const of = p->col, segments = m->segments;
    int32_t *const start = m->start, *const offset = s->offset, *const slot = s->slot;
    for (int r = 0; r < p->rows; r++) {
        const struct slot_place *const col = ot_stream_columns(m, r), row = m->row[r];
        const int end = p->row[r + 1];
        for (int k = p->row[r]; k < end; k++) {
            const struct slot_place at = col[of[k]];
            const int segment = row.segment + at.segment;
            if (segment >= segments) continue;
            const int32_t to = start[segment]++;
            offset[to] = row.offset + at.offset;
            if (slot) slot[to] = k;
        }
    }
}

void ot_stream_fill(struct stream *s, const struct stream_map *m, const struct pattern *p,
                    int slots) {
    cut_rows(s, m, slots);
    order(s, m);
    (m->in_runs ? place_runs : place_each)(s, m, p);
}
