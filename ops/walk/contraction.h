/* contraction.h - products of two arrays summed over any of their axes, by matrix products.
 *
 * Axes have labels. c[labels of c] is the sum of a * b over the labels that c does not have.
 */
#ifndef OT_OPS_WALK_CONTRACTION_H
#define OT_OPS_WALK_CONTRACTION_H

#include "ops/walk/index.h"

/* How an array is walked by labels: one that it does not have, or has with extent 1 where others
 * have more, moves nothing. An axis label that comes twice is a diagonal. */
struct label_view {
    uint32_t labels;
    int64_t stride[OT_ARRAY_RANK];
    int64_t count; /* elements of the array */
};

/* Of floats, or of the integer type of n's y[0].
 * a, b and c are packed as [batch][m][k], [batch][k][n] and [batch][m][n] where they are not so
 * already. */
struct contraction {
    int64_t batch, m, n, k;
    struct move a, b, c; /* to the packed form; c: from it */
    bool packs_a, packs_b, packs_c;
    int64_t c_count; /* c's elements, all of them zeroed first where fills_c */
    bool fills_c;
    const int64_t *first, *index; /* of ot_dense_gemm */
};

/* dim: extent by label, < 32 of them. Arrays come from n's arena. */
ot_status ot_contraction_make(struct op_node *n, const int64_t *dim, int labels,
                              const struct label_view *a, const struct label_view *b,
                              const struct label_view *c, struct contraction *t, ot_error *err);
/* Elements of scratch memory that a run takes. */
size_t ot_contraction_scratch(const struct contraction *t);
void ot_contraction_run(struct op_node *n, const struct contraction *t, const void *a,
                        const void *b, void *c, void *scratch);

#endif
