/* siphash.c - SipHash-2-4, and keys for it. */
#include "runtime/base/siphash.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m) {
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

uint64_t ot_siphash(const uint64_t key[2], uint64_t first, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    sip_word(v, first);
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t m;
        memcpy(&m, p + i, 8);
        sip_word(v, m);
    }
    uint64_t last = (uint64_t)(n + sizeof first) << 56;
    for (size_t i = n & ~(size_t)7, k = 0; i < n; i++, k += 8) last |= (uint64_t)p[i] << k;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Where the kernel gives no random bytes, the clock has to do. */
void ot_siphash_key(uint64_t key[2]) {
    struct timespec now = {0, 0};
    if (!getentropy(key, 2 * sizeof *key)) return;
    clock_gettime(CLOCK_REALTIME, &now);
    key[0] = (uint64_t)now.tv_sec;
    key[1] = (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)key;
}
