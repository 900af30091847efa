/* onnxtrain.h - train ONNX models whose weights are sparse; the one public header of libonnxtrain.
 *
 * A session owns one model and everything made from it. There is no global state: sessions are
 * independent, and one session is used by one thread at a time. The library never exits, aborts,
 * prints, installs signal handlers or reads the environment. A process may end by exit() or by
 * returning from main while other threads are inside calls: calls on models with dense layers then
 * fail with OT_ERROR_STATE. (A handler of atexit does this; sessions share nothing else.)
 *
 * Every function that can fail returns an ot_status and takes an ot_error last (NULL is allowed).
 * On failure the message names the object at fault, and the session is as it was before the call.
 * Tensors that are passed in or returned are views: ownership of the data does not change.
 *
 * Compiles as C99 and as C++.
 */
#ifndef ONNXTRAIN_H
#define ONNXTRAIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OT_API __attribute__((visibility("default")))
#else
#define OT_API
#endif

#define OT_VERSION_MAJOR 0
#define OT_VERSION_MINOR 2
#define OT_VERSION_PATCH 0

/* ---- errors ---- */

typedef enum ot_status {
    OT_OK = 0,
    OT_ERROR_ARGUMENT,    /* the call is wrong: NULL, unknown name, option or index out of range */
    OT_ERROR_PARSE,       /* the file is not a well-formed ONNX file */
    OT_ERROR_LIMIT,       /* a size limit or the memory limit is exceeded */
    OT_ERROR_INVALID,     /* the file breaks the ONNX specification */
    OT_ERROR_UNSUPPORTED, /* valid ONNX that this library does not run or train */
    OT_ERROR_PATH,        /* the file refers to a path outside its folder */
    OT_ERROR_IO,          /* a file cannot be read or written */
    OT_ERROR_NO_MEMORY,   /* an allocation failed */
    OT_ERROR_NUMERIC,     /* a value is not finite or out of range */
    OT_ERROR_STATE        /* the call does not fit the session's state */
} ot_status;

typedef struct ot_error {
    ot_status status;
    char message[508]; /* NUL-terminated; bytes that came from files are escaped */
} ot_error;

/* ---- tensors ---- */

/* Element types carry the numbers of ONNX's TensorProto.DataType. */
typedef enum ot_type {
    OT_UNDEFINED = 0,
    OT_FLOAT = 1,
    OT_UINT8 = 2,
    OT_INT8 = 3,
    OT_UINT16 = 4,
    OT_INT16 = 5,
    OT_INT32 = 6,
    OT_INT64 = 7,
    OT_STRING = 8,
    OT_BOOL = 9,
    OT_FLOAT16 = 10,
    OT_DOUBLE = 11,
    OT_UINT32 = 12,
    OT_UINT64 = 13,
    OT_BFLOAT16 = 16
} ot_type;

#define OT_MAX_RANK 16

/* A view of row-major data. Floating-point inputs and outputs are OT_FLOAT. */
typedef struct ot_tensor {
    ot_type type;
    int rank;
    int64_t dim[OT_MAX_RANK];
    const void *data; /* owned by whoever made the view */
} ot_tensor;

/* ---- options of a session; zero is the default everywhere ---- */

/* Structs of options begin with their size: the host writes sizeof, or 0 for the size that the
 * struct has in version 0.2.0. So a host that was compiled with an older header runs with a newer
 * library: members that its struct does not have are zero. A newer host runs with an older library
 * as long as the members that the library does not know are zero; otherwise the call fails with
 * OT_ERROR_ARGUMENT. docs/abi.md says what else is stable. */

/* alloc returns `size` bytes aligned to `align` (a power of two, at most 4096) or NULL. */
typedef struct ot_allocator {
    void *(*alloc)(void *context, size_t size, size_t align);
    void (*free)(void *context, void *pointer);
    void *context;
} ot_allocator;

typedef enum ot_log_level { OT_LOG_WARNING = 0, OT_LOG_INFO = 1 } ot_log_level;
typedef void ot_log_fn(void *context, ot_log_level level, const char *line);

/* Runs task(arg, i, worker) for every i in [0, tasks), in any order, on any threads, and returns
 * when all are done. Two calls that run at the same time have different `worker`s in
 * [0, workers). */
typedef void ot_task_fn(void *arg, int task, int worker);
typedef void ot_parallel_for_fn(void *context, int tasks, ot_task_fn *task, void *arg);

typedef enum ot_sparse_mode {
    OT_SPARSE_AUTO = 0, /* the form that is predicted to be the fastest, for each layer */
    OT_SPARSE_ALWAYS,   /* sparse kernels for every pruned weight */
    OT_SPARSE_NEVER,    /* dense kernels; pruned weights still stay zero */
    OT_SPARSE_LIVE      /* dense kernels on the rows and channels that have a nonzero */
} ot_sparse_mode;

typedef enum ot_bn_mode {
    OT_BN_AUTO = 0, /* as each BatchNormalization node says */
    OT_BN_FROZEN,   /* running statistics; scale and bias are not trained */
    OT_BN_TRAIN,    /* batch statistics, running statistics are updated */
    OT_BN_AFFINE    /* running statistics; scale and bias are trained */
} ot_bn_mode;

/* A file that needs more than one of these limits is refused with OT_ERROR_LIMIT. Zero stands for
 * the default. */
typedef struct ot_limits {
    uint64_t file_bytes;      /* 2 GiB - 1, which is also the maximum */
    uint64_t nodes;           /* 1,000,000: also bounds initializers, and nodes after inlining */
    uint64_t tensor_elements; /* 2^40; of a sparse tensor: its values, not its zeros */
    uint64_t memory_bytes;    /* of model, training state and plans together (ot_prepare), and of
                               * opening a file; default: physical memory. oneDNN allocates more by
                               * malloc: about 0.2 MB per dense convolution in ot_prepare, 0.4 MB of
                               * code in the first step, and 32 KiB while a dense step runs */
} ot_limits;

