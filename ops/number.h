/* number.h - reading and writing elements of any integer or bool type as int64. */
#ifndef OT_OPS_NUMBER_H
#define OT_OPS_NUMBER_H

#include <math.h>

#include "runtime/base/tensor.h"

static inline bool ot_is_integer(ot_type type) {
    return (type >= OT_UINT8 && type <= OT_INT64) || type == OT_UINT32 || type == OT_UINT64;
}

/* 0 for types that are neither integers nor bool. */
static inline int64_t ot_load_integer(const void *data, ot_type type, int64_t k) {
    switch (type) {
    case OT_UINT8: return ((const uint8_t *)data)[k];
    case OT_INT8: return ((const int8_t *)data)[k];
    case OT_UINT16: return ((const uint16_t *)data)[k];
    case OT_INT16: return ((const int16_t *)data)[k];
    case OT_INT32: return ((const int32_t *)data)[k];
    case OT_INT64: return ((const int64_t *)data)[k];
    case OT_UINT32: return ((const uint32_t *)data)[k];
    case OT_UINT64: return (int64_t)((const uint64_t *)data)[k];
    case OT_BOOL: return ((const uint8_t *)data)[k] != 0;
    default: return 0;
    }
}

/* Numbers in the order of the elements, which the upper half of uint64 would break. */
static inline int64_t ot_load_ordered(const void *data, ot_type type, int64_t k) {
    const uint64_t flip = type == OT_UINT64 ? UINT64_C(1) << 63 : 0;
    return (int64_t)((uint64_t)ot_load_integer(data, type, k) ^ flip);
}

/* Keeps the low bits of a value that does not fit. */
static inline void ot_store_integer(void *data, ot_type type, int64_t k, int64_t value) {
    switch (ot_type_size(type)) {
    case 1: ((uint8_t *)data)[k] = (uint8_t)value; break;
    case 2: ((uint16_t *)data)[k] = (uint16_t)value; break;
    case 4: ((uint32_t *)data)[k] = (uint32_t)value; break;
    case 8: ((uint64_t *)data)[k] = (uint64_t)value; break;
    default: break;
    }
}

/* v rounded towards zero, within the type's range; NaN gives 0. */
static inline int64_t ot_whole(ot_type type, double v) {
    const unsigned bits = 8 * (unsigned)ot_type_size(type);
    const bool is_signed =
        type == OT_INT8 || type == OT_INT16 || type == OT_INT32 || type == OT_INT64;
    const double high = ldexp(1, (int)bits - is_signed); /* the first that does not fit */
    const double low = is_signed ? -high : 0;
    if (type == OT_BOOL) return v != 0;
    if (isnan(v)) return 0;
    if (v >= high) return is_signed ? (int64_t)(UINT64_MAX >> (65 - bits))
                                    : (int64_t)(UINT64_MAX >> (64 - bits));
    if (v <= low) return (int64_t)low;
    return v >= 9223372036854775808.0 ? (int64_t)(uint64_t)v : (int64_t)v;
}

#endif
