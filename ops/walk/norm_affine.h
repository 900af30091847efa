/* norm_affine.h - scale and bias of a normalization that are broadcast to x: y = z scale + bias,
 * where z is x normalized. In rows. */
#ifndef OT_OPS_WALK_NORM_AFFINE_H
#define OT_OPS_WALK_NORM_AFFINE_H

#include "ops/walk/broadcast.h"

struct norm_affine {
    struct norm_operand {
        struct broadcast whole, split;
        bool full; /* the tensor has the shape of x */
    } operand[2];
    const float *ones; /* in place of the scale, for who makes z */
    int64_t length;    /* elements that share a mean */
};

/* Inputs 1 and 2, if they are there, must be floats whose shapes broadcast to that of x. */
ot_status ot_norm_affine_prepare(struct op_node *n, int64_t length, struct norm_affine *a,
                                 ot_error *err);
/* y = y scale + bias */
void ot_norm_affine_apply(struct op_node *n, const struct norm_affine *a);
/* g = dy scale; dx[1] = sum of dy z, dx[2] = sum of dy, each over what it was broadcast to. means:
 * mean and inverse deviation, side by side. */
void ot_norm_affine_back(struct op_node *n, const struct norm_affine *a, const float *means,
                         float *g);

#endif
