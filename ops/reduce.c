/* reduce.c - ReduceSum, ReduceMean, ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum,
 * ReduceLogSumExp, ReduceMax, ReduceMin, ReduceProd over some axes, and GlobalAveragePool and
 * GlobalMaxPool, which are ReduceMean and ReduceMax over all spatial axes.
 *
 * Equal extremes share the gradient in equal parts; of GlobalMaxPool the first one has it, as of
 * MaxPool.
 */
#include "ops/walk/fold.h"

#include <string.h>

#include "ops/kernels/exponential.h"
#include "ops/number.h"
#include "ops/walk/scale.h"

enum { RESULTS = 64 }; /* of a task */

/* What the operators of this file are. */
static const struct kind {
    const char *name;
    enum fold fold;
    bool mean;
    int input_axes; /* opset from which axes are an input; 0: no axes, the spatial ones are meant */
} kinds[] = {
    {"ReduceSum", OT_FOLD_SUM, false, 13},
    {"ReduceMean", OT_FOLD_SUM, true, 18},
    {"ReduceL1", OT_FOLD_ABS, false, 18},
    {"ReduceL2", OT_FOLD_NORM, false, 18},
    {"ReduceSumSquare", OT_FOLD_SQUARES, false, 18},
    {"ReduceLogSum", OT_FOLD_LOG_SUM, false, 18},
    {"ReduceLogSumExp", OT_FOLD_LOG_SUM_EXP, false, 18},
    {"ReduceMax", OT_FOLD_MAX, false, 18},
    {"ReduceMin", OT_FOLD_MIN, false, 18},
    {"ReduceProd", OT_FOLD_PROD, false, 18},
    {"GlobalAveragePool", OT_FOLD_SUM, true, 0},
    {"GlobalMaxPool", OT_FOLD_MAX, false, 0},
};

struct reduce_plan {
    struct move move; /* from x to y, to_stride 0 where it is reduced */
    enum fold fold;
    int64_t divisor;        /* of a mean: how many elements make one result; else 1 */
    bool trails;            /* sums of all that stands behind some leading axes: */
    struct scale_view view; /* pieces of x, with these sums beside them */
    float scale;
};

static const struct kind *kind_of(const struct op_node *n) {
    const struct kind *k = kinds;
    while (strcmp(k->name, n->op->name) != 0) k++;
    return k;
}

/* Bit i: axis i of x is reduced. */
static ot_status read_axes(const struct op_node *n, uint32_t *axes, ot_error *err) {
    const int opset = kind_of(n)->input_axes, rank = n->x[0]->rank;
    const uint32_t all = (1u << rank) - 1;
    const int64_t *list = NULL;
    int count = 0;
    if (!opset) {
        if (rank < 3)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 3",
                              rank);
        *axes = all & ~3u;
        return OT_OK;
    }
    if (n->node->opset < opset)
        list = ot_attr_ints(n->node, "axes", &count);
    else
        OT_TRY(ot_op_ints(n, 1, &list, &count, err));
    *axes = count || ot_attr_int(n->node, "noop_with_empty_axes", 0) ? 0 : all;
    for (int i = 0; i < count; i++) {
        int axis;
        OT_TRY(ot_op_axis(n, list[i], rank, &axis, err));
        if (*axes >> axis & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis);
        *axes |= 1u << axis;
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    uint32_t axes;
    return !read_axes(n, &axes, NULL) && !(axes & ((1u << lane_rank) - 1));
}

