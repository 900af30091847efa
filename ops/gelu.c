/* gelu.c - y = x / 2 (1 + erf(x / sqrt 2)); approximate="tanh":
 * y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Gelu-20; Hendrycks and Gimpel,
 * arXiv 1606.08415). */
#include <string.h>

#include "ops/exponential.h"
#include "ops/unary.h"

#define ROOT_HALF 0.70710678f    /* 1 / sqrt(2) */
#define DENSITY 0.39894228f      /* 1 / sqrt(2 pi) */
#define ROOT_2_BY_PI 0.79788456f /* sqrt(2 / pi) */
#define CUBIC 0.044715f

static void value(const float *x, float *y, int64_t n, const void *state) {
    (void)state;
    for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1 + ot_erf(x[i] * ROOT_HALF));
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *state) {
    (void)state;
    (void)y;
    for (int64_t i = 0; i < n; i++) {
        float below = 0.5f * (1 + ot_erf(x[i] * ROOT_HALF));
        dx[i] = dy[i] * (below + x[i] * DENSITY * ot_exp(-0.5f * x[i] * x[i]));
    }
}

/* Absolute error 1e-7; that is all 1 + tanh needs. */
static inline float tanh_of(float u) { return 1 - 2 / (ot_exp(2 * u) + 1); }

static void value_tanh(const float *x, float *y, int64_t n, const void *state) {
    (void)state;
    for (int64_t i = 0; i < n; i++) {
        float u = ROOT_2_BY_PI * (x[i] + CUBIC * x[i] * x[i] * x[i]);
        y[i] = 0.5f * x[i] * (1 + tanh_of(u));
    }
}

static void gradient_tanh(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                          const void *state) {
    (void)state;
    (void)y;
    for (int64_t i = 0; i < n; i++) {
        float t = tanh_of(ROOT_2_BY_PI * (x[i] + CUBIC * x[i] * x[i] * x[i]));
        float slope = ROOT_2_BY_PI * (1 + 3 * CUBIC * x[i] * x[i]);
        dx[i] = dy[i] * 0.5f * (1 + t + x[i] * (1 - t * t) * slope);
    }
}

static bool approximate(const struct op_node *n) {
    return !strcmp(ot_attr_string(n->node, "approximate", "none"), "tanh");
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const char *kind = ot_attr_string(n->node, "approximate", "none");
    if (!approximate(n) && strcmp(kind, "none"))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'approximate' is '%.40s', not 'none' or 'tanh'", kind);
    return ot_unary_prepare(n, err);
}

static void forward(struct op_node *n) {
    ot_unary_forward(n, approximate(n) ? value_tanh : value);
}
static void backward(struct op_node *n) {
    ot_unary_backward(n, approximate(n) ? gradient_tanh : gradient);
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "X[2,3,5] approximate=tanh lanes -> Y[2,3,5]",
    "f{0,1,-1,9} -> f{0,0.8413447,-0.1586553,9}",
    "f{0,1,-1,9} approximate=tanh -> f{0,0.8411920,-0.1588080,9}",
    "X[2] approximate=sigmoid -> error: attribute 'approximate' is 'sigmoid'",
    "X[2] @19 -> error: opset 19",
    NULL,
};

const struct op ot_op_Gelu = {
    .name = "Gelu", .since = 20, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,
    .attributes = "approximate:s", .needs = OT_X(0),
    .lanes = ot_unary_lanes, .prepare = prepare, .forward = forward, .backward = backward,
    .cases = cases,
};
