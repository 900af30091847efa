/* layer_change.h - one weight gets a new mask: what stays, what grows, the pattern of both. */
#ifndef OT_TRAIN_LAYER_CHANGE_H
#define OT_TRAIN_LAYER_CHANGE_H

#include "runtime/model/layer.h"
#include "runtime/topology/method.h"
#include "runtime/train/probes.h"
#include "runtime/train/rewire.h"

struct layer_change {
    const struct layer *layer; /* with a mask, or dense: then it gets its first one */
    enum ot_drop drop;
    double share; /* OT_DROP_SIGNED: of the slots of each sign, that go */
    int64_t stay; /* otherwise: slots that stay, if there are so many */
    /* Of slots that stay. A constant fan-in leaves stay / rows in each row, N:M group[0] of
     * group[1] whatever stay is, blocks as many as stay has room for. */
    ot_constraint_kind constraint;
    int group[2];
    const float *worth; /* OT_DROP_TAYLOR: scores of slots, and of elements in a dense weight */
    int64_t grow;       /* slots that grow, OT_SAME: as many as go */
    enum ot_newborn newborn;
    uint64_t seed, stream; /* of random choices: stream + enum layer_draw */
    /* Growth by gradient: what probes have found, and what the gradients of slots are multiplied
     * with to be compared with it. */
    struct probe_lists *probes;
    float scale;
    bool *competed; /* slots have been compared with the lists: set when that is done */
    /* A constant fan-in where slots grow, too; then `stay` counts slots before rows are cut. */
    bool revive;
    double ablation;
    int64_t budget;
};
enum { OT_SAME = -1 };

/* What random numbers of one change are drawn for. */
enum layer_draw { OT_DRAW_DROP, OT_DRAW_PLACE, OT_DRAW_VALUE, OT_DRAWS = 4 };

/* How many slots it has, or elements if it is dense. */
int64_t ot_layer_slots(const struct parameter *p);

/* Layers are compared with each other: what stays of each is what it has among the `stay` best of
 * all, if there are so many. Entries of the list without a layer do not count. */
ot_status ot_layers_share(const struct model *m, struct layer_change *c, int n, int64_t stay,
                          ot_error *err);

/* Does the weight stay as it is, whatever its scores? */
bool ot_layer_stays(const struct layer_change *c);

/* Stages the change; ot_rewire makes it. *moved: slots that were not
 * there before. r->p is set even if it fails. */
ot_status ot_layer_stage(const struct model *m, const struct layer_change *c, struct rewiring *r,
                         int64_t *moved, ot_error *err);

#endif
