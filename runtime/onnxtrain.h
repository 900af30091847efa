/* onnxtrain.h - train ONNX models whose weights are sparse; the one public header of libonnxtrain.
 *
 * A session owns one model and everything made from it. There is no global state: sessions are
 * independent, and one session is used by one thread at a time. The library never exits, aborts,
 * prints, installs signal handlers or reads the environment. A process may end by exit() or by
 * returning from main while other threads are inside of calls: those of models with dense layers
 * then fail with OT_ERROR_STATE (by a handler of atexit, the one thing that sessions share).
 *
 * Every function that can fail returns an ot_status and takes an ot_error last (NULL is allowed).
 * On failure the message names the object at fault, and the session is as it was before the call.
 * Tensors passed in and handed out are views: nobody copies ownership.
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
    OT_ERROR_UNSUPPORTED, /* legal ONNX that this library does not run or train */
    OT_ERROR_PATH,        /* a path that must not be followed */
    OT_ERROR_IO,          /* the operating system refused to read or write */
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
    OT_SPARSE_AUTO = 0, /* sparse kernels where they are expected to win */
    OT_SPARSE_ALWAYS,   /* sparse kernels for every weight whose zeros are structure */
    OT_SPARSE_NEVER,    /* dense kernels; the zeros still stay zero */
    OT_SPARSE_LIVE      /* dense kernels on those rows and channels of a weight with a nonzero */
} ot_sparse_mode;

typedef enum ot_bn_mode {
    OT_BN_AUTO = 0, /* as each BatchNormalization node says */
    OT_BN_FROZEN,   /* running statistics; scale and bias are not trained */
    OT_BN_TRAIN,    /* batch statistics, running statistics are updated */
    OT_BN_AFFINE    /* running statistics; scale and bias are trained */
} ot_bn_mode;

/* What a file may ask for before it is refused with OT_ERROR_LIMIT. Zero takes the default. */
typedef struct ot_limits {
    uint64_t file_bytes;     /* 2 GiB - 1, which is also the most */
    uint64_t nodes;          /* 1,000,000: also bounds initializers, and nodes after inlining */
    uint64_t tensor_elements; /* 2^40 */
    uint64_t memory_bytes;   /* model, training state and plans (ot_prepare), and all that opening
                              * a file holds at once; physical memory. Beside it, oneDNN takes from
                              * malloc: some 0.2 MB a dense convolution that is prepared, 0.4 MB of
                              * code in the first step, and 32 KiB while a dense step runs */
} ot_limits;

typedef struct ot_options {
    size_t size;                      /* sizeof(ot_options), or 0 */
    int threads;                      /* 0: one a CPU that the process may use. Between calls they
                                       * look out for the next for 0.2 ms, then sleep */
    const char *isa;                  /* NULL: the best; "generic", "avx2", "avx512" */
    ot_sparse_mode sparse;
    ot_bn_mode bn;
    uint64_t seed;                    /* of dropout and of new heads */
    int allow_nonfinite;              /* ot_run, ot_forward and ot_eval_step give infinities and
                                       * NaN as results; 0: they fail with OT_ERROR_NUMERIC, and
                                       * the message names the node where the first came from */
    int training_info;                /* read it, see ot_get_training_info; 0: it is only kept */
    const char *mask;                 /* globs of weights whose zeros are structure, all of them,
                                       * separated by commas; !glob: values; the last that matches
                                       * counts. NULL: see ot_structure. Read by ot_open alone */
    float mask_share;                 /* share of zeros from which on they are structure, in
                                       * (0, 1]; 0: 0.1, and 0.4 where a file holds integers */
    ot_limits limits;
    ot_allocator allocator;           /* all NULL: the C library's */
    ot_log_fn *log;                   /* NULL: silent. Every problem of a model is one line */
    void *log_context;
    int plans;                        /* kept for other kinds of steps and shapes of inputs, as far
                                       * as limits.memory_bytes has room; 0: 16 */
    ot_parallel_for_fn *parallel_for; /* NULL: the session's own threads. ot_open and
                                       * ot_prepare call it, too */
    void *parallel_context;
    const char *fix;                  /* "NAME=VALUE,NAME=VALUE": these inputs are constants of
                                       * their declared type and shape, every element VALUE, and no
                                       * inputs of the session. What hangs on them alone, an If for
                                       * instance, is decided when the model is opened; files that
                                       * are written have the input. OT_ERROR_ARGUMENT where a name
                                       * is unknown, a dimension free, or VALUE not of the type.
                                       * NULL: none */
    int apart;                        /* each node runs by itself; 0: nodes that spell attention,
                                       * a normalisation, an activation run as one operator, and
                                       * neighbours in one pass. Results differ in rounding */
    int parallel_workers;             /* number of workers of parallel_for */
} ot_options;

