/* activation.c - activations of one tensor with at most two parameters: Elu, Selu, Celu,
 * ThresholdedRelu, Softplus, Softsign, Mish, Swish, Shrink. */
#include <math.h>

#include "ops/kernels/exponential.h"
#include "ops/number.h"
#include "ops/unary.h"

static inline float sigmoid(float x) { return 1 / (1 + ot_exp(-x)); }

/* y = x, below 0 a (exp(x) - 1) (Clevert, Unterthiner, Hochreiter, arXiv 1511.07289). The slope at
 * 0 is a. */
static inline float elu_of(float x, struct params p) {
    return x <= 0 ? p.a * ot_expm1_negative(x) : x;
}
static inline float elu_slope(float x, struct params p) { return x <= 0 ? p.a * ot_exp(x) : 1; }

/* The same times b. */
static inline float selu_of(float x, struct params p) { return p.b * elu_of(x, p); }
static inline float selu_slope(float x, struct params p) { return p.b * elu_slope(x, p); }

/* y = x, below 0 a (exp(x / a) - 1). */
static inline float celu_of(float x, struct params p) {
    return x <= 0 ? p.a * ot_expm1_negative(x / p.a) : x;
}
static inline float celu_slope(float x, struct params p) { return x <= 0 ? ot_exp(x / p.a) : 1; }

/* y = x above a, else 0. */
static inline float threshold_of(float x, struct params p) { return x > p.a ? x : 0; }
static inline float threshold_slope(float x, struct params p) { return x > p.a ? 1 : 0; }

/* y = log(1 + exp(x)), written so that exp does not overflow. */
static inline float softplus_of(float x, struct params p) {
    (void)p;
    return (x > 0 ? x : 0) + log1pf(ot_exp(-fabsf(x)));
}
static inline float softplus_slope(float x, struct params p) {
    (void)p;
    return sigmoid(x);
}

/* y = x / (1 + |x|) */
static inline float softsign_of(float x, struct params p) {
    (void)p;
    return x / (1 + fabsf(x));
}
static inline float softsign_slope(float x, struct params p) {
    const float below = 1 + fabsf(x);
    (void)p;
    return 1 / (below * below);
}

/* y = x tanh(softplus(x)) (Misra, arXiv 1908.08681). With e = exp(x) the tanh is
 * (e^2 + 2 e) / (e^2 + 2 e + 2); it is 1 in float where x > 20, where e^2 would soon overflow. */
static inline float tanh_of_softplus(float x) {
    const float e = ot_exp(x < 20 ? x : 20), square = e * (e + 2);
    return square / (square + 2);
}
static inline float mish_of(float x, struct params p) {
    (void)p;
    return x * tanh_of_softplus(x);
}
static inline float mish_slope(float x, struct params p) {
    const float t = tanh_of_softplus(x);
    (void)p;
    return t + x * (1 - t * t) * sigmoid(x);
}

/* y = x sigmoid(a x) (Ramachandran, Zoph, Le, arXiv 1710.05941). */
static inline float swish_of(float x, struct params p) { return x * sigmoid(p.a * x); }
static inline float swish_slope(float x, struct params p) {
    const float s = sigmoid(p.a * x);
    return s + p.a * x * s * (1 - s);
}

/* y = x moved by b towards 0 where |x| > a, else 0. */
static inline float shrink_of(float x, struct params p) {
    return x < -p.a ? x + p.b : x > p.a ? x - p.b : 0;
}
static inline float shrink_slope(float x, struct params p) { return fabsf(x) > p.a ? 1 : 0; }
static int64_t shrink_integer(int64_t x, ot_type type, const void *state) {
    const struct params *p = state;
    const double real = ot_real(type, x), bias = (double)p->b;
    if (real < -(double)p->a) return bias == 0 ? x : ot_whole(type, real + bias);
    if (real > (double)p->a) return bias == 0 ? x : ot_whole(type, real - bias);
    return 0;
}

/* ---- records ---- */

static ot_status prepare_with(struct op_node *n, const char *a, float default_a, const char *b,
                              float default_b, ot_error *err) {
    struct params *p = n->state;
    p->a = ot_attr_float(n->node, a, default_a);
    p->b = ot_attr_float(n->node, b, default_b);
    return ot_unary_prepare(n, err);
}

static ot_status shrink_prepare(struct op_node *n, ot_error *err) {
    *(struct params *)n->state =
        (struct params){ot_attr_float(n->node, "lambd", 0.5f), ot_attr_float(n->node, "bias", 0)};
    return ot_unary_prepare_number(n, err);
}

#define PREPARE(name, a, default_a, b, default_b)                                 \
    static ot_status name##_prepare(struct op_node *n, ot_error *err) {           \
        return prepare_with(n, a, default_a, b, default_b, err);                  \
    }
PREPARE(alpha_of_one, "alpha", 1, "", 0)
PREPARE(selu, "alpha", 1.67326319f, "gamma", 1.05070102f)

