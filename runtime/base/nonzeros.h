/* nonzeros.h - which of 64 floats are zero, as the bits of a word. */
#ifndef OT_BASE_NONZEROS_H
#define OT_BASE_NONZEROS_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { OT_GROUP = 64 }; /* floats */

#ifdef __SSE2__
/* Bit i: the top bit of 32-bit integer i. Packing saturates, which keeps it. */
static inline uint64_t ot_top_bits(__m128i a, __m128i b, __m128i c, __m128i d) {
    const __m128i low = _mm_packs_epi32(a, b), high = _mm_packs_epi32(c, d);
    return (uint64_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

/* Without its sign, is it zero? */
static inline __m128i ot_is_zero(__m128i v) {
    return _mm_cmpeq_epi32(_mm_add_epi32(v, v), _mm_setzero_si128());
}
#endif

/* Bit i: float i at p, which need not be aligned, is not zero; NaN is not. *negative: it is -0.0.
 */
static inline uint64_t ot_nonzeros(const void *p, uint64_t *negative) {
    uint64_t zero = 0, minus = 0;
#ifdef __SSE2__
    const __m128i *from = p;
    for (int i = 0; i < 4; i++) {
        const __m128i a = _mm_loadu_si128(from + 4 * i), b = _mm_loadu_si128(from + 4 * i + 1);
        const __m128i c = _mm_loadu_si128(from + 4 * i + 2), d = _mm_loadu_si128(from + 4 * i + 3);
        zero |= ot_top_bits(ot_is_zero(a), ot_is_zero(b), ot_is_zero(c), ot_is_zero(d)) << 16 * i;
        minus |= ot_top_bits(a, b, c, d) << 16 * i;
    }
#else
    for (int i = 0; i < OT_GROUP; i++) {
        uint32_t bits;
        memcpy(&bits, (const char *)p + sizeof bits * (size_t)i, sizeof bits);
        zero |= (uint64_t) !(bits << 1) << i;
        minus |= (uint64_t)(bits >> 31) << i;
    }
#endif
    *negative = zero & minus;
    return ~zero;
}

/* The same of fewer floats; the others are +0. */
static inline uint64_t ot_nonzeros_part(const void *p, int64_t n, uint64_t *negative) {
    float group[OT_GROUP] = {0};
    if (n > 0) memcpy(group, p, (size_t)n * sizeof *group);
    return ot_nonzeros(group, negative);
}

#endif
