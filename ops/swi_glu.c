/* swi_glu.c - SwiGLU: y = b a sigmoid(alpha a), a gate times a value of the same shape (Shazeer,
 * arXiv 2002.05202). With s = sigmoid(alpha a): da = dy b s (1 + alpha a (1 - s)), db = dy a s. */
#include "ops/walk/unary.h"

static bool lanes(const struct op_node *n, int lane_rank) {
    return n->x[0]->rank >= lane_rank && !ot_is_fixed(n->x[0]) && !ot_is_fixed(n->x[1]);
}

/* In place of nodes that spell it out. */
static bool fits(const struct op_node *n) {
    return n->x[0]->type == OT_FLOAT && n->x[1]->type == OT_FLOAT &&
           ot_same_shape(n->x[0], n->x[1]);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    char a[128], b[128];
    ((struct params *)ot_op_plan(n))->a = ot_attr_float(n->node, "alpha", 1);
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    if (!ot_same_shape(n->x[0], n->x[1]))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the gate has shape %s, but the values have shape %s",
                          ot_shape_text(n->x[0], a, sizeof a), ot_shape_text(n->x[1], b, sizeof b));
    ot_op_like(n->y[0], n->x[0]);
    return OT_OK;
}

static void forward(struct op_node *n) {
    ot_unary_product(n, OT_SWISH, *(const struct params *)n->plan, 0, 1);
}

static void backward(struct op_node *n) {
    ot_unary_product_backward(n, OT_SWISH, *(const struct params *)n->plan, 0, 1);
}

static const char *const cases[] = {
    "A[2,3,5] B[2,3,5] lanes -> Y[2,3,5]",
    "A[2,3,5] B[2,3,5] alpha=1.5 lanes -> Y[2,3,5]",
    "f{-1,0,1,3} f{2,2,2,-1} -> f{-0.53788285,0,1.4621172,-2.8577224}",
    "A[2,3] B[3] -> error: the gate has shape [2,3], but the values have shape [3]",
    NULL,
};

const struct op ot_op_SwiGLU = {
    .name = "SwiGLU",
    .since = 28,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "alpha:f",
    .needs = OT_X(0) | OT_X(1),
    .plan_size = sizeof(struct params),
    .fits = fits,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
