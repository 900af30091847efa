/* unique.c - Unique of a constant: its different elements, or slices along an axis, sorted or in
 * their order; and for each where it comes first, for each of x which it is, and how many there
 * are.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

struct unique_plan {
    int64_t outer, length, inner; /* slice i of x is x[., i, .] */
    int64_t count;
    int64_t *first, *which, *copies;
};

static int compare_elements(const struct tensor *t, int64_t i, int64_t k) {
    if (t->type == OT_FLOAT) {
        const float a = ot_f(t)[i], b = ot_f(t)[k];
        return isnan(a) || isnan(b) ? !!isnan(a) - !!isnan(b) : (a > b) - (a < b);
    }
    const int64_t a = ot_load_ordered(t->data, t->type, i);
    const int64_t b = ot_load_ordered(t->data, t->type, k);
    return (a > b) - (a < b);
}

/* Slices a and b, element by element. */
static int compare_slices(const struct op_node *n, const struct unique_plan *plan, int64_t a,
                          int64_t b) {
    for (int64_t o = 0; o < plan->outer; o++)
        for (int64_t i = 0; i < plan->inner; i++) {
            const int order = compare_elements(n->x[0], (o * plan->length + a) * plan->inner + i,
                                               (o * plan->length + b) * plan->inner + i);
            if (order) return order;
        }
    return 0;
}

/* Merge sort of slice numbers; equal ones keep their order. */
static void sort(const struct op_node *n, const struct unique_plan *plan, int64_t *list,
                 int64_t *spare, int64_t count) {
    const int64_t half = count / 2;
    if (count < 2) return;
    sort(n, plan, list, spare, half);
    sort(n, plan, list + half, spare, count - half);
    memcpy(spare, list, (size_t)half * sizeof *list);
    for (int64_t i = 0, k = half, to = 0; i < half; to++)
        list[to] =
            k < count && compare_slices(n, plan, spare[i], list[k]) > 0 ? list[k++] : spare[i++];
}

/* Numbers slices of a sorted list: equal ones alike. */
static void number_slices(const struct op_node *n, struct unique_plan *plan, const int64_t *list) {
    for (int64_t k = 0; k < plan->length; k++) {
        if (k == 0 || compare_slices(n, plan, list[k - 1], list[k])) {
            plan->first[plan->count] = list[k];
            plan->copies[plan->count++] = 0;
        }
        plan->which[list[k]] = plan->count - 1;
        plan->copies[plan->count - 1]++;
    }
}

/* Renumbers by where they come first. */
static void unsort(struct unique_plan *plan, int64_t *spare) {
    int64_t next = 0;
    for (int64_t u = 0; u < plan->count; u++) spare[u] = -1;
    for (int64_t i = 0; i < plan->length; i++) {
        int64_t *to = &spare[plan->which[i]];
        if (*to < 0) *to = next++;
        plan->which[i] = *to;
    }
    memset(plan->copies, 0, (size_t)plan->count * sizeof *plan->copies);
    for (int64_t i = plan->length - 1; i >= 0; i--) {
        plan->first[plan->which[i]] = i;
        plan->copies[plan->which[i]]++;
    }
}

static ot_status find_slices(struct op_node *n, struct unique_plan *plan, ot_error *err) {
    const size_t count = (size_t)plan->length;
    int64_t *memory = ot_arena_alloc(n->arena, 5 * count, sizeof *memory);
    if (!memory) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    int64_t *list = memory + 3 * count, *spare = memory + 4 * count;
    plan->first = memory;
    plan->which = memory + count;
    plan->copies = memory + 2 * count;
    for (int64_t i = 0; i < plan->length; i++) list[i] = i;
    sort(n, plan, list, spare, plan->length);
    number_slices(n, plan, list);
    if (!ot_attr_int(n->node, "sorted", 1)) unsort(plan, spare);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct unique_plan *plan = ot_op_plan(n);
    const bool flat = !ot_attr(n->node, "axis");
    int64_t dim[OT_MAX_RANK];
    int axis = 0;
    if (x->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is not a constant");
    if (!ot_is_number(x->type) && x->type != OT_BOOL)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(x->type));
    if (!flat) OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    plan->outer = flat ? 1 : ot_dims_product(x, 0, axis);
    plan->length = flat ? ot_elements(x) : x->dim[axis];
    plan->inner = flat ? 1 : ot_dims_product(x, axis + 1, x->rank);
    OT_TRY(find_slices(n, plan, err));
    for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? plan->count : x->dim[i];
    OT_TRY(ot_op_set(n, n->y[0], x->type, flat ? 1 : x->rank, flat ? &plan->count : dim, err));
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i])
            OT_TRY(ot_op_set(n, n->y[i], OT_INT64, 1, i == 2 ? &plan->length : &plan->count, err));
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct unique_plan *plan = n->plan;
    const int64_t *const list[] = {NULL, plan->first, plan->which, plan->copies};
    const size_t row = (size_t)plan->inner * ot_type_size(n->x[0]->type);
    for (int64_t k = 0; k < plan->outer * plan->count; k++) {
        const int64_t from = k / plan->count * plan->length + plan->first[k % plan->count];
        memcpy((char *)n->y[0]->data + (size_t)k * row,
               (const char *)n->x[0]->data + (size_t)from * row, row);
    }
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) memcpy(n->y[i]->data, list[i], ot_bytes(n->y[i]));
}

static const char *const cases[] = {
    "f{2,1,1,3,4,3} -> f{1,2,3,4} i64{1,0,3,4} i64{1,0,0,2,3,2} i64{2,1,2,1}",
    "f{2,1,1,3,4,3} sorted=0 -> f{2,1,3,4} i64{0,1,3,4} i64{0,1,1,2,3,2} i64{1,2,2,1}",
    "i64[3,3]{1,0,0,1,0,0,2,3,4} axis=0 -> i64[2,3]{1,0,0,2,3,4} i64{0,2} i64{0,0,1} i64{2,1}",
    "f[2,3]{1,1,0,2,2,5} axis=1 -> f[2,2]{0,1,5,2} - i64{1,1,0}",
    "i32{} -> i32{} i64{}",
    "i16{300,-2,300} -> i16{-2,300} i64{1,0}",
    "u64{18446744073709551615,1,2} -> u64{1,2,18446744073709551615}",
    "b{1,0,1} -> b{0,1} i64{1,0}",
    "X[3] -> error: input 0 is not a constant",
    NULL};

const struct op ot_op_Unique = {
    .name = "Unique",
    .since = 11,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 4,
    .attributes = "axis:i sorted:i",
    .plan_size = sizeof(struct unique_plan),
    .prepare = prepare,
    .forward = forward,
    .limits = "the input must be constant",
    .cases = cases,
};
