/* axis.c - targets held against an output: shapes, the axis of the classes, and elements. */
#include <math.h>

#include "runtime/loss/loss.h"

static const double sum_error = 1e-3; /* of probabilities that were written with a few digits */

/* ---- elements ---- */

int64_t ot_target_integer(const ot_tensor *target, int64_t i) {
    switch (target->type) {
    case OT_INT64: return ((const int64_t *)target->data)[i];
    case OT_INT32: return ((const int32_t *)target->data)[i];
    case OT_UINT32: return ((const uint32_t *)target->data)[i];
    case OT_INT16: return ((const int16_t *)target->data)[i];
    case OT_UINT16: return ((const uint16_t *)target->data)[i];
    case OT_INT8: return ((const int8_t *)target->data)[i];
    default: return ((const uint8_t *)target->data)[i];
    }
}

double ot_target_value(const ot_tensor *target, int64_t i) {
    return target->type == OT_FLOAT ? (double)((const float *)target->data)[i]
                                    : (double)ot_target_integer(target, i);
}

int64_t ot_target_count(const ot_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* ---- shapes ---- */

bool ot_loss_fits(const struct tensor *output, int axis, const ot_tensor *target, bool batch) {
    int i = 1, j = 1;
    if (output->rank < 1 || target->rank < 1 || axis >= output->rank)
        return output->rank == target->rank && !axis;
    if (batch && output->dim[0] != target->dim[0]) return false;
    for (;; i++, j++) {
        while (i < output->rank && (i == axis || output->dim[i] == 1)) i++;
        while (j < target->rank && target->dim[j] == 1) j++;
        if (i >= output->rank || j >= target->rank) return i >= output->rank && j >= target->rank;
        if (output->dim[i] != target->dim[j]) return false;
    }
}

int ot_loss_named_axis(const ot_loss_options *o, const struct tensor *output) {
    const int axis = o->class_axis < 0 ? output->rank + o->class_axis : o->class_axis;
    return axis > 0 && axis < output->rank ? axis : 0;
}

int ot_loss_find_axis(const ot_loss_options *o, const struct loss_output *output,
                      const ot_tensor *target) {
    const struct tensor *t = output->t;
    if (t->rank < 2) return 0;
    const int named = ot_loss_named_axis(o, t), axes[] = {output->hint, t->rank - 1, 1};
    if (o->class_axis) return named && ot_loss_fits(t, named, target, false) ? named : 0;
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++)
        if (axes[i] > 0 && ot_loss_fits(t, axes[i], target, false)) return axes[i];
    return 0;
}

/* Whether all of the target's rows along the output's axis are probabilities that sum to one. The
 * target has the output's shape, but for its first dimension and dimensions of 1. */
static bool are_probabilities(const struct tensor *output, int axis, const ot_tensor *target) {
    const int64_t classes = output->dim[axis], n = ot_target_count(target);
    const int64_t inner = ot_dims_product(output, axis + 1, output->rank);
    for (int64_t i = 0; i < n / classes; i++) {
        const int64_t at = i / inner * classes * inner + i % inner;
        double sum = 0;
        for (int64_t k = 0; k < classes; k++) {
            const double p = ot_target_value(target, at + k * inner);
            if (!(p >= 0)) return false;
            sum += p;
        }
        if (!(fabs(sum - 1) <= sum_error)) return false;
    }
    return n > 0;
}

int ot_loss_soft_axis(const ot_loss_options *o, const struct loss_output *output,
                      const ot_tensor *target) {
    const struct tensor *t = output->t;
    const int named = o->class_axis < 0 ? t->rank + o->class_axis : o->class_axis;
    const int axes[] = {named ? named : output->hint, t->rank - 1, 1};
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        if (axes[i] > 0 && axes[i] < t->rank && t->dim[axes[i]] >= 2 &&
            are_probabilities(t, axes[i], target))
            return axes[i];
        if (named) break;
    }
    return 0;
}
