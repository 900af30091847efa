/* siphash.h - a hash of bytes under a key: whoever does not know the key cannot choose bytes that
 * collide. SipHash-2-4 (Aumasson, Bernstein 2012). */
#ifndef OT_BASE_SIPHASH_H
#define OT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* Of the eight bytes of a number, little-endian, and n bytes behind them. */
uint64_t ot_siphash(const uint64_t key[2], uint64_t first, const void *bytes, size_t n);
/* A key that nobody can foresee. */
void ot_siphash_key(uint64_t key[2]);

#endif
