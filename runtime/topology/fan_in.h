/* fan_in.h - masks whose rows all have the same number of slots, or none: one update of SRigL
 * (Lasby et al., arXiv 2305.02299, section 3).
 *
 * Rows with few slots worth having are ablated: they lose all of theirs, and the others get more,
 * so that the layer keeps its number of slots. A slot is worth having if it is among those that
 * stay by their score, or among the positions with the largest gradients. Of positions outside the
 * mask only the best of each row are known: so many rows stay that none needs more than these.
 */
#ifndef OT_TOPOLOGY_FAN_IN_H
#define OT_TOPOLOGY_FAN_IN_H

#include "runtime/topology/best.h"

struct fan_in_update {
    const struct pattern *old;
    const float *score;    /* of each slot: the best stay */
    const float *gradient; /* of each slot; NULL: zeros */
    const struct best
        *whole; /* finished: the largest gradients of all positions, slots among them */
    const struct best *rows; /* largest gradients of each row outside the mask */
    int stay;                /* slots that stay by their score */
    int64_t budget;          /* slots of the layer */
    double ablation; /* a row needs this share of its mean slots that are worth having; from 1
                      * on: so many; 0: no row is ablated */
    bool revive;     /* a row without slots may get some */
};

/* Marks slots that stay, and lists positions that grow, ascending: at most budget of both together.
 * A slot that goes may be among them. keep: one for each slot; grown: room for budget positions. */
ot_status ot_fan_in_change(const struct fan_in_update *u, bool *keep, int64_t *grown, int *n_grown,
                           ot_error *err);

#endif
