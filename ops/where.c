/* where.c - y = condition ? a : b, the three broadcast; a and b of any type of fixed size. */
#include "ops/walk/broadcast.h"

struct where_plan {
    struct broadcast whole, split;
    bool full[3];
};

/* y[j] = one of two elements of `size` bytes, as an unsigned integer of that size. */
#define SELECT(type)                                                                               \
    for (int64_t j = 0; j < count; j++)                                                            \
        ((type *)y)[at + j] = c[offset[0] + j * step[0]]                                           \
                                  ? ((const type *)a)[offset[1] + j * step[1]]                     \
                                  : ((const type *)b)[offset[2] + j * step[2]];                    \
    break

static void select_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                           int64_t count, float *out) {
    const struct op_node *n = arg;
    const uint8_t *c = n->x[0]->data;
    const void *a = n->x[1]->data, *b = n->x[2]->data;
    void *y = n->y[0]->data;
    (void)out;
    switch (ot_type_size(n->y[0]->type)) {
    case 1: SELECT(uint8_t);
    case 2: SELECT(uint16_t);
    case 4: SELECT(uint32_t);
    default: SELECT(uint64_t);
    }
}

struct work {
    const struct op_node *n;
    int k;
};

static void gradient_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                             int64_t count, float *out) {
    const struct work *w = arg;
    const uint8_t *c = (const uint8_t *)w->n->x[0]->data + offset[0];
    const float *dy = ot_f(w->n->dy[0]) + at;
    bool chosen = w->k == 1;
    if (!out) out = ot_f(w->n->dx[w->k]) + at;
    for (int64_t j = 0; j < count; j++) out[j] = (c[j * step[0]] != 0) == chosen ? dy[j] : 0;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct where_plan *plan = ot_op_plan(n);
    const struct tensor *const x[] = {n->x[0], n->x[1], n->x[2]};
    struct tensor both = {.rank = 0};
    int rank;
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_op_type(n, 0, OT_BOOL, err));
    OT_TRY(ot_op_type(n, 2, x[1]->type, err));
    if (!ot_type_size(x[1]->type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "inputs 1 and 2 are %s, which is not supported",
                          ot_type_name(x[1]->type));
    OT_TRY(ot_op_broadcast(n, x[1], x[2], &both.rank, both.dim, err));
    OT_TRY(ot_op_broadcast(n, x[0], &both, &rank, dim, err));
    OT_TRY(ot_op_set(n, n->y[0], x[1]->type, rank, dim, err));
    ot_broadcast_build(&plan->whole, n->y[0], x, 3, false);
    ot_broadcast_build(&plan->split, n->y[0], x, 3, true);
    for (int k = 0; k < 3; k++) plan->full[k] = ot_count(x[k]) == plan->whole.count;
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct where_plan *plan = n->plan;
    ot_broadcast_each(n->pool, &plan->whole, select_segment, n);
}

static void backward(struct op_node *n) {
    const struct where_plan *plan = n->plan;
    for (int k = 1; k < 3; k++) {
        struct work w = {n, k};
        if (!n->dx[k]) continue;
        if (plan->full[k])
            ot_broadcast_each(n->pool, &plan->whole, gradient_segment, &w);
        else
            ot_broadcast_reduce(n->pool, &plan->split, k, gradient_segment, &w, ot_f(n->dx[k]));
        ot_op_clear_spare(n->dx[k]);
    }
}

static const char *const cases[] = {
    "C[2,3,4]:b A[2,3,4] B[2,3,4] lanes -> Y[2,3,4]",
    "C[2,3,4]:b A[2,3,4] f(0) lanes -> Y[2,3,4]",
    "C[3,1]:b A[2,1,4] B[] -> Y[2,3,4]",
    "C[1,3,1]:b:c A[2,3,4] B[4]:p lanes -> Y[2,3,4]",
    "b{1,0,1} i64{1,2,3} i64(9) -> i64{1,9,3}",
    "b{1,0} b{0,0} b{1,1} -> b{0,1}",
    "C[2] A[2] B[2] -> error: input 0 is float",
    "C[2]:b A[2] B[3] -> error: do not broadcast",
    "b[2,1]{1,0} f[1,3]{-0.2,-1.5,-0.4} f[2,1]{-1.2,-1} -> f[2,3]{-0.2,-1.5,-0.4,-1,-1,-1}",
    NULL,
};

const struct op ot_op_Where = {
    .name = "Where",
    .since = 9,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "",
    .needs = OT_X(0),
    .parameters = 6,
    .plan_size = sizeof(struct where_plan),
    .lanes = ot_broadcast_lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
