/* prune.h - weights of a model go for good: one update of its masks without growth. */
#ifndef OT_TRAIN_PRUNE_H
#define OT_TRAIN_PRUNE_H

#include "runtime/train/rewire.h"
#include "runtime/train/sparsity.h"

/* Prunes the layers of s. score: for each parameter, at its offset in the weights, what its values
 * are worth; NULL: options.by says what they are worth. All layers, or none of them. */
ot_status ot_prune_layers(struct model *m, struct weights **weights, struct state *state,
                          struct sparsity *s, const float *score, ot_error *err);

#endif
