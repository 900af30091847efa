/* softmax.c - Softmax y = exp(x - max) / sum of exp(x - max), LogSoftmax, its logarithm, and
 * Hardmax, 1 at the first of the largest and else 0, along one axis; before opset 13 along all axes
 * from `axis` on, taken as one.
 *
 * Backward: dx = y (dy - sum of dy y), and for the logarithm dx = dy - exp(y) sum of dy. Hardmax is
 * not differentiable.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/exponential.h"
#include "ops/walk/strips.h"

enum { WIDTH = 16 };

struct softmax_plan {
    bool logarithm, hard;
    struct strips strips;
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    int rank = n->x[0]->rank;
    bool one = n->node->opset >= 13;
    int64_t given = ot_attr_int(n->node, "axis", one ? -1 : 1);
    if (!one && given == rank) { /* a last part of no axes: every element by itself */
        *axis = rank;
        return OT_OK;
    }
    return ot_op_axis(n, given, rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return !find_axis(n, &axis, NULL) && axis >= lane_rank && axis < n->x[0]->rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct softmax_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    int axis;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_along(n, axis);
    ot_op_like(n->y[0], x);
    int end = n->node->opset >= 13 ? axis + 1 : x->rank;
    plan->logarithm = !strcmp(n->op->name, "LogSoftmax");
    plan->hard = !strcmp(n->op->name, "Hardmax");
    ot_strips_of(x, axis, end, &plan->strips);
    return OT_OK;
}

/* Sums of a row run side by side in WIDTH parts, so that they vectorize. */
static float fold_sum(const float *part) {
    float sum = 0;
    for (int i = 0; i < WIDTH; i++) sum += part[i];
    return sum;
}

static float row_maximum(const float *x, int64_t n) {
    float part[WIDTH], most;
    int64_t k = 0;
    for (int i = 0; i < WIDTH; i++) part[i] = x[0];
    for (; k + WIDTH <= n; k += WIDTH)
        for (int i = 0; i < WIDTH; i++) part[i] = part[i] > x[k + i] ? part[i] : x[k + i];
    most = part[0];
    for (int i = 1; i < WIDTH; i++) most = most > part[i] ? most : part[i];
    for (; k < n; k++) most = most > x[k] ? most : x[k];
    return most;
}

static void row_value(const struct softmax_plan *plan, const float *x, float *y) {
    float part[WIDTH] = {0}, most = row_maximum(x, plan->strips.length);
    int64_t n = plan->strips.length, k = 0;
    for (k = 0; k < n; k++) y[k] = ot_exp(x[k] - most);
    for (k = 0; k + WIDTH <= n; k += WIDTH)
        for (int i = 0; i < WIDTH; i++) part[i] += y[k + i];
    for (; k < n; k++) part[0] += y[k];
    float sum = fold_sum(part), scale = 1 / sum, logarithm = logf(sum);
    if (plan->logarithm)
        for (k = 0; k < n; k++) y[k] = x[k] - most - logarithm;
    else
        for (k = 0; k < n; k++) y[k] *= scale;
}

/* A row of -inf gives NaN, which models of attention replace afterwards: where no gradient comes,
 * none goes on, whatever y is. */
static bool has_none(const float *dy, int64_t n, int64_t step) {
    for (int64_t k = 0; k < n; k++)
        if (dy[k * step] != 0) return false;
    return true;
}

static void row_gradient(const struct softmax_plan *plan, const float *y, const float *dy,
                         float *dx) {
    float part[WIDTH] = {0};
    int64_t n = plan->strips.length, k = 0;
    bool logarithm = plan->logarithm;
    for (; k + WIDTH <= n; k += WIDTH)
        for (int i = 0; i < WIDTH; i++) part[i] += dy[k + i] * (logarithm ? 1 : y[k + i]);
    for (; k < n; k++) part[0] += dy[k] * (logarithm ? 1 : y[k]);
    float sum = fold_sum(part);
    if (isnan(sum) && has_none(dy, n, 1)) {
        memset(dx, 0, (size_t)n * sizeof *dx);
        return;
    }
    if (logarithm)
        for (k = 0; k < n; k++) dx[k] = dy[k] - ot_exp(y[k]) * sum;
    else
        for (k = 0; k < n; k++) dx[k] = y[k] * (dy[k] - sum);
}

/* One column strip: m columns at distance 1, elements of a column at distance `pitch`. */
static void columns_value(const struct softmax_plan *plan, const float *x, float *y, int64_t m) {
    float most[OT_STRIP], sum[OT_STRIP] = {0};
    int64_t pitch = plan->strips.inner, length = plan->strips.length;
    memcpy(most, x, (size_t)m * sizeof *x);
    for (int64_t k = 1; k < length; k++)
        for (int64_t j = 0; j < m; j++)
            most[j] = most[j] > x[k * pitch + j] ? most[j] : x[k * pitch + j];
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < m; j++) {
            float e = ot_exp(x[k * pitch + j] - most[j]);
            sum[j] += e;
            y[k * pitch + j] = e;
        }
    if (!plan->logarithm) {
        for (int64_t k = 0; k < length; k++)
            for (int64_t j = 0; j < m; j++) y[k * pitch + j] /= sum[j];
        return;
    }
    for (int64_t j = 0; j < m; j++) sum[j] = logf(sum[j]);
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < m; j++) y[k * pitch + j] = x[k * pitch + j] - most[j] - sum[j];
}

