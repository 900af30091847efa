/* profile.c - where the time of steps went, for ot_get_profile. */
#include "runtime/api/session.h"

static void forget_times(struct bound *b) {
    for (int i = 0; i < b->plan->n_steps; i++)
        b->step[i].time = b->step[i].weight_time = (struct timing){0};
    for (int k = 0; k < 2; k++)
        if (b->part[k]) forget_times(b->part[k]);
}

void ot_set_profile(ot_session *s, int on) {
    if (!s) return;
    s->context.profile = (struct profile){.on = on != 0};
    for (struct bound *b = s->context.bound; b; b = b->next) forget_times(b);
}

/* ---- what a call touches */

static double bytes_of(const struct tensor *t) { return t ? (double)ot_bytes(t) : 0; }

static double forward_bytes(const struct op_node *n) {
    double sum = 0;
    for (int i = 0; i < n->n_in; i++) sum += bytes_of(n->x[i]);
    for (int j = 0; j < n->n_out; j++) sum += bytes_of(n->y[j]);
    return sum;
}

static double backward_bytes(const struct op_node *n) {
    double sum = 0;
    for (int i = 0; i < n->n_in; i++) {
        sum += bytes_of(n->dx[i]);
        if (i < 16 && (n->op->needs & OT_X(i))) sum += bytes_of(n->x[i]);
    }
    for (int j = 0; j < n->n_out; j++) {
        sum += bytes_of(n->dy[j]);
        if (j < 16 && (n->op->needs & OT_Y(j))) sum += bytes_of(n->y[j]);
    }
    return sum;
}

static double optimizer_bytes(const struct ot_session *s) {
    ot_memory_info info;
    ot_get_memory_info(s, &info);
    return (double)info.gradients * 2 + (double)info.moments;
}

/* ---- telling */

static void tell_node(const struct step *step, ot_profile_fn *fn, void *context) {
    const struct op_node *n = step->node;
    const bool forward = step->kind != OT_STEP_BACKWARD, weight = ot_step_weight(step);
    const bool again = step->kind == OT_STEP_AGAIN;
    ot_profile_step t = {.what = step->kind == OT_STEP_PROBE ? "probe"
                                 : again                     ? "again"
                                 : forward                   ? "forward"
                                                             : "backward",
                         .op = n->op->name,
                         .name = n->node->name,
                         .kernel = n->kernel ? n->kernel : "",
                         .flops = n->flops,
                         .bytes = forward ? forward_bytes(n) : backward_bytes(n),
                         .seconds = step->time.seconds,
                         .calls = step->time.calls};
    if (weight) t.bytes = bytes_of(n->dy[0]) + bytes_of(n->x[1]) + bytes_of(n->dx[0]);
    if (!weight || n->dx[0]) fn(context, &t);
    if (!weight) return;
    t.what = "backward weight";
    const bool dy_is_counted = n->joint && n->dx[0];
    t.bytes = bytes_of(n->x[0]) + bytes_of(n->dx[1]) + (dy_is_counted ? 0 : bytes_of(n->dy[0]));
    t.seconds = step->weight_time.seconds;
    t.calls = step->weight_time.calls;
    fn(context, &t);
}

static void tell_step(const struct bound *b, const struct step *step, ot_profile_fn *fn,
                      void *context) {
    static const char *const names[] = {[OT_STEP_LOSS] = "loss",
                                        [OT_STEP_ADD] = "add",
                                        [OT_STEP_ZERO] = "zero",
                                        [OT_STEP_ONE] = "one",
                                        [OT_STEP_ACCUMULATE] = "collect"};
    if (step->node) {
        tell_node(step, fn, context);
        return;
    }
    const double a = bytes_of(&step->a->t);
    fn(context,
       &(ot_profile_step){.what = names[step->kind],
                          .op = step->kind == OT_STEP_LOSS ? ot_loss_name(b->loss.kind) : "",
                          .name = step->a->name,
                          .kernel = "",
                          .bytes = step->b ? 2 * a : a,
                          .seconds = step->time.seconds,
                          .calls = step->time.calls});
}

static void tell_steps(const struct bound *b, ot_profile_fn *fn, void *context) {
    for (int i = 0; i < b->plan->n_steps; i++) tell_step(b, &b->step[i], fn, context);
    for (int k = 0; k < 2; k++)
        if (b->part[k]) tell_steps(b->part[k], fn, context);
}

ot_status ot_get_profile(const ot_session *s, ot_profile_fn *step, void *context, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!step) return ot_fail(err, OT_ERROR_ARGUMENT, "step is NULL");
    if (!s->last) return ot_fail(err, OT_ERROR_STATE, "there is no plan yet: call ot_prepare");
    tell_steps(s->last, step, context);
    static const char *const kinds[] = {[OT_SGD] = "sgd",
                                        [OT_ADAM] = "adam",
                                        [OT_ADAMW] = "adamw",
                                        [OT_ADAGRAD] = "adagrad",
                                        [OT_ADAM_ONNX] = "adam_onnx"};
    if (s->optimizer.is_set)
        step(context, &(ot_profile_step){.what = "optimizer",
                                         .op = kinds[s->optimizer.options.kind],
                                         .name = "",
                                         .kernel = "",
                                         .bytes = optimizer_bytes(s),
                                         .seconds = s->context.profile.optimizer.seconds,
                                         .calls = s->context.profile.optimizer.calls});
    return OT_OK;
}
