/* loss.h - the loss at the end of the forward steps, and its gradient. */
#ifndef OT_RUNTIME_LOSS_H
#define OT_RUNTIME_LOSS_H

#include "runtime/base/tensor.h"

/* "cross_entropy", ... */
const char *ot_loss_name(ot_loss_kind kind);

ot_status ot_loss_check(const ot_loss_options *options, ot_error *err);

/* Shape and type of the target for this output: [N, ...] int64 for cross entropy, the output's
 * own otherwise. Refuses outputs that the loss is not defined for. */
ot_status ot_loss_target(const ot_loss_options *options, const struct tensor *output,
                         struct tensor *target, ot_error *err);

/* How many targets count: what the mean is taken over. A class out of range is OT_ERROR_NUMERIC and
 * names the sample. */
ot_status ot_loss_count(const ot_loss_options *options, const struct tensor *output,
                        const ot_tensor *target, int64_t *count, ot_error *err);

/* output: rows layout; target: as ot_loss_target says, and ot_loss_count has seen it. total: the
 * targets that count in the whole batch, of which this may be a part; loss is its share of the
 * mean, and gradient (NULL: not wanted) that of the mean with respect to output. Serial and in
 * double: the same bits for any number of threads.
 *   cross entropy (PyTorch's): -sum_c q_c log softmax(x)_c, q = (1-s) onehot + s/C
 *   mse (x-t)^2   l1 |x-t|   huber: quadratic below delta, times 1/delta not applied (PyTorch's)
 *   bce: max(x,0) - x t + log(1 + exp(-|x|)) */
void ot_loss_run(const ot_loss_options *options, const struct tensor *output,
                 const ot_tensor *target, int64_t total, float *gradient, ot_result *result);

#endif
