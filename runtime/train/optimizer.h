/* optimizer.h - updates of values, with moments of nnz size; learning rate schedules.
 *
 * SGD (PyTorch's form):  g += wd w;  v = mu v + (1 - dampening) g (the first time: mu v + g);
 *                        g = nesterov ? g + mu v : v;  w -= lr g
 * Adam (Kingma and Ba, arXiv 1412.6980): g += wd w; m, v moving averages; bias-corrected;
 *                        w -= lr mhat / (sqrt(vhat) + eps)
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101): w -= lr wd w first, g as it is.
 * Adagrad (PyTorch's and ONNX's form): g += wd w; h += g g;
 *     w -= lr / (1 + t lr_decay) g / (sqrt(h) + eps)
 * Adam of ONNX: g += wd w; m, v as Adam's; t = 0, 1, ... steps before this one;
 *     r = lr sqrt(1 - beta2^t) / (1 - beta1^t), lr for t = 0;
 *     w = (1 - post_decay) (w - r m / (sqrt(v) + eps))
 */
#ifndef OT_TRAIN_OPTIMIZER_H
#define OT_TRAIN_OPTIMIZER_H

#include "runtime/base/pool.h"
#include "runtime/model/parameter.h"

struct optimizer {
    ot_optimizer_options options; /* exact */
    bool is_set;
    int64_t steps; /* taken so far, those before it was made not counted */
    float bound;   /* of all trained weights and their moments, as absolute values; 0: unknown,
                    * since others than the optimizer have written them */
};

/* What ot_optimizer_defaults writes, but for the size. */
ot_optimizer_options ot_optimizer_usual(ot_optimizer_kind kind);

ot_status ot_optimizer_check(const ot_optimizer_options *given, ot_optimizer_options *filled,
                             ot_error *err);
/* How many moments it keeps: 0 (plain SGD), 1 or 2. */
int ot_optimizer_moments(const ot_optimizer_options *o);

/* Learning rate of step number `step` (from 0). */
double ot_schedule_lr(const ot_optimizer_options *o, int64_t step);

/* One step for all trainable parameters with gradients scaled by `scale`; then gradients are zero.
 * norm gets the global L2 norm of the scaled gradients before clipping. Where a gradient or what
 * the step would write is out of range, it is OT_ERROR_NUMERIC, and nothing has changed. */
ot_status ot_optimizer_run(struct optimizer *o, struct parameter *parameter, int n, double scale,
                           struct pool *pool, double *norm, ot_error *err);

#endif
