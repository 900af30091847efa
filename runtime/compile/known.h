/* known.h - what shapes and constants alone decide, while a plan's graph grows: shapes of values,
 * and values that are the same in every step. Nodes are prepared and folded in a plan that is
 * thrown away, each once, and only those that somebody asks about. */
#ifndef OT_COMPILE_KNOWN_H
#define OT_COMPILE_KNOWN_H

#include "runtime/compile/plan.h"

struct known {
    struct plan *plan;     /* the one thrown away; its rows are what was asked about */
    const struct graph *g; /* grows: nodes and values are added behind the others */
    int n_rows;
    int *pending; /* values that are asked for; those above wait for those below */
    int n_pending, room;
};

/* For the inputs and the batch of p. */
ot_status ot_known_open(struct known *k, const struct plan *p, const struct graph *g,
                        ot_error *err);
void ot_known_close(struct known *k); /* zeroed, or half open, is fine */
/* Type and shape of value v; role CONST where its contents are known, too. */
ot_status ot_known_look(struct known *k, int v, const struct tensor **t, ot_error *err);
/* The number that v holds; *is_known is false where data decide. Fails where v is no integer, truth
 * value or the like, of one element. */
ot_status ot_known_number(struct known *k, int v, int64_t *number, bool *is_known, ot_error *err);

#endif
