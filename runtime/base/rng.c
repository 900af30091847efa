/* rng.c - Philox4x32-10. */
#include "runtime/base/rng.h"

#include <math.h>

void ot_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void numbers(uint64_t seed, uint64_t a, uint64_t b, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)a,
                                 (uint32_t)(a >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    ot_philox(counter, key, out);
}

uint32_t ot_random_u32(uint64_t seed, uint64_t a, uint64_t b) {
    uint32_t r[4];
    numbers(seed, a, b, r);
    return r[0];
}

uint64_t ot_random_u64(uint64_t seed, uint64_t a, uint64_t b) {
    uint32_t r[4];
    numbers(seed, a, b, r);
    return (uint64_t)r[1] << 32 | r[0];
}

float ot_random_float(uint64_t seed, uint64_t a, uint64_t b) {
    return (float)(ot_random_u32(seed, a, b) >> 8) * 0x1p-24f;
}

float ot_random_normal(uint64_t seed, uint64_t a, uint64_t b) {
    uint32_t r[4];
    numbers(seed, a, b, r);
    double u = ((double)r[0] + 1) * 0x1p-32, v = (double)r[1] * 0x1p-32; /* u > 0 */
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
