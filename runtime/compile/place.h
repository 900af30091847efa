/* place.h - where buffers of a plan stand in its block. */
#ifndef OT_COMPILE_PLACE_H
#define OT_COMPILE_PLACE_H

#include "runtime/compile/plan.h"

/* Gives each of n buffers that is alive in some of `steps` steps its offset, such that no two
 * alive in the same step overlap. Sizes are multiples of the alignment, and their sum fits. Sets
 * *block to the bytes that all take, and *bound to what no placing can go below: the bytes alive
 * in the fullest step. */
ot_status ot_place(const ot_allocator *allocator, struct buffer *buffer, int n, int steps,
                   size_t *block, size_t *bound, ot_error *err);

#endif
