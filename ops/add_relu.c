/* add_relu.c - y = max(a + b, 0) in one pass, for operands of one shape and layout. */
#include "ops/kernels/kernels.h"
#include "ops/walk/unary.h"

enum { GRAIN = 16384 };

static bool lanes(const struct op_node *n, int lane_rank) {
    return n->x[0]->rank >= lane_rank && n->x[1]->rank >= lane_rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *a = n->x[0], *b = n->x[1];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    if (!ot_same_shape(a, b) || a->lanes != b->lanes)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "inputs 0 and 1 differ in shape");
    ot_op_like(n->y[0], a);
    return OT_OK;
}

static void forward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    int64_t from, to;
    ot_task_range(ot_count(n->y[0]), GRAIN, task, &from, &to);
    const struct norm a = {.x = ot_f(n->x[0]) + from,
                           .z = ot_f(n->x[1]) + from,
                           .gain = 1,
                           .follow = OT_FOLLOW_RELU,
                           .y = ot_f(n->y[0]) + from};
    n->kernels->norm(&a, (size_t)(to - from));
}

static void forward(struct op_node *n) {
    ot_parallel_for(n->pool, ot_task_count(ot_count(n->y[0]), GRAIN), forward_task, n);
}

static void backward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    int64_t from, to;
    ot_task_range(ot_count(n->y[0]), GRAIN, task, &from, &to);
    const struct norm_gradient a = {.dy = ot_f(n->dy[0]) + from,
                                    .more = n->more ? ot_f(n->more) + from : NULL,
                                    .y = ot_f(n->y[0]) + from,
                                    .follow = OT_FOLLOW_RELU,
                                    .gain = 1,
                                    .dx = n->dx[0] ? ot_f(n->dx[0]) + from : NULL,
                                    .dz = n->dx[1] ? ot_f(n->dx[1]) + from : NULL};
    n->kernels->norm_gradient(&a, (size_t)(to - from));
}

static void backward(struct op_node *n) {
    ot_parallel_for(n->pool, ot_task_count(ot_count(n->y[0]), GRAIN), backward_task, n);
}

static const char *const cases[] = {"A[2,3] f[2,3]{0.5,-1,0.25,-0.75,1,0}:x lanes -> Y[2,3]",
                                    "A[18,3,2] B[18,3,2] range=0,3 lanes -> Y[18,3,2]",
                                    "f{-1,0.5,nan,2} f{0.5,1,1,nan} -> f{0,1.5,nan,nan}",
                                    "A[0,3] B[0,3] -> Y[0,3]",
                                    "A[2,3] B[3] -> error: inputs 0 and 1 differ in shape",
                                    NULL};

const struct op ot_op_AddRelu = {
    .name = "Add+Relu",
    .since = 6,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "broadcast:i axis:i",
    .needs = OT_Y(0),
    .y_over_x = OT_X(0) | OT_X(1),
    .dx_over_dy = OT_X(0) | OT_X(1),
    .takes_more = true,
    .internal = true,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .again = forward,
    .backward = backward,
    .cases = cases,
};
