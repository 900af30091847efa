/* slice.c - Slice: y[i] = x[start + i * step] along each axis that is named. */
#include "ops/walk/index.h"

/* What to take along one axis. */
struct range {
    int64_t start, step, count;
};

/* What start:end:step takes of a dimension of n, without overflow for any int64. Unlike Python's
 * rule, ONNX's moves a start before the first element onto it, whatever the sign of step. */
static struct range clamp_range(int64_t start, int64_t end, int64_t step, int64_t n) {
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    if (start < 0) start += n;
    if (end < 0) end += n;
    start = start > 0 ? start : 0;
    start = start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    if (step > n + 1) step = n + 1; /* takes at most one element in either case */
    if (step < -n - 1) step = -n - 1;
    int64_t length = step > 0 ? end - start : start - end;
    int64_t stride = step > 0 ? step : -step;
    return (struct range){start, step, length > 0 ? (length + stride - 1) / stride : 0};
}

struct lists {
    const int64_t *start, *end, *axis, *step;
    int starts, ends, axes, steps; /* axes and steps may be absent: 0 */
};

static ot_status read_lists(const struct op_node *n, struct lists *l, ot_error *err) {
    if (n->node->opset < 10) {
        l->start = ot_attr_ints(n->node, "starts", &l->starts);
        l->end = ot_attr_ints(n->node, "ends", &l->ends);
        l->axis = ot_attr_ints(n->node, "axes", &l->axes);
    } else {
        if (n->n_in < 3)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the node has %d inputs, expected at least 3 in this opset", n->n_in);
        OT_TRY(ot_op_ints(n, 1, &l->start, &l->starts, err));
        OT_TRY(ot_op_ints(n, 2, &l->end, &l->ends, err));
        OT_TRY(ot_op_ints(n, 3, &l->axis, &l->axes, err));
        OT_TRY(ot_op_ints(n, 4, &l->step, &l->steps, err));
    }
    if (l->starts != l->ends || (l->axis && l->axes != l->starts) ||
        (l->step && l->steps != l->starts))
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the node has %d starts, %d ends, %d axes and %d steps, expected lists of one length",
            l->starts, l->ends, l->axes, l->steps);
    return OT_OK;
}

/* The range of every axis of x. */
static ot_status read_ranges(const struct op_node *n, struct range *range, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct lists l = {0};
    uint32_t seen = 0;
    OT_TRY(read_lists(n, &l, err));
    for (int i = 0; i < x->rank; i++) range[i] = (struct range){0, 1, x->dim[i]};
    for (int i = 0; i < l.starts; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, l.axis ? l.axis[i] : i, x->rank, &axis, err));
        if (seen >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis);
        seen |= 1u << axis;
        int64_t step = l.step ? l.step[i] : 1;
        if (step == 0)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "the step of axis %d is 0", axis);
        range[axis] = clamp_range(l.start[i], l.end[i], step, x->dim[axis]);
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    struct range range[OT_MAX_RANK];
    if (read_ranges(n, range, NULL)) return false;
    for (int i = 0; i < lane_rank; i++)
        if (range[i].step != 1 || range[i].count != n->x[0]->dim[i]) return false;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct tensor *y = n->y[0];
    struct move *m = ot_op_plan(n);
    struct range range[OT_MAX_RANK];
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(read_ranges(n, range, err));
    for (int i = 0; i < x->rank; i++) dim[i] = range[i].count;
    OT_TRY(ot_op_set(n, y, x->type, x->rank, dim, err));
    struct array from, to;
    ot_array_of(x, &from);
    ot_array_of(y, &to);
    ot_move_init(m, &to, &from, &to);
    for (int i = y->lane_rank; i < y->rank && ot_elements(y); i++) {
        int k = ot_array_axis(y, i);
        m->from += range[i].start * from.stride[k];
        m->from_stride[k] *= range[i].step;
    }
    ot_move_simplify(m);
    return OT_OK;
}

static const char *const cases[] = {
    "X[4,7] starts=1,-3 ends=3,9223372036854775807 @9 -> Y[2,3]",
    "X[4,7] starts=1 ends=-1 axes=1 @9 -> Y[4,5]",
    "X[4,7] i64{0} i64{100} i64{1} i64{3} -> Y[4,3]",
    "X[4,7] i64{-1} i64{-100} i64{1} i64{-2} -> Y[4,4]",
    "X[2,3,8,8] i64{0,0} i64{9223372036854775807,9223372036854775807} i64{2,3} i64{2,2} "
    "-> Y[2,3,4,4]",
    "X[4,7] i64{9223372036854775807} i64{-9223372036854775808} i64{0} i64{-1} -> Y[4,7]",
    "X[4,7] i64{0} i64{7} i64{1} i64{9223372036854775807} -> Y[4,1]",
    "X[4,7] i64{6} i64{-9223372036854775808} i64{1} i64{-9223372036854775808} -> Y[4,1]",
    "f{1,2,3,4} i64{-6} i64{-6} i64{0} i64{-2} -> f{1}",
    "f{1,2,3,4,5} i64{1} i64{-1} i64{0} i64{2} -> f{2,4}",
    "f{1,2,3,4,5} i64{-1} i64{-9} i64{0} i64{-2} -> f{5,3,1}",
    "X[0] i64{-1} i64{-9} i64{0} i64{-2} -> Y[0]",
    "X[4,7] i64{5} i64{2} -> Y[0,7]",
    "X[0,7] i64{0} i64{2} -> Y[0,7]",
    "X[4,7] i64{0} i64{2} i64{0} i64{0} -> error: the step of axis 0 is 0",
    "X[4,7] i64{0,0} i64{2,2} i64{0,-2} -> error: axis 0 is given twice",
    "X[4,7] i64{0} i64{2,3} -> error: the node has 1 starts, 2 ends, 0 axes and 0 steps, expected "
    "lists of one length",
    "X[4,7] i64{0} i64{2} i64{2} -> error: axis 2",
    NULL};

const struct op ot_op_Slice = {
    .name = "Slice",
    .since = 1,
    .min_in = 1,
    .max_in = 5,
    .min_out = 1,
    .max_out = 1,
    .attributes = "starts:I ends:I axes:I",
    .plan_size = sizeof(struct move),
    .lanes = lanes,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .prepare = prepare,
    .forward = ot_move_forward,
    .backward = ot_move_backward,
    .limits = "starts, ends, axes and steps must be constant",
    .cases = cases,
};
