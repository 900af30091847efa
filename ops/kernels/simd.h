/* simd.h - a float vector of the instruction set in hand, and its sums. */
#ifndef OT_OPS_KERNELS_SIMD_H
#define OT_OPS_KERNELS_SIMD_H

#include <string.h>

#include "ops/kernels/kernels.h"

#if defined(OT_ISA_avx512) || defined(OT_ISA_avx2)
#include <immintrin.h>
#endif

#if defined(OT_ISA_avx512)
enum { WIDTH = 16, TILE = 16 };
#elif defined(OT_ISA_avx2)
enum { WIDTH = 8, TILE = 7 };
#else
enum { WIDTH = 4, TILE = 3 };
#endif
enum { UNIT_VECS = OT_UNIT / WIDTH };

#if defined(__clang__)
/* a loop of unknown length stays as it is */
#pragma clang diagnostic ignored "-Wpass-failed"
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(WIDTH * sizeof(float))));
typedef int32_t ivec __attribute__((vector_size(WIDTH * sizeof(int32_t)))); /* masks, too */
typedef float vec4 __attribute__((vector_size(16)));

INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* p + offset in one register: with an index in each of them, multiply-adds from memory take two
 * instructions of the machine. */
INLINE const float *at(const float *p, ptrdiff_t offset) {
    p += offset;
    __asm__("" : "+r"(p));
    return p;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

/* Past the caches, to an aligned place. */
INLINE void store_past(float *p, vec v) {
#if defined(OT_ISA_avx512)
    _mm512_stream_ps(p, (__m512)v);
#elif defined(OT_ISA_avx2)
    _mm256_stream_ps(p, (__m256)v);
#else
    store(p, v);
#endif
}

/* Orders such stores before all later ones. */
INLINE void stores_past_end(void) {
#if defined(OT_ISA_avx512) || defined(OT_ISA_avx2)
    _mm_sfence();
#endif
}

INLINE vec splat(float f) {
#if defined(OT_ISA_avx512)
    return (vec){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f};
#elif defined(OT_ISA_avx2)
    return (vec){f, f, f, f, f, f, f, f};
#else
    return (vec){f, f, f, f};
#endif
}

/* The first n floats, then zeros. */
INLINE vec load_some(const float *p, size_t n) {
    vec v = splat(0);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

INLINE vec keep(vec v, ivec mask) { return (vec)((ivec)v & mask); }

/* A row's share of what the next tile reads. A call, made before a row fills the registers, leaves
 * the loops all of them. */
static __attribute__((noinline)) void prefetch_lines(struct prefetch *p) {
    for (int k = 0; k < p->per_row && p->left; k++, p->left--) {
        for (int u = 0; u < p->units; u++)
            __builtin_prefetch((const void *)(p->at + (size_t)u * p->unit), 0, 2);
        const bool last = ++p->line_at == p->lines;
        p->at += last ? p->channel : p->line;
        if (last) p->line_at = 0;
    }
}

/* Per group of four: (a0 + a2, b0 + b2, a1 + a3, b1 + b3), then the quarters of two such. */
#if defined(OT_ISA_avx512)
#define INTERLEAVE_LOW(a, b)                                                                       \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define INTERLEAVE_HIGH(a, b)                                                                      \
    __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define PAIRS_LOW(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define PAIRS_HIGH(a, b)                                                                           \
    __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
typedef float vec8 __attribute__((vector_size(32)));
INLINE vec4 fold(vec v) {
    vec8 h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
}
#elif defined(OT_ISA_avx2)
#define INTERLEAVE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define PAIRS_LOW(a, b)       __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define PAIRS_HIGH(a, b)      __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
INLINE vec4 fold(vec v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
}
#else
#define INTERLEAVE_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define PAIRS_LOW(a, b)       __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define PAIRS_HIGH(a, b)      __builtin_shufflevector(a, b, 2, 3, 6, 7)
INLINE vec4 fold(vec v) { return v; }
#endif

/* The four sums over the elements of a, b, c and d. */
INLINE vec4 sum4(vec a, vec b, vec c, vec d) {
    vec ab = INTERLEAVE_LOW(a, b) + INTERLEAVE_HIGH(a, b);
    vec cd = INTERLEAVE_LOW(c, d) + INTERLEAVE_HIGH(c, d);
    return fold(PAIRS_LOW(ab, cd) + PAIRS_HIGH(ab, cd));
}

INLINE float sum1(vec a) {
    vec4 f = fold(a);
    return (f[0] + f[1]) + (f[2] + f[3]);
}

#endif
