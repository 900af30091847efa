/* full_pattern.h - a dense weight as a matrix of outputs and inputs: the pattern that has all
 * slots.
 */
#ifndef OT_MODEL_FULL_PATTERN_H
#define OT_MODEL_FULL_PATTERN_H

#include "runtime/base/pattern.h"
#include "runtime/model/layer.h"

/* Every place of a layer. The dense values stand at ot_pattern_position of each slot. */
ot_status ot_full_pattern_new(const struct layer *l, const ot_allocator *allocator,
                              struct pattern **full, ot_error *err);

#endif
