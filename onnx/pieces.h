/* pieces.h - the contents of a tensor, read in pieces of a few hundred kilobytes: some at a time,
 * on as many threads as there are, in the order of the file. */
#ifndef OT_ONNX_PIECES_H
#define OT_ONNX_PIECES_H

#include "onnx/model.h"

/* Elements of a piece; pieces of a round. Neither depends on the number of threads. */
enum { OT_PIECE = 1 << 16, OT_LANES = 8 };

/* Elements [first, first + n) of the tensor, in the type that its shape has. */
struct piece {
    int64_t first, n;
    const void *data; /* not aligned where the file's bytes are looked at in place */
};

struct pieces {
    struct import *im;
    struct payload payload;
    int64_t count, next; /* elements of the tensor; the first that is not read yet */
    int lanes;
    size_t size;  /* bytes of an element */
    char *dst;    /* memory of the whole tensor; NULL: a piece is released after its round */
    char *buffer; /* a piece a lane; NULL where none is needed */
};

/* What is done with a piece once it is read. Calls for the lanes of a round run at the same time.
 */
typedef ot_status ot_piece_fn(void *context, int lane, const struct piece *piece, ot_error *err);

/* Of a checked payload. dst: ot_bytes(shape), or NULL. */
ot_status ot_pieces_open(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                         void *dst, struct pieces *p);
/* Lane i of the next round; n is 0 where it has nothing to do. The data is known in the round. */
struct piece ot_pieces_lane(const struct pieces *p, int lane);
/* Reads a round and calls fn for each of its lanes. The first failure in the file's order counts.
 */
ot_status ot_pieces_round(struct pieces *p, ot_piece_fn *fn, void *context);
void ot_pieces_close(struct pieces *p);

#endif
