/* layer_norm.c - LayerNormalization: y = scale (x - mean) / sqrt(variance + epsilon) + bias, over
 * the axes from `axis` on; outputs mean and 1 / sqrt(variance + epsilon) where asked for
 * (LayerNormalization-17; Ba, Kiros, Hinton, arXiv 1607.06450). RMSNormalization is the same with 0
 * for the mean, and without bias (Zhang, Sennrich, arXiv 1910.07467).
 *
 * With g = dy scale and z = (x - mean) / deviation:
 * dx = (g - mean of g - z mean of g z) / deviation, dscale = sum of dy z, dbias = sum of dy;
 * without the mean of g where that of x is taken for 0.
 *
 * Scale and bias have the shape of the normalized axes, or are broadcast to x: then z is made with
 * a scale of ones, and norm_affine.c does the rest.
 *
 * A tensor is seen as [outer][length][inner]: inner is 1 in rows and L in lanes.
 */
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/walk/norm_affine.h"

enum { COLUMNS = 64, GRAIN = 1 << 16 };

struct layer_norm_plan {
    bool centred; /* the mean is subtracted */
    float epsilon;
    int64_t outer, length, inner;
    int64_t full; /* outer rows whose lanes are all in use; those behind use `used` */
    int64_t used;
    int64_t grain; /* outer rows of a task */
    int tasks;
    const struct norm_affine *affine; /* NULL: scale has the shape of the normalized axes */
};

static bool has_bias(const struct op_node *n) { return n->n_in > 2 && n->x[2]; }

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    return ot_op_axis(n, ot_attr_int(n->node, "axis", -1), n->x[0]->rank, axis, err);
}

/* scale and bias: float, in the shape of the normalized axes. */
static ot_status check_affine(const struct op_node *n, int i, int axis, ot_error *err) {
    const struct tensor *x = n->x[0], *t = i < n->n_in ? n->x[i] : NULL;
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (t->lanes)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input %d is neither a weight nor a constant", i);
    if (t->rank != x->rank - axis ||
        memcmp(t->dim, x->dim + axis, (size_t)t->rank * sizeof *t->dim)) {
        char text[128];
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input %d has shape %s, expected that of the axes from %d on", i,
                          ot_shape_text(t, text, sizeof text), axis);
    }
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    for (int i = 1; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->role != OT_ROLE_CONST && n->x[i]->role != OT_ROLE_PARAM)
            return false; /* a computed scale has no samples */
    return !find_axis(n, &axis, NULL) && axis == lane_rank && !check_affine(n, 1, axis, NULL) &&
           !check_affine(n, 2, axis, NULL);
}

/* In place of nodes that spell it out: the last axis alone, with a scale and a bias for it. */
static bool fits(const struct op_node *n) {
    int axis;
    return n->x[0]->type == OT_FLOAT && n->x[0]->rank && !find_axis(n, &axis, NULL) &&
           axis == n->x[0]->rank - 1 && n->x[0]->dim[axis] && !check_affine(n, 1, axis, NULL) &&
           !check_affine(n, 2, axis, NULL);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct layer_norm_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    int axis;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_along(n, axis);
    ot_op_like(n->y[0], x);
    for (int i = 1; i < n->n_out; i++) {
        if (!n->y[i]) continue;
        ot_op_like(n->y[i], x);
        for (int d = axis; d < x->rank; d++) n->y[i]->dim[d] = 1;
    }
    plan->centred = !strcmp(n->op->name, "LayerNormalization");
    plan->epsilon = ot_attr_float(n->node, "epsilon", 1e-5f);
    plan->length = ot_dims_product(x, axis, x->rank);
    if (!plan->length)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the axes from %d on have no elements", axis);
    plan->inner = x->lanes ? x->lanes : 1;
    plan->outer = ot_count(x) / (plan->length * plan->inner);
    plan->used = x->lanes ? ot_lane_samples(x) % x->lanes : 0;
    plan->full = plan->outer - (plan->used != 0);
    plan->grain = GRAIN / (plan->length * plan->inner) + 1;
    plan->tasks = ot_task_count(plan->outer, plan->grain);
    n->save_size = (size_t)(plan->outer * plan->inner) * 2 * sizeof(float);
    if (!ot_mul((size_t)plan->tasks * 2 * sizeof(float), (size_t)plan->length,
                &n->backward_scratch_size))
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the node needs more than 2^63 bytes of scratch memory");
    if (!check_affine(n, 1, axis, NULL) && !check_affine(n, 2, axis, NULL)) return OT_OK;
    struct norm_affine *affine = ot_arena_alloc(n->arena, 1, sizeof *affine);
    plan->affine = affine;
    if (!affine) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    n->backward_scratch_size += ot_bytes(x); /* dy scale */
    return ot_norm_affine_prepare(n, plan->length, affine, err);
}

