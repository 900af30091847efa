/* op.h - what an operator is.
 *
 * An operator is one file with one const `struct op ot_op_<Name>` and one line in ops.def. prepare
 * is called once for fixed shapes and fills in n->plan; forward and backward are called many times,
 * by several copies of the node at once, and change nothing that n->plan leads to. What lasts from
 * run to run and changes is n->work, which each copy has for itself. prepare and open do all that
 * can fail; forward and backward cannot fail and allocate nothing.
 *
 * Conventions:
 *  - x inputs, y outputs, dx and dy their gradients. backward overwrites dx[i]; NULL means that
 *    nobody wants it. Gradients of several consumers are added by the plan.
 *  - An optional input or output that is absent is a NULL pointer.
 *  - prepare reads the shapes (and layout) of x, sets type, rank and dim of every y, and asks for
 *    scratch and save memory. The layout of y was set by the plan before: rows, or lanes if
 *    op->lanes said so; then x[i] is in lanes too (weights and constants excepted).
 *  - x[i]->data is readable in prepare only if role is CONST.
 *  - Data moves in parallel only through ot_parallel_for, cut by shape. Each output element is
 *    reduced in one fixed order.
 */
#ifndef OT_OPS_OP_H
#define OT_OPS_OP_H

#include <stdatomic.h>

#include "ops/kernels/loss.h"
#include "runtime/base/arena.h"
#include "runtime/base/graph.h"
#include "runtime/base/pool.h"
#include "runtime/base/tensor.h"

struct kernels;
struct conv_shape;
struct probe;
struct probe_sink;

/* Bits of op.needs: what backward reads besides dy. */
#define OT_X(i)  (1u << (i))
#define OT_Y(i)  (1u << (16 + (i)))
#define OT_X_ALL 0xffffu

/* Lanes of channels: lane_rank 2, so many lanes, and a multiple of them channels. In memory
 * [N][C / 16][H][W][16], the layout of dense convolutions with AVX-512. */
enum { OT_CHANNEL_LANES = 16 };

/* A layout: so many lanes of this lane_rank; rank 0: rows. */
struct lanes {
    int count, rank;
};

/* How a product with a weight that has a pattern is computed: with its slots alone, or by dense
 * kernels, which see everything, or the rows and channels that have slots. */
enum ot_form { OT_FORM_SPARSE = 0, OT_FORM_DENSE, OT_FORM_LIVE, OT_FORMS };

/* What a step knows beyond its tensors. */
struct step_context {
    uint64_t seed;   /* of the random streams, which step, node and element key, too */
    uint64_t step;   /* training steps so far */
    int64_t first;   /* index of the micro-batch's first sample in its batch */
    int64_t samples; /* size of the micro-batch; 0: the whole batch */
};

enum { OT_FAULT_ENDING = INT32_MAX };

struct op_node {
    const struct op *op;
    const struct node *node; /* the graph's node: name and attributes */
    int index;               /* index of the node in the graph: keys the node's random stream */
    int n_in, n_out;
    struct tensor **x, **y;
    struct tensor **dx, **dy;  /* set before backward; dx[i] is NULL where no gradient is wanted */
    const struct tensor *more; /* a second part of the gradient of y[0], or NULL (takes_more) */
    uint32_t want;             /* bit i: the gradient of x[i] will be asked for; known in prepare */
    enum ot_form form;         /* of a product whose weight has a pattern; the plan sets it */
    bool training;             /* false: inference form (running statistics, no dropout) */
    bool patterns_change;      /* the node will follow other patterns of its weights */
    ot_bn_mode bn;
    int64_t batch_from, batch_to; /* dimension 0 that the file fixes, and the one it runs with */
    bool mixes;   /* set by prepare: a sample's y depends on other samples of the batch */
    bool rounds;  /* set by prepare: y is x rounded, and the gradient passes straight through */
    bool ordered; /* set by prepare: dimension 0 of x[0] is time, or summed over: no samples */

