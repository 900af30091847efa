/* group_norm.c - GroupNormalization: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, mean
 * and variance over a group of channels of one sample (Wu, He, arXiv 1803.08494), and
 * InstanceNormalization, whose groups are single channels. Scale and bias are by channel; in
 * GroupNormalization before opset 21 by group; or one for all.
 *
 * With g = dy scale and z = (x - mean) / deviation:
 * dx = (g - mean of g - z mean of g z) / deviation, dscale = sum of dy z, dbias = sum of dy.
 *
 * A cell is a channel of a sample, or of a block of lanes: `size` positions of L lanes, 1 in rows.
 * Lanes are taken OT_UNIT at a time; what is said of one lane holds for each of them.
 */
#include <math.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "ops/walk/channels.h"

enum { X, SCALE, BIAS };

struct group_norm_plan {
    float epsilon;
    bool by_channel;
    bool one[2];     /* of scale, of bias: a single one */
    int64_t affines; /* places that have a scale and a bias of their own: channels or groups */
    int64_t outer, groups, group_cells; /* samples or blocks, groups of one, cells of a group */
    int64_t size, lanes, width;         /* width: lanes taken at a time */
    int64_t used;                       /* lanes of the last block that are not spare */
    struct channels cells;              /* all of them, in rows */
};

static bool lanes(const struct op_node *n, int lane_rank) {
    for (int i = SCALE; i <= BIAS; i++)
        if (n->x[i]->role != OT_ROLE_CONST && n->x[i]->role != OT_ROLE_PARAM)
            return false; /* a computed scale has no samples */
    return lane_rank == 1 && n->x[X]->rank >= 2;
}

static ot_status find_groups(const struct op_node *n, struct group_norm_plan *plan, ot_error *err) {
    const int64_t channels = n->x[X]->dim[1];
    const bool instance = !strcmp(n->op->name, "InstanceNormalization");
    plan->groups = instance ? channels : ot_attr_int(n->node, "num_groups", 0);
    plan->by_channel = instance || n->node->opset >= 21;
    if (plan->groups < 1 || channels % plan->groups)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "%lld channels cannot be divided into %lld groups", (long long)channels,
                          (long long)plan->groups);
    plan->group_cells = channels / plan->groups;
    plan->affines = plan->by_channel ? channels : plan->groups;
    OT_TRY(ot_channel_vector(n, SCALE, plan->affines, &plan->one[0], err));
    return ot_channel_vector(n, BIAS, plan->affines, &plan->one[1], err);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[X];
    struct group_norm_plan *plan = ot_op_plan(n);
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (x->rank < 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 2",
                          x->rank);
    OT_TRY(find_groups(n, plan, err));
    plan->epsilon = ot_attr_float(n->node, "epsilon", 1e-5f);
    plan->size = ot_dims_product(x, 2, x->rank);
    if (!plan->size)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the channels of input 0 have no elements");
    plan->lanes = x->lanes ? x->lanes : 1;
    plan->width = x->lanes ? OT_UNIT : 1;
    plan->outer = x->lanes ? ot_lane_blocks(x) : x->dim[0];
    plan->used = x->lanes && x->dim[0] % x->lanes ? x->dim[0] % x->lanes : plan->lanes;
    const int64_t cells = plan->outer * x->dim[1];
    plan->cells = (struct channels){
        .channels = cells, .outer = 1, .inner = plan->size, .spare_block = -1, .count = plan->size};
    ot_op_like(n->y[0], x);
    n->save_size = (size_t)(plan->outer * plan->groups * plan->lanes) * 2 * sizeof(float);
    n->backward_scratch_size = (size_t)(cells * plan->lanes) * 2 * sizeof(double);
    return OT_OK;
}

/* ---- one cell, `width` lanes from `lane` on ---- */

static int64_t cell_offset(const struct group_norm_plan *plan, int64_t cell, int64_t lane) {
    return cell * plan->size * plan->lanes + lane;
}