static void columns_gradient(const struct softmax_plan *plan, const float *y, const float *dy,
                             float *dx, int64_t m) {
    float sum[OT_STRIP] = {0};
    bool none[OT_STRIP];
    int64_t pitch = plan->strips.inner, length = plan->strips.length;
    bool logarithm = plan->logarithm;
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < m; j++)
            sum[j] += dy[k * pitch + j] * (logarithm ? 1 : y[k * pitch + j]);
    for (int64_t j = 0; j < m; j++) none[j] = isnan(sum[j]) && has_none(dy + j, length, pitch);
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < m; j++) {
            int64_t i = k * pitch + j;
            dx[i] = logarithm ? dy[i] - ot_exp(y[i]) * sum[j] : y[i] * (dy[i] - sum[j]);
        }
    for (int64_t j = 0; j < m; j++)
        for (int64_t k = 0; none[j] && k < length; k++) dx[k * pitch + j] = 0;
}

static void columns_hard(const struct softmax_plan *plan, const float *x, float *y, int64_t m) {
    for (int64_t j = 0; j < m; j++) {
        int64_t most = 0;
        for (int64_t k = 0; k < plan->strips.length; k++) {
            if (x[k * plan->strips.inner + j] > x[most * plan->strips.inner + j]) most = k;
            y[k * plan->strips.inner + j] = 0;
        }
        y[most * plan->strips.inner + j] = 1;
    }
}

static void value_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct softmax_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]) + at;
    float *y = ot_f(n->y[0]) + at;
    if (plan->hard)
        columns_hard(plan, x, y, columns);
    else if (plan->strips.inner == 1)
        row_value(plan, x, y);
    else
        columns_value(plan, x, y, columns);
}

static void gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct softmax_plan *plan = n->plan;
    const float *y = ot_f(n->y[0]) + at, *dy = ot_f(n->dy[0]) + at;
    float *dx = ot_f(n->dx[0]) + at;
    if (plan->strips.inner == 1)
        row_gradient(plan, y, dy, dx);
    else
        columns_gradient(plan, y, dy, dx, columns);
}

static void forward(struct op_node *n) {
    const struct softmax_plan *plan = n->plan;
    ot_strips_each(n->pool, &plan->strips, value_strip, n);
}
static void backward(struct op_node *n) {
    const struct softmax_plan *plan = n->plan;
    if (n->dx[0]) ot_strips_each(n->pool, &plan->strips, gradient_strip, n);
}

static const char *const softmax_cases[] = {
    "X[4,10] lanes -> Y[4,10]",
    "X[2,3,4] axis=1 lanes -> Y[2,3,4]",
    "X[2,3,4] axis=0 -> Y[2,3,4]",
    "X[2,3,70] axis=1 lanes -> Y[2,3,70]",
    "X[2,3,4] @11 lanes -> Y[2,3,4]",
    "X[2,3,4] @6 axis=2 lanes -> Y[2,3,4]",
    "X[2,3] @11 axis=2 -> Y[2,3]",
    "f{0,0,1000} -> f{0,0,1}",
    "f[2,2,2]{0,0,0,0,1,1,1,1} @11 -> f[2,2,2]{.25,.25,.25,.25,.25,.25,.25,.25}",
    "f[1,2,2]{0,1,0,1} axis=1 -> f[1,2,2]{.5,.5,.5,.5}",
    "X[0,3] -> Y[0,3]",
    "X[2,0] -> Y[2,0]",
    "X[2,3] axis=2 -> error: axis 2",
    "X[2,3] axis=-3 -> error: axis -3",
    "f[2,3,2]{-1.5,0.5,1.1,0.5,1.7,-1.8,0.1,-0.2,-1.8,0.6,1.4,0.4} axis=1 -> f[2,3,"
    "2]{0.02564348,0.4761318,0.3452571,0.4761318,0.6290994,0.04773642,0.2075177,0.1981116,"
    "0.03103815,0.4409055,0.7614441,0.3609829}",
    "f[2,2,2]{-1,1.4,0,0,1,-1.4,1.3,0.7} axis=1 @11 -> f[2,2,2]{0.05727461,0.6313483,"
    "0.1556886,0.1556886,0.3143275,0.02851516,0.4242978,0.2328596}",
    NULL,
};
static const char *const log_softmax_cases[] = {
    "X[4,10] lanes -> Y[4,10]",       "X[2,3,4] axis=1 lanes -> Y[2,3,4]",
    "X[2,3,4] @11 lanes -> Y[2,3,4]", "f{0,0} -> f{-0.6931472,-0.6931472}",
    "f{0,1000} -> f{-1000,0}",        NULL,
};

static const char *const hardmax_cases[] = {
    "f[4,4]{3,0,1,2,2,5,1,0,0,1,3,2,0,1,2,3} -> f[4,4]{1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}",
    "f{3,3,3,1} -> f{1,0,0,0}",
    "f[2,2,2]{1,2,3,4,8,7,6,5} axis=1 -> f[2,2,2]{0,0,1,1,1,1,0,0}",
    "f[2,2,2]{1,2,3,4,8,7,6,5} @11 -> f[2,2,2]{0,0,0,1,1,0,0,0}",
    "X[2,3,4] axis=1 lanes -> Y[2,3,4]",
    NULL,
};

#define SOFTMAX(word, gradient, list)                                                              \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 1,                                                                                \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "axis:i",                                                                    \
        .needs = OT_Y(0),                                                                          \
        .plan_size = sizeof(struct softmax_plan),                                                  \
        .lanes = lanes,                                                                            \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = gradient,                                                                      \
        .cases = list,                                                                             \
    }
SOFTMAX(Softmax, backward, softmax_cases);
SOFTMAX(LogSoftmax, backward, log_softmax_cases);
SOFTMAX(Hardmax, NULL, hardmax_cases);
