/* eye_like.c - EyeLike: a matrix of the shape of x, 1 on its k-th diagonal and 0 elsewhere. */
#include "ops/number.h"
#include "ops/walk/index.h"

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    const ot_type type = ot_op_asked_type(n, "dtype", x->type);
    if (x->rank != 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected 2", x->rank);
    if (type == OT_UNDEFINED)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'dtype' is %lld, which is not supported",
                          (long long)ot_attr_int(n->node, "dtype", x->type));
    return ot_op_set(n, n->y[0], type, 2, x->dim, err);
}

static void forward(struct op_node *n) {
    const struct tensor *y = n->y[0];
    const int64_t k = ot_attr_int(n->node, "k", 0);
    ot_fill(n->pool, y->data, ot_elements(y), ot_type_size(y->type), NULL);
    if (k <= -y->dim[0] || k >= y->dim[1]) return;
    for (int64_t i = k < 0 ? -k : 0; i < y->dim[0] && i + k < y->dim[1]; i++)
        ot_store_number(y->data, y->type, i * y->dim[1] + i + k, 1);
}

static const char *const cases[] = {"X[2,3] k=1 -> f[2,3]{0,1,0,0,0,1}",
                                    "I[3,2]:i64 k=-1 -> i64[3,2]{0,0,1,0,0,1}",
                                    "X[2,2] dtype=6 -> i32[2,2]{1,0,0,1}",
                                    "I[2,2]:i32 dtype=11 -> f[2,2]{1,0,0,1}",
                                    "X[2,2] k=-9223372036854775808 -> f[2,2]{0,0,0,0}",
                                    "X[2,2] dtype=8 -> error: 'dtype'",
                                    "X[2] -> error: rank 1",
                                    NULL};

const struct op ot_op_EyeLike = {
    .name = "EyeLike",
    .since = 9,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "dtype:i k:i",
    .shape_only = true,
    .prepare = prepare,
    .forward = forward,
    .cases = cases,
};
