/* indices.h - tensors of indices: their types, their ranges, and lines of elements that they pick.
 *
 * Negative indices count from the end. Constant ones are checked once; those that come with each
 * batch fail the step where they are out of range, and are clamped, so that none leads anywhere
 * else. Input 1 is the one that holds indices, in every operator that picks by them.
 */
#ifndef OT_OPS_WALK_INDICES_H
#define OT_OPS_WALK_INDICES_H

#include "ops/walk/index.h"

/* Ranges: index k belongs to an axis of length[k % columns]. */
struct ranges {
    int columns;
    int64_t length[OT_MAX_RANK];
};

static inline int64_t ot_index_at(const struct tensor *t, int64_t k) {
    return t->type == OT_INT64 ? ((const int64_t *)t->data)[k] : ((const int32_t *)t->data)[k];
}

/* Into [0, length), whatever it is; length >= 1. */
static inline int64_t ot_index_in(const struct tensor *t, int64_t k, int64_t length) {
    int64_t i = ot_index_at(t, k);
    if (i < 0) i += length;
    return i < 0 ? 0 : i >= length ? length - 1 : i;
}

/* For prepare: refuses x[1] that is not int32 or int64, and constant indices out of range. */
ot_status ot_indices_check(const struct op_node *n, const struct ranges *r, ot_error *err);
/* For forward: an index out of range fails the step. */
void ot_indices_watch(struct op_node *n, const struct ranges *r);

/* Lines along `axis` of an array `picked`, shaped like the indices, and of `data` that they pick
 * from or put into: element k of a line is picked[from + k * picked_step], and it belongs to
 * data[to + index * data_step]. */
struct lines {
    struct move move;       /* of the first elements of lines */
    int64_t length, extent; /* of the axis: of picked, of data */
    int64_t picked_step, data_step;
};

/* For prepare: reads attribute `axis`, checks that x[1] has x[0]'s rank and fits into it. */
ot_status ot_lines_of(const struct op_node *n, struct lines *l, ot_error *err);

/* Calls fn for every line, in parallel. */
typedef void ot_line_fn(const struct op_node *n, int64_t from, int64_t to);
void ot_lines_run(struct op_node *n, const struct lines *l, ot_line_fn *fn);

#endif
