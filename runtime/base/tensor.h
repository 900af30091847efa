/* tensor.h - an array with a shape; dense, or the nonzeros of a pattern; rows or lanes.
 *
 * rows  (lanes == 0): row-major, as ONNX means it.
 * lanes (lanes == L): the first lane_rank dimensions are merged into one axis of n = product
 *       samples (or tokens); S is the product of the others. Element (i, s) stands at
 *       ((i / L) * S + s) * L + i % L. There are ceil(n / L) blocks; spare lanes of the last one
 *       hold zeros in values, and anything in gradients: whoever sums must skip them.
 *       Of an image [N, C, H, W], lane_rank 1 puts samples side by side, lane_rank 2 channels: with
 *       L dividing C it is [N][C / L][H][W][L], which dense convolutions like.
 */
#ifndef OT_BASE_TENSOR_H
#define OT_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/onnxtrain.h"

struct pattern;

enum tensor_role {
    OT_ROLE_ACTIVATION = 0, /* computed in each step; data is NULL until the plan is laid out */
    OT_ROLE_CONST,          /* data never changes: shapes, axes, fixed scalars */
    OT_ROLE_PARAM,          /* a weight or a running statistic: data is there, its values change */
    OT_ROLE_INPUT           /* fed by the caller */
};

struct tensor {
    ot_type type;
    ot_type half; /* OT_FLOAT16 or OT_BFLOAT16 where a float is that in the file, as far as known */
    enum tensor_role role;
    bool derived; /* a CONST that comes from the shape of an activation: it knows the batch */
    int rank;
    int64_t dim[OT_MAX_RANK];
    int lanes;                     /* 0: rows */
    int lane_rank;                 /* leading dimensions merged into the lane axis; 0 in rows */
    const struct pattern *pattern; /* NULL: dense. Else data holds pattern->nnz values */
    void *data;
};

/* What the tensors of a value of this type say of themselves. */
static inline ot_type ot_half_of(ot_type type) {
    return type == OT_FLOAT16 || type == OT_BFLOAT16 ? type : OT_UNDEFINED;
}

size_t ot_type_size(ot_type type);      /* 0 for types without a fixed size */
const char *ot_type_name(ot_type type); /* "float", "int64", ... */

/* Product of dim; the dims have been checked to be >= 0 and the product to fit (ot_shape_count). */
static inline int64_t ot_elements(const struct tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* Values that data holds: nnz with a pattern, spare lanes included. */
int64_t ot_count(const struct tensor *t);
size_t ot_bytes(const struct tensor *t);

/* Product of dim[from..to). */
static inline int64_t ot_dims_product(const struct tensor *t, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= t->dim[i];
    return n;
}

/* Lanes layout: samples, blocks, and elements of one sample. In rows: 0, 1 and all elements. */
static inline int64_t ot_lane_samples(const struct tensor *t) {
    return ot_dims_product(t, 0, t->lane_rank);
}
static inline int64_t ot_lane_blocks(const struct tensor *t) {
    return t->lanes ? (ot_lane_samples(t) + t->lanes - 1) / t->lanes : 1;
}
static inline int64_t ot_sample_elements(const struct tensor *t) {
    return ot_dims_product(t, t->lane_rank, t->rank);
}

/* Overflow-checked product of n dims, each >= 0; false if negative, or more than `most`. */
bool ot_shape_count(const int64_t *dim, int n, int64_t most, int64_t *count);
bool ot_same_shape(const struct tensor *a, const struct tensor *b);

/* "[64,3,224,224]" into buffer. */
const char *ot_shape_text(const struct tensor *t, char *buffer, size_t size);

#endif
