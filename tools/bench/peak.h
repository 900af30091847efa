/* peak.h - loops per instruction set that reach a machine's limits, for limits.c. */
#ifndef OT_TOOLS_BENCH_PEAK_H
#define OT_TOOLS_BENCH_PEAK_H

#include <stddef.h>

/* Runs multiply-adds and returns how many multiplications and additions they were. out[0] is the
 * factor (about 1) and out[1] the addend; out[2] gets a sum, so that no compiler leaves the loop
 * out. peak: between registers; load: each loads an operand from the first-level cache. */
typedef double ot_peak_fn(long rounds, float *out);

/* Copies so many vectors of the instruction set, past the caches where it can; `to` is aligned to
 * 64 bytes. */
typedef void ot_copy_fn(const float *from, float *to, size_t vectors);

ot_peak_fn ot_peak_generic, ot_load_generic;
ot_copy_fn ot_copy_generic;
#ifdef OT_X86_64
ot_peak_fn ot_peak_avx2, ot_peak_avx512, ot_load_avx2, ot_load_avx512;
ot_copy_fn ot_copy_avx2, ot_copy_avx512;
#endif

#endif