typedef struct ot_options {
    size_t size;     /* sizeof(ot_options), or 0 */
    int threads;     /* 0: one per CPU that the process may use. After a call they
                      * wait 0.2 ms for the next one, then sleep */
    const char *isa; /* NULL: the best available; "generic", "avx2", "avx512" */
    ot_sparse_mode sparse;
    ot_bn_mode bn;
    uint64_t seed;       /* of dropout and of new last layers */
    int allow_nonfinite; /* 1: ot_run, ot_forward and ot_eval_step may return
                          * infinities and NaN; 0: they fail with OT_ERROR_NUMERIC,
                          * and the message names the first node with such a value */
    int training_info;   /* 1: read it, see ot_get_training_info; 0: leave it unread */
    const char *mask;    /* globs of weights, separated by commas, all of whose zeros
                          * are pruned; !glob: whose zeros are values. The last glob
                          * that matches counts. NULL: see ot_structure. Only ot_open
                          * reads the string */
    float mask_share;    /* share of zeros, in (0, 1], from which on they are pruned;
                          * 0: 0.1, and 0.4 for weights stored as integers */
    ot_limits limits;
    ot_allocator allocator; /* all NULL: the C library's */
    ot_log_fn *log;         /* NULL: no log. Every problem of a model is one line */
    void *log_context;
    int plans;                        /* number of plans that are kept for other kinds of steps and
                                       * input shapes, as far as limits.memory_bytes allows; 0: 16
                                       */
    ot_parallel_for_fn *parallel_for; /* NULL: the session's own threads. ot_open and ot_prepare
                                       * call it too */
    void *parallel_context;
    const char *fix;        /* "NAME=VALUE,NAME=VALUE": these inputs become constants of
                             * their declared type and shape with all elements VALUE;
                             * they are not inputs of the session. Nodes that depend only
                             * on them, such as an If, are decided when the model is
                             * opened. Exported files have the input. OT_ERROR_ARGUMENT
                             * if a name is unknown, a dimension free, or VALUE not of
                             * the type. NULL: none */
    int apart;              /* 1: each node runs by itself; 0: nodes that form attention,
                             * a normalization or an activation run as one operator, and
                             * neighbours in one pass. Results differ in rounding */
    int parallel_workers;   /* number of workers of parallel_for */
    const char *activation; /* "all-relu:A": hidden Relus of the graph, in its order, become
                             * LeakyRelu with slopes -A, +A, -A, ...; also in what is exported. A
                             * Relu is hidden if it makes no output of the model. NULL: none */
} ot_options;

typedef struct ot_session ot_session;

OT_API const char *ot_version(void);
OT_API const char *ot_status_name(ot_status status);

/* Name of the i-th instruction set that this machine runs, best first; NULL after the last. */
OT_API const char *ot_isa_name(int i);

/* The oneDNN version in use, as "2.6.3". */
OT_API const char *ot_dnnl_version(void);

/* An operator of ONNX. */
typedef struct ot_operator_info {
    const char *name;
    const char *domain; /* "" for the default one */
    int opset;          /* the first that is supported */
    int has_gradient;
    int is_folded;      /* computed from shapes when a step is planned */
    int takes_sparse;   /* kernels compute only with the nonzeros of a weight */
    int runs_in_lanes;  /* in the layout of sparse kernels */
    const char *limits; /* what is supported of the standard, if not all; or "" */
} ot_operator_info;

/* The operators that models may use, in no particular order. */
OT_API int ot_operator_count(void);
OT_API ot_status ot_get_operator(int i, ot_operator_info *info, ot_error *err);

/* ---- open, look, close ---- */

/* Reads an ONNX file. External data are read only from beneath the file's folder. If nodes are not
 * supported, all of them are logged, and the result is OT_ERROR_UNSUPPORTED. */
OT_API ot_status ot_open(const char *path, const ot_options *options, ot_session **session,
                         ot_error *err);

/* Reads a model from memory; the bytes may be freed afterwards. External data are refused. */
OT_API ot_status ot_open_buffer(const void *bytes, size_t size, const ot_options *options,
                                ot_session **session, ot_error *err);

OT_API void ot_close(ot_session *session); /* NULL is allowed */

typedef struct ot_model_info {
    int64_t ir_version;
    int64_t opset;        /* of the default domain */
    const char *producer; /* "" where the file names none */
    int64_t nodes;        /* of the file, before inlining and folding */
    int training_info;    /* entries of the file's training_info */
    int64_t parameters;   /* elements of all weights */
    int64_t nonzeros;     /* elements that are not pruned */
    uint8_t hash[32];     /* SHA-256 of the file */
} ot_model_info;

OT_API void ot_get_model_info(const ot_session *session, ot_model_info *info);

/* An input or output of the model. Free dimensions are -1. */
typedef struct ot_value_info {
    const char *name; /* lives as long as the session */
    ot_type type;
    int rank; /* -1: unknown */
    int64_t dim[OT_MAX_RANK];
} ot_value_info;

OT_API int ot_input_count(const ot_session *session);
OT_API int ot_output_count(const ot_session *session);
OT_API ot_status ot_get_input(const ot_session *session, int i, ot_value_info *info, ot_error *err);
OT_API ot_status ot_get_output(const ot_session *session, int i, ot_value_info *info,
                               ot_error *err);

/* A node of the graph in which local functions are inlined and Constant nodes are values. */
typedef struct ot_node_info {
    const char *name; /* or "". All strings live as long as the session */
    const char *op, *domain;
    int opset;
} ot_node_info;

OT_API int ot_node_count(const ot_session *session);
OT_API ot_status ot_get_node(const ot_session *session, int i, ot_node_info *info, ot_error *err);

