/* probe.h - the weight gradient of a product at positions that its weight has no slots for.
 *
 * Either at all positions of the weight's matrix, a strip of rows at a time, or at the slots of a
 * pattern that is given. Nothing of the size of the matrix is made. ops/op.h has the calls.
 */
#ifndef OT_OPS_PRODUCT_PROBE_H
#define OT_OPS_PRODUCT_PROBE_H

#include "ops/product/sparse.h"

/* A tensor in lanes of channels, which is copied into rows first. */
struct probe_copy {
    int64_t channels, pixels;
    size_t at; /* where the copy stands in scratch, in floats */
};

struct probe {
    struct conv_shape shape; /* of the whole product */
    bool swapped;            /* the product reads dy, and x is the gradient of what it makes */
    int lanes;               /* of samples; 0: the product reads rows */
    int rows, cols;          /* of a strip; of a linear layer: of a tile of it */
    size_t channel, row;     /* floats from input channel to input channel, and from row to row of
                              * the gradient that comes in */
    const struct sparse_product *product; /* of a strip, or of given patterns; NULL: a linear
                                           * layer's tiles are dense products */
    bool given;                           /* the patterns are given */
    size_t gradient;                      /* where gradients stand in scratch, in floats */
    bool copies;
    struct probe_copy x, dy;
};

#endif
