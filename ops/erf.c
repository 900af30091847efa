/* erf.c - y = 2 / sqrt(pi) * the integral of exp(-t^2) for t from 0 to x; integers too. */
#include <math.h>

#include "ops/number.h"
#include "ops/walk/unary.h"

static int64_t integer(int64_t x, ot_type type, const void *plan) {
    (void)plan;
    return ot_whole(type, (double)erff((float)ot_real(type, x)));
}

static void forward(struct op_node *n) {
    if (n->x[0]->type == OT_FLOAT)
        ot_unary_forward_kernel(n, OT_ERF, (struct params){0, 0});
    else
        ot_unary_integers(n, integer);
}
static void backward(struct op_node *n) {
    ot_unary_backward_kernel(n, OT_ERF, (struct params){0, 0});
}

static const char *const cases[] = {
    "X[2,3,5] lanes -> Y[2,3,5]",
    "f{0,1,-10} -> f{0,0.8427008,-1}",
    "i32{7,-4,-2,1,0} -> i32{1,-1,0,0,0}",
    NULL,
};

const struct op ot_op_Erf = {
    .name = "Erf",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0),
    .lanes = ot_unary_lanes,
    .prepare = ot_unary_prepare_number,
    .forward = forward,
    .backward = backward,
    .again = forward,
    .cases = cases,
};
