/* plan.h - a flat list of steps for fixed shapes: forward, loss, backward.
 *
 * ot_plan_new (compile.c) takes the inputs' shapes (inputs.c), unrolls the loops of the graph
 * (unroll.c) and walks it once: lower.c makes an op_node of every node that the result needs
 * (layouts: layout.c, values.c; shapes and folding: node.c), join.c joins neighbours, autodiff.c
 * appends the backward steps, memory.c gives every buffer its place in one block. Running it is one
 * loop over the steps (run.c, step.c, bind.c). Every plan prints itself (print.c).
 */
#ifndef OT_RUNTIME_PLAN_H
#define OT_RUNTIME_PLAN_H

#include "ops/op.h"
#include "runtime/finite.h"
#include "runtime/loss.h"
#include "runtime/parameter.h"
#include "runtime/logits.h"

/* Lanes of a network with convolutions: one vector of the widest instruction set a pixel. */
enum { OT_CONV_LANES = 16 };

/* What a plan computes. */
enum plan_kind {
    OT_PLAN_RUN = 0, /* all outputs, inference form */
    OT_PLAN_EVAL,    /* the loss, inference form */
    OT_PLAN_TRAIN,   /* the loss and the gradients of all trainable parameters */
    OT_PLAN_OUTPUTS, /* all outputs, training form, and the same gradients from theirs */
    OT_PLAN_MEASURE  /* the same with nothing overwritten, for measure.c */
};

/* Whether a plan has a backward half. */
static inline bool ot_plan_trains(enum plan_kind kind) {
    return kind >= OT_PLAN_TRAIN;
}
/* Whether its results are the model's outputs; else the loss. */
static inline bool ot_plan_has_outputs(enum plan_kind kind) {
    return kind == OT_PLAN_RUN || kind >= OT_PLAN_OUTPUTS;
}

/* A piece of the plan's block, alive over steps [first, rest] and [again, last]. Where nothing is
 * computed again, both are [first, last]. */
struct buffer {
    size_t bytes, offset;
    int first, last; /* first > last: not used */
    int rest, again;
};

/* A tensor of the plan. `t` comes first: op_node's tensor pointers lead back to their entry. */
struct entry {
    struct tensor t;
    const char *name;
    int buffer;         /* in plan->buffer; -1: lives elsewhere (parameter, constant, input) */
    int parameter;      /* whose value it is, or -1 */
    int input;          /* of the model, or -1 */
    bool weight;        /* a parameter, or one made dense */
    bool wants;         /* its gradient leads to a trainable parameter */
    bool cut;           /* would want one, but its node computes none for this output */
    struct entry *view; /* whose data it shares, or NULL */
    struct entry *grad; /* set by autodiff: its gradient is grad + more */
    struct entry *more; /* or NULL */
    int uses, maker;    /* for join.c: how many read it; the step that computes it, or -1 */
    struct survey survey; /* of its values, made by blame.c */
};

static inline struct entry *ot_entry(struct tensor *t) { return (struct entry *)(void *)t; }

enum step_kind {
    OT_STEP_FORWARD = 0,
    OT_STEP_LOSS,       /* a = logits -> b = their gradient, or NULL */
    OT_STEP_BACKWARD,
    OT_STEP_AGAIN,      /* what forward made, made again for the backward half */
    OT_STEP_ADD,        /* a += b: another consumer's share */
    OT_STEP_ZERO,       /* a = 0: an output that the loss does not see */
    OT_STEP_ONE,        /* a = 1: where the gradient of a Gradient node begins */
    OT_STEP_ACCUMULATE  /* gradient of parameter a->parameter += b */
};

/* What a profile has measured. */
struct timing {
    double seconds;
    int64_t calls;
};

struct step {
    enum step_kind kind;
    struct op_node *node;
    struct entry *a, *b;
    struct timing time, weight_time; /* weight_time: of the second part of a product's backward */
};

/* An op_node with what only the plan knows. */
struct plan_node {
    struct op_node n;
    int save, forward_scratch, backward_scratch; /* buffers, or -1 */
    bool is_view;
    bool gone; /* into another node */
};

struct plan {
    struct plan *next; /* the session keeps them in order of use */
    enum plan_kind kind;
    struct arena arena;
    struct ot_session *session;
    const struct graph *graph; /* the session's, its loops unrolled */
    const int *parameter_of;   /* value of the graph -> parameter of the session, or -1 */

    int n_inputs;
    ot_tensor *input; /* the shapes it was made for */
    struct entry **input_entry;
    int n_outputs;
    struct entry **output; /* RUN, OUTPUTS */
    struct entry **output_gradient; /* OUTPUTS; NULL where an output wants none */
    struct entry *logits, *loss_gradient; /* logits: what is differentiated */
    const struct node *gradient; /* RUN: a Gradient node, whose outputs are results; or NULL */
    struct tail tail;     /* of the output that the loss looks at */
    bool skips;           /* the loss wants what goes into the tail's activation ... */
    bool is_skipped;      /* ... and gets it */
    int class_axis;       /* as ot_tail_axis says */
    struct loss loss;     /* of the last step, or what is expected */
    struct tensor target; /* shape that the loss expects */
    bool *trains; /* parameters that get a gradient; NULL: none */
    bool mixes;   /* a sample's result depends on the others of its batch */
    bool ordered; /* a loop has as many iterations as the batch samples: they may be steps */
    bool frugal;  /* memory is short: what can be is computed again */
    int n_again;  /* forward steps in the backward half */