/* Mean, and sum of (x - mean)^2. */
static void cell_moments(const struct op_node *n, int64_t cell, int64_t lane, double *mean,
                         double *square) {
    const struct group_norm_plan *plan = n->plan;
    const float *x = ot_f(n->x[X]) + cell_offset(plan, cell, lane);
    if (plan->width == 1) {
        ot_channel_moments(n->kernels, &plan->cells, ot_f(n->x[X]), cell, mean, square);
        return;
    }
    double sum[OT_UNIT] = {0}, squares[OT_UNIT] = {0};
    for (int64_t i = 0; i < plan->size; i++)
        for (int j = 0; j < OT_UNIT; j++) sum[j] += (double)x[i * plan->lanes + j];
    for (int j = 0; j < OT_UNIT; j++) mean[j] = sum[j] / (double)plan->size;
    for (int64_t i = 0; i < plan->size; i++)
        for (int j = 0; j < OT_UNIT; j++) {
            const double d = (double)x[i * plan->lanes + j] - mean[j];
            squares[j] += d * d;
        }
    memcpy(square, squares, sizeof squares);
}

/* Sums of dy, and of dy (x - mean). */
static void cell_products(const struct op_node *n, int64_t cell, int64_t lane, const float *mean,
                          double *sum, double *product) {
    const struct group_norm_plan *plan = n->plan;
    const int64_t at = cell_offset(plan, cell, lane);
    const float *x = ot_f(n->x[X]) + at, *dy = ot_f(n->dy[0]) + at;
    if (plan->width == 1) {
        const struct norm_gradient a = {.dy = ot_f(n->dy[0]), .x = ot_f(n->x[X]), .x0 = *mean};
        ot_channel_sums(n->kernels, &plan->cells, &a, cell, sum, product);
        return;
    }
    double a[OT_UNIT] = {0}, b[OT_UNIT] = {0};
    for (int64_t i = 0; i < plan->size; i++)
        for (int j = 0; j < OT_UNIT; j++) {
            const int64_t k = i * plan->lanes + j;
            a[j] += (double)dy[k];
            b[j] += (double)(dy[k] * (x[k] - mean[j]));
        }
    memcpy(sum, a, sizeof a);
    memcpy(product, b, sizeof b);
}

/* y = (x - mean) gain + shift */
static void cell_value(const struct op_node *n, int64_t cell, int64_t lane, const float *mean,
                       const float *gain, float shift) {
    const struct group_norm_plan *plan = n->plan;
    const int64_t at = cell_offset(plan, cell, lane);
    const float *x = ot_f(n->x[X]) + at;
    float *y = ot_f(n->y[0]) + at;
    if (plan->width == 1) {
        const struct norm a = {.x = x, .x0 = *mean, .gain = *gain, .shift = shift, .y = y};
        n->kernels->norm(&a, (size_t)plan->size);
        return;
    }
    for (int64_t i = 0; i < plan->size; i++)
        for (int j = 0; j < OT_UNIT; j++) {
            const int64_t k = i * plan->lanes + j;
            y[k] = (x[k] - mean[j]) * gain[j] + shift;
        }
}

/* dx = gain dy + slope (x - mean) + shift */
static void cell_gradient(const struct op_node *n, int64_t cell, int64_t lane, const float *mean,
                          const float *gain, const float *slope, const float *shift) {
    const struct group_norm_plan *plan = n->plan;
    const int64_t at = cell_offset(plan, cell, lane);
    const float *x = ot_f(n->x[X]) + at, *dy = ot_f(n->dy[0]) + at;
    float *dx = ot_f(n->dx[X]) + at;
    if (plan->width == 1) {
        const struct norm_gradient a = {.dy = dy,
                                        .x = x,
                                        .x0 = *mean,
                                        .gain = *gain,
                                        .batch = true,
                                        .slope = *slope,
                                        .rest = *shift,
                                        .dx = dx};
        n->kernels->norm_gradient(&a, (size_t)plan->size);
        return;
    }
    for (int64_t i = 0; i < plan->size; i++)
        for (int j = 0; j < OT_UNIT; j++) {
            const int64_t k = i * plan->lanes + j;
            dx[k] = gain[j] * dy[k] + slope[j] * (x[k] - mean[j]) + shift[j];
        }
}

