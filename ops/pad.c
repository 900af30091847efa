/* pad.c - Pad: y = x with elements added around it, or, where pads are negative, cut away.
 *
 * Modes: constant; reflect (the edge is not repeated), edge, wrap: there y[i] = x[source(i)] along
 * each axis, and elements of dx gather what all their copies got.
 */
#include "ops/walk/index.h"

#include <string.h>

enum mode { CONSTANT, REFLECT, EDGE, WRAP, MODES };
static const char *const mode_names[] = {"constant", "reflect", "edge", "wrap"};

struct pad_plan {
    enum mode mode;
    struct move move; /* constant: what is copied */
    int64_t value;    /* constant before opset 11: the bits of the float to fill with */
    struct array x, y;
    int64_t *source[OT_ARRAY_RANK]; /* other modes: offset in x by index in y, along a dimension */
    int free;                       /* leading dimensions of y that are not padded */
};

static ot_status read_mode(const struct op_node *n, enum mode *mode, ot_error *err) {
    const char *name = ot_attr_string(n->node, "mode", "constant");
    for (*mode = CONSTANT; *mode < MODES; ++*mode)
        if (!strcmp(name, mode_names[*mode])) return OT_OK;
    return ot_op_fail(
        n, err, OT_ERROR_INVALID,
        "attribute 'mode' is '%.40s', expected 'constant', 'reflect', 'edge' or 'wrap'", name);
}

/* Elements before and behind each axis of x. Input 3 (opset 18) names the axes they belong to. */
static ot_status read_pads(const struct op_node *n, int64_t *before, int64_t *behind,
                           ot_error *err) {
    const int rank = n->x[0]->rank;
    const int64_t *pads, *axes = NULL;
    int count, n_axes = rank;
    if (n->node->opset < 11)
        pads = ot_attr_ints(n->node, "pads", &count);
    else
        OT_TRY(ot_op_ints(n, 1, &pads, &count, err));
    if (n->n_in > 3 && n->x[3]) OT_TRY(ot_op_ints(n, 3, &axes, &n_axes, err));
    if (count != 2 * n_axes)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d pads for %d axes, expected two for each axis", count,
                          n_axes);
    uint32_t seen = 0;
    memset(before, 0, (size_t)rank * sizeof *before);
    memset(behind, 0, (size_t)rank * sizeof *behind);
    for (int i = 0; i < n_axes; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, axes ? axes[i] : i, rank, &axis, err));
        if (seen >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis);
        seen |= 1u << axis;
        before[axis] = pads[i];
        behind[axis] = pads[i + n_axes];
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int64_t before[OT_MAX_RANK], behind[OT_MAX_RANK];
    if (read_pads(n, before, behind, NULL)) return false;
    for (int i = 0; i < lane_rank; i++)
        if (before[i] || behind[i]) return false;
    return true;
}

static ot_status check_axis(const struct op_node *n, enum mode mode, int axis, int64_t before,
                            int64_t behind, int64_t *dim, ot_error *err) {
    const int64_t length = n->x[0]->dim[axis], most = (int64_t)1 << 40;
    if (before < -length || behind < -length || before > most || behind > most ||
        length + before + behind < 0)
        return ot_op_fail(n, err,
                          before > most || behind > most ? OT_ERROR_LIMIT : OT_ERROR_INVALID,
                          "the pads %lld and %lld are out of range for axis %d of extent %lld",
                          (long long)before, (long long)behind, axis, (long long)length);
    *dim = length + before + behind;
    const bool grows = before > 0 || behind > 0;
    if (mode != CONSTANT && grows && length == 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "mode '%s' cannot pad axis %d, which has no elements", mode_names[mode],
                          axis);
    if (mode == REFLECT && grows && (before >= length || behind >= length))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "mode 'reflect' needs pads smaller than the extent, but they are %lld "
                          "and %lld on axis %d of extent %lld",
                          (long long)before, (long long)behind, axis, (long long)length);
    return OT_OK;
}

/* The value to fill with is an input from opset 11 on. */
static ot_status check_value(const struct op_node *n, struct pad_plan *plan, ot_error *err) {
    const float value = ot_attr_float(n->node, "value", 0);
    memcpy(&plan->value, &value, sizeof value);
    if (n->n_in < 3 || !n->x[2]) return OT_OK;
    if (ot_training_wants(n, 2))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input 2 needs a gradient, which is not supported");
    if (ot_elements(n->x[2]) != 1 || n->x[2]->type != n->x[0]->type)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 2 is not a single %s",
                          ot_type_name(n->x[0]->type));
    return OT_OK;
}

