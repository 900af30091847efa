/* slots.c - a dense weight is read piece by piece, and only the elements that are not zero are
 * kept: a pruned weight takes its nonzeros in memory, however large its file is. */
#include "onnx/slots.h"

#include <limits.h>
#include <string.h>

#include "onnx/pieces.h"
#include "runtime/base/nonzeros.h"

enum { BLOCK = 4 << 20, SLOT = sizeof(uint16_t) + sizeof(float) }; /* bytes */
_Static_assert(OT_PIECE - 1 <= UINT16_MAX, "slot_run.at");
enum { SAMPLES = 64, SAMPLE = 1024 };

/* The blocks of a weight hang in a chain, of which each lane fills one at a time. */
struct slot_block {
    struct slot_block *next;
    int64_t n, room, end; /* end: no run from there on is in it */
    float *value;         /* room entries each */
    uint16_t *at;
};

struct reader {
    struct import *im;
    struct slots *s;
    struct pieces pieces;
    struct lane {
        struct slot_block *block;
        int64_t n;        /* slots of the lane in all blocks */
        const char *bits; /* of the piece of this round */
        bool has_negative_zeros;
    } lane[OT_LANES];
};

/* ---- memory, between rounds ---- */

/* As large as all that the lane has filled yet, so that little is left unused. The room of a piece
 * is left at its end, since any piece may have slots alone. */
static ot_status add_block(struct reader *r, struct lane *l, int64_t least) {
    const int64_t most = (BLOCK - (int64_t)sizeof(struct slot_block)) / SLOT;
    const int64_t wanted = least + (l->n > least ? l->n : least),
                  room = wanted < most ? wanted : most;
    struct slot_block *b =
        ot_block_alloc_dirty(&r->im->allocator, 1, sizeof *b + (size_t)room * SLOT);
    if (!b) return ot_import_fail(r->im, OT_ERROR_NO_MEMORY, "out of memory for a weight");
    *b = (struct slot_block){.next = r->s->block, .room = room};
    b->value = (float *)(b + 1);
    b->at = (uint16_t *)(b->value + room);
    r->s->block = l->block = b;
    return OT_OK;
}

/* Room for all elements of the next round. */
static ot_status make_room(struct reader *r) {
    for (int i = 0; i < r->pieces.lanes; i++) {
        struct lane *l = &r->lane[i];
        const int64_t n = ot_pieces_lane(&r->pieces, i).n;
        if (n && (!l->block || l->block->room - l->block->n < n)) OT_TRY(add_block(r, l, n));
    }
    return OT_OK;
}

/* ---- negative zeros ---- */

/* Of the group that begins with element i of a piece. */
static inline uint64_t find_nonzeros(const struct piece *p, const char *bits, int64_t i,
                                     uint64_t *negative) {
    const char *group = bits + sizeof(float) * (size_t)i;
    return p->n - i < OT_GROUP ? ot_nonzeros_part(group, p->n - i, negative)
                               : ot_nonzeros(group, negative);
}

static inline void mark_negative_zeros(uint8_t *negative_zeros, int64_t first, uint64_t negative) {
    memcpy(negative_zeros + first / 8, &negative, sizeof negative);
}

/* Export writes -0.0 back, and it is no slot. The first round that meets one is looked at again;
 * from then on every group is marked when it is read. */
static ot_status begin_marks(struct reader *r, const struct piece *piece) {
    const int64_t groups = (r->pieces.count + OT_GROUP - 1) / OT_GROUP;
    const size_t size = (size_t)groups * OT_GROUP / 8;
    uint8_t *bits = ot_arena_alloc_dirty(&r->im->g->arena, size, 1);
    if (!bits) return ot_import_no_room(r->im, &r->im->g->arena, size);
    r->s->negative_zeros = memset(bits, 0, (size_t)piece->first / 8);
    for (int k = 0; k < OT_LANES; k++)
        for (int64_t i = 0; i < piece[k].n; i += OT_GROUP) {
            uint64_t negative;
            find_nonzeros(&piece[k], r->lane[k].bits, i, &negative);
            mark_negative_zeros(bits, piece[k].first + i, negative);
        }
    return OT_OK;
}

/* ---- slots ---- */

/* The current row. */
struct cursor {
    int *segment;      /* number of slots of the row's segment */
    int64_t first;     /* number of the segment's first slot in the run */
    int64_t end, cols; /* element of the piece where the row ends; elements of a row */
};

static void end_segment(struct cursor *c, int64_t n) {
    *c->segment++ = (int)(n - c->first);
    c->first = n;
    c->end += c->cols;
}

/* The slots among 64 elements, the first of which is element i of the piece; returns how many the
 * run has now. */
