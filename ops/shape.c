/* shape.c - Shape: y = the dimensions [start, end) of x; Size: y = the number of its elements. */
#include "ops/op.h"

/* Attributes start and end of opset 15, clamped to [0, rank] as Python's slices. */
static void range(const struct op_node *n, int *start, int *end) {
    const int rank = n->x[0]->rank;
    int64_t from = ot_attr_int(n->node, "start", 0), to = ot_attr_int(n->node, "end", rank);
    if (from < 0) from += rank;
    if (to < 0) to += rank;
    *start = (int)(from < 0 ? 0 : from > rank ? rank : from);
    *end = (int)(to < *start ? *start : to > rank ? rank : to);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    int start, end;
    range(n, &start, &end);
    const int64_t count = end - start;
    return ot_op_set(n, n->y[0], OT_INT64, 1, &count, err);
}

static void forward(struct op_node *n) {
    int64_t *y = n->y[0]->data;
    int start, end;
    range(n, &start, &end);
    for (int i = start; i < end; i++) *y++ = n->x[0]->dim[i];
}

static const char *const cases[] = {
    "X[2,3,4] -> i64{2,3,4}",
    "X[] -> i64[0]{}",
    "X[2,3,4] start=1 -> i64{3,4}",
    "X[2,3,4] start=-2 end=-1 -> i64{3}",
    "X[2,3,4] start=2 end=1 -> i64[0]{}",
    "X[2,3,4] start=-9223372036854775808 end=9223372036854775807 -> i64{2,3,4}",
    NULL};

const struct op ot_op_Shape = {
    .name = "Shape",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "start:i end:i",
    .shape_only = true,
    .prepare = prepare,
    .forward = forward,
    .cases = cases,
};

static ot_status size_prepare(struct op_node *n, ot_error *err) {
    const int64_t none = 0;
    return ot_op_set(n, n->y[0], OT_INT64, 0, &none, err);
}

static void size_forward(struct op_node *n) { *(int64_t *)n->y[0]->data = ot_elements(n->x[0]); }

static const char *const size_cases[] = {"X[2,3,4] -> i64(24)", "X[] -> i64(1)", "X[2,0] -> i64(0)",
                                         NULL};

const struct op ot_op_Size = {
    .name = "Size",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .shape_only = true,
    .prepare = size_prepare,
    .forward = size_forward,
    .cases = size_cases,
};
