/* gradient_fault.h - whether a Gradient node says what it means. */
#ifndef OT_MODEL_GRADIENT_FAULT_H
#define OT_MODEL_GRADIENT_FAULT_H

#include "runtime/base/graph.h"

/* What is wrong with a Gradient node: its inputs have to be the values that it names, and `y`,
 * which *y gets, the output of a node. NULL: nothing. */
const char *ot_gradient_fault(const struct graph *g, const struct node *n, int *y);

#endif
