/* select.c - the key of the k-th best score, digit by digit. */
#include "runtime/topology/select.h"

/* Digits of a key, from the highest: 11, 11 and 10 bits, whose counts stay in the first cache. */
enum { DIGITS = 3, BITS = 11, COUNTS = 1 << BITS };

static int shift_of(int digit) { return digit == 0 ? 21 : digit == 1 ? 10 : 0; }

/* Counts the digit of those keys whose higher digits are those of `prefix`. */
static void count_digit(const float *score, int64_t n, int digit, uint32_t prefix,
                        int64_t count[COUNTS]) {
    const int shift = shift_of(digit);
    const uint32_t mask = digit == DIGITS - 1 ? COUNTS / 2 - 1 : COUNTS - 1;
    const uint32_t higher = digit ? ~UINT32_C(0) << shift_of(digit - 1) : 0;
    memset(count, 0, COUNTS * sizeof *count);
    for (int64_t i = 0; i < n; i++) {
        const uint32_t key = ot_score_key(score[i]);
        if (((key ^ prefix) & higher) == 0) count[key >> shift & mask]++;
    }
}

struct cut ot_select_best(const float *score, int64_t n, int64_t k) {
    int64_t count[COUNTS];
    struct cut cut = {UINT32_MAX, 0}; /* the key of no number */
    if (!k) return cut;
    cut = (struct cut){0, k};
    for (int digit = 0; digit < DIGITS; digit++) {
        count_digit(score, n, digit, cut.key, count);
        uint32_t value = COUNTS - 1;
        while (value && cut.ties > count[value]) cut.ties -= count[value--];
        cut.key |= value << shift_of(digit);
    }
    return cut;
}
