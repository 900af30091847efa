/* slots.c - a dense weight is read piece by piece, and only the elements that are not zero are
 * kept: a pruned weight takes its nonzeros in memory, however large its file is. */
#include "onnx/slots.h"

#include <limits.h>
#include <string.h>

#include "runtime/base/pattern.h"

enum { PIECE = 1 << 16, GROUP = 8, BLOCK = 1 << 20 }; /* floats; of one look; entries */
enum { SAMPLES = 64, SAMPLE = 1024 };

/* The blocks of a weight hang in a chain. */
struct slot_block {
    struct slot_block *next;
    int n, room;
    int *col; /* room entries each */
    float *value;
};

/* ---- reading ---- */

struct reader {
    struct import *im;
    struct slots *s;
    struct slot_block *last;
    int64_t at, count;
    int64_t col, cols, row; /* of the element at hand */
};

static ot_status add_block(struct reader *r) {
    const int64_t left = r->count - r->at;
    const size_t room = (size_t)(left < BLOCK ? left : BLOCK) + 2 * GROUP; /* see read_run */
    struct slot_block *b = ot_block_alloc(&r->im->allocator, 1,
                                          sizeof *b + room * (sizeof *b->col + sizeof *b->value));
    if (!b) return ot_import_fail(r->im, OT_ERROR_NO_MEMORY, "out of memory for a weight");
    b->room = (int)room;
    b->value = (float *)(b + 1);
    b->col = (int *)(b->value + room);
    if (r->last)
        r->last->next = b;
    else
        r->s->block = b;
    r->last = b;
    return OT_OK;
}

/* Export writes -0.0 back, and it is no slot. */
static ot_status note_negative_zero(struct reader *r, int64_t at) {
    struct slots *s = r->s;
    if (!s->negative_zeros) {
        const size_t size = (size_t)(r->count + 7) / 8;
        s->negative_zeros = ot_bump_alloc(&r->im->kept, size, 1);
        if (!s->negative_zeros) return ot_import_no_room(r->im, &r->im->g->arena, size);
    }
    s->negative_zeros[at / 8] |= (uint8_t)(1 << at % 8);
    return OT_OK;
}

static bool all_zero(const uint32_t *bits) {
    uint32_t any = 0;
    for (int i = 0; i < GROUP; i++) any |= bits[i];
    return !any;
}

/* n elements of one row, columns col on. */
static ot_status read_run(struct reader *r, const uint32_t *bits, int64_t n) {
    const int64_t at = r->at - r->col;
    for (int64_t i = 0; i < n;) {
        if (i + GROUP <= n && all_zero(bits + i)) {
            i += GROUP;
            continue;
        }
        struct slot_block *b = r->last;
        if (!b || b->n > b->room - GROUP) { /* all of a group are written, not all kept */
            OT_TRY(add_block(r));
            b = r->last;
        }
        const int64_t end = i + GROUP < n ? i + GROUP : n;
        int k = b->n;
        for (; i < end; i++) {
            if (bits[i] == 0x80000000u) OT_TRY(note_negative_zero(r, at + r->col + i));
            b->col[k] = (int)(r->col + i);
            memcpy(&b->value[k], &bits[i], sizeof bits[i]);
            k += bits[i] << 1 != 0;
        }
        r->s->row[r->row + 1] += k - b->n;
        b->n = k;
    }
    return OT_OK;
}

static ot_status read_piece(struct reader *r, const uint32_t *bits, int64_t n) {
    for (int64_t i = 0; i < n;) {
        const int64_t rest = r->cols - r->col, run = n - i < rest ? n - i : rest;
        OT_TRY(read_run(r, bits + i, run));
        i += run;
        r->at += run;
        r->col += run;
        if (r->col < r->cols) continue;
        r->col = 0;
        r->row++;
    }
    return OT_OK;
}

static ot_status read_all(struct reader *r, const struct payload *p, uint32_t *bits) {
    for (int64_t i = 0; i < r->count; i += PIECE) {
        const int64_t n = r->count - i < PIECE ? r->count - i : PIECE;
        OT_TRY(ot_payload_part(r->im, p, (size_t)i, (size_t)n, bits));
        OT_TRY(read_piece(r, bits, n));
    }
    for (int64_t k = 0; k < r->s->rows; k++) {
        r->s->n += r->s->row[k + 1];
        if (r->s->n > INT_MAX)
            return ot_import_fail(r->im, OT_ERROR_LIMIT, "more than %d slots", INT_MAX);
        r->s->row[k + 1] += r->s->row[k];
    }
    return OT_OK;
}

