/* index.h - moving parts of arrays: strided copies, their gradients, and loops over two arrays.
 *
 * Operators that move data look at the array that a tensor is in memory: its own shape in rows,
 * and [blocks, the dimensions behind the lane axes..., L] in lanes, row-major both. A move that
 * leaves the lane axes alone is then the same in both layouts.
 */
#ifndef OT_OPS_WALK_INDEX_H
#define OT_OPS_WALK_INDEX_H

#include "ops/op.h"

#define OT_ARRAY_RANK (2 * OT_MAX_RANK + 2) /* Tile makes two dimensions of one */

struct array {
    int rank;
    int64_t dim[OT_ARRAY_RANK], stride[OT_ARRAY_RANK]; /* in elements */
};

/* The array that t is in memory. */
void ot_array_of(const struct tensor *t, struct array *a);
/* The array's dimension for t's axis; in lanes axis >= t->lane_rank. */
static inline int ot_array_axis(const struct tensor *t, int axis) {
    return t->lanes ? axis - t->lane_rank + 1 : axis;
}

/* A box of elements on the way: element (i, j, ...) of the box goes from element
 * from + i * from_stride[0] + j * from_stride[1] ... of one array to the like of another. A
 * from_stride of 0 copies one element to many places. */
struct move {
    int rank;
    int64_t dim[OT_ARRAY_RANK], from_stride[OT_ARRAY_RANK], to_stride[OT_ARRAY_RANK];
    int64_t from, to;
};

/* All of `box`, whose strides are those of `from`, to the same place in `to`: the start for an
 * operator that then changes some dimensions. Ranks are equal; dim is that of `box`. */
void ot_move_init(struct move *m, const struct array *box, const struct array *from,
                  const struct array *to);
/* Drops dimensions of 1 and merges those that are one run in both arrays. Rank is >= 1 then. */
void ot_move_simplify(struct move *m);
/* The way back. */
struct move ot_move_reverse(const struct move *m);

/* Elements of `size` bytes (1, 2, 4 or 8). Elements of `to` outside the box stay as they are. */
void ot_move_run(struct pool *pool, const struct move *m, size_t size, const void *from, void *to);

/* Calls fn for runs of n elements; from and to are element numbers of the first one. Runs are
 * distinct, and called in parallel: fn may write the `to` side if no to_stride is 0, or the
 * `from` side if no from_stride is 0. With pool NULL runs come one after the other, in order. */
typedef void ot_run_fn(void *arg, int64_t from, int64_t to, int64_t n, int64_t from_stride,
                       int64_t to_stride);
void ot_move_each(struct pool *pool, const struct move *m, ot_run_fn *fn, void *arg);

/* Fills n elements with the bytes of `value`; all zero where value is NULL. */
void ot_fill(struct pool *pool, void *to, int64_t n, size_t size, const void *value);

/* Product of dim[from..to) of an array. */
int64_t ot_array_product(const struct array *a, int from, int to);

/* For prepare: refuses x[i] whose elements cannot be moved (strings); i is 0 mostly. */
ot_status ot_movable(const struct op_node *n, int i, ot_error *err);

/* Forward and backward of an operator whose plan is a struct move from x[0] to y[0]; no two
 * elements come from one where there is a gradient. What nothing comes to is 0. */
void ot_move_forward(struct op_node *n);
void ot_move_backward(struct op_node *n);

/* Forward and backward of an operator whose y[0] is x[0] with another shape. They copy where the
 * two are not one piece of memory. */
void ot_view_forward(struct op_node *n);
void ot_view_backward(struct op_node *n);

#endif