static ot_status set_shape(struct op_node *n, uint32_t axes, ot_error *err) {
    const struct tensor *x = n->x[0];
    const bool keep = !kind_of(n)->input_axes || ot_attr_int(n->node, "keepdims", 1);
    int64_t dim[OT_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (keep || !(axes >> i & 1)) dim[rank++] = axes >> i & 1 ? 1 : x->dim[i];
    return ot_op_set(n, n->y[0], x->type, rank, dim, err);
}

/* Integers; bools, for which largest is "any", where the result is an element. The standard has
 * global pooling of floats alone. */
static ot_status check_type(const struct op_node *n, ot_error *err) {
    const struct kind *kind = kind_of(n);
    const ot_type type = n->x[0]->type;
    const bool extreme = kind->fold == OT_FOLD_MAX || kind->fold == OT_FOLD_MIN;
    if (kind->input_axes && (ot_is_integer(type) || (extreme && type == OT_BOOL))) return OT_OK;
    return ot_op_type(n, 0, OT_FLOAT, err);
}

/* Of integers. */
static bool has_fractions(const struct kind *kind) {
    return kind->mean || kind->fold == OT_FOLD_NORM || kind->fold == OT_FOLD_LOG_SUM ||
           kind->fold == OT_FOLD_LOG_SUM_EXP;
}

/* Whether these axes are the last ones, and their sums elements that hold for them all. */
static bool find_trailing(const struct tensor *x, uint32_t axes, struct scale_view *view) {
    struct tensor sums = *x;
    for (int d = 0; d < x->rank; d++)
        if (axes >> d & 1) sums.dim[d] = 1;
    return ot_scale_find(x, &sums, view) && !view->by_group && ot_scale_pays(view);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    const struct kind *kind = kind_of(n);
    struct reduce_plan *plan = ot_op_plan(n);
    uint32_t axes;
    OT_TRY(check_type(n, err));
    OT_TRY(read_axes(n, &axes, err));
    OT_TRY(set_shape(n, axes, err));
    if (axes & 1) ot_op_along(n, 0);
    const int64_t reduced = ot_fold_move(x, axes, &plan->move);
    plan->fold = kind->fold;
    plan->divisor = kind->mean ? reduced : 1;
    plan->scale = kind->mean ? 1.0f / (float)reduced : 1;
    plan->trails =
        plan->fold == OT_FOLD_SUM && x->type == OT_FLOAT && find_trailing(x, axes, &plan->view);
    if (plan->trails) n->backward_scratch_size = ot_bytes(n->y[0]);
    if (x->type != OT_FLOAT && has_fractions(kind))
        n->forward_scratch_size = (size_t)ot_count(n->y[0]) * sizeof(double);
    if (kind->fold == OT_FOLD_MAX || kind->fold == OT_FOLD_MIN)
        n->backward_scratch_size = ot_bytes(n->y[0]);
    if (kind->fold == OT_FOLD_PROD) n->backward_scratch_size = 2 * ot_bytes(n->y[0]);
    return OT_OK;
}

static void scale_all(const float *x, float scale, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale;
}

static void forward(struct op_node *n) {
    const struct reduce_plan *plan = n->plan;
    const float *x = n->x[0]->data;
    float *y = n->y[0]->data;
    if (n->x[0]->type != OT_FLOAT) {
        if (has_fractions(kind_of(n)))
            ot_fold_fractions(&plan->move, plan->fold, n->x[0], plan->divisor, n->scratch, n->y[0]);
        else
            ot_fold_integers(&plan->move, plan->fold, n->x[0], n->y[0]);
        return;
    }
    if (plan->trails) {
        ot_scale_backward(n, &plan->view, NULL, NULL, x, NULL, y);
        scale_all(y, plan->scale, ot_count(n->y[0]), y);
        ot_op_clear_spare(n->y[0]);
        return;
    }
    const bool exponentials = plan->fold == OT_FOLD_LOG_SUM_EXP;
    if (exponentials) ot_fold(n->pool, &plan->move, OT_FOLD_MAX, x, NULL, 1, y);
    ot_fold(n->pool, &plan->move, plan->fold, x, exponentials ? y : NULL, plan->scale, y);
    ot_op_clear_spare(n->y[0]);
}

/* ---- backward: dx from what stands at the place of the result ---- */

struct back {
    const float *x, *y, *dy;
    const float *a, *b; /* ties; zeros and the product of the others */
    float *dx;
    float scale;
    enum fold fold;
};

/* dx of one element; j: its result */
static float element_gradient(const struct back *b, float x, int64_t j) {
    switch (b->fold) {
    case OT_FOLD_ABS: return b->dy[j] * (float)((x > 0) - (x < 0));
    case OT_FOLD_SQUARES: return b->dy[j] * 2 * x;
    case OT_FOLD_LOG_SUM: return b->dy[j] * ot_exp(-b->y[j]);
    case OT_FOLD_LOG_SUM_EXP: return b->dy[j] * ot_exp(x - b->y[j]);
    case OT_FOLD_NORM: return b->y[j] > 0 ? b->dy[j] * x / b->y[j] : 0;
    case OT_FOLD_MAX:
    case OT_FOLD_MIN: return x == b->y[j] ? b->dy[j] / b->a[j] : 0;
    case OT_FOLD_PROD:
        if (b->a[j] > 1 || (b->a[j] == 1 && x != 0)) return 0;
        return b->dy[j] * (x == 0 ? b->b[j] : b->b[j] / x);
    default: return b->dy[j] * b->scale;
    }
}

static void back_run(void *arg, int64_t from, int64_t to, int64_t n, int64_t from_stride,
                     int64_t to_stride) {
    const struct back *b = arg;
    if (b->fold == OT_FOLD_SUM) {
        for (int64_t i = 0; i < n; i++)
            b->dx[from + i * from_stride] = b->dy[to + i * to_stride] * b->scale;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = from + i * from_stride;
        b->dx[k] = element_gradient(b, b->x[k], to + i * to_stride);
    }
}

/* One result a lane: [results][elements of each][lanes]. */
static void first_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const int64_t lanes = n->x[0]->lanes ? n->x[0]->lanes : 1, count = ot_count(n->y[0]);
    const int64_t length = count ? ot_count(n->x[0]) / count : 0;
    int64_t from, to;
    (void)worker;
    ot_task_range(count, RESULTS, task, &from, &to);
    for (int64_t j = from; j < to; j++) {
        const int64_t at = j / lanes * length * lanes + j % lanes;
        const float most = ot_f(n->y[0])[j];
        bool taken = false;
        for (int64_t k = at; k < at + length * lanes; k += lanes) {
            const bool first = !taken && ot_f(n->x[0])[k] == most;
            ot_f(n->dx[0])[k] = first ? ot_f(n->dy[0])[j] : 0;
            taken |= first;
        }
    }
}

