/* update.h - one parameter's update, between the optimizer and the check that it stays in range. */
#ifndef OT_TRAIN_UPDATE_H
#define OT_TRAIN_UPDATE_H

#include <stdatomic.h>

#include "runtime/train/optimizer.h"

/* The rules have a copy of their own: what they write is not in it, and so their loops can be made
 * of vectors. */
struct update {
    const ot_optimizer_options *o;
    float *w, *m, *v;
    const float *g;
    int64_t n;
    float scale, lr;
    float correction1, correction2; /* Adam: 1 - beta^t; correction2 is the square root */
    float share;                    /* SGD: of g in v */
    atomic_int *largest;            /* bits of the largest absolute value that was written */
};

typedef void update_rule(struct update u, int64_t from, int64_t to);
update_rule *ot_update_rule(ot_optimizer_kind kind);

/* Whether an update might not be good, where weights and moments are at most `bound` and the scaled
 * gradient has this norm. */
bool ot_update_may_overflow(const struct update *u, double norm, double bound);
/* Whether all moments that the update would write are finite, and all weights at most 2^64. Writes
 * nothing. */
bool ot_update_is_good(const struct update *u, struct pool *pool);

#endif