/* Why a weight is not trained. docs/configuration.md has the rules, under "What is trained". */
typedef enum ot_fixed_reason {
    OT_TRAINED = 0,
    OT_FIXED_STATISTIC, /* running mean or variance: updated by training steps, not the optimizer */
    OT_FIXED_MASK,      /* selects elements of a weight, or scores of attention */
    OT_FIXED_CONSTANT,  /* a constant of a formula, or a tensor that holds an infinity or a NaN */
    OT_FIXED_TABLE,     /* numbers that an exporter has computed, such as sines of positions */
    OT_FIXED_FROZEN     /* by ot_set_trainable, or because training_info does not update it */
} ot_fixed_reason;

/* "trained", "statistic", "mask", "constant", "table", "frozen". */
OT_API const char *ot_fixed_reason_name(ot_fixed_reason reason);

/* Why zeros of a weight are pruned, and so stay zero. All other zeros are values, which are
 * trained. In weights with fewer than two dimensions, and in operands of element-wise operators,
 * zeros are always values. */
typedef enum ot_structure {
    OT_STRUCTURE_NONE = 0, /* no zero is pruned */
    OT_STRUCTURE_ZEROS,    /* the share of zeros is at least ot_options.mask_share, and below 1 */
    OT_STRUCTURE_SPARSE,   /* the file stores the weight as a sparse tensor */
    OT_STRUCTURE_MASK,     /* the graph multiplies it by a mask of zeros and ones */
    OT_STRUCTURE_OPTION,   /* ot_options.mask matches its name */
    OT_STRUCTURE_TOPOLOGY  /* the session made the mask, or has changed it */
} ot_structure;

/* "none", "zeros", "sparse", "mask", "option", "topology". */
OT_API const char *ot_structure_name(ot_structure structure);

/* A weight of the model: floats, or integers that a DequantizeLinear turns into floats. Integer
 * weights are floats here; they are rounded in each step and when they are written. */
typedef struct ot_parameter_info {
    const char *name;
    const char *op;    /* operator that uses it first, as "Conv" */
    ot_type file_type; /* type in the file; computation is always OT_FLOAT */
    int rank;
    int64_t dim[OT_MAX_RANK];
    int64_t elements; /* product of dim */
    int64_t nonzeros; /* slots of the pattern; = elements if there is no pattern */
    int has_pattern;  /* 1: elements without a slot are pruned and stay zero */
    int is_sparse;    /* 1: sparse kernels compute with it */
    int is_trainable;
    ot_fixed_reason fixed;  /* why it is not trained, or OT_TRAINED */
    uint64_t mask_hash;     /* hash of the shape and the positions of the slots */
    ot_structure structure; /* where the pattern comes from */
    const char *mask;       /* OT_STRUCTURE_MASK: name of the (first) mask; else NULL */
    int64_t zeros;          /* elements of the file that are zero but not pruned, in a weight that
                             * may have pruned zeros */
} ot_parameter_info;

OT_API int ot_parameter_count(const ot_session *session);
OT_API ot_status ot_get_parameter(const ot_session *session, int i, ot_parameter_info *info,
                                  ot_error *err);

/* Copies a weight to or from `values`: info.elements floats, dense and row-major in the shape of
 * the file. A pruned weight cannot be set to a nonzero value (OT_ERROR_ARGUMENT); a trained weight
 * or a statistic cannot be set to a value that is not finite (OT_ERROR_NUMERIC). */
OT_API ot_status ot_read_parameter(const ot_session *session, int i, float *values, ot_error *err);
OT_API ot_status ot_write_parameter(ot_session *session, int i, const float *values, ot_error *err);

/* The gradient that training steps have accumulated since the last optimizer step, dense as above,
 * zero where the weight is pruned. It is the sum over all targets, divided by the number of targets
 * of the first batch: for batches of equal size, the sum of the gradients of their losses. Ignored
 * targets are not counted. */
OT_API ot_status ot_get_gradient(const ot_session *session, int i, float *values, ot_error *err);

/* ---- configure training ---- */

/* C classes, N samples, T tokens. Cross entropy and BCE take logits, as PyTorch's CrossEntropyLoss
 * and BCEWithLogitsLoss do. If the output is a Softmax (cross entropy, next_token) or a Sigmoid
 * (BCE), the loss is computed from its input, also if Identity, Cast, Reshape, Transpose, Squeeze,
 * Unsqueeze, Flatten or an inactive Dropout follows, or a Log follows a Softmax. */
typedef enum ot_loss_kind {
    OT_LOSS_AUTO = 0,      /* chosen by the target, see ot_choose_loss */
    OT_LOSS_CROSS_ENTROPY, /* target: labels, integers with the output's shape without its axis
                            * of classes; or probabilities, floats with the output's shape */
    OT_LOSS_MSE,           /* target of this loss and of the next three: the output's shape */
    OT_LOSS_L1,
    OT_LOSS_HUBER,
    OT_LOSS_BCE,       /* target: from 0 to 1 */
    OT_LOSS_NEXT_TOKEN /* cross entropy of a language model with output [N, T, C]. The label of
                        * position t is token t + 1; the last position has none. The tokens are the
                        * first input of integers [N, T] whose name does not contain "mask". If an
                        * input [N, T] whose name contains "mask" is 0 at t or t + 1, position t is
                        * ignored. target: NULL, or labels [N, T] that replace the tokens and are
                        * shifted in the same way */
} ot_loss_kind;

/* A target's shape may lack dimensions of size 1 after the first, or have more of them. */
typedef struct ot_loss_options {
    size_t size; /* sizeof(ot_loss_options), or 0 */
    ot_loss_kind kind;
    float label_smoothing; /* cross entropy, next_token: PyTorch's label_smoothing, in [0, 1) */
    int64_t ignore_index;  /* cross entropy, next_token: this label is ignored if
                            * use_ignore_index is 1 */
    int use_ignore_index;  /* 0: the label -100 is ignored, as in PyTorch */
    float huber_delta;     /* 0: 1 */
    int class_axis;        /* cross entropy, next_token: axis of the output that holds the
                            * classes, negative from the end. 0: the last or the second one,
                            * whichever leaves the target's shape. If both do: the axis of the
                            * model's Softmax, or that of an earlier step, or the last */
    const char *output;    /* name of the model's output that the loss reads; NULL: the first */
} ot_loss_options;