typedef struct ot_session ot_session;

OT_API const char *ot_version(void);
OT_API const char *ot_status_name(ot_status status);

/* The instruction sets that this machine runs, best first; NULL behind the last. */
OT_API const char *ot_isa_name(int i);

/* The oneDNN version in use, as "2.6.3". */
OT_API const char *ot_dnnl_version(void);

/* An operator of ONNX. */
typedef struct ot_operator_info {
    const char *name;
    const char *domain; /* "" for the default one */
    int opset;          /* the first whose form is understood */
    int has_gradient;
    int is_folded;      /* computed when a step is planned, from shapes alone */
    int takes_sparse;   /* kernels compute with the nonzeros of a weight alone */
    int runs_in_lanes;  /* in the layout of sparse kernels */
    const char *limits; /* what of the standard is refused; "" */
} ot_operator_info;

/* The operators that models may use, in no particular order. */
OT_API int ot_operator_count(void);
OT_API ot_status ot_get_operator(int i, ot_operator_info *info, ot_error *err);

/* ---- open, look, close ---- */

/* Reads an ONNX file. External data is read only from beneath the file's folder. When nodes are
 * not supported, every one of them is logged and OT_ERROR_UNSUPPORTED comes back. */
OT_API ot_status ot_open(const char *path, const ot_options *options, ot_session **session,
                         ot_error *err);

/* The same from memory; the bytes may be freed afterwards. A model with external data is refused.
 */
OT_API ot_status ot_open_buffer(const void *bytes, size_t size, const ot_options *options,
                                ot_session **session, ot_error *err);

OT_API void ot_close(ot_session *session); /* NULL is allowed */

typedef struct ot_model_info {
    int64_t ir_version;
    int64_t opset;           /* of the default domain */
    const char *producer;    /* "" where the file names none */
    int64_t nodes;           /* of the file, before inlining and folding */
    int training_info;       /* entries of the file's training_info */
    int64_t parameters;      /* elements of all weights */
    int64_t nonzeros;        /* those that may differ from zero */
    uint8_t hash[32];        /* SHA-256 of the file */
} ot_model_info;

OT_API void ot_get_model_info(const ot_session *session, ot_model_info *info);

/* An input or output of the model. Dimensions that the file leaves free are -1. */
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

/* A node, after local functions are inlined and Constant nodes are values. */
typedef struct ot_node_info {
    const char *name; /* "" where it has none; lives as long as the session, as the others */
    const char *op, *domain;
    int opset;
} ot_node_info;

OT_API int ot_node_count(const ot_session *session);
OT_API ot_status ot_get_node(const ot_session *session, int i, ot_node_info *info, ot_error *err);

/* Why the optimizer leaves a weight as it is. The rule is in docs/configuration.md under "What is
 * trained". */