/* What the kernels need for outer row r. dscale: 2 x length floats. */
static struct layer_norm kernel_arguments(const struct op_node *n, int64_t r, float *dscale) {
    const struct layer_norm_plan *plan = n->plan;
    const int64_t at = r * plan->length * plan->inner;
    float *mean = (float *)n->save + r * 2 * plan->inner;
    return (struct layer_norm){.length = (size_t)plan->length,
                               .lanes = (size_t)plan->inner,
                               .used = (size_t)(r < plan->full ? plan->inner : plan->used),
                               .centred = plan->centred,
                               .epsilon = plan->epsilon,
                               .x = ot_f(n->x[0]) + at,
                               .scale = plan->affine ? plan->affine->ones : ot_f(n->x[1]),
                               .mean = mean,
                               .inverse = mean + plan->inner,
                               .dscale = dscale,
                               .dbias = dscale ? dscale + plan->length : NULL};
}

static void forward_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct layer_norm_plan *plan = n->plan;
    int64_t r, to;
    (void)worker;
    ot_task_range(plan->outer, plan->grain, task, &r, &to);
    for (; r < to; r++) {
        struct layer_norm a = kernel_arguments(n, r, NULL);
        a.bias = has_bias(n) && !plan->affine ? ot_f(n->x[2]) : NULL;
        a.y = ot_f(n->y[0]) + r * plan->length * plan->inner;
        (n->x[0]->lanes ? n->kernels->norm_lanes : n->kernels->norm_row)(&a);
        size_t bytes = (size_t)plan->inner * sizeof(float);
        if (n->n_out > 1 && n->y[1]) memcpy(ot_f(n->y[1]) + r * plan->inner, a.mean, bytes);
        if (n->n_out > 2 && n->y[2]) memcpy(ot_f(n->y[2]) + r * plan->inner, a.inverse, bytes);
    }
}

static void forward(struct op_node *n) {
    const struct layer_norm_plan *plan = n->plan;
    ot_parallel_for(n->pool, plan->tasks, forward_task, n);
    if (plan->affine) ot_norm_affine_apply(n, plan->affine);
}

/* dy scale, where the scale is broadcast: behind what the tasks sum up. */
static float *scaled(const struct op_node *n) {
    const struct layer_norm_plan *plan = n->plan;
    return (float *)n->scratch + (size_t)plan->tasks * 2 * (size_t)plan->length;
}

/* Each task sums the gradients of scale and bias for its own rows. */
static void backward_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct layer_norm_plan *plan = n->plan;
    float *dscale = (float *)n->scratch + (size_t)task * 2 * (size_t)plan->length;
    int64_t r, to;
    (void)worker;
    memset(dscale, 0, 2 * (size_t)plan->length * sizeof *dscale);
    ot_task_range(plan->outer, plan->grain, task, &r, &to);
    for (; r < to; r++) {
        const int64_t at = r * plan->length * plan->inner;
        struct layer_norm a = kernel_arguments(n, r, dscale);
        a.dy = (plan->affine ? scaled(n) : ot_f(n->dy[0])) + at;
        a.y = n->dx[0] ? ot_f(n->dx[0]) + at : NULL;
        (n->x[0]->lanes ? n->kernels->norm_lanes_back : n->kernels->norm_row_back)(&a);
    }
}

/* The sum of all tasks' for a range of elements. */
static void affine_task(void *arg, int task, int worker) {
    const struct op_node *n = arg;
    const struct layer_norm_plan *plan = n->plan;
    int64_t from, to;
    (void)worker;
    ot_task_range(plan->length, COLUMNS, task, &from, &to);
    for (int i = 0; i < 2; i++) {
        double sum[COLUMNS] = {0};
        if (1 + i >= n->n_in || !n->dx[1 + i]) continue;
        for (int t = 0; t < plan->tasks; t++) {
            const float *part = (const float *)n->scratch + (2 * t + i) * plan->length;
            for (int64_t k = from; k < to; k++) sum[k - from] += (double)part[k];
        }
        for (int64_t k = from; k < to; k++) ot_f(n->dx[1 + i])[k] = (float)sum[k - from];
    }
}

