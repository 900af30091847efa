/* gather.c - Gather: y[o, k, i] = x[o, index[k], i]; o and i stand for the axes before and behind.
 *
 * The gradient of an element is the sum over its copies in the order of k. A table with a pattern
 * (rows of an embedding) stays as it is: its rows are written out as they are looked up, and only
 * the slots of rows that were looked up get a gradient other than zero.
 */
#include <string.h>

#include "ops/walk/indices.h"
#include "runtime/base/pattern.h"

enum {
    PIECE = 256, /* floats of a row that one task adds */
    SHARES = 32  /* of the rows of a sparse table */
};

struct gather_plan {
    int64_t outer, length, inner, count; /* length: of the axis; count: indices */
    int64_t pieces, grain;               /* of a row, in the gradient; how many make a task */
};

static bool sparse_rows(const struct op_node *n, int i) {
    const struct tensor *x = n->x[0];
    const int64_t axis = ot_attr_int(n->node, "axis", 0);
    return i == 0 && x->rank == 2 && (axis == 0 || axis == -2) && !x->pattern->transposed &&
           x->pattern->rows == x->dim[0];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *index = n->x[1];
    struct gather_plan *plan = ot_op_plan(n);
    int64_t dim[2 * OT_MAX_RANK];
    int axis, rank = 0;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    for (int i = 0; i < axis; i++) dim[rank++] = x->dim[i];
    for (int i = 0; i < index->rank; i++) dim[rank++] = index->dim[i];
    for (int i = axis + 1; i < x->rank; i++) dim[rank++] = x->dim[i];
    OT_TRY(ot_op_set(n, n->y[0], x->type, rank, dim, err));
    plan->outer = ot_dims_product(x, 0, axis);
    plan->length = x->dim[axis];
    plan->inner = ot_dims_product(x, axis + 1, x->rank);
    plan->count = ot_elements(index);
    plan->pieces = (plan->inner + PIECE - 1) / PIECE;
    plan->grain = 1 + 4096 / (plan->count * (plan->inner < PIECE ? plan->inner : PIECE) + 1);
    if (x->pattern) n->kernel = "sparse rows";
    return ot_indices_check(n, &(struct ranges){1, {plan->length}}, err);
}

/* ---- forward ---- */

static void write_row(const struct op_node *n, int64_t row, float *y) {
    const struct pattern *p = n->x[0]->pattern;
    const float *value = ot_f(n->x[0]);
    memset(y, 0, (size_t)p->cols * sizeof *y);
    for (int k = p->row[row]; k < p->row[row + 1]; k++) y[p->col[k]] = value[k];
}

static void forward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct gather_plan *plan = n->plan;
    const size_t row = (size_t)plan->inner * ot_type_size(n->x[0]->type);
    int64_t from, to;
    ot_task_range(plan->outer * plan->count, 256, task, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const int64_t i = ot_index_in(n->x[1], r % plan->count, plan->length);
        if (n->x[0]->pattern)
            write_row(n, i, ot_f(n->y[0]) + r * plan->inner);
        else
            memcpy((char *)n->y[0]->data + (size_t)r * row,
                   (const char *)n->x[0]->data + (size_t)(r / plan->count * plan->length + i) * row,
                   row);
    }
}

static void forward(struct op_node *n) {
    const struct gather_plan *plan = n->plan;
    ot_indices_watch(n, &(struct ranges){1, {plan->length}});
    if (ot_elements(n->y[0]) > 0)
        ot_parallel_for(n->pool, ot_task_count(plan->outer * plan->count, 256), forward_task, n);
}

/* ---- backward ---- */

/* A piece of all rows under one outer index: nobody else adds there. */
static void add_piece(const struct op_node *n, int64_t outer, int64_t start) {
    const struct gather_plan *plan = n->plan;
    const int64_t end = start + PIECE < plan->inner ? start + PIECE : plan->inner;
    for (int64_t k = 0; k < plan->count; k++) {
        const float *dy = ot_f(n->dy[0]) + (outer * plan->count + k) * plan->inner;
        const int64_t row = outer * plan->length + ot_index_in(n->x[1], k, plan->length);
        float *dx = ot_f(n->dx[0]) + row * plan->inner;
        for (int64_t i = start; i < end; i++) dx[i] += dy[i];
    }
}

static void backward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct gather_plan *plan = n->plan;
    int64_t from, to;
    ot_task_range(plan->outer * plan->pieces, plan->grain, task, &from, &to);
    for (int64_t i = from; i < to; i++) add_piece(n, i / plan->pieces, i % plan->pieces * PIECE);
}

/* The slots of a share of the table's rows, for all indices that lead there. */
static void backward_share(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct gather_plan *plan = n->plan;
    const struct pattern *p = n->x[0]->pattern;
    const int64_t from = plan->length * task / SHARES, to = plan->length * (task + 1) / SHARES;
    for (int64_t k = 0; k < plan->count; k++) {
        const int64_t row = ot_index_in(n->x[1], k, plan->length);
        const float *dy = ot_f(n->dy[0]) + k * plan->inner;
        if (row < from || row >= to) continue;
        for (int j = p->row[row]; j < p->row[row + 1]; j++) ot_f(n->dx[0])[j] += dy[p->col[j]];
    }
}

static void backward(struct op_node *n) {
    const struct gather_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    if (ot_elements(n->y[0]) == 0) return;
    if (n->x[0]->pattern)
        ot_parallel_for(n->pool, SHARES, backward_share, n);
    else
        ot_parallel_for(n->pool, ot_task_count(plan->outer * plan->pieces, plan->grain),
                        backward_task, n);
}

/* Passes read the pattern itself. */
static void follow(struct op_node *n, int i) {
    (void)n;
    (void)i;
}

static const char *const cases[] = {
    "X[5,4] i64{0,3,-1,3} -> Y[4,4]",
    "X[5,300]:p i64[2,3]{0,3,-1,3,-5,1} -> Y[2,3,300]",
    "X[5,30]:p~0.3 i64[2,3]{0,3,-1,3,-5,1}:x -> Y[2,3,30]",
    "X[90,7]:p~0.9 I[2,30]:i64 range=-90,89 -> Y[2,30,7]",
    "X[2,5,3] i64{4,-5,4} axis=1 -> Y[2,3,3]",
    "X[2,5,3] i64(2) axis=-1 -> Y[2,5]",
    "X[2,3] i32{1} -> Y[1,3]",
    "X[5,4] i64{7,-9}:x -> Y[2,4]",
    "i64{10,20,30} i64(-1) -> i64(30)",
    "f[2,3]{1,2,3,4,5,6} i64{2,-3} axis=1 -> f[2,2]{3,1,6,4}",
    "f[2,2]{1,2,3,4} i64{7,-9}:x -> f[2,2]{3,4,1,2}",
    "X[5,4] i64{5} -> error: index 5",
    "X[5,4] i64{-6} -> error: index -6",
    "X[5,4] i64{-9223372036854775808} -> error: index -9223372036854775808",
    "X[5,4] i64{0} axis=2 -> error: axis 2",
    "X[0,4] i64{0} -> error: the axis that is indexed has no elements",
    "X[5,4] f{0} -> error: input 1 is float, expected int64",
    NULL};

const struct op ot_op_Gather = {
    .name = "Gather",
    .since = 1,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .needs = OT_X(1),
    .parameters = OT_X(0),
    .sparse_rows = sparse_rows,
    .any_density = true,
    .plan_size = sizeof(struct gather_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .follow = follow,
    .cases = cases,
};
