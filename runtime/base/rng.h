/* rng.h - counter-based random numbers, Philox4x32-10 (Salmon et al., SC'11).
 *
 * A number is a pure function of (seed, stream, index): nothing to save, nothing to skip.
 */
#ifndef OT_BASE_RNG_H
#define OT_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit numbers for the 128-bit counter under the 64-bit key. */
void ot_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* 32 random bits for (seed; a, b). */
uint32_t ot_random_u32(uint64_t seed, uint64_t a, uint64_t b);
/* 64 random bits. */
uint64_t ot_random_u64(uint64_t seed, uint64_t a, uint64_t b);
/* Uniform in [0, 1) with 24 bits. */
float ot_random_float(uint64_t seed, uint64_t a, uint64_t b);
/* Standard normal (Box-Muller). */
float ot_random_normal(uint64_t seed, uint64_t a, uint64_t b);

#endif