typedef enum ot_fixed_reason {
    OT_TRAINED = 0,
    OT_FIXED_STATISTIC, /* running mean or variance: training steps update it, no optimizer does */
    OT_FIXED_MASK,      /* says which elements count: of a weight, or of the scores of attention */
    OT_FIXED_CONSTANT,  /* a number of a formula, or what holds an infinity or a NaN */
    OT_FIXED_TABLE,     /* numbers that an exporter has computed, as frequencies of positions */
    OT_FIXED_FROZEN     /* by ot_set_trainable, or because training_info does not update it */
} ot_fixed_reason;

/* "trained", "statistic", "mask", "constant", "table", "frozen". */
OT_API const char *ot_fixed_reason_name(ot_fixed_reason reason);

/* Why zeros of a weight are structure, which stays zero. Zeros are values, trained like others,
 * where nothing below holds; in weights of less than two dimensions, and in operands of elementwise
 * operators, they always are. */
typedef enum ot_structure {
    OT_STRUCTURE_NONE = 0, /* the weight has none */
    OT_STRUCTURE_ZEROS,    /* the file's zeros are ot_options.mask_share of it or more, not all */
    OT_STRUCTURE_SPARSE,   /* the file spells the weight as a sparse tensor */
    OT_STRUCTURE_MASK,     /* the graph masks it by a tensor of zeros and ones */
    OT_STRUCTURE_OPTION    /* ot_options.mask asks for it */
} ot_structure;

/* "none", "zeros", "sparse", "mask", "option". */
OT_API const char *ot_structure_name(ot_structure structure);

/* A weight of the model: of floats, or of integers that a DequantizeLinear turns into floats. Of
 * those the values are floats here, rounded in each step and when they are written. */
typedef struct ot_parameter_info {
    const char *name;
    const char *op;        /* operator that uses it first, as "Conv" */
    ot_type file_type;     /* type in the file; computation is always OT_FLOAT */
    int rank;
    int64_t dim[OT_MAX_RANK];
    int64_t elements;      /* product of dim */
    int64_t nonzeros;      /* slots of the pattern; = elements for a weight without one */
    int has_pattern;       /* zeros without a slot are structure and stay zero */
    int is_sparse;         /* sparse kernels compute with it */
    int is_trainable;
    ot_fixed_reason fixed; /* why it is not; OT_TRAINED where it is */
    uint64_t mask_hash;    /* of shape and positions of the nonzero slots */
    ot_structure structure; /* where the pattern comes from */
    const char *mask;      /* OT_STRUCTURE_MASK: the tensor, first of several; else NULL */
    int64_t zeros;         /* of the file's elements that are zero but have a slot, in a weight
                            * that may have structure */
} ot_parameter_info;

OT_API int ot_parameter_count(const ot_session *session);
OT_API ot_status ot_get_parameter(const ot_session *session, int i, ot_parameter_info *info,
                                  ot_error *err);

/* Copies a weight out, or in, row-major in the file's shape, dense: info.elements floats. Writing
 * a value that is not zero where the pattern has no slot is OT_ERROR_ARGUMENT, one that is not
 * finite, of a weight that is trained or a statistic, OT_ERROR_NUMERIC. */
OT_API ot_status ot_read_parameter(const ot_session *session, int i, float *values, ot_error *err);
OT_API ot_status ot_write_parameter(ot_session *session, int i, const float *values,
                                    ot_error *err);

/* The gradient that the last training steps have accumulated, in the same form: the sum over all
 * targets that count, divided by the number of those of the first batch; so of one batch, or of
 * batches of one size, the sum of the gradients of their losses. Zero where the pattern has no
 * slot. */
OT_API ot_status ot_get_gradient(const ot_session *session, int i, float *values, ot_error *err);

/* ---- configure training ---- */

/* C classes, N samples. Cross entropy and BCE take logits, as PyTorch's CrossEntropyLoss and
 * BCEWithLogitsLoss do. Where the output is a Softmax (cross entropy, next_token) or a Sigmoid
 * (BCE), the loss is computed from what goes into it, also where Identity, Cast, Reshape,
 * Transpose, Squeeze, Unsqueeze, Flatten or an inactive Dropout follows, or Log a Softmax. */
