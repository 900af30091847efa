/* exponential.h - exp, erf and the normal distribution in forms that a compiler can vectorize, for
 * loops over elements.
 *
 * exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in two parts, |r| <= ln 2 / 2, exp(r) by
 * its Taylor polynomial of degree 7; relative error below 2e-7. exp(-inf) = 0, overflow is inf,
 * NaN stays NaN. Of x <= 0 it is less work: what is below exp(-87) is 0.
 *
 * erf(x) = 1 - c(x) exp(-x^2), c(x) = a1 t + .. + a5 t^5, t = 1 / (1 + p x), x >= 0; absolute error
 * below 5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
 */
#ifndef OT_OPS_EXPONENTIAL_H
#define OT_OPS_EXPONENTIAL_H

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

/* exp(r); *n is for the caller to make 2^n of. */
static inline float ot_exp_split(float x, float *n) {
    *n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 rounds */
    float r = x - *n * 0.693359375f + *n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    return p * r + 1;
}

static inline float ot_exp(float x) {
    float below = x < 89 ? x : 89, n, p = ot_exp_split(below > -104 ? below : -104, &n);
    int32_t whole = (int32_t)n, half = whole / 2; /* 2^n in two steps: it may be subnormal or inf */
    float y = p * ot_power_of_two(half) * ot_power_of_two(whole - half);
    return x == x ? y : x;
}

/* exp(x) for x <= 0. */
static inline float ot_exp_negative(float x) {
    float n, p = ot_exp_split(x < -87 ? -87 : x, &n), y = p * ot_power_of_two((int32_t)n);
    return x < -87 ? 0 : y;
}

/* c(a) = (1 - erf(a)) exp(a^2), a >= 0. */
static inline float ot_erf_rest(float a) {
    float t = 1 / (1 + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    return p * t;
}

static inline float ot_erf(float x) {
    float a = x < 0 ? -x : x, y = 1 - ot_erf_rest(a) * ot_exp_negative(-a * a);
    return x < 0 ? -y : y;
}

/* The normal distribution: (1 + erf(x / sqrt 2)) / 2; *bell = exp(-x^2 / 2). */
static inline float ot_normal(float x, float *bell) {
    float a = (x < 0 ? -x : x) * 0.70710678f;
    *bell = ot_exp_negative(-a * a);
    float tail = 0.5f * ot_erf_rest(a) * *bell;
    return x < 0 ? tail : 1 - tail;
}

#endif
