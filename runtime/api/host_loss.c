/* host_loss.c - training without a loss of the library's: forward, and backward from gradients that
 * the host gives; gradients of inputs. */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/run/blame.h"

static ot_status check_input(const ot_session *s, int i, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (i < 0 || i >= s->model->graph->n_inputs)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input %d does not exist, the model has %d", i,
                       s->model->graph->n_inputs);
    return OT_OK;
}

ot_status ot_want_input_gradient(ot_session *s, int i, int wanted, ot_error *err) {
    ot_value_info info;
    OT_TRY(check_input(s, i, err));
    OT_TRY(ot_get_input(s, i, &info, err));
    if (info.type != OT_FLOAT)
        return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' is %s, which has no gradient", info.name,
                       ot_type_name(info.type));
    if (!s->wants_input)
        s->wants_input = ot_block_alloc(&s->allocator, (size_t)s->model->graph->n_inputs,
                                        sizeof *s->wants_input);
    if (!s->wants_input) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory");
    s->wants_input[i] = wanted != 0;
    ot_session_drop_plans(s);
    return OT_OK;
}

ot_status ot_get_input_gradient(const ot_session *s, int i, ot_tensor *gradient, ot_error *err) {
    OT_TRY(check_input(s, i, err));
    const struct bound *b = s->backward;
    if (!gradient) return ot_fail(err, OT_ERROR_ARGUMENT, "gradient is NULL");
    if (!b) return ot_fail(err, OT_ERROR_STATE, "the last call was not a training step");
    if (!s->wants_input || !s->wants_input[i])
        return ot_fail(err, OT_ERROR_STATE, "the gradient of input '%s' was not requested",
                       s->model->graph->value[s->model->graph->input[i]].name);
    const struct entry *e = b->input_entry[i];
    *gradient =
        (ot_tensor){.type = OT_FLOAT, .rank = e->t.rank, .data = e->grad ? e->grad->t.data : NULL};
    memcpy(gradient->dim, e->t.dim, sizeof gradient->dim);
    return OT_OK;
}

ot_status ot_forward(ot_session *s, const ot_tensor *inputs, int n, ot_tensor *outputs,
                     int n_outputs, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct bound *b = NULL;
    if (!inputs && n) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    if (n_outputs < 0 || n_outputs > s->model->graph->n_outputs || (n_outputs && !outputs))
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d outputs, but %d are requested",
                       s->model->graph->n_outputs, n_outputs);
    OT_TRY(ot_session_plan(s, OT_PLAN_OUTPUTS, inputs, n, &b, err));
    OT_TRY(ot_session_need_gradients(s, b->plan, err));
    OT_TRY(ot_session_save_statistics(s, err));
    OT_TRY(ot_bound_check(b, inputs, err));
    ot_status status = ot_bound_forward(b, inputs, err);
    if (!status && !s->options.allow_nonfinite)
        status = ot_bound_check_outputs(b, inputs, n_outputs, err);
    if (!status) status = ot_session_check_statistics(s, err);
    if (status) {
        ot_session_restore_statistics(s);
        return status;
    }
    s->forward = b;
    ot_bound_results(b, outputs, n_outputs);
    return OT_OK;
}

/* Whether g may be the gradient of output i. */
static ot_status check_gradient(const struct bound *b, int i, const ot_tensor *g, ot_error *err) {
    char want[256], have[256];
    const struct entry *e = b->output[i];
    struct tensor given = {.rank = g->rank};
    if (!g->data) return OT_OK;
    if (g->rank < 0 || g->rank > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "gradient %d has rank %d, which is not supported", i,
                       g->rank);
    memcpy(given.dim, g->dim, sizeof given.dim);
    if (g->type != OT_FLOAT || e->t.type != OT_FLOAT || !ot_same_shape(&given, &e->t))
        return ot_fail(err, OT_ERROR_ARGUMENT, "output '%s' is %s %s, but its gradient is %s %s",
                       e->name, ot_type_name(e->t.type), ot_shape_text(&e->t, want, sizeof want),
                       ot_type_name(g->type), ot_shape_text(&given, have, sizeof have));
    if (e->no_gradient)
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "no gradient flows back from output '%s': its node has one for its first "
                       "output only",
                       e->name);
    return OT_OK;
}

ot_status ot_backward(ot_session *s, const ot_tensor *gradients, int n, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct bound *b = s->forward;
    if (!b) return ot_fail(err, OT_ERROR_STATE, "ot_backward needs a call of ot_forward before it");
    if (!gradients || n != b->plan->n_outputs)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "the model has %d outputs, but %d gradients are given", b->plan->n_outputs,
                       gradients ? n : 0);
    for (int i = 0; i < n; i++) OT_TRY(check_gradient(b, i, &gradients[i], err));
    for (int i = 0; i < n; i++) {
        const struct entry *to = b->output_gradient[i];
        if (!to) continue;
        if (gradients[i].data)
            memcpy(to->t.data, gradients[i].data, ot_bytes(&to->t));
        else
            memset(to->t.data, 0, ot_bytes(&to->t));
    }
    s->forward = NULL;
    ot_status status = ot_bound_backward(b, err);
    if (status) {
        ot_session_restore_statistics(s);
        ot_session_clear_gradients(s); /* some have been added, others not */
        return status;
    }
    s->backward = b;
    s->accumulation.steps++;
    s->accumulation.host++;
    s->context.random.step++;
    return OT_OK;
}
