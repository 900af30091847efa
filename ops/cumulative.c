/* cumulative.c - CumSum and CumProd: y = the sum or product of x up to an element along one axis;
 * from the end with reverse = 1, without the element itself with exclusive = 1. Integers wrap
 * around.
 *
 * Of sums, dx is the sum of dy in the other direction. Of products, with c the inclusive ones and
 * dc their gradients, dx[i] = c[i - 1] r[i], where r[i] = dc[i] + x[i + 1] r[i + 1]: nothing is
 * divided, so that zeros do no harm.
 */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/strips.h"

struct cumulative_plan {
    struct strips strips;
    bool product, exclusive, reverse;
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, 1, &value, &count, err));
    if (count != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 has %d axes, expected one", count);
    return ot_op_axis(n, value[0], n->x[0]->rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return n->x[0]->type == OT_FLOAT && !find_axis(n, &axis, NULL) && axis >= lane_rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct cumulative_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    int axis;
    if (!ot_is_integer(x->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_along(n, axis);
    ot_op_like(n->y[0], x);
    ot_strips_of(x, axis, axis + 1, &plan->strips);
    plan->product = !strcmp(n->op->name, "CumProd");
    plan->exclusive = ot_attr_int(n->node, "exclusive", 0) != 0;
    plan->reverse = ot_attr_int(n->node, "reverse", 0) != 0;
    return OT_OK;
}

/* Element i of a column in the order of the results. */
static int64_t element_offset(const struct cumulative_plan *plan, int64_t at, int64_t i) {
    return at + (plan->reverse ? plan->strips.length - 1 - i : i) * plan->strips.inner;
}

/* ---- forward ---- */

/* The results of one array as another. */
struct work {
    const struct cumulative_plan *plan;
    const float *x;
    float *y;
};

static void float_strip(void *arg, int64_t at, int64_t columns) {
    const struct work *w = arg;
    const struct cumulative_plan *plan = w->plan;
    double so_far[OT_STRIP];
    for (int64_t j = 0; j < columns; j++) so_far[j] = plan->product;
    for (int64_t i = 0; i < plan->strips.length; i++) {
        const int64_t k = element_offset(plan, at, i);
        for (int64_t j = 0; j < columns; j++) {
            const double before = so_far[j], x = (double)w->x[k + j];
            so_far[j] = plan->product ? before * x : before + x;
            w->y[k + j] = (float)(plan->exclusive ? before : so_far[j]);
        }
    }
}

static void integer_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct cumulative_plan *plan = n->plan;
    const struct tensor *x = n->x[0], *y = n->y[0];
    uint64_t so_far[OT_STRIP];
    for (int64_t j = 0; j < columns; j++) so_far[j] = plan->product;
    for (int64_t i = 0; i < plan->strips.length; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = element_offset(plan, at, i) + j;
            const uint64_t before = so_far[j];
            const uint64_t v = (uint64_t)ot_load_integer(x->data, x->type, k);
            so_far[j] = plan->product ? before * v : before + v;
            ot_store_integer(y->data, y->type, k, (int64_t)(plan->exclusive ? before : so_far[j]));
        }
}

static void forward(struct op_node *n) {
    const struct cumulative_plan *plan = n->plan;
    if (n->x[0]->type != OT_FLOAT) {
        ot_strips_each(n->pool, &plan->strips, integer_strip, n);
        return;
    }
    struct work w = {plan, ot_f(n->x[0]), ot_f(n->y[0])};
    ot_strips_each(n->pool, &plan->strips, float_strip, &w);
    ot_op_clear_spare(n->y[0]);
}

/* ---- backward ---- */

static void product_gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct cumulative_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]), *dy = ot_f(n->dy[0]);
    float *dx = ot_f(n->dx[0]);
    const int64_t length = plan->strips.length;
    double rest[OT_STRIP] = {0}, product[OT_STRIP];
    for (int64_t i = length - 1; i >= 0; i--)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = element_offset(plan, at, i) + j;
            const int64_t next = i + 1 < length ? element_offset(plan, at, i + 1) + j : -1;
            const double own = plan->exclusive ? (next < 0 ? 0 : (double)dy[next]) : (double)dy[k];
            rest[j] = own + (next < 0 ? 0 : (double)x[next] * rest[j]);
            dx[k] = (float)rest[j];
        }
    for (int64_t j = 0; j < columns; j++) product[j] = 1;
    for (int64_t i = 0; i < length; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = element_offset(plan, at, i) + j;
            dx[k] = (float)(product[j] * (double)dx[k]);
            product[j] *= (double)x[k];
        }
}

static void backward(struct op_node *n) {
    struct cumulative_plan back = *(const struct cumulative_plan *)n->plan;
    if (!n->dx[0]) return;
    back.reverse = !back.reverse;
    struct work w = {&back, ot_f(n->dy[0]), ot_f(n->dx[0])};
    if (back.product)
        ot_strips_each(n->pool, &back.strips, product_gradient_strip, n);
    else
        ot_strips_each(n->pool, &back.strips, float_strip, &w);
    ot_op_clear_spare(n->dx[0]);
}

/* ---- records ---- */

/* Of both. range: of random values. */
#define SHAPES(range)                                                                              \
    "X[2,3,4] i64(1) lanes -> Y[2,3,4]", "X[2,3,4] i32{-1} reverse=1 lanes -> Y[2,3,4]",           \
        "X[2,3,70] i64(1) exclusive=1 " range " lanes -> Y[2,3,70]",                               \
        "X[5] i64(0) exclusive=1 reverse=1 -> Y[5]", "X[2,0] i64(1) -> Y[2,0]",                    \
        "X[2,3] i64(2) -> error: axis 2", "X[2,3] i64{0,1} -> error: 2 axes",                      \
        "X[2,3] A[]:i64 -> error: input 1 is not a constant"

static const char *const sum_cases[] = {
    SHAPES(""),
    "f{1,2,3,4,5} i32(0) -> f{1,3,6,10,15}",
    "f{1,2,3,4,5} i64(0) exclusive=1 -> f{0,1,3,6,10}",
    "f{1,2,3,4,5} i64(0) exclusive=1 reverse=1 -> f{14,12,9,5,0}",
    "i32[2,3]{1,2,3,4,5,6} i64(1) reverse=1 -> i32[2,3]{6,5,3,15,11,6}",
    "i64[2,2]{1,2,3,4} i64(0) exclusive=1 -> i64[2,2]{0,0,1,2}",
    NULL};

static const char *const product_cases[] = {
    SHAPES("range=0.5,1.5"),
    "f{1,2,3,4} i64(0) -> f{1,2,6,24}",
    "f{1,2,3,4} i64(0) exclusive=1 -> f{1,1,2,6}",
    "f{1,2,3,4} i64(0) exclusive=1 reverse=1 -> f{24,12,4,1}",
    "f{2,0,3,0}:x i64(0) -> f{2,0,0,0} d0=f{1,8,0,0}",
    "i32[2,3]{1,2,3,4,5,6} i64(1) reverse=1 -> i32[2,3]{6,6,3,120,30,6}",
    NULL};

#define CUMULATIVE(word, first, reads, texts)                                                      \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "exclusive:i reverse:i",                                                     \
        .needs = reads,                                                                            \
        .plan_size = sizeof(struct cumulative_plan),                                               \
        .lanes = lanes,                                                                            \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .limits = "axis must be constant",                                                         \
        .cases = texts,                                                                            \
    }
CUMULATIVE(CumSum, 11, 0, sum_cases);
CUMULATIVE(CumProd, 26, OT_X(0), product_cases);
