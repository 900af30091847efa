/* sha256.c - SHA-256 as FIPS 180-4 defines it. */
#include "runtime/base/sha256.h"

#include <string.h>

#include "runtime/base/sha256_x86.h"

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t load_big(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A round, after which the variables are named one further (6.2.2, step 3). */
static inline void round_of(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
                            uint32_t g, uint32_t *h, uint32_t kw) {
    const uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const uint32_t t1 = *h + sum1 + ((e & f) ^ (~e & g)) + kw;
    *d += t1;
    *h = t1 + sum0 + ((a & b) ^ (a & c) ^ (b & c));
}

/* One block of 64 bytes (6.2.2). */
static void compress(uint32_t h[8], const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int t = 0; t < 16; t++) w[t] = load_big(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    for (int t = 0; t < 64; t++) w[t] += ot_sha256_k[t];
    memcpy(s, h, sizeof s);
    for (const uint32_t *kw = w; kw < w + 64; kw += 8) {
        round_of(s[0], s[1], s[2], &s[3], s[4], s[5], s[6], &s[7], kw[0]);
        round_of(s[7], s[0], s[1], &s[2], s[3], s[4], s[5], &s[6], kw[1]);
        round_of(s[6], s[7], s[0], &s[1], s[2], s[3], s[4], &s[5], kw[2]);
        round_of(s[5], s[6], s[7], &s[0], s[1], s[2], s[3], &s[4], kw[3]);
        round_of(s[4], s[5], s[6], &s[7], s[0], s[1], s[2], &s[3], kw[4]);
        round_of(s[3], s[4], s[5], &s[6], s[7], s[0], s[1], &s[2], kw[5]);
        round_of(s[2], s[3], s[4], &s[5], s[6], s[7], s[0], &s[1], kw[6]);
        round_of(s[1], s[2], s[3], &s[4], s[5], s[6], s[7], &s[0], kw[7]);
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

void ot_sha256_portable(uint32_t h[8], const uint8_t *p, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) compress(h, p + 64 * i);
}

void ot_sha256(const void *bytes, size_t size, uint8_t hash[32]) {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint8_t *p = bytes;
    size_t whole = size / 64, rest = size % 64;
    void (*const add)(uint32_t *, const uint8_t *, size_t) =
        ot_sha256_x86_runs() ? ot_sha256_x86 : ot_sha256_portable;
    add(h, p, whole);
    /* padding: 0x80, zeros, the length in bits (5.1.1) */
    uint8_t tail[128] = {0};
    if (rest) memcpy(tail, p + 64 * whole, rest);
    tail[rest] = 0x80;
    size_t blocks = rest < 56 ? 1 : 2;
    uint64_t bits = (uint64_t)size * 8;
    for (int i = 0; i < 8; i++) tail[64 * blocks - 1 - i] = (uint8_t)(bits >> 8 * i);
    add(h, tail, blocks);
    for (int i = 0; i < 32; i++) hash[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}
