/* loss.c - losses with PyTorch's definitions, reduced to their mean. */
#include "runtime/loss.h"

#include <math.h>
#include <string.h>

#include "runtime/base/error.h"

static const char *const names[] = {[OT_LOSS_CROSS_ENTROPY] = "cross_entropy",
                                    [OT_LOSS_MSE] = "mse",
                                    [OT_LOSS_L1] = "l1",
                                    [OT_LOSS_HUBER] = "huber",
                                    [OT_LOSS_BCE] = "bce"};

const char *ot_loss_name(ot_loss_kind kind) { return names[kind]; }

ot_status ot_loss_check(const ot_loss_options *o, ot_error *err) {
    if ((unsigned)o->kind > OT_LOSS_BCE) return ot_fail(err, OT_ERROR_ARGUMENT, "unknown loss");
    if (!(o->label_smoothing >= 0 && o->label_smoothing < 1))
        return ot_fail(err, OT_ERROR_ARGUMENT, "label_smoothing is %g, not in [0, 1)",
                       (double)o->label_smoothing);
    if (!(o->huber_delta >= 0))
        return ot_fail(err, OT_ERROR_ARGUMENT, "huber_delta is %g", (double)o->huber_delta);
    return OT_OK;
}

ot_status ot_loss_target(const ot_loss_options *o, const struct tensor *output,
                         struct tensor *target, ot_error *err) {
    char shape[256];
    if (output->type != OT_FLOAT)
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the loss needs a float output, not %s",
                       ot_type_name(output->type));
    *target = (struct tensor){.type = OT_FLOAT, .rank = output->rank};
    memcpy(target->dim, output->dim, sizeof target->dim);
    if (o->kind != OT_LOSS_CROSS_ENTROPY) return OT_OK;
    if (output->rank < 2 || output->dim[1] < 1)
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "cross entropy needs an output [N, C, ...], this one is %s",
                       ot_shape_text(output, shape, sizeof shape));
    target->type = OT_INT64;
    target->rank = output->rank - 1;
    memmove(target->dim + 1, output->dim + 2, (size_t)(output->rank - 2) * sizeof *target->dim);
    return OT_OK;
}

/* One position of a classification: logits x, x[stride], ... over c classes. */
static double class_loss(const float *x, int64_t c, int64_t stride, int64_t label, double smooth,
                         double scale, float *g, int64_t *best) {
    double most = -INFINITY, sum = 0, sum_x = 0;
    *best = 0;
    for (int64_t k = 0; k < c; k++) {
        double v = x[k * stride];
        if (v > most) {
            most = v;
            *best = k;
        }
        sum_x += v;
    }
    for (int64_t k = 0; k < c; k++) sum += exp(x[k * stride] - most);
    double log_sum = most + log(sum), share = smooth / (double)c;
    for (int64_t k = 0; g && k < c; k++) {
        double q = share + (k == label ? 1 - smooth : 0);
        g[k * stride] = (float)((exp(x[k * stride] - log_sum) - q) * scale);
    }
    double loss = log_sum - (1 - smooth) * x[label * stride];
    return smooth > 0 ? loss - share * sum_x : loss; /* 0 * -inf is no number */
}

static bool counts(const ot_loss_options *o, int64_t label) {
    return !o->use_ignore_index || label != o->ignore_index;
}

ot_status ot_loss_count(const ot_loss_options *o, const struct tensor *output,
                        const ot_tensor *target, int64_t *count, ot_error *err) {
    int64_t n = 1, c = output->dim[1], inner = ot_dims_product(output, 2, output->rank);
    const int64_t *label = target->data;
    for (int i = 0; i < target->rank; i++) n *= target->dim[i];
    *count = n;
    if (o->kind != OT_LOSS_CROSS_ENTROPY) return OT_OK;
    *count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!counts(o, label[i])) continue;
        if (label[i] < 0 || label[i] >= c)
            return ot_fail(err, OT_ERROR_NUMERIC, "sample %lld: class %lld is not in [0, %lld)",
                           (long long)(i / inner), (long long)label[i], (long long)c);
        ++*count;
    }
    return OT_OK;
}

static void cross_entropy(const ot_loss_options *o, const struct tensor *output,
                          const int64_t *label, int64_t total, float *gradient, ot_result *r) {
    int64_t n = output->dim[0], c = output->dim[1],
            inner = ot_dims_product(output, 2, output->rank);
    const float *x = output->data;
    double scale = total ? 1.0 / (double)total : 0;
    *r = (ot_result){0};
    if (gradient) memset(gradient, 0, (size_t)(n * c * inner) * sizeof *gradient);
    for (int64_t i = 0; i < n * inner; i++) {
        if (!counts(o, label[i])) continue;
        int64_t at = (i / inner) * c * inner + i % inner, best;
        r->loss += class_loss(x + at, c, inner, label[i], o->label_smoothing, scale,
                              gradient ? gradient + at : NULL, &best);
        r->correct += best == label[i];
        r->count++;
    }
    r->loss *= scale;
}

static double mse(double x, double t, double delta, double *g) {
    (void)delta;
    *g = 2 * (x - t);
    return (x - t) * (x - t);
}

static double l1(double x, double t, double delta, double *g) {
    (void)delta;
    *g = (x > t) - (x < t);
    return fabs(x - t);
}

static double huber(double x, double t, double delta, double *g) {
    double d = x - t;
    if (fabs(d) <= delta) {
        *g = d;
        return 0.5 * d * d;
    }
    *g = d > 0 ? delta : -delta;
    return delta * (fabs(d) - 0.5 * delta);
}

static double bce(double x, double t, double delta, double *g) {
    (void)delta;
    *g = 1 / (1 + exp(-x)) - t;
    return fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
}

static double (*const elementwise[])(double, double, double, double *) = {
    [OT_LOSS_MSE] = mse, [OT_LOSS_L1] = l1, [OT_LOSS_HUBER] = huber, [OT_LOSS_BCE] = bce};

void ot_loss_run(const ot_loss_options *o, const struct tensor *output, const ot_tensor *target,
                 int64_t total, float *gradient, ot_result *r) {
    if (o->kind == OT_LOSS_CROSS_ENTROPY) {
        cross_entropy(o, output, target->data, total, gradient, r);
        return;
    }
    int64_t n = ot_elements(output);
    const float *x = output->data, *t = target->data;
    double delta = o->huber_delta > 0 ? o->huber_delta : 1, g;
    *r = (ot_result){.count = n};
    for (int64_t i = 0; i < n; i++) {
        r->loss += elementwise[o->kind](x[i], t[i], delta, &g);
        if (gradient) gradient[i] = (float)(g / (double)total);
        if (o->kind == OT_LOSS_BCE) r->correct += (x[i] > 0) == (t[i] > 0.5f);
    }
    if (n) r->loss /= (double)total;
}
