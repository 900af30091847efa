/* select.c - the key of the k-th best score, digit by digit. */
#include "runtime/topology/select.h"

/* Bits of a digit, such that the counts of all its values stay in the first cache; narrower where
 * they would take longer than the scores. */
enum { FEW = 2048, NARROW = 8, WIDE = 11, VALUES = 1 << WIDE, KEY = 32 };

/* Counts the digit of those keys whose higher digits are those of `prefix`. */
static void count_digit(const float *score, int64_t n, int digit, int shift, uint32_t prefix,
                        int64_t *count) {
    const uint32_t values = 1u << digit;
    const uint64_t higher = (uint64_t)prefix >> shift >> digit;
    memset(count, 0, values * sizeof *count);
    for (int64_t i = 0; i < n; i++) {
        const uint32_t key = ot_score_key(score[i]) >> shift;
        if ((uint64_t)key >> digit == higher) count[key & (values - 1)]++;
    }
}

struct cut ot_select_best(const float *score, int64_t n, int64_t k) {
    int64_t count[VALUES];
    const int digit = n < FEW ? NARROW : WIDE;
    struct cut cut = {UINT32_MAX, 0}; /* the key of no number */
    if (!k) return cut;
    cut = (struct cut){0, k};
    for (int shift = (KEY - 1) / digit * digit; shift >= 0; shift -= digit) {
        count_digit(score, n, digit, shift, cut.key, count);
        uint32_t value = (1u << digit) - 1;
        while (value && cut.ties > count[value]) cut.ties -= count[value--];
        cut.key |= value << shift;
    }
    return cut;
}
