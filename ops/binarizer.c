/* binarizer.c - Binarizer of the domain ai.onnx.ml: y = 1 for x above the threshold, else 0. The
 * gradient is 0. */
#include "ops/number.h"
#include "ops/walk/unary.h"

static void value(const float *x, float *y, int64_t n, const void *plan) {
    const struct params p = *(const struct params *)plan;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] > p.a ? 1 : 0;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    ((struct params *)ot_op_plan(n))->a = ot_attr_float(n->node, "threshold", 0);
    return ot_unary_prepare_number(n, err);
}

static void forward(struct op_node *n) {
    const struct tensor *x = n->x[0];
    const double threshold = (double)((const struct params *)n->plan)->a;
    if (x->type == OT_FLOAT) {
        ot_unary_forward(n, value);
        return;
    }
    for (int64_t k = 0, count = ot_count(x); k < count; k++)
        ot_store_integer(n->y[0]->data, x->type, k,
                         (double)ot_load_integer(x->data, x->type, k) > threshold);
}

static const char *const cases[] = {"X[2,3,5] threshold=0.5 lanes -> Y[2,3,5]",
                                    "f{-1,0,1,nan} -> f{0,0,1,0}",
                                    "i64{3,-4,1} threshold=1.5 -> i64{1,0,0}", NULL};

const struct op ot_op_Binarizer = {
    .name = "Binarizer",
    .domain = "ai.onnx.ml",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "threshold:f",
    .plan_size = sizeof(struct params),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = ot_unary_backward_zero,
    .again = forward,
    .cases = cases,
};