OT_API ot_status ot_set_loss(ot_session *session, const ot_loss_options *options, ot_error *err);

/* The loss that steps compute. */
typedef struct ot_loss_info {
    ot_loss_kind kind; /* never OT_LOSS_AUTO */
    int class_axis;    /* of the output; 0: the loss has no classes */
    int64_t classes;   /* size of that axis, or 0 */
    int soft_targets;  /* cross entropy: the targets are probabilities */
    int tokens;        /* next_token: index of the input that holds the labels; -1: none */
    ot_tensor target;  /* type and shape of the target for these inputs; data is NULL. rank 0: no
                        * target is needed */
} ot_loss_info;

/* Finds the loss for inputs of these shapes (data is not read) and these targets, of any integer
 * type or float; NULL: no targets. OT_LOSS_AUTO reads the values of the targets: pass those of a
 * batch or, better, of the whole data set, since their first dimension need not be that of the
 * inputs. If the kind is OT_LOSS_AUTO, the choice is kept until ot_set_loss or ot_new_head. Without
 * this call, the target of the first step decides. The first rule that applies counts:
 *   no target, the output [N, T, C] and an input of integers [N, T]: NEXT_TOKEN
 *   integers, the output's shape without its last or second axis, that axis >= 2: CROSS_ENTROPY
 *   the output's shape, final Sigmoid, all 0 or 1:   BCE
 *   the output's shape, rows of probabilities (no value below 0, sums of 1 within 1e-3) along the
 *     last or second axis >= 2, no final Sigmoid:    CROSS_ENTROPY with soft targets
 *   the output's shape, all 0 or 1 (floats: both):   BCE
 *   the output's shape, floats, or integers of more than one value a sample:   MSE
 * Anything else is OT_ERROR_ARGUMENT, and the message says what was found. A plan that ot_prepare
 * makes before a target is known is for BCE if the output is a Sigmoid, otherwise for cross entropy
 * if the output has two classes or more, otherwise for MSE. */
OT_API ot_status ot_choose_loss(ot_session *session, const ot_tensor *inputs, int n,
                                const ot_tensor *targets, ot_loss_info *info, ot_error *err);

typedef enum ot_optimizer_kind {
    OT_SGD = 0,
    OT_ADAM,
    OT_ADAMW,
    OT_ADAGRAD,
    OT_ADAM_ONNX /* the operator Adam of ai.onnx.preview.training */
} ot_optimizer_kind;
typedef enum ot_schedule_kind {
    OT_SCHEDULE_CONSTANT = 0,
    OT_SCHEDULE_STEP,   /* times gamma every step_size steps */
    OT_SCHEDULE_LINEAR, /* to final_factor at total_steps */
    OT_SCHEDULE_COSINE
} ot_schedule_kind;

typedef struct ot_optimizer_options {
    size_t size; /* sizeof(ot_optimizer_options), or 0 */
    ot_optimizer_kind kind;
    int exact; /* 1: zeros of beta1, beta2, eps and gamma are zeros, as after
                * ot_optimizer_defaults; 0: they stand for the defaults */
    float lr;
    float momentum;  /* SGD, as PyTorch: v = momentum v + g; w -= lr v */
    float dampening; /* SGD: g is multiplied by 1 - dampening in v, except in the first step */
    int nesterov;
    float beta1, beta2; /* Adam; default 0.9 and 0.999, see `exact` */
    float eps;          /* Adam, Adagrad: added after the root; default 1e-8, see `exact` */
    float lr_decay;     /* Adagrad: lr / (1 + lr_decay t) after t steps */
    float weight_decay; /* added to the gradient; AdamW: decoupled */
    float post_decay;   /* ADAM_ONNX: each step multiplies weights by 1 - post_decay */
    float clip_norm;    /* limit on the L2 norm over all gradients; 0: off */
    ot_schedule_kind schedule;
    int64_t warmup_steps; /* step s = 0, 1, ... of them uses lr (s + 1) / warmup_steps */
    int64_t total_steps;  /* of LINEAR and COSINE */
    int64_t step_size;
    float gamma;          /* STEP; default 0.1, see `exact` */
    float final_factor;   /* learning rate at total_steps, divided by lr */
    int64_t steps_before; /* steps before this optimizer was set, whose moments it starts with.
                           * Bias corrections of Adam count them, schedules do not */
} ot_optimizer_options;

/* The usual options of a kind, every number written out: lr is 0.01, or 0.001 for the forms of
 * Adam, and constant; no momentum, decay or clipping. A member that is set to zero afterwards is
 * zero. size: sizeof *options, which is written to options->size. */
OT_API void ot_optimizer_defaults(ot_optimizer_kind kind, ot_optimizer_options *options,
                                  size_t size);

/* Sets a new optimizer: its moments and its step counter are 0. */
OT_API ot_status ot_set_optimizer(ot_session *session, const ot_optimizer_options *options,
                                  ot_error *err);

/* Changes the options of the optimizer; its kind has to stay the same (else OT_ERROR_STATE).
 * Moments, the count of steps and steps_before stay. Schedules are functions of the step: a
 * schedule with a larger total_steps continues in its middle. If SGD gets momentum, it starts at
 * zero; if SGD loses momentum, it is dropped. */
OT_API ot_status ot_change_optimizer(ot_session *session, const ot_optimizer_options *options,
                                     ot_error *err);

/* The present options, with all defaults written out. options->size has to be set before the call,
 * and members behind it are not written. OT_ERROR_STATE if no optimizer is set. */
OT_API ot_status ot_get_optimizer(const ot_session *session, ot_optimizer_options *options,
                                  ot_error *err);