    /* What prepare finds out: op->plan_size bytes, zeroed before it, and all that they point to.
     * Read-only afterwards: several copies of the node, in several threads, share one plan. */
    const void *plan;

    /* Memory that prepare asks for, in bytes; the pointers are set later, 64-byte aligned. */
    size_t work_size;            /* of this node alone, from run to run; zeroed when it is made */
    size_t save_size;            /* written by forward; backward reads it, and may overwrite it */
    size_t forward_scratch_size; /* undefined contents, for the time of one call */
    size_t backward_scratch_size;
    void *work, *save, *scratch; /* work: NULL where its size is 0 */

    const struct kernels *kernels;
    struct pool *pool;   /* for forward and backward alone */
    int workers;         /* the most that a pool may have: prepare sizes scratch memory for them */
    struct arena *arena; /* for prepare: lives as long as the plan */
    const struct step_context *context;

    /* Set by forward and backward: > 0 where the dense back end failed (OT_FAULT_ENDING: because
     * the process ends), < 0 by ot_op_bad_index. */
    atomic_int fault;

    /* For those who read plans; prepare fills them in where it knows. */
    const char *kernel;  /* e.g. "spmm avx512", "dnnl conv"; NULL: plain loops */
    double flops;        /* of forward, useful ones */
    double predicted[2]; /* milliseconds of forward and backward; 0: not known (product/cost.h) */
    double choice[OT_FORMS]; /* of all passes in each form, where the plan chose; else 0 */
    bool joint;              /* one pass of backward makes the gradients of x[0] and x[1] */
    double *weight_share; /* of a joint pass: the share of its time that the gradient of x[1] took;
                           * NULL: nobody asks */

    /* Set by ot_op_prepare_probe: */
    const struct probe
        *probe; /* how gradients outside the mask of x[1] are found; NULL: nobody asks */
    size_t probe_scratch_size; /* bytes of n->scratch for the time of ot_op_probe */
    double probe_predicted;    /* milliseconds of one call */
};

/* Who takes the gradients of a weight at positions that it has no slots for. Rows and columns are
 * those of its pattern. */
struct probe_sink {
    /* All positions, slots among them: n gradients of a row from column col on. Calls at once are
     * of different workers and different rows; the columns of a row ascend. NULL: nobody asks. */
    void (*take)(void *to, int worker, int row, int col, const float *gradient, int n);
    void *to;
    /* Or those of a pattern of the same shape, added to `sum`, a float a slot. */
    const struct pattern *pattern;
    float *sum;
};

#define OT_TRAINING_DOMAIN "ai.onnx.preview.training"

/* Whether y[0] may have a gradient where it is an integer: */
enum ot_straight {
    OT_STRAIGHT_NEVER = 0,
    OT_STRAIGHT_THROUGH, /* where x[0] is an integer with a gradient */
    OT_STRAIGHT_MADE     /* always: y[0] is rounded from floats */
};

struct op {
    const char *name;                     /* ONNX op_type */
    const char *domain;                   /* NULL: the default one */
    int since;                            /* first opset whose form it understands */
    int min_in, max_in, min_out, max_out; /* max_in -1: any number */
    const char *attributes; /* "alpha:f axis:i pads:I mode:s value:t": kinds i f s t I F S; others
                             * are refused. "" for none */
    uint32_t needs;
    uint32_t sparse_in;  /* bit i: x[i] may have a pattern, with activations in lanes */
    uint32_t parameters; /* bit i: a float initializer here is a trainable weight */
    uint32_t statistics; /* bit i: x[i] is a running statistic, updated by forward */
    uint32_t moves;      /* bit i (15: and beyond): y holds elements of x[i], as other inputs say */
    uint32_t type_only;  /* bit i: only the type of x[i] is read: any layout, no gradient */
    uint32_t rows_in;    /* bit i: x[i] stays in rows where the node runs in lanes */
    /* Bit i, where the second of the two is not read later: */
    uint32_t y_over_x;   /* y[0] may stand in the memory of x[i] */
    uint32_t dx_over_x;  /* dx[i] may stand in the memory of x[i] */
    uint32_t dx_over_dy; /* dx[i] may stand in the memory of dy[0] */
    bool takes_more;     /* backward adds up two parts of dy[0] */
    bool view;           /* y[0] is x[0] with another shape: forward and backward move nothing */
    enum ot_straight straight; /* may integer results have a gradient of floats? */
    bool shape_only;  /* y depends on the shape of x alone: computed when the plan is made */
    bool internal;    /* not an operator of ONNX: only plans make such nodes */
    bool random;      /* y differs from step to step: never computed when the plan is made */
    bool any_density; /* sparse_rows beats zeros written out however few they are */
    bool all_outputs; /* gradients come to every float output, not to y[0] alone; those that
                       * nobody uses are NULL */
    size_t plan_size;

