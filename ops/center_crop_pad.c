/* center_crop_pad.c - CenterCropPad: each axis cut, or padded with zeros, around its centre. */
#include "ops/index.h"

struct state {
    struct move move;
};

static ot_status read_shape(const struct op_node *n, int64_t *dim, ot_error *err) {
    const struct tensor *x = n->x[0];
    const int64_t *shape;
    int count, axes;
    const int64_t *list = ot_attr_ints(n->node, "axes", &axes);
    uint32_t seen = 0;
    OT_TRY(ot_op_ints(n, 1, &shape, &count, err));
    if (!list) axes = x->rank;
    if (count != axes)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "%d extents for %d axes", count, axes);
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[i];
    for (int i = 0; i < axes; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, list ? list[i] : i, x->rank, &axis, err));
        if (seen >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is named twice", axis);
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
    struct state *s = n->state;
    struct array from, to;
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(read_shape(n, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    ot_array_of(x, &from);
    ot_array_of(n->y[0], &to);
    ot_move_init(&s->move, &from, &from, &to);
    for (int i = 0; i < from.rank; i++) {
        const int64_t cut = from.dim[i] - to.dim[i];
        if (cut > 0) {
            s->move.from += cut / 2 * from.stride[i];
            s->move.dim[i] = to.dim[i];
        } else {
            s->move.to += -cut / 2 * to.stride[i];
        }
    }
    ot_move_simplify(&s->move);
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    const size_t size = ot_type_size(n->x[0]->type);
    ot_fill(n->pool, n->y[0]->data, ot_count(n->y[0]), size, NULL);
    ot_move_run(n->pool, &s->move, size, n->x[0]->data, n->y[0]->data);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    if (!n->dx[0]) return;
    const struct move back = ot_move_reverse(&s->move);
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    ot_move_run(n->pool, &back, sizeof(float), n->dy[0]->data, n->dx[0]->data);
}

static const char *const cases[] = {
    "X[5,3,4] i64{3,3,7} -> Y[3,3,7]",
    "X[2,3,4,5] i64{7,2} axes=2,-1 lanes -> Y[2,3,7,2]",
    "f{1,2,3,4} i64{1} -> f{2}",
    "i64{1,2} i64{5} -> i64{0,1,2,0,0}",
    "X[5,3] i64{3} -> error: 1 extents for 2 axes",
    "X[5,3] i64{3,3} axes=1,1 -> error: axis 1 is named twice",
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
    .state_size = sizeof(struct state),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "constant shape",
    .cases = cases,
};