/* Loss and optimizer of the model's training_info, if ot_options.training_info is 1. ot_open
 * refuses a model whose algorithm these options cannot express, and names the node. Weights that
 * the algorithm does not update are not trainable. OT_ERROR_STATE if no training_info was read.
 * loss, optimizer: NULL is allowed; otherwise their size has to be set before the call. The
 * options refer to strings of the session. */
OT_API ot_status ot_get_training_info(const ot_session *session, ot_loss_options *loss,
                                      ot_optimizer_options *optimizer, ot_error *err);

/* Gives the optimizer, which has to be of the same kind, the moments of training_info. */
OT_API ot_status ot_take_training_state(ot_session *session, ot_error *err);

/* Switches training on or off for all weights whose name matches the glob (* ? [..]). */
OT_API ot_status ot_set_trainable(ot_session *session, const char *glob, int trainable,
                                  ot_error *err);

/* Replaces the last layer before the first output by a new one with `classes` outputs and random
 * weights. *name becomes the name of its weight. OT_ERROR_UNSUPPORTED if there is no such layer.
 * With b = 1/sqrt(inputs of one output), weights and bias are uniform in [-b, b), as in PyTorch;
 * or in [0, b/10) if a Relu or Clip follows, because a class that starts below 0 would never
 * learn. */
OT_API ot_status ot_new_head(ot_session *session, int64_t classes, const char **name,
                             ot_error *err);

/* ---- make weights sparse ---- */

/* How many weights each layer keeps. Layers are weights of Gemm, MatMul, Conv, ConvTranspose, LSTM,
 * GRU and RNN that are trained; depthwise convolutions are left out unless they are named. */
typedef enum ot_budget_kind {
    OT_BUDGET_AUTO = 0, /* GIVEN if a layer has a mask already, else ERK */
    OT_BUDGET_GIVEN,    /* in proportion to what each layer has now; density 0: as many */
    OT_BUDGET_UNIFORM,  /* the same share everywhere */
    OT_BUDGET_ERK,      /* Erdos-Renyi-Kernel, of RigL: the share is proportional to the sum of the
                         * weight's dimensions divided by their product, and at most 1 */
    OT_BUDGET_ER,       /* Erdos-Renyi, of SET: epsilon (rows + columns) of the weight's matrix */
    OT_BUDGET_GLOBAL,   /* ot_prune: the best of all layers together */
    OT_BUDGET_LIST      /* as ot_sparsity_options.densities says */
} ot_budget_kind;

/* Where a layer may keep weights. Rows of its matrix are outputs, columns are inputs. */
typedef enum ot_constraint_kind {
    OT_CONSTRAIN_FREE = 0,
    OT_CONSTRAIN_FAN_IN,  /* the same number in each row */
    OT_CONSTRAIN_NM,      /* group[0] of each group[1] neighbouring inputs, which sets the density;
                           * of convolutions: neighbouring channels at one place of the kernel */
    OT_CONSTRAIN_BLOCK,   /* whole blocks of group[0] rows x group[1] columns */
    OT_CONSTRAIN_CHANNELS /* ot_prune: whole rows, which leave the model */
} ot_constraint_kind;

/* The share of weights that layers keep whose name matches the glob. */
typedef struct ot_layer_density {
    const char *glob;
    double density;
} ot_layer_density;

/* Values of weights that are drawn. */
typedef enum ot_start_kind {
    OT_START_HE = 0, /* variance 2 / fan-in */
    OT_START_XAVIER  /* variance 2 / (fan-in + fan-out) */
} ot_start_kind;

/* Which weights go first. */
typedef enum ot_prune_by {
    OT_PRUNE_MAGNITUDE = 0, /* those nearest to zero */
    OT_PRUNE_TAYLOR,        /* the least mean of |weight x gradient| over calls of ot_score_step */
    OT_PRUNE_RANDOM
} ot_prune_by;

typedef struct ot_sparsity_options {
    size_t size; /* sizeof(ot_sparsity_options), or 0 */
    ot_budget_kind budget;
    ot_constraint_kind constraint;
    int group[2];
    double density;     /* of all layers together, in (0, 1] */
    double epsilon;     /* OT_BUDGET_ER */
    const char *layers; /* globs of layers that take part, separated by commas; !glob: that do not.
                         * The last glob that matches counts; for names that none matches, the
                         * opposite of the first one. NULL: all */
    const ot_layer_density *densities; /* OT_BUDGET_LIST; the last glob that matches counts. Layers
                                        * that none matches take no part */
    int n_densities;
    ot_start_kind start; /* ot_draw_weights */
    int dense_fan;       /* ot_draw_weights. 0: fans are the numbers of slots, and values are
                          * normal; 1: fans are those of the dense matrix, and values uniform */
    ot_prune_by by;      /* ot_prune */
    uint64_t seed;
} ot_sparsity_options;

/* Makes a multi-layer perceptron in memory: units[0] inputs, then n - 1 layers of units[i] outputs,
 * Gemm nodes "fc1", "fc2", ..., with a Relu between two of them. Input "input" [batch, units[0]],
 * output "output". All biases are zero, and no weight has a slot: ot_draw_weights gives them masks
 * and values. ot_options.activation replaces the Relus. */
OT_API ot_status ot_open_mlp(const int64_t *units, int n, const ot_options *options,
                             ot_session **session, ot_error *err);

/* Starts anew: layers that take part get random masks and random values, their biases become 0, and
 * BatchNormalization the identity. Layers that do not take part, but have no slot, become dense.
 * Everything else stays. With OT_CONSTRAIN_FREE each weight is
 * there with the probability that the budget says, so that numbers are right on average; with
 * OT_CONSTRAIN_FAN_IN every row has as many as the budget allows. Other constraints are refused.
 * To be called before ot_set_topology.
 * Nothing of the size of a dense matrix is made, except of dense ones. */
