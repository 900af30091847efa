/* plan.h - a flat list of steps for fixed shapes: forward, loss, backward.
 *
 * ot_plan_new (compile.c) takes the inputs' shapes (inputs.c), unrolls the loops of the graph
 * (unroll.c) and walks it once: lower.c makes an op_node of every node that the result needs
 * (layouts: layout.c, values.c; shapes and folding: node.c), join.c joins neighbours, autodiff.c
 * appends the backward steps, lifetimes.c gives every buffer its place in one block. A plan
 * knows neither session nor weights nor threads: context.h runs it.
 */
#ifndef OT_COMPILE_PLAN_H
#define OT_COMPILE_PLAN_H

#include <stdatomic.h>

#include "runtime/base/finite.h"
#include "runtime/model/model.h"
#include "runtime/compile/request.h"
#include "runtime/model/logits.h"

/* Lanes of a network with convolutions: one vector of the widest instruction set a pixel. */
enum { OT_CONV_LANES = 16 };

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
    int number;         /* in plan->entries */
    int buffer;         /* in plan->buffer; -1: lives elsewhere (parameter, constant, input) */
    int parameter;      /* the parameter whose value the entry is, or -1 */
    int input;          /* number of the model's input, or -1 */
    bool weight;        /* a parameter, or one made dense */
    bool wants;         /* the entry's gradient leads to a trainable parameter */
    bool is_changed;    /* made by Moved: it has another pattern since it was followed (follow.c) */
    bool no_gradient;   /* a gradient is wanted, but the node computes none for this output */
    struct entry *view; /* entry whose data this one shares, or NULL */
    struct entry *grad; /* set by autodiff: the gradient is grad + more */
    struct entry *more; /* second part of the gradient, or NULL */
    int uses, maker;    /* for join.c: how many read it; the step that computes it, or -1 */
    struct survey survey; /* of its values, made by blame.c */
};

static inline struct entry *ot_entry(struct tensor *t) { return (struct entry *)(void *)t; }

enum step_kind {
    OT_STEP_FORWARD = 0,
    OT_STEP_LOSS,  /* a = logits -> b = their gradient, or NULL */
    OT_STEP_PROBE, /* before the node's backward: gradients outside the mask of a->parameter, for
                    * whoever asks in this run */
    OT_STEP_BACKWARD,
    OT_STEP_AGAIN,     /* what forward made, made again for the backward half */
    OT_STEP_ADD,       /* a += b: another consumer's share */
    OT_STEP_ZERO,      /* a = 0: an output that the loss does not see */
    OT_STEP_ONE,       /* a = 1: where the gradient of a Gradient node begins */
    OT_STEP_ACCUMULATE /* gradient of parameter a->parameter += b */
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
    int number;                                                 /* in plan->node */
    int save, forward_scratch, backward_scratch, probe_scratch; /* buffers, or -1 */
    bool is_view;
    bool merged; /* into another node */
};

/* Who makes plans: what a plan needs while it is made, and forgets. */
struct compiler {
    const struct model *model;
    struct pool *pool;
    const struct log *log;
};

/* How a parameter is computed with. */
enum form_seen { OT_SEEN_NOT = 0, OT_SEEN_DENSE, OT_SEEN_SPARSE };

/* What is to be computed, for one request. Nothing here changes once the plan is made, unless it
 * follows other patterns (ot_plan_follow): contexts (context.h) bind it to memory and weights, and
 * run it. */
struct plan {
    struct plan *next; /* a store keeps them in order of use */
    atomic_int references;
    struct request request; /* what was asked for; the plan owns its arrays */
    struct arena arena;
    struct compiler compiler; /* zeroed when the plan is made */
    const struct model *model;
    const struct graph *graph; /* the model's, its loops unrolled */
    const int *parameter_of;   /* value of the graph -> parameter of the model, or -1 */

    struct entry **input_entry;
    int n_outputs;
    struct entry **output;                /* RUN, OUTPUTS */
    struct entry **output_gradient;       /* OUTPUTS; NULL where an output needs no gradient */
    struct entry *logits, *loss_gradient; /* logits: the entry that is differentiated */
    const struct node *gradient; /* RUN: a Gradient node, whose outputs are results; or NULL */
    struct tail tail;            /* of the output that the loss looks at */
    bool skips;           /* may the loss be computed from the input of the tail's activation? */
    bool is_skipped;      /* the loss is computed from the input of the tail's activation */
    int class_axis;       /* axis of ot_tail_axis */
    struct loss loss;     /* loss that is assumed before a target is known */
    struct tensor target; /* shape that this loss expects */
    bool *trains;         /* parameters that get a gradient; NULL: none */
    unsigned char *seen;  /* of each parameter: enum form_seen */
    int *slots;           /* of each parameter, when the plan was made: -1: it had no pattern */
    uint64_t patterns;    /* model->patterns that the plan has followed */
    bool mixes;           /* a sample's result depends on the others of its batch */
    bool ordered; /* a loop has as many iterations as the batch samples: they may be steps */
    int n_again;  /* forward steps in the backward half */

    /* Of a plan that is divided into micro-batches (parts.c), which has no steps of its own. */
    int64_t parts, batch; /* parts 0: not divided */
    struct plan *part[2]; /* the second has one sample less, or is NULL */
    bool *divided;        /* inputs that are cut along the batch */

