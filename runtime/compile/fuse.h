/* fuse.h - nodes that run as one operator in a plan. The graph, and so what is exported, stays. */
#ifndef OT_COMPILE_FUSE_H
#define OT_COMPILE_FUSE_H

#include "runtime/compile/attention.h"

/* A node that stands for several of the graph: it has the outputs of the last of them, and runs at
 * its place. What the others compute is seen by members only. */
struct fusion {
    struct node node;
    const struct attention *attention; /* NULL, or the attention, which waits for shapes */
    struct fusion **instead; /* of each member, where the operator declines: another one, or NULL */
    int n, member[];         /* nodes of the graph, ascending */
};

/* Fills p->fused: of each node the fusion it is a member of, or NULL. needed: the nodes that the
 * plan computes; result: a value that must be computed for the caller, beside those of the graph's
 * outputs where all of them are. */
ot_status ot_fuse(struct plan *p, const bool *needed, int result, ot_error *err);

#endif
