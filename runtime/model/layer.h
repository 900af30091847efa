/* layer.h - weights of products as matrices: what may have a mask, and in which orientation. */
#ifndef OT_MODEL_LAYER_H
#define OT_MODEL_LAYER_H

#include "runtime/model/model.h"

/* A parameter as a matrix with a row for each output, as its pattern has it or would have it. */
struct layer {
    struct parameter *p; /* NULL: the parameter is no weight of a product */
    int64_t file_rows, file_cols;
    bool transposed; /* the file's matrix is [cols][rows] */
    int64_t rows, cols;
    int64_t taps;      /* neighbouring columns of one input channel; 1: it is no convolution */
    bool is_depthwise; /* a convolution with a group for each input channel */
};

/* One for each parameter of the model: weights of Gemm, MatMul, Conv, ConvTranspose, LSTM, GRU and
 * RNN are layers. The list is a block of the model's allocator. */
ot_status ot_layers_find(const struct model *m, struct layer **layer, ot_error *err);

#endif
