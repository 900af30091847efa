/* gather_nd.c - GatherND: y[b, k, ...] = x[b, index[b, k, 0], index[b, k, 1], ..., ...]. The
 * gradient of an element is the sum over its copies in the order of k. */
#include <string.h>

#include "ops/walk/tuples.h"

struct gather_nd_plan {
    struct tuples tuples;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *index = n->x[1];
    struct gather_nd_plan *plan = ot_op_plan(n);
    const int64_t batch_dims = ot_attr_int(n->node, "batch_dims", 0);
    int64_t dim[2 * OT_MAX_RANK];
    int rank = 0;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_tuples_of(n, batch_dims, &plan->tuples, err));
    for (int i = 0; i < index->rank - 1; i++) dim[rank++] = index->dim[i];
    for (int i = (int)batch_dims + plan->tuples.ranges.columns; i < x->rank; i++)
        dim[rank++] = x->dim[i];
    return ot_op_set(n, n->y[0], x->type, rank, dim, err);
}

static void forward_piece(const struct op_node *n, int64_t batch, int64_t from, int64_t to) {
    const struct tuples *t = &((const struct gather_nd_plan *)n->plan)->tuples;
    const size_t size = ot_type_size(n->x[0]->type);
    const char *x = n->x[0]->data;
    char *y = n->y[0]->data;
    for (int64_t k = batch * t->per_batch; k < (batch + 1) * t->per_batch; k++)
        memcpy(y + (size_t)(k * t->inner + from) * size,
               x + (size_t)(ot_tuples_at(n, t, k) + from) * size, (size_t)(to - from) * size);
}

static void forward(struct op_node *n) {
    const struct gather_nd_plan *plan = n->plan;
    ot_indices_watch(n, &plan->tuples.ranges);
    ot_tuples_run(n, &plan->tuples, forward_piece);
}

static void backward_piece(const struct op_node *n, int64_t batch, int64_t from, int64_t to) {
    const struct tuples *t = &((const struct gather_nd_plan *)n->plan)->tuples;
    for (int64_t k = batch * t->per_batch; k < (batch + 1) * t->per_batch; k++) {
        const float *dy = ot_f(n->dy[0]) + k * t->inner;
        float *dx = ot_f(n->dx[0]) + ot_tuples_at(n, t, k);
        for (int64_t i = from; i < to; i++) dx[i] += dy[i];
    }
}

static void backward(struct op_node *n) {
    const struct gather_nd_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    ot_tuples_run(n, &plan->tuples, backward_piece);
}

static const char *const cases[] = {
    "X[3,4,5] i64[2,2]{0,3,-1,1} -> Y[2,5]",
    "X[3,4,300] i64[3,1]{2,-1,0} -> Y[3,4,300]",
    "X[2,3,4] i64[2,2,1]{0,2,2,2} batch_dims=1 @12 -> Y[2,2,4]",
    "X[2,3,4] i64[2,3,1]{0,3,9,-5,2,-1}:x batch_dims=2 @12 -> Y[2,3]",
    "f[2,2]{0,1,2,3} i64[2,2]{0,0,1,1} -> f{0,3}",
    "i64[2,2]{0,1,2,3} i64[2,1]{1,0} -> i64[2,2]{2,3,0,1}",
    "X[2,3] i64[1,2]{0,3} -> error: index 3 is out of range for an axis of extent 3",
    "X[2,3] i64[1,3]{0,0,0} -> error: the indices have shape [1,3], which does not fit data of "
    "shape [2,3] with 0 batch axes",
    "X[2,3] i64[3,1]{0,0,0} batch_dims=1 @12 -> error: the indices have shape [3,1], which does "
    "not fit data of shape [2,3] with 1 batch axes",
    NULL};

const struct op ot_op_GatherND = {
    .name = "GatherND",
    .since = 11,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "batch_dims:i",
    .needs = OT_X(1),
    .parameters = OT_X(0),
    .plan_size = sizeof(struct gather_nd_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
