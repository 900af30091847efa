/* scale.h - products of a tensor with a small one whose elements hold for many of its: a gate for
 * a whole channel of a sample, [N,C,1,1] beside [N,C,H,W], or a factor for a channel of all
 * samples. One pass makes the product, one both gradients. Means over pixels are the same sums. */
#ifndef OT_OPS_WALK_SCALE_H
#define OT_OPS_WALK_SCALE_H

#include "ops/op.h"

/* How the elements of the small tensor lie beside those of the large one, which is
 * [outer][groups][inner][width] in memory. */
struct scale_view {
    int64_t outer, groups, inner;
    int width;       /* 1 in rows, else lanes */
    bool by_group;   /* the small one is [groups], the same for all `outer`; else [outer][width] and
                      * groups is 1 */
    bool units;      /* by_group: it is [groups][width], channels being in lanes */
    int64_t samples; /* in lanes: how many there are in all, others are spare */
    int64_t blocks;  /* of lanes; outer is a multiple of them */
};

/* Is b, broadcast to x, such a tensor, in the layouts that both have? */
bool ot_scale_find(const struct tensor *x, const struct tensor *b, struct scale_view *v);

/* Are its pieces long enough for loops of their own? */
bool ot_scale_pays(const struct scale_view *v);

/* y = x b; x NULL: one. Spare lanes of y are undefined. */
void ot_scale_forward(const struct op_node *n, const struct scale_view *v, const float *x,
                      const float *b, float *y);
/* dx = dy b, db = sum of dy x, x NULL: one; dx and db NULL: not wanted. Spare lanes of samples are
 * left out of db where it holds for several; else theirs are undefined. */
void ot_scale_backward(const struct op_node *n, const struct scale_view *v, const float *x,
                       const float *b, const float *dy, float *dx, float *db);

#endif