    /* Of an operator that stands for several nodes: does it take their inputs? Asked with types and
     * shapes of x known, before lanes; NULL: always. */
    bool (*fits)(const struct op_node *n);
    /* May this node run in lanes layout? Asked with x's shapes known, before prepare; NULL: no.
     * lane_rank is that of its lanes inputs. */
    bool (*lanes)(const struct op_node *n, int lane_rank);
    int channel_lanes; /* of lane_rank 2 ([N, C] merged), lanes takes this width alone; 0: any */
    /* May x[i] keep its pattern although the node runs in rows? NULL: no. */
    bool (*sparse_rows)(const struct op_node *n, int i);
    /* The product of x[0] and x[1] as ops/product/sparse.h has it, where their shapes make one;
     * NULL: none. Asked before prepare, for the choice between sparse and dense kernels. */
    bool (*product)(const struct op_node *n, struct conv_shape *s);
    /* Of an operator whose y is the input of such a product, and x[0] what it makes: its shape. */
    bool (*product_of_y)(const struct op_node *n, struct conv_shape *s);
    /* Of an operator to which the dense gradient of x[0], which has a pattern, comes anyway: tells
     * it to the sink. It needs no preparation. NULL: products do (ot_op_prepare_probe). */
    void (*probe)(struct op_node *n, const struct probe_sink *sink);
    ot_status (*prepare)(struct op_node *n, ot_error *err);
    void (*forward)(struct op_node *n);
    void (*backward)(struct op_node *n); /* NULL: not differentiable */
    /* Makes y[0] once more after forward, bit for bit, from x and save; cheap enough to be done
     * instead of keeping y[0]. Often the same function as forward; NULL: no. */
    void (*again)(struct op_node *n);
    void (*release)(struct op_node *n); /* frees what belongs to the plan; NULL: nothing to free */
    /* The pattern of x[i] has become another one of the same shape and number of slots: derives
     * anew what prepare has derived from it, in the same memory. Asked of nodes whose
     * patterns_change was set in prepare, while nobody runs them. NULL: prepare it again. */
    void (*follow)(struct op_node *n, int i);
    /* Called once for each copy of a node before its first run, with n->work there: makes what a
     * copy cannot share, and can fail. Only where prepare asked for work memory. NULL: nothing. */
    ot_status (*open)(struct op_node *n, ot_error *err);
    /* Frees what open made, all of it or a part. NULL: nothing to free. */
    void (*close)(struct op_node *n);

    const char *limits;       /* what is supported of the standard; NULL: all of it */
    const char *const *cases; /* test cases, see tests/cases.md; ends with NULL */
};

/* The operator of that name in the default domain, or NULL. */
const struct op *ot_op_find(const char *op_type);
/* The operator of a node, whatever its domain, or NULL. */
const struct op *ot_op_of(const struct node *node);
/* The i-th operator of the table; NULL behind the last. */
const struct op *ot_op_at(int i);

/* The kernels of an instruction set by name, or the best one for NULL; NULL: not on this machine.
 * (Names: ot_isa_name of the public header.) */
const struct kernels *ot_kernels_find(const char *isa);

/* The kernels of cross entropy: log_sum and best of x; then
 * g = (exp(x - log_sum) total - share - rest t) scale. */
