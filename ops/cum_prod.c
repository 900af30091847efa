/* cum_prod.c - CumProd: y = the product of x up to an element along one axis; from the end with
 * reverse = 1, without the element itself with exclusive = 1. Integers wrap around.
 *
 * With c the inclusive products and dc their gradients, dx[i] = c[i - 1] r[i], where
 * r[i] = dc[i] + x[i + 1] r[i + 1]: nothing is divided, so that zeros do no harm.
 */
#include "ops/number.h"
#include "ops/strips.h"

struct state {
    struct strips strips;
    bool exclusive, reverse;
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

/* Where element i of a column stands, in the order of the products. */
static int64_t place(const struct state *s, int64_t at, int64_t i) {
    return at + (s->reverse ? s->strips.length - 1 - i : i) * s->strips.inner;
}

static void value_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const float *x = ot_f(n->x[0]);
    float *y = ot_f(n->y[0]);
    double product[OT_STRIP];
    for (int64_t j = 0; j < columns; j++) product[j] = 1;
    for (int64_t i = 0; i < s->strips.length; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = place(s, at, i) + j;
            const double before = product[j];
            product[j] *= (double)x[k];
            y[k] = (float)(s->exclusive ? before : product[j]);
        }
}

static void integer_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const struct tensor *x = n->x[0];
    uint64_t product[OT_STRIP];
    for (int64_t j = 0; j < columns; j++) product[j] = 1;
    for (int64_t i = 0; i < s->strips.length; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = place(s, at, i) + j;
            const uint64_t before = product[j];
            product[j] *= (uint64_t)ot_load_integer(x->data, x->type, k);
            ot_store_integer(n->y[0]->data, x->type, k,
                             (int64_t)(s->exclusive ? before : product[j]));
        }
}

static void gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const float *x = ot_f(n->x[0]), *dy = ot_f(n->dy[0]);
    float *dx = ot_f(n->dx[0]);
    const int64_t length = s->strips.length;
    double rest[OT_STRIP] = {0}, product[OT_STRIP];
    for (int64_t i = length - 1; i >= 0; i--)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = place(s, at, i) + j;
            const int64_t next = i + 1 < length ? place(s, at, i + 1) + j : -1;
            const double own = s->exclusive ? (next < 0 ? 0 : (double)dy[next]) : (double)dy[k];
            rest[j] = own + (next < 0 ? 0 : (double)x[next] * rest[j]);
            dx[k] = (float)rest[j];
        }
    for (int64_t j = 0; j < columns; j++) product[j] = 1;
    for (int64_t i = 0; i < length; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = place(s, at, i) + j;
            dx[k] = (float)(product[j] * (double)dx[k]);
            product[j] *= (double)x[k];
        }
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    ot_strips_each(n->pool, &s->strips, n->x[0]->type == OT_FLOAT ? value_strip : integer_strip, n);
    if (n->x[0]->type == OT_FLOAT) ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    if (!n->dx[0]) return;
    ot_strips_each(n->pool, &s->strips, gradient_strip, n);
    ot_op_clear_spare(n->dx[0]);
}

static const char *const cases[] = {
    "X[2,3,4] i64(1) lanes -> Y[2,3,4]",
    "X[2,3,4] i32{-1} reverse=1 lanes -> Y[2,3,4]",
    "X[2,3,70] i64(1) exclusive=1 range=0.5,1.5 lanes -> Y[2,3,70]",
    "X[5] i64(0) exclusive=1 reverse=1 -> Y[5]",
    "f{1,2,3,4} i64(0) -> f{1,2,6,24}",
    "f{1,2,3,4} i64(0) exclusive=1 -> f{1,1,2,6}",
    "f{1,2,3,4} i64(0) exclusive=1 reverse=1 -> f{24,12,4,1}",
    "f{2,0,3,0}:x i64(0) -> f{2,0,0,0} d0=f{1,8,0,0}",
    "i32[2,3]{1,2,3,4,5,6} i64(1) reverse=1 -> i32[2,3]{6,6,3,120,30,6}",
    "X[2,3] i64(2) -> error: axis 2",
    "X[2,3] A[]:i64 -> error: input 1 is not constant",
    NULL,
};

const struct op ot_op_CumProd = {
    .name = "CumProd", .since = 26, .min_in = 2, .max_in = 2, .min_out = 1, .max_out = 1,
    .attributes = "exclusive:i reverse:i", .needs = OT_X(0), .state_size = sizeof(struct state),
    .lanes = lanes, .prepare = prepare, .forward = forward, .backward = backward,
    .limits = "constant axis", .cases = cases,
};
