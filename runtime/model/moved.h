/* moved.h - values that are made of constants by operators that only move elements: Transpose,
 * Reshape, Slice, Concat and their like. Exporters turn matrices and put gates in another order so.
 */
#ifndef OT_MODEL_MOVED_H
#define OT_MODEL_MOVED_H

#include "runtime/base/graph.h"

struct op;

enum { OT_MOVED_MOST = 64 };

/* The nodes that make a value of constants by moving elements, and these constants. */
struct moved {
    int n_nodes, n_origins;
    int node[OT_MOVED_MOST], origin[OT_MOVED_MOST]; /* each once */
};

/* Does the operator move the elements of input i, and do no more? */
bool ot_moves(const struct op *op, int i);
/* A constant is made of itself. False: something else makes v, or more than OT_MOVED_MOST nodes. */
bool ot_moved_find(const struct graph *g, int v, struct moved *m);

#endif
