/* pooling.h - what MaxPool and AveragePool share: planes, windows, and their taps.
 *
 * In memory x is [planes][in[2]][in[0]][in[1]][inner]: planes are samples times channels and inner
 * is 1 in rows; in lanes planes are blocks, times channels where samples stand side by side, and
 * inner is L. A 1-D pooling has in[0] = 1, and all but those over three dimensions have in[2] = 1:
 * rows are dimension 0, columns 1, depth 2.
 */
#ifndef OT_OPS_WALK_POOLING_H
#define OT_OPS_WALK_POOLING_H

#include "ops/product/window.h"

struct pooling {
    struct window w; /* of rank 3 */
    int64_t planes, inner;
    int64_t grain; /* planes of a task */
};

/* The same for x of any type. */
ot_status ot_pooling_shape(struct op_node *n, struct pooling *p, ot_error *err);
/* Reads the attributes, sets type and shape of y[0]; x is float. */
ot_status ot_pooling_prepare(struct op_node *n, struct pooling *p, ot_error *err);

/* Where tap k of output o stands along a dimension. */
static inline int64_t ot_pooling_at(const struct pooling *p, int dimension, int64_t o, int64_t k) {
    return o * p->w.stride[dimension] - p->w.begin[dimension] + k * p->w.dilation[dimension];
}
/* The outputs [*from, *to) whose tap k lies inside the input. */
void ot_pooling_span(const struct pooling *p, int dimension, int64_t k, int64_t *from, int64_t *to);
/* How many taps of output o lie inside the input; with padding: inside the padded input. */
int64_t ot_pooling_taps(const struct pooling *p, int dimension, int64_t o, bool padding);

/* Runs fn(n, plane) for all planes, in parallel. */
typedef void ot_plane_fn(const struct op_node *n, int64_t plane);
void ot_pooling_run(struct op_node *n, const struct pooling *p, ot_plane_fn *fn);

/* op->lanes: [N, C, ...] with samples or channels in lanes. */
bool ot_pooling_lanes(const struct op_node *n, int lane_rank);

static inline int64_t ot_pooling_in(const struct pooling *p) {
    return p->w.in[0] * p->w.in[1] * p->w.in[2];
}
static inline int64_t ot_pooling_out(const struct pooling *p) {
    return p->w.out[0] * p->w.out[1] * p->w.out[2];
}

#endif