static void backward(struct op_node *n) {
    const struct reduce_plan *plan = n->plan;
    if (!n->dx[0]) return;
    if (plan->trails) {
        scale_all(ot_f(n->dy[0]), plan->scale, ot_count(n->dy[0]), n->scratch);
        ot_scale_forward(n, &plan->view, NULL, n->scratch, ot_f(n->dx[0]));
        return;
    }
    if (plan->fold == OT_FOLD_MAX && !kind_of(n)->input_axes) {
        ot_parallel_for(n->pool, ot_task_count(ot_count(n->y[0]), RESULTS), first_task, n);
        return;
    }
    const float *x = n->x[0]->data;
    float *scratch = n->scratch;
    struct back b = {.x = x,
                     .y = n->y[0]->data,
                     .dy = n->dy[0]->data,
                     .dx = n->dx[0]->data,
                     .scale = plan->scale,
                     .fold = plan->fold};
    if (plan->fold == OT_FOLD_MAX || plan->fold == OT_FOLD_MIN) {
        ot_fold(n->pool, &plan->move, OT_FOLD_TIES, x, b.y, 1, scratch);
        b.a = scratch;
    } else if (plan->fold == OT_FOLD_PROD) {
        float *product = scratch + ot_count(n->y[0]);
        ot_fold(n->pool, &plan->move, OT_FOLD_ZEROS, x, NULL, 1, scratch);
        ot_fold(n->pool, &plan->move, OT_FOLD_PROD_NONZERO, x, NULL, 1, product);
        b.a = scratch;
        b.b = product;
    }
    ot_move_each(n->pool, &plan->move, back_run, &b);
}

/* ---- records ---- */

static const char *const mean_cases[] = {
    "X[2,3,4] axes=1 @11 -> Y[2,1,4]",
    "X[2,3,4] axes=-1,0 keepdims=0 @11 -> Y[3]",
    "X[2,3,4] @11 -> Y[1,1,1]",
    "X[2,3,4] keepdims=0 @11 -> Y[]",
    "X[2,3,5,7] axes=2,3 keepdims=0 @11 -> Y[2,3]",
    "X[2,3,5,7] axes=3 @11 -> Y[2,3,5,1]",
    "X[19,5,9,31] axes=2,3 @11 lanes -> Y[19,5,1,1]",
    "X[3,16,5,4] axes=-1,-2 keepdims=0 @11 lanes -> Y[3,16]",
    "X[2,37,83] axes=2 @11 lanes -> Y[2,37,1]",
    "X[3,70] axes=0 @11 -> Y[1,70]",
    "X[2,3] axes=1,-1 @11 -> error: axis 1 is given twice",
    "X[2,3] axes=2 @11 -> error: axis 2",
    "X[2,3,4] i64{1} @18 -> Y[2,1,4]",
    "X[2,3,4] i64{2,1} keepdims=0 @18 -> Y[2]",
    "X[2,3,4] - noop_with_empty_axes=1 @18 -> Y[2,3,4]",
    "X[2,3,4] noop_with_empty_axes=0 @18 -> Y[1,1,1]",
    "X[2,3,4] i64{3} @18 -> error: axis 3",
    "i64[2,2]{-7,2,7,2} axes=1 keepdims=0 -> i64{-2,4}",
    "u64[1,2]{18446744073709549568,18446744073709549568} i64{1} @18 -> "
    "u64[1,1]{18446744073709549568}",
    "i8{1} -> i8{1}",
    "b{1} -> error: input 0 is bool",
    NULL};

