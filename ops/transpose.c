/* transpose.c - Transpose: y[i[perm[0]], i[perm[1]], ...] = x[i[0], i[1], ...]. */
#include "ops/index.h"

/* perm of the node, checked; reversed axes where it is absent. */
static ot_status permutation(const struct op_node *n, int *perm, ot_error *err) {
    const int rank = n->x[0]->rank;
    int count;
    const int64_t *given = ot_attr_ints(n->node, "perm", &count);
    if (!ot_attr(n->node, "perm")) {
        for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
        return OT_OK;
    }
    if (count != rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'perm' has %d entries for rank %d",
                          count, rank);
    uint32_t seen = 0;
    for (int i = 0; i < rank; i++) {
        if (given[i] < 0 || given[i] >= rank || (seen >> given[i] & 1))
            return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'perm' is not a permutation");
        seen |= 1u << given[i];
        perm[i] = (int)given[i];
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int perm[OT_MAX_RANK];
    if (permutation(n, perm, NULL)) return false;
    for (int i = 0; i < lane_rank; i++)
        if (perm[i] != i) return false;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct tensor *y = n->y[0];
    struct move *m = n->state;
    int perm[OT_MAX_RANK];
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(permutation(n, perm, err));
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[perm[i]];
    OT_TRY(ot_op_set(n, y, x->type, x->rank, dim, err));
    struct array from, to;
    ot_array_of(x, &from);
    ot_array_of(y, &to);
    ot_move_init(m, &to, &to, &to);
    for (int i = 0; i < to.rank; i++) m->from_stride[i] = from.stride[i];
    for (int i = y->lane_rank; i < y->rank; i++)
        m->from_stride[ot_array_axis(y, i)] = from.stride[ot_array_axis(x, perm[i])];
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const cases[] = {
    "X[2,3] -> Y[3,2]",
    "X[2,3,4,5] perm=0,2,3,1 -> Y[2,4,5,3]",
    "X[2,3,4,5] perm=3,1,0,2 -> Y[5,3,2,4]",
    "X[3,7,1,2] -> Y[2,1,7,3]",
    "f[2,3]{1,2,3,4,5,6} -> f[3,2]{1,4,2,5,3,6}",
    "f[2,2,2]{1,2,3,4,5,6,7,8} perm=1,2,0 -> f[2,2,2]{1,5,2,6,3,7,4,8}",
    "X[2,3] perm=0,0 -> error: not a permutation",
    "X[2,3] perm=0,2 -> error: not a permutation",
    "X[2,3] perm=1 -> error: 1 entries for rank 2",
    NULL};

const struct op ot_op_Transpose = {
    .name = "Transpose",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "perm:I",
    .state_size = sizeof(struct move),
    .lanes = lanes,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .prepare = prepare,
    .forward = ot_move_forward,
    .again = ot_move_forward,
    .backward = ot_move_backward,
    .cases = cases,
};