    /* Of a plan that is divided into micro-batches (divide.c), which has no steps of its own. */
    int64_t parts, batch; /* parts 0: not divided */
    struct plan *part[2]; /* the second, a sample smaller, or NULL */
    bool *divided;        /* inputs that are cut along the batch */
    ot_tensor *slice;     /* inputs of the part that runs */
    int64_t done;         /* parts that the last run has done */

    int n_nodes, node_capacity;
    struct plan_node **node; /* in forward order, internal operators included */
    int n_steps, step_capacity;
    int n_forward; /* OUTPUTS: steps before those of backward */
    struct step *step;
    int n_buffers, buffer_capacity;
    struct buffer *buffer;
    size_t block_bytes, bound; /* bound: the bytes alive in the fullest step */
    char *block;               /* the session's, as pointers have been set to it */
    struct entry **entries; /* all that have a buffer or a view */
    int n_entries, entry_capacity;

    /* while lowering: what each value of the graph is */
    struct entry **rows, **lanes, **dense;
    struct moved_use **moved; /* weights that are moved first, or NULL */
    int lane_count;
    bool few_samples;       /* convolutions stay in rows */
    bool has_product;       /* with a sparse weight */
    bool convolves;         /* with one */
    bool *leads_to_lanes;   /* of each node of the graph */
    struct fusion **fused;  /* what a node is a member of, or NULL */
    struct missed *missed;  /* what might have been one operator */
    int64_t batch_from, batch_to;
};

/* frugal: no activation is kept for the backward half that can be computed again. */
ot_status ot_plan_new(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                      bool frugal, struct plan **plan, ot_error *err);
/* For micro-batches of `rows` samples of these inputs; OT_ERROR_LIMIT where the output is not by
 * sample. */
ot_status ot_plan_new_part(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                           int n, int64_t rows, bool frugal, struct plan **plan, ot_error *err);
/* Of `parts` micro-batches, of ot_part_rows samples, or one less. */
ot_status ot_plan_new_divided(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                              int n, int64_t parts, bool frugal, struct plan **plan,
                              ot_error *err);
int64_t ot_part_rows(int64_t batch, int64_t parts);
/* The first dimension of the first input that has one; 0: none has. */
int64_t ot_batch_of(const ot_tensor *inputs, int n);
void ot_plan_free(struct plan *p); /* NULL is fine */
bool ot_plan_fits(const struct plan *p, enum plan_kind kind, const ot_tensor *inputs, int n);

/* The stages, in order. The first takes the shapes over, where the model has such inputs. */
ot_status ot_plan_take_inputs(struct plan *p, const ot_tensor *inputs, int n, ot_error *err);
/* p->graph becomes the session's graph with every loop unrolled for the shapes of the plan. */
ot_status ot_unroll(struct plan *p, ot_error *err);
ot_status ot_lower(struct plan *p, ot_error *err);
ot_status ot_join(struct plan *p, ot_error *err);
ot_status ot_differentiate(struct plan *p, ot_error *err);
ot_status ot_recompute(struct plan *p, bool frugal, ot_error *err);
ot_status ot_plan_memory(struct plan *p, ot_error *err);

/* Sets pointers into the session's block. */
void ot_plan_bind(struct plan *p);

/* What a run is to reach: the loss on `target`, added to `result`. */
struct goal {
    const struct loss *loss;
    const ot_tensor *target, *mask; /* mask: of next_token; NULL: none */
    int64_t total; /* targets that count in the whole batch */
    int64_t unit;  /* what gradients are divided by: `total`, or that of an earlier batch */
    ot_result *result;
};

/* Looks at the inputs. */
ot_status ot_plan_check(const struct plan *p, const ot_tensor *inputs, ot_error *err);
/* Sets p->loss and p->target to what a loss without a known target is expected to be. */
ot_status ot_plan_expect_target(struct plan *p, ot_error *err);
/* Runs all steps on what has been checked. Adds to the parameters' gradients. */
ot_status ot_plan_run(struct plan *p, const ot_tensor *inputs, const struct goal *goal,
                      ot_error *err);
/* Points the plan's tensors at the session's block and at the inputs. */
void ot_plan_set_inputs(struct plan *p, const ot_tensor *inputs);
ot_status ot_run_step(struct plan *p, struct step *step, const struct goal *goal, ot_error *err);
/* The same with the time that it took added to the step's. */
ot_status ot_run_step_timed(struct plan *p, struct step *step, const struct goal *goal,
                            ot_error *err);
/* The first n outputs as views. */
void ot_plan_results(const struct plan *p, ot_tensor *outputs, int n);
/* The two halves of an OUTPUTS plan, on inputs that have been checked. */
ot_status ot_plan_forward(struct plan *p, const ot_tensor *inputs, ot_error *err);
ot_status ot_plan_backward(struct plan *p, ot_error *err);

void ot_plan_print(const struct plan *p, ot_write_fn *write, void *context);

/* What the stages share. NULL / -1 when memory is exhausted. */
struct entry *ot_plan_entry(struct plan *p, const char *name);
int ot_plan_buffer(struct plan *p, size_t bytes);
ot_status ot_plan_step(struct plan *p, struct step step, ot_error *err);
ot_status ot_plan_no_memory(ot_error *err);

/* A node for an operator, whose tensors are NULL; the plan does not know it yet. */
struct plan_node *ot_node_new(struct plan *p, struct arena *arena, const struct op *op,
                              const struct node *node, int index);
/* With x and y set: prepares it and gives its outputs and memory their buffers. */
ot_status ot_node_prepare(struct plan *p, struct plan_node *pn, ot_error *err);

#endif
