/* constant_of_shape.c - ConstantOfShape: y is `value` all over, in a given shape. */
#include "ops/walk/index.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct attr *value = ot_attr(n->node, "value");
    const int64_t *shape;
    int rank;
    OT_TRY(ot_op_ints(n, 0, &shape, &rank, err));
    if (value && (!value->t || ot_elements(value->t) != 1 || !ot_type_size(value->t->type)))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'value' is not a single number");
    return ot_op_set(n, n->y[0], value ? value->t->type : OT_FLOAT, rank, shape, err);
}

static void forward(struct op_node *n) {
    const struct attr *value = ot_attr(n->node, "value");
    struct tensor *y = n->y[0];
    ot_fill(n->pool, y->data, ot_count(y), ot_type_size(y->type), value ? value->t->data : NULL);
}

static const char *const cases[] = {"i64{2,2} -> f[2,2]{0,0,0,0}",
                                    "i64{3} value=i64{7} -> i64{7,7,7}",
                                    "i64{} value=f{0.5} -> f(0.5)",
                                    "i64{0} -> f[0]{}",
                                    "i64{2} value=f{1,2} -> error: 'value'",
                                    "i64{2,-1} -> error: dimension 1 of the result is -1",
                                    "i64{1073741824,1073741824} -> error: more than 2^40",
                                    NULL};

const struct op ot_op_ConstantOfShape = {
    .name = "ConstantOfShape",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "value:t",
    .prepare = prepare,
    .forward = forward,
    .limits = "shape must be constant",
    .cases = cases,
};
