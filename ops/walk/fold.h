/* fold.h - reductions of float arrays: sums, products, extremes over some dimensions. */
#ifndef OT_OPS_WALK_FOLD_H
#define OT_OPS_WALK_FOLD_H

#include "ops/walk/index.h"

enum fold {
    OT_FOLD_SUM,
    OT_FOLD_ABS,      /* sum of |x| */
    OT_FOLD_SQUARES,  /* sum of x^2 */
    OT_FOLD_NORM,     /* its square root */
    OT_FOLD_VARIANCE, /* sum of (x - with)^2 */
    OT_FOLD_LOG_SUM,
    OT_FOLD_LOG_SUM_EXP, /* with: the maximum, as OT_FOLD_MAX gives it; `to` itself will do */
    OT_FOLD_PROD,
    OT_FOLD_MAX, /* NaN if there is one; -inf and inf where nothing is reduced */
    OT_FOLD_MIN,
    OT_FOLD_TIES,  /* how many are equal to `with` at the place of the result */
    OT_FOLD_ZEROS, /* how many are zero */
    OT_FOLD_PROD_NONZERO
};

/* m = from x to its reduction over `axes` (bit i: axis i; none of the lane axes), simplified. Gives
 * how many elements make one result. */
int64_t ot_fold_move(const struct tensor *x, uint32_t axes, struct move *m);

/* to[...] = scale * fold of all elements of from that m moves there: those dimensions are reduced
 * whose to_stride is 0. m is simplified. Sums are kept in double, in one fixed order. with: laid
 * out as `to`, for those that ask for it. */
void ot_fold(struct pool *pool, const struct move *m, enum fold kind, const float *from,
             const float *with, float scale, float *to);

/* The same for elements of an integer type or bool, one after the other, as for shapes; sums and
 * products wrap around. Kinds: SUM, ABS, SQUARES, PROD, MAX, MIN. */
void ot_fold_integers(const struct move *m, enum fold kind, const struct tensor *from,
                      struct tensor *to);

/* The kinds that have fractions: SUM, divided by `divisor`, NORM, LOG_SUM and LOG_SUM_EXP, computed
 * in double and rounded towards zero. sum: one a result. */
void ot_fold_fractions(const struct move *m, enum fold kind, const struct tensor *from,
                       int64_t divisor, double *sum, struct tensor *to);

#endif
