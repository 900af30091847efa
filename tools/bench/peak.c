/* peak.c - what the vectors of an instruction set can do: multiply-adds between registers,
 * multiply-adds that load one operand, and copies past the caches.
 *
 * Compiled once per instruction set, like the library's kernels. */
#include "tools/bench/peak.h"

#include <string.h>

#ifdef OT_X86_64
#include <immintrin.h>
#endif

typedef float vector __attribute__((vector_size(OT_PEAK_BYTES)));

#define NAME_(what, isa) ot_##what##_##isa
#define NAME(what, isa)  NAME_(what, isa)

/* Enough chains to hide the latency of an FMA (4 cycles, two a cycle); they fit 16 registers. */
enum { CHAINS = 12, LANES = OT_PEAK_BYTES / 4, REPEATS = 64 };

static vector splat(float x) {
    vector v;
    for (int j = 0; j < LANES; j++) v[j] = x;
    return v;
}

static float sum_of(const vector *v) {
    float sum = 0;
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < LANES; j++) sum += v[i][j];
    return sum;
}

double NAME(peak, OT_ISA)(long rounds, float *out) {
    vector sum[CHAINS], a = splat(out[0]), b = splat(out[1]);
    for (int i = 0; i < CHAINS; i++) sum[i] = a * (float)(i + 1);
    for (long r = 0; r < rounds; r++)
        for (int k = 0; k < REPEATS; k++)
            for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
    out[2] = sum_of(sum);
    return 2.0 * CHAINS * LANES * REPEATS * (double)rounds;
}

/* The operands fit the first-level cache. */
double NAME(load, OT_ISA)(long rounds, float *out) {
    enum { PLACES = 16 };
    _Alignas(64) float in[PLACES * CHAINS * LANES];
    vector sum[CHAINS], a = splat(out[0]), x;
    for (int i = 0; i < PLACES * CHAINS * LANES; i++) in[i] = out[1] * (float)(i % 7);
    for (int i = 0; i < CHAINS; i++) sum[i] = a * (float)(i + 1);
    for (long r = 0; r < rounds * REPEATS / PLACES; r++) {
        const float *from = in;
        __asm__ volatile("" : "+r"(from)); /* to be loaded again each round */
        for (int k = 0; k < PLACES; k++, from += CHAINS * LANES)
            for (int i = 0; i < CHAINS; i++) {
                memcpy(&x, from + i * LANES, sizeof x);
                sum[i] += a * x;
            }
    }
    out[2] = sum_of(sum);
    return 2.0 * CHAINS * LANES * PLACES * (double)(rounds * REPEATS / PLACES);
}

void NAME(copy, OT_ISA)(const float *from, float *to, size_t vectors) {
    for (size_t i = 0; i < vectors; i++, from += LANES, to += LANES) {
#if defined(OT_X86_64) && OT_PEAK_BYTES == 64
        _mm512_stream_ps(to, _mm512_loadu_ps(from));
#elif defined(OT_X86_64) && OT_PEAK_BYTES == 32
        _mm256_stream_ps(to, _mm256_loadu_ps(from));
#else
        memcpy(to, from, OT_PEAK_BYTES);
#endif
    }
}