static const char *const elu_cases[] = {"X[2,3,5] alpha=1.5 lanes -> Y[2,3,5]",
                                        "f{-1,0,1} alpha=2 @6 -> f{-1.2642411,0,1}",
                                        "f{-1,0,-0,1}:x alpha=1.5 -> f{-0.948181,0,0,1} "
                                        "d0=f{0.551819,1.5,1.5,1}", NULL};
static const char *const selu_cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]", "f{-1,0,1} alpha=2 gamma=3 @6 -> f{-3.7927234,0,3}",
    "f{-1,1} -> f{-1.1113307,1.050701}",
    "f{-1,0,-0,1}:x -> f{-1.1113307,0,0,1.050701} d0=f{0.646769,1.758099,1.758099,1.050701}", NULL};
static const char *const celu_cases[] = {"X[2,3,5] alpha=2 lanes -> Y[2,3,5]",
                                         "f{-1,0,1}:x alpha=2 -> f{-0.7869387,0,1} "
                                         "d0=f{0.606531,1,1}", NULL};
static const char *const threshold_cases[] = {
    "X[2,3,5] alpha=0.5 lanes -> Y[2,3,5]",
    "f{-1.5,0,1,1.2,2.2,-inf} -> f{0,0,0,1.2,2.2,0}",
    "f{0,1,2}:x -> f{0,0,2} d0=f{0,0,1}", NULL};
static const char *const softplus_cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1,0,1,100,-100,inf} -> f{0.31326166,0.69314718,1.3132616,100,0,inf}", NULL};
static const char *const softsign_cases[] = {"X[2,3,5] lanes -> Y[2,3,5]",
                                             "f{-1,0,3} @6 -> f{-0.5,0,0.75}", NULL};
static const char *const mish_cases[] = {
    "X[2,3,5] range=-4,4 lanes -> Y[2,3,5]",
    "f{-1,0,1,90,-90} -> f{-0.30340146,0,0.86509839,90,0}", NULL};
static const char *const swish_cases[] = {"X[2,3,5] alpha=1.5 lanes -> Y[2,3,5]",
                                          "f{-1,0,1,3} -> f{-0.26894142,0,0.73105858,2.8577224}",
                                          "X[2] @23 -> error: opset 23", NULL};
static const char *const shrink_cases[] = {
    "X[2,3,5] lambd=0.75 bias=0.5 lanes -> Y[2,3,5]",
    "f{-2,-1,0,1,2} lambd=1.5 bias=1.5 -> f{-0.5,0,0,0,0.5}",
    "f{-2,-1,0,1,2} lambd=1.5 -> f{-2,0,0,0,2}",
    "f{-1,-0.5,0,0.5,1}:x bias=0.5 -> f{-0.5,0,0,0,0.5} d0=f{1,0,0,0,1}",
    "f{-1,-0.5,0,0.5,1}:x -> f{-1,0,0,0,1} d0=f{1,0,0,0,1}",
    "i32{7,-4,-2,1,2,5} lambd=1.5 bias=1.5 -> i32{5,-2,0,0,0,3}",
    "u8{7,4,0,2} lambd=1.5 bias=1.5 -> u8{5,2,0,0}",
    NULL};

OT_UNARY_FUNCTION(elu)
OT_UNARY_FUNCTION(selu)
OT_UNARY_FUNCTION(celu)
OT_UNARY_FUNCTION(threshold)
OT_UNARY_FUNCTION(softplus)
OT_UNARY_FUNCTION(softsign)
OT_UNARY_FUNCTION(mish)
OT_UNARY_FUNCTION(swish)

OT_UNARY_LOOPS(shrink)
static void shrink_forward(struct op_node *n) {
    ot_unary_forward_number(n, shrink_value, shrink_integer);
}
static void shrink_backward(struct op_node *n) { ot_unary_backward(n, shrink_gradient); }

OT_UNARY_OP(Elu, elu, 6, "alpha:f", alpha_of_one_prepare, elu_cases);
OT_UNARY_OP(Selu, selu, 6, "alpha:f gamma:f", selu_prepare, selu_cases);
OT_UNARY_OP(Celu, celu, 12, "alpha:f", alpha_of_one_prepare, celu_cases);
OT_UNARY_OP(ThresholdedRelu, threshold, 10, "alpha:f", alpha_of_one_prepare, threshold_cases);
OT_UNARY_OP(Softplus, softplus, 1, "", ot_unary_prepare, softplus_cases);
OT_UNARY_OP(Softsign, softsign, 1, "", ot_unary_prepare, softsign_cases);
OT_UNARY_OP(Mish, mish, 18, "", ot_unary_prepare, mish_cases);
OT_UNARY_OP(Swish, swish, 24, "alpha:f", alpha_of_one_prepare, swish_cases);
OT_UNARY_OP(Shrink, shrink, 9, "lambd:f bias:f", shrink_prepare, shrink_cases);
