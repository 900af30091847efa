/* slots.h - the elements of a dense weight that are not zero, read without the others. */
#ifndef OT_ONNX_SLOTS_H
#define OT_ONNX_SLOTS_H

#include "onnx/model.h"

/* The slots of one piece of the file (pieces.h), in its order: element at[i] of the piece has
 * value[i]. */
struct slot_run {
    uint16_t *at;
    float *value;
    int64_t n;
};

/* Slots of a matrix in the order of the file. The part of a row that stands in one piece is a
 * segment: that of row r in run k has number r + k. */
struct slots {
    int64_t rows, cols, n;
    struct slot_run *run;
    int64_t runs, segments;
    int *segment;             /* segments + 1: the first slot of each */
    struct slot_block *block; /* holds the runs */
    uint8_t *negative_zeros; /* one bit for each element, in the graph's arena; NULL: none is set */
};

/* Reads the weight as a matrix of so many rows. */
ot_status ot_slots_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                        int64_t rows, struct slots *s);
/* Gives back the memory of runs before this one, where no other shares it. */
void ot_slots_release(struct import *im, struct slots *s, int64_t run);
void ot_slots_free(struct import *im, struct slots *s);

/* Gives t the pattern of the slots, with `transposed` that of the columns as rows, and values. */
ot_status ot_slots_pattern(struct import *im, struct slots *s, bool transposed, struct tensor *t);

/* The share of zeros in a sample of the weight. */
ot_status ot_slots_sample(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          double *share);

#endif
