/* slot_value.h - what a file whose zeros say what is pruned holds of a weight that is not.
 *
 * A value that training has made 0, or that the element type rounds to 0, would read as pruned: the
 * least positive number of the type stands for it, with its sign.
 */
#ifndef OT_ONNX_SLOT_VALUE_H
#define OT_ONNX_SLOT_VALUE_H

#include <math.h>

#include "runtime/base/tensor.h"

/* The least positive number of an element type, or the least float where that is larger. */
static inline float ot_slot_least(ot_type type) {
    switch (type) {
    case OT_FLOAT:
    case OT_DOUBLE: return 0x1p-149f;
    case OT_FLOAT16: return 0x1p-24f;
    case OT_BFLOAT16: return 0x1p-133f;
    default: return 0; /* integers, whose weights have no slots where they are written */
    }
}

/* Half of the least number is rounded to the even one, which is 0. */
static inline float ot_slot_value(float v, float least) {
    return fabsf(v) <= least / 2 ? copysignf(least, v) : v;
}

#endif
