/* loss.c - NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss of scores [N, C, ...] and labels
 * [N, ...]: l = -w[label] p[label], p the scores themselves or their LogSoftmax over C, and w = 1
 * where there are no weights. Of ignored labels l and w are 0. The result is l itself, its sum, or
 * sum of l / sum of w.
 *
 * With c = w[label] dy, divided by the sum of w for the mean:
 * dx = -c at the label, else 0; for SoftmaxCrossEntropyLoss dx = c softmax(x), less c at the label.
 * dw[k] is the sum of -dy p[k] over the labels k; for the mean, of -dy (p[k] + y) / sum of w.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/exponential.h"
#include "ops/number.h"
#include "ops/walk/strips.h"

enum { X, LABEL, WEIGHT };

struct loss_plan {
    struct strips strips; /* along C: a column a label */
    bool softmax, mean, sum;
    bool ignores;
    int64_t ignored;
};

static int64_t label_count(const struct op_node *n) { return ot_elements(n->x[LABEL]); }

/* What forward leaves for backward: the sum of w, then of each column the log of the sum of exp(x),
 * then p[label]. */
static float *sum_of_weights(const struct op_node *n) { return n->save; }
static float *logarithms(const struct op_node *n) { return sum_of_weights(n) + 1; }
static float *scores(const struct op_node *n) { return logarithms(n) + label_count(n); }

static ot_status check_inputs(const struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[X], *label = n->x[LABEL];
    const struct tensor *weight = n->n_in > WEIGHT ? n->x[WEIGHT] : NULL;
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (label->type != OT_INT32) OT_TRY(ot_op_type(n, LABEL, OT_INT64, err));
    struct tensor want = {.rank = x->rank - 1};
    if (x->rank < 2 || !x->dim[1])
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has no classes");
    want.dim[0] = x->dim[0];
    for (int i = 2; i < x->rank; i++) want.dim[i - 1] = x->dim[i];
    if (!ot_same_shape(label, &want)) {
        char have[128], wanted[128];
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the labels have shape %s, expected %s",
                          ot_shape_text(label, have, sizeof have),
                          ot_shape_text(&want, wanted, sizeof wanted));
    }
    if (!weight) return OT_OK;
    OT_TRY(ot_op_type(n, WEIGHT, OT_FLOAT, err));
    if (weight->rank != 1 || weight->dim[0] != x->dim[1])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 2 does not have one weight for each of %lld classes",
                          (long long)x->dim[1]);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct loss_plan *plan = ot_op_plan(n);
    const char *reduction = ot_attr_string(n->node, "reduction", "mean");
    OT_TRY(check_inputs(n, err));
    plan->softmax = !strcmp(n->op->name, "SoftmaxCrossEntropyLoss");
    plan->mean = !strcmp(reduction, "mean");
    plan->sum = !strcmp(reduction, "sum");
    if (!plan->mean && !plan->sum && strcmp(reduction, "none"))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'reduction' is '%.40s', expected 'none', 'sum' or 'mean'",
                          reduction);
    plan->ignores = ot_attr(n->node, "ignore_index") != NULL;
    plan->ignored = ot_attr_int(n->node, "ignore_index", 0);
    ot_strips_of(n->x[X], 1, 2, &plan->strips);
    ot_op_like(n->y[0], n->x[LABEL]);
    n->y[0]->type = OT_FLOAT;
    if (plan->mean || plan->sum) n->y[0]->rank = 0;
    if (n->n_out > 1 && n->y[1]) ot_op_like(n->y[1], n->x[X]);
    n->save_size = (size_t)(2 * label_count(n) + 1) * sizeof(float);
    n->forward_scratch_size = (size_t)label_count(n) * 2 * sizeof(float);
    return OT_OK;
}

/* The class of label k, or -1 where it does not count: ignored, or out of range. */
static int64_t class_of(const struct op_node *n, int64_t k) {
    const struct loss_plan *plan = n->plan;
    const int64_t label = ot_load_integer(n->x[LABEL]->data, n->x[LABEL]->type, k);
    if (plan->ignores && label == plan->ignored) return -1;
    return label >= 0 && label < plan->strips.length ? label : -1;
}

