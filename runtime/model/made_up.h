/* made_up.h - tells names that an exporter has made up from names that a model's author gave. */
#ifndef OT_MODEL_MADE_UP_H
#define OT_MODEL_MADE_UP_H

#include <stdbool.h>

/* Has an exporter or optimizer made up this name of an initializer? It does so where it computes a
 * constant itself, as by folding nodes. The forms that are known:
 *
 *   "127"                                  numbers alone: the first exporters of PyTorch
 *   "onnx::MatMul_12"                      PyTorch's TorchScript exporter
 *   "/attn/Slice_output_0"                 outputs of nodes: the same, ONNX Runtime, onnxsim
 *   "val_110", "tmp_3", "const_7"          PyTorch's exporter (dynamo=True), onnxscript
 *   "unsqueeze_14", "where", "_to_copy_2"  the same: an operator of PyTorch or ONNX, and a number
 *   "c_lifted_tensor_0", "_tensor_constant0"  the same, tensors that stand in the code
 *   "const_fold_opt__55", "zero__7"        tf2onnx: two underscores and a number
 *   "model/add/y:0", "model/Const_2:0"     TensorFlow: operands of its nodes
 *   "p2o.Reshape.3", "assign_0.tmp_0"      Paddle
 *   "ortshared_1_0_1_0_token_12"           ONNX Runtime
 *   "Constant_5", "Constant318"            several
 *
 * Names of parameters in modules ("encoder.0.bias", "pos_embed", "dense/BiasAdd/ReadVariableOp:0",
 * "conv2d_0.w_0", "Parameter194", "W") have none of these forms. */
bool ot_name_is_made_up(const char *name);

#endif