OT_API ot_status ot_draw_weights(ot_session *session, const ot_sparsity_options *options,
                                 ot_error *err);

/* Removes weights for good: layers that take part keep the best of those that they have, as many as
 * the budget says, where the constraint allows them; those that are gone have no slot any more.
 * Values and moments of the others stay. A layer that has fewer already keeps them. Gradients must
 * not have been accumulated (OT_ERROR_STATE). If it fails, nothing has changed.
 *
 * With OT_CONSTRAIN_CHANNELS the density is the share of its channels that each layer keeps
 * (budget: UNIFORM or LIST). The others leave the model with their biases, their BatchNormalization
 * and the columns of the layers that read them; what they are without inputs is added to the biases
 * behind. Shapes are smaller afterwards, in exported files too, and these weights have no moments.
 * Layers whose channels meet others or make an output are logged and stay; if there is no other
 * one, the result is OT_ERROR_UNSUPPORTED. To be called before ot_set_topology. */
OT_API ot_status ot_prune(ot_session *session, const ot_sparsity_options *options, ot_error *err);

/* ---- train, evaluate, run ---- */

/* Result of a step. */
typedef struct ot_result {
    double loss;     /* mean over the targets that are not ignored */
    int64_t count;   /* number of these targets */
    int64_t correct; /* cross entropy, next_token: targets whose (most probable) class has the
                      * largest logit; BCE: logits with the right sign */
} ot_result;

/* Plans the step for inputs of these shapes (type, rank, dim; data is not read) and returns the
 * memory that counts against limits.memory_bytes, before anything runs. Steps of the same shapes
 * then allocate nothing. The first step costs what the second costs: all threads have written to
 * the memory of the plan, oneDNN has compiled its kernels, gradients and the optimizer's moments
 * are there.
 *
 * If a training step does not fit the limit, these measures are tried in this order. 1. The batch
 * is divided into as few micro-batches as possible, of nearly equal size, with at least 16 samples
 * (or 64 samples or tokens of linear layers), which fill the SIMD registers of sparse kernels.
 * Loss, gradients and random numbers are those of the whole batch, except for rounding. 2. Cheap
 * activations are recomputed in the backward pass; no bit changes. 3. Micro-batches become as
 * small as necessary. If BatchNormalization uses the statistics of the batch, which micro-batches
 * change, measure 2 comes first, and the log says if micro-batches were needed. Evaluation steps
 * are divided too. ot_run, ot_forward and steps that compute gradients of inputs are not. A step
 * that does not fit at all is OT_ERROR_LIMIT, and the message says how many bytes it needs.
 * ot_get_memory_info tells what was chosen. An input belongs to the batch if its first dimension
 * is that of the first input. */
OT_API ot_status ot_prepare(ot_session *session, int training, const ot_tensor *inputs, int n,
                            size_t *bytes, ot_error *err);

/* Forward, loss and backward on one batch. Gradients are added to those of earlier calls since the
 * last ot_optimizer_step. inputs: one per input of the model, in their order. target: of the type
 * and shape that the loss needs, labels of any integer type; NULL if OT_LOSS_NEXT_TOKEN needs
 * none. If a micro-batch fails after another one succeeded, the gradients of earlier calls are
 * cleared. */
OT_API ot_status ot_train_step(ot_session *session, const ot_tensor *inputs, int n,
                               const ot_tensor *target, ot_result *result, ot_error *err);

/* Clips the mean of the accumulated gradients, updates the weights with it, and clears the
 * gradients. The mean is over all targets that are not ignored, however they were divided into
 * batches: steps of 16, 16 and 4 targets give the result of one step of 36. A call of ot_backward
 * has the weight of the first batch of ot_train_step; if there is none, the mean is over the calls.
 * If a gradient or a new moment is not finite, or a new weight exceeds 2^64, whose square is not a
 * float, the result is OT_ERROR_NUMERIC: weights and moments are unchanged, and the gradients can
 * still be read. */
OT_API ot_status ot_optimizer_step(ot_session *session, ot_error *err);

/* ---- masks that change while training ---- */

/* A method of changing masks; ot_topology_options can replace each part of it. */
typedef struct ot_topology_method {
    const char *name;
    const char *drop, *grow, *newborn; /* as in ot_topology_options */
    int64_t every;                     /* usual steps between updates; 0: those of an epoch; -n:
                                        * the n-th part of those from start to end */
    double start, end;                 /* usual shares of a run between which masks change */
    const char *source;                /* where it is published, as "arXiv:1707.04780"; or "" */
    const char *help;                  /* one line */
} ot_topology_method;

OT_API int ot_topology_method_count(void);
OT_API ot_status ot_get_topology_method(int i, ot_topology_method *info, ot_error *err);

/* Steps are optimizer steps, counted from 1. An update takes place after each step that is a
 * multiple of `every`, is at least `start` and less than `end`. It removes a share of the slots of
 * each weight that takes part, and adds as many at other places. Methods that prune ("gmp",
 * "movement") add none: they leave less and less, until `density` is reached in an update at `end`.
 * Trained weights of products (Gemm, MatMul, Conv, ConvTranspose, LSTM, GRU, RNN) that have a mask
 * take part, except depthwise convolutions and, if the method says so, the last layer. Where a
 * method prunes, weights without a mask take part, too, and get one. */
