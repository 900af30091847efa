/* channels.h - output channels of layers leave a model, with the columns of whoever reads them: its
 * weights become smaller, its nodes stay.
 *
 * A channel that leaves is taken for constant: what its bias alone makes of it. That constant goes
 * into the biases of those that read it (at the borders of padded convolutions, that is a little
 * more than was there).
 */
#ifndef OT_TRAIN_CHANNELS_H
#define OT_TRAIN_CHANNELS_H

#include "runtime/train/sparsity.h"
#include "runtime/model/weights.h"

/* What of a parameter stays; each NULL: all. */
struct shrink {
    bool *row, *col; /* of a layer's matrix, or row: of the elements of a vector */
    float *value;    /* of a vector whose values change */
};

/* A model whose channels are looked at. */
struct channels {
    struct model *m;
    struct layer *layer;   /* of each parameter */
    struct shrink *shrink; /* of each parameter */
    int *uses;             /* of each value, by nodes and as an output of the graph */
};

/* Lets the channels of a layer go that `gone` marks, together with all that belongs to them: marks
 * what stays of each parameter and moves constants. False: something else depends on these
 * channels, *why says what, and nothing has changed. */
bool ot_channels_leave(struct channels *c, const struct layer *l, const bool *gone,
                       const char **why, ot_status *status);

/* Lets the channels go that are worth least; score as in ot_prune_layers. Layers that cannot let
 * any go are logged. All of it, or nothing. */
ot_status ot_channels_prune(struct model *m, struct weights **weights, const struct sparsity *s,
                            const float *score, const struct log *log, ot_error *err);

#endif
