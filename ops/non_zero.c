/* non_zero.c - NonZero of a constant: y[:, j] = the indices of its j-th element that is not 0. */
#include "ops/op.h"

#include <string.h>

/* Not zero; -0.0 is zero, NaN is not. */
static bool is_set(const struct tensor *t, int64_t i) {
    static const char zero[8] = {0};
    const size_t size = ot_type_size(t->type);
    if (t->type == OT_FLOAT) return ((const float *)t->data)[i] != 0;
    if (t->type == OT_DOUBLE) return ((const double *)t->data)[i] != 0;
    return memcmp((const char *)t->data + (size_t)i * size, zero, size) != 0;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    if (x->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is not a constant");
    if (!ot_type_size(x->type) || x->type == OT_FLOAT16 || x->type == OT_BFLOAT16)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(x->type));
    int64_t count = 0;
    for (int64_t i = 0; i < ot_elements(x); i++) count += is_set(x, i);
    const int64_t dim[2] = {x->rank, count};
    return ot_op_set(n, n->y[0], OT_INT64, 2, dim, err);
}

static void forward(struct op_node *n) {
    const struct tensor *x = n->x[0];
    int64_t *y = n->y[0]->data;
    const int64_t count = n->y[0]->dim[1];
    for (int64_t i = 0, j = 0; i < ot_elements(x); i++) {
        if (!is_set(x, i)) continue;
        int64_t rest = i;
        for (int k = x->rank - 1; k >= 0; rest /= x->dim[k--]) y[k * count + j] = rest % x->dim[k];
        j++;
    }
}

static const char *const cases[] = {"i64[2,2]{1,0,3,4} -> i64[2,3]{0,1,1,0,0,1}",
                                    "f{0,2,nan,-0.0} -> i64[1,2]{1,2}", "b{0,0} -> i64[1,0]{}",
                                    "X[3] -> error: input 0 is not a constant", NULL};

const struct op ot_op_NonZero = {
    .name = "NonZero",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .prepare = prepare,
    .forward = forward,
    .limits = "all inputs must be constant",
    .cases = cases,
};
