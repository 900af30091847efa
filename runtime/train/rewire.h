/* rewire.h - weights get other patterns: their values and their state move along.
 *
 * What is of the size of the nonzeros moves through the map of a rewiring, here and nowhere else.
 */
#ifndef OT_TRAIN_REWIRE_H
#define OT_TRAIN_REWIRE_H

#include "runtime/train/state.h"

/* What becomes of one weight. */
struct rewiring {
    struct parameter *p;
    struct pattern *pattern; /* the new one */
    int *map;                /* of its slots: the old one, or -1: it is new */
    float *newborn;          /* values of the new ones, in their order; NULL: zeros */
};

/* Frees what was staged; committed patterns belong to their parameters. */
void ot_rewirings_free(const ot_allocator *allocator, struct rewiring *r, int n);

/* All weights of the list, or none of them. Moments of new slots are zero, gradients of all are.
 * Values move within their block where they keep their room; else *weights is a new one. Plans
 * follow before they run next. */
ot_status ot_rewire(struct model *m, struct weights **weights, struct state *s, struct rewiring *r,
                    int n, ot_error *err);

#endif
