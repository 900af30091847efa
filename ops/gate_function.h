/* gate_function.h - the activation functions of recurrent layers, by name (ONNX LSTM-7), and their
 * slopes, told from what they gave: f'(x) as a function of y = f(x).
 */
#ifndef OT_OPS_GATE_FUNCTION_H
#define OT_OPS_GATE_FUNCTION_H

#include "ops/op.h"

enum gate_kind { OT_GATE_SIGMOID, OT_GATE_TANH, OT_GATE_RELU, OT_GATE_AFFINE, OT_GATE_LEAKY_RELU,
                       OT_GATE_THRESHOLDED_RELU, OT_GATE_SCALED_TANH, OT_GATE_HARD_SIGMOID,
                       OT_GATE_ELU, OT_GATE_SOFTSIGN, OT_GATE_SOFTPLUS, OT_GATE_KINDS };

struct gate_function {
    enum gate_kind kind;
    float alpha, beta;
    float clip;      /* x is limited to [-clip, clip] first; INFINITY: it is not */
    float low, high; /* f at these limits */
};

/* Reads attributes activations, activation_alpha, activation_beta and clip into f[0..n). names: the
 * functions without such attributes, n of them. */
ot_status ot_gate_functions_read(const struct op_node *n, const char *const *names, int count,
                              struct gate_function *f, ot_error *err);

/* x = f(x) for count elements. */
void ot_gate_apply(const struct gate_function *f, float *x, int64_t count);
/* d *= f'(x), where y = f(x). */
void ot_gate_slope(const struct gate_function *f, const float *y, float *d, int64_t count);

#endif
