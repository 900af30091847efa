/* one_hot.c - OneHot: y = values[0], and values[1] where the new axis is at its index. Indices
 * count from the end where negative; out of range they make nothing hot. */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/index.h"

struct one_hot_plan {
    int64_t outer, depth, inner;
};

/* A number of x[i], truncated; what is beyond int64 is out of any range. */
static int64_t number_at(const struct tensor *t, int64_t k) {
    const double v = ot_load_number(t->data, t->type, k);
    return v > -0x1p62 && v < 0x1p62 ? (int64_t)v : INT64_MAX;
}

static ot_status check_number(const struct op_node *n, int i, ot_error *err) {
    const ot_type t = n->x[i]->type;
    if (ot_is_number(t)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is %s, which is not supported", i,
                      ot_type_name(t));
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *depth = n->x[1], *values = n->x[2];
    struct one_hot_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK + 1];
    int axis;
    OT_TRY(check_number(n, 0, err));
    OT_TRY(check_number(n, 1, err));
    OT_TRY(ot_movable(n, 2, err));
    if (depth->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 1 is not a constant");
    if (depth->rank > 1 || ot_elements(depth) != 1 || number_at(depth, 0) < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 is not a single positive number");
    if (values->rank != 1 || values->dim[0] != 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 2 does not have two values");
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", -1), x->rank + 1, &axis, err));
    plan->depth = number_at(depth, 0);
    plan->outer = ot_dims_product(x, 0, axis);
    plan->inner = ot_dims_product(x, axis, x->rank);
    for (int i = 0; i <= x->rank; i++)
        dim[i] = i == axis ? plan->depth : x->dim[i < axis ? i : i - 1];
    return ot_op_set(n, n->y[0], values->type, x->rank + 1, dim, err);
}

static void forward(struct op_node *n) {
    const struct one_hot_plan *plan = n->plan;
    const size_t size = ot_type_size(n->y[0]->type);
    const char *values = n->x[2]->data;
    char *y = n->y[0]->data;
    ot_fill(n->pool, y, ot_count(n->y[0]), size, values);
    for (int64_t k = 0; k < plan->outer * plan->inner; k++) {
        int64_t i = number_at(n->x[0], k);
        if (i < 0) i += plan->depth;
        if (i < 0 || i >= plan->depth) continue;
        const int64_t at = (k / plan->inner * plan->depth + i) * plan->inner + k % plan->inner;
        memcpy(y + (size_t)at * size, values + size, size);
    }
}

static const char *const cases[] = {
    "i64{0,-1,5,1} i64(3) f{0,1} -> f[4,3]{1,0,0,0,0,1,0,0,0,0,1,0}",
    "i64[1,2]{0,2}:x i64{3} f{-1,4} axis=1 -> f[1,3,2]{4,-1,-1,-1,-1,4}",
    "f{1.5,-7} f(2) i64{3,9} axis=0 -> i64[2,2]{3,3,9,3}",
    "i32(1) i32(2) b{0,1} -> b{0,1}",
    "i8{1,-1} u16(3) f{0,1} -> f[2,3]{0,1,0,0,0,1}",
    "u64{1,18446744073709551615} u32(2) i16{3,4} -> i16[2,2]{3,4,3,3}",
    "I[2]:i64 D[1]:i64 f{0,1} -> error: input 1 is not a constant",
    "I[2]:i64 i64(0) f{0,1} -> error: input 1 is not a single positive number",
    "I[2]:i64 i64(3) f{0,1,2} -> error: input 2",
    "I[2]:b i64(3) f{0,1} -> error: input 0 is bool",
    NULL};

const struct op ot_op_OneHot = {
    .name = "OneHot",
    .since = 9,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .plan_size = sizeof(struct one_hot_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "depth must be constant",
    .cases = cases,
};