static void backward(struct op_node *n) {
    const struct layer_norm_plan *plan = n->plan;
    if (plan->affine) ot_norm_affine_back(n, plan->affine, n->save, scaled(n));
    if (!plan->affine || n->dx[0]) ot_parallel_for(n->pool, plan->tasks, backward_task, n);
    if (plan->affine) return;
    ot_parallel_for(n->pool, ot_task_count(plan->length, COLUMNS), affine_task, n);
}

static const char *const cases[] = {
    "X[4,10] S[10]:p B[10]:p lanes -> Y[4,10]",
    "X[2,3,10] S[10]:p B[10]:p lanes -> Y[2,3,10]",
    "X[2,9,70] S[70]:p lanes -> Y[2,9,70]",
    "X[2,3,4] S[3,4]:p B[3,4]:p axis=1 epsilon=0.1 lanes -> Y[2,3,4]",
    "X[2,3,4] S[4]:p B[4]:p -> Y[2,3,4] M[2,3,1]:n D[2,3,1]:n",
    "X[2,3,4] S[4]:p - -> Y[2,3,4] - D[2,3,1]:n",
    "f{1,3} f{1,2} f{0,5} epsilon=0.0 -> f{-1,7} f{2} f{1}",
    "f[1,2]{5,5} f{1,1} -> f[1,2]{0,0}",
    "X[4,0] S[0]:p -> error: no elements",
    "X[2,3,4,5] S[3,1,1]:p B[3,1,1]:p axis=1 -> Y[2,3,4,5]",
    "X[2,3,4] S[1]:p B[1]:p axis=1 -> Y[2,3,4]",
    "X[2,3,4] S[1,3,4]:p B[4]:p -> Y[2,3,4]",
    "X[2,3,70] S[2,1,70] B[2,3,1] -> Y[2,3,70]",
    "X[2,3,4] S[2,3,4] B[]:p -> Y[2,3,4] M[2,3,1]:n D[2,3,1]:n",
    "f[2,2]{1,3,1,3} f[2,1]{1,2} f[2,1]{0,5} epsilon=0.0 -> f[2,2]{-1,1,3,7}",
    "X[4,10] S[9]:p -> error: input 1 has shape [9], which does not broadcast to [4,10]",
    "X[10] S[4,10]:p -> error: input 1 has shape [4,10]",
    "X[4,10] S[10]:p axis=2 -> error: axis 2",
    "f[2,2,2]{1.4,1.4,1.5,-0.1,-0.9,-2,0.6,0.9} f[2,2]{1.3,-0.9,-1.1,0.6} f[2,2]{1.2,1.9,"
    "-1.4,-0.1} axis=1 -> f[2,2,2]{1.88399,1.426468,-2.144121,-1.13726,0.5896932,3.16756,"
    "-2.291987,0.540182}",
    NULL,
};

static const char *const rms_cases[] = {
    "X[4,10] S[10]:p lanes -> Y[4,10]",
    "X[2,9,70] S[70]:p lanes -> Y[2,9,70]",
    "X[2,3,4] S[3,4]:p axis=1 epsilon=0.1 lanes -> Y[2,3,4]",
    "f{1,7} f{1,2} epsilon=0.0 -> f{0.2,2.8}",
    "X[2,3,4,5] S[3,1,1]:p axis=1 -> Y[2,3,4,5]",
    "X[2,3,4] S[2,1,4]:p -> Y[2,3,4]",
    "X[4,10] S[9]:p -> error: input 1 has shape [9], which does not broadcast to [4,10]",
    "X[4,10] S[10]:p @22 -> error: opset 22",
    NULL,
};

const struct op ot_op_RMSNormalization = {
    .name = "RMSNormalization",
    .since = 23,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i epsilon:f stash_type:i",
    .needs = OT_X(0) | OT_X(1),
    .parameters = 2,
    .plan_size = sizeof(struct layer_norm_plan),
    .fits = fits,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = rms_cases,
    .again = forward,
};

const struct op ot_op_LayerNormalization = {
    .name = "LayerNormalization",
    .since = 17,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 3,
    .attributes = "axis:i epsilon:f stash_type:i",
    .needs = OT_X(0) | OT_X(1),
    .parameters = 6,
    .plan_size = sizeof(struct layer_norm_plan),
    .fits = fits,
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
    .again = forward,
};
