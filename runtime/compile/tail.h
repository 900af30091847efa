/* tail.h - the tail of a model's output (logits.h) while a plan is made. */
#ifndef OT_COMPILE_TAIL_H
#define OT_COMPILE_TAIL_H

#include "runtime/compile/plan.h"

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