/* Index in x for index i (that of y, less the padding before). */
static int64_t source_of(enum mode mode, int64_t i, int64_t length) {
    if (mode == WRAP) return (i % length + length) % length;
    if (mode == EDGE) return i < 0 ? 0 : i >= length ? length - 1 : i;
    return i < 0 ? -i : i >= length ? 2 * (length - 1) - i : i;
}

/* before: by dimension of the array. */
static ot_status make_sources(struct op_node *n, struct pad_plan *plan, const int64_t *before,
                              ot_error *err) {
    plan->free = plan->y.rank;
    for (int i = plan->y.rank - 1; i >= 0; i--) {
        if (before[i] || plan->x.dim[i] != plan->y.dim[i]) plan->free = i;
        plan->source[i] = ot_arena_alloc(n->arena, (size_t)plan->y.dim[i], sizeof *plan->source[i]);
        if (!plan->source[i]) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
        for (int64_t k = 0; k < plan->y.dim[i]; k++)
            plan->source[i][k] =
                source_of(plan->mode, k - before[i], plan->x.dim[i]) * plan->x.stride[i];
    }
    return OT_OK;
}

/* The part of x that is in y. */
static void make_move(struct pad_plan *plan, const int64_t *before) {
    ot_move_init(&plan->move, &plan->x, &plan->x, &plan->y);
    for (int i = 0; i < plan->x.rank; i++) {
        const int64_t cut = before[i] < 0 ? -before[i] : 0, start = before[i] > 0 ? before[i] : 0;
        int64_t count = plan->x.dim[i] - cut;
        if (count > plan->y.dim[i] - start) count = plan->y.dim[i] - start;
        plan->move.dim[i] = count > 0 ? count : 0;
        plan->move.from += cut * plan->x.stride[i];
        plan->move.to += start * plan->y.stride[i];
    }
    ot_move_simplify(&plan->move);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct tensor *y = n->y[0];
    struct pad_plan *plan = ot_op_plan(n);
    int64_t before[OT_MAX_RANK], behind[OT_MAX_RANK], dim[OT_MAX_RANK];
    int64_t array_before[OT_ARRAY_RANK] = {0};
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(read_mode(n, &plan->mode, err));
    OT_TRY(read_pads(n, before, behind, err));
    OT_TRY(check_value(n, plan, err));
    for (int i = 0; i < x->rank; i++)
        OT_TRY(check_axis(n, plan->mode, i, before[i], behind[i], &dim[i], err));
    OT_TRY(ot_op_set(n, y, x->type, x->rank, dim, err));
    ot_array_of(x, &plan->x);
    ot_array_of(y, &plan->y);
    for (int i = x->lane_rank; i < x->rank; i++) array_before[ot_array_axis(x, i)] = before[i];
    if (plan->mode != CONSTANT) return make_sources(n, plan, array_before, err);
    make_move(plan, array_before);
    return OT_OK;
}

/* ---- the other modes: element by element ---- */

struct rows {
    const struct pad_plan *plan;
    const char *from;
    char *to;
    size_t size;
    bool gradient; /* from = dy is added to to = dx */
    int64_t parts, grain;
};

/* All elements of y under one index of the free dimensions. */
static void mapped_part(const struct rows *r, int64_t part) {
    const struct pad_plan *plan = r->plan;
    const int last = plan->y.rank - 1;
    int64_t index[OT_ARRAY_RANK] = {0}, base = 0, rest = part;
    for (int i = plan->free - 1; i >= 0; i--) {
        base += plan->source[i][rest % plan->y.dim[i]];
        rest /= plan->y.dim[i];
    }
    const int64_t count = ot_array_product(&plan->y, plan->free, plan->y.rank);
    for (int64_t k = 0; k < count; k++) {
        int64_t at = base;
        for (int i = plan->free; i <= last; i++) at += plan->source[i][index[i]];
        const int64_t y = part * count + k;
        if (r->gradient)
            ((float *)(void *)r->to)[at] += ((const float *)(const void *)r->from)[y];
        else
            memcpy(r->to + (size_t)y * r->size, r->from + (size_t)at * r->size, r->size);
        for (int i = last; i >= plan->free && ++index[i] == plan->y.dim[i]; i--) index[i] = 0;
    }
}

