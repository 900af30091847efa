/* missed.h - what looks like attention or a normalisation and is not run as one operator, and why:
 * for those who read plans. */
#ifndef OT_COMPILE_MISSED_H
#define OT_COMPILE_MISSED_H

#include "runtime/compile/plan.h"

struct missed {
    struct missed *next;
    const char *what;
    int node;        /* in the middle of what was missed */
    int broken;      /* the node that broke the pattern */
    const char *why; /* "is no part of it" */
};

/* Notes the attention around node k, a Softmax, where it is like one. broken: a node, or -1: k. */
ot_status ot_missed_attention(struct plan *p, int k, int broken, const char *why, ot_error *err);
/* Notes all normalisations whose nodes run apart; needed: the nodes of the plan. */
ot_status ot_missed_norms(struct plan *p, const bool *needed, ot_error *err);

/* One line each, and one for each operator that stands for several nodes. */
void ot_missed_print(const struct plan *p, ot_write_fn *write, void *context);

#endif
