/* request.h - what a plan is made for: the key under which it is found again. */
#ifndef OT_COMPILE_REQUEST_H
#define OT_COMPILE_REQUEST_H

#include "ops/op.h"
#include "runtime/loss/loss.h"

/* What a plan computes. */
enum plan_kind {
    OT_PLAN_RUN = 0, /* all outputs, inference form */
    OT_PLAN_EVAL,    /* the loss, inference form */
    OT_PLAN_TRAIN,   /* the loss and the gradients of all trainable parameters */
    OT_PLAN_OUTPUTS, /* all outputs, training form, and the same gradients from theirs */
    OT_PLAN_MEASURE  /* the same with nothing overwritten, for measure.c */
};

/* Whether a plan has a backward half. */
static inline bool ot_plan_trains(enum plan_kind kind) { return kind >= OT_PLAN_TRAIN; }
/* Whether its results are the model's outputs; else the loss. */
static inline bool ot_plan_has_outputs(enum plan_kind kind) {
    return kind == OT_PLAN_RUN || kind >= OT_PLAN_OUTPUTS;
}

/* A parameter whose gradient is wanted at positions that it has no slots for. */
struct probe_request {
    int parameter;
    int slots; /* 0: at all positions; else at those of given patterns of up to so many slots */
};

struct request {
    enum plan_kind kind;
    int n_inputs;
    const ot_tensor *input;  /* shapes and types; no data is looked at */
    const bool *wants_input; /* of each input: is its gradient asked for? NULL: of none */
    ot_loss_options loss;
    ot_loss_kind loss_kind; /* never OT_LOSS_AUTO */
    int loss_output;        /* of the graph */
    int loss_axis;          /* of classes, as shapes have told: -1 the last; 0: they have not */
    ot_bn_mode bn;
    ot_sparse_mode sparse;
    bool patterns_change; /* the plan will follow other patterns of its weights (follow.c) */
    bool apart;           /* no nodes are recognised as one operator */
    bool frugal;          /* no activation is kept for the backward half that can be computed
                           * again */
    const struct kernels *kernels;
    int workers;         /* scratch memory is for so many */
    size_t memory_bytes; /* limits */
    uint64_t nodes;
    const struct probe_request *probe; /* of a plan that trains */
    int n_probes;
};

/* The first dimension of the first input that has one; 0: none has. */
static inline int64_t ot_batch_of(const ot_tensor *inputs, int n) {
    for (int i = 0; i < n; i++)
        if (inputs[i].rank > 0) return inputs[i].dim[0];
    return 0;
}

#endif
