/* rounding.c - Floor, Ceil, and Round to the nearest integer, halves to the even one; the gradient
 * is 0. */
#include <math.h>

#include "ops/walk/unary.h"

#define ROUNDING(word, function, first, texts)                                                     \
    static void function##_value(const float *x, float *y, int64_t n, const void *state) {         \
        (void)state;                                                                               \
        for (int64_t i = 0; i < n; i++) y[i] = function(x[i]);                                     \
    }                                                                                              \
    static void function##_forward(struct op_node *n) { ot_unary_forward(n, function##_value); }   \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "",                                                                          \
        .needs = 0,                                                                                \
        .lanes = ot_unary_lanes,                                                                   \
        .prepare = ot_unary_prepare,                                                               \
        .forward = function##_forward,                                                             \
        .backward = ot_unary_backward_zero,                                                        \
        .cases = texts,                                                                            \
    }

static const char *const floor_cases[] = {"X[2,3,5] lanes -> Y[2,3,5]",
                                          "f{-1.5,2.25,3} -> f{-2,2,3}", NULL};
static const char *const ceil_cases[] = {"X[2,3,5] lanes -> Y[2,3,5]",
                                         "f{-1.5,2.25,3} -> f{-1,3,3}", NULL};
static const char *const round_cases[] = {
    "f{0.1,0.5,0.9,1.2,1.5,1.8,2.3,2.5,2.7,-1.1,-1.5,-1.9,-2.5} -> f{0,0,1,1,2,2,2,2,3,-1,-2,-2,"
    "-2}",
    NULL};

ROUNDING(Floor, floorf, 6, floor_cases);
ROUNDING(Ceil, ceilf, 6, ceil_cases);
ROUNDING(Round, rintf, 11, round_cases);
