/* bench_peak.h - a loop of multiply-adds per instruction set, for bench_limits.c. */
#ifndef TOOLS_BENCH_PEAK_H
#define TOOLS_BENCH_PEAK_H

/* Runs the loop and returns how many multiplications and additions it did. out[0] is the factor
 * (about 1) and out[1] the addend; out[2] gets a sum, so that no compiler leaves the loop out. */
typedef double ot_peak_fn(long rounds, float *out);

ot_peak_fn ot_peak_generic;
#ifdef OT_X86_64
ot_peak_fn ot_peak_avx2, ot_peak_avx512;
#endif

#endif
