/* slots.h - the elements of a dense weight that are not zero, read without the others. */
#ifndef OT_ONNX_SLOTS_H
#define OT_ONNX_SLOTS_H

#include "onnx/model.h"

/* In CSR order of the file's matrix. */
struct slots {
    int64_t rows, cols, n;
    int *row;                 /* rows + 1: the first slot of each */
    struct slot_block *block; /* columns and values */
    uint8_t *negative_zeros;  /* a bit an element, of the graph's arena; NULL: there are none */
};

/* Reads the weight as a matrix of so many rows. */
ot_status ot_slots_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                        int64_t rows, struct slots *s);
void ot_slots_free(struct import *im, struct slots *s);

/* Gives t the pattern of the slots, with `transposed` that of the columns as rows, and values. */
ot_status ot_slots_pattern(struct import *im, const struct slots *s, bool transposed,
                           struct tensor *t);

/* The share of zeros in a sample of the weight. */
ot_status ot_slots_sample(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          double *share);

#endif