typedef struct ot_topology_options {
    size_t size;         /* sizeof(ot_topology_options), or 0 */
    const char *method;  /* NULL: "static", masks do not change */
    const char *drop;    /* which slots go. NULL: as the method says. "magnitude": those nearest
                          * to zero; "signed": the same, of positive and negative weights apart;
                          * "random"; "movement": those that training has moved towards zero */
    const char *grow;    /* where slots grow. NULL: as the method says. "random": anywhere but
                          * where a slot has stayed; "gradient": where gradients of the loss are
                          * largest in the last ot_train_step before the update, which takes a few
                          * times as long as others; "sampled": the same of random places; "none":
                          * nowhere */
    const char *newborn; /* value of a new slot. NULL: as the method says. "zero"; "he": normal
                          * with variance 2 / slots of the row; "uniform": in +-sqrt(6 / inputs
                          * of the row) */
    const ot_sparsity_options *sparsity; /* its `layers` take part. For methods that prune, what is
                                          * left: budget, density, epsilon, densities, constraint
                                          * and group; others keep what there is. NULL: all layers
                                          */
    double drop_fraction;                /* share of slots that move at the first update; 0: 0.3 */
    int64_t every; /* steps between updates; may be 0 if the method is "static" */
    int64_t start;
    int64_t end;     /* 0: never */
    uint64_t seed;   /* of all random choices */
    double ablation; /* methods with a constant fan-in, "srigl": a row loses all its slots unless
                      * this share of the mean number of slots of a row, or from 1 on so many, are
                      * worth having; 0: 0.3; below 0: no row does */
    int grow_candidates; /* "sampled": random places for each slot that moves; 0: 16 */
    int no_revival;      /* 1: a row that has lost all its slots gets none again */
} ot_topology_options;

/* Sets how masks change from here on; the count of updates goes on. The strings are not needed
 * afterwards. */
OT_API ot_status ot_set_topology(ot_session *session, const ot_topology_options *options,
                                 ot_error *err);

/* The fewest steps between updates, at least `least`, for which growth by gradient is predicted to
 * take at most this share of the steps between. It depends on the shapes of the last ot_prepare for
 * training and on the numbers of slots, not on measured times; `least` if masks do not grow by
 * gradient. OT_ERROR_STATE if there is no such plan. */
OT_API ot_status ot_get_topology_interval(const ot_session *session, int64_t least, double share,
                                          int64_t *every, ot_error *err);

/* What an update did. */
typedef struct ot_topology_report {
    int updated;       /* 0: no update was due, and all else is 0 */
    int64_t update;    /* its number, from 1 */
    int64_t step;      /* the optimizer step that it followed */
    int64_t layers;    /* weights that took part */
    int64_t dropped;   /* slots that went */
    int64_t grown;     /* new ones */
    int64_t nonzeros;  /* slots of all weights with a mask, now */
    int64_t rows;      /* rows of these weights (outputs of their layers) ... */
    int64_t live_rows; /* ... that have a slot */
    double seconds;
} ot_topology_report;

/* Changes the masks if an update is due after the last ot_optimizer_step; to be called after each
 * one. Values and moments of slots that stay do not change; moments of new slots are zero. If it
 * fails, nothing has changed, and it can be called again. report: NULL is allowed. Growth by
 * gradient needs the gradients of ot_train_step: with ot_backward it is OT_ERROR_STATE. */
OT_API ot_status ot_topology_step(ot_session *session, ot_topology_report *report, ot_error *err);

/* Adds |weight x gradient| of this batch to the scores of all weights, for OT_PRUNE_TAYLOR.
 * Weights, running statistics and gradients stay as they are. Arguments are those of ot_train_step;
 * result: NULL is allowed. Scores go when masks or layers change. */
OT_API ot_status ot_score_step(ot_session *session, const ot_tensor *inputs, int n,
                               const ot_tensor *target, ot_result *result, ot_error *err);

/* Clears the gradients that were accumulated since the last ot_optimizer_step. */
OT_API ot_status ot_clear_gradients(ot_session *session, ot_error *err);

/* Forward and loss in inference form: running statistics, no dropout. */
OT_API ot_status ot_eval_step(ot_session *session, const ot_tensor *inputs, int n,
                              const ot_tensor *target, ot_result *result, ot_error *err);

/* Forward in inference form. outputs: views of the session's memory, valid until its next call. */
OT_API ot_status ot_run(ot_session *session, const ot_tensor *inputs, int n, ot_tensor *outputs,
                        int n_outputs, ot_error *err);

/* ---- a loss that the program computes ---- */

/* Forward in training form. outputs are views. The data of the inputs must stay unchanged until
 * ot_backward, which has to come before any other call that runs a step. */
OT_API ot_status ot_forward(ot_session *session, const ot_tensor *inputs, int n, ot_tensor *outputs,
                            int n_outputs, ot_error *err);

/* Backward through the last ot_forward. gradients: the gradient of the loss with respect to each
 * output, of its type and shape; data is NULL for a zero gradient. Gradients of weights are
 * accumulated as by ot_train_step, and ot_optimizer_step uses their mean over the calls. */
OT_API ot_status ot_backward(ot_session *session, const ot_tensor *gradients, int n, ot_error *err);

/* Sets whether ot_train_step and ot_backward compute the gradient of input i, a float input. */
OT_API ot_status ot_want_input_gradient(ot_session *session, int i, int wanted, ot_error *err);

/* The gradient of input i from the last of these calls: a view, valid until the session's next
 * call. data is NULL if the loss does not depend on the input. */
OT_API ot_status ot_get_input_gradient(const ot_session *session, int i, ot_tensor *gradient,
                                       ot_error *err);

/* ---- are the gradients right? ---- */

enum { OT_SLOPE_LEVELS = 4 };

/* Finite differences of a random combination of one node's outputs, along a direction of a few
 * elements of one of its inputs, and the node's gradient along it. The step of level k is h / 4^k,
 * where h is at least 1/64 of the moved elements. */
typedef struct ot_slopes {
    const char *op, *node; /* as op and name of ot_profile_step */
    const char *input;     /* the value that is moved */
    double gradient;       /* along the direction */
    double size;           /* sum of the absolute values of the terms of `gradient` */
    double left[OT_SLOPE_LEVELS], right[OT_SLOPE_LEVELS];
    double noise[OT_SLOPE_LEVELS]; /* bound on the rounding error of a slope */
} ot_slopes;

