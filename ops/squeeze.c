/* squeeze.c - Squeeze and Unsqueeze: drop or insert dimensions of 1; nothing moves. */
#include "ops/walk/index.h"

/* Bit i: axis i is named. rank: that of the tensor the axes belong to. *any: the node names some.
 * Axes are an attribute before opset 13, an input from then on. */
static ot_status read_axes(const struct op_node *n, int rank_before, bool grows, uint32_t *axes,
                           bool *any, ot_error *err) {
    const int64_t *list;
    int count = 0;
    if (n->node->opset < 13)
        list = ot_attr_ints(n->node, "axes", &count);
    else
        OT_TRY(ot_op_ints(n, 1, &list, &count, err));
    if (grows && rank_before + count > OT_MAX_RANK)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has rank %d, too many dimensions",
                          rank_before + count);
    const int rank = grows ? rank_before + count : rank_before;
    *axes = 0;
    *any = count > 0;
    for (int i = 0; i < count; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, list[i], rank, &axis, err));
        if (*axes >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis);
        *axes |= 1u << axis;
    }
    return OT_OK;
}

/* The axes to drop: those named, or all of extent 1. */
static ot_status squeezed(const struct op_node *n, uint32_t *axes, ot_error *err) {
    const struct tensor *x = n->x[0];
    bool any;
    OT_TRY(read_axes(n, x->rank, false, axes, &any, err));
    for (int i = 0; i < x->rank; i++) {
        if (!any && x->dim[i] == 1) *axes |= 1u << i;
        if ((*axes >> i & 1) && x->dim[i] != 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d has extent %lld, expected 1", i,
                              (long long)x->dim[i]);
    }
    return OT_OK;
}

static bool squeeze_lanes(const struct op_node *n, int lane_rank) {
    uint32_t axes;
    return !squeezed(n, &axes, NULL) && !(axes & ((1u << lane_rank) - 1));
}

static ot_status squeeze_prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    uint32_t axes;
    int64_t dim[OT_MAX_RANK];
    int rank = 0;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(squeezed(n, &axes, err));
    for (int i = 0; i < x->rank; i++)
        if (!(axes >> i & 1)) dim[rank++] = x->dim[i];
    return ot_op_set(n, n->y[0], x->type, rank, dim, err);
}

static const char *const squeeze_cases[] = {"X[1,3,1,5] -> Y[3,5]",
                                            "X[2,3,1,1] axes=2,3 @11 -> Y[2,3]",
                                            "X[2,3,1,1] i64{-1,2} -> Y[2,3]",
                                            "X[1,1] i64{0} -> Y[1]",
                                            "X[2,3] i64{1} -> error: extent 3",
                                            "X[2,1] i64{1,-1} -> error: axis 1 is given twice",
                                            "X[2,1] i64{2} -> error: axis 2",
                                            NULL};

const struct op ot_op_Squeeze = {
    .name = "Squeeze",
    .since = 1,
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axes:I",
    .view = true,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = squeeze_lanes,
    .prepare = squeeze_prepare,
    .forward = ot_view_forward,
    .backward = ot_view_backward,
    .limits = "axes must be constant",
    .cases = squeeze_cases,
};

static bool unsqueeze_lanes(const struct op_node *n, int lane_rank) {
    uint32_t axes;
    bool any;
    return !read_axes(n, n->x[0]->rank, true, &axes, &any, NULL) &&
           !(axes & ((1u << lane_rank) - 1));
}

static ot_status unsqueeze_prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    uint32_t axes;
    bool any;
    int64_t dim[OT_MAX_RANK];
    int rank = 0, used = 0;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(read_axes(n, x->rank, true, &axes, &any, err));
    if (!any) return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 (axes) is missing");
    for (; used < x->rank || (axes >> rank); rank++)
        dim[rank] = (axes >> rank & 1) ? 1 : x->dim[used++];
    return ot_op_set(n, n->y[0], x->type, rank, dim, err);
}

static const char *const unsqueeze_cases[] = {"X[2,3] axes=0,3 @11 -> Y[1,2,3,1]",
                                              "X[2,3] i64{2,3} -> Y[2,3,1,1]",
                                              "X[2,3] i64{-1} -> Y[2,3,1]",
                                              "X[] i64{0} -> Y[1]",
                                              "X[2,3] i64{3} -> error: axis 3",
                                              "X[2,3] i64{0,-4} -> error: axis 0 is given twice",
                                              "X[2,3] -> error: input 1 (axes) is missing",
                                              NULL};

const struct op ot_op_Unsqueeze = {
    .name = "Unsqueeze",
    .since = 1,
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axes:I",
    .view = true,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = unsqueeze_lanes,
    .prepare = unsqueeze_prepare,
    .forward = ot_view_forward,
    .backward = ot_view_backward,
    .limits = "axes must be constant",
    .cases = unsqueeze_cases,
};
