/* half.h - the 16-bit floating-point formats of ONNX, widened to float (exact). */
#ifndef OT_ONNX_HALF_H
#define OT_ONNX_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ot_float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float ot_bfloat16_to_float(uint16_t b) { return ot_float_of_bits((uint32_t)b << 16); }

/* IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. */
static inline float ot_float16_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 31) return ot_float_of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return ot_float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal: a multiple of 2^-24 */
    return sign ? -small : small;
}

#endif
