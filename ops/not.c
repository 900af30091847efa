/* not.c - y = !x, of bools. Not differentiable. */
#include "ops/walk/unary.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_op_type(n, 0, OT_BOOL, err));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

static void forward(struct op_node *n) {
    const uint8_t *x = n->x[0]->data;
    uint8_t *y = n->y[0]->data;
    for (int64_t i = 0, count = ot_count(n->x[0]); i < count; i++) y[i] = !x[i];
}

static const char *const cases[] = {
    "b{0,1} -> b{1,0}",
    "X[2,3]:b lanes -> Y[2,3]:b",
    "f{1} -> error: input 0 is float",
    NULL,
};

const struct op ot_op_Not = {
    .name = "Not",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .lanes = ot_unary_lanes,
    .prepare = prepare,
    .forward = forward,
    .cases = cases,
};