typedef enum ot_loss_kind {
    OT_LOSS_AUTO = 0,      /* as the target says, see ot_choose_loss */
    OT_LOSS_CROSS_ENTROPY, /* target: labels, integers of the output's shape without the class
                            * axis; or probabilities of the classes, floats of the output's shape */
    OT_LOSS_MSE,           /* target: the output's shape, here and in what follows to BCE */
    OT_LOSS_L1,
    OT_LOSS_HUBER,
    OT_LOSS_BCE,       /* target: from 0 to 1 */
    OT_LOSS_NEXT_TOKEN /* cross entropy of a language model: output [N, T, C]; the label of position
                        * t is token t + 1, the last position has none. The tokens are the model's
                        * input of integers [N, T], the first whose name does not contain "mask".
                        * Where an input [N, T] whose name contains "mask" is 0 at t or t + 1,
                        * position t does not count. target: NULL; or labels [N, T] that stand in
                        * the place of the tokens, shifted in the same way */
} ot_loss_kind;

/* Dimensions of 1 behind the first may be left out of a target's shape, or added. */
typedef struct ot_loss_options {
    size_t size;            /* sizeof(ot_loss_options), or 0 */
    ot_loss_kind kind;
    float label_smoothing;  /* cross entropy, next_token: PyTorch's label_smoothing, in [0, 1) */
    int64_t ignore_index;   /* cross entropy, next_token: labels that do not count, where
                             * use_ignore_index is not 0 ... */
    int use_ignore_index;   /* ... else those of -100, PyTorch's default */
    float huber_delta;      /* 0: 1 */
    int class_axis;         /* cross entropy, next_token: the output's axis of classes, negative
                             * from the end. 0: the last or the second, whichever leaves the
                             * target's shape. If both do: that of the model's Softmax; else the
                             * one that an earlier step has found; else the last */
    const char *output;     /* name of the model's output that the loss reads; NULL: the first */
} ot_loss_options;

OT_API ot_status ot_set_loss(ot_session *session, const ot_loss_options *options, ot_error *err);

/* What the loss of steps is. */
typedef struct ot_loss_info {
    ot_loss_kind kind;  /* never OT_LOSS_AUTO */
    int class_axis;     /* of the output; 0: the loss knows no classes */
    int64_t classes;    /* extent of that axis; 0 */
    int soft_targets;   /* cross entropy: the targets are probabilities */
    int tokens;         /* next_token: the input whose integers are the labels; -1: none */
    ot_tensor target;   /* type and shape that steps on these inputs want; data is NULL. rank 0:
                         * none is needed */
} ot_loss_info;

/* Finds the loss for inputs of these shapes (data is not read) and these targets, whose values
 * OT_LOSS_AUTO looks at: those of a batch or, better, of the whole data set, for their first
 * dimension need not be that of the inputs. NULL: there are none. Integers may be of any type here.
 * Where the kind is OT_LOSS_AUTO, what is found stands until ot_set_loss or ot_new_head; without
 * this call, the first step with a target decides by that. The rules, the first that applies:
 *   no target, the output [N, T, C] and an input of integers [N, T]: NEXT_TOKEN
 *   integers, the output's shape without its last or second axis, that axis >= 2: CROSS_ENTROPY
 *   the output's shape, final Sigmoid, all 0 or 1:   BCE
 *   the output's shape, rows of probabilities (no value below 0, sums of 1 within 1e-3) along the
 *     last or second axis >= 2, no final Sigmoid:    CROSS_ENTROPY with soft targets
 *   the output's shape, all 0 or 1 (floats: both):   BCE
 *   the output's shape, floats, or integers of more than one value a sample:   MSE
 * Others are OT_ERROR_ARGUMENT, and the message says what was found. A plan that ot_prepare makes
 * before a target is known is for BCE where the output is a Sigmoid, else for cross entropy where
 * the output has two classes or more, else for MSE. */
