/* loss.c - the losses' names, and what they ask of output and target. */
#include "runtime/loss/loss.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/error.h"

enum { PYTORCH_IGNORES = -100 };

static const char *const names[] = {[OT_LOSS_AUTO] = "auto",
                                    [OT_LOSS_CROSS_ENTROPY] = "cross_entropy",
                                    [OT_LOSS_MSE] = "mse",
                                    [OT_LOSS_L1] = "l1",
                                    [OT_LOSS_HUBER] = "huber",
                                    [OT_LOSS_BCE] = "bce",
                                    [OT_LOSS_NEXT_TOKEN] = "next_token"};

const char *ot_loss_name(ot_loss_kind kind) { return names[kind]; }

ot_status ot_loss_check(const ot_loss_options *o, ot_error *err) {
    if ((unsigned)o->kind > OT_LOSS_NEXT_TOKEN)
        return ot_fail(err, OT_ERROR_ARGUMENT, "loss kind %d is unknown", (int)o->kind);
    if (!(o->label_smoothing >= 0 && o->label_smoothing < 1))
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "label_smoothing is %g, expected at least 0 and less than 1",
                       (double)o->label_smoothing);
    if (!(o->huber_delta >= 0))
        return ot_fail(err, OT_ERROR_ARGUMENT, "huber_delta is %g, expected at least 0",
                       (double)o->huber_delta);
    if (o->class_axis <= -OT_MAX_RANK || o->class_axis >= OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "class_axis is %d, which is out of range",
                       o->class_axis);
    return OT_OK;
}

/* The axis where no target says it. */
static int usual_axis(const ot_loss_options *o, ot_loss_kind kind,
                      const struct loss_output *output) {
    const int last = output->t->rank - 1;
    if (output->t->rank < 2) return 0;
    if (o->class_axis) return ot_loss_named_axis(o, output->t);
    if (output->hint) return output->hint;
    const bool tokens = output->tokens && ot_loss_fits(output->t, last, output->tokens, true);
    return kind == OT_LOSS_NEXT_TOKEN || tokens ? last : 1;
}

static ot_status refuse_target(const struct loss *loss, const struct tensor *output,
                               const ot_tensor *target, ot_error *err) {
    char have[128], want[128], soft[160] = "", out[128];
    struct tensor given = {.rank = target->rank}, wanted;
    memcpy(given.dim, target->dim, sizeof given.dim);
    ot_loss_target(loss, output, &wanted);
    if (loss->kind == OT_LOSS_CROSS_ENTROPY)
        snprintf(soft, sizeof soft, " or float %s", ot_shape_text(output, out, sizeof out));
    return ot_fail(err, OT_ERROR_ARGUMENT, "%s: the target must be %s %s%s, given %s %s",
                   names[loss->kind], ot_type_name(wanted.type),
                   ot_shape_text(&wanted, want, sizeof want), soft, ot_type_name(target->type),
                   ot_shape_text(&given, have, sizeof have));
}

static ot_status check_output(const ot_loss_options *o, ot_loss_kind kind,
                              const struct tensor *output, ot_error *err) {
    char shape[160];
    if (output->type != OT_FLOAT)
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the loss needs a float output, but it is %s",
                       ot_type_name(output->type));
    if (!ot_loss_has_classes(kind)) return OT_OK;
    if (output->rank < 2 || !output->dim[1])
        return ot_fail(
            err, OT_ERROR_UNSUPPORTED,
            "%s needs an output with an axis of classes, such as [N, C]; this output is %s",
            kind == OT_LOSS_NEXT_TOKEN ? names[kind] : "cross entropy",
            ot_shape_text(output, shape, sizeof shape));
    if (o->class_axis && !ot_loss_named_axis(o, output))
        return ot_fail(
            err, OT_ERROR_ARGUMENT,
            "class_axis is %d, but the output %s has its classes along one of axes 1 to %d",
            o->class_axis, ot_shape_text(output, shape, sizeof shape), output->rank - 1);
    return OT_OK;
}

/* Labels or probabilities, along which axis: what the target's type and shape say. */
static ot_status look_at_target(const ot_loss_options *o, const struct loss_output *output,
                                const ot_tensor *target, bool batch, struct loss *loss,
                                ot_error *err) {
    const struct tensor *t = output->t;
    if (target->rank < 0 || target->rank > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the target has rank %d, which is not supported",
                       target->rank);
    const bool integers = ot_is_integer(target->type);
    const int axis = loss->axis && integers ? ot_loss_find_axis(o, output, target) : 0;
    if (axis) loss->axis = axis;
    const bool soft = loss->kind == OT_LOSS_CROSS_ENTROPY && !axis;
    const bool known = integers || target->type == OT_FLOAT, needs_axis = loss->axis && !soft;
    if (!known || (needs_axis && !axis) || !ot_loss_fits(t, axis, target, batch))
        return refuse_target(loss, t, target, err);
    loss->soft = soft;
    if (!soft || t->rank < 3 || o->class_axis || output->hint) return OT_OK;
    const int found = ot_loss_soft_axis(o, output, target);
    if (found) loss->axis = found;
    return OT_OK;
}

ot_status ot_loss_make(const ot_loss_options *o, ot_loss_kind kind,
                       const struct loss_output *output, const ot_tensor *target, bool batch,
                       struct loss *loss, ot_error *err) {
    OT_TRY(check_output(o, kind, output->t, err));
    struct loss l = {.kind = kind,
                     .ignored = o->use_ignore_index ? o->ignore_index : PYTORCH_IGNORES,
                     .smoothing = (double)o->label_smoothing,
                     .delta = o->huber_delta > 0 ? (double)o->huber_delta : 1};
    if (ot_loss_has_classes(kind)) l.axis = usual_axis(o, kind, output);
    if (target) OT_TRY(look_at_target(o, output, target, batch, &l, err));
    if (l.axis) l.classes = output->t->dim[l.axis];
    *loss = l;
    return OT_OK;
}

void ot_loss_target(const struct loss *loss, const struct tensor *output, struct tensor *target) {
    const bool labels = ot_loss_has_classes(loss->kind) && !loss->soft;
    *target = (struct tensor){.type = labels ? OT_INT64 : OT_FLOAT};
    for (int i = 0; i < output->rank; i++)
        if (!labels || i != loss->axis) target->dim[target->rank++] = output->dim[i];
}
