/* gelu.c - y = x / 2 (1 + erf(x / sqrt 2)); approximate="tanh":
 * y = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Gelu-20; Hendrycks and Gimpel,
 * arXiv 1606.08415). */
#include <string.h>

#include "ops/walk/unary.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    const char *kind = ot_attr_string(n->node, "approximate", "none");
    if (strcmp(kind, "tanh") && strcmp(kind, "none"))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'approximate' is '%.40s', expected 'none' or 'tanh'", kind);
    return ot_unary_prepare(n, err);
}

static enum function function_of(const struct op_node *n) {
    return strcmp(ot_attr_string(n->node, "approximate", "none"), "tanh") ? OT_GELU : OT_GELU_TANH;
}

static void forward(struct op_node *n) {
    ot_unary_forward_kernel(n, function_of(n), (struct params){0, 0});
}
static void backward(struct op_node *n) {
    ot_unary_backward_kernel(n, function_of(n), (struct params){0, 0});
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "X[2,3,5] approximate=tanh lanes -> Y[2,3,5]",
    "f{0,1,-1,9} -> f{0,0.8413447,-0.1586553,9}",
    "f{0,1,-1,9} approximate=tanh -> f{0,0.8411920,-0.1588080,9}",
    "X[2] approximate=sigmoid -> error: attribute 'approximate' is 'sigmoid'",
    "X[2] @19 -> error: opset 19",
    NULL,
};

const struct op ot_op_Gelu = {
    .name = "Gelu",
    .since = 20,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "approximate:s",
    .needs = OT_X(0),
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
