/* cum_sum.c - CumSum: y = the sum of x up to an element along one axis; from the end with
 * reverse = 1, without the element itself with exclusive = 1. Integers wrap around. dx is the sum
 * of dy in the other direction. */
#include "ops/number.h"
#include "ops/strips.h"

struct state {
    struct strips strips;
    bool exclusive, reverse;
};

struct work {
    const struct state *s;
    const float *x;
    float *y;
    bool reverse;
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, 1, &value, &count, err));
    if (count != 1) return ot_op_fail(n, err, OT_ERROR_INVALID, "%d axes, not one", count);
    return ot_op_axis(n, value[0], n->x[0]->rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return n->x[0]->type == OT_FLOAT && !find_axis(n, &axis, NULL) && axis >= lane_rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    const struct tensor *x = n->x[0];
    int axis;
    if (!ot_is_integer(x->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_along(n, axis);
    ot_op_like(n->y[0], x);
    ot_strips_of(x, axis, axis + 1, &s->strips);
    s->exclusive = ot_attr_int(n->node, "exclusive", 0) != 0;
    s->reverse = ot_attr_int(n->node, "reverse", 0) != 0;
    return OT_OK;
}

static void sum_strip(void *arg, int64_t at, int64_t columns) {
    const struct work *w = arg;
    const struct strips *t = &w->s->strips;
    double sum[OT_STRIP] = {0};
    for (int64_t i = 0; i < t->length; i++) {
        const int64_t k = at + (w->reverse ? t->length - 1 - i : i) * t->inner;
        for (int64_t j = 0; j < columns; j++) {
            const double before = sum[j];
            sum[j] += (double)w->x[k + j];
            w->y[k + j] = (float)(w->s->exclusive ? before : sum[j]);
        }
    }
}

static void run(const struct op_node *n, const float *x, float *y, bool reverse) {
    const struct state *s = n->state;
    struct work w = {s, x, y, reverse};
    ot_strips_each(n->pool, &s->strips, sum_strip, &w);
}

static void integer_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const struct tensor *x = n->x[0];
    uint64_t sum[OT_STRIP] = {0};
    for (int64_t i = 0; i < s->strips.length; i++) {
        const int64_t step = s->reverse ? s->strips.length - 1 - i : i;
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = at + step * s->strips.inner + j;
            const uint64_t before = sum[j];
            sum[j] += (uint64_t)ot_load_integer(x->data, x->type, k);
            ot_store_integer(n->y[0]->data, x->type, k,
                             (int64_t)(s->exclusive ? before : sum[j]));
        }
    }
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    if (n->x[0]->type == OT_FLOAT) run(n, ot_f(n->x[0]), ot_f(n->y[0]), s->reverse);
    else ot_strips_each(n->pool, &s->strips, integer_strip, n);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    if (n->dx[0]) run(n, ot_f(n->dy[0]), ot_f(n->dx[0]), !s->reverse);
}

static const char *const cases[] = {
    "X[2,3,4] i64(1) lanes -> Y[2,3,4]",
    "X[2,3,4] i32{-1} reverse=1 lanes -> Y[2,3,4]",
    "X[2,3,70] i64(1) exclusive=1 lanes -> Y[2,3,70]",
    "X[5] i64(0) exclusive=1 reverse=1 -> Y[5]",
    "f{1,2,3,4,5} i32(0) -> f{1,3,6,10,15}",
    "f{1,2,3,4,5} i64(0) exclusive=1 -> f{0,1,3,6,10}",
    "f{1,2,3,4,5} i64(0) exclusive=1 reverse=1 -> f{14,12,9,5,0}",
    "i32[2,3]{1,2,3,4,5,6} i64(1) reverse=1 -> i32[2,3]{6,5,3,15,11,6}",
    "i64[2,2]{1,2,3,4} i64(0) exclusive=1 -> i64[2,2]{0,0,1,2}",
    "X[2,0] i64(1) -> Y[2,0]",
    "X[2,3] i64(2) -> error: axis 2",
    "X[2,3] i64{0,1} -> error: 2 axes",
    "X[2,3] A[]:i64 -> error: input 1 is not constant",
    NULL,
};

const struct op ot_op_CumSum = {
    .name = "CumSum", .since = 11, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attributes = "exclusive:i reverse:i", .needs = 0, .state_size = sizeof(struct state),
    .lanes = lanes, .prepare = prepare, .forward = forward, .backward = backward,
    .limits = "constant axis", .cases = cases,
};
