/* sha256.h - SHA-256 (FIPS 180-4), to tell models and data apart. */
#ifndef OT_BASE_SHA256_H
#define OT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

void ot_sha256(const void *bytes, size_t size, uint8_t hash[32]);

#endif
