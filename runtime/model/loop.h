/* loop.h - Loop and Scan: their form, and what is known of them before data are. */
#ifndef OT_MODEL_LOOP_H
#define OT_MODEL_LOOP_H

#include "runtime/base/graph.h"

/* How the inputs and outputs of a node and of its body belong together. Carried values come first
 * among the outputs; `first_*` are the places of the first one elsewhere. */
struct loop_form {
    bool scan;
    int first_input, first_formal, first_result; /* of carried values, or of what follows them */
    int carried;                                 /* values that an iteration hands to the next */
    int sliced;  /* inputs of a Scan of which each iteration sees a slice */
    int stacked; /* outputs that hold a result of every iteration */
    const int64_t *slice_axis, *slice_reversed, *stack_axis, *stack_reversed; /* NULL: zeros */
};

static inline bool ot_is_loop(const struct node *n) { return n->body != NULL; }

/* Fails where the node is not as the standard has it, or not supported. */
ot_status ot_loop_form(const struct node *n, struct loop_form *form, ot_error *err);

/* Of each value of the graph: may it be known before data are? What depends on shapes and constants
 * alone is; where that is not certain, true. all: g->n_values entries. */
void ot_loop_find_known(const struct graph *g, bool *known);
/* The form, and that nothing but shapes and constants decides how often the loop runs. */
ot_status ot_loop_check(const struct node *n, const bool *known, ot_error *err);

#endif
