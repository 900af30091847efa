/* mask.h - constants that are added to attention scores to close positions. They look like biases,
 * and nobody wants them trained. */
#ifndef OT_MODEL_MASK_H
#define OT_MODEL_MASK_H

#include "runtime/base/graph.h"

/* scores[v], of g->n_values zeroes: v goes into a Softmax, through sums, Where and operators that
 * move elements at most. */
void ot_mask_find_scores(const struct graph *g, bool *scores);
/* Is input i of this node a mask that is added? All elements are zero, or so far below (of what is
 * subtracted, above) that nothing is left behind Softmax. Where all are zero, it must be added to
 * scores, and have 3 dimensions: a bias of classes has one. */
bool ot_is_added_mask(const struct graph *g, const bool *scores, const struct node *node, int i,
                      int v);
/* Are all elements zeros and ones, and both there? Of such a factor nothing is learned. */
bool ot_is_factor_mask(const struct graph *g, int v);

#endif
