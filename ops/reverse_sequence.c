/* reverse_sequence.c - ReverseSequence: the first sequence_lens[b] steps of sample b, last first;
 * the others stay. So is the gradient. */
#include <string.h>

#include "ops/op.h"

struct reverse_sequence_plan {
    bool batch_first;
    int64_t steps, batch, inner;
};

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *lengths = n->x[1];
    struct reverse_sequence_plan *plan = ot_op_plan(n);
    const int64_t batch = ot_attr_int(n->node, "batch_axis", 1);
    const int64_t time = ot_attr_int(n->node, "time_axis", 0);
    if (!ot_type_size(x->type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(x->type));
    OT_TRY(ot_op_type(n, 1, OT_INT64, err));
    if (x->rank < 2 || batch < 0 || batch > 1 || time != 1 - batch)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attributes 'batch_axis' %lld and 'time_axis' %lld do not fit an input of rank %d",
            (long long)batch, (long long)time, x->rank);
    plan->batch_first = batch == 0;
    plan->steps = x->dim[time];
    plan->batch = x->dim[batch];
    plan->inner = ot_dims_product(x, 2, x->rank);
    if (lengths->rank != 1 || lengths->dim[0] != plan->batch)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 1 (sequence_lens) is not a list of %lld lengths",
                          (long long)plan->batch);
    for (int64_t b = 0; lengths->role == OT_ROLE_CONST && b < plan->batch; b++) {
        const int64_t length = ((const int64_t *)lengths->data)[b];
        if (length < 0 || length > plan->steps)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 1 (sequence_lens) contains %lld, but there are %lld steps",
                              (long long)length, (long long)plan->steps);
    }
    ot_op_like(n->y[0], x);
    return OT_OK;
}

/* Steps of sample b to reverse, within range whatever came. */
static int64_t length_of(const struct op_node *n, int64_t b) {
    const struct reverse_sequence_plan *plan = n->plan;
    const int64_t length = ((const int64_t *)n->x[1]->data)[b];
    return length < 0 ? 0 : length > plan->steps ? plan->steps : length;
}

static void reverse(const struct op_node *n, const void *from, void *to) {
    const struct reverse_sequence_plan *plan = n->plan;
    const size_t row = (size_t)plan->inner * ot_type_size(n->x[0]->type);
    const int64_t step = plan->batch_first ? 1 : plan->batch,
                  sample = plan->batch_first ? plan->steps : 1;
    for (int64_t b = 0; b < plan->batch; b++) {
        const int64_t length = length_of(n, b);
        for (int64_t t = 0; t < plan->steps; t++) {
            const int64_t source = t < length ? length - 1 - t : t;
            memcpy((char *)to + (size_t)(b * sample + t * step) * row,
                   (const char *)from + (size_t)(b * sample + source * step) * row, row);
        }
    }
}

static void forward(struct op_node *n) {
    const struct reverse_sequence_plan *plan = n->plan;
    for (int64_t b = 0; b < plan->batch; b++)
        if (((const int64_t *)n->x[1]->data)[b] != length_of(n, b)) ot_op_bad_index(n, b);
    reverse(n, n->x[0]->data, n->y[0]->data);
}

static void backward(struct op_node *n) {
    if (n->dx[0]) reverse(n, n->dy[0]->data, n->dx[0]->data);
}

static const char *const cases[] = {
    "X[4,3,2] i64{4,2,0} -> Y[4,3,2]",
    "X[3,4] i64{1,3,9}:x batch_axis=0 time_axis=1 -> Y[3,4]",
    "f[4,2]{0,4,1,5,2,6,3,7} i64{4,3} -> f[4,2]{3,6,2,5,1,4,0,7}",
    "X[4,3] i64{4,5,0} -> error: input 1 (sequence_lens) contains 5",
    "X[4,3] i64{4,0} -> error: not a list of 3",
    "X[4,3] i64{4,0,1} batch_axis=1 time_axis=1 -> error: attributes 'batch_axis' 1 and "
    "'time_axis' 1 do not fit an input of rank 2",
    NULL};

const struct op ot_op_ReverseSequence = {
    .name = "ReverseSequence",
    .since = 10,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "batch_axis:i time_axis:i",
    .needs = OT_X(1),
    .plan_size = sizeof(struct reverse_sequence_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