    int n_nodes, node_capacity;
    struct plan_node **node; /* in forward order, internal operators included */
    int n_steps, step_capacity;
    int n_forward; /* OUTPUTS: steps before those of backward */
    struct step *step;
    int n_buffers, buffer_capacity;
    struct buffer *buffer;
    size_t block_bytes, bound; /* bound: the most bytes in use in any step */
    struct entry **entries;    /* all entries that have a buffer or a view */
    int n_entries, entry_capacity;

    /* While lowering: the entry of each value of the graph, in each layout. */
    struct entry **rows, **lanes, **dense;
    struct moved_use **moved; /* weights that are moved first, or NULL */
    int lane_count;
    bool few_samples;      /* convolutions stay in rows */
    bool has_product;      /* a product has a sparse weight */
    bool convolves;        /* a convolution has a sparse weight */
    bool *leads_to_lanes;  /* of each node of the graph */
    struct fusion **fused; /* the fusion that a node belongs to, or NULL */
    struct missed *missed; /* groups of nodes that were nearly recognised */
    int64_t batch_from, batch_to;
};

/* An empty plan, whose request shares the arrays of r; NULL: out of memory. */
struct plan *ot_plan_alloc(const struct compiler *c, const struct request *r);
/* The arrays of the request are copied. */
ot_status ot_plan_new(const struct compiler *c, const struct request *r, struct plan **plan,
                      ot_error *err);
/* For micro-batches of `rows` samples of these inputs; OT_ERROR_LIMIT where the output is not by
 * sample. */
ot_status ot_plan_new_part(const struct compiler *c, const struct request *r, int64_t rows,
                           struct plan **plan, ot_error *err);
/* Of `parts` micro-batches, of ot_part_rows samples, or one less. */
ot_status ot_plan_new_divided(const struct compiler *c, const struct request *r, int64_t parts,
                              struct plan **plan, ot_error *err);
/* Copies the arrays of the request, which the plan outlives, into this arena. */
ot_status ot_plan_keep_request(struct plan *p, struct arena *arena, ot_error *err);
/* Brings the plan up to the patterns that the model's weights have now (ot_model_set_pattern), in
 * place: allocates nothing, and changes no bit of what a plan that is made now would compute.
 * Nobody runs the plan meanwhile; ot_bind hands the patterns on. false: the plan is of no use any
 * more and has to be made anew, since it was not made for patterns that change, a weight has
 * another number of slots, or an operator cannot follow. */
bool ot_plan_follow(struct plan *p, struct pool *pool);
/* What plan.slots says of a parameter. */
static inline int ot_plan_slots(const struct parameter *p) {
    return p->t.pattern ? p->t.pattern->nnz : -1;
}
struct plan *ot_plan_ref(struct plan *p);
/* The last one frees it; NULL is fine. */
void ot_plan_unref(struct plan *p);
static inline int64_t ot_part_rows(int64_t batch, int64_t parts) {
    return (batch + parts - 1) / parts;
}
/* Bytes of the plan itself, its parts included. */
size_t ot_plan_bytes(const struct plan *p);
/* Is it the plan for this request? */
bool ot_plan_fits(const struct plan *p, const struct request *r);

/* The stages, in order. The first takes the shapes over, where the model has such inputs. */
ot_status ot_plan_take_inputs(struct plan *p, ot_error *err);
/* p->graph becomes the session's graph with every loop unrolled for the shapes of the plan. */
ot_status ot_unroll(struct plan *p, ot_error *err);
ot_status ot_lower(struct plan *p, ot_error *err);
ot_status ot_join(struct plan *p, ot_error *err);
ot_status ot_differentiate(struct plan *p, ot_error *err);
/* Before the backward step of a node: its probe, where the request names its weight. */
ot_status ot_plan_probe(struct plan *p, struct plan_node *pn, ot_error *err);
/* Has every probe of the request found its weight? */
ot_status ot_plan_check_probes(const struct plan *p, ot_error *err);
ot_status ot_recompute(struct plan *p, ot_error *err);
ot_status ot_plan_memory(struct plan *p, ot_error *err);

/* The output of the whole batch, in *t, as a loss sees it; loss_axis as in the request. A Softmax
 * that is skipped may name an axis that the output has not: no hint. */
struct loss_output ot_plan_loss_output(const struct plan *p, const ot_tensor *inputs, int loss_axis,
                                       struct tensor *t);
/* The input of a language model that tells which tokens count; NULL: there is none. */
const ot_tensor *ot_find_mask(const struct plan *p, const ot_tensor *tokens,
                              const ot_tensor *inputs);
/* Sets p->loss and p->target to what a loss without a known target is expected to be. */
ot_status ot_plan_expect_target(struct plan *p, ot_error *err);

/* What all probes of a run are predicted to take, as a share of what the other steps of the plan
 * are; 0: nothing is known. */
double ot_plan_probe_share(const struct plan *p);
/* The fewest steps from probe to probe, at least so many, of which probes take at most this share.
 */
int64_t ot_plan_probe_interval(const struct plan *p, int64_t least, double share);

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
