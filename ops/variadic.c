/* variadic.c - Max, Min, Sum and Mean of one or more broadcast tensors. In Max and Min NaN wins,
 * and the inputs that gave the result share the gradient in equal parts. */
#include <string.h>

#include "ops/number.h"
#include "ops/walk/broadcast.h"

/* Which inputs gave a result, as the save area keeps it: bits 0 to 30 for the first inputs; or,
 * with bit 31, the number of one, which stands behind them. */
enum { MOST_TIES = 31 };
static const uint32_t one_alone = UINT32_C(1) << 31;

static uint32_t alone(int k) { return k < MOST_TIES ? UINT32_C(1) << k : one_alone | (uint32_t)k; }

/* The share that input k has of the gradient. */
static inline float share(uint32_t winners, int k) {
    if (winners == alone(k)) return 1;
    if (winners & one_alone || k >= MOST_TIES || !(winners >> k & 1)) return 0;
    return 1 / (float)__builtin_popcount(winners);
}

struct operand {
    struct broadcast whole, split;
    bool full;
};

struct variadic_plan {
    bool max, sum;           /* Max; Sum or Mean */
    float scale;             /* of a sum */
    struct operand *operand; /* one an input */
};

struct work {
    const struct op_node *n;
    int k;
};

/* y = y + x[k] */
static void sum_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                        int64_t count, float *out) {
    const struct work *w = arg;
    const struct variadic_plan *plan = w->n->plan;
    const float *x = ot_f(w->n->x[w->k]) + offset[0];
    float *y = ot_f(w->n->y[0]) + at;
    const bool last = w->k == w->n->n_in - 1;
    (void)out;
    for (int64_t j = 0; j < count; j++)
        y[j] = ((w->k ? y[j] : 0) + x[j * step[0]]) * (last ? plan->scale : 1);
}

/* y = the better of y and x[k]; the save area keeps whose it is. */
static void float_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                          int64_t count, float *out) {
    const struct work *w = arg;
    const struct variadic_plan *plan = w->n->plan;
    const float *x = ot_f(w->n->x[w->k]) + offset[0];
    float *y = ot_f(w->n->y[0]) + at;
    uint32_t *winners = w->n->save_size ? (uint32_t *)w->n->save + at : NULL;
    (void)out;
    for (int64_t j = 0; j < count; j++) {
        float v = x[j * step[0]];
        bool better = w->k == 0 || (y[j] == y[j] && !(plan->max ? v <= y[j] : v >= y[j]));
        if (winners && !better && v == y[j] && w->k < MOST_TIES) winners[j] |= alone(w->k);
        if (!better) continue;
        y[j] = v;
        if (winners) winners[j] = alone(w->k);
    }
}

static void integer_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                            int64_t count, float *out) {
    const struct work *w = arg;
    const struct variadic_plan *plan = w->n->plan;
    const struct tensor *x = w->n->x[w->k], *y = w->n->y[0];
    (void)out;
    for (int64_t j = 0; j < count; j++) {
        const int64_t from = offset[0] + j * step[0];
        int64_t v = ot_load_ordered(x->data, x->type, from);
        int64_t old = ot_load_ordered(y->data, y->type, at + j);
        if (w->k == 0 || (plan->max ? v > old : v < old))
            ot_store_integer(y->data, y->type, at + j, ot_load_integer(x->data, x->type, from));
    }
}

static void gradient_segment(void *arg, int64_t at, const int64_t *offset, const int *step,
                             int64_t count, float *out) {
    const struct work *w = arg;
    const struct variadic_plan *plan = w->n->plan;
    const float *dy = ot_f(w->n->dy[0]) + at;
    const uint32_t *winners = plan->sum ? NULL : (const uint32_t *)w->n->save + at;
    (void)offset;
    (void)step;
    if (!out) out = ot_f(w->n->dx[w->k]) + at;
    for (int64_t j = 0; plan->sum && j < count; j++) out[j] = dy[j] * plan->scale;
    for (int64_t j = 0; winners && j < count; j++) out[j] = share(winners[j], w->k) * dy[j];
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct variadic_plan *plan = ot_op_plan(n);
    struct tensor *y = n->y[0];
    const bool mean = !strcmp(n->op->name, "Mean");
    int rank = 0;
    int64_t dim[OT_MAX_RANK];
    plan->max = !strcmp(n->op->name, "Max");
    plan->sum = mean || !strcmp(n->op->name, "Sum");
    plan->scale = mean ? 1.0f / (float)n->n_in : 1;
    ot_type type = ot_is_integer(n->x[0]->type) && !plan->sum ? n->x[0]->type : OT_FLOAT;
    plan->operand = ot_arena_alloc(n->arena, (size_t)n->n_in, sizeof *plan->operand);
    if (!plan->operand) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    struct tensor so_far = {.rank = 0};
    for (int i = 0; i < n->n_in; i++) {
        OT_TRY(ot_op_type(n, i, type, err));
        OT_TRY(ot_op_broadcast(n, &so_far, n->x[i], &rank, dim, err));
        so_far.rank = rank;
        memcpy(so_far.dim, dim, sizeof dim);
    }
    OT_TRY(ot_op_set(n, y, type, rank, dim, err));
    for (int i = 0; i < n->n_in; i++) {
        const struct tensor *const x[] = {n->x[i]};
        ot_broadcast_build(&plan->operand[i].whole, y, x, 1, false);
        ot_broadcast_build(&plan->operand[i].split, y, x, 1, true);
        plan->operand[i].full = ot_count(x[0]) == ot_count(y);
    }
    if (n->want && !plan->sum) n->save_size = (size_t)ot_count(y) * sizeof(int32_t);
    return OT_OK;
}

