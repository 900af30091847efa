/* channel_move.h - some channels of a tensor, listed ascending, gathered into a smaller one, or
 * spread out into a larger one; in rows or in lanes of channels. */
#ifndef OT_OPS_PRODUCT_CHANNEL_MOVE_H
#define OT_OPS_PRODUCT_CHANNEL_MOVE_H

#include "ops/op.h"

struct channel_move {
    const int32_t *channel; /* of `all`, those that the smaller tensor has */
    int64_t kept, all, samples, pixels;
    int lanes; /* 1: rows; or OT_CHANNEL_LANES, which divide kept and all */
};

/* The listed channels of in, which has all. */
void ot_channels_gather(const struct op_node *n, const struct channel_move *m, const float *in,
                        float *out);
/* The other way; fill: what the other channels become (of all channels; NULL: 0). */
void ot_channels_spread(const struct op_node *n, const struct channel_move *m, const float *in,
                        const float *fill, float *out);

#endif
