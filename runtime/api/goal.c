/* goal.c - the loss of a session's steps: chosen by the target, held against the plan. */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/compile/tail.h"

/* Before a target is known. */
static ot_loss_kind guess_loss(const struct ot_session *s) {
    const struct value *v = &s->model->graph->value[s->model->graph->output[s->loss_output]];
    struct tail t;
    ot_tail_find(s->model->graph, s->loss_output, &t);
    if (t.n)
        return strcmp(ot_tail_activation(s->model->graph, &t), "Sigmoid") ? OT_LOSS_CROSS_ENTROPY
                                                                          : OT_LOSS_BCE;
    if (v->rank < 0) return OT_LOSS_CROSS_ENTROPY;
    return v->rank >= 2 && (v->dim[1] != 1 || v->dim[v->rank - 1] != 1) ? OT_LOSS_CROSS_ENTROPY
                                                                        : OT_LOSS_MSE;
}

void ot_session_reset_loss(struct ot_session *s) {
    s->loss_axis = 0;
    s->loss_is_chosen = s->loss.kind != OT_LOSS_AUTO;
    s->loss_kind = s->loss_is_chosen ? s->loss.kind : guess_loss(s);
}

/* ---- steps ---- */

/* Scores were taken for probabilities along one axis; the classes have to stand along it. */
static ot_status check_axis(const struct plan *p, const struct loss *loss, ot_error *err) {
    const struct plan *part = p->parts ? p->part[0] : p;
    const struct graph *g = p->model->graph;
    if (!part->is_skipped || !loss->axis || part->class_axis == loss->axis) return OT_OK;
    return ot_fail(err, OT_ERROR_UNSUPPORTED,
                   "%s along axis %d of output '%s', which is a Softmax along %s axis",
                   ot_loss_name(loss->kind), loss->axis,
                   g->value[g->output[p->request.loss_output]].name,
                   part->class_axis > 0 ? "another" : "no single");
}

/* Remembers an axis that nothing but the shapes has told, for batches whose shapes do not. */
static void note_axis(struct ot_session *s, const struct tensor *output, const ot_tensor *target,
                      const struct loss *loss) {
    const int last = output->rank - 1;
    if (!loss->axis || last < 2 || s->loss.class_axis || s->loss_axis) return;
    if (!loss->soft && ot_loss_fits(output, 1, target, true) &&
        ot_loss_fits(output, last, target, true))
        return;
    s->loss_axis = loss->axis == last ? -1 : loss->axis;
}

static ot_status check_data(const ot_tensor *target, ot_error *err) {
    if (!target->data) return ot_fail(err, OT_ERROR_ARGUMENT, "the target has no data");
    const size_t size = ot_type_size(target->type);
    if (size && (uintptr_t)target->data % size)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the target has misaligned data");
    return OT_OK;
}

static void log_loss(const struct ot_session *s, const struct loss *loss) {
    if (loss->axis)
        ot_log(&s->log, OT_LOG_INFO, "loss: %s of %lld classes along axis %d%s",
               ot_loss_name(loss->kind), (long long)loss->classes, loss->axis,
               loss->soft ? ", targets are probabilities" : "");
    else
        ot_log(&s->log, OT_LOG_INFO, "loss: %s", ot_loss_name(loss->kind));
}

/* The loss for this output and target, of the kind that the session has or now chooses. */
static ot_status choose_loss(struct ot_session *s, const struct loss_output *o,
                             const ot_tensor *target, bool batch, struct loss *loss,
                             ot_error *err) {
    if (target && batch) OT_TRY(check_data(target, err));
    if (!s->loss_is_chosen) OT_TRY(ot_loss_choose(&s->loss, o, target, &s->loss_kind, err));
    if (!target && s->loss_kind == OT_LOSS_NEXT_TOKEN) target = o->tokens;
    if (!target && s->loss_kind == OT_LOSS_NEXT_TOKEN)
        return ot_fail(
            err, OT_ERROR_ARGUMENT,
            "next_token: no input has integers of shape [N, T] for an output of shape [N, T, C]");
    if (!target) return ot_fail(err, OT_ERROR_ARGUMENT, "target is NULL");
    return ot_loss_make(&s->loss, s->loss_kind, o, target, batch, loss, err);
}