static inline int64_t take_group(struct cursor *c, uint64_t nonzero, int64_t i, const char *bits,
                                 struct slot_run *run, int64_t n) {
    for (; nonzero; nonzero &= nonzero - 1) {
        const int64_t at = i + __builtin_ctzll(nonzero);
        float value;
        memcpy(&value, bits + sizeof value * (size_t)at, sizeof value);
        while (at >= c->end) end_segment(c, n);
        run->at[n] = (uint16_t)at;
        run->value[n++] = value;
    }
    return n;
}

static ot_status take_piece(void *context, int lane, const struct piece *piece, ot_error *err) {
    struct reader *r = context;
    struct lane *l = &r->lane[lane];
    struct slot_block *b = l->block;
    const int64_t k = piece->first / OT_PIECE, cols = r->s->cols, row = piece->first / cols;
    struct slot_run run = {.at = b->at + b->n, .value = b->value + b->n};
    struct cursor c = {r->s->segment + 1 + row + k, 0, (row + 1) * cols - piece->first, cols};
    l->bits = piece->data;
    for (int64_t i = 0; i < piece->n; i += OT_GROUP) {
        uint64_t negative;
        const uint64_t nonzero = find_nonzeros(piece, piece->data, i, &negative);
        if (r->s->negative_zeros)
            mark_negative_zeros(r->s->negative_zeros, piece->first + i, negative);
        else if (negative)
            l->has_negative_zeros = true;
        run.n = take_group(&c, nonzero, i, piece->data, &run, run.n);
    }
    end_segment(&c, run.n);
    b->n += run.n;
    l->n += run.n;
    b->end = k + 1;
    r->s->run[k] = run;
    (void)err;
    return OT_OK;
}

static ot_status finish_round(struct reader *r, const struct piece *piece) {
    bool negative = false;
    for (int i = 0; i < OT_LANES && piece[i].n; i++) {
        r->s->n += r->s->run[piece[i].first / OT_PIECE].n;
        negative |= r->lane[i].has_negative_zeros;
    }
    if (r->s->n > INT_MAX)
        return ot_import_fail(r->im, OT_ERROR_LIMIT, "the weight has more than %d nonzeros",
                              INT_MAX);
    return negative && !r->s->negative_zeros ? begin_marks(r, piece) : OT_OK;
}

static ot_status read_rounds(struct reader *r) {
    struct piece piece[OT_LANES];
    while (r->pieces.next < r->pieces.count) {
        for (int i = 0; i < OT_LANES; i++) piece[i] = ot_pieces_lane(&r->pieces, i);
        OT_TRY(make_room(r));
        OT_TRY(ot_pieces_round(&r->pieces, take_piece, r));
        OT_TRY(finish_round(r, piece));
    }
    for (int64_t k = 0; k < r->s->segments; k++) r->s->segment[k + 1] += r->s->segment[k];
    return OT_OK;
}

ot_status ot_slots_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                        int64_t rows, struct slots *s) {
    const int64_t count = ot_elements(shape);
    *s = (struct slots){.rows = rows, .cols = rows ? count / rows : 0};
    s->runs = (count + OT_PIECE - 1) / OT_PIECE;
    s->segments = rows + s->runs;
    if (rows >= INT_MAX || s->cols >= INT_MAX)
        return ot_import_fail(im, OT_ERROR_LIMIT, "the matrix of %lld x %lld is too large",
                              (long long)rows, (long long)s->cols);
    struct reader r = {.im = im, .s = s};
    s->segment = ot_block_alloc(&im->allocator, (size_t)s->segments + 1, sizeof *s->segment);
    s->run = ot_block_alloc(&im->allocator, (size_t)s->runs, sizeof *s->run);
    ot_status status = OT_ERROR_NO_MEMORY;
    if (!s->segment || !s->run)
        ot_import_fail(im, status, "out of memory for a weight");
    else
        status = ot_pieces_open(im, t, shape, NULL, &r.pieces);
    if (!status) {
        status = read_rounds(&r);
        ot_pieces_close(&r.pieces);
    }
    if (status) ot_slots_free(im, s);
    return status;
}

void ot_slots_release(struct import *im, struct slots *s, int64_t run) {
    for (struct slot_block **from = &s->block, *b; (b = *from);) {
        if (b->end > run) {
            from = &b->next;
            continue;
        }
        *from = b->next;
        ot_block_free(&im->allocator, b);
    }
}

void ot_slots_free(struct import *im, struct slots *s) {
    ot_slots_release(im, s, s->runs);
    ot_block_free(&im->allocator, s->segment);
    ot_block_free(&im->allocator, s->run);
    *s = (struct slots){0};
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
        status = ot_payload_part(&p, (size_t)first, (size_t)n, part, &im->last);
        for (int64_t i = 0; i < n && !status; i++) zeros += part[i] == 0;
        seen += n;
    }
    ot_payload_close(&p);
    *share = seen ? (double)zeros / (double)seen : 0;
    return status;
}
