/* train.c - the steps: prepare, train, update, evaluate, run. */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/options.h"
#include "runtime/base/rng.h"
#include "runtime/run/blame.h"

/* ---- configuration ---- */

static ot_status find_output(const ot_session *s, const char *name, int *output, ot_error *err) {
    for (int i = 0; i < s->model->graph->n_outputs; i++) {
        if (name && strcmp(s->model->graph->value[s->model->graph->output[i]].name, name)) continue;
        *output = i;
        return OT_OK;
    }
    return ot_fail(err, OT_ERROR_ARGUMENT, "the model has no output '%s'", name ? name : "");
}

ot_status ot_set_loss(ot_session *s, const ot_loss_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    int output = 0;
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    ot_loss_options o;
    OT_TRY(ot_options_read(&ot_loss_options_type, options, &o, err));
    OT_TRY(ot_loss_check(&o, err));
    OT_TRY(find_output(s, o.output, &output, err));
    s->loss = o;
    s->loss.output = NULL; /* the caller's string; loss_output says it */
    s->loss_output = output;
    ot_session_reset_loss(s);
    ot_session_drop_plans(s);
    return OT_OK;
}

/* Moments of what has a gradient, zeroed when they are new. */
static ot_status need_moments(struct ot_session *s, ot_error *err) {
    int moments = s->optimizer.is_set ? ot_optimizer_moments(&s->optimizer.options) : 0;
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        for (int k = 0; ot_is_trained(p) && p->gradient && k < moments; k++)
            OT_TRY(ot_state_need(&s->state, s->model, p, (enum state_part)k, err));
    }
    return OT_OK;
}

/* Gradients of what the plan trains. A weight that no plan reaches has none: the optimizer leaves
 * it alone, weight decay too. */
ot_status ot_session_need_gradients(struct ot_session *s, const struct plan *plan, ot_error *err) {
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        if (!plan->trains[i]) continue;
        OT_TRY(ot_state_need(&s->state, s->model, p, OT_STATE_GRADIENT, err));
        if (ot_topology_scores(&s->topology, i))
            OT_TRY(ot_state_need(&s->state, s->model, p, OT_STATE_SCORE, err));
    }
    return need_moments(s, err);
}

/* Keeps the first `kept` moments of all weights. */
static void replace_optimizer(ot_session *s, const struct optimizer *o, int kept) {
    const int before = s->optimizer.is_set ? ot_optimizer_moments(&s->optimizer.options) : 0;
    if (before != ot_optimizer_moments(&o->options))
        ot_session_drop_plans(s); /* other memory is left for them */
    for (int k = kept; k < OT_OPTIMIZER_MOMENTS; k++) ot_state_drop_moment(&s->state, s->model, k);
    s->optimizer = *o;
}

static ot_status read_optimizer(const ot_optimizer_options *options, ot_optimizer_options *checked,
                                ot_error *err) {
    ot_optimizer_options given;
    OT_TRY(ot_options_read(&ot_optimizer_options_type, options, &given, err));
    return ot_optimizer_check(&given, checked, err);
}

ot_status ot_set_optimizer(ot_session *s, const ot_optimizer_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct optimizer o = {.is_set = true};
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    OT_TRY(read_optimizer(options, &o.options, err));
    replace_optimizer(s, &o, 0);
    return OT_OK;
}

ot_status ot_change_optimizer(ot_session *s, const ot_optimizer_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct optimizer o = s->optimizer;
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    if (!o.is_set)
        return ot_fail(err, OT_ERROR_STATE, "there is no optimizer: call ot_set_optimizer");
    OT_TRY(read_optimizer(options, &o.options, err));
    if (o.options.kind != s->optimizer.options.kind)
        return ot_fail(err, OT_ERROR_STATE,
                       "the optimizer is of kind %d and cannot become one of kind %d, whose "
                       "moments have another meaning",
                       (int)s->optimizer.options.kind, (int)o.options.kind);
    o.options.steps_before = s->optimizer.options.steps_before;
    replace_optimizer(s, &o, ot_optimizer_moments(&o.options));
    return OT_OK;
}

ot_status ot_get_optimizer(const ot_session *s, ot_optimizer_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    if (!s->optimizer.is_set)
        return ot_fail(err, OT_ERROR_STATE, "there is no optimizer: call ot_set_optimizer");
    return ot_options_write(&ot_optimizer_options_type, &s->optimizer.options, options, err);
}

/* ---- what a failed step must not have changed ---- */

