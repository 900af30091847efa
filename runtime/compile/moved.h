/* moved.h - weights with patterns that are moved before they reach their operator. */
#ifndef OT_COMPILE_MOVED_H
#define OT_COMPILE_MOVED_H

#include "runtime/model/moved.h"

struct entry;
struct plan;

/* A value that is made of weights with patterns, and the first operator that takes it as one. */
struct moved_use {
    struct moved from;
    const struct node *node;
    int input;
    struct entry *map, *made; /* the inputs and the output of its Moved; NULL: there is none yet */
};

/* Finds the values, inputs of operators with sparse kernels, that are made of weights with
 * patterns: p->moved. Where they are moved to is known beforehand, so the slots move, no zeros. */
ot_status ot_moved_choose(struct plan *p, ot_error *err);
/* p->rows[v] = such a value with a pattern of its own, made by the internal operator Moved. */
ot_status ot_moved_make(struct plan *p, int v, ot_error *err);
/* Such a value of weights that have other patterns now: its pattern and its map, in the same
 * memory. false: it has another number of slots, or memory for the work is exhausted. */
bool ot_moved_follow(struct plan *p, int v);

#endif
