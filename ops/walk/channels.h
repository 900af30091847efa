/* channels.h - sums over the elements of one channel, for [N, C, ...] in rows or in lanes of
 * samples; in lanes of channels for OT_UNIT channels at once. */
#ifndef OT_OPS_WALK_CHANNELS_H
#define OT_OPS_WALK_CHANNELS_H

#include "ops/kernels/kernels.h"
#include "ops/op.h"

/* In memory x is [outer][channels][inner]. units: each of the `channels` is OT_UNIT of them side by
 * side, and the functions below give one number for each. */
struct channels {
    bool units;
    int64_t channels, outer, inner;
    int64_t spare_block; /* the outer index whose last lanes are spare; -1: none */
    int64_t lanes, used; /* in that block: L, and lanes that are not spare */
    int64_t count;       /* elements of a channel, spare lanes not among them */
};

/* x: [N, C, ...]; in lanes, of lane_rank 1, or lanes of channels. */
void ot_channels_of(const struct tensor *x, struct channels *c);

/* For prepare: x[i] must hold `channels` floats along one dimension, with any number of dimensions
 * of 1 around it; or, where `one` is not NULL, a single float for all channels, which *one then
 * says. */
ot_status ot_channel_vector(const struct op_node *n, int i, int64_t channels, bool *one,
                            ot_error *err);

/* Mean, and sum of (x - mean)^2; zeros where there are no elements. Pieces that fit the cache are
 * taken twice, and their moments put together as Chan, Golub and LeVeque have it ("Updating
 * formulae and a pairwise algorithm for computing sample variances", 1979). */
void ot_channel_moments(const struct kernels *k, const struct channels *c, const float *x,
                        int64_t channel, double *mean, double *square);

/* Sum of g and sum of g * (x - x0), see struct norm_gradient: its pointers are those of whole
 * tensors. */
void ot_channel_sums(const struct kernels *k, const struct channels *c,
                     const struct norm_gradient *a, int64_t channel, double *sum, double *product);

#endif
