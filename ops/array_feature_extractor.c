/* array_feature_extractor.c - ArrayFeatureExtractor of the domain ai.onnx.ml: the elements of the
 * last axis of x that the constant x[1] numbers. dx is the sum of dy where an element was taken. */
#include <string.h>

#include "ops/walk/index.h"

struct array_feature_extractor_plan {
    int64_t rows, length, count;
    const int64_t *at;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct array_feature_extractor_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0], *list = n->x[1];
    int64_t dim[OT_MAX_RANK + 1];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_type(n, 1, OT_INT64, err));
    if (list->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 1 is not a constant");
    if (!x->rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 is a scalar, expected at least one dimension");
    plan->length = x->dim[x->rank - 1];
    plan->rows = ot_dims_product(x, 0, x->rank - 1);
    plan->count = ot_elements(list);
    plan->at = list->data;
    for (int64_t k = 0; k < plan->count; k++)
        if (plan->at[k] < 0 || plan->at[k] >= plan->length)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 1 contains %lld, but the last axis has %lld elements",
                              (long long)plan->at[k], (long long)plan->length);
    int rank = 0;
    if (x->rank == 1) dim[rank++] = 1;
    for (int i = 0; i < x->rank - 1; i++) dim[rank++] = x->dim[i];
    dim[rank++] = plan->count;
    return ot_op_set(n, n->y[0], x->type, rank, dim, err);
}

static void forward(struct op_node *n) {
    const struct array_feature_extractor_plan *plan = n->plan;
    const size_t size = ot_type_size(n->x[0]->type);
    const char *x = n->x[0]->data;
    char *y = n->y[0]->data;
    for (int64_t r = 0; r < plan->rows; r++)
        for (int64_t k = 0; k < plan->count; k++)
            memcpy(y + (size_t)(r * plan->count + k) * size,
                   x + (size_t)(r * plan->length + plan->at[k]) * size, size);
}

static void backward(struct op_node *n) {
    const struct array_feature_extractor_plan *plan = n->plan;
    if (!n->dx[0]) return;
    float *dx = ot_f(n->dx[0]);
    const float *dy = ot_f(n->dy[0]);
    memset(dx, 0, ot_bytes(n->dx[0]));
    for (int64_t r = 0; r < plan->rows; r++)
        for (int64_t k = 0; k < plan->count; k++)
            dx[r * plan->length + plan->at[k]] += dy[r * plan->count + k];
}

static const char *const cases[] = {"X[2,3,4] i64{3,0,3} -> Y[2,3,3]",
                                    "f{5,6,7} i64{2,0} -> f[1,2]{7,5}",
                                    "i64[2,2]{1,2,3,4} i64{1} -> i64[2,1]{2,4}",
                                    "X[2,3] i64{3} -> error: input 1 contains 3",
                                    "X[2,3] I[2]:i64 -> error: input 1 is not a constant",
                                    NULL};

const struct op ot_op_ArrayFeatureExtractor = {
    .name = "ArrayFeatureExtractor",
    .domain = "ai.onnx.ml",
    .since = 1,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .plan_size = sizeof(struct array_feature_extractor_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "indices must be constant",
    .cases = cases,
};