OT_API ot_status ot_choose_loss(ot_session *session, const ot_tensor *inputs, int n,
                                const ot_tensor *targets, ot_loss_info *info, ot_error *err);

typedef enum ot_optimizer_kind {
    OT_SGD = 0,
    OT_ADAM,
    OT_ADAMW,
    OT_ADAGRAD,
    OT_ADAM_ONNX /* as the operator Adam of ai.onnx.preview.training has it */
} ot_optimizer_kind;
typedef enum ot_schedule_kind {
    OT_SCHEDULE_CONSTANT = 0,
    OT_SCHEDULE_STEP,   /* times gamma every step_size steps */
    OT_SCHEDULE_LINEAR, /* to final_factor at total_steps */
    OT_SCHEDULE_COSINE
} ot_schedule_kind;

typedef struct ot_optimizer_options {
    size_t size;        /* sizeof(ot_optimizer_options), or 0 */
    ot_optimizer_kind kind;
    int exact;          /* 1: zeros of beta1, beta2, eps and gamma are zeros, as after
                         * ot_optimizer_defaults; 0: they stand for the defaults */
    float lr;
    float momentum;     /* SGD, as PyTorch: v = momentum v + g; w -= lr v */
    float dampening;    /* SGD: g counts 1 - dampening in v, but for the first step */
    int nesterov;
    float beta1, beta2; /* Adam; 0: 0.9 and 0.999, see `exact` */
    float eps;          /* Adam, Adagrad: added behind the root; 0: 1e-8, see `exact` */
    float lr_decay;     /* Adagrad: lr / (1 + lr_decay t) after t steps */
    float weight_decay; /* added to the gradient; AdamW: decoupled */
    float post_decay;   /* ADAM_ONNX: weights times 1 - post_decay behind the step */
    float clip_norm;    /* 0: off; global L2 norm of all trainable gradients */
    ot_schedule_kind schedule;
    int64_t warmup_steps; /* step s = 0, 1, ... of these has (s + 1) / warmup_steps of lr */
    int64_t total_steps;  /* of LINEAR and COSINE */
    int64_t step_size;
    float gamma;        /* STEP; 0: 0.1, see `exact` */
    float final_factor; /* share of lr that is left at total_steps */
    int64_t steps_before; /* taken before this optimizer was made, which begins with their moments:
                           * corrections of Adam and the like count them, schedules do not */
} ot_optimizer_options;

/* The usual options of a kind, every number written out: lr is 0.01, or 0.001 for the forms of
 * Adam, and constant; no momentum, decay or clipping. A member that is set to zero afterwards is
 * zero. size: sizeof *options, which is written to options->size. */
OT_API void ot_optimizer_defaults(ot_optimizer_kind kind, ot_optimizer_options *options,
                                  size_t size);

/* Makes the optimizer afresh: its moments are zero and its step counter is 0. */
OT_API ot_status ot_set_optimizer(ot_session *session, const ot_optimizer_options *options,
                                  ot_error *err);

/* Changes the options of the optimizer, which has to be of the same kind (else OT_ERROR_STATE), and
 * goes on: moments, the count of steps and steps_before stay. Schedules are functions of the step,
 * so that one with a later total_steps goes on in the middle of it. Momentum that SGD did not have
 * begins at zero, what it has no more is forgotten. */
OT_API ot_status ot_change_optimizer(ot_session *session, const ot_optimizer_options *options,
                                     ot_error *err);

/* The present options, with all defaults written out. options->size has to be set before the call,
 * and members behind it are not written. OT_ERROR_STATE if no optimizer is set. */
OT_API ot_status ot_get_optimizer(const ot_session *session, ot_optimizer_options *options,
                                  ot_error *err);

/* What the model's training_info says, where ot_options.training_info asked for it: a model whose
 * algorithm these options do not express is refused by ot_open, and the message names the node.
 * Weights that the algorithm does not update are not trainable. OT_ERROR_STATE where nothing was
 * read. loss, optimizer: NULL is allowed; otherwise their size has to be set before the call. The
 * options refer to strings of the session. */
