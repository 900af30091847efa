/* last_layer.h - the layer that makes an output: some methods treat it apart. */
#ifndef OT_MODEL_LAST_LAYER_H
#define OT_MODEL_LAST_LAYER_H

#include "runtime/model/model.h"

/* The weight of the product behind which, on the way to this output, there is no other weight of
 * more than one dimension; NULL: there is none. Of sums, the first operand is followed. */
const struct parameter *ot_last_layer(const struct model *m, int output);

#endif
