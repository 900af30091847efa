/* mlp.h - writes the ONNX model of a multi-layer perceptron whose weights are empty. */
#ifndef OT_ONNX_MLP_H
#define OT_ONNX_MLP_H

#include "runtime/base/arena.h"

/* units: numbers of inputs, hidden units and outputs, n of them. Layers are Gemm nodes with
 * "fcK.weight", a sparse initializer [outputs, inputs] without entries, and "fcK.bias", zeros; a
 * Relu stands between two of them. The model has an input "input" [batch, inputs] and an output
 * "output" [batch, outputs], where batch is free. *bytes is a block of the allocator. */
ot_status ot_mlp_write(const ot_allocator *allocator, const int64_t *units, int n, void **bytes,
                       size_t *size, ot_error *err);

#endif