static void mapped_task(void *arg, int task, int worker) {
    (void)worker;
    const struct rows *r = arg;
    int64_t from, to;
    ot_task_range(r->parts, r->grain, task, &from, &to);
    for (int64_t i = from; i < to; i++) mapped_part(r, i);
}

static void run_mapped(struct op_node *n, const struct pad_plan *plan, const void *from, void *to,
                       bool gradient) {
    const int64_t part = ot_array_product(&plan->y, plan->free, plan->y.rank);
    struct rows r = {
        plan, from, to, ot_type_size(n->x[0]->type), gradient, 0, 1 + 4096 / (part + 1)};
    r.parts = ot_array_product(&plan->y, 0, plan->free);
    if (part > 0) ot_parallel_for(n->pool, ot_task_count(r.parts, r.grain), mapped_task, &r);
}

static void forward(struct op_node *n) {
    const struct pad_plan *plan = n->plan;
    const size_t size = ot_type_size(n->x[0]->type);
    if (plan->mode != CONSTANT) {
        run_mapped(n, plan, n->x[0]->data, n->y[0]->data, false);
        return;
    }
    const void *value = n->n_in > 2 && n->x[2] ? n->x[2]->data : &plan->value;
    ot_fill(n->pool, n->y[0]->data, ot_count(n->y[0]), size, value);
    ot_move_run(n->pool, &plan->move, size, n->x[0]->data, n->y[0]->data);
}

static void backward(struct op_node *n) {
    const struct pad_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    if (plan->mode != CONSTANT) {
        run_mapped(n, plan, n->dy[0]->data, n->dx[0]->data, true);
        return;
    }
    struct move back = ot_move_reverse(&plan->move);
    ot_move_run(n->pool, &back, sizeof(float), n->dy[0]->data, n->dx[0]->data);
}

static const char *const cases[] = {
    "X[2,3,4,4] pads=0,2,0,0,0,3,0,0 lanes @2 -> Y[2,8,4,4]",
    "X[2,3] pads=1,0,0,2 value=0.5 @10 -> Y[3,5]",
    "X[2,3,4,5] i64{0,0,1,2,0,0,3,-1} lanes -> Y[2,3,8,6]",
    "f[1,2]{1,2} i64{0,-1,0,2} f(7) -> f[1,3]{2,7,7}",
    "i64{1,2} i64{1,0} i64(9) -> i64{9,1,2}",
    "f{1,2,3} i64{-2,-1} -> f[0]{}",
    "X[2,3,4,5] i64{0,0,2,3,0,0,3,4} mode=reflect lanes -> Y[2,3,9,12]",
    "X[2,3,4,5] i64{0,1,2,3,0,0,5,4} mode=edge -> Y[2,4,11,12]",
    "f{1,2,3} i64{2,2} mode=reflect -> f{3,2,1,2,3,2,1}",
    "f{1,2,3} i64{2,1} mode=edge -> f{1,1,1,2,3,3}",
    "f{1,2,3} i64{2,4} mode=wrap @19 -> f{2,3,1,2,3,1,2,3,1}",
    "X[5] i64{4,-2} mode=wrap @19 -> Y[7]",
    "X[2,3,4] i64{1,2} - i64{-1} @18 -> Y[2,3,7]",
    "X[2,3] i64{0,0,0,0,0} -> error: 5 pads for 2 axes",
    "X[2,3] i64{0,-4,0,0} -> error: pads -4 and 0",
    "X[2,3] i64{0,-2,0,-2} -> error: pads -2 and -2",
    "X[2,3] i64{0,3,0,0} mode=reflect -> error: mode 'reflect' needs pads smaller than the extent",
    "X[2,3] i64{0,4611686018427387904,0,0} -> error: pads 4611686018427387904",
    "X[2,3] i64{0,0,0,0} mode=mirror -> error: 'mirror'",
    NULL};

const struct op ot_op_Pad = {
    .name = "Pad",
    .since = 2,
    .min_in = 1,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .attributes = "pads:I value:f mode:s",
    .plan_size = sizeof(struct pad_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "pads and axes must be constant",
    .cases = cases,
};
