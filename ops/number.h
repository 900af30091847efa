/* number.h - reading and writing elements of any integer or bool type as int64, and of any of them
 * or float as double.
 *
 * Operators that are exact on integers compute in int64 and wrap around, as numpy does. What has
 * fractions (means, roots, logarithms, scaled sums) is computed in double and rounded towards zero,
 * as onnxruntime does; interpolated values are rounded to the nearest integer, halves to the even
 * one, as the standard's reference does. Both are saturated. */
#ifndef OT_OPS_NUMBER_H
#define OT_OPS_NUMBER_H

#include <math.h>

#include "runtime/base/tensor.h"

static inline bool ot_is_integer(ot_type type) {
    return (type >= OT_UINT8 && type <= OT_INT64) || type == OT_UINT32 || type == OT_UINT64;
}

static inline bool ot_is_signed(ot_type type) {
    return type == OT_INT8 || type == OT_INT16 || type == OT_INT32 || type == OT_INT64;
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

/* A number whose order is that of the elements, which the upper half of uint64 would break; and
 * back. */
static inline int64_t ot_ordered(ot_type type, int64_t v) {
    const uint64_t flip = type == OT_UINT64 ? UINT64_C(1) << 63 : 0;
    return (int64_t)((uint64_t)v ^ flip);
}

static inline int64_t ot_load_ordered(const void *data, ot_type type, int64_t k) {
    return ot_ordered(type, ot_load_integer(data, type, k));
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
    const bool is_signed = ot_is_signed(type);
    const double high = ldexp(1, (int)bits - is_signed); /* the first that does not fit */
    const double low = is_signed ? -high : 0;
    if (type == OT_BOOL) return v != 0;
    if (isnan(v)) return 0;
    if (v >= high)
        return is_signed ? (int64_t)(UINT64_MAX >> (65 - bits))
                         : (int64_t)(UINT64_MAX >> (64 - bits));
    if (v <= low) return (int64_t)low;
    return v >= 9223372036854775808.0 ? (int64_t)(uint64_t)v : (int64_t)v;
}

static inline bool ot_is_number(ot_type type) { return type == OT_FLOAT || ot_is_integer(type); }

/* What a loaded integer stands for. */
static inline double ot_real(ot_type type, int64_t v) {
    return type == OT_UINT64 ? (double)(uint64_t)v : (double)v;
}

static inline double ot_load_number(const void *data, ot_type type, int64_t k) {
    if (type == OT_FLOAT) return (double)((const float *)data)[k];
    if (type == OT_DOUBLE) return ((const double *)data)[k];
    return ot_real(type, ot_load_integer(data, type, k));
}

/* Integers: v rounded towards zero, within the type's range. */
static inline void ot_store_number(void *data, ot_type type, int64_t k, double v) {
    if (type == OT_FLOAT)
        ((float *)data)[k] = (float)v;
    else if (type == OT_DOUBLE)
        ((double *)data)[k] = v;
    else
        ot_store_integer(data, type, k, ot_whole(type, v));
}

#endif
