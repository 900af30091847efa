/* binomial.c - binomial random numbers. */
#include "runtime/topology/binomial.h"

#include <math.h>

/* log(n!), by Stirling's series; its error is below 1e-12 from 10 on. */
static double log_factorial(int64_t n) {
    double small = 1;
    if (n < 10) {
        for (int i = 2; i <= n; i++) small *= i;
        return log(small);
    }
    const double x = (double)n, square = x * x;
    const double tail =
        (1 / 12.0 - (1 / 360.0 - (1 / 1260.0 - 1 / 1680.0 / square) / square) / square) / x;
    return (x + 0.5) * log(x) - x + 0.9189385332046727 + tail;
}

struct binomial ot_binomial(int64_t n, double p) {
    struct binomial b = {.n = n, .p = p, .mode = (int64_t)((double)(n + 1) * p)};
    if (b.mode > n) b.mode = n;
    if (p <= 0 || p >= 1) return b;
    const double ways = log_factorial(n) - log_factorial(b.mode) - log_factorial(n - b.mode);
    b.at_mode = exp(ways + (double)b.mode * log(p) + (double)(n - b.mode) * log1p(-p));
    return b;
}

/* The ratio of two neighbouring probabilities is a short fraction. */
int64_t ot_binomial_draw(const struct binomial *b, uint64_t random) {
    if (b->p <= 0) return 0;
    if (b->p >= 1) return b->n;
    const double odds = b->p / (1 - b->p);
    double u = (double)(random >> 11) * 0x1p-53 - b->at_mode;
    int64_t low = b->mode, high = b->mode;
    double below = b->at_mode, above = b->at_mode;
    if (u < 0) return b->mode;
    while (below + above > 1e-300) { /* less is what rounding has left of the sum */
        below *= (double)low / ((double)(b->n - low + 1) * odds);
        if ((u -= below) < 0) return low - 1;
        above *= (double)(b->n - high) * odds / (double)(high + 1);
        if ((u -= above) < 0) return high + 1;
        low -= low > 0;
        high += high < b->n;
    }
    return b->mode;
}
