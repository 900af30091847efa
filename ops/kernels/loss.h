/* loss.h - what kernels of cross entropy work on. */
#ifndef OT_OPS_KERNELS_LOSS_H
#define OT_OPS_KERNELS_LOSS_H

#include <stdint.h>

/* Positions of a classification side by side: position j has x[k * stride + j] for class k. */
enum { OT_LOSS_STRIP = 64 };
struct loss_strip {
    int64_t classes, stride, columns; /* columns <= OT_LOSS_STRIP; stride 1: one column */
    const float *x, *t;               /* t: probabilities of classes; NULL: of none */
    float *g;
    double *log_sum; /* of each column: log of the sum of exp(x) */
    int32_t *best;   /* of each column: the first class with the largest x */
    const double *total;
    double share, rest, scale;
};

#endif