ot_status ot_slots_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                        int64_t rows, struct slots *s) {
    const int64_t count = ot_elements(shape);
    struct payload p;
    *s = (struct slots){.rows = rows, .cols = rows ? count / rows : 0};
    if (rows >= INT_MAX || s->cols >= INT_MAX)
        return ot_import_fail(im, OT_ERROR_LIMIT, "a matrix of %lld x %lld is too large",
                              (long long)rows, (long long)s->cols);
    struct reader r = {.im = im, .s = s, .count = count, .cols = s->cols};
    s->row = ot_block_alloc(&im->allocator, (size_t)rows + 1, sizeof *s->row);
    const int64_t piece = count < PIECE ? count : PIECE;
    uint32_t *bits = ot_block_alloc(&im->allocator, (size_t)piece, sizeof *bits);
    ot_status status = OT_ERROR_NO_MEMORY;
    if (!s->row || !bits)
        ot_import_fail(im, status, "out of memory for a weight");
    else
        status = ot_payload_open(im, t, shape, &p);
    if (!status) {
        status = read_all(&r, &p, bits);
        ot_payload_close(&p);
    }
    ot_block_free(&im->allocator, bits);
    if (status) ot_slots_free(im, s);
    return status;
}

void ot_slots_free(struct import *im, struct slots *s) {
    for (struct slot_block *b = s->block, *next; b; b = next) {
        next = b->next;
        ot_block_free(&im->allocator, b);
    }
    ot_block_free(&im->allocator, s->row);
    *s = (struct slots){0};
}

/* ---- the pattern ---- */

/* Its columns in ascending order, as rows: slot by slot to where the column goes on. */
static void transpose(const struct slots *s, struct pattern *p, float *value) {
    const struct slot_block *b = s->block;
    int k = 0;
    for (const struct slot_block *c = b; c; c = c->next)
        for (int i = 0; i < c->n; i++) p->row[c->col[i] + 1]++;
    for (int r = 0; r < p->rows; r++) p->row[r + 1] += p->row[r];
    for (int64_t row = 0; row < s->rows; row++)
        for (int left = s->row[row + 1] - s->row[row]; left; left--) {
            if (k == b->n) {
                b = b->next;
                k = 0;
            }
            const int to = p->row[b->col[k]]++; /* the start of a row moves to its end ... */
            p->col[to] = (int)row;
            value[to] = b->value[k++];
        }
    for (int r = p->rows; r > 0; r--) p->row[r] = p->row[r - 1]; /* ... and back */
    p->row[0] = 0;
}

static void copy(const struct slots *s, struct pattern *p, float *value) {
    int n = 0;
    memcpy(p->row, s->row, ((size_t)s->rows + 1) * sizeof *p->row);
    for (const struct slot_block *b = s->block; b; b = b->next) {
        memcpy(p->col + n, b->col, (size_t)b->n * sizeof *p->col);
        memcpy(value + n, b->value, (size_t)b->n * sizeof *value);
        n += b->n;
    }
}

ot_status ot_slots_pattern(struct import *im, const struct slots *s, bool transposed,
                           struct tensor *t) {
    struct pattern *p = NULL;
    float *value = ot_arena_alloc(&im->g->arena, (size_t)s->n, sizeof *value);
    if (!value) return ot_import_no_room(im, &im->g->arena, (size_t)s->n * sizeof *value);
    OT_TRY(ot_pattern_alloc(&im->allocator, s->rows, s->cols, transposed, s->n, &p, &im->last));
    if (transposed)
        transpose(s, p, value);
    else
        copy(s, p, value);
    t->pattern = p; /* freed with the tensor */
    t->data = value;
    return ot_pattern_count_live(p, &im->last);
}

/* ---- is it worth while? ---- */

ot_status ot_slots_sample(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          double *share) {
    const int64_t count = ot_elements(shape);
    float part[SAMPLE];
    int64_t zeros = 0, seen = 0;
    struct payload p;
    OT_TRY(ot_payload_open(im, t, shape, &p));
    ot_status status = OT_OK;
    for (int64_t k = 0; k < SAMPLES && !status; k++) {
        const int64_t first = count / SAMPLES * k, rest = count - first;
        const int64_t n = rest < SAMPLE ? rest : SAMPLE;
        status = ot_payload_part(im, &p, (size_t)first, (size_t)n, part);
        for (int64_t i = 0; i < n && !status; i++) zeros += part[i] == 0;
        seen += n;
    }
    ot_payload_close(&p);
    *share = seen ? (double)zeros / (double)seen : 0;
    return status;
}
