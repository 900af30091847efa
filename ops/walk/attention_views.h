/* attention_views.h - ScaledAttention: what it is told, and where its operands are. */
#ifndef OT_OPS_WALK_ATTENTION_VIEWS_H
#define OT_OPS_WALK_ATTENTION_VIEWS_H

#include "ops/op.h"
#include "runtime/base/attention_form.h"
#include "runtime/base/view.h"

/* Matrices [tokens][features], one for each index of the axes before the last two; a mask's are
 * [queries][keys]. Views of masks and angles are there where the inputs are. */
struct attention_views {
    struct view q, k, v, y, mask[OT_ATTENTION_MASKS], angle[4];
    int64_t share; /* matrices of q that share one of k and v */
    float scale;
    int rank;
    int64_t dim[OT_MAX_RANK]; /* of the tensor that y is in */
};

/* The tensor that q (0), k or v is in. */
const struct tensor *ot_attention_source(const struct op_node *n, int i);
/* False where the operands do not fit. Looks at types and shapes alone, and at constant factors. */
bool ot_attention_views(const struct op_node *n, struct attention_views *w);
/* The rank at which y has as many samples as x has at lane_rank; 0: none. */
int ot_attention_rank(const struct attention_views *w, const struct tensor *x, int lane_rank);

#endif