OT_API ot_status ot_get_training_info(const ot_session *session, ot_loss_options *loss,
                                      ot_optimizer_options *optimizer, ot_error *err);

/* Gives the optimizer the moments of training_info. It has to be of the same kind. */
OT_API ot_status ot_take_training_state(ot_session *session, ot_error *err);

/* Switches training on or off for all parameters whose name matches the glob (* ? [..]). */
OT_API ot_status ot_set_trainable(ot_session *session, const char *glob, int trainable,
                                  ot_error *err);

/* Gives the classifier that feeds the first output `classes` outputs and fresh weights. `name`
 * gets the name of the weight. OT_ERROR_UNSUPPORTED where no such layer is found. With
 * b = 1/sqrt(inputs of one output), weights and bias are uniform in [-b, b), PyTorch's default;
 * in [0, b/10) where a Relu or Clip follows, lest classes begin dead and never learn. */
OT_API ot_status ot_new_head(ot_session *session, int64_t classes, const char **name,
                             ot_error *err);

/* ---- train, evaluate, run ---- */

/* What a batch gave. */
typedef struct ot_result {
    double loss;      /* mean over the targets that count */
    int64_t count;    /* targets that count */
    int64_t correct;  /* cross entropy, next_token: those whose largest logit is right, of soft
                       * targets the likeliest class; BCE: right signs */
} ot_result;

/* Plans the step for inputs of these shapes (type, rank, dim; data is not read) and says what
 * memory it needs, all that counts against limits.memory_bytes, before anything runs. Steps of the
 * same shapes then allocate nothing.
 *
 * Where a training step does not fit the limit, it is divided: into the fewest micro-batches that
 * fit, as equal as possible, whose losses, gradients and random numbers are those of the whole
 * batch but for rounding, and which fill the vectors of sparse kernels (16 samples; of linear
 * layers 64, or tokens); if that does not help, the backward half computes cheap activations again,
 * which changes no bit; then micro-batches become as small as they must.
 * Where BatchNormalization trains on the statistics of the batch, which micro-batches change,
 * activations are computed again first, and a line of the log says if micro-batches were needed.
 * Steps with a loss alone are divided too; ot_run, ot_forward and steps that make gradients of
 * inputs are not. What does not fit at all is OT_ERROR_LIMIT, and the message says how many bytes
 * it takes. ot_get_memory_info tells what was chosen. Inputs count as a batch if they agree in
 * their first dimension with the first one. */
OT_API ot_status ot_prepare(ot_session *session, int training, const ot_tensor *inputs, int n,
                            size_t *bytes, ot_error *err);

/* Forward, loss, backward on one batch; gradients are added to those of earlier calls since the
 * last ot_optimizer_step. inputs: one a model input, in their order. target: of the type and shape
 * that the loss wants, labels of any integer type; NULL where OT_LOSS_NEXT_TOKEN needs none. Where
 * one of several micro-batches fails after others, the gradients of earlier calls are cleared too.
 */
OT_API ot_status ot_train_step(ot_session *session, const ot_tensor *inputs, int n,
                               const ot_tensor *target, ot_result *result, ot_error *err);

/* Clips, updates the weights with the mean of the accumulated gradients, clears them. The mean is
 * over targets that count, all alike, however they were divided into batches: three steps of 16, 16
 * and 4 targets give what one of 36 gives. A call of ot_backward counts as much as the first batch
 * of ot_train_step; without any, the mean is that over the calls.
 * Where a gradient or a moment after the step would not be finite, or a weight would grow beyond
 * 2^64, whose square is no float, it is OT_ERROR_NUMERIC: weights and moments are those of before,
 * and the gradients are still there to be looked at. */
OT_API ot_status ot_optimizer_step(ot_session *session, ot_error *err);

/* Forgets what training steps have accumulated since the last ot_optimizer_step. */
OT_API ot_status ot_clear_gradients(ot_session *session, ot_error *err);

