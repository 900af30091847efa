/* layer_growth.h - the part of a change of a mask that adds slots. */
#ifndef OT_TRAIN_LAYER_GROWTH_H
#define OT_TRAIN_LAYER_GROWTH_H

#include "runtime/train/layer_change.h"

/* A weight while its change is staged: lists of the size of its slots. */
struct staged {
    const struct layer_change *c;
    struct pattern *old; /* a dense weight's: all places */
    const float *value;  /* in the order of old's slots */
    float *copy;         /* of the values of a dense weight, in that order */
    float *score;
    bool *keep;
    struct kept kept;
    int n_grown;
    int64_t *grown;
};

static inline ot_status ot_no_memory_for_mask(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a new mask");
}

/* Do all rows that are left get the same number of slots, some of them new? */
static inline bool ot_layer_grows_by_row(const struct layer_change *c) {
    return c->constraint == OT_CONSTRAIN_FAN_IN && c->grow;
}

/* Lists the positions that grow beside the slots that are kept. */
ot_status ot_layer_grow(struct staged *l, const struct model *m, ot_error *err);

/* Keeps and grows so many slots in each row that is left: l->keep changes, too. */
ot_status ot_layer_fill_rows(struct staged *l, const struct model *m, ot_error *err);

/* The values of the slots that have grown. */
ot_status ot_layer_set_newborns(const struct staged *l, struct rewiring *r, ot_error *err);

#endif