/* Running statistics change in forward, before the loss is known to be finite. */
ot_status ot_session_save_statistics(struct ot_session *s, ot_error *err) {
    const size_t from = s->model->statistics, n = s->model->floats - from;
    if (!s->statistics) s->statistics = ot_block_alloc(&s->allocator, n, sizeof *s->statistics);
    if (!s->statistics) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for statistics");
    memcpy(s->statistics, s->context.weights->value + from, n * sizeof *s->statistics);
    return OT_OK;
}

void ot_session_restore_statistics(struct ot_session *s) {
    const size_t from = s->model->statistics, n = s->model->floats - from;
    memcpy(s->context.weights->value + from, s->statistics, n * sizeof *s->statistics);
}

static ot_status check_values(const struct ot_session *s, const struct parameter *p,
                              const float *values, const char *what, ot_error *err) {
    if (!values || ot_all_finite(s->context.pool, values, ot_count(&p->t))) return OT_OK;
    return ot_fail(err, OT_ERROR_NUMERIC, "%s '%s' (%s) is not finite", what, p->name, p->op);
}

ot_status ot_session_check_statistics(const struct ot_session *s, ot_error *err) {
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        if (p->is_statistic) OT_TRY(check_values(s, p, ot_f(&p->t), "the running statistic", err));
    }
    return OT_OK;
}

ot_status ot_session_check_finite(const struct ot_session *s, ot_error *err) {
    OT_TRY(ot_session_check_statistics(s, err));
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        if (!ot_is_trained(p)) continue;
        OT_TRY(check_values(s, p, ot_f(&p->t), "the weight", err));
        for (int k = 0; k < OT_MOMENTS; k++)
            OT_TRY(check_values(s, p, p->moment[k], "the optimizer's moment of", err));
    }
    return OT_OK;
}

void ot_session_clear_gradients(struct ot_session *s) {
    for (int i = 0; i < s->model->n_parameters; i++) s->model->parameter[i].gradient_is_zero = true;
    s->accumulation = (struct accumulation){0};
    ot_probes_clear(&s->probes);
}

/* ---- steps ---- */

ot_status ot_prepare(ot_session *s, int training, const ot_tensor *inputs, int n, size_t *bytes,
                     ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct bound *b = NULL;
    if (!inputs && n) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    OT_TRY(ot_session_plan(s, training ? OT_PLAN_TRAIN : OT_PLAN_RUN, inputs, n, &b, err));
    if (training) OT_TRY(ot_session_need_gradients(s, b->plan, err));
    if (bytes) *bytes = ot_session_need(s, b->plan);
    return OT_OK;
}

ot_status ot_get_target(const ot_session *s, ot_tensor *target, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    const struct bound *b = s->last;
    if (!target) return ot_fail(err, OT_ERROR_ARGUMENT, "target is NULL");
    if (!b || ot_plan_has_outputs(b->plan->request.kind))
        return ot_fail(err, OT_ERROR_STATE, "there is no plan with a loss: call ot_prepare");
    *target = (ot_tensor){.type = b->target.type, .rank = b->target.rank};
    memcpy(target->dim, b->target.dim, sizeof target->dim);
    return OT_OK;
}

/* Gradients of inputs are those of this batch's loss, whatever unit those of weights have. */
static void scale_input_gradients(struct ot_session *s, const struct bound *b, double factor) {
    for (int i = 0; s->wants_input && i < s->model->graph->n_inputs; i++) {
        const struct entry *e = s->wants_input[i] ? b->input_entry[i]->grad : NULL;
        float *g = e ? e->t.data : NULL;
        for (int64_t k = 0; g && k < ot_count(&e->t); k++) g[k] = (float)(g[k] * factor);
    }
}

ot_status ot_session_train(struct ot_session *s, const ot_tensor *inputs, int n,
                           const ot_tensor *target, ot_result *result, ot_error *err) {
    struct bound *b = NULL;
    ot_result r = {0};
    struct loss_io io = {.result = &r};
    if (!inputs) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    OT_TRY(ot_session_loss_io(s, OT_PLAN_TRAIN, inputs, n, target, &b, &io, err));
    OT_TRY(ot_session_need_gradients(s, b->plan, err));
    OT_TRY(ot_session_save_statistics(s, err));
    struct accumulation *sum = &s->accumulation;
    io.unit = sum->unit ? sum->unit : io.total;
    if (s->probes_on) {
        ot_probes_restart(&s->probes);
        io.probe = s->probes.sink;
    }
    ot_status status = ot_bound_run(b, inputs, &io, err);
    const bool ran = !status;
    if (ran) status = ot_session_check_statistics(s, err);
    if (status) {
        ot_session_restore_statistics(s);
        /* some gradients have been added: out of memory inside a dense kernel, or a micro-batch
         * failed after others */
        if (ran || status == OT_ERROR_NO_MEMORY || b->done) ot_session_clear_gradients(s);
        return status;
    }
    if (io.unit != io.total && io.total)
        scale_input_gradients(s, b, (double)io.unit / (double)io.total);
    s->backward = b;
    sum->steps++;
    sum->targets += io.total;
    sum->unit = io.unit;
    s->context.random.step++;
    if (result) *result = r;
    return OT_OK;
}

