/* topology.h - masks that change while training: one update of all layers that take part.
 *
 * An update keeps some slots of each weight and grows others elsewhere, as the rule says
 * (runtime/topology/). All is computed beside what there is; then values and moments move
 * (rewire.h), which cannot fail half-way.
 */
#ifndef OT_TRAIN_TOPOLOGY_H
#define OT_TRAIN_TOPOLOGY_H

#include "runtime/train/layer_change.h"

/* One weight, as the method sees it. */
struct topology_layer {
    struct layer matrix; /* p NULL: it does not take part */
    int64_t first;       /* slots before the first update, or elements of a dense weight */
    bool competed;       /* slots have been compared with what probes have found */
    int64_t goal; /* slots that a method which prunes leaves; where layers are compared, they only
                   * add up */
};

struct topology {
    bool is_set;
    struct topology_rule rule;
    int last_layer; /* parameter of the layer that makes the output, whose rows are not ablated; -1
                     */
    bool compares;  /* layers with each other, when slots go until a goal is reached */
    uint64_t seed;
    int64_t updates;              /* made so far */
    int64_t last;                 /* step of the last one; 0: there was none */
    struct topology_layer *layer; /* of each parameter */
    ot_topology_report report;    /* of the last update */
    bool probed;                  /* a training step has told gradients outside the masks */
    int64_t probing; /* step whose lists of gradients outside the masks are begun; 0: none */
    int64_t batches; /* that the last optimizer step summed up */
};

/* Will masks change? */
static inline bool ot_topology_changes(const struct topology *t) {
    return t->is_set && t->rule.every > 0;
}

/* Is there an update to make after so many steps of the optimizer? */
static inline bool ot_topology_waits(const struct topology *t, int64_t steps) {
    return t->is_set && ot_topology_is_due(&t->rule, steps, t->last);
}

/* Does the method add up a score of this parameter's weights? */
static inline bool ot_topology_scores(const struct topology *t, int parameter) {
    return t->is_set && t->rule.drop == OT_DROP_MOVEMENT && t->layer[parameter].matrix.p;
}

/* Lists for the gradients of all updates to come; none where growth needs no gradients. */
ot_status ot_topology_make_probes(const struct topology *t, const struct model *m, int workers,
                                  struct probes *probes, ot_error *err);
/* Before the first batch of step number `step`, after which masks change. */
ot_status ot_topology_start_probes(struct topology *t, const struct model *m, int64_t step,
                                   struct probes *probes, ot_error *err);

/* The update after this step. Where it fails, nothing has changed. */
ot_status ot_topology_update(struct topology *t, struct model *m, struct weights **weights,
                             struct state *s, struct probes *probes, int64_t step, ot_error *err);

#endif