void ot_loss_log_sums(const struct kernels *kernels, const struct loss_strip *strip);
void ot_loss_gradient(const struct kernels *kernels, const struct loss_strip *strip);

/* Is a weight sparse enough for sparse kernels, whatever its shape? */
bool ot_pattern_is_sparse(const struct pattern *p);
/* Is x[1] a weight with a pattern whose product the operator computes in any form? Asked before a
 * form is chosen. */
bool ot_op_has_forms(const struct op_node *n);
/* Sets n->form to what is predicted to take the least time, n->choice to what each form would take:
 * the passes that n is asked for, and turning x into the layout of the form, sparse or dense, where
 * that is not its own. See ops/product/cost.h. */
void ot_op_choose_form(struct op_node *n, struct lanes sparse, struct lanes dense);
/* Do so many samples of convolutions take less time in rows than in lanes, the last of which zeros
 * fill up? One answer for all layers of a network: from layout to layout all samples move. */
bool ot_op_rows_pay(int64_t samples, int lanes);
/* The same for a linear layer, of which other kernels read up to so many samples in rows. */
enum { OT_FEW_SAMPLES = 8 };
bool ot_op_few_pay(const struct op_node *n);

/* The input whose gradients outside its mask a node may tell. */
static inline int ot_op_probed_input(const struct op_node *n) { return n->op->probe ? 0 : 1; }
/* Of a prepared node: prepares to tell gradients at positions that this input, which has a pattern,
 * has no slots for. slots: 0: at all positions; else at those of patterns with up to so many. */
ot_status ot_op_prepare_probe(struct op_node *n, int slots, ot_error *err);
/* Tells them: before backward, while x and dy are there. Does not change them. A fault is kept as
 * those of backward are. */
void ot_op_probe(struct op_node *n, const struct probe_sink *sink);

/* May this node run in so many lanes of this rank? */
static inline bool ot_op_lanes(const struct op_node *n, int lanes, int lane_rank) {
    if (lane_rank == 2 && n->op->channel_lanes && n->op->channel_lanes != lanes) return false;
    return n->op->lanes && n->op->lanes(n, lane_rank);
}

/* Does a BatchNormalization say that it trains on its batch? */
bool ot_node_trains(const struct node *node);

/* Checks counts, opset and attributes of a node against its operator's record. */
ot_status ot_op_check(const struct op *op, const struct node *node, ot_error *err);

/* "node 'conv1' (Conv)": how messages name a node. */
ot_status ot_op_fail(const struct op_node *n, ot_error *err, ot_status status, const char *format,
                     ...) OT_FORMAT(4, 5);

/* What became of forward and backward calls: OT_OK, or a fault, which is then forgotten: what the
 * dense back end met (out of memory, mostly), or an index out of range. A plan asks after each
 * step. */
ot_status ot_op_fault(struct op_node *n, ot_error *err);

/* Makes the work memory of a prepared node, in this arena, and opens the node. After a failure too
 * the node has to be closed. */
ot_status ot_op_open(struct op_node *n, struct arena *arena, ot_error *err);
/* The same in memory that is there: n->work_size zeroed bytes. */
ot_status ot_op_open_in(struct op_node *n, void *work, ot_error *err);
/* Closes the node; its work memory is no longer used. Never opened, or closed already: does
 * nothing. */
void ot_op_close(struct op_node *n);

/* ---- helpers for prepare ---- */

/* The node's plan, for prepare and follow alone to write. */
static inline void *ot_op_plan(struct op_node *n) { return (void *)n->plan; }

/* So many bytes more of n's work memory, 64-byte aligned; returns where they begin. */
size_t ot_op_ask_work(struct op_node *n, size_t bytes);

/* y = a tensor of this type and shape; fails where it has too many elements. */
ot_status ot_op_set(struct op_node *n, struct tensor *y, ot_type type, int rank, const int64_t *dim,
                    ot_error *err);
