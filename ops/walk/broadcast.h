/* broadcast.h - numpy broadcasting of up to three operands to one result, in rows and lanes.
 *
 * The result is a row-major array; in lanes its axes are [blocks, dims behind the lane axes, L].
 * Every operand has a stride an axis, 0 where it is broadcast. Neighbouring axes that all operands
 * walk alike are merged, so that most operators see one or two long axes.
 */
#ifndef OT_OPS_WALK_BROADCAST_H
#define OT_OPS_WALK_BROADCAST_H

#include "ops/op.h"

enum { OT_BROADCAST_MAX = 3, OT_BROADCAST_RANK = OT_MAX_RANK + 2, OT_BROADCAST_RUN = 256 };

struct broadcast {
    int rank; /* >= 1 */
    int operands;
    int64_t count; /* elements of the result, spare lanes included */
    int64_t dim[OT_BROADCAST_RANK];
    int64_t pitch[OT_BROADCAST_RANK]; /* strides of the result */
    int64_t stride[OT_BROADCAST_MAX][OT_BROADCAST_RANK];
    int64_t used; /* lanes of the last block that hold samples; 0: no lanes, or axes are merged */
};

/* The shape that x[i] has for broadcasting with x[0]: before opset 7 attributes `broadcast` and
 * `axis` place it (Operators.md, Add-6); later it is x[i]'s own. */
ot_status ot_broadcast_operand(const struct op_node *n, int i, struct tensor *shape, ot_error *err);

/* May inputs 0 .. n_in-1 run in lanes? Those that change must have the result's rank and its lane
 * axes; constants and weights must have no extent there. */
bool ot_broadcast_lanes(const struct op_node *n, int lane_rank);

/* operand: shapes and layouts of 1 to 3 tensors that broadcast to y. split: keep the axes of
 * blocks and lanes apart, as ot_broadcast_reduce asks for. */
void ot_broadcast_build(struct broadcast *b, const struct tensor *y,
                        const struct tensor *const *operand, int operands, bool split);

/* Work on `count` elements of the result from `at` on; operand k starts at offset[k] and steps by
 * step[k], 0 or 1. out: count floats, of ot_broadcast_reduce only. */
typedef void ot_segment_fn(void *arg, int64_t at, const int64_t *offset, const int *step,
                           int64_t count, float *out);

/* Cuts the whole result into segments, in parallel. */
void ot_broadcast_each(struct pool *pool, const struct broadcast *b, ot_segment_fn *fn, void *arg);

/* dx = for every element of operand k the sum of what fn writes for the elements of the result
 * that it went to, spare lanes left out. Segments have at most OT_BROADCAST_RUN elements. */
void ot_broadcast_reduce(struct pool *pool, const struct broadcast *b, int k, ot_segment_fn *fn,
                         void *arg, float *dx);

#endif
