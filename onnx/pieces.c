/* pieces.c - reading a tensor in rounds of pieces. */
#include "onnx/pieces.h"

#include "runtime/base/pool.h"

struct round {
    const struct pieces *p;
    ot_piece_fn *fn;
    void *context;
    ot_status status[OT_LANES];
    ot_error err[OT_LANES];
};

ot_status ot_pieces_open(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                         void *dst, struct pieces *p) {
    const int64_t count = ot_elements(shape), n = (count + OT_PIECE - 1) / OT_PIECE;
    *p = (struct pieces){.im = im, .payload.external.fd = -1, .count = count, .dst = dst};
    p->size = ot_type_size(shape->type);
    p->lanes = n < OT_LANES ? (int)n : OT_LANES;
    OT_TRY(ot_payload_open(im, t, shape, &p->payload));
    if (dst || ot_payload_in_place(&p->payload, 0)) return OT_OK;
    const size_t room = (size_t)(n > 1 ? OT_PIECE : count) * p->size;
    p->buffer = ot_block_alloc_dirty(&im->allocator, (size_t)p->lanes, room);
    if (p->buffer) return OT_OK;
    ot_payload_close(&p->payload);
    return ot_import_fail(im, OT_ERROR_NO_MEMORY, "out of memory for a piece of a weight");
}

struct piece ot_pieces_lane(const struct pieces *p, int lane) {
    const int64_t first = p->next + (int64_t)lane * OT_PIECE, rest = p->count - first;
    if (lane >= p->lanes || rest <= 0) return (struct piece){.first = p->count};
    return (struct piece){.first = first, .n = rest < OT_PIECE ? rest : OT_PIECE};
}

/* Where a piece stands, once it is there. */
static ot_status fetch(const struct pieces *p, int lane, struct piece *piece, ot_error *err) {
    const size_t first = (size_t)piece->first;
    if (!p->dst && !p->buffer) {
        piece->data = ot_payload_in_place(&p->payload, first);
        return OT_OK;
    }
    char *to = p->dst ? p->dst + first * p->size : p->buffer + (size_t)lane * OT_PIECE * p->size;
    piece->data = to;
    return ot_payload_part(&p->payload, first, (size_t)piece->n, to, err);
}

static void run_lane(void *arg, int lane, int worker) {
    struct round *r = arg;
    struct piece piece = ot_pieces_lane(r->p, lane);
    (void)worker;
    r->status[lane] = fetch(r->p, lane, &piece, &r->err[lane]);
    if (!r->status[lane]) r->status[lane] = r->fn(r->context, lane, &piece, &r->err[lane]);
}

ot_status ot_pieces_round(struct pieces *p, ot_piece_fn *fn, void *context) {
    struct round r = {.p = p, .fn = fn, .context = context};
    const int64_t left = (p->count - p->next + OT_PIECE - 1) / OT_PIECE;
    const int lanes = left < p->lanes ? (int)left : p->lanes;
    ot_import_parallel(p->im, lanes, run_lane, &r);
    for (int i = 0; i < lanes; i++) {
        if (!r.status[i]) continue;
        p->im->last = r.err[i];
        return r.status[i];
    }
    p->next += (int64_t)lanes * OT_PIECE;
    if (p->next > p->count) p->next = p->count;
    return OT_OK;
}

void ot_pieces_close(struct pieces *p) {
    ot_payload_close(&p->payload);
    ot_block_free(&p->im->allocator, p->buffer);
    p->buffer = NULL;
}
