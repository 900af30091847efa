/* layer_change.h - one weight gets a new mask: what stays, what grows, the pattern of both. */
#ifndef OT_TRAIN_LAYER_CHANGE_H
#define OT_TRAIN_LAYER_CHANGE_H

#include "runtime/model/layer.h"
#include "runtime/topology/method.h"
#include "runtime/train/rewire.h"

struct layer_change {
    const struct layer *layer; /* with a mask, or dense: then it gets its first one */
    enum ot_drop drop;
    double share; /* OT_DROP_SIGNED: of the slots of each sign, that go */
    int64_t stay; /* otherwise: slots that stay */
    int64_t grow; /* slots that grow, OT_SAME: as many as go */
    enum ot_newborn newborn;
    uint64_t seed, stream; /* of random choices: stream + enum layer_draw */
};
enum { OT_SAME = -1 };

/* What random numbers of one change are drawn for. */
enum layer_draw { OT_DRAW_DROP, OT_DRAW_PLACE, OT_DRAW_VALUE, OT_DRAWS = 4 };

/* How many slots it has, or elements if it is dense. */
int64_t ot_layer_slots(const struct parameter *p);

/* The scores by which slots stay, in the order of slots, and of elements in a dense weight: by its
 * matrix of outputs. score: room for all of them. */
ot_status ot_layer_scores(const struct model *m, const struct layer_change *c, float *score,
                          ot_error *err);

/* Stages the change; ot_rewire makes it. *moved: slots that grew. r->p is set even if it fails. */
ot_status ot_layer_stage(const struct model *m, const struct layer_change *c, struct rewiring *r,
                         int64_t *moved, ot_error *err);

#endif