/* Forward and loss in inference form: running statistics, no dropout. */
OT_API ot_status ot_eval_step(ot_session *session, const ot_tensor *inputs, int n,
                              const ot_tensor *target, ot_result *result, ot_error *err);

/* Forward in inference form. outputs: views of the session's memory, valid until its next call. */
OT_API ot_status ot_run(ot_session *session, const ot_tensor *inputs, int n, ot_tensor *outputs,
                        int n_outputs, ot_error *err);

/* ---- a loss of the host's own ---- */

/* Forward in training form. outputs are views; the inputs' data must stay until ot_backward, which
 * may follow before any other call that runs something. */
OT_API ot_status ot_forward(ot_session *session, const ot_tensor *inputs, int n, ot_tensor *outputs,
                            int n_outputs, ot_error *err);

/* Backward through the last ot_forward. gradients: of the loss with respect to each output, of its
 * type and shape; where data is NULL, none arrives. Gradients of weights are added up as by
 * ot_train_step, and ot_optimizer_step takes their mean over the calls. */
OT_API ot_status ot_backward(ot_session *session, const ot_tensor *gradients, int n,
                             ot_error *err);

/* Says whether ot_train_step and ot_backward compute the gradient of input i, a float one. */
OT_API ot_status ot_want_input_gradient(ot_session *session, int i, int wanted, ot_error *err);

/* The gradient of input i that the last of these calls has made: a view, valid until the session's
 * next call. data is NULL where the loss does not depend on the input. */
OT_API ot_status ot_get_input_gradient(const ot_session *session, int i, ot_tensor *gradient,
                                       ot_error *err);

/* ---- are the gradients right? ---- */

enum { OT_SLOPE_LEVELS = 4 };

/* How a random combination of one node's outputs changes when one of its inputs moves by h along a
 * direction of a few elements, divided by h; and what the node's gradients say. Level k has the
 * step h / 4^k, where h is 1/64 of the moved elements or more. */
typedef struct ot_slopes {
    const char *op, *node; /* as of ot_profile_step */
    const char *input;     /* the value that moves */
    double gradient;       /* along the direction */
    double size;           /* sum of the absolute values that it is the sum of */
    double left[OT_SLOPE_LEVELS], right[OT_SLOPE_LEVELS];
    double noise[OT_SLOPE_LEVELS]; /* how far rounding may have moved a slope */
} ot_slopes;

/* Forward in training form; then calls write(context, slopes) a few times for each node and each of
 * its inputs that has a gradient, in the order in which nodes run: what leads from a trainable
 * weight, or an input whose gradient is wanted, to an output; nodes that round are left out, for
 * their gradient passes straight through. Weights and gradients stay. */
typedef void ot_slopes_fn(void *context, const ot_slopes *slopes);
OT_API ot_status ot_measure_gradients(ot_session *session, const ot_tensor *inputs, int n,
                                      ot_slopes_fn *write, void *context, ot_error *err);

OT_API int64_t ot_step_count(const ot_session *session); /* optimizer steps taken */
OT_API double ot_learning_rate(const ot_session *session); /* of the next optimizer step */
OT_API double ot_gradient_norm(const ot_session *session); /* of the last optimizer step */

typedef struct ot_memory_info {
    size_t weights;   /* values and patterns */
    size_t gradients; /* of trainable parameters */
    size_t moments;   /* the optimizer's */
    size_t plan;      /* the largest plan: activations, their gradients, workspaces */
    int64_t parts;      /* micro-batches in which the plan of the last call runs; 1: undivided */
    int64_t recomputed; /* activations that it computes again instead of keeping them */
} ot_memory_info;

OT_API void ot_get_memory_info(const ot_session *session, ot_memory_info *info);

/* Describes the plan of the last ot_prepare, a line a step, through `write`: shapes, layout,
 * kernel, predicted milliseconds of products, and measured ones where ot_set_profile was on. */
