/* model.h - what a file is, whoever runs or trains it: its graph, and the table of its parameters.
 */
#ifndef OT_MODEL_MODEL_H
#define OT_MODEL_MODEL_H

#include "runtime/model/parameter.h"

struct model {
    ot_allocator allocator;
    struct graph *graph;
    struct parameter *parameter;
    int n_parameters;
    int *parameter_of; /* value of the graph -> parameter, or -1 */
    size_t floats;     /* size of the block of all values, in floats */
    size_t statistics; /* offset of the running statistics in it: they stand at its end */
    uint64_t patterns; /* how often the pattern of a parameter has changed */
};

/* Parameter k gets another pattern of its shape, whose reference the model takes over. The values
 * are the caller's to move; plans have to follow before they run. */
void ot_model_set_pattern(struct model *m, int k, struct pattern *pattern);

void ot_model_free(struct model *m); /* NULL and half-built are fine */

#endif
