/* topology.h - masks that change while training: one update of all layers that take part.
 *
 * An update keeps some slots of each weight and grows as many elsewhere, as the rule says
 * (runtime/topology/). All is computed beside what there is; then values and moments move
 * (rewire.h), which cannot fail half-way.
 */
#ifndef OT_TRAIN_TOPOLOGY_H
#define OT_TRAIN_TOPOLOGY_H

#include "runtime/topology/method.h"
#include "runtime/train/rewire.h"

struct topology {
    bool is_set;
    struct topology_rule rule;
    uint64_t seed;
    int64_t updates;           /* made so far */
    int64_t last;              /* step of the last one; 0: there was none */
    bool *part;                /* of each parameter: does it take part? */
    ot_topology_report report; /* of the last update */
};

/* Will masks change? */
static inline bool ot_topology_changes(const struct topology *t) {
    return t->is_set && t->rule.every > 0;
}

/* Is there an update to make after so many steps of the optimizer? */
static inline bool ot_topology_waits(const struct topology *t, int64_t steps) {
    return t->is_set && t->last != steps && ot_topology_is_due(&t->rule, steps);
}

/* The update after this step. Where it fails, nothing has changed. */
ot_status ot_topology_update(struct topology *t, struct model *m, struct weights **weights,
                             struct state *s, int64_t step, ot_error *err);

#endif