static float class_weight(const struct op_node *n, int64_t class) {
    const bool weighted = n->n_in > WEIGHT && n->x[WEIGHT];
    return class < 0 ? 0 : weighted ? ot_f(n->x[WEIGHT])[class] : 1;
}

/* logarithm[j] = log of the sum of exp(x) over the classes. */
static void take_logarithms(const struct strips *t, const float *x, int64_t columns,
                            float *logarithm) {
    float most[OT_STRIP];
    double sum[OT_STRIP] = {0};
    memcpy(most, x, (size_t)columns * sizeof *x);
    for (int64_t c = 1; c < t->length; c++)
        for (int64_t j = 0; j < columns; j++)
            most[j] = most[j] > x[c * t->inner + j] ? most[j] : x[c * t->inner + j];
    for (int64_t c = 0; c < t->length; c++)
        for (int64_t j = 0; j < columns; j++)
            sum[j] += (double)ot_exp(x[c * t->inner + j] - most[j]);
    for (int64_t j = 0; j < columns; j++) logarithm[j] = most[j] + (float)log(sum[j]);
}

/* The scratch area gets losses, then weights. */
static void value_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct loss_plan *plan = n->plan;
    const struct strips *t = &plan->strips;
    const int64_t first = ot_strips_column(t, at);
    const float *x = ot_f(n->x[X]) + at;
    float *loss = (float *)n->scratch + first, *weight = loss + label_count(n);
    float *logarithm = logarithms(n) + first;
    if (plan->softmax) take_logarithms(t, x, columns, logarithm);
    for (int64_t j = 0; j < columns; j++) {
        const int64_t class = class_of(n, first + j);
        weight[j] = class_weight(n, class);
        const float p =
            class < 0 ? 0 : x[class * t->inner + j] - (plan->softmax ? logarithm[j] : 0);
        loss[j] = -weight[j] * p;
        scores(n)[first + j] = p;
    }
    if (n->n_out < 2 || !n->y[1]) return;
    float *y = ot_f(n->y[1]) + at;
    for (int64_t c = 0; c < t->length; c++)
        for (int64_t j = 0; j < columns; j++)
            y[c * t->inner + j] = x[c * t->inner + j] - logarithm[j];
}

static void gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct loss_plan *plan = n->plan;
    const struct strips *t = &plan->strips;
    const int64_t first = ot_strips_column(t, at);
    const float *x = ot_f(n->x[X]) + at, *dy = ot_f(n->dy[0]);
    float *dx = ot_f(n->dx[X]) + at;
    for (int64_t j = 0; j < columns; j++) {
        const int64_t class = class_of(n, first + j);
        const float slope = dy[plan->mean || plan->sum ? 0 : first + j] * class_weight(n, class);
        const float c = class < 0 ? 0 : plan->mean ? slope / *sum_of_weights(n) : slope;
        const float logarithm = plan->softmax ? logarithms(n)[first + j] : 0;
        for (int64_t i = 0; i < t->length; i++) {
            const int64_t k = i * t->inner + j;
            dx[k] = (plan->softmax ? c * ot_exp(x[k] - logarithm) : 0) - (i == class ? c : 0);
        }
    }
}

static void report_bad_labels(struct op_node *n) {
    const struct loss_plan *plan = n->plan;
    for (int64_t k = 0; k < label_count(n); k++) {
        const int64_t label = ot_load_integer(n->x[LABEL]->data, n->x[LABEL]->type, k);
        if (class_of(n, k) < 0 && !(plan->ignores && label == plan->ignored)) ot_op_bad_index(n, k);
    }
}

static void forward(struct op_node *n) {
    const struct loss_plan *plan = n->plan;
    const int64_t count = label_count(n);
    const float *loss = n->scratch, *weight = loss + count;
    double sum = 0, weights = 0;
    report_bad_labels(n);
    ot_strips_each(n->pool, &plan->strips, value_strip, n);
    for (int64_t k = 0; k < count; k++) {
        sum += (double)loss[k];
        weights += (double)weight[k];
    }
    *sum_of_weights(n) = (float)weights;
    if (plan->mean || plan->sum)
        *ot_f(n->y[0]) = (float)(plan->mean ? sum / weights : sum);
    else if (count)
        memcpy(n->y[0]->data, loss, (size_t)count * sizeof *loss);
}

