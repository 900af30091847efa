/* digest.c - a multiplication for each eight bytes, after MurmurHash64A (Appleby 2008). */
#include "runtime/base/digest.h"

#include <string.h>

static uint64_t mix(uint64_t sum, uint64_t word) {
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    sum = (sum ^ word) * m;
    return sum ^ sum >> 47;
}

/* One byte, into the word that is not full. */
static void add_byte(struct digest *d, uint8_t byte) {
    d->word |= (uint64_t)byte << 8 * (d->bytes % 8);
    if (++d->bytes % 8) return;
    d->sum = mix(d->sum, d->word);
    d->word = 0;
}

void ot_digest_add(struct digest *d, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    for (; size && d->bytes % 8; size--) add_byte(d, *p++);
    for (; size >= 8; size -= 8, p += 8, d->bytes += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        d->sum = mix(d->sum, word);
    }
    for (; size; size--) add_byte(d, *p++);
}

bool ot_digest_equal(const struct digest *a, const struct digest *b) {
    return a->sum == b->sum && a->bytes == b->bytes && a->word == b->word;
}

uint64_t ot_digest_value(const struct digest *d) {
    return mix(mix(mix(d->sum, d->word), d->bytes), 0);
}
