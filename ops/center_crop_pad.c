/* center_crop_pad.c - CenterCropPad: each axis cut, or padded with zeros, around its centre. */
#include "ops/walk/index.h"

static ot_status read_shape(const struct op_node *n, int64_t *dim, ot_error *err) {
    const struct tensor *x = n->x[0];
    const int64_t *shape;
    int count, axes;
    const int64_t *list = ot_attr_ints(n->node, "axes", &axes);
    uint32_t seen = 0;
    OT_TRY(ot_op_ints(n, 1, &shape, &count, err));
    if (!list) axes = x->rank;
    if (count != axes)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 has %d sizes for %d axes", count,
                          axes);
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[i];
    for (int i = 0; i < axes; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, list ? list[i] : i, x->rank, &axis, err));
        if (seen >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis);
        seen |= 1u << axis;
        dim[axis] = shape[i];
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int64_t dim[OT_MAX_RANK];
    if (read_shape(n, dim, NULL)) return false;
    for (int i = 0; i < lane_rank; i++)
        if (dim[i] != n->x[0]->dim[i]) return false;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct move *m = ot_op_plan(n);
    struct array from, to;
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(read_shape(n, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    ot_array_of(x, &from);
    ot_array_of(n->y[0], &to);
    ot_move_init(m, &from, &from, &to);
    for (int i = 0; i < from.rank; i++) {
        const int64_t cut = from.dim[i] - to.dim[i];
        if (cut > 0) {
            m->from += cut / 2 * from.stride[i];
            m->dim[i] = to.dim[i];
        } else {
            m->to += -cut / 2 * to.stride[i];
        }
    }
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const cases[] = {"X[5,3,4] i64{3,3,7} -> Y[3,3,7]",
                                    "X[2,3,4,5] i64{7,2} axes=2,-1 lanes -> Y[2,3,7,2]",
                                    "f{1,2,3,4} i64{1} -> f{2}",
                                    "i64{1,2} i64{5} -> i64{0,1,2,0,0}",
                                    "X[5,3] i64{3} -> error: input 1 has 1 sizes for 2 axes",
                                    "X[5,3] i64{3,3} axes=1,1 -> error: axis 1 is given twice",
                                    "X[5,3] i64{3,-1} -> error: dimension 1",
                                    NULL};

const struct op ot_op_CenterCropPad = {
    .name = "CenterCropPad",
    .since = 18,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axes:I",
    .plan_size = sizeof(struct move),
    .lanes = lanes,
    .prepare = prepare,
    .forward = ot_move_forward,
    .backward = ot_move_backward,
    .limits = "shape must be constant",
    .cases = cases,
};