/* y = shape and type of x. */
void ot_op_like(struct tensor *y, const struct tensor *x);
/* Refuses x[i] that is absent or not of this type (OT_FLOAT mostly). */
ot_status ot_op_type(const struct op_node *n, int i, ot_type type, ot_error *err);
/* The type that an attribute asks for: floats of any width are floats here, and what is no type
 * that tensors have is OT_UNDEFINED. */
ot_type ot_op_asked_type(const struct op_node *n, const char *attribute, ot_type otherwise);
/* -r <= axis < r becomes 0 <= axis < r. */
ot_status ot_op_axis(const struct op_node *n, int64_t axis, int rank, int *out, ot_error *err);

/* For prepare: y depends on all of x[0] along this axis. */
static inline void ot_op_along(struct op_node *n, int axis) {
    n->ordered |= axis == 0 && n->x[0]->role == OT_ROLE_ACTIVATION;
}
/* Values of a constant int32/int64 tensor input as int64, in the arena. Fails where it is not
 * CONST. An absent input gives NULL and 0. */
ot_status ot_op_ints(const struct op_node *n, int i, const int64_t **values, int *count,
                     ot_error *err);
/* numpy broadcasting of a and b into dim/rank. */
ot_status ot_op_broadcast(const struct op_node *n, const struct tensor *a, const struct tensor *b,
                          int *rank, int64_t *dim, ot_error *err);

/* ---- weights that a file holds as integers: integer_weight.c ---- */

/* Is input 0 of this node such a weight? The node is a DequantizeLinear of constants. */
bool ot_is_integer_weight(const struct graph *g, const struct node *n);
/* Its values as floats, row-major. */
void ot_integer_weight_read(const struct graph *g, const struct node *n, float *values);
/* Floats become the integers to be written, as floats. */
void ot_integer_weight_round(const struct graph *g, const struct node *n, float *values);

/* ---- helpers for forward and backward ---- */

/* May x[i] have a gradient as far as its type goes? */
static inline bool ot_op_carries(const struct op *op, const struct tensor *t) {
    return t->type == OT_FLOAT || op->straight;
}

/* May y[j] have one, as far as types go? */
static inline bool ot_op_leads(const struct op_node *n, int j) {
    return n->y[j]->type == OT_FLOAT || n->op->straight == OT_STRAIGHT_MADE ||
           (n->op->straight == OT_STRAIGHT_THROUGH && n->x[0] && n->x[0]->type != OT_FLOAT);
}

/* Does it read more of x[i] than its type? */
static inline bool ot_op_reads(const struct op *op, int i) {
    return i > 31 || !(op->type_only >> i & 1);
}

/* A weight or a constant: always in rows. */
static inline bool ot_is_fixed(const struct tensor *t) {
    return t->role == OT_ROLE_PARAM || t->role == OT_ROLE_CONST;
}

static inline float *ot_f(const struct tensor *t) { return t->data; }
/* Element k of x[1], which came with the batch, is out of range: the step will fail. */
static inline void ot_op_bad_index(struct op_node *n, int64_t k) {
    atomic_store_explicit(&n->fault, -1 - (int)(k < INT32_MAX - 1 ? k : INT32_MAX - 1),
                          memory_order_relaxed);
}
static inline bool ot_training_wants(const struct op_node *n, int i) { return (n->want >> i) & 1; }

/* Zeroes the spare lanes of a float tensor; nothing to do in rows. For operators whose function may
 * make infinities or NaN of the finite garbage that stands there. */
void ot_op_clear_spare(struct tensor *t);

/* Tasks of about `grain` elements over n elements: their number, and the range of one. Depends on
 * n and grain alone. */
static inline int ot_task_count(int64_t n, int64_t grain) {
    int64_t t = (n + grain - 1) / grain;
    return t < 1 ? 1 : (int)t;
}
static inline void ot_task_range(int64_t n, int64_t grain, int task, int64_t *from, int64_t *to) {
    *from = (int64_t)task * grain;
    *to = *from + grain < n ? *from + grain : n;
}

#endif
