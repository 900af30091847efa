/* sha256_x86.h - the parts of SHA-256, for sha256.c and its tests. */
#ifndef OT_BASE_SHA256_X86_H
#define OT_BASE_SHA256_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t ot_sha256_k[64];

/* Adds blocks of 64 bytes to the hash value h. */
void ot_sha256_portable(uint32_t h[8], const uint8_t *p, size_t blocks);

/* The same with the SHA instructions of x86-64, where the processor has them. */
bool ot_sha256_x86_runs(void);
void ot_sha256_x86(uint32_t h[8], const uint8_t *p, size_t blocks);

#endif
