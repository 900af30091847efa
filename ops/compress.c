/* compress.c - Compress: the elements, or the slices along an axis, whose condition holds. */
#include <string.h>

#include "ops/walk/index.h"

struct compress_plan {
    int64_t outer, length, inner, count;
    int64_t *taken; /* [count] indices along the axis that are kept */
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *condition = n->x[1];
    struct compress_plan *plan = ot_op_plan(n);
    const bool flat = !ot_attr(n->node, "axis");
    int64_t dim[OT_MAX_RANK];
    int axis = 0;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_type(n, 1, OT_BOOL, err));
    if (condition->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 1 is not a constant");
    if (!flat) OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    plan->outer = flat ? 1 : ot_dims_product(x, 0, axis);
    plan->length = flat ? ot_elements(x) : x->dim[axis];
    plan->inner = flat ? 1 : ot_dims_product(x, axis + 1, x->rank);
    if (condition->rank != 1 || condition->dim[0] > plan->length)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the condition has %lld elements for an axis of extent %lld",
                          (long long)ot_elements(condition), (long long)plan->length);
    plan->taken = ot_arena_alloc(n->arena, (size_t)condition->dim[0], sizeof *plan->taken);
    if (!plan->taken) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < condition->dim[0]; i++)
        if (((const uint8_t *)condition->data)[i]) plan->taken[plan->count++] = i;
    for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? plan->count : x->dim[i];
    return ot_op_set(n, n->y[0], x->type, flat ? 1 : x->rank, flat ? &plan->count : dim, err);
}

static void forward(struct op_node *n) {
    const struct compress_plan *plan = n->plan;
    const size_t row = (size_t)plan->inner * ot_type_size(n->x[0]->type);
    for (int64_t k = 0; k < plan->outer * plan->count; k++) {
        const int64_t from = k / plan->count * plan->length + plan->taken[k % plan->count];
        memcpy((char *)n->y[0]->data + (size_t)k * row,
               (const char *)n->x[0]->data + (size_t)from * row, row);
    }
}

static void backward(struct op_node *n) {
    const struct compress_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    for (int64_t k = 0; k < plan->outer * plan->count; k++) {
        const int64_t to = k / plan->count * plan->length + plan->taken[k % plan->count];
        memcpy(ot_f(n->dx[0]) + to * plan->inner, ot_f(n->dy[0]) + k * plan->inner,
               (size_t)plan->inner * sizeof(float));
    }
}

static const char *const cases[] = {
    "X[3,4] b{0,1,1} axis=0 -> Y[2,4]",
    "X[3,4] b{1,0,0,1} axis=-1 -> Y[3,2]",
    "X[3,2] b{0,1,0,0,1} -> Y[2]",
    "i64[3,2]{1,2,3,4,5,6} b{0,1} axis=1 -> i64[3,1]{2,4,6}",
    "X[3,2] b{0,0} axis=0 -> Y[0,2]",
    "X[3,2] b{0,1,1} axis=1 -> error: the condition has 3 elements for an axis of extent 2",
    "X[3,2] C[2]:b -> error: input 1 is not a constant",
    NULL};

const struct op ot_op_Compress = {
    .name = "Compress",
    .since = 9,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .plan_size = sizeof(struct compress_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "condition must be constant",
    .cases = cases,
};
