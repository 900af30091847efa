/* moved.h - weights that reach their operator by way of others that only move elements: Transpose,
 * Reshape, Slice, Concat and their like. Exporters turn matrices and put gates in another order so.
 */
#ifndef OT_RUNTIME_MOVED_H
#define OT_RUNTIME_MOVED_H

#include "runtime/base/graph.h"

struct op;
struct plan;

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

/* A value that is made of weights with patterns, and the first operator that takes it as one. */
struct moved_use {
    struct moved from;
    const struct node *node;
    int input;
};

/* Finds the values, inputs of operators with sparse kernels, that are made of weights with
 * patterns: p->moved. Where they are moved to is known beforehand, so the slots move, no zeros. */
ot_status ot_moved_choose(struct plan *p, ot_error *err);
/* p->rows[v] = such a value with a pattern of its own, made by the internal operator Moved. */
ot_status ot_moved_make(struct plan *p, int v, ot_error *err);

#endif