/* ---- a group of cells ---- */

/* Mean and 1 / deviation of group (of all samples) and lane, as forward left them. */
static float *mean_of(const struct op_node *n, int64_t group, int64_t lane) {
    const struct group_norm_plan *plan = n->plan;
    return (float *)n->save + group * 2 * plan->lanes + lane;
}
static float *inverse_of(const struct op_node *n, int64_t group, int64_t lane) {
    return mean_of(n, group, lane) + ((const struct group_norm_plan *)n->plan)->lanes;
}

/* Which scale and bias hold for cell number i of a group. */
static int64_t affine_of(const struct group_norm_plan *plan, int64_t group, int64_t i) {
    group %= plan->groups;
    return plan->by_channel ? group * plan->group_cells + i : group;
}

static float scale_of(const struct op_node *n, int64_t affine) {
    return ot_f(n->x[SCALE])[((const struct group_norm_plan *)n->plan)->one[0] ? 0 : affine];
}
static float bias_of(const struct op_node *n, int64_t affine) {
    return ot_f(n->x[BIAS])[((const struct group_norm_plan *)n->plan)->one[1] ? 0 : affine];
}

static void group_statistics(const struct op_node *n, int64_t group, int64_t lane) {
    const struct group_norm_plan *plan = n->plan;
    const double size = (double)plan->size, all = size * (double)plan->group_cells;
    double mean[OT_UNIT] = {0}, square[OT_UNIT] = {0}, m[OT_UNIT], q[OT_UNIT];
    for (int64_t i = 0; i < plan->group_cells; i++) {
        cell_moments(n, group * plan->group_cells + i, lane, m, q);
        for (int j = 0; j < plan->width; j++) {
            const double d = m[j] - mean[j], share = 1 / (double)(i + 1);
            mean[j] += d * share;
            square[j] += q[j] + d * d * size * (double)i * share;
        }
    }
    for (int j = 0; j < plan->width; j++) {
        mean_of(n, group, lane)[j] = (float)mean[j];
        inverse_of(n, group, lane)[j] = (float)(1 / sqrt(square[j] / all + (double)plan->epsilon));
    }
}

static void forward_group(void *arg, int group, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct group_norm_plan *plan = n->plan;
    float gain[OT_UNIT];
    for (int64_t lane = 0; lane < plan->lanes; lane += plan->width) {
        group_statistics(n, group, lane);
        const float *inverse = inverse_of(n, group, lane);
        for (int64_t i = 0; i < plan->group_cells; i++) {
            const int64_t affine = affine_of(plan, group, i);
            for (int j = 0; j < plan->width; j++) gain[j] = inverse[j] * scale_of(n, affine);
            cell_value(n, group * plan->group_cells + i, lane, mean_of(n, group, lane), gain,
                       bias_of(n, affine));
        }
    }
}

/* Sums of a cell's dy and dy (x - mean), which backward keeps for scale and bias. */
static double *sums_of(const struct op_node *n, int64_t cell, int64_t lane) {
    const struct group_norm_plan *plan = n->plan;
    return (double *)n->scratch + cell * 2 * plan->lanes + lane;
}

