/* context.h - who runs plans: the memory, the threads and the parameters of one run at a time.
 *
 * A plan says what is computed and never changes. To be run it is bound to a context (bind.c): a
 * copy of its lists, whose pointers lead into the context's block, and the memory that operators
 * change. Contexts share plans and models; each belongs to one thread at a time.
 */
#ifndef OT_RUN_CONTEXT_H
#define OT_RUN_CONTEXT_H

#include "runtime/compile/plan.h"
#include "runtime/model/weights.h"
#include "runtime/run/profile.h"

struct context {
    ot_allocator allocator;
    struct pool *pool;
    struct step_context random; /* keys of the random streams */
    struct weights *weights; /* weights that plans read; training plans write running statistics */
    struct parameter *parameter; /* of plans that train: where gradients go; else NULL */
    struct profile profile;
    bool allow_nonfinite;
    struct bound *bound; /* of plans, in no order */
    char *block;         /* of all of them: one runs at a time */
    size_t block_bytes;
};

/* A plan in a context: its lists, as in struct plan, with pointers of their own. */
struct bound {
    struct bound *next;
    struct plan *plan;
    struct context *context;
    struct entry *entry;    /* plan->n_entries */
    struct plan_node *node; /* plan->n_nodes */
    struct step *step;      /* plan->n_steps */
    void *work;             /* of all nodes that run, in order of their steps */
    struct entry **input_entry, **output, **output_gradient;
    struct entry *logits;
    char *block;           /* the context's, as pointers have been set to it; or NULL */
    uint64_t patterns;     /* plan->patterns that the entries have */
    struct loss loss;      /* of the last step, or what is expected */
    struct tensor target;  /* shape that the loss expects */
    struct bound *part[2]; /* of a divided plan */
    ot_tensor *slice;      /* inputs of the part that runs */
    int64_t done;          /* parts that the last run has done */
};

/* The plan in this context, made where it is not bound yet. The context has at most as many workers
 * as the plan was made for. */
ot_status ot_bind(struct context *c, struct plan *p, struct bound **bound, ot_error *err);
/* Forgets the plan, if it is bound. */
void ot_unbind(struct context *c, const struct plan *p);
/* Bytes of the plan's bound beside the block. */
size_t ot_bound_bytes(const struct plan *p);
/* Forgets all plans, and gives back the block and the weights; zeroed is fine. */
void ot_context_free(struct context *c);
/* The block has so many bytes; bindings follow it when they run. */
ot_status ot_context_set_block(struct context *c, size_t bytes, ot_error *err);

/* What a run is to reach: the loss on `target`, added to `result`. */
struct loss_io {
    const struct loss *loss;
    const ot_tensor *target, *mask; /* mask: of next_token; NULL: none */
    int64_t total;                  /* targets that count in the whole batch */
    int64_t unit;                   /* divisor of gradients: `total`, or that of an earlier batch */
    ot_result *result;
    const struct probe_sink *probe; /* of each parameter: who takes gradients outside its mask in
                                     * this run, where the plan can tell them; NULL: nobody */
    bool
        earlier; /* another micro-batch follows: gradients at all positions are those of the last */
};

/* Looks at the inputs. */
ot_status ot_bound_check(const struct bound *b, const ot_tensor *inputs, ot_error *err);
/* Runs all steps on what has been checked. Adds to the parameters' gradients. */
ot_status ot_bound_run(struct bound *b, const ot_tensor *inputs, const struct loss_io *io,
                       ot_error *err);
/* Points the tensors at the context's block, at its parameters, and at the inputs. */
void ot_bound_aim(struct bound *b, const ot_tensor *inputs);
ot_status ot_run_step(struct bound *b, struct step *step, const struct loss_io *io, ot_error *err);
/* The same with the time that it took added to the step's. */
ot_status ot_run_step_timed(struct bound *b, struct step *step, const struct loss_io *io,
                            ot_error *err);
/* The first n outputs as views. */
void ot_bound_results(const struct bound *b, ot_tensor *outputs, int n);
/* The two halves of an OUTPUTS plan, on inputs that have been checked. */
ot_status ot_bound_forward(struct bound *b, const ot_tensor *inputs, ot_error *err);
ot_status ot_bound_backward(struct bound *b, ot_error *err);

/* A line a step, with what a profile has measured. */
void ot_bound_print(const struct bound *b, ot_write_fn *write, void *context);

#endif