/* May change s->loss_kind. */
static ot_status make_io(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                         const ot_tensor *target, struct bound **bound, struct loss_io *io,
                         ot_error *err) {
    struct tensor t;
    struct loss loss;
    OT_TRY(ot_session_plan(s, kind, inputs, n, bound, err));
    OT_TRY(ot_bound_check(*bound, inputs, err));
    struct loss_output o = ot_plan_loss_output((*bound)->plan, inputs, s->loss_axis, &t);
    OT_TRY(choose_loss(s, &o, target, true, &loss, err));
    if ((*bound)->plan->skips != ot_plan_skips((*bound)->plan, s->loss_kind)) {
        OT_TRY(ot_session_plan(s, kind, inputs, n, bound, err));
        o = ot_plan_loss_output((*bound)->plan, inputs, s->loss_axis, &t);
        OT_TRY(
            ot_loss_make(&s->loss, s->loss_kind, &o, target ? target : o.tokens, true, &loss, err));
    }
    OT_TRY(check_axis((*bound)->plan, &loss, err));
    struct bound *b = *bound;
    io->target = target ? target : o.tokens;
    io->mask = loss.kind == OT_LOSS_NEXT_TOKEN ? ot_find_mask(b->plan, io->target, inputs) : NULL;
    const struct loss_run run = {&loss, &t, io->target, io->mask, 0};
    OT_TRY(ot_loss_count(&run, &io->total, err));
    note_axis(s, &t, io->target, &loss);
    b->loss = loss;
    for (int k = 0; k < 2; k++)
        if (b->part[k]) b->part[k]->loss = loss;
    ot_loss_target(&loss, &t, &b->target);
    io->loss = &b->loss;
    return OT_OK;
}

ot_status ot_session_loss_io(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                             int n, const ot_tensor *target, struct bound **bound,
                             struct loss_io *io, ot_error *err) {
    const ot_loss_kind before = s->loss_kind;
    const ot_status status = make_io(s, kind, inputs, n, target, bound, io, err);
    if (status) {
        s->loss_kind = before;
        return status;
    }
    if (!s->loss_is_chosen) log_loss(s, io->loss);
    s->loss_is_chosen = true;
    return OT_OK;
}

/* ---- before steps ---- */

/* The output's shape: as the file says where that leaves nothing open, else of a plan. */
static ot_status output_shape(struct ot_session *s, const ot_tensor *inputs, int n,
                              struct loss_output *o, struct tensor *t, ot_error *err) {
    const struct value *v = &s->model->graph->value[s->model->graph->output[s->loss_output]];
    struct bound *b = NULL;
    struct tail tail;
    ot_tail_find(s->model->graph, s->loss_output, &tail);
    bool known = v->type == OT_FLOAT && (v->rank == 1 || (v->rank == 2 && v->dim[1] > 0));
    if (known) {
        *t = (struct tensor){.type = OT_FLOAT, .rank = v->rank};
        t->dim[0] = ot_batch_of(inputs, n);
        t->dim[1] = v->rank > 1 ? v->dim[1] : 0;
        *o = (struct loss_output){
            .t = t, .sigmoid = !strcmp(ot_tail_activation(s->model->graph, &tail), "Sigmoid")};
        return OT_OK;
    }
    OT_TRY(ot_session_plan(s, OT_PLAN_EVAL, inputs, n, &b, err));
    *o = ot_plan_loss_output(b->plan, inputs, s->loss_axis, t);
    return OT_OK;
}

static void fill_info(const struct loss *loss, const struct tensor *output, int tokens,
                      ot_loss_info *info) {
    struct tensor want;
    *info = (ot_loss_info){.kind = loss->kind,
                           .class_axis = loss->axis,
                           .classes = loss->classes,
                           .soft_targets = loss->soft,
                           .tokens = tokens};
    if (tokens >= 0) return;
    ot_loss_target(loss, output, &want);
    info->target.type = want.type;
    info->target.rank = want.rank;
    memcpy(info->target.dim, want.dim, sizeof want.dim);
}

ot_status ot_choose_loss(ot_session *s, const ot_tensor *inputs, int n, const ot_tensor *targets,
                         ot_loss_info *info, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct loss_output o;
    struct tensor t;
    struct loss loss;
    if (!inputs && n) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs is NULL");
    if (n != s->model->graph->n_inputs)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d inputs, but %d are given",
                       s->model->graph->n_inputs, n);
    if (targets) OT_TRY(check_data(targets, err));
    const ot_loss_kind before = s->loss_kind;
    ot_status status = output_shape(s, inputs, n, &o, &t, err);
    if (!status) status = choose_loss(s, &o, targets, false, &loss, err);
    if (status) {
        s->loss_kind = before;
        return status;
    }
    s->loss_is_chosen = true;
    if (targets) note_axis(s, &t, targets, &loss);
    if (info) fill_info(&loss, &t, targets ? -1 : (int)(o.tokens - inputs), info);
    return OT_OK;
}
