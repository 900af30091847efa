/* range.c - Range: y[i] = start + i * delta, up to limit, which is not included. */
#include "ops/op.h"

#include <math.h>

/* Constant scalars of one type, wide enough for all. */
struct range_plan {
    double real[3]; /* start, limit, delta */
    int64_t integer[3];
};

static ot_status read(struct op_node *n, int i, struct range_plan *plan, ot_error *err) {
    const struct tensor *t = n->x[i];
    if (t->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    if (ot_elements(t) != 1 || t->type != n->x[0]->type)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a single %s", i,
                          ot_type_name(n->x[0]->type));
    switch (t->type) {
    case OT_FLOAT: plan->real[i] = *(const float *)t->data; break;
    case OT_DOUBLE: plan->real[i] = *(const double *)t->data; break;
    case OT_INT16: plan->integer[i] = *(const int16_t *)t->data; break;
    case OT_INT32: plan->integer[i] = *(const int32_t *)t->data; break;
    case OT_INT64: plan->integer[i] = *(const int64_t *)t->data; break;
    default:
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is %s, which is not supported", i,
                          ot_type_name(t->type));
    }
    return OT_OK;
}

/* Differences of 64-bit integers fit into unsigned ones. */
static uint64_t count_integers(const int64_t v[3]) {
    const uint64_t step = v[2] < 0 ? 0 - (uint64_t)v[2] : (uint64_t)v[2];
    if (v[2] > 0 ? v[0] >= v[1] : v[0] <= v[1]) return 0;
    const uint64_t distance =
        v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    return (distance - 1) / step + 1;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct range_plan *plan = ot_op_plan(n);
    for (int i = 0; i < 3; i++) OT_TRY(read(n, i, plan, err));
    const bool real = n->x[0]->type == OT_FLOAT || n->x[0]->type == OT_DOUBLE;
    if (real ? plan->real[2] == 0 : plan->integer[2] == 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 2 (delta) is 0");
    double count = real ? ceil((plan->real[1] - plan->real[0]) / plan->real[2])
                        : (double)count_integers(plan->integer);
    if (isnan(count))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the inputs are not finite numbers");
    if (count > 0x1p40)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has more than 2^40 elements");
    const int64_t dim = count > 0 ? (int64_t)count : 0;
    return ot_op_set(n, n->y[0], n->x[0]->type, 1, &dim, err);
}

static void forward(struct op_node *n) {
    const struct range_plan *plan = n->plan;
    struct tensor *y = n->y[0];
    for (int64_t i = 0; i < y->dim[0]; i++) {
        const double real = plan->real[0] + (double)i * plan->real[2];
        const uint64_t step = (uint64_t)i * (uint64_t)plan->integer[2];
        const int64_t integer = (int64_t)((uint64_t)plan->integer[0] + step);
        switch (y->type) {
        case OT_FLOAT: ((float *)y->data)[i] = (float)real; break;
        case OT_DOUBLE: ((double *)y->data)[i] = real; break;
        case OT_INT16: ((int16_t *)y->data)[i] = (int16_t)integer; break;
        case OT_INT32: ((int32_t *)y->data)[i] = (int32_t)integer; break;
        default: ((int64_t *)y->data)[i] = integer; break;
        }
    }
}

static const char *const cases[] = {
    "i64(0) i64(5) i64(2) -> i64{0,2,4}",
    "i64(5) i64(0) i64(-2) -> i64{5,3,1}",
    "i64(5) i64(0) i64(2) -> i64[0]{}",
    "f(0) f(1) f(0.3) -> f{0,0.3,0.6,0.9}",
    "i32(3) i32(5) i32(1) -> i32{3,4}",
    "i64(9223372036854775805) i64(9223372036854775807) i64(9223372036854775807) -> "
    "i64{9223372036854775805}",
    "i64(0) i64(5) i64(0) -> error: input 2 (delta) is 0",
    "i64(-9223372036854775808) i64(9223372036854775807) i64(1) -> error: 2^40",
    "f(0) f(nan) f(1) -> error: the inputs are not finite numbers",
    "f(0) f(inf) f(1) -> error: 2^40",
    NULL};

const struct op ot_op_Range = {
    .name = "Range",
    .since = 11,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "stash_type:i", /* numbers of half precision are floats here */
    .plan_size = sizeof(struct range_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "all inputs must be constant",
    .cases = cases,
};
