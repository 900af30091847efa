/* bench_peak.c - as many fused multiply-adds as the registers of an instruction set allow.
 *
 * Compiled once per instruction set, like the library's kernels. */
#include "tools/bench_peak.h"

typedef float vector __attribute__((vector_size(OT_PEAK_BYTES)));

#define NAME_(isa) ot_peak_##isa
#define NAME(isa)  NAME_(isa)

/* Enough chains to hide the latency of an FMA (4 cycles, two a cycle); they fit 16 registers. */
enum { CHAINS = 12, LANES = OT_PEAK_BYTES / 4, REPEATS = 64 };

double NAME(OT_ISA)(long rounds, float *out) {
    vector sum[CHAINS], a, b;
    for (int j = 0; j < LANES; j++) {
        a[j] = out[0];
        b[j] = out[1];
    }
    for (int i = 0; i < CHAINS; i++) sum[i] = a * (float)(i + 1);
    for (long r = 0; r < rounds; r++)
        for (int k = 0; k < REPEATS; k++)
            for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < LANES; j++) out[2] += sum[i][j];
    return 2.0 * CHAINS * LANES * REPEATS * (double)rounds;
}
