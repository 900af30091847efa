/* trained.h - the one rule for what is trained.
 *
 * A constant is judged at every place where a node takes it; it is trained where one of them says
 * so, unless the file says otherwise. docs/configuration.md has the rule in words.
 */
#ifndef OT_MODEL_TRAINED_H
#define OT_MODEL_TRAINED_H

#include "runtime/base/graph.h"

struct op;

/* What places are judged by. The arrays have an element for each value of the graph. */
struct evidence {
    const struct graph *g;
    bool *updated;  /* training_info changes the value */
    bool *scores;   /* the value goes into a Softmax: see mask.h */
    bool *weight;   /* the value is a weight, or a weight is computed from it and constants */
    bool *reaches;  /* a gradient can come from an output of the graph to the value */
    bool *constant; /* the value is constant, or computed from constants alone */
    bool has_notes; /* the file notes which initializers were parameters */
};

ot_status ot_evidence_gather(const struct graph *g, const ot_allocator *allocator,
                             struct evidence *e, ot_error *err);
void ot_evidence_free(const ot_allocator *allocator, struct evidence *e);

/* Does input i of node k take a constant, as `v` moved or as it is, that may be a weight? Those
 * that are not trained are listed too, so that a user may train them all the same. */
bool ot_is_weight_place(const struct evidence *e, int k, int i);
bool ot_is_candidate(const struct evidence *e, int k, int i, int v);

/* Why the constant v is not trained as far as input i of node k goes; OT_TRAINED: it is. */
ot_fixed_reason ot_trained_at(const struct evidence *e, int k, int i, int v);

/* Is no element an infinity or a NaN? */
bool ot_is_finite(const struct tensor *t);

#endif
