/* logits.h - the value that a loss looks at.
 *
 * Where a model's output is made of probabilities, that is what the operator takes that makes them
 * of scores. It has a tail then: this operator, and what only moves or casts its result.
 */
#ifndef OT_MODEL_LOGITS_H
#define OT_MODEL_LOGITS_H

#include "runtime/base/graph.h"

enum { OT_TAIL_NODES = 16 };

struct tail {
    int n; /* nodes, from the output back; the last one is the activation. 0: the
            * output is no Softmax, LogSoftmax or Sigmoid */
    int node[OT_TAIL_NODES];
    bool logarithm; /* one of them is Log */
    bool moves;     /* one of them changes the shape */
    bool drops;     /* one of them is a Dropout that may be active in training */
};

/* Hands on each element as it is, but for its type. */
bool ot_tail_keeps_place(const struct node *n);

void ot_tail_find(const struct graph *g, int output, struct tail *tail);

/* The operator's name, "Softmax", "LogSoftmax" or "Sigmoid"; "" where there is none. */
const char *ot_tail_activation(const struct graph *g, const struct tail *tail);

/* Whether a loss of this kind is computed from what goes into the activation. */
bool ot_tail_is_skipped(const struct graph *g, const struct tail *tail, ot_loss_kind kind,
                        bool trains);

/* The value that a loss on this output looks at: what goes into a skipped activation, if nothing
 * behind it changes the shape; else the output. */
int ot_loss_value(const struct graph *g, ot_loss_kind kind, int output);

#endif