static void forward(struct op_node *n) {
    const struct variadic_plan *plan = n->plan;
    ot_segment_fn *fn = plan->sum                   ? sum_segment
                        : n->y[0]->type != OT_FLOAT ? integer_segment
                                                    : float_segment;
    for (int k = 0; k < n->n_in; k++) {
        struct work w = {n, k};
        ot_broadcast_each(n->pool, &plan->operand[k].whole, fn, &w);
    }
}

static void backward(struct op_node *n) {
    const struct variadic_plan *plan = n->plan;
    for (int k = 0; k < n->n_in; k++) {
        const struct operand *o = &plan->operand[k];
        struct work w = {n, k};
        if (!n->dx[k]) continue;
        if (o->full)
            ot_broadcast_each(n->pool, &o->whole, gradient_segment, &w);
        else
            ot_broadcast_reduce(n->pool, &o->split, 0, gradient_segment, &w, ot_f(n->dx[k]));
    }
}

static const char *const max_cases[] = {
    "A[2,3,4] B[2,3,4] distinct lanes -> Y[2,3,4]",
    "A[2,3,4] B[3,1]:p C[]:p distinct lanes -> Y[2,3,4]",
    "A[3,1] B[2,1,4] distinct -> Y[2,3,4]",
    "A[2,3] -> Y[2,3]",
    "f{1,nan,3} f{2,0,nan} -> f{2,nan,nan}",
    "f{0,1,2}:x f{1,1,1}:x -> f{1,1,2} d0=f{0,0.5,1} d1=f{1,0.5,0}",
    "i64{1,5} i64(3) i64{0,9} -> i64{3,9}",
    "u64{1,18446744073709551615} u64(3) -> u64{3,18446744073709551615}",
    "A[2] B[3] -> error: do not broadcast",
    "f[2,1]{1,-0.9} f{-0.1,1.9,1.8} f[2,3]{0.9,0.2,-0.9,-1.4,1.9,0.1} -> f[2,3]{1,1.9,1.8,"
    "-0.1,1.9,1.8}",
    NULL,
};
static const char *const min_cases[] = {
    "A[2,3,4] B[2,3,4] distinct lanes -> Y[2,3,4]",
    "A[2,3,4] B[4]:p distinct lanes -> Y[2,3,4]",
    "f{1,nan,3} f{2,0,nan} -> f{1,nan,nan}",
    "f{0,1,2}:x f{1,1,1}:x -> f{0,1,1} d0=f{1,0.5,0} d1=f{0,0.5,1}",
    "i64{1,5} i64(3) -> i64{1,3}",
    NULL,
};

static const char *const sum_cases[] = {
    "A[2,3,4] B[2,3,4] C[2,3,4] lanes -> Y[2,3,4]",
    "A[2,3,4] B[3,1]:p C[]:p lanes -> Y[2,3,4]",
    "A[3,1] B[2,1,4] -> Y[2,3,4]",
    "A[2,3] lanes -> Y[2,3]",
    "f{3,0,2} f{1,3,4} f{2,6,6} @6 -> f{6,9,12}",
    "i64{1} i64{2} -> error: input 0 is int64",
    NULL,
};
static const char *const mean_cases[] = {
    "A[2,3,4] B[2,3,4] C[2,3,4] lanes -> Y[2,3,4]",
    "A[2,3,4] B[4]:p lanes -> Y[2,3,4]",
    "A[2,3] -> Y[2,3]",
    "f{3,0,2} f{1,3,4} f{2,6,6} -> f{2,3,4}",
    NULL,
};

#define VARIADIC(word, list)                                                                       \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 6,                                                                                \
        .min_in = 1,                                                                               \
        .max_in = -1,                                                                              \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = "",                                                                          \
        .needs = 0,                                                                                \
        .plan_size = sizeof(struct variadic_plan),                                                 \
        .lanes = ot_broadcast_lanes,                                                               \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .cases = list,                                                                             \
    }
VARIADIC(Max, max_cases);
VARIADIC(Min, min_cases);
VARIADIC(Sum, sum_cases);
VARIADIC(Mean, mean_cases);
