/* tail.h - the end of a model whose output is made of probabilities: the operator that makes them
 * of scores, and what only moves or casts them behind it. */
#ifndef OT_RUNTIME_TAIL_H
#define OT_RUNTIME_TAIL_H

#include "runtime/base/graph.h"

struct plan;

enum { OT_TAIL_NODES = 16 };

struct tail {
    int n; /* nodes, from the output back; the last one is the activation. 0: the
            * output is no Softmax, LogSoftmax or Sigmoid */
    int node[OT_TAIL_NODES];
    bool logarithm; /* one of them is Log */
    bool moves;     /* one of them changes the shape */
    bool drops;     /* one of them is a Dropout that may be active in training */
};

void ot_tail_find(const struct graph *g, int output, struct tail *tail);

/* The operator's name, "Softmax", "LogSoftmax" or "Sigmoid"; "" where there is none. */
const char *ot_tail_activation(const struct graph *g, const struct tail *tail);

/* Whether a loss of this kind is computed from what goes into the activation. */
bool ot_tail_is_skipped(const struct graph *g, const struct tail *tail, ot_loss_kind kind,
                        bool trains);

/* The value that a loss on this output looks at: what goes into a skipped activation, if nothing
 * behind it changes the shape; else the output. */
int ot_loss_value(const struct graph *g, ot_loss_kind kind, int output);

/* Whether a loss of this kind skips the plan's activation. */
bool ot_plan_skips(const struct plan *p, ot_loss_kind kind);

/* While the plan p is lowered, where its tail is skipped: passed[k] tells that node k hands on its
 * input. Nothing is passed where other needed nodes read the probabilities. */
void ot_tail_choose(struct plan *p, const bool *needed, bool *passed);
/* The output's axis along which the activation normalises; 0: there is none, -1: other axes have
 * been mixed with it. */
int ot_tail_axis(const struct plan *p);
/* Whether Softmax k, whose input has been lowered, normalises along one axis alone: those of older
 * opsets take all axes from theirs on for one. */
bool ot_softmax_has_axis(const struct plan *p, int k);

#endif
