/* trilu.c - Trilu: y = x on and above (upper) or below its k-th diagonal, zero elsewhere. */
#include "ops/walk/index.h"

#include <string.h>

struct trilu_plan {
    bool upper;
    int64_t k, rows, columns, matrices;
    size_t size; /* of an element */
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct trilu_plan *plan = ot_op_plan(n);
    const int64_t *k;
    int count;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(ot_op_ints(n, 1, &k, &count, err));
    if (x->rank < 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 2",
                          x->rank);
    if (k && count != 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 is not a single number");
    plan->upper = ot_attr_int(n->node, "upper", 1) != 0;
    plan->rows = x->dim[x->rank - 2];
    plan->columns = x->dim[x->rank - 1];
    plan->matrices = ot_dims_product(x, 0, x->rank - 2);
    plan->size = ot_type_size(x->type);
    const int64_t far = plan->rows + plan->columns; /* beyond it nothing changes */
    plan->k = !k ? 0 : *k < -far ? -far : *k > far ? far : *k;
    ot_op_like(n->y[0], x);
    return OT_OK;
}

/* One matrix: what is kept of each row is a run of columns. */
static void copy_matrix(const struct trilu_plan *plan, const char *from, char *to) {
    memset(to, 0, (size_t)(plan->rows * plan->columns) * plan->size);
    for (int64_t r = 0; r < plan->rows; r++) {
        int64_t start = plan->upper ? r + plan->k : 0,
                end = plan->upper ? plan->columns : r + plan->k + 1;
        if (start < 0) start = 0;
        if (end > plan->columns) end = plan->columns;
        const size_t at = (size_t)(r * plan->columns + start) * plan->size;
        if (start < end) memcpy(to + at, from + at, (size_t)(end - start) * plan->size);
    }
}

struct job {
    const struct trilu_plan *plan;
    const char *from;
    char *to;
    int64_t grain; /* matrices of a task */
};

static void copy_task(void *arg, int number, int worker) {
    (void)worker;
    const struct job *j = arg;
    const size_t bytes = (size_t)(j->plan->rows * j->plan->columns) * j->plan->size;
    int64_t from, to;
    ot_task_range(j->plan->matrices, j->grain, number, &from, &to);
    for (int64_t i = from; i < to; i++)
        copy_matrix(j->plan, j->from + (size_t)i * bytes, j->to + (size_t)i * bytes);
}

static void copy_triangles(struct op_node *n, const void *from, void *to) {
    const struct trilu_plan *plan = n->plan;
    struct job j = {plan, from, to, 1 + 16384 / (plan->rows * plan->columns + 1)};
    if (plan->matrices > 0)
        ot_parallel_for(n->pool, ot_task_count(plan->matrices, j.grain), copy_task, &j);
}

static void forward(struct op_node *n) { copy_triangles(n, n->x[0]->data, n->y[0]->data); }

static void backward(struct op_node *n) {
    if (n->dx[0]) copy_triangles(n, n->dy[0]->data, n->dx[0]->data);
}

static const char *const cases[] = {"f[2,3]{1,2,3,4,5,6} -> f[2,3]{1,2,3,0,5,6}",
                                    "f[2,3]{1,2,3,4,5,6} upper=0 -> f[2,3]{1,0,0,4,5,0}",
                                    "f[2,3]{1,2,3,4,5,6} i64(1) -> f[2,3]{0,2,3,0,0,6}",
                                    "i64[2,2]{1,2,3,4} i64(-1) upper=0 -> i64[2,2]{0,0,3,0}",
                                    "X[2,3,4,5] i64(-2) -> Y[2,3,4,5]",
                                    "X[4,5] i64(9223372036854775807) upper=0 -> Y[4,5]",
                                    "X[4,5] i64(-9223372036854775808) upper=0 -> Y[4,5]",
                                    "X[4] -> error: rank 1",
                                    NULL};

const struct op ot_op_Trilu = {
    .name = "Trilu",
    .since = 14,
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "upper:i",
    .plan_size = sizeof(struct trilu_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "k must be constant",
    .cases = cases,
};
