/* quantize.h - the integers that floats are quantized to. */
#ifndef OT_OPS_QUANTIZE_H
#define OT_OPS_QUANTIZE_H

#include <math.h>

#include "runtime/base/tensor.h"

static inline bool ot_is_quantized(ot_type type) {
    return type == OT_UINT8 || type == OT_INT8 || type == OT_UINT16 || type == OT_INT16;
}

struct range {
    float low, high;
};

/* What such a type, or int32, holds; of int32 as far as floats go. */
static inline struct range ot_range_of(ot_type type) {
    if (type == OT_INT32) return (struct range){-0x1p31f, 0x1p31f - 128};
    const bool is_signed = type == OT_INT8 || type == OT_INT16;
    const float count = ot_type_size(type) == 1 ? 256 : 65536;
    const float low = is_signed ? -count / 2 : 0;
    return (struct range){low, low + count - 1};
}

/* v within the range; NaN becomes the lowest. */
static inline float ot_within(struct range r, float v) {
    const float above = v > r.low ? v : r.low;
    return above < r.high ? above : r.high;
}
static inline int64_t ot_saturate(struct range r, float v) { return (int64_t)ot_within(r, v); }

/* rintf for compilers to vectorize: adding 1.5 * 2^23 rounds. From 2^22 on v stays as it is. */
static inline float ot_nearest(float v) {
    const float rounded = (v + 12582912.0f) - 12582912.0f;
    return fabsf(v) < 4194304 ? rounded : v;
}

#endif
