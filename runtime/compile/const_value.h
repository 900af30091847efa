/* const_value.h - values that are made of constants alone, computed before there is a plan. */
#ifndef OT_COMPILE_CONST_VALUE_H
#define OT_COMPILE_CONST_VALUE_H

#include "runtime/compile/plan.h"

/* What one node, or all that leads to a value, makes of its inputs. Memory is the arena's, and its
 * budget bounds what an operator may make of little. */
struct const_work {
    const struct compiler *compiler;
    const struct kernels *kernels;
    struct arena arena;
};

void ot_const_begin(struct const_work *e, const struct compiler *c, const struct kernels *kernels,
                    size_t budget);
void ot_const_end(struct const_work *e);

/* Runs node k once. x: n_in tensors of role CONST, NULL for absent ones; y: n_out tensors to be
 * filled, NULL for outputs that nobody wants. False: it cannot be run on them, or not within the
 * budget. */
bool ot_const_run(struct const_work *e, int k, struct tensor *const *x, struct tensor **y);

/* What value v holds, where at most 64 nodes make it of constants by moving, casting, comparing and
 * combining elements; the numbers of these nodes are appended to node[*n]. NULL: anything else. */
enum { OT_CONST_MOST = 64 };
const struct tensor *ot_const_value(struct const_work *e, int v, int *node, int *n);

#endif
