/* gate_function.h - the activation functions of recurrent layers, by name (ONNX LSTM-7). */
#ifndef OT_OPS_RECURRENT_GATE_FUNCTION_H
#define OT_OPS_RECURRENT_GATE_FUNCTION_H

#include "ops/kernels/gates.h"
#include "ops/op.h"

/* Reads attributes activations, activation_alpha, activation_beta and clip into f[0..n). names: the
 * functions without such attributes, n of them. */
ot_status ot_gate_functions_read(const struct op_node *n, const char *const *names, int count,
                                 struct gate_function *f, ot_error *err);

#endif
