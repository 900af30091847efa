/* lp_normalization.c - LpNormalization: y = x / norm along one axis, norm = sum of |x| (p = 1) or
 * sqrt(sum of x^2) (p = 2); 0 where the norm is 0. dx = (dy - c sum of dy y) / norm, c = sign(x) or
 * y. */
#include <math.h>

#include "ops/walk/strips.h"

struct lp_normalization_plan {
    struct strips strips;
    bool absolute; /* p = 1 */
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    return ot_op_axis(n, ot_attr_int(n->node, "axis", -1), n->x[0]->rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return !find_axis(n, &axis, NULL) && axis >= lane_rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct lp_normalization_plan *plan = ot_op_plan(n);
    const int64_t p = ot_attr_int(n->node, "p", 2);
    int axis;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_along(n, axis);
    if (p != 1 && p != 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'p' is %lld, expected 1 or 2",
                          (long long)p);
    plan->absolute = p == 1;
    ot_op_like(n->y[0], n->x[0]);
    ot_strips_of(n->x[0], axis, axis + 1, &plan->strips);
    n->save_size = (size_t)(plan->strips.outer * plan->strips.inner) * sizeof(float);
    return OT_OK;
}

/* 1 / norm of the column that starts at element `at`, as forward left it; 0 for a norm of 0. */
static float *inverse_at(const struct op_node *n, int64_t at) {
    return (float *)n->save +
           ot_strips_column(&((const struct lp_normalization_plan *)n->plan)->strips, at);
}

static void value_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct lp_normalization_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]) + at;
    float *y = ot_f(n->y[0]) + at, *inverse = inverse_at(n, at);
    const int64_t length = plan->strips.length, inner = plan->strips.inner;
    double sum[OT_STRIP] = {0};
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < columns; j++) {
            const float v = x[k * inner + j];
            sum[j] += plan->absolute ? (double)fabsf(v) : (double)v * (double)v;
        }
    for (int64_t j = 0; j < columns; j++) {
        const double norm = plan->absolute ? sum[j] : sqrt(sum[j]);
        inverse[j] = norm > 0 ? (float)(1 / norm) : 0;
    }
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < columns; j++) y[k * inner + j] = x[k * inner + j] * inverse[j];
}

static void gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct lp_normalization_plan *plan = n->plan;
    const float *y = ot_f(n->y[0]) + at, *dy = ot_f(n->dy[0]) + at, *inverse = inverse_at(n, at);
    float *dx = ot_f(n->dx[0]) + at;
    const int64_t length = plan->strips.length, inner = plan->strips.inner;
    double dot[OT_STRIP] = {0};
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < columns; j++)
            dot[j] += (double)dy[k * inner + j] * (double)y[k * inner + j];
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < columns; j++) {
            const float v = y[k * inner + j];
            const float c = plan->absolute ? (float)((v > 0) - (v < 0)) : v;
            dx[k * inner + j] = (dy[k * inner + j] - c * (float)dot[j]) * inverse[j];
        }
}

static void forward(struct op_node *n) {
    const struct lp_normalization_plan *plan = n->plan;
    ot_strips_each(n->pool, &plan->strips, value_strip, n);
    ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    const struct lp_normalization_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_strips_each(n->pool, &plan->strips, gradient_strip, n);
    ot_op_clear_spare(n->dx[0]);
}

static const char *const cases[] = {
    "X[2,3,4] lanes -> Y[2,3,4]",
    "X[2,3,70] axis=1 lanes -> Y[2,3,70]",
    "X[2,3,4] axis=1 p=1 lanes -> Y[2,3,4]",
    "X[5] axis=0 p=1 @6 -> Y[5]",
    "f[2,2]{3,4,0,0} -> f[2,2]{0.6,0.8,0,0}",
    "f[2,2]{3,-1,0,0} p=1 -> f[2,2]{0.75,-0.25,0,0}",
    "X[2,3] p=3 -> error: attribute 'p' is 3",
    "X[2,3] axis=2 -> error: axis 2",
    NULL,
};

const struct op ot_op_LpNormalization = {
    .name = "LpNormalization",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i p:i",
    .needs = OT_Y(0),
    .plan_size = sizeof(struct lp_normalization_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
