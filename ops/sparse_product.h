/* sparse_product.h - a sparse layer between its prepare (sparse_prepare.c) and its runs (sparse.c).
 *
 * A sub-block is 16 lanes of one block. Nobody else includes this.
 */
#ifndef OT_OPS_SPARSE_PRODUCT_H
#define OT_OPS_SPARSE_PRODUCT_H

#include "ops/sparse.h"
#include "ops/stream.h"

struct sparse_product {
    const struct kernels *kernels;
    struct pool *pool;
    int64_t n;          /* samples */
    int lanes;
    int units;          /* sub-blocks per block that stand side by side in a pixel; 1 if flat */
    int flat_units;     /* flat: units of a pixel, taken as neighbouring pixels; else 1 */
    int64_t blocks;     /* sub-blocks */
    size_t x_block, y_block; /* floats of a block */
    struct stream forward;
    struct stream backward; /* a plane for each residue of the stride */
    int shares;
    size_t packed;      /* floats of scratch of a worker: a packed panel, ... */
    size_t rows;        /* ... and a tile of each row, partial sums or dy */
};

#endif
