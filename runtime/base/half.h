/* half.h - the 16-bit floating-point formats of ONNX: widening to float, which is exact, and
 * narrowing, which rounds to nearest, ties to even (IEEE 754-2019, 4.3.1). */
#ifndef OT_BASE_HALF_H
#define OT_BASE_HALF_H

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

static inline uint32_t ot_bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline uint16_t ot_float16_of_float(float f) {
    uint32_t u = ot_bits_of_float(f), sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
    if (rest > 0x7f800000) { /* NaN: keeps its upper bits and stays one */
        uint32_t payload = rest >> 13 & 0x3ff;
        return (uint16_t)(sign | 0x7c00 | (payload ? payload : 0x200));
    }
    if (rest >= 0x47800000) return (uint16_t)(sign | 0x7c00); /* 2^16 and more */
    uint32_t exponent = rest >> 23;
    if (exponent < 102) return (uint16_t)sign; /* less than half of the smallest one, 2^-24 */
    if (exponent < 113) {                      /* subnormal there: shift the whole significand */
        uint32_t m = (rest & 0x7fffff) | 0x800000, shift = 126 - exponent;
        uint32_t below_half = (1u << (shift - 1)) - 1, odd = m >> shift & 1;
        return (uint16_t)(sign | (m + below_half + odd) >> shift);
    }
    rest -= 112u << 23; /* the bias falls from 127 to 15; a carry into the exponent is right */
    return (uint16_t)(sign | (rest + 0xfff + (rest >> 13 & 1)) >> 13);
}

static inline uint16_t ot_bfloat16_of_float(float f) {
    uint32_t u = ot_bits_of_float(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | (u & 0x7f0000 ? 0 : 0x40));
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
