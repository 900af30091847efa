/* max_unpool.c - MaxUnpool: y = 0, and x where Indices of a MaxPool say; they count in the tensor
 * that the window's attributes give, also where output_shape asks for a larger one.
 *
 * Of several x for one place the last one stays, and it alone gets the gradient.
 */
#include "ops/walk/indices.h"

struct max_unpool_plan {
    int64_t count; /* of the tensor that indices count in */
    int64_t inferred[OT_MAX_RANK];
};

/* Extent of each spatial axis: (in - 1) stride + kernel - pads. */
static ot_status infer(const struct op_node *n, struct max_unpool_plan *plan, ot_error *err) {
    const struct tensor *x = n->x[0];
    const int spatial = x->rank - 2;
    int kernels, strides, pads;
    const int64_t *kernel = ot_attr_ints(n->node, "kernel_shape", &kernels);
    const int64_t *stride = ot_attr_ints(n->node, "strides", &strides);
    const int64_t *pad = ot_attr_ints(n->node, "pads", &pads), most = (int64_t)1 << 30;
    if (spatial < 1 || kernels != spatial || (strides && strides != spatial) ||
        (pads && pads != 2 * spatial))
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "'kernel_shape' has %d values, 'strides' %d and 'pads' %d, for %d spatial axes",
            kernels, strides, pads, spatial);
    for (int i = 0; i < x->rank; i++) {
        plan->inferred[i] = x->dim[i];
        if (i < 2) continue;
        const int64_t k = kernel[i - 2], t = strides ? stride[i - 2] : 1;
        const int64_t begin = pads ? pad[i - 2] : 0, end = pads ? pad[i - 2 + spatial] : 0;
        if (k < 1 || k > most || t < 1 || t > most || begin < 0 || begin > most || end < 0 ||
            end > most || x->dim[i] < 1 || x->dim[i] > most)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "the window along axis %d is invalid", i);
        plan->inferred[i] = (x->dim[i] - 1) * t + k - begin - end;
        if (plan->inferred[i] < 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "axis %d of the result would have extent %lld", i,
                              (long long)plan->inferred[i]);
    }
    if (!ot_shape_count(plan->inferred, x->rank, (int64_t)1 << 40, &plan->count))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has more than 2^40 elements");
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct max_unpool_plan *plan = ot_op_plan(n);
    const int64_t *shape;
    int count;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_INT64, err));
    OT_TRY(infer(n, plan, err));
    if (!ot_same_shape(x, n->x[1]))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "inputs 0 and 1 differ in shape");
    OT_TRY(ot_op_ints(n, 2, &shape, &count, err));
    for (int i = 0; i < x->rank && shape; i++)
        if (count != x->rank || shape[i] < plan->inferred[i] || (i < 2 && shape[i] != x->dim[i]))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 2 (output_shape) is too small for axis %d", i);
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, x->rank, shape ? shape : plan->inferred, err));
    n->backward_scratch_size = (size_t)ot_elements(n->y[0]) * sizeof(int64_t);
    return ot_indices_check(n, &(struct ranges){1, {plan->count}}, err);
}

/* Where element k of x goes in y. */
static int64_t output_index(const struct op_node *n, int64_t k) {
    const struct max_unpool_plan *plan = n->plan;
    const struct tensor *y = n->y[0];
    int64_t rest = ot_index_in(n->x[1], k, plan->count), at = 0, stride = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        at += rest % plan->inferred[i] * stride;
        rest /= plan->inferred[i];
        stride *= y->dim[i];
    }
    return at;
}

static void forward(struct op_node *n) {
    const struct max_unpool_plan *plan = n->plan;
    ot_indices_watch(n, &(struct ranges){1, {plan->count}});
    ot_fill(n->pool, n->y[0]->data, ot_elements(n->y[0]), sizeof(float), NULL);
    for (int64_t k = 0; k < ot_elements(n->x[0]); k++)
        ot_f(n->y[0])[output_index(n, k)] = ot_f(n->x[0])[k];
}

static void backward(struct op_node *n) {
    int64_t *owner = n->scratch;
    const int64_t count = ot_elements(n->x[0]);
    if (!n->dx[0]) return;
    for (int64_t k = 0; k < count; k++) owner[output_index(n, k)] = k;
    for (int64_t k = 0; k < count; k++) {
        const int64_t at = output_index(n, k);
        ot_f(n->dx[0])[k] = owner[at] == k ? ot_f(n->dy[0])[at] : 0;
    }
}

static const char *const cases[] = {
    "X[1,2,2,2] i64[1,2,2,2]{0,3,10,15,17,16,30,31} kernel_shape=2,2 strides=2,2 -> Y[1,2,4,4]",
    "X[1,1,3] i64[1,1,3]{1,1,2}:x kernel_shape=2 -> Y[1,1,4]",
    "f[1,1,2,2]{5,6,7,8} i64[1,1,2,2]{5,7,13,15} i64{1,1,5,5} kernel_shape=2,2 strides=2,2 -> "
    "f[1,1,5,5]{0,0,0,0,0,0,5,0,6,0,0,0,0,0,0,0,7,0,8,0,0,0,0,0,0}",
    "X[1,1,3] i64[1,1,3]{1,1,4} kernel_shape=2 -> error: index 4",
    "X[1,1,3] i64[1,1,3]{1,1,2} i64{1,1,3} kernel_shape=2 -> error: too small for axis 2",
    "X[1,1,3] i64[1,1,3]{1,1,2} kernel_shape=2,2 -> error: 'kernel_shape' has 2 values, 'strides' "
    "0 and 'pads' 0, for 1 spatial axes",
    NULL};

const struct op ot_op_MaxUnpool = {
    .name = "MaxUnpool",
    .since = 9,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "kernel_shape:I pads:I strides:I",
    .needs = OT_X(1),
    .plan_size = sizeof(struct max_unpool_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "output_shape must be constant",
    .cases = cases,
};
