/* loss.h - the loss at the end of the forward steps, and its gradient.
 *
 * loss.c: names, and what a loss asks of output and target; axis.c: which axis the classes
 * have; choice.c: which loss a target asks for; run.c: values and gradients;
 * runtime/api/goal.c: the loss of a session's steps.
 */
#ifndef OT_LOSS_LOSS_H
#define OT_LOSS_LOSS_H

#include "ops/op.h"
#include "runtime/base/tensor.h"

/* "cross_entropy", ... */
const char *ot_loss_name(ot_loss_kind kind);

ot_status ot_loss_check(const ot_loss_options *options, ot_error *err);

/* Whether the loss tells classes apart. */
static inline bool ot_loss_has_classes(ot_loss_kind kind) {
    return kind == OT_LOSS_CROSS_ENTROPY || kind == OT_LOSS_NEXT_TOKEN;
}

/* A loss as it applies to outputs and targets of certain ranks. */
struct loss {
    ot_loss_kind kind; /* never OT_LOSS_AUTO */
    int axis;          /* axis of classes of the output; 0: the loss has no classes */
    int64_t classes;   /* extent of that axis; 0 */
    bool soft;         /* cross entropy: targets are probabilities */
    int64_t ignored;   /* label that does not count */
    double smoothing, delta;
};

/* What targets are held against: a model's output, and what the model says of its classes. */
struct loss_output {
    const struct tensor *t;
    int hint;                /* axis that the classes probably have; 0: unknown */
    bool sigmoid;            /* the output is made by a Sigmoid */
    const ot_tensor *tokens; /* input of integers that next_token takes, or NULL */
};

/* Whether the target's dimensions are those of the output without `axis` (0: with all of them).
 * Dimensions of 1 behind the first do not count; the first has to be equal where `batch`. */
bool ot_loss_fits(const struct tensor *output, int axis, const ot_tensor *target, bool batch);

/* The axis that the options name, counted from the front; 0 where the output has none such. */
int ot_loss_named_axis(const ot_loss_options *options, const struct tensor *output);

/* The axis of classes whose removal leaves the target's shape; 0: there is none. */
int ot_loss_find_axis(const ot_loss_options *options, const struct loss_output *output,
                      const ot_tensor *target);

/* The axis along which a target of the output's shape holds probabilities; 0: there is none. */
int ot_loss_soft_axis(const ot_loss_options *options, const struct loss_output *output,
                      const ot_tensor *target);

/* The kind that a target asks for where the options leave it open, by the rules of ot_choose_loss.
 * target: NULL where there is none. */
ot_status ot_loss_choose(const ot_loss_options *options, const struct loss_output *output,
                         const ot_tensor *target, ot_loss_kind *kind, ot_error *err);

/* The loss of this kind for this output and target; target NULL: for labels, if the kind has
 * classes. batch: the first dimension has to be equal too. Refuses what the loss is not defined
 * for. */
ot_status ot_loss_make(const ot_loss_options *options, ot_loss_kind kind,
                       const struct loss_output *output, const ot_tensor *target, bool batch,
                       struct loss *loss, ot_error *err);

/* Type and shape of the target for an output of this shape: int64 labels, or floats. */
void ot_loss_target(const struct loss *loss, const struct tensor *output, struct tensor *target);

/* How many elements a target has. */
int64_t ot_target_count(const ot_tensor *target);
/* Element i of a target of integers, or of any type. */
int64_t ot_target_integer(const ot_tensor *target, int64_t i);
double ot_target_value(const ot_tensor *target, int64_t i);
static inline bool ot_is_integer(ot_type type) {
    return (type >= OT_UINT8 && type <= OT_INT64) || type == OT_BOOL || type == OT_UINT32;
}

/* One batch, or a part of it. */
struct loss_run {
    const struct loss *loss;
    const struct tensor *output;    /* rows layout */
    const ot_tensor *target, *mask; /* mask: of next_token; NULL: none */
    int64_t total; /* targets that count in the whole batch: the mean is over them */
};

/* How many targets count: what the mean is taken over. A class out of range is OT_ERROR_NUMERIC and
 * names the sample. */
ot_status ot_loss_count(const struct loss_run *run, int64_t *count, ot_error *err);

/* For a target that ot_loss_count has seen. The loss is the part's share of the mean, and gradient
 * (NULL: not wanted) that of the mean with respect to output. Work is cut by shape, and sums are
 * in double and in one order: the same bits for any number of threads.
 *   cross entropy (PyTorch's): -sum_c q_c log softmax(x)_c, q = (1-s) p + s/C, p the target's
 *     probabilities, which are onehot for labels
 *   mse (x-t)^2   l1 |x-t|   huber: quadratic below delta, times 1/delta not applied (PyTorch's)
 *   bce: max(x,0) - x t + log(1 + exp(-|x|)) */
void ot_loss_run(const struct loss_run *run, float *gradient, struct pool *pool,
                 const struct kernels *kernels, ot_result *result);

#endif