static void backward_group(void *arg, int group, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct group_norm_plan *plan = n->plan;
    const int64_t first = (int64_t)group * plan->group_cells;
    const double all = (double)plan->size * (double)plan->group_cells;
    for (int64_t lane = 0; lane < plan->lanes; lane += plan->width) {
        const float *mean = mean_of(n, group, lane), *inverse = inverse_of(n, group, lane);
        double sum[OT_UNIT] = {0}, product[OT_UNIT] = {0};
        float gain[OT_UNIT], slope[OT_UNIT], shift[OT_UNIT];
        for (int64_t i = 0; i < plan->group_cells; i++) {
            double *a = sums_of(n, first + i, lane), *b = a + plan->lanes;
            const double factor = (double)scale_of(n, affine_of(plan, group, i));
            cell_products(n, first + i, lane, mean, a, b);
            for (int j = 0; j < plan->width; j++) {
                sum[j] += factor * a[j];
                product[j] += factor * b[j];
            }
        }
        for (int j = 0; j < plan->width; j++) {
            const double r = (double)inverse[j];
            slope[j] = (float)(-r * r * r * product[j] / all);
            shift[j] = (float)(-r * sum[j] / all);
        }
        for (int64_t i = 0; n->dx[X] && i < plan->group_cells; i++) {
            const float scale = scale_of(n, affine_of(plan, group, i));
            for (int j = 0; j < plan->width; j++) gain[j] = inverse[j] * scale;
            cell_gradient(n, first + i, lane, mean, gain, slope, shift);
        }
    }
}

/* Adds to the gradients of one scale and bias: sums over its cells, samples in order, without spare
 * lanes. */
static void add_affine(const struct op_node *n, int64_t affine, double *dscale, double *dbias) {
    const struct group_norm_plan *plan = n->plan;
    const int64_t cells = plan->by_channel ? 1 : plan->group_cells;
    for (int64_t o = 0; o < plan->outer; o++) {
        const int64_t first = o * plan->groups * plan->group_cells + affine * cells;
        const float *inverse = inverse_of(n, first / plan->group_cells, 0);
        for (int64_t cell = first; cell < first + cells; cell++) {
            const double *a = sums_of(n, cell, 0), *b = a + plan->lanes;
            for (int64_t j = 0; j < (o < plan->outer - 1 ? plan->lanes : plan->used); j++) {
                *dscale += b[j] * (double)inverse[j];
                *dbias += a[j];
            }
        }
    }
}

static void affine_task(void *arg, int affine, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct group_norm_plan *plan = n->plan;
    double dscale = 0, dbias = 0;
    add_affine(n, affine, &dscale, &dbias);
    if (n->dx[SCALE] && !plan->one[0]) ot_f(n->dx[SCALE])[affine] = (float)dscale;
    if (n->dx[BIAS] && !plan->one[1]) ot_f(n->dx[BIAS])[affine] = (float)dbias;
}

/* Of a scale or a bias that is one for all. */
static void backward_one(const struct op_node *n) {
    const struct group_norm_plan *plan = n->plan;
    double dscale = 0, dbias = 0;
    for (int64_t i = 0; i < plan->affines; i++) add_affine(n, i, &dscale, &dbias);
    if (n->dx[SCALE] && plan->one[0]) ot_f(n->dx[SCALE])[0] = (float)dscale;
    if (n->dx[BIAS] && plan->one[1]) ot_f(n->dx[BIAS])[0] = (float)dbias;
}

static void forward(struct op_node *n) {
    const struct group_norm_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(plan->outer * plan->groups), forward_group, n);
    ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    const struct group_norm_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(plan->outer * plan->groups), backward_group, n);
    if (n->dx[X]) ot_op_clear_spare(n->dx[X]);
    if (n->dx[SCALE] || n->dx[BIAS]) ot_parallel_for(n->pool, (int)plan->affines, affine_task, n);
    if ((n->dx[SCALE] && plan->one[0]) || (n->dx[BIAS] && plan->one[1])) backward_one(n);
}

