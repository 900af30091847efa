/* arg_max.c - ArgMax and ArgMin: y = the index of the largest (smallest) x along an axis; the first
 * of equal ones, or the last with select_last_index. NaN counts as the most extreme. */
#include "ops/number.h"
#include "ops/op.h"

struct arg_max_plan {
    int64_t outer, length, inner;
    int sign; /* -1: ArgMin looks for the largest of -x */
    bool last;
};

static ot_status prepare_for(struct op_node *n, int sign, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct arg_max_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    int axis, rank = 0;
    if (!ot_is_integer(x->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    const bool keep = ot_attr_int(n->node, "keepdims", 1);
    for (int i = 0; i < x->rank; i++)
        if (i != axis || keep) dim[rank++] = i == axis ? 1 : x->dim[i];
    if (x->dim[axis] == 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d has no elements", axis);
    *plan = (struct arg_max_plan){ot_dims_product(x, 0, axis), x->dim[axis],
                                  ot_dims_product(x, axis + 1, x->rank), sign,
                                  ot_attr_int(n->node, "select_last_index", 0) != 0};
    return ot_op_set(n, n->y[0], OT_INT64, rank, dim, err);
}

static ot_status prepare(struct op_node *n, ot_error *err) { return prepare_for(n, 1, err); }
static ot_status min_prepare(struct op_node *n, ot_error *err) { return prepare_for(n, -1, err); }

static int64_t find_integer(const struct arg_max_plan *plan, const struct tensor *x, int64_t at) {
    int64_t best = 0, most = 0;
    for (int64_t k = 0; k < plan->length; k++) {
        const int64_t v = ot_load_ordered(x->data, x->type, at + k * plan->inner);
        const bool better = plan->sign > 0 ? v > most : v < most;
        if (k && !better && !(v == most && plan->last)) continue;
        best = k;
        most = v;
    }
    return best;
}

static int64_t find_largest(const struct arg_max_plan *plan, const float *x) {
    const float sign = (float)plan->sign;
    int64_t best = 0;
    for (int64_t k = 1; k < plan->length; k++) {
        const float a = sign * x[k * plan->inner], b = sign * x[best * plan->inner];
        const bool a_nan = a != a, b_nan = b != b;
        const bool equal = a == b || (a_nan && b_nan);
        if (a > b || (a_nan && !b_nan) || (equal && plan->last)) best = k;
    }
    return best;
}

static void find_each(void *arg, int number, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct arg_max_plan *plan = n->plan;
    int64_t from, to;
    ot_task_range(plan->outer * plan->inner, 1 + 4096 / plan->length, number, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t at = i / plan->inner * plan->length * plan->inner + i % plan->inner;
        ((int64_t *)n->y[0]->data)[i] = n->x[0]->type == OT_FLOAT
                                            ? find_largest(plan, ot_f(n->x[0]) + at)
                                            : find_integer(plan, n->x[0], at);
    }
}

static void forward(struct op_node *n) {
    const struct arg_max_plan *plan = n->plan;
    const int64_t results = plan->outer * plan->inner;
    if (results > 0)
        ot_parallel_for(n->pool, ot_task_count(results, 1 + 4096 / plan->length), find_each, n);
}

static const char *const cases[] = {
    "f[2,3]{1,5,5,9,2,3} axis=1 -> i64[2,1]{1,0}",
    "f[2,3]{1,5,5,9,2,3} axis=-1 select_last_index=1 keepdims=0 -> i64{2,0}",
    "f[2,3]{1,5,5,9,2,3} -> i64[1,3]{1,0,0}",
    "f{1,nan,7,nan} -> i64{1}",
    "i32[2,3]{1,5,5,-9,-2,-3} axis=1 -> i64[2,1]{1,1}",
    "i64{-3,7,7,2} select_last_index=1 keepdims=0 -> i64(2)",
    "u64{1,18446744073709551615,3} keepdims=0 -> i64(1)",
    "X[2,3] axis=2 -> error: axis 2",
    "X[2,0] axis=1 -> error: axis 1 has no elements",
    NULL};

static const char *const min_cases[] = {"f[2,3]{1,5,5,9,2,3} axis=1 -> i64[2,1]{0,1}",
                                        "u8[2,3]{1,5,5,9,2,2} axis=1 select_last_index=1 -> "
                                        "i64[2,1]{0,2}",
                                        NULL};

#define ARG(Name, ready, texts)                                                                    \
    const struct op ot_op_##Name = {                                                               \
        .name = #Name,                                                                             \
        .since = 1,                                                                                \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "axis:i keepdims:i select_last_index:i",                                     \
        .plan_size = sizeof(struct arg_max_plan),                                                  \
        .prepare = ready,                                                                          \
        .forward = forward,                                                                        \
        .cases = texts,                                                                            \
    };

ARG(ArgMax, prepare, cases)
ARG(ArgMin, min_prepare, min_cases)