static const char *const sum_cases[] = {"X[2,3] i64{1} -> Y[2,1]",
                                        "i64[2,3]{1,2,3,4,5,6} i64{1} keepdims=0 -> i64{6,15}",
                                        "i32[2,3]{1,2,3,4,5,6} -> i32[1,1]{21}",
                                        "b{1} -> error: input 0 is bool",
                                        "X[2,0] i64{1} -> f[2,1]{0,0}",
                                        NULL};

/* No ties within reach of a difference quotient. */
#define EXTREME                                                                                    \
    "X[2,3,4] axes=1 distinct @11 -> Y[2,1,4]", "X[2,3,4] distinct -> Y[1,1,1]",                   \
        "X[2,3,5,7] axes=3,2 keepdims=0 distinct range=-8,8 lanes -> Y[2,3]",                      \
        "X[3,70] axes=0 distinct range=-8,8 -> Y[1,70]",                                           \
        "X[2,3,4] i64{2,1} keepdims=0 distinct @18 -> Y[2]",                                       \
        "X[2,3] axes=1,-1 @11 -> error: axis 1 is given twice"
static const char *const max_cases[] = {EXTREME,
                                        "f[1,3]{2,2,1}:x axes=1 -> f[1,1]{2} d0=f[1,3]{0.5,0.5,0}",
                                        "f[2,2]{1,nan,-3,-inf} axes=1 keepdims=0 -> f{nan,-3}",
                                        "i64[2,2]{-7,-9,3,-2} axes=1 keepdims=0 -> i64{-7,3}",
                                        "u8[2,2]{200,3,100,7} i64{1} keepdims=0 @20 -> u8{200,100}",
                                        "b[2,2]{1,0,0,0} i64{1} keepdims=0 @20 -> b{1,0}",
                                        "u64[1,0]{} axes=1 keepdims=0 -> u64{0}",
                                        "i8[1,0]{} axes=1 keepdims=0 -> i8{-128}",
                                        NULL};
static const char *const min_cases[] = {EXTREME,
                                        "f[1,3]{2,1,1}:x axes=1 -> f[1,1]{1} d0=f[1,3]{0,0.5,0.5}",
                                        "i64[2,2]{-7,-9,3,-2} axes=1 keepdims=0 -> i64{-9,-2}",
                                        "b[2,2]{1,0,1,1} i64{1} keepdims=0 @20 -> b{0,1}",
                                        "u32[1,0]{} axes=1 keepdims=0 -> u32{4294967295}",
                                        "i16[1,0]{} axes=1 keepdims=0 -> i16{32767}",
                                        NULL};

#define PLAIN "X[2,3,4] axes=1 @11 -> Y[2,1,4]", "X[2,3,5] i64{2} keepdims=0 @18 lanes -> Y[2,3]"
static const char *const l1_cases[] = {PLAIN, "f[1,2]{0,-1}:x axes=1 -> f[1,1]{1} d0=f[1,2]{0,-1}",
                                       "f[2,2]{1,-2,3,-4} axes=1 keepdims=0 -> f{3,7}",
                                       "i32{3,-4} keepdims=0 -> i32(7)", NULL};
static const char *const l2_cases[] = {
    PLAIN, "X[3,70] axes=0 @11 -> Y[1,70]",
    "f[2,2]{0,0,3,4}:x axes=1 -> f[2,1]{0,5} d0=f[2,2]{0,0,0.6,0.8}",
    "i32[2,3]{7,-4,-2,60000,0,0} axes=1 keepdims=0 -> i32{8,60000}", NULL};