typedef void ot_write_fn(void *context, const char *line);
OT_API ot_status ot_print_plan(const ot_session *session, ot_write_fn *write, void *context,
                               ot_error *err);

/* Type and shape of the target that the plan of the last ot_prepare or step wants; data is NULL.
 * OT_ERROR_STATE where that plan has no loss. */
OT_API ot_status ot_get_target(const ot_session *session, ot_tensor *target, ot_error *err);

/* Where the time of steps went: a line of ot_print_plan's, or the optimizer. */
typedef struct ot_profile_step {
    const char *what;     /* "forward", "loss", "backward", "backward weight", "again" (forward
                           * in the backward half), "add", "zero", "collect", "optimizer" */
    const char *op;       /* operator, as "Conv"; the plan's own "Reorder" and "Densify"; or "" */
    const char *name;     /* of the node, or of the value */
    const char *kernel;   /* as "spmm avx512"; "" for plain loops */
    double flops;         /* useful ones of one call; 0 where the operator does not say */
    double bytes;         /* of the tensors that one call reads or writes, each counted once */
    double seconds;       /* of all calls together */
    int64_t calls;
} ot_profile_step;

/* Switches the clocks on or off and forgets what they have counted. While they run, the backward
 * pass of a product is done in two parts, or clocks run inside of it, so that the gradient of its
 * weight ("backward weight") can be told from that of its input ("backward"); results are the same.
 */
OT_API void ot_set_profile(ot_session *session, int on);

/* Calls step(context, s) for each step of the plan that was used last, in order, then for the
 * optimizer. The strings live as long as the plan. */
typedef void ot_profile_fn(void *context, const ot_profile_step *step);
OT_API ot_status ot_get_profile(const ot_session *session, ot_profile_fn *step, void *context,
                                ot_error *err);

/* A permutation of 0..n-1 that depends on seed and epoch alone. */
OT_API void ot_permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t *index);

/* ---- files ---- */

/* A key and a string that a checkpoint carries for its host: data cursor, best metric, ... */
typedef struct ot_note {
    const char *key;
    const char *value;
} ot_note;

/* Weights, patterns, optimizer, counters and the host's notes in one safetensors file, written
 * beside the target and renamed over it when it is on disk. */
OT_API ot_status ot_save_checkpoint(const ot_session *session, const char *path,
                                    const ot_note *notes, int n, ot_error *err);

/* All or nothing. Calls note(context, key, value) for each of the host's notes after success. */
typedef void ot_note_fn(void *context, const char *key, const char *value);
OT_API ot_status ot_load_checkpoint(ot_session *session, const char *path, ot_note_fn *note,
                                    void *context, ot_error *err);

typedef enum ot_export_sparse {
    OT_EXPORT_SPARSE_AS_IS = 0,
    OT_EXPORT_SPARSE_INITIALIZER,
    OT_EXPORT_SPARSE_DENSE
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
    int training_info;       /* write loss and optimizer, with its state, as training_info; 0: the
                              * file's own, if it has any, stays as it is */
    int reserved;            /* 0 */
} ot_export_options;

/* Writes the model with its present weights: the same graph, names, opset, metadata and unknown
 * fields; atomic like a checkpoint. Before the rename the file is read as ot_open reads it, and
 * every value is compared: what does not read back is OT_ERROR_IO, and the old file stays. Data
 * that stood in other files, and all large ones where the model is larger than 2 GiB, go to a data
 * file beside path, NAME.DIGEST.data; the data file of the model that was there is removed. */
OT_API ot_status ot_export_onnx(const ot_session *session, const char *path,
                                const ot_export_options *options, ot_error *err);

/* Says at the start of a run what ot_export_onnx would refuse at its end: the same checks, and no
 * file. */
OT_API ot_status ot_check_export(const ot_session *session, const ot_export_options *options,
                                 ot_error *err);

#ifdef __cplusplus
}
#endif
#endif
