/* identity.c - Identity: y = x. */
#include "ops/walk/index.h"

static bool lanes(const struct op_node *n, int lane_rank) {
    (void)n;
    (void)lane_rank;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    OT_TRY(ot_movable(n, 0, err));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

static const char *const cases[] = {"X[2,3] -> Y[2,3]", "X[2,3,4,5] -> Y[2,3,4,5]", NULL};

const struct op ot_op_Identity = {
    .name = "Identity",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .view = true,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = lanes,
    .prepare = prepare,
    .forward = ot_view_forward,
    .backward = ot_view_backward,
    .cases = cases,
};
