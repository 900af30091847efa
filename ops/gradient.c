/* gradient.c - Gradient of the domain ai.onnx.preview.training: the derivatives of the one number
 * `y` with respect to the values that `xs` names, which are its inputs, followed by those of `zs`.
 * A plan makes backward steps of it (runtime/compile/gradient.c), and no node. */
#include "ops/op.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                      "Gradient cannot be computed as an operator in this place");
}

static void forward(struct op_node *n) { (void)n; }

const struct op ot_op_Gradient = {
    .name = "Gradient",
    .domain = OT_TRAINING_DOMAIN,
    .since = 1,
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = -1,
    .attributes = "xs:S y:s zs:S",
    .random = true,
    .prepare = prepare,
    .forward = forward,
    .limits = "one per model, of a scalar, first order only; its outputs must be graph outputs",
};
