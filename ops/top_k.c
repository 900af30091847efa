/* top_k.c - TopK: the k largest (or smallest) elements along an axis, sorted, and their indices; of
 * equal ones that with the lower index comes first, and NaN is larger than any number.
 *
 * Forward keeps the indices for its own backward, which gives dy to the elements chosen.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/walk/index.h"

struct top_k_plan {
    int64_t outer, length, inner, k;
    bool largest;
};

static ot_status read_k(const struct op_node *n, int64_t *k, ot_error *err) {
    const int64_t *list;
    int count;
    *k = ot_attr_int(n->node, "k", -1);
    if (n->node->opset < 10) return OT_OK;
    OT_TRY(ot_op_ints(n, 1, &list, &count, err));
    if (count != 1) return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 is not a single number");
    *k = *list;
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct top_k_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    int axis;
    if (!ot_is_integer(x->type)) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", -1), x->rank, &axis, err));
    ot_op_along(n, axis);
    OT_TRY(read_k(n, &plan->k, err));
    if (plan->k < 0 || plan->k > x->dim[axis] || x->dim[axis] > INT32_MAX)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "k is %lld, but the axis has extent %lld",
                          (long long)plan->k, (long long)x->dim[axis]);
    for (int i = 0; i < x->rank; i++) dim[i] = i == axis ? plan->k : x->dim[i];
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, dim, err));
    OT_TRY(ot_op_set(n, n->y[1], OT_INT64, x->rank, dim, err));
    plan->outer = ot_dims_product(x, 0, axis);
    plan->length = x->dim[axis];
    plan->inner = ot_dims_product(x, axis + 1, x->rank);
    plan->largest = ot_attr_int(n->node, "largest", 1) != 0;
    n->save_size = (size_t)(plan->outer * plan->inner * plan->k) * sizeof(int32_t);
    return OT_OK;
}

/* Does element a of the line at x come before element b? */
static bool before(const struct op_node *n, const struct top_k_plan *plan, int64_t x, int32_t a,
                   int32_t b) {
    const int64_t i = x + a * plan->inner, j = x + b * plan->inner;
    int order; /* > 0: a is larger */
    if (n->x[0]->type == OT_FLOAT) {
        const float p = ot_f(n->x[0])[i], q = ot_f(n->x[0])[j];
        order = isnan(p) || isnan(q) ? !!isnan(p) - !!isnan(q) : (p > q) - (p < q);
    } else {
        const int64_t p = ot_load_ordered(n->x[0]->data, n->x[0]->type, i);
        const int64_t q = ot_load_ordered(n->x[0]->data, n->x[0]->type, j);
        order = (p > q) - (p < q);
    }
    if (order) return plan->largest ? order > 0 : order < 0;
    return a < b;
}

/* Restores the heap below i: the last in order is on top. */
static void sink(const struct op_node *n, const struct top_k_plan *plan, int64_t x, int32_t *heap,
                 int64_t i, int64_t size) {
    for (int64_t child = 2 * i + 1; child < size; child = 2 * i + 1) {
        if (child + 1 < size && before(n, plan, x, heap[child], heap[child + 1])) child++;
        if (!before(n, plan, x, heap[i], heap[child])) return;
        const int32_t swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
        i = child;
    }
}

/* The first k of a line in their order, by a heap of k elements. */
static void choose_largest(const struct op_node *n, const struct top_k_plan *plan, int64_t x,
                           int32_t *heap) {
    for (int32_t i = 0; i < plan->k; i++) heap[i] = i;
    for (int64_t i = plan->k / 2 - 1; i >= 0; i--) sink(n, plan, x, heap, i, plan->k);
    for (int32_t i = (int32_t)plan->k; i < plan->length && plan->k > 0; i++) {
        if (!before(n, plan, x, i, heap[0])) continue;
        heap[0] = i;
        sink(n, plan, x, heap, 0, plan->k);
    }
    for (int64_t last = plan->k - 1; last > 0; last--) {
        const int32_t swap = heap[0];
        heap[0] = heap[last];
        heap[last] = swap;
        sink(n, plan, x, heap, 0, last);
    }
}

static void copy_element(const struct op_node *n, int64_t from, int64_t to) {
    const size_t size = ot_type_size(n->x[0]->type);
    memcpy((char *)n->y[0]->data + (size_t)to * size,
           (const char *)n->x[0]->data + (size_t)from * size, size);
}

/* First elements of line number `line` in x and in y. */
static void places(const struct top_k_plan *plan, int64_t line, int64_t *x, int64_t *y) {
    *x = line / plan->inner * plan->length * plan->inner + line % plan->inner;
    *y = line / plan->inner * plan->k * plan->inner + line % plan->inner;
}

static void forward_line(void *arg, int line, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct top_k_plan *plan = n->plan;
    int32_t *chosen = (int32_t *)n->save + line * plan->k;
    int64_t x, y;
    places(plan, line, &x, &y);
    choose_largest(n, plan, x, chosen);
    for (int64_t i = 0; i < plan->k; i++) {
        copy_element(n, x + chosen[i] * plan->inner, y + i * plan->inner);
        ((int64_t *)n->y[1]->data)[y + i * plan->inner] = chosen[i];
    }
}

static void forward(struct op_node *n) {
    const struct top_k_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(plan->outer * plan->inner), forward_line, n);
}

static void backward_line(void *arg, int line, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct top_k_plan *plan = n->plan;
    const int32_t *chosen = (const int32_t *)n->save + line * plan->k;
    int64_t x, y;
    places(plan, line, &x, &y);
    for (int64_t i = 0; i < plan->k; i++)
        ot_f(n->dx[0])[x + chosen[i] * plan->inner] = ot_f(n->dy[0])[y + i * plan->inner];
}

static void backward(struct op_node *n) {
    const struct top_k_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    ot_parallel_for(n->pool, (int)(plan->outer * plan->inner), backward_line, n);
}

static const char *const cases[] = {
    "X[3,7] i64{3} distinct -> Y[3,3] I[3,3]:i64",
    "X[3,7,2] i64{4} axis=1 largest=0 distinct -> Y[3,4,2] I[3,4,2]:i64",
    "X[2,40] i64{40} distinct range=-9,9 -> Y[2,40] I[2,40]:i64",
    "X[3,7] k=2 axis=0 distinct @1 -> Y[2,7] I[2,7]:i64",
    "X[3,7] i64{0} -> Y[3,0] I[3,0]:i64",
    "f{3,1,nan,3,2} i64{4} -> f{nan,3,3,2} i64{2,0,3,4}",
    "f{3,1,nan,3,2} i64{4} largest=0 -> f{1,2,3,3} i64{1,4,0,3}",
    "i64{3,-1,7} i64{2} sorted=0 -> i64{7,3} i64{2,0}",
    "i32{3,-1,7} i64{1} -> i32{7} i64{2}",
    "u8{3,255,7} i64{2} -> u8{255,7} i64{1,2}",
    "u64{3,18446744073709551615,7} i64{2} -> u64{18446744073709551615,7} i64{1,2}",
    "X[3,7] i64{8} -> error: k is 8",
    "X[3,7] @1 -> error: k is -1",
    "X[3,7] i64{1} axis=2 -> error: axis 2",
    NULL};

const struct op ot_op_TopK = {
    .name = "TopK",
    .since = 1,
    .min_in = 1,
    .max_in = 2,
    .min_out = 2,
    .max_out = 2,
    .attributes = "axis:i k:i largest:i sorted:i",
    .plan_size = sizeof(struct top_k_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "k must be constant",
    .cases = cases,
};