static const char *const group_cases[] = {
    "X[3,6,5] S[6]:p B[6]:p num_groups=2 @21 lanes -> Y[3,6,5]",
    "X[17,4,3,3] S[4]:p B[4]:p num_groups=4 epsilon=0.01 @21 lanes -> Y[17,4,3,3]",
    "X[3,6,5] S[2]:p B[2]:p num_groups=2 @18 lanes -> Y[3,6,5]",
    "X[2,4,300] S[4]:p B[4]:p num_groups=1 @21 -> Y[2,4,300]",
    "X[3,6] S[6]:p B[6]:p num_groups=2 @21 lanes -> Y[3,6]",
    "X[2,4,3] S[4] B[4]:p num_groups=2 @21 -> Y[2,4,3]",
    "f[1,2,2]{1,3,5,7} f{1,2} f{0,1} num_groups=2 epsilon=0 @21 -> f[1,2,2]{-1,1,-1,3}",
    "f[1,2,2]{1,1,3,3} f{2} f{1} num_groups=1 epsilon=0 @18 -> f[1,2,2]{-1,-1,3,3}",
    "X[2,6,5] S[1]:p B[1]:p num_groups=2 @21 lanes -> Y[2,6,5]",
    "X[17,4,3] S[]:p B[4]:p num_groups=2 @21 lanes -> Y[17,4,3]",
    "X[2,6,5] S[1,6,1]:p B[1,1]:p num_groups=2 @21 lanes -> Y[2,6,5]",
    "X[2,6,5,2] S[6,1,1]:p B[1,6,1,1] num_groups=3 @21 -> Y[2,6,5,2]",
    "X[3,6,5] S[2,1]:p B[1]:p num_groups=2 @18 lanes -> Y[3,6,5]",
    "f[1,2,2]{1,1,3,3}:x f[1,1,1]{2}:p f[2,1]{1,0}:p num_groups=1 epsilon=0 @21 -> "
    "f[1,2,2]{-1,-1,2,2}",
    "X[2,4,5] S[2,2]:p B[4]:p num_groups=2 @21 -> error: input 1 has shape [2,2], expected [4]",
    "X[2,6,5] S[6]:p B[6]:p num_groups=4 @21 -> error: 6 channels cannot be divided into 4 groups",
    "X[2,6,5] S[6]:p B[6]:p num_groups=2 @18 -> error: input 1 has shape [6], expected [2]",
    "X[2,6,5] S[6]:p B[6]:p @21 -> error: 0 groups",
    "X[2,6,0] S[6]:p B[6]:p num_groups=2 @21 -> error: no elements",
    NULL,
};
static const char *const instance_cases[] = {
    "X[3,4,5,7] S[4]:p B[4]:p lanes -> Y[3,4,5,7]",
    "X[18,2,9] S[2]:p B[2]:p epsilon=0.1 lanes -> Y[18,2,9]",
    "f[1,2,3]{-1,0,1,2,3,4}:x f{1,1.5}:p f{0,1}:p @6 -> f[1,2,3]{-1.2247357,0,1.2247357,"
    "-0.8371035,1,2.8371035}",
    "X[3,4,5,7] S[1]:p B[1,4,1,1]:p lanes -> Y[3,4,5,7]",
    "X[18,2,9] S[2,1]:p B[]:p lanes -> Y[18,2,9]",
    "X[2,3,4] S[2]:p B[3]:p -> error: input 1 has shape [2], expected [3]",
    "X[6] S[6]:p B[6]:p -> error: rank 1",
    NULL,
};

#define NORMALIZATION(word, first, list, texts)                                                    \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = first,                                                                            \
        .min_in = 3,                                                                               \
        .max_in = 3,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .needs = OT_X(X) | OT_X(SCALE),                                                            \
        .parameters = 6,                                                                           \
        .plan_size = sizeof(struct group_norm_plan),                                               \
        .lanes = lanes,                                                                            \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .again = forward,                                                                          \
        .cases = texts,                                                                            \
    }
NORMALIZATION(GroupNormalization, 18, "num_groups:i epsilon:f stash_type:i", group_cases);
NORMALIZATION(InstanceNormalization, 6, "epsilon:f", instance_cases);
