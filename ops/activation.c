/* activation.c - activations of one tensor with at most two parameters: Elu, Selu, Celu (Clevert,
 * Unterthiner, Hochreiter, arXiv 1511.07289; the slope at 0 is alpha), ThresholdedRelu, Softplus,
 * Softsign, Mish (Misra, arXiv 1908.08681), Swish (Ramachandran, Zoph, Le, arXiv 1710.05941),
 * Shrink. Those of exponentials are among the kernels: ops/kernels/function.inc. */
#include <math.h>

#include "ops/kernels/exponential.h"
#include "ops/number.h"
#include "ops/walk/unary.h"

static inline float sigmoid(float x) { return 1 / (1 + ot_exp(-x)); }

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

/* y = x moved by b towards 0 where |x| > a, else 0. */
static inline float shrink_of(float x, struct params p) {
    return x < -p.a ? x + p.b : x > p.a ? x - p.b : 0;
}
static inline float shrink_slope(float x, struct params p) { return fabsf(x) > p.a ? 1 : 0; }
static int64_t shrink_integer(int64_t x, ot_type type, const void *plan) {
    const struct params *p = plan;
    const double real = ot_real(type, x), bias = (double)p->b;
    if (real < -(double)p->a) return bias == 0 ? x : ot_whole(type, real + bias);
    if (real > (double)p->a) return bias == 0 ? x : ot_whole(type, real - bias);
    return 0;
}

/* ---- records ---- */

static ot_status prepare_with(struct op_node *n, const char *a, float default_a, const char *b,
                              float default_b, ot_error *err) {
    struct params *p = ot_op_plan(n);
    p->a = ot_attr_float(n->node, a, default_a);
    p->b = ot_attr_float(n->node, b, default_b);
    return ot_unary_prepare(n, err);
}

static ot_status shrink_prepare(struct op_node *n, ot_error *err) {
    *(struct params *)ot_op_plan(n) =
        (struct params){ot_attr_float(n->node, "lambd", 0.5f), ot_attr_float(n->node, "bias", 0)};
    return ot_unary_prepare_number(n, err);
}

#define PREPARE(name, a, default_a, b, default_b)                                                  \
    static ot_status name##_prepare(struct op_node *n, ot_error *err) {                            \
        return prepare_with(n, a, default_a, b, default_b, err);                                   \
    }
PREPARE(alpha_of_one, "alpha", 1, "", 1)
PREPARE(selu, "alpha", 1.67326319f, "gamma", 1.05070102f)

static const char *const elu_cases[] = {"X[2,3,5] alpha=1.5 lanes -> Y[2,3,5]",
                                        "f{-1,0,1} alpha=2 @6 -> f{-1.2642411,0,1}",
                                        "f{-1,0,-0,1}:x alpha=1.5 -> f{-0.948181,0,0,1} "
                                        "d0=f{0.551819,1.5,1.5,1}",
                                        NULL};
static const char *const selu_cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]", "f{-1,0,1} alpha=2 gamma=3 @6 -> f{-3.7927234,0,3}",
    "f{-1,1} -> f{-1.1113307,1.050701}",
    "f{-1,0,-0,1}:x -> f{-1.1113307,0,0,1.050701} d0=f{0.646769,1.758099,1.758099,1.050701}", NULL};
static const char *const celu_cases[] = {"X[2,3,5] alpha=2 lanes -> Y[2,3,5]",
                                         "f{-1,0,1}:x alpha=2 -> f{-0.7869387,0,1} "
                                         "d0=f{0.606531,1,1}",
                                         NULL};
static const char *const threshold_cases[] = {"X[2,3,5] alpha=0.5 lanes -> Y[2,3,5]",
                                              "f{-1.5,0,1,1.2,2.2,-inf} -> f{0,0,0,1.2,2.2,0}",
                                              "f{0,1,2}:x -> f{0,0,2} d0=f{0,0,1}", NULL};
static const char *const softplus_cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{-1,0,1,100,-100,inf} -> f{0.31326166,0.69314718,1.3132616,100,0,inf}", NULL};
static const char *const softsign_cases[] = {"X[2,3,5] lanes -> Y[2,3,5]",
                                             "f{-1,0,3} @6 -> f{-0.5,0,0.75}", NULL};
static const char *const mish_cases[] = {"X[2,3,5] range=-4,4 lanes -> Y[2,3,5]",
                                         "f{-1,0,1,90,-90} -> f{-0.30340146,0,0.86509839,90,0}",
                                         NULL};
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

OT_UNARY_KERNEL(elu, OT_ELU)
OT_UNARY_KERNEL(celu, OT_CELU)
OT_UNARY_KERNEL(mish, OT_MISH)
OT_UNARY_KERNEL(swish, OT_SWISH)
OT_UNARY_FUNCTION(threshold)
OT_UNARY_FUNCTION(softplus)
OT_UNARY_FUNCTION(softsign)

OT_UNARY_LOOPS(shrink)
static void shrink_forward(struct op_node *n) {
    ot_unary_forward_number(n, shrink_value, shrink_integer);
}
static void shrink_backward(struct op_node *n) { ot_unary_backward(n, shrink_gradient); }

OT_UNARY_OP(Elu, elu, 6, "alpha:f", alpha_of_one_prepare, elu_cases);
OT_UNARY_OP(Selu, elu, 6, "alpha:f gamma:f", selu_prepare, selu_cases);
OT_UNARY_OP(Celu, celu, 12, "alpha:f", alpha_of_one_prepare, celu_cases);
OT_UNARY_OP(ThresholdedRelu, threshold, 10, "alpha:f", alpha_of_one_prepare, threshold_cases);
OT_UNARY_OP(Softplus, softplus, 1, "", ot_unary_prepare, softplus_cases);
OT_UNARY_OP(Softsign, softsign, 1, "", ot_unary_prepare, softsign_cases);
OT_UNARY_OP(Mish, mish, 18, "", ot_unary_prepare, mish_cases);
OT_UNARY_OP(Swish, swish, 24, "alpha:f", alpha_of_one_prepare, swish_cases);
OT_UNARY_OP(Shrink, shrink, 9, "lambd:f bias:f", shrink_prepare, shrink_cases);
