/* split.c - Split: the inverse of Concat; y[k] is the k-th part of x along an axis. */
#include "ops/walk/index.h"

struct split_plan {
    struct move *move; /* one an output, from x to y[i] */
};

/* Lengths from the attribute (before opset 13) or the input; NULL where they are absent. */
static ot_status given_sizes(const struct op_node *n, const int64_t **size, ot_error *err) {
    int count = 0;
    if (n->node->opset < 13)
        *size = ot_attr_ints(n->node, "split", &count);
    else
        OT_TRY(ot_op_ints(n, 1, size, &count, err));
    if (*size && count != n->n_out)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the node has %d lengths for %d outputs", count,
                          n->n_out);
    return OT_OK;
}

/* Parts of one length; from opset 18 on the last one may be shorter. */
static ot_status equal_sizes(const struct op_node *n, int64_t length, int64_t *size,
                             ot_error *err) {
    const int64_t parts = n->n_out;
    const int64_t each = (length + parts - 1) / parts, last = length - each * (parts - 1);
    if (ot_attr_int(n->node, "num_outputs", parts) != parts)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'num_outputs' is %lld, but the node has %lld outputs",
                          (long long)ot_attr_int(n->node, "num_outputs", parts), (long long)parts);
    if (last < 0 || (last != each && n->node->opset < 18))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "an axis of extent %lld cannot be split into %lld equal parts",
                          (long long)length, (long long)parts);
    for (int64_t i = 0; i < parts; i++) size[i] = i < parts - 1 ? each : last;
    return OT_OK;
}

static ot_status read_sizes(const struct op_node *n, int axis, int64_t *size, ot_error *err) {
    const int64_t length = n->x[0]->dim[axis];
    const int64_t *given = NULL;
    int64_t sum = 0;
    OT_TRY(given_sizes(n, &given, err));
    if (!given) return equal_sizes(n, length, size, err);
    for (int i = 0; i < n->n_out; i++) {
        if (given[i] < 0 || given[i] > length - sum)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the length %lld of output %d is invalid for an axis of extent %lld",
                              (long long)given[i], i, (long long)length);
        sum += size[i] = given[i];
    }
    if (sum != length)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the lengths of the outputs add up to %lld, but the axis has extent %lld",
                          (long long)sum, (long long)length);
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return !ot_op_axis(n, ot_attr_int(n->node, "axis", 0), n->x[0]->rank, &axis, NULL) &&
           axis >= lane_rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct split_plan *plan = ot_op_plan(n);
    int axis;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    int64_t *size = ot_arena_alloc(n->arena, (size_t)n->n_out, sizeof *size);
    plan->move = ot_arena_alloc(n->arena, (size_t)n->n_out, sizeof *plan->move);
    if (!size || !plan->move) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    OT_TRY(read_sizes(n, axis, size, err));
    struct array from;
    ot_array_of(x, &from);
    int64_t dim[OT_MAX_RANK], place = 0;
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[i];
    for (int i = 0; i < n->n_out; place += size[i++]) {
        if (!n->y[i]) continue;
        struct array to;
        dim[axis] = size[i];
        OT_TRY(ot_op_set(n, n->y[i], x->type, x->rank, dim, err));
        ot_array_of(n->y[i], &to);
        ot_move_init(&plan->move[i], &to, &from, &to);
        plan->move[i].from = place * from.stride[ot_array_axis(x, axis)];
        ot_move_simplify(&plan->move[i]);
    }
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct split_plan *plan = n->plan;
    for (int i = 0; i < n->n_out; i++)
        if (n->y[i])
            ot_move_run(n->pool, &plan->move[i], ot_type_size(n->x[0]->type), n->x[0]->data,
                        n->y[i]->data);
}

static void backward(struct op_node *n) {
    const struct split_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    for (int i = 0; i < n->n_out; i++) {
        if (!n->y[i] || !n->dy[i]) continue; /* nobody used this part */
        struct move back = ot_move_reverse(&plan->move[i]);
        ot_move_run(n->pool, &back, sizeof(float), n->dy[i]->data, n->dx[0]->data);
    }
}

static const char *const cases[] = {
    "f[2,3]{1,2,3,4,5,6} i64{1,2} axis=1 -> f[2,1]{1,4} f[2,2]{2,3,5,6}",
    "X[2,6] axis=1 @11 -> A[2,3] B[2,3]",
    "X[6,2] split=1,2,3 @11 -> A[1,2] B[2,2] C[3,2]",
    "X[2,7,3] i64{3,4} axis=1 @13 -> A[2,3,3] B[2,4,3]",
    "X[2,7,3] axis=-2 num_outputs=3 @18 -> A[2,3,3] B[2,3,3] C[2,1,3]",
    "X[7,2] @13 -> A[4,2] B[3,2] -> error: an axis of extent 7 cannot be split into 2 equal parts",
    NULL};

const struct op ot_op_Split = {
    .name = "Split",
    .since = 2,
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = -1,
    .attributes = "axis:i split:I num_outputs:i",
    .plan_size = sizeof(struct split_plan),
    .lanes = lanes,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "split must be constant",
    .cases = cases,
};