ot_status ot_train_step(ot_session *s, const ot_tensor *inputs, int n, const ot_tensor *target,
                        ot_result *result, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!s->optimizer.is_set)
        return ot_fail(err, OT_ERROR_STATE, "there is no optimizer: call ot_set_optimizer");
    OT_TRY(ot_session_probe(s, err));
    OT_TRY(ot_session_train(s, inputs, n, target, result, err));
    s->topology.probed = s->probes_on;
    return OT_OK;
}

/* How many times `unit` the targets are, together with what the host's losses count. */
static double weight_of(const struct accumulation *sum) {
    const double targets = sum->unit ? (double)sum->targets / (double)sum->unit : 0;
    const double weight = targets + (double)sum->host;
    return weight > 0 ? weight : 1; /* nothing counted: the gradients are zero */
}

ot_status ot_optimizer_step(ot_session *s, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!s->accumulation.steps)
        return ot_fail(err, OT_ERROR_STATE,
                       "there was no training step since the last optimizer step");
    if (!s->optimizer.is_set)
        return ot_fail(err, OT_ERROR_STATE, "there is no optimizer: call ot_set_optimizer");
    OT_TRY(need_moments(s, err)); /* the optimizer may be newer than the gradients */
    const double start = s->context.profile.on ? ot_clock() : 0;
    ot_status status =
        ot_optimizer_run(&s->optimizer, s->model->parameter, s->model->n_parameters,
                         1 / weight_of(&s->accumulation), s->context.pool, &s->gradient_norm, err);
    if (s->context.profile.on) ot_timing_add(&s->context.profile.optimizer, start);
    s->topology.batches = s->accumulation.steps;
    if (!status) s->accumulation = (struct accumulation){0};
    return status;
}

ot_status ot_clear_gradients(ot_session *s, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    ot_session_clear_gradients(s);
    return OT_OK;
}

ot_status ot_eval_step(ot_session *s, const ot_tensor *inputs, int n, const ot_tensor *target,
                       ot_result *result, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct bound *b = NULL;
    ot_result r = {0};
    struct loss_io io = {.result = &r};
    if (!inputs) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    OT_TRY(ot_session_loss_io(s, OT_PLAN_EVAL, inputs, n, target, &b, &io, err));
    io.unit = io.total;
    OT_TRY(ot_bound_run(b, inputs, &io, err));
    if (result) *result = r;
    return OT_OK;
}

ot_status ot_run(ot_session *s, const ot_tensor *inputs, int n, ot_tensor *outputs, int n_outputs,
                 ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct bound *b = NULL;
    if (!inputs && n) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    if (n_outputs < 0 || n_outputs > s->model->graph->n_outputs || (n_outputs && !outputs))
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d outputs, but %d are requested",
                       s->model->graph->n_outputs, n_outputs);
    OT_TRY(ot_session_plan(s, OT_PLAN_RUN, inputs, n, &b, err));
    OT_TRY(ot_bound_check(b, inputs, err));
    OT_TRY(ot_bound_run(b, inputs, &(struct loss_io){0}, err));
    if (!s->options.allow_nonfinite) OT_TRY(ot_bound_check_outputs(b, inputs, n_outputs, err));
    ot_bound_results(b, outputs, n_outputs);
    return OT_OK;
}

int64_t ot_step_count(const ot_session *s) { return s ? s->optimizer.steps : 0; }

double ot_learning_rate(const ot_session *s) {
    return s ? ot_schedule_lr(&s->optimizer.options, s->optimizer.steps) : 0;
}

double ot_gradient_norm(const ot_session *s) { return s ? s->gradient_norm : 0; }

/* Fisher and Yates, downwards; the draw for position i is number i of the stream. */
void ot_permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t *index) {
    for (int64_t i = 0; i < n; i++) index[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        uint64_t r = ((uint64_t)ot_random_u32(seed, 2 * epoch, (uint64_t)i) << 32) |
                     ot_random_u32(seed, 2 * epoch + 1, (uint64_t)i);
        int64_t j = (int64_t)(r % (uint64_t)(i + 1)), t = index[i];
        index[i] = index[j];
        index[j] = t;
    }
}
