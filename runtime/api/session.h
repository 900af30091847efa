/* session.h - the inside of ot_session. */
#ifndef OT_API_SESSION_H
#define OT_API_SESSION_H

#include "onnx/import.h"
#include "runtime/info/training.h"
#include "runtime/run/context.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/probes.h"
#include "runtime/train/state.h"
#include "runtime/train/topology.h"

/* What has been added to the gradients since the last optimizer step. The gradient of a batch is
 * a sum over its targets that count, divided by `unit`: that number of the first batch that has
 * any. So all targets count the same, and batches of one size add up their means. */
struct accumulation {
    int64_t steps;   /* ot_train_step and ot_backward */
    int64_t host;    /* ot_backward alone: each counts as much as `unit` targets */
    int64_t targets; /* of all batches together */
    int64_t unit;    /* 0: no batch had a target that counts */
};

struct ot_session {
    ot_allocator allocator;
    ot_options options; /* strings and callbacks as given; limits with defaults filled in */
    struct log log;
    struct model *model;
    const struct kernels *kernels;
    struct context context;
    int64_t head_classes; /* of a new head; 0: the model's own */

    ot_loss_options loss;
    int loss_output;        /* of the graph */
    ot_loss_kind loss_kind; /* the kind that plans are made for; never OT_LOSS_AUTO */
    bool loss_is_chosen;    /* by the options, or by a target */
    int loss_axis;          /* of classes, as shapes have told: -1 the last; 0: not yet */
    struct optimizer optimizer;
    struct accumulation accumulation;
    double gradient_norm;
    const struct training *training; /* contents of training_info; NULL: none was read */
    struct state state;
    struct topology topology;
    struct probes probes; /* what plans that train are made with */
    bool probes_on;       /* the next training step fills their lists */
    float *score;         /* of ot_score_step, at the offsets of the weights; NULL: there is none */
    float *statistics;    /* running statistics before the step, to go back to */

    bool *wants_input; /* of each input: its gradient; NULL: of none */

    struct plan *plan;      /* most recently used first */
    struct bound *last;     /* of the first of them, or NULL */
    struct bound *forward;  /* ot_forward has run it, and ot_backward may follow; or NULL */
    struct bound *backward; /* the last call has run its backward half; or NULL */
};

/* The plan for these inputs, from the session's store or made now, within the memory limit. */
ot_status ot_session_plan(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                          struct bound **bound, ot_error *err);
/* A plan with a loss, and what it is to reach; chooses the loss where that is open. result is the
 * caller's to set. */
ot_status ot_session_loss_io(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                             int n, const ot_tensor *target, struct bound **bound,
                             struct loss_io *io, ot_error *err);
/* Before a training step: the lists of what is found outside the masks, if masks change after it.
 */
ot_status ot_session_probe(struct ot_session *s, ot_error *err);
/* Forgets what targets have told of the loss. */
void ot_session_reset_loss(struct ot_session *s);
/* All bytes that count against the memory limit when this plan runs. */
size_t ot_session_need(const struct ot_session *s, const struct plan *p);
/* What training steps of all kinds share. Gradients: memory for those of what the plan trains.
 * Statistics: saved before a step, which changes them before it is known to succeed. */
ot_status ot_session_need_gradients(struct ot_session *s, const struct plan *plan, ot_error *err);
void ot_session_clear_gradients(struct ot_session *s);
ot_status ot_session_save_statistics(struct ot_session *s, ot_error *err);
void ot_session_restore_statistics(struct ot_session *s);
/* ot_train_step, for sessions that need not have an optimizer. The statistics from before the step
 * are saved. */
ot_status ot_session_train(struct ot_session *s, const ot_tensor *inputs, int n,
                           const ot_tensor *target, ot_result *result, ot_error *err);
/* OT_ERROR_NUMERIC where a weight, moment or statistic that training changes is not finite. */
ot_status ot_session_check_finite(const struct ot_session *s, ot_error *err);
/* The same of statistics alone, which a training step has just updated. */
ot_status ot_session_check_statistics(const struct ot_session *s, ot_error *err);
/* Refuses the NULL that a host may pass. */
static inline ot_status ot_session_check(const struct ot_session *s, ot_error *err) {
    return s ? OT_OK : ot_fail(err, OT_ERROR_ARGUMENT, "session is NULL");
}
/* With which its model is read; valid as long as the session. */
struct import_options ot_session_import(const struct ot_session *s);
/* What training_info says or is made of. */
struct recipe ot_session_recipe(const struct ot_session *s);
/* Forgets the scores of weights: masks or layers have changed. */
static inline void ot_session_forget_scores(struct ot_session *s) {
    ot_block_free(&s->allocator, s->score);
    s->score = NULL;
}
/* Forgets all plans: what they were made from has changed. */
void ot_session_drop_plans(struct ot_session *s);

#endif
