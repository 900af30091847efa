/* method.h - the methods of topology.def, and the rule that options make of one: when masks change,
 * how many weights move, which go and where they grow. */
#ifndef OT_TOPOLOGY_METHOD_H
#define OT_TOPOLOGY_METHOD_H

#include "runtime/topology/keep.h"

enum ot_grow {
    OT_GROW_NONE = 0,
    OT_GROW_RANDOM,
    OT_GROW_GRADIENT, /* the largest gradients of all positions */
    OT_GROW_SAMPLED   /* the largest of random positions */
};
/* How many slots move at an update, as a function of the step. */
enum ot_count {
    OT_COUNT_NEVER = 0,
    OT_COUNT_CONSTANT,
    OT_COUNT_COSINE,
    OT_COUNT_CUBIC /* slots go until a goal is reached */
};
/* The value of a slot that has grown. */
enum ot_newborn {
    OT_NEWBORN_ZERO = 0,
    OT_NEWBORN_HE,     /* normal, variance 2 / slots of the row */
    OT_NEWBORN_UNIFORM /* uniform in +-sqrt(6 / columns) */
};

struct method {
    const char *name;
    enum ot_drop drop;
    enum ot_grow grow;
    ot_constraint_kind constraint;
    enum ot_count count;
    enum ot_newborn newborn;
    bool output; /* the last layer takes part */
    int every;   /* usual steps between updates; 0: an epoch; < 0: that part of start to end */
    double start, end; /* usual shares of a run between which masks change */
    const char *source, *help;
};

/* The i-th line of the table; NULL behind the last. */
const struct method *ot_method_at(int i);

/* Steps are counted from 1, as the optimizer makes them. */
struct topology_rule {
    const struct method *method;
    enum ot_drop drop;
    enum ot_grow grow;
    enum ot_newborn newborn;
    ot_constraint_kind constraint; /* of the method, or of the host where slots go for good */
    int group[2];                  /* of the constraint */
    double drop_fraction;
    int candidates;  /* OT_GROW_SAMPLED: for each slot that moves */
    double ablation; /* OT_CONSTRAIN_FAN_IN: as fan_in.h has it */
    bool revive;
    int64_t every, start,
        end; /* updates after steps k * every in [start, end); to a goal, at end, too */
};

/* OT_ERROR_ARGUMENT names the option that is unknown, out of range, or contradicts another. */
ot_status ot_topology_read(const ot_topology_options *o, struct topology_rule *rule, ot_error *err);

/* Do slots go until a goal is reached? */
static inline bool ot_topology_prunes(const struct topology_rule *r) {
    return r->method->count == OT_COUNT_CUBIC;
}
/* Do masks change after this step, where they did so last after step `last`? A goal is reached at
 * the end, or as soon after as possible. */
static inline bool ot_topology_is_due(const struct topology_rule *r, int64_t step, int64_t last) {
    if (r->every < 1 || step == last || step < r->start) return false;
    if (step >= r->end) return ot_topology_prunes(r) && last < r->end;
    return step % r->every == 0;
}
/* Does growth need gradients outside the masks? */
static inline bool ot_topology_probes(const struct topology_rule *r) {
    return r->every > 0 && r->grow >= OT_GROW_GRADIENT;
}
/* The share of slots that go at that update, and as many grow. */
double ot_topology_share(const struct topology_rule *r, int64_t step);
/* Where a goal is to be reached: the share of the slots beyond it that is left after the update. */
double ot_topology_left(const struct topology_rule *r, int64_t step);

/* Names of criteria and values, as options and help have them. */
const char *ot_drop_name(enum ot_drop drop);
const char *ot_grow_name(enum ot_grow grow);
const char *ot_newborn_name(enum ot_newborn newborn);

#endif
