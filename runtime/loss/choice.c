/* choice.c - which loss a target asks for: by its type, its shape and its values. */
#include <string.h>

#include "runtime/base/error.h"
#include "runtime/loss/loss.h"

/* What the values of a target are. */
struct values {
    bool zero, one, other; /* which occur */
    double where_other;    /* the first other one ... */
    int64_t at;            /* place of where_other */
};

static struct values scan_labels(const ot_tensor *target, int64_t n) {
    struct values v = {0};
    for (int64_t i = 0; i < n; i++) {
        const double x = ot_target_value(target, i);
        if (x != 0 && x != 1 && !v.other) {
            v.where_other = x;
            v.at = i;
        }
        v.zero |= x == 0;
        v.one |= x == 1;
        v.other |= x != 0 && x != 1;
    }
    return v;
}

/* Targets of the output's shape. */
static ot_status choose_values(const ot_loss_options *o, const struct loss_output *output,
                               const ot_tensor *target, ot_loss_kind *kind, ot_error *err) {
    const struct tensor *t = output->t;
    const int64_t n = ot_target_count(target), each = n && target->dim[0] ? n / target->dim[0] : 1;
    const struct values v = scan_labels(target, n);
    const bool integers = ot_is_integer(target->type);
    *kind = OT_LOSS_MSE;
    if (output->sigmoid && !v.other)
        *kind = OT_LOSS_BCE;
    else if (!output->sigmoid && ot_loss_soft_axis(o, output, target))
        *kind = OT_LOSS_CROSS_ENTROPY;
    else if (!v.other && (integers || (v.zero && v.one)))
        *kind = OT_LOSS_BCE;
    if (*kind != OT_LOSS_MSE || !integers || t->rank > 2 || each > 1) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "label %.0f of sample %lld is neither 0 nor 1, but the output has one value per "
                   "sample; the loss mse takes integers as values",
                   v.where_other, (long long)v.at);
}

static ot_status refuse_target(const struct loss_output *output, const ot_tensor *target,
                               ot_error *err) {
    char have[128], out[128];
    struct tensor given = {.rank = target->rank};
    memcpy(given.dim, target->dim, sizeof given.dim);
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "targets %s %s fit no loss on the output %s: they are neither labels (integers "
                   "of its shape without an axis of classes) nor of its shape",
                   ot_type_name(target->type), ot_shape_text(&given, have, sizeof have),
                   ot_shape_text(output->t, out, sizeof out));
}

ot_status ot_loss_choose(const ot_loss_options *o, const struct loss_output *output,
                         const ot_tensor *target, ot_loss_kind *kind, ot_error *err) {
    const struct tensor *t = output->t;
    if (!target && output->tokens) {
        *kind = OT_LOSS_NEXT_TOKEN;
        return OT_OK;
    }
    if (!target) return ot_fail(err, OT_ERROR_ARGUMENT, "there is no target");
    if (target->rank < 0 || target->rank > OT_MAX_RANK || !target->data)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "the target has rank %d and %s data, expected a valid rank and data",
                       target->rank, target->data ? "some" : "no");
    const bool integers = ot_is_integer(target->type);
    if (!integers && target->type != OT_FLOAT) return refuse_target(output, target, err);
    const int axis = integers ? ot_loss_find_axis(o, output, target) : 0;
    if (axis && t->dim[axis] >= 2) {
        *kind = OT_LOSS_CROSS_ENTROPY;
        return OT_OK;
    }
    if (!ot_loss_fits(t, 0, target, false)) return refuse_target(output, target, err);
    return choose_values(o, output, target, kind, err);
}