/* Forward in training form; then calls write(context, slopes) a few times for each input that has a
 * gradient, of each node between a trainable weight (or an input whose gradient is wanted) and an
 * output, in the order in which nodes run. Nodes that round are left out, because their gradient
 * passes straight through. Weights and gradients are unchanged. */
typedef void ot_slopes_fn(void *context, const ot_slopes *slopes);
OT_API ot_status ot_measure_gradients(ot_session *session, const ot_tensor *inputs, int n,
                                      ot_slopes_fn *write, void *context, ot_error *err);

OT_API int64_t ot_step_count(const ot_session *session);   /* optimizer steps taken */
OT_API double ot_learning_rate(const ot_session *session); /* of the next optimizer step */
OT_API double ot_gradient_norm(const ot_session *session); /* of the last optimizer step */

typedef struct ot_memory_info {
    size_t weights;     /* values and patterns */
    size_t gradients;   /* of trainable parameters */
    size_t moments;     /* of the optimizer */
    size_t plan;        /* the largest plan: activations, their gradients, workspaces */
    int64_t parts;      /* micro-batches in which the plan of the last call runs; 1: undivided */
    int64_t recomputed; /* activations that it recomputes instead of storing them */
} ot_memory_info;

OT_API void ot_get_memory_info(const ot_session *session, ot_memory_info *info);

/* Describes the plan of the last ot_prepare through `write`, one line per step: shapes, layout,
 * kernel, predicted milliseconds of products, and measured ones if ot_set_profile is on. */
typedef void ot_write_fn(void *context, const char *line);
OT_API ot_status ot_print_plan(const ot_session *session, ot_write_fn *write, void *context,
                               ot_error *err);

/* Type and shape of the target for the plan of the last ot_prepare or step; data is NULL.
 * OT_ERROR_STATE if that plan has no loss. */
OT_API ot_status ot_get_target(const ot_session *session, ot_tensor *target, ot_error *err);

/* Time of one line of ot_print_plan, or of the optimizer. */
typedef struct ot_profile_step {
    const char *what;   /* "forward", "loss", "backward", "backward weight", "again" (forward
                         * in the backward half), "probe" (gradients outside a mask), "add",
                         * "zero", "collect", "optimizer" */
    const char *op;     /* operator, as "Conv"; the plan's own "Reorder" and "Densify"; or "" */
    const char *name;   /* of the node, or of the value */
    const char *kernel; /* as "spmm avx512"; "" for plain loops */
    double flops;       /* of one call, counting nonzeros only; 0: unknown */
    double bytes;       /* of the tensors that one call reads or writes */
    double seconds;     /* of all calls together */
    int64_t calls;
} ot_profile_step;

/* Switches profiling on or off and resets the times. While it is on, the two gradients of a product
 * are computed one after the other, or timed inside the product, so that that of its weight
 * ("backward weight") and that of its input ("backward") are separate; results are the same. */
OT_API void ot_set_profile(ot_session *session, int on);

/* Calls step(context, s) for each step of the last used plan, in order, then for the optimizer. The
 * strings live as long as the plan. */
typedef void ot_profile_fn(void *context, const ot_profile_step *step);
OT_API ot_status ot_get_profile(const ot_session *session, ot_profile_fn *step, void *context,
                                ot_error *err);

/* A permutation of 0..n-1 that depends only on seed and epoch. */
OT_API void ot_permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t *index);

/* ---- files ---- */

/* A key and a string that a checkpoint stores for the program: position in the data, best metric.
 */
typedef struct ot_note {
    const char *key;
    const char *value;
} ot_note;

/* Writes weights, patterns, optimizer, counters and the program's notes into one safetensors file,
 * by way of a temporary file that is renamed when it is on disk. */
OT_API ot_status ot_save_checkpoint(const ot_session *session, const char *path,
                                    const ot_note *notes, int n, ot_error *err);

/* Loads all or nothing. Calls note(context, key, value) for each note after success. */
typedef void ot_note_fn(void *context, const char *key, const char *value);
OT_API ot_status ot_load_checkpoint(ot_session *session, const char *path, ot_note_fn *note,
                                    void *context, ot_error *err);

typedef enum ot_export_sparse {
    OT_EXPORT_SPARSE_AS_IS = 0,
    OT_EXPORT_SPARSE_INITIALIZER,
    OT_EXPORT_SPARSE_DENSE,
    OT_EXPORT_SPARSE_AUTO /* sparse if fewer than half of the elements have a slot */
} ot_export_sparse;

typedef enum ot_export_form {
    OT_EXPORT_FORM_AS_IS = 0,
    OT_EXPORT_FORM_INFERENCE,
    OT_EXPORT_FORM_TRAINING
} ot_export_form;

typedef struct ot_export_options {
    size_t size;             /* sizeof(ot_export_options), or 0 */
    ot_export_sparse sparse; /* how weights with a pattern are written */
    ot_export_form form;     /* of BatchNormalization and Dropout nodes */
    int training_info;       /* 1: write loss and optimizer with its state as training_info; 0:
                              * leave the training_info of the file as it is */
    int reserved;            /* 0 */
} ot_export_options;

/* Writes the model with its present weights: the same graph, names, opset, metadata and unknown
 * fields; atomic like a checkpoint. Before the rename the file is read as by ot_open, and every
 * value is compared; if one differs, the result is OT_ERROR_IO, and the old file stays. External
 * data, and all large tensors of a model above 2 GiB, go to a data file NAME.DIGEST.data in the
 * same folder; the data file of the old model is removed. */
OT_API ot_status ot_export_onnx(const ot_session *session, const char *path,
                                const ot_export_options *options, ot_error *err);

/* Makes the checks of ot_export_onnx without writing a file: at the start of a run it tells whether
 * the export at the end will work. */
OT_API ot_status ot_check_export(const ot_session *session, const ot_export_options *options,
                                 ot_error *err);

#ifdef __cplusplus
}
#endif
#endif
