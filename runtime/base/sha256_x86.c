/* sha256_x86.c - SHA-256 with the instructions that x86-64 processors have for it. */
#include "runtime/base/sha256_x86.h"

#ifdef OT_X86_64

#include <cpuid.h>
#include <immintrin.h>

#define WITH_SHA __attribute__((target("sha,sse4.1")))

bool ot_sha256_x86_runs(void) {
    const unsigned sse41 = 1u << 19, sha = 1u << 29;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & sse41)) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & sha);
}

/* Four rounds. The words of the state stand in the order of the instructions: A, B, E, F, and C, D,
 * G, H, the first one highest. */
WITH_SHA static inline void rounds(__m128i *abef, __m128i *cdgh, __m128i w, const uint32_t *k) {
    const __m128i kw = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(const void *)k));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, kw);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(kw, 0x0e));
}

/* Words 16 to 19 of the message schedule from words 0 to 15. */
WITH_SHA static inline __m128i schedule(__m128i a, __m128i b, __m128i c, __m128i d) {
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
    return _mm_sha256msg2_epu32(sum, d);
}

/* Four words of the block, which has the highest byte of each first. */
WITH_SHA static inline __m128i load(const uint8_t *p) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), order);
}

WITH_SHA static void add_block(__m128i *abef, __m128i *cdgh, const uint8_t *p) {
    const __m128i first[2] = {*abef, *cdgh};
    __m128i a = load(p), b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (const uint32_t *k = ot_sha256_k; k < ot_sha256_k + 64; k += 16) {
        rounds(abef, cdgh, a, k);
        a = schedule(a, b, c, d);
        rounds(abef, cdgh, b, k + 4);
        b = schedule(b, c, d, a);
        rounds(abef, cdgh, c, k + 8);
        c = schedule(c, d, a, b);
        rounds(abef, cdgh, d, k + 12);
        d = schedule(d, a, b, c);
    }
    *abef = _mm_add_epi32(*abef, first[0]);
    *cdgh = _mm_add_epi32(*cdgh, first[1]);
}

WITH_SHA void ot_sha256_x86(uint32_t h[8], const uint8_t *p, size_t blocks) {
    __m128i *const low = (__m128i *)(void *)h, *const high = low + 1;
    const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(low), 0xb1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(high), 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (size_t i = 0; i < blocks; i++) add_block(&abef, &cdgh, p + 64 * i);
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128(low, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(high, _mm_alignr_epi8(dchg, feba, 8));
}

#else

bool ot_sha256_x86_runs(void) { return false; }

void ot_sha256_x86(uint32_t h[8], const uint8_t *p, size_t blocks) {
    ot_sha256_portable(h, p, blocks);
}

#endif