/* In the order of the labels, on one thread: there are few, and their sums have one order. */
static void weight_gradient(const struct op_node *n) {
    const struct loss_plan *plan = n->plan;
    const float *p = scores(n), *dy = ot_f(n->dy[0]);
    float *dw = ot_f(n->dx[WEIGHT]);
    double mean = 0;
    for (int64_t k = 0; plan->mean && k < label_count(n); k++)
        mean -= (double)class_weight(n, class_of(n, k)) * (double)p[k];
    if (plan->mean) mean /= (double)*sum_of_weights(n);
    memset(dw, 0, ot_bytes(n->dx[WEIGHT]));
    for (int64_t k = 0; k < label_count(n); k++) {
        const int64_t class = class_of(n, k);
        const double slope = (double)dy[plan->mean || plan->sum ? 0 : k];
        const double d =
            plan->mean ? ((double)-p[k] - mean) / (double)*sum_of_weights(n) : (double)-p[k];
        if (class >= 0) dw[class] += (float)(slope * d);
    }
}

static void backward(struct op_node *n) {
    const struct loss_plan *plan = n->plan;
    if (n->n_in > WEIGHT && n->dx[WEIGHT]) weight_gradient(n);
    if (n->dx[X]) ot_strips_each(n->pool, &plan->strips, gradient_strip, n);
}

#define COMMON                                                                                     \
    "X[3,4] L[3]:i64 range=0,3 -> Y[]", "X[3,4] L[3]:i32 range=0,3 reduction=sum -> Y[]",          \
        "X[3,4,5] L[3,5]:i64 range=0,3 reduction=none -> Y[3,5]",                                  \
        "X[2,4,3,5] L[2,3,5]:i64 W[4]:c range=0,3 -> Y[]",                                         \
        "X[2,4,70] L[2,70]:i64 W[4]:c range=0,3 ignore_index=2 -> Y[]",                            \
        "X[2,4] i64{-100,1} W[4]:c range=0,3 ignore_index=-100 reduction=sum -> Y[]",              \
        "X[3,4,5] L[3,5]:i64 W[4] range=0.5,3 ignore_index=2 -> Y[]",                              \
        "X[3,4,5] L[3,5]:i64 W[4] range=0.5,3 reduction=none -> Y[3,5]",                           \
        "X[2,4] L[3]:i64 -> error: the labels have shape [3], expected [2]",                       \
        "X[2,4] L[2]:i64 W[3] -> error: input 2 does not have one weight for each of 4 classes",   \
        "X[2,4] L[2]:i64 reduction=max -> error: attribute 'reduction' is 'max'",                  \
        "X[2,4] L[2] -> error: input 1 is float"

static const char *const likelihood_cases[] = {
    COMMON,
    "f[2,3]{-1,-2,-3,-4,-5,-6} i64{2,0} f{1,2,3} -> f(3.25)",
    "f[2,3]{-1,-2,-3,-4,-5,-6} i64{2,0} reduction=none ignore_index=0 -> f{3,0}",
    NULL,
};
static const char *const entropy_cases[] = {
    COMMON,
    "X[3,4,2] L[3,2]:i64 range=0,3 -> Y[] P[3,4,2]:n",
    "f[1,2]{0,0} i64{1} -> f(0.6931472) f[1,2]{-0.6931472,-0.6931472}",
    "f[1,2]{0,1000} i64{0} reduction=none -> f{1000} f[1,2]{-1000,0}",
    NULL,
};

#define LOSS(word, outputs, reads, texts)                                                          \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 12,                                                                               \
        .min_in = 2,                                                                               \
        .max_in = 3,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = outputs,                                                                        \
        .attributes = "ignore_index:i reduction:s",                                                \
        .needs = reads,                                                                            \
        .plan_size = sizeof(struct loss_plan),                                                     \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .cases = texts,                                                                            \
    }
LOSS(NegativeLogLikelihoodLoss, 1, OT_X(LABEL) | OT_X(WEIGHT), likelihood_cases);
LOSS(SoftmaxCrossEntropyLoss, 2, OT_X(X) | OT_X(LABEL) | OT_X(WEIGHT), entropy_cases);