static const char *const sum_square_cases[] = {PLAIN,
                                               "f[2,2]{1,-2,3,-4} axes=1 keepdims=0 -> f{5,25}",
                                               "i32{3,-4} keepdims=0 -> i32(25)", NULL};
static const char *const prod_cases[] = {
    PLAIN, "X[2,3,4] @11 -> Y[1,1,1]", "X[3,70] axes=0 @11 -> Y[1,70]",
    "f[2,3]{0,2,3,0,0,3}:x axes=1 -> f[2,1]{0,0} d0=f[2,3]{6,0,0,0,0,0}", NULL};
static const char *const log_sum_cases[] = {
    "X[2,3,4] axes=1 range=0.5,2 @11 -> Y[2,1,4]",
    "X[2,3,5] i64{2} keepdims=0 range=0.5,2 @18 lanes -> Y[2,3]",
    "f[2,2]{1,2,3,4} axes=1 keepdims=0 -> f{1.0986123,1.9459101}",
    "f[1,0]{} axes=1 keepdims=0 -> f{-inf}",
    "i32[2,3]{7,-4,-2,1,2,5} axes=1 keepdims=0 -> i32{0,2}",
    "u64[1,2]{18446744073709551615,1} axes=1 keepdims=0 -> u64{44}",
    NULL};
static const char *const log_sum_exp_cases[] = {
    PLAIN,
    "X[3,70] axes=0 @11 -> Y[1,70]",
    "f[5,2]{1,2,500,501,-900,-inf,-inf,-inf,inf,0} axes=1 keepdims=0 -> "
    "f{2.3132617,501.31326,-900,-inf,inf}",
    "f[1,0]{} axes=1 keepdims=0 -> f{-inf}",
    "i64[2,3]{7,-4,-2,1000,1000,1000} axes=1 keepdims=0 -> i64{7,1001}",
    NULL};

static const char *const global_max_cases[] = {"X[2,3,5,7] distinct range=-8,8 lanes -> Y[2,3,1,1]",
                                               "X[2,3,5] distinct -> Y[2,3,1]",
                                               "f[1,1,3]{2,1,2}:x -> f[1,1,1]{2} "
                                               "d0=f[1,1,3]{1,0,0}",
                                               "X[2,3] -> error: rank 2", NULL};

static const char *const global_cases[] = {"X[2,3,5,7] -> Y[2,3,1,1]", "X[2,3,5] -> Y[2,3,1]",
                                           "X[2,3,2,3,4] -> Y[2,3,1,1,1]",
                                           "X[2,3] -> error: rank 2", NULL};

#define REDUCE(word, reads, inputs, list, texts)                                                   \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 1,                                                                                \
        .min_in = 1,                                                                               \
        .max_in = inputs,                                                                          \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .needs = reads,                                                                            \
        .plan_size = sizeof(struct reduce_plan),                                                   \
        .lanes = lanes,                                                                            \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .cases = texts,                                                                            \
    };
#define AXES "axes:I keepdims:i noop_with_empty_axes:i"

REDUCE(ReduceSum, 0, 2, AXES, sum_cases)
REDUCE(ReduceMean, 0, 2, AXES, mean_cases)
REDUCE(ReduceL1, OT_X(0), 2, AXES, l1_cases)
REDUCE(ReduceL2, OT_X(0) | OT_Y(0), 2, AXES, l2_cases)
REDUCE(ReduceSumSquare, OT_X(0), 2, AXES, sum_square_cases)
REDUCE(ReduceLogSum, OT_Y(0), 2, AXES, log_sum_cases)
REDUCE(ReduceLogSumExp, OT_X(0) | OT_Y(0), 2, AXES, log_sum_exp_cases)
REDUCE(ReduceMax, OT_X(0) | OT_Y(0), 2, AXES, max_cases)
REDUCE(ReduceMin, OT_X(0) | OT_Y(0), 2, AXES, min_cases)
REDUCE(ReduceProd, OT_X(0), 2, AXES, prod_cases)
REDUCE(GlobalAveragePool, 0, 1, "", global_cases)
REDUCE(GlobalMaxPool, OT_X(0) | OT_Y(0), 1, "", global_max_cases)
