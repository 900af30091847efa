/* concat.c - Concat: y is the inputs one behind the other along an axis. */
#include "ops/walk/index.h"

struct concat_plan {
    struct move *move; /* one move for each input */
};

static ot_status axis_of(const struct op_node *n, int *axis, ot_error *err) {
    const struct attr *a = ot_attr(n->node, "axis");
    if (!a) return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'axis' is missing");
    return ot_op_axis(n, a->i, n->x[0]->rank, axis, err);
}

/* Constants and weights do not come in lanes. */
static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    for (int i = 0; i < n->n_in; i++)
        if (!n->x[i] || n->x[i]->role == OT_ROLE_CONST || n->x[i]->role == OT_ROLE_PARAM)
            return false;
    return !axis_of(n, &axis, NULL) && axis >= lane_rank;
}

/* dim: that of the result. */
static ot_status check_input(const struct op_node *n, int i, int axis, int64_t *dim,
                             ot_error *err) {
    const struct tensor *a = n->x[0], *b = n->x[i];
    char s[128], t[128];
    OT_TRY(ot_movable(n, i, err));
    bool fits = a->type == b->type && a->rank == b->rank;
    for (int k = 0; fits && k < a->rank; k++) fits = k == axis || a->dim[k] == b->dim[k];
    if (!fits)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 is %s %s, input %d is %s %s",
                          ot_type_name(a->type), ot_shape_text(a, s, sizeof s), i,
                          ot_type_name(b->type), ot_shape_text(b, t, sizeof t));
    if (i && __builtin_add_overflow(dim[axis], b->dim[axis], &dim[axis]))
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the result has more than 2^63 elements along the axis");
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct tensor *y = n->y[0];
    struct concat_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    int axis;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(axis_of(n, &axis, err));
    for (int k = 0; k < x->rank; k++) dim[k] = x->dim[k];
    for (int i = 0; i < n->n_in; i++) OT_TRY(check_input(n, i, axis, dim, err));
    OT_TRY(ot_op_set(n, y, x->type, x->rank, dim, err));
    plan->move = ot_arena_alloc(n->arena, (size_t)n->n_in, sizeof *plan->move);
    if (!plan->move) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    struct array to;
    ot_array_of(y, &to);
    int64_t place = 0;
    for (int i = 0; i < n->n_in; i++) {
        struct array from;
        ot_array_of(n->x[i], &from);
        ot_move_init(&plan->move[i], &from, &from, &to);
        plan->move[i].to = place * to.stride[ot_array_axis(y, axis)];
        ot_move_simplify(&plan->move[i]);
        place += n->x[i]->dim[axis];
    }
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct concat_plan *plan = n->plan;
    for (int i = 0; i < n->n_in; i++)
        ot_move_run(n->pool, &plan->move[i], ot_type_size(n->y[0]->type), n->x[i]->data,
                    n->y[0]->data);
}

static void backward(struct op_node *n) {
    const struct concat_plan *plan = n->plan;
    for (int i = 0; i < n->n_in; i++) {
        if (!n->dx[i]) continue;
        struct move back = ot_move_reverse(&plan->move[i]);
        ot_move_run(n->pool, &back, sizeof(float), n->dy[0]->data, n->dx[i]->data);
    }
}

static const char *const cases[] = {"A[2,3] B[2,4] axis=1 -> Y[2,7]",
                                    "A[2,3,4,4] B[2,1,4,4] C[2,5,4,4] axis=1 -> Y[2,9,4,4]",
                                    "A[2,3] B[1,3] axis=-2 -> Y[3,3]",
                                    "A[3] axis=0 -> Y[3]",
                                    "A[2,0] B[2,3] axis=1 -> Y[2,3]",
                                    "f[2,1]{1,2} f[2,2]{3,4,5,6} axis=1 -> f[2,3]{1,3,4,2,5,6}",
                                    "i64{1} i64{2,3} axis=0 -> i64{1,2,3}",
                                    "A[2,3] B[3,3] axis=1 -> error: input 1 is float [3,3]",
                                    "A[2,3] B[2] axis=1 -> error: input 1 is float [2]",
                                    "A[2,3] axis=2 -> error: axis 2",
                                    "A[2,3] -> error: 'axis'",
                                    NULL};

const struct op ot_op_Concat = {
    .name = "Concat",
    .since = 4,
    .min_in = 1,
    .max_in = -1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .parameters = OT_X_ALL,
    .moves = OT_X_ALL,
    .straight = OT_STRAIGHT_THROUGH,
    .plan_size = sizeof(struct concat_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
