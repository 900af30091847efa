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

/* output: rows layout; target: as ot_loss_target says. gradient: of the mean loss with respect to
 * output, or NULL. A target class out of range is OT_ERROR_NUMERIC and names the sample. Serial and
 * in double: the same bits for any number of threads.
 *   cross entropy (PyTorch's): -sum_c q_c log softmax(x)_c, q = (1-s) onehot + s/C
 *   mse (x-t)^2   l1 |x-t|   huber: quadratic below delta, times 1/delta not applied (PyTorch's)
 *   bce: max(x,0) - x t + log(1 + exp(-|x|)) */
ot_status ot_loss_run(const ot_loss_options *options, const struct tensor *output,
                      const ot_tensor *target, float *gradient, ot_result *result, ot_error *err);

#endif
