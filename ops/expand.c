/* expand.c - Expand: y = x broadcast to a shape; Tile: y[i] = x[i mod extent] along each axis.
 *
 * The gradient of an element is the sum over its copies.
 */
#include "ops/walk/fold.h"

static void backward(struct op_node *n) {
    const struct move *m = n->plan;
    if (!n->dx[0]) return;
    const struct move back = ot_move_reverse(m);
    ot_fold(n->pool, &back, OT_FOLD_SUM, n->dy[0]->data, NULL, 1, n->dx[0]->data);
}

/* ---- Expand ---- */

/* The shape asked for, broadcast with x's. Where the file fixes the batch and another one runs, a
 * first dimension that holds the file's batch holds the other one instead. */
static ot_status expanded(const struct op_node *n, int *rank, int64_t *dim, ot_error *err) {
    const int64_t *shape;
    int count;
    struct tensor wanted = {.type = OT_INT64};
    OT_TRY(ot_op_ints(n, 1, &shape, &count, err));
    if (count > OT_MAX_RANK)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the shape has %d dimensions, too many", count);
    wanted.rank = count;
    for (int i = 0; i < count; i++) {
        if (shape[i] < 0)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "dimension %d of the shape is %lld, expected at least 0", i,
                              (long long)shape[i]);
        wanted.dim[i] = shape[i];
    }
    if (n->batch_from != n->batch_to && !n->x[1]->derived && count > 1 && count >= n->x[0]->rank &&
        wanted.dim[0] == n->batch_from)
        wanted.dim[0] = n->batch_to;
    return ot_op_broadcast(n, n->x[0], &wanted, rank, dim, err);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct move *m = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    int rank;
    struct array from, to;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(expanded(n, &rank, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], x->type, rank, dim, err));
    ot_array_of(x, &from);
    ot_array_of(n->y[0], &to);
    ot_move_init(m, &to, &to, &to);
    for (int i = 0; i < rank; i++) {
        const int k = i - (rank - x->rank); /* x's axis */
        m->from_stride[i] = k < 0 || x->dim[k] != dim[i] ? 0 : from.stride[k];
    }
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const cases[] = {
    "X[3,1] i64{2,1,6} -> Y[2,3,6]",
    "X[2,3,1,4] i64{1,1,5,1} -> Y[2,3,5,4]",
    "X[3] i64{2,4,3} -> Y[2,4,3]",
    "X[2,3] i64{} -> Y[2,3]",
    "X[1] i64{0} -> Y[0]",
    "X[1,1,8]:p i64{1,1,8} batch=1,3 -> Y[3,1,8]",
    "i64{7} i64{3} -> i64{7,7,7}",
    "f[2,1]{1,2} i64{2,2} -> f[2,2]{1,1,2,2}",
    "X[3] i64{4} -> error: do not broadcast",
    "X[3] i64{-1} -> error: dimension 0 of the shape is -1",
    "X[1] i64{1099511627776,1099511627776} -> error: more than 2^40",
    NULL};

const struct op ot_op_Expand = {
    .name = "Expand",
    .since = 8,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .parameters = OT_X(0),
    .plan_size = sizeof(struct move),
    .prepare = prepare,
    .forward = ot_move_forward,
    .backward = backward,
    .limits = "shape must be constant",
    .cases = cases,
};

/* ---- Tile ---- */

static ot_status tile_prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct move *m = ot_op_plan(n);
    const int64_t *repeat;
    int count;
    int64_t dim[OT_MAX_RANK];
    struct array from, to;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_ints(n, 1, &repeat, &count, err));
    if (count != x->rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 1 has %d repeats, but input 0 has rank %d", count, x->rank);
    for (int i = 0; i < count; i++)
        if (repeat[i] < 0 || __builtin_mul_overflow(x->dim[i], repeat[i], &dim[i]))
            return ot_op_fail(n, err, repeat[i] < 0 ? OT_ERROR_INVALID : OT_ERROR_LIMIT,
                              "the repeat %lld of axis %d is out of range", (long long)repeat[i],
                              i);
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    ot_array_of(x, &from);
    ot_array_of(n->y[0], &to);
    for (int i = 0; i < count; i++) { /* an axis is [repeat][extent] */
        m->dim[2 * i] = repeat[i];
        m->dim[2 * i + 1] = x->dim[i];
        m->from_stride[2 * i + 1] = from.stride[i];
        m->to_stride[2 * i] = to.stride[i] * x->dim[i];
        m->to_stride[2 * i + 1] = to.stride[i];
    }
    m->rank = 2 * count;
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const tile_cases[] = {
    "X[2,3] i64{2,1} -> Y[4,3]",
    "X[2,3,2] i64{1,3,2} -> Y[2,9,4]",
    "f{1,2} i64{3} -> f{1,2,1,2,1,2}",
    "X[2,3] i64{0,1} -> Y[0,3]",
    "X[2,3] i64{2} -> error: input 1 has 1 repeats, but input 0 has rank 2",
    "X[2,3] i64{2,-1} -> error: repeat -1",
    "X[2,3] i64{4611686018427387904,1} -> error: repeat 4611686018427387904",
    NULL};

const struct op ot_op_Tile = {
    .name = "Tile",
    .since = 6,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .plan_size = sizeof(struct move),
    .prepare = tile_prepare,
    .forward = ot_move_forward,
    .backward = backward,
    .limits = "repeats must be constant",
    .cases = tile_cases,
};
