/* view.h - where the elements of a value stand in the tensor that it was moved from, so that the
 * operator that reads them can do so there.
 *
 * Each axis is a list of strides, the slowest first: a Reshape that merges two axes makes one of
 * both lists, one that cuts an axis cuts a stride in two, and no element moves. Strides are those
 * of the tensor's elements in rows; 0: the same element again and again.
 */
#ifndef OT_BASE_VIEW_H
#define OT_BASE_VIEW_H

#include "runtime/base/tensor.h"

enum { OT_VIEW_STEPS = 24 };

struct view_step {
    int64_t extent, stride;
};

struct view {
    int rank;
    int end[OT_MAX_RANK]; /* axis i has the steps from end[i - 1] (0 for the first) to end[i] */
    int64_t offset;
    struct view_step step[OT_VIEW_STEPS];
};

/* A tensor of these dimensions as it is. */
void ot_view_init(struct view *v, int rank, const int64_t *dim);

static inline int ot_view_begin(const struct view *v, int axis) {
    return axis ? v->end[axis - 1] : 0;
}
int64_t ot_view_extent(const struct view *v, int axis);

/* What is moved once more. False: no strides say that; then v is undefined. */
bool ot_view_transpose(struct view *v, const int *perm);
bool ot_view_reshape(struct view *v, int rank, const int64_t *dim);
bool ot_view_slice(struct view *v, int axis, int64_t from, int64_t count);
bool ot_view_expand(struct view *v, int rank, const int64_t *dim); /* as numpy broadcasts */

/* Of a view that names every element of a tensor once, [dim] as axes: where the elements of that
 * tensor stand in the view's own, which is in rows. */
bool ot_view_invert(const struct view *v, int rank, const int64_t *dim, struct view *inverse);

/* Do the two name different elements of one tensor, as far as their strides tell? */
bool ot_view_disjoint(const struct view *a, const struct view *b);

/* The positions of the axes from..to as one axis, slowest first: their product of numbers. */
void ot_view_positions(const struct view *v, int from, int to, int64_t *position);

#endif
