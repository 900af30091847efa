/* walk.h - what nodes.c and branch.c share of the walk over nodes. */
#ifndef OT_ONNX_WALK_H
#define OT_ONNX_WALK_H

#include "onnx/model.h"

/* The graph, one call of a function, or a branch that an If takes. Its names live in `scope`;
 * scope + 1 holds the numbers of a function's or branch's formal outputs. */
struct frame {
    struct function *function; /* NULL: the graph; a branch has that of its If */
    int number;                /* of the function; -1 */
    Onnx__NodeProto *const *node;
    size_t n, i;
    uint64_t scope;
    const Onnx__NodeProto *call; /* the node that called, the If */
    struct attr *attr;           /* of the call */
    int n_attr;
    const Onnx__GraphProto *branch; /* NULL: no branch; in one, names of outer frames hold too */
    const char *prefix;             /* of names in a branch outside of functions */
};

struct walker {
    struct import *im;
    struct frame *frame;
    int top;
    uint64_t next_scope;
};

enum { OT_MOST_FRAMES = 128 };

/* The value of an input, or VALUE_ABSENT. */
ot_status ot_walk_input(struct walker *w, const char *name, int *v);

/* ---- branch.c: If with a constant condition ---- */

bool ot_branch_is_if(const Onnx__NodeProto *p);
/* Enters the branch that the condition takes; *taken is false where the condition is no constant,
 * and nothing was done. */
ot_status ot_branch_enter(struct walker *w, const Onnx__NodeProto *p, bool *taken);

#endif
