/* init.h - a model starts anew: random masks, random values. */
#ifndef OT_TRAIN_INIT_H
#define OT_TRAIN_INIT_H

#include "runtime/model/weights.h"
#include "runtime/train/sparsity.h"

/* Draws the layers of s, clears their biases, and makes BatchNormalization the identity. All of
 * them, or nothing. */
ot_status ot_weights_init(struct model *m, struct weights **weights, const struct sparsity *s,
                          ot_error *err);

#endif
