/* digest.h - a fast 64-bit checksum of a stream of bytes, however it is cut into pieces.
 *
 * It finds what a disk or a bug does to a file, not what an attacker does. */
#ifndef OT_BASE_DIGEST_H
#define OT_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeros are the digest of nothing. */
struct digest {
    uint64_t sum, bytes;
    uint64_t word; /* the last bytes % 8 bytes */
};

void ot_digest_add(struct digest *d, const void *bytes, size_t size);
bool ot_digest_equal(const struct digest *a, const struct digest *b);

/* One number for all of it. */
uint64_t ot_digest_value(const struct digest *d);

#endif
