/* binomial.h - binomial random numbers, by inversion from the most probable number outwards. */
#ifndef OT_TOPOLOGY_BINOMIAL_H
#define OT_TOPOLOGY_BINOMIAL_H

#include <stdint.h>

struct binomial {
    int64_t n;
    double p;
    int64_t mode;
    double at_mode; /* probability of the mode */
};

/* Successes of n trials with probability p in [0, 1]. */
struct binomial ot_binomial(int64_t n, double p);

/* The number that 64 random bits stand for. It takes about sqrt(n p (1 - p)) steps. */
int64_t ot_binomial_draw(const struct binomial *b, uint64_t random);

#endif
