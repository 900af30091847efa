/* keep.h - which slots of a weight stay: the best of them by a score. */
#ifndef OT_TOPOLOGY_KEEP_H
#define OT_TOPOLOGY_KEEP_H

#include "runtime/topology/merge.h"

/* What the score of a slot is made of. */
enum ot_drop {
    OT_DROP_NONE = 0,
    OT_DROP_MAGNITUDE, /* |w| */
    OT_DROP_SIGNED,    /* |w|, among positive and negative weights apart (SET) */
    OT_DROP_MOVEMENT,  /* a sum over steps of -g w (movement pruning) */
    OT_DROP_TAYLOR,    /* a mean over batches of |g w| */
    OT_DROP_RANDOM
};

/* score[k] = |value[k]|. */
void ot_score_magnitude(const float *value, int n, float *score);
/* Random scores that depend on the two numbers and k. */
void ot_score_random(uint64_t seed, uint64_t stream, int n, float *score);

/* keep[k]: is slot k among the `most` best? 0 <= most <= n. */
void ot_keep_best(const float *score, int n, int most, bool *keep);

/* The int(share * n) slots nearest to zero go, of the positive ones and of the negative ones; zeros
 * count as positive. score: room for n floats. Returns how many stay. */
int ot_keep_by_sign(const float *value, int n, double share, float *score, bool *keep);

/* Room for all slots of a pattern; ot_kept_free frees it, after a failure too. */
ot_status ot_kept_alloc(const struct pattern *p, struct kept *kept, ot_error *err);
void ot_kept_free(const struct pattern *p, struct kept *kept);
/* The list of what is marked. */
void ot_kept_list(const struct pattern *p, const bool *keep, struct kept *kept);

#endif
