/* exponential.h - exp, expm1, erf and the normal distribution in forms that a compiler can
 * vectorize, for loops over elements. Relative errors are a few units in the last place, of small
 * arguments and small results too (tests/test_ulps.c holds them against long double).
 *
 * exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in two parts, |r| <= ln 2 / 2, exp(r) by
 * its Taylor polynomial of degree 7; relative error below 2e-7. exp(-inf) = 0, overflow is inf,
 * NaN stays NaN. Of x <= 0 it is less work: what is below exp(-87) is 0. exp(x) - 1 is
 * 2^n (exp(r) - 1) + (2^n - 1), where nothing cancels.
 *
 * erf(x): near 0 an odd polynomial, further out 1 - exp of one (N. Juffa's coefficients).
 * 1 - erf(a) = exp(-a^2) e(a), a >= 0: e(a) / t is a polynomial of t = 1 / (1 + 0.3 a), fitted to
 * the least relative error, 2e-8, for a up to 9.6.
 */
#ifndef OT_OPS_KERNELS_EXPONENTIAL_H
#define OT_OPS_KERNELS_EXPONENTIAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for -126 <= n <= 127. */
static inline float ot_power_of_two(int32_t n) {
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The p of exp(r) = p r + 1. */
static inline float ot_exp_series(float r) {
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    return p * r + 1;
}

/* r; *n is for the caller to make 2^n of. */
static inline float ot_exp_reduce(float x, float *n) {
    *n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 rounds */
    return x - *n * 0.693359375f + *n * 2.12194440e-4f;
}

/* exp(r) */
static inline float ot_exp_split(float x, float *n) {
    float r = ot_exp_reduce(x, n);
    return ot_exp_series(r) * r + 1;
}

static inline float ot_exp(float x) {
    float below = x < 89 ? x : 89, n, p = ot_exp_split(below > -104 ? below : -104, &n);
    int32_t whole = (int32_t)n, half = whole / 2; /* 2^n in two steps: it may be subnormal or inf */
    float y = p * ot_power_of_two(half) * ot_power_of_two(whole - half);
    return x == x ? y : x;
}

/* 2^n of a reduction whose n is -126 at least; of NaN, which fits no integer, anything. */
static inline float ot_power_of_reduced(float n) {
    return ot_power_of_two((int32_t)(n > -126 ? n : -126));
}

/* exp(x) for x <= 0. */
static inline float ot_exp_negative(float x) {
    float n, p = ot_exp_split(x < -87 ? -87 : x, &n), y = p * ot_power_of_reduced(n);
    return x < -87 ? 0 : y;
}

/* exp(x) - 1 for x <= 0; what is below exp(-30) adds nothing to -1. */
static inline float ot_expm1_negative(float x) {
    float n, r = ot_exp_reduce(x < -30 ? -30 : x, &n), power = ot_power_of_reduced(n);
    return ot_exp_series(r) * r * power + (power - 1);
}

/* exp(-s x^2), s = 1 or 1/2. The square is exact where it is large: that of x without its last 12
 * bits, and the small rest. Results below exp(-87) are 0. */
static inline float ot_bell(float x, float s) {
    uint32_t bits;
    float high, n;
    const float near = x < -13.5f ? -13.5f : x > 13.5f ? 13.5f : x;
    memcpy(&bits, &near, sizeof bits);
    bits &= 0xfffff000;
    memcpy(&high, &bits, sizeof high);
    const float square = s * high * high, rest = s * (near - high) * (near + high);
    const float most = square < 87 ? square : 87;
    float r = ot_exp_reduce(-most, &n) - rest;
    float y = (ot_exp_series(r) * r + 1) * ot_power_of_two((int32_t)n);
    return square < 87 ? y : x == x ? 0 : x;
}

static inline float ot_erf(float x) {
    const float a = x < 0 ? -x : x, s = x * x;
    float p = -5.96761703e-4f, u = -1.72853470e-5f * a + 3.83197126e-4f;
    p = p * s + 4.99119423e-3f;
    p = p * s - 2.67681349e-2f;
    p = p * s + 1.12819925e-1f;
    p = p * s - 3.76125336e-1f;
    p = p * s + 1.28379166e-1f;
    u = u * s + (-3.88396438e-3f * a + 2.42546219e-2f);
    u = u * a - 1.06777877e-1f;
    u = u * a - 6.34846687e-1f;
    u = u * a - 1.28717512e-1f;
    const float far = 1 - ot_exp_negative(a < 5 ? u * a - a : -30.0f);
    return a < 0.927734375f ? p * x + x : x < 0 ? -far : x == x ? far : x;
}

/* e(a) = (1 - erf(a)) exp(a^2), 0 <= a <= 9.6. */
static inline float ot_erf_rest(float a) {
    float t = 1 / (1 + 0.3f * a);
    float p = -0.129457876f;
    p = p * t + 0.485221565f;
    p = p * t - 0.511508584f;
    p = p * t + 0.546750903f;
    p = p * t - 0.0939053446f;
    p = p * t + 0.214568123f;
    p = p * t + 0.148443803f;
    p = p * t + 0.170698225f;
    p = p * t + 0.169189185f;
    return p * t;
}

/* The normal distribution: (1 + erf(x / sqrt 2)) / 2; *bell = exp(-x^2 / 2). */
static inline float ot_normal(float x, float *bell) {
    float a = (x < 0 ? -x : x) * 0.70710678f;
    *bell = ot_bell(x, 0.5f);
    float tail = 0.5f * ot_erf_rest(a < 9.6f ? a : 9.6f) * *bell;
    return x < 0 ? tail : 1 - tail;
}

#endif
