/* gather_elements.c - GatherElements: y[i, j, ...] = x[.., index[i, j, ...], ..] along one axis.
 * The gradient of an element is the sum over its copies in their order. */
#include <string.h>

#include "ops/walk/indices.h"

struct gather_elements_plan {
    struct lines lines;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct gather_elements_plan *plan = ot_op_plan(n);
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_lines_of(n, &plan->lines, err));
    return ot_op_set(n, n->y[0], n->x[0]->type, n->x[1]->rank, n->x[1]->dim, err);
}

static void forward_line(const struct op_node *n, int64_t from, int64_t to) {
    const struct lines *l = &((const struct gather_elements_plan *)n->plan)->lines;
    const size_t size = ot_type_size(n->x[0]->type);
    const char *x = n->x[0]->data;
    char *y = n->y[0]->data;
    for (int64_t k = 0; k < l->length; k++, from += l->picked_step) {
        const int64_t i = ot_index_in(n->x[1], from, l->extent);
        memcpy(y + (size_t)from * size, x + (size_t)(to + i * l->data_step) * size, size);
    }
}

static void forward(struct op_node *n) {
    const struct gather_elements_plan *plan = n->plan;
    ot_indices_watch(n, &(struct ranges){1, {plan->lines.extent}});
    ot_lines_run(n, &plan->lines, forward_line);
}

static void backward_line(const struct op_node *n, int64_t from, int64_t to) {
    const struct lines *l = &((const struct gather_elements_plan *)n->plan)->lines;
    const float *dy = ot_f(n->dy[0]);
    float *dx = ot_f(n->dx[0]) + to;
    for (int64_t k = 0; k < l->length; k++, from += l->picked_step)
        dx[ot_index_in(n->x[1], from, l->extent) * l->data_step] += dy[from];
}

static void backward(struct op_node *n) {
    const struct gather_elements_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    ot_lines_run(n, &plan->lines, backward_line);
}

static const char *const cases[] = {
    "X[3,4] i64[2,4]{0,2,-1,1,2,2,0,-3} -> Y[2,4]",
    "X[2,3,4] i64[2,3,2]{0,3,1,1,-1,0,2,2,2,3,0,1} axis=-1 -> Y[2,3,2]",
    "X[2,3,4] i64[1,5,3]{0,2,1,1,-1,0,2,2,2,0,0,1,-3,1,0} axis=1 -> Y[1,5,3]",
    "X[5,3] i64[2,3]{9,1,0,-6,4,4}:x -> Y[2,3]",
    "f[2,2]{1,2,3,4} i32[2,2]{0,0,1,0} axis=1 -> f[2,2]{1,1,4,3}",
    "i64[3,3]{1,2,3,4,5,6,7,8,9} i64[2,3]{-1,-2,0,-2,0,0} -> i64[2,3]{7,5,3,4,2,3}",
    "X[2,3] i64[0,3]{} -> Y[0,3]",
    "X[2,3] i64[1,3]{0,2,1} -> error: index 2 is out of range for an axis of extent 2",
    "X[2,3] i64[3]{0,2,1} -> error: the indices have shape [3], which does not fit data of shape "
    "[2,3] and axis 0",
    "X[2,3] i64[1,4]{0,1,1,0} -> error: the indices have shape [1,4], which does not fit data of "
    "shape [2,3] and axis 0",
    "X[2,3] f[1,3]{0,1,1} -> error: input 1 is float, expected int64",
    NULL};

const struct op ot_op_GatherElements = {
    .name = "GatherElements",
    .since = 11,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .needs = OT_X(1),
    .parameters = OT_X(0),
    .plan_size = sizeof(struct gather_elements_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
