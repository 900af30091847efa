/* clip.c - y = min(max(x, low), high); integers too. Where low > high the result is high.
 *
 * Before opset 11 the bounds are attributes, later constant inputs. The gradient passes where
 * low <= x <= high.
 */
#include <float.h>

#include "ops/number.h"
#include "ops/walk/unary.h"

struct clip_plan {
    float low, high;
    int64_t integer_low, integer_high; /* bounds in the order of ot_ordered */
};

static void value(const float *x, float *y, int64_t n, const void *plan) {
    const struct clip_plan p = *(const struct clip_plan *)plan;
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] < p.low ? p.low : x[i];
        y[i] = v > p.high ? p.high : v;
    }
}

static void gradient(const float *x, const float *y, const float *dy, float *dx, int64_t n,
                     const void *plan) {
    const struct clip_plan p = *(const struct clip_plan *)plan;
    (void)y;
    for (int64_t i = 0; i < n; i++) dx[i] = ot_pass((x[i] >= p.low) & (x[i] <= p.high), dy[i]);
}

/* Reads bound i if the node has it. */
static ot_status bound(struct op_node *n, int i, float *f, int64_t *integer, ot_error *err) {
    if (i >= n->n_in || !n->x[i]) return OT_OK;
    const struct tensor *t = n->x[i];
    OT_TRY(ot_op_type(n, i, n->x[0]->type, err));
    if (t->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    if (ot_elements(t) != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a scalar", i);
    if (t->type == OT_FLOAT)
        *f = ot_f(t)[0];
    else
        *integer = ot_load_ordered(t->data, t->type, 0);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct clip_plan *plan = ot_op_plan(n);
    *plan = (struct clip_plan){-FLT_MAX, FLT_MAX, INT64_MIN, INT64_MAX};
    OT_TRY(ot_unary_prepare_number(n, err));
    if (n->node->opset >= 11) {
        OT_TRY(bound(n, 1, &plan->low, &plan->integer_low, err));
        return bound(n, 2, &plan->high, &plan->integer_high, err);
    }
    if (n->n_in > 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d inputs, expected 1 in this opset", n->n_in);
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err)); /* the limits are floats, and so is x */
    plan->low = ot_attr_float(n->node, "min", plan->low);
    plan->high = ot_attr_float(n->node, "max", plan->high);
    return OT_OK;
}

static int64_t integer(int64_t x, ot_type type, const void *plan) {
    const struct clip_plan *p = plan;
    int64_t v = ot_ordered(type, x);
    v = v < p->integer_low ? p->integer_low : v;
    v = v > p->integer_high ? p->integer_high : v;
    return ot_ordered(type, v);
}

static void forward(struct op_node *n) { ot_unary_forward_number(n, value, integer); }
static void backward(struct op_node *n) { ot_unary_backward(n, gradient); }

static const char *const cases[] = {
    "X[2,3,5] f(-1) f(0.5) lanes -> Y[2,3,5]",
    "X[2,3,5] - f(0.5) -> Y[2,3,5]",
    "X[2,3,5] f(-1) - lanes -> Y[2,3,5]",
    "X[2,3,5] -> Y[2,3,5]",
    "X[2,3,5] min=-1 max=0.5 @6 lanes -> Y[2,3,5]",
    "f{-7,2,9,nan} min=0 max=6 @10 -> f{0,2,6,nan}",
    "f{-7,9} f(2) f(1) -> f{1,1}",
    "f{-2,-1,0,0.5,1}:x f(-1) f(0.5) -> f{-1,-1,0,0.5,0.5} d0=f{0,1,1,1,0}",
    "i64{-7,2,9} i64(0) i64(6) -> i64{0,2,6}",
    "u64{1,7,18446744073709551615} u64(2) -> u64{2,7,18446744073709551615}",
    "u64{1,18446744073709551615} - u64(18446744073709551614) -> u64{1,18446744073709551614}",
    "i64{-7,9} min=0 max=6 @10 -> error: input 0 is int64, expected float",
    "X[2] f{0,1} -> error: input 1 is not a scalar",
    "X[2] M[] -> error: input 1 is not a constant",
    NULL,
};

const struct op ot_op_Clip = {
    .name = "Clip",
    .since = 6,
    .min_in = 1,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "min:f max:f",
    .needs = OT_X(0),
    .plan_size = sizeof(struct clip_plan),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .limits = "min and max must be constant",
    .cases = cases,
};
