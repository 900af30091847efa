/* lazy.c - the bytes of a weight are made in pieces, when they are written: a dense tensor
 * that the file spells out may be far larger than what is kept of it. */
#include <string.h>

#include "onnx/export/parts.h"
#include "onnx/slot_value.h"
#include "runtime/base/pattern.h"

enum { PIECE = 4 << 20 }; /* bytes; columns of a transposed pattern are looked at once a piece */

ot_status ot_export_add_lazy(struct export_job *job, const struct lazy *l, void **marker) {
    const struct graph *a = job->request->algorithm;
    const size_t most = (size_t)job->g->n_values + (a ? (size_t)a->n_values : 0);
    void *memory;
    if (!job->lazy) {
        OT_TRY(ot_export_alloc(job, most, sizeof *job->lazy, &memory));
        job->lazy = memory;
    }
    if (job->n_lazy == most)
        return ot_fail(job->err, OT_ERROR_INVALID, "a weight is stored in the file more than once");
    job->lazy[job->n_lazy] = *l;
    *marker = &job->lazy[job->n_lazy++];
    return OT_OK;
}

static const struct lazy *find_lazy(const struct export_job *job, const void *data) {
    const uintptr_t at = (uintptr_t)data, from = (uintptr_t)job->lazy;
    return job->lazy && at >= from && at < from + job->n_lazy * sizeof *job->lazy ? data : NULL;
}

bool ot_export_is_lazy(const struct export_job *job, const void *data) {
    return find_lazy(job, data) != NULL;
}

/* One weight under way. */
struct pieces {
    const struct lazy *l;
    char *piece;
    int *next;     /* row of the pattern -> its first slot that is not written yet */
    int64_t width; /* columns of the file's matrix */
};

static void put_values(const struct pieces *s, int64_t first, int64_t n) {
    const float *value = (const float *)s->l->t->data + first;
    for (int64_t i = 0; i < n; i++) s->l->put(s->piece + (size_t)i * s->l->size, value[i]);
}

static void put_negative_zeros(const struct pieces *s, int64_t first, int64_t n) {
    const uint8_t *bits = s->l->negative_zeros;
    for (int64_t i = 0; bits && i < n; i++)
        if (bits[(first + i) / 8] >> (first + i) % 8 & 1)
            s->l->put(s->piece + (size_t)i * s->l->size, -0.0f);
}

/* A piece is rows of the file's matrix, or a part of one row. */
static void put_slots(const struct pieces *s, int64_t first, int64_t n) {
    const struct pattern *p = s->l->t->pattern;
    const float *value = s->l->t->data;
    int64_t row = first / s->width, end = (first + n - 1) / s->width + 1;
    if (p->transposed) { /* rows of the pattern are columns */
        row = n < s->width ? first % s->width : 0;
        end = n < s->width ? row + n : p->rows;
    }
    for (int r = (int)row; r < (int)end; r++)
        for (int *slot = &s->next[r]; *slot < p->row[r + 1]; ++*slot) {
            const int64_t at = ot_pattern_position(p, r, *slot) - first;
            if (at >= n) break;
            s->l->put(s->piece + (size_t)at * s->l->size, ot_slot_value(value[*slot], s->l->least));
        }
}

static ot_status begin_pieces(struct export_job *job, const struct lazy *l, struct pieces *s) {
    const struct pattern *p = l->t->pattern;
    void *memory;
    if (!job->piece) {
        OT_TRY(ot_export_alloc(job, PIECE, 1, &memory));
        job->piece = memory;
    }
    *s = (struct pieces){.l = l, .piece = job->piece};
    if (!p) return OT_OK;
    OT_TRY(ot_export_alloc(job, (size_t)p->rows, sizeof *s->next, &memory));
    s->next = memory;
    if (p->rows) memcpy(s->next, p->row, (size_t)p->rows * sizeof *s->next);
    s->width = p->transposed ? p->rows : p->cols;
    return OT_OK;
}

/* Elements of the piece that begins here. */
static int64_t piece_size(const struct pieces *s, int64_t first, int64_t count) {
    int64_t most = PIECE / (int64_t)s->l->size;
    if (s->width > most) {
        const int64_t rest = s->width - first % s->width;
        most = rest < most ? rest : most;
    } else if (s->width) {
        most -= most % s->width;
    }
    return count - first < most ? count - first : most;
}

ot_status ot_export_bytes(struct export_job *job, const void *data, size_t size, ot_sink_fn *sink,
                          void *context) {
    const struct lazy *l = find_lazy(job, data);
    struct pieces s;
    if (!l) return size ? sink(context, data, size) : OT_OK;
    OT_TRY(begin_pieces(job, l, &s));
    const int64_t count = ot_elements(l->t);
    for (int64_t first = 0, n; first < count; first += n) {
        n = piece_size(&s, first, count);
        if (l->t->pattern) {
            memset(s.piece, 0, (size_t)n * l->size);
            put_negative_zeros(&s, first, n);
            put_slots(&s, first, n);
        } else {
            put_values(&s, first, n);
        }
        OT_TRY(sink(context, s.piece, (size_t)n * l->size));
    }
    return OT_OK;
}
