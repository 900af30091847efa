/* options.c - an optimizer's options: their defaults, ranges, and what they ask for. */
#include "runtime/base/error.h"
#include "runtime/base/options.h"
#include "runtime/train/optimizer.h"

ot_optimizer_options ot_optimizer_usual(ot_optimizer_kind kind) {
    return (ot_optimizer_options){.kind = kind,
                                  .lr = kind == OT_SGD || kind == OT_ADAGRAD ? 0.01f : 0.001f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.999f,
                                  .eps = 1e-8f,
                                  .gamma = 0.1f,
                                  .exact = 1};
}

void ot_optimizer_defaults(ot_optimizer_kind kind, ot_optimizer_options *options, size_t size) {
    const ot_optimizer_options usual = ot_optimizer_usual(kind);
    if (!options || size < sizeof size) return;
    options->size = size;
    (void)ot_options_write(&ot_optimizer_options_type, &usual, options, NULL);
}

/* What zeros stand for where the options are not exact. */
static void fill_defaults(ot_optimizer_options *o) {
    const ot_optimizer_options usual = ot_optimizer_usual(o->kind);
    if (o->beta1 == 0) o->beta1 = usual.beta1;
    if (o->beta2 == 0) o->beta2 = usual.beta2;
    if (o->eps == 0) o->eps = usual.eps;
    if (o->gamma == 0) o->gamma = usual.gamma;
    o->exact = 1;
}

ot_status ot_optimizer_check(const ot_optimizer_options *given, ot_optimizer_options *o,
                             ot_error *err) {
    *o = *given;
    if (!o->exact) fill_defaults(o);
    const struct {
        const char *name;
        double value, least, most;
    } ranges[] = {
        {"lr", o->lr, 0, 1e38},
        {"momentum", o->momentum, 0, 1},
        {"dampening", o->dampening, 0, 1},
        {"beta1", o->beta1, 0, 0.999999},
        {"beta2", o->beta2, 0, 0.9999999},
        {"eps", o->eps, 0, 1},
        {"lr_decay", o->lr_decay, 0, 1e30},
        {"weight_decay", o->weight_decay, 0, 1e30},
        {"post_decay", o->post_decay, 0, 1},
        {"clip_norm", o->clip_norm, 0, 1e30},
        {"gamma", o->gamma, 0, 1e30},
        {"final_factor", o->final_factor, 0, 1e30},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].least && ranges[i].value <= ranges[i].most))
            return ot_fail(err, OT_ERROR_ARGUMENT, "%s is %g, expected %g to %g", ranges[i].name,
                           ranges[i].value, ranges[i].least, ranges[i].most);
    if ((unsigned)o->kind > OT_ADAM_ONNX || (unsigned)o->schedule > OT_SCHEDULE_COSINE)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "the optimizer kind %d or the schedule %d is unknown", (int)o->kind,
                       (int)o->schedule);
    if (o->warmup_steps < 0 || o->total_steps < 0 || o->step_size < 0 || o->steps_before < 0)
        return ot_fail(err, OT_ERROR_ARGUMENT, "a number of steps is negative");
    if (o->schedule == OT_SCHEDULE_STEP && !o->step_size)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the step schedule needs step_size");
    if (o->schedule >= OT_SCHEDULE_LINEAR && !o->total_steps)
        return ot_fail(err, OT_ERROR_ARGUMENT, "linear and cosine schedules need total_steps");
    if (o->nesterov && (o->kind != OT_SGD || o->momentum == 0))
        return ot_fail(err, OT_ERROR_ARGUMENT, "nesterov needs SGD with momentum");
    return OT_OK;
}

int ot_optimizer_moments(const ot_optimizer_options *o) {
    if (o->kind == OT_SGD) return o->momentum > 0;
    return o->kind == OT_ADAGRAD ? 1 : 2;
}
