/* exponential.h - exp and erf that a compiler can vectorize, for loops over elements.
 *
 * exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in two parts, |r| <= ln 2 / 2, exp(r) by
 * its Taylor polynomial of degree 7; relative error below 2e-7. exp(-inf) = 0, overflow is inf,
 * NaN stays NaN.
 *
 * erf(x) = 1 - (a1 t + .. + a5 t^5) exp(-x^2), t = 1 / (1 + p x), x >= 0; absolute error below 5e-7
 * (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
 */
#ifndef OT_OPS_EXPONENTIAL_H
#define OT_OPS_EXPONENTIAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for -126 <= n <= 127. */
static inline float ot_power_of_two(int32_t n) {
    int32_t bits = (n + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float ot_exp(float x) {
    float below = x < 89 ? x : 89, inside = below > -104 ? below : -104;
    float n = (inside * 1.44269504f + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23 rounds */
    float r = inside - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1;
    p = p * r + 1;
    int32_t whole = (int32_t)n, half = whole / 2; /* 2^n in two steps: it may be subnormal or inf */
    float y = p * ot_power_of_two(half) * ot_power_of_two(whole - half);
    return x == x ? y : x;
}

static inline float ot_erf(float x) {
    float a = x < 0 ? -x : x, t = 1 / (1 + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float y = 1 - p * t * ot_exp(-a * a);
    return x < 0 ? -y : y;
}

#endif
