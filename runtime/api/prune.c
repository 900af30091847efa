/* prune.c - pruning a session's model, and what its weights are worth on data. */
#include "runtime/train/channels.h"
#include "runtime/train/prune.h"

#include <math.h>

#include "runtime/api/session.h"
#include "runtime/base/options.h"

/* Adds |weight x gradient| to what the weights are worth. */
static void add_scores(struct ot_session *s) {
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        if (!p->gradient) continue;
        const float *gradient = ot_parameter_gradient(p), *value = p->t.data;
        float *score = s->score + p->offset;
        for (int64_t k = 0; k < ot_count(&p->t); k++) score[k] += fabsf(value[k] * gradient[k]);
    }
}

ot_status ot_score_step(ot_session *s, const ot_tensor *inputs, int n, const ot_tensor *target,
                        ot_result *result, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (s->accumulation.steps)
        return ot_fail(err, OT_ERROR_STATE,
                       "gradients have been accumulated: call ot_optimizer_step or "
                       "ot_clear_gradients first");
    if (!s->score) s->score = ot_block_alloc(&s->allocator, s->model->floats, sizeof *s->score);
    if (!s->score) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for scores of weights");
    OT_TRY(ot_session_train(s, inputs, n, target, result, err));
    ot_session_restore_statistics(s);
    add_scores(s);
    ot_session_clear_gradients(s);
    return OT_OK;
}

static ot_status check_scores(const struct ot_session *s, const ot_sparsity_options *o,
                              ot_error *err) {
    if (o->by != OT_PRUNE_TAYLOR) return OT_OK;
    if (!s->score)
        return ot_fail(err, OT_ERROR_STATE,
                       "no weight has a score: ot_score_step has not been called since masks or "
                       "layers changed");
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        for (int64_t k = 0; k < ot_count(&p->t); k++)
            if (!isfinite(s->score[p->offset + (size_t)k]))
                return ot_fail(err, OT_ERROR_NUMERIC, "a score of '%s' is not finite", p->name);
    }
    return OT_OK;
}

ot_status ot_prune(ot_session *s, const ot_sparsity_options *options, ot_error *err) {
    ot_sparsity_options o;
    struct sparsity sparsity;
    OT_TRY(ot_session_check(s, err));
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    OT_TRY(ot_options_read(&ot_sparsity_options_type, options, &o, err));
    if (s->accumulation.steps)
        return ot_fail(err, OT_ERROR_STATE,
                       "masks change between an optimizer step and the next training step");
    if (o.constraint == OT_CONSTRAIN_CHANNELS && s->topology.is_set)
        return ot_fail(err, OT_ERROR_STATE, "channels leave before ot_set_topology, not after it");
    OT_TRY(check_scores(s, &o, err));
    OT_TRY(ot_sparsity_read(s->model, &o, &s->log, &sparsity, err));
    const float *score = o.by == OT_PRUNE_TAYLOR ? s->score : NULL;
    const ot_status status =
        o.constraint == OT_CONSTRAIN_CHANNELS
            ? ot_channels_prune(s->model, &s->context.weights, &sparsity, score, &s->log, err)
            : ot_prune_layers(s->model, &s->context.weights, &s->state, &sparsity, score, err);
    ot_sparsity_free(&sparsity);
    if (status) return status;
    ot_session_forget_scores(s);
    s->optimizer.bound = 0;
    ot_session_drop_plans(s);
    return OT_OK;
}
