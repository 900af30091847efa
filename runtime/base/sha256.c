/* sha256.c - SHA-256 as FIPS 180-4 defines it. */
#include "runtime/base/sha256.h"

#include <string.h>

#include "runtime/base/sha256_x86.h"

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes (4.2.2). */
const uint32_t ot_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

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
