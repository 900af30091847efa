/* batch_normalization.c - BatchNormalization: y = (x - mean) / sqrt(var + epsilon) * scale + bias,
 * by channel.
 *
 * mean and var are the running statistics, or in training those of the batch (var: the population
 * variance, as opset 14 has it); then running = momentum * running + (1 - momentum) * batch.
 * Which of the two holds is up to the session's bn mode and, where that is AUTO, to the node:
 * is_test = 0 in opset 6, more than one output in opsets 7 to 13, training_mode = 1 from 14 on.
 *
 * With g = scale / sqrt(var + epsilon), over the m elements of a channel (Ioffe and Szegedy, arXiv
 * 1502.03167): dbias = sum dy, dscale = sum dy (x - mean) / sqrt(var + epsilon),
 * dmean = -g sum dy, dvar = -g / 2 (var + epsilon) sum dy (x - mean), where they are computed
 * values that the output depends on; dx = g dy, and with batch statistics
 * dx = g (dy - sum dy / m - (x - mean) / (var + epsilon) * sum dy (x - mean) / m).
 *
 * What follows can be taken in passing: BatchNormalization+Add+Relu is y = max(.. + z, 0), with z
 * the sixth input. Its dz is what of dy passes Relu; the mask is the sign of y, or without z made
 * from x again, which is read anyway, as is the slope of Swish or HardSwish.
 */
#include <math.h>
#include <string.h>

#include "ops/walk/channels.h"

struct batch_normalization_plan {
    bool batch; /* are statistics those of the batch? */
    enum follow follow;
    float alpha; /* of Swish */
    float epsilon, momentum;
    struct channels x;
};

enum { X, SCALE, BIAS, MEAN, VAR, Z }; /* inputs */

static const struct tensor *summand(const struct op_node *n) {
    return n->n_in > Z ? n->x[Z] : NULL;
}

bool ot_node_trains(const struct node *n) {
    if (n->opset < 7) return !ot_attr_int(n, "is_test", 0);
    if (n->opset >= 14) return ot_attr_int(n, "training_mode", 0) != 0;
    for (int i = 1; i < n->n_out; i++)
        if (n->out[i] >= 0) return true;
    return false;
}

static enum follow what_follows(const struct op *op) {
    static const char *const names[] = {[OT_FOLLOW_RELU] = "Relu",
                                        [OT_FOLLOW_SWISH] = "Swish",
                                        [OT_FOLLOW_HARD_SWISH] = "HardSwish"};
    const char *last = strrchr(op->name, '+');
    for (int f = OT_FOLLOW_RELU; last && f <= OT_FOLLOW_HARD_SWISH; f++)
        if (!strcmp(last + 1, names[f])) return (enum follow)f;
    return OT_FOLLOW_NOTHING;
}

static ot_status read_attributes(const struct op_node *n, struct batch_normalization_plan *plan,
                                 ot_error *err) {
    plan->epsilon = ot_attr_float(n->node, "epsilon", 1e-5f);
    plan->momentum = ot_attr_float(n->node, "momentum", 0.9f);
    if (!(plan->epsilon >= 0) || !isfinite(plan->epsilon))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'epsilon' is %g, expected a finite number of at least 0",
                          (double)plan->epsilon);
    if (!(plan->momentum >= 0 && plan->momentum <= 1))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'momentum' is %g, expected 0 to 1",
                          (double)plan->momentum);
    if (n->node->opset < 9 && ot_attr_int(n->node, "spatial", 1) != 1)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'spatial' is not 1, which is not supported");
    if (n->node->opset >= 14 && n->n_out > 3)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d outputs, which this opset does not allow", n->n_out);
    plan->batch =
        n->training && (n->bn == OT_BN_TRAIN || (n->bn == OT_BN_AUTO && ot_node_trains(n->node)));
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    const struct tensor *x = n->x[X];
    if (lane_rank == 2) return x->rank >= 2 && x->dim[1] % OT_CHANNEL_LANES == 0;
    return lane_rank == 1 && x->rank >= 2;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[X];
    struct batch_normalization_plan *plan = ot_op_plan(n);
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (x->rank < 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 2",
                          x->rank);
    OT_TRY(read_attributes(n, plan, err));
    for (int i = SCALE; i <= VAR; i++) OT_TRY(ot_channel_vector(n, i, x->dim[1], NULL, err));
    const struct tensor *z = summand(n);
    if (z && (z->type != OT_FLOAT || !ot_same_shape(x, z) || z->lanes != x->lanes ||
              z->lane_rank != x->lane_rank))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "inputs 0 and 5 differ in shape");
    plan->follow = what_follows(n->op);
    plan->alpha = ot_attr_float(n->node, "alpha", 1);
    ot_channels_of(x, &plan->x);
    ot_op_like(n->y[0], x);
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) OT_TRY(ot_op_set(n, n->y[i], OT_FLOAT, 1, &x->dim[1], err));
    n->mixes = plan->batch;
    if (plan->batch) n->save_size = (size_t)x->dim[1] * 2 * sizeof(float);
    return OT_OK;
}

/* ---- forward ---- */

static void set_output(const struct op_node *n, int output, int64_t c, float value) {
    if (output < n->n_out && n->y[output]) ot_f(n->y[output])[c] = value;
}

/* Running mean or variance (x[i]) moves towards the batch's; outputs i - 2 and i get them. Where it
 * is not a statistic of the model but a computed value, it stays. */
static void move_statistic(const struct op_node *n, int i, int64_t c, float batch) {
    const float keep = ((const struct batch_normalization_plan *)n->plan)->momentum;
    float *running = ot_f(n->x[i]) + c;
    const float moved = keep * *running + (1 - keep) * batch;
    if (n->x[i]->role == OT_ROLE_PARAM) *running = moved;
    set_output(n, i - 2, c, moved);
    set_output(n, i, c, batch);
}

/* Mean and 1 / sqrt(var + epsilon) that hold for channel c; m, square: the mean of its elements and
 * their sum of squares around it. */
static void statistics(const struct op_node *n, int64_t c, double m, double square, float *mean,
                       float *inverse) {
    const struct batch_normalization_plan *plan = n->plan;
    if (plan->batch && plan->x.count) {
        const double var = square / (double)plan->x.count;
        *mean = (float)m;
        *inverse = (float)(1 / sqrt(var + (double)plan->epsilon));
        move_statistic(n, MEAN, c, *mean);
        move_statistic(n, VAR, c, (float)var);
        return;
    }
    *mean = ot_f(n->x[MEAN])[c];
    *inverse = 1 / sqrtf(ot_f(n->x[VAR])[c] + plan->epsilon);
    for (int i = MEAN; i <= VAR; i++) {
        set_output(n, i - 2, c, ot_f(n->x[i])[c]);
        set_output(n, i, c, ot_f(n->x[i])[c]);
    }
}

/* Mean and 1 / sqrt(var + epsilon) that forward used: statistics have moved since. */
static void used_statistics(const struct op_node *n, int64_t c, float *mean, float *inverse) {
    const struct batch_normalization_plan *plan = n->plan;
    const float *saved = n->save;
    *mean = plan->batch ? saved[2 * c] : ot_f(n->x[MEAN])[c];
    *inverse = plan->batch ? saved[2 * c + 1] : 1 / sqrtf(ot_f(n->x[VAR])[c] + plan->epsilon);
}

/* A group is a channel, or OT_UNIT side by side; the first is number 0 of its unit in any case. */
static int group_size(const struct batch_normalization_plan *plan) {
    return plan->x.units ? OT_UNIT : 1;
}

static void norm_unit_of(const struct op_node *n, int64_t group, struct norm_unit *unit,
                         float *inverse) {
    const int size = group_size(n->plan);
    for (int k = 0; k < size; k++) {
        const int64_t c = group * size + k;
        used_statistics(n, c, &unit->x0[k], &inverse[k]);
        unit->gain[k] = inverse[k] * ot_f(n->x[SCALE])[c];
        unit->shift[k] = ot_f(n->x[BIAS])[c];
    }
}

static bool past_cache(const struct batch_normalization_plan *plan, const struct norm *a) {
    const size_t floats = (size_t)plan->x.outer * (size_t)plan->x.channels * (size_t)plan->x.inner;
    return floats * sizeof(float) > OT_PAST_CACHE && a->y != a->x && a->y != a->z &&
           (uintptr_t)a->y % (OT_UNIT * sizeof(float)) == 0;
}

static void normalize(void *arg, int group, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct batch_normalization_plan *plan = n->plan;
    struct norm_unit unit;
    float inverse[OT_UNIT];
    norm_unit_of(n, group, &unit, inverse);
    const struct norm whole = {.unit = plan->x.units ? &unit : NULL,
                               .x0 = unit.x0[0],
                               .gain = unit.gain[0],
                               .shift = unit.shift[0],
                               .follow = plan->follow,
                               .alpha = plan->alpha};
    for (int64_t o = 0; o < plan->x.outer; o++) {
        const int64_t at = (o * plan->x.channels + group) * plan->x.inner;
        struct norm a = whole;
        a.x = ot_f(n->x[X]) + at;
        a.z = summand(n) ? ot_f(summand(n)) + at : NULL;
        a.y = ot_f(n->y[0]) + at;
        a.past_cache = past_cache(plan, &a);
        n->kernels->norm(&a, (size_t)plan->x.inner);
    }
}

static void forward_group(void *arg, int group, int worker) {
    const struct op_node *n = arg;
    const struct batch_normalization_plan *plan = n->plan;
    const int size = group_size(plan);
    double mean[OT_UNIT] = {0}, square[OT_UNIT] = {0};
    if (plan->batch) ot_channel_moments(n->kernels, &plan->x, ot_f(n->x[X]), group, mean, square);
    for (int k = 0; k < size; k++) {
        const int64_t c = (int64_t)group * size + k;
        float used[2];
        statistics(n, c, mean[k], square[k], &used[0], &used[1]);
        if (plan->batch) memcpy((float *)n->save + 2 * c, used, sizeof used);
    }
    normalize(arg, group, worker);
}

static void forward(struct op_node *n) {
    const struct batch_normalization_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->x.channels, forward_group, n);
}

static void again(struct op_node *n) {
    const struct batch_normalization_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->x.channels, normalize, n);
}

/* ---- backward ---- */

static float *from(float *p, int64_t at) { return p ? p + at : NULL; }

static float *wanted(const struct op_node *n, int i) {
    return i < n->n_in && n->dx[i] ? ot_f(n->dx[i]) : NULL;
}

/* What holds for a whole group; pointers are those of the whole tensors. */
static struct norm_gradient begin_gradient(const struct op_node *n, const struct norm_unit *unit) {
    const struct batch_normalization_plan *plan = n->plan;
    return (struct norm_gradient){.unit = plan->x.units ? unit : NULL,
                                  .dy = ot_f(n->dy[0]),
                                  .more = n->more ? ot_f(n->more) : NULL,
                                  .x = ot_f(n->x[X]),
                                  .y = plan->follow && summand(n) ? ot_f(n->y[0]) : NULL,
                                  .x0 = unit->x0[0],
                                  .gain = unit->gain[0],
                                  .shift = unit->shift[0],
                                  .follow = plan->follow,
                                  .alpha = plan->alpha,
                                  .batch = plan->batch,
                                  .dx = wanted(n, X),
                                  .dz = wanted(n, Z)};
}

static void backward_data(const struct op_node *n, int64_t group,
                          const struct norm_gradient *whole) {
    const struct batch_normalization_plan *plan = n->plan;
    const bool reads_x = plan->batch || (plan->follow && !whole->y);
    for (int64_t o = 0; o < plan->x.outer; o++) {
        const int64_t at = (o * plan->x.channels + group) * plan->x.inner;
        struct norm_gradient a = *whole;
        a.dy += at;
        a.more = a.more ? a.more + at : NULL;
        a.x = reads_x ? a.x + at : NULL;
        a.y = a.y ? a.y + at : NULL;
        a.dx = from(a.dx, at);
        a.dz = from(a.dz, at);
        n->kernels->norm_gradient(&a, (size_t)plan->x.inner);
    }
}

/* Number k of a group, which is channel c. sum, product: of the gradient g after Relu, of
 * g (x - mean). */
static void backward_channel(const struct op_node *n, int64_t c, int k, double inverse, double sum,
                             double product, struct norm_unit *unit) {
    const struct batch_normalization_plan *plan = n->plan;
    const double gain = (double)unit->gain[k], m = (double)plan->x.count,
                 fixed = plan->batch ? 0 : gain;
    const double per_variance = -inverse * inverse * product;
    if (n->dx[SCALE]) ot_f(n->dx[SCALE])[c] = (float)(product * inverse);
    if (n->dx[BIAS]) ot_f(n->dx[BIAS])[c] = (float)sum;
    if (n->dx[MEAN]) ot_f(n->dx[MEAN])[c] = (float)(-fixed * sum);
    if (n->dx[VAR]) ot_f(n->dx[VAR])[c] = (float)(0.5 * fixed * per_variance);
    unit->slope[k] = (float)(gain * per_variance / m);
    unit->rest[k] = (float)(-gain * sum / m);
}

static void backward_group(void *arg, int group, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct batch_normalization_plan *plan = n->plan;
    const int size = group_size(plan);
    struct norm_unit unit;
    float inverse[OT_UNIT];
    double sum[OT_UNIT] = {0}, product[OT_UNIT] = {0};
    norm_unit_of(n, group, &unit, inverse);
    struct norm_gradient a = begin_gradient(n, &unit);
    if (plan->batch || n->dx[SCALE] || n->dx[BIAS] || n->dx[MEAN] || n->dx[VAR])
        ot_channel_sums(n->kernels, &plan->x, &a, group, sum, product);
    for (int k = 0; k < size; k++)
        backward_channel(n, (int64_t)group * size + k, k, (double)inverse[k], sum[k], product[k],
                         &unit);
    a.slope = unit.slope[0];
    a.rest = unit.rest[0];
    if (a.dx || a.dz) backward_data(n, group, &a);
}

static void backward(struct op_node *n) {
    const struct batch_normalization_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->x.channels, backward_group, n);
}

#define STATE_16 "S[16]:p B[16]:p M[16]:p V[16]:p range=0.3,2"
#define STATE_32 "S[32]:p B[32]:p M[32]:p V[32]:p range=0.3,2"
#define STATE    "S[3]:p B[3]:p M[3]:p V[3]:p range=0.3,2"

static const char *const cases[] = {
    "X[2,3,4,5] " STATE " -> Y[2,3,4,5]",
    "X[5,3] " STATE " lanes -> Y[5,3]",
    "X[2,3,40] " STATE " bn=frozen train training_mode=1 -> Y[2,3,40]",
    "X[2,3,4,5] " STATE " bn=affine train training_mode=1 -> Y[2,3,4,5]",
    "X[3,3,7,9] " STATE " train training_mode=1 lanes -> Y[3,3,7,9] RM[3]:n RV[3]:n",
    "X[17,3,2,2] " STATE " train bn=train momentum=0.7 lanes -> Y[17,3,2,2]",
    "X[9,3] " STATE " train training_mode=1 lanes -> Y[9,3]",
    "X[3,32,3,5] " STATE_32 " train training_mode=1 lanes -> Y[3,32,3,5]",
    "X[19,16] " STATE_16 " train training_mode=1 lanes -> Y[19,16]",
    "X[2,16,9,64] " STATE_16 " train bn=train -> Y[2,16,9,64]",
    "X[3,16,2] " STATE_16 " train bn=affine -> Y[3,16,2]",
    "X[4,3,3] " STATE " train @9 -> Y[4,3,3] RM[3]:n RV[3]:n SM[3]:n SV[3]:n",
    "X[4,3,3] " STATE " train @7 -> Y[4,3,3]",
    "X[4,3,3] " STATE " train is_test=0 @6 -> Y[4,3,3]",
    "X[4,3,3] " STATE " train is_test=1 @6 -> Y[4,3,3]",
    "f[2,1,2]{1,2,3,4}:x f{2}:p f{1}:p f{0}:p f{1}:p epsilon=0 train training_mode=1 -> "
    "f[2,1,2]{-1.6832816,0.1055728,1.8944272,3.6832816} f{0.25}:n f{1.025}:n",
    "f[1,1,2]{1,2}:x f{2}:p f{1}:p f{1}:p f{4}:p epsilon=0 -> f[1,1,2]{1,2}",
    "X[0,3,3] " STATE " train training_mode=1 -> Y[0,3,3]",
    "X[3,3,5] S[1,3,1]:p B[3,1]:p M[3,1]:p V[1,3]:p range=0.3,2 train training_mode=1 lanes -> "
    "Y[3,3,5]",
    "X[2,4,3] " STATE " -> error: input 1 has shape [3], expected [4]",
    "X[2,4,3] S[1]:p B[4]:p M[4]:p V[4]:p -> error: input 1 has shape [1], expected [4]",
    "X[3] " STATE " -> error: rank 1",
    "X[2,3] " STATE " epsilon=-1 -> error: epsilon",
    "X[2,3] " STATE " momentum=2 -> error: momentum",
    "X[2,3] " STATE " spatial=0 @7 -> error: spatial",
    "X[2,3] " STATE " -> Y[2,3] A[3] B[3] C[3] D[3] -> error: 5 outputs",
    NULL};

/* Values on both sides of Relu's kink, none near it: 17 samples of 2 channels. */
#define FAR                                                                                        \
    "f[17,2,1]{-0.9,-0.9,0.8,1.2,-1.1,-1.1,1.2,0.8,-0.9,-0.9,1.2,1.2,1.2,-0.9,-0.9,-0.9,1.2,"      \
    "-1.1,-1.1,-0.9,-1.1,0.8,-1.1,0.8,1.2,1.2,1.2,1.2,1.2,-0.9,0.8,-1.1,-1.1,-0.9}:x f{1.5,"       \
    "-0.7}:p f{0.3,0.2}:p f{0.1,-0.1}:p f{1.2,0.9}:p "
#define FAR_Z                                                                                      \
    "f[17,2,1]{0.3,-0.1,0,0.3,0,0.3,0.3,0,0.3,-0.1,0,-0.2,0,-0.1,0,-0.2,-0.1,0,0,-0.2,-0.2,"       \
    "0.3,0.3,-0.2,0,-0.2,0.3,-0.1,-0.2,0,0.3,0.3,-0.2,-0.2}:x "

static const char *const relu_cases[] = {
    FAR "lanes -> Y[17,2,1]", FAR "train training_mode=1 lanes -> Y[17,2,1] RM[2]:n RV[2]:n",
    FAR "bn=frozen train training_mode=1 -> Y[17,2,1]",
    "f[1,1,3]{1,2,nan} f{2} f{-2.5} f{1} f{4} epsilon=0 -> f[1,1,3]{0,0,nan}", NULL};

static const char *const swish_cases[] = {
    "X[2,3,4,5] " STATE " alpha=1.5 -> Y[2,3,4,5]",
    "X[3,3,7,9] " STATE " train training_mode=1 lanes -> Y[3,3,7,9] RM[3]:n RV[3]:n",
    "X[3,32,3,5] " STATE_32 " alpha=0.7 train training_mode=1 lanes -> Y[3,32,3,5]",
    "X[2,16,9,64] " STATE_16 " bn=frozen train training_mode=1 -> Y[2,16,9,64]",
    "f[1,1,3]{1,2,nan} f{2} f{-2} f{1} f{4} epsilon=0 -> f[1,1,3]{-0.23840584,-0.26894142,nan}",
    NULL};

/* What Relu's cases stay away from are kinks of HardSwish as well, at -3 and 3. */
static const char *const hard_swish_cases[] = {
    FAR "lanes -> Y[17,2,1]", FAR "train training_mode=1 lanes -> Y[17,2,1] RM[2]:n RV[2]:n",
    FAR "bn=frozen train training_mode=1 -> Y[17,2,1]",
    "f[1,1,4]{1,3,9,nan} f{2} f{-2} f{1} f{4} epsilon=0 -> f[1,1,4]{-0.33333333,0,6,nan}", NULL};

static const char *const add_cases[] = {
    "X[3,16,2,5] " STATE_16 " Z[3,16,2,5] train training_mode=1 -> Y[3,16,2,5]",
    "X[3,3,2,5] " STATE " Z[3,3,2,5] -> Y[3,3,2,5]",
    "X[3,3,2,5] " STATE " Z[3,3,2,5] train training_mode=1 lanes -> Y[3,3,2,5] RM[3]:n RV[3]:n",
    "X[2,3,2] " STATE " Z[2,3,3] -> error: inputs 0 and 5 differ in shape", NULL};

static const char *const add_relu_cases[] = {
    FAR FAR_Z "lanes -> Y[17,2,1]",
    FAR FAR_Z "train training_mode=1 lanes -> Y[17,2,1] RM[2]:n RV[2]:n",
    FAR FAR_Z "bn=frozen train training_mode=1 -> Y[17,2,1]",
    "f[1,1,3]{1,2,3} f{2} f{-3} f{1} f{4} f[1,1,3]{1,4,nan} epsilon=0 -> f[1,1,3]{0,2,nan}", NULL};

#define NORM(Id, Name, inputs, reads, inner, more, texts)                                          \
    const struct op ot_op_##Id = {                                                                 \
        .name = Name,                                                                              \
        .since = 6,                                                                                \
        .min_in = inputs,                                                                          \
        .max_in = inputs,                                                                          \
        .min_out = 1,                                                                              \
        .max_out = 5,                                                                              \
        .attributes = "epsilon:f momentum:f spatial:i is_test:i training_mode:i" more,             \
        .needs = OT_X(X) | OT_X(SCALE) | OT_X(MEAN) | OT_X(VAR) | (reads),                         \
        .parameters = OT_X(SCALE) | OT_X(BIAS),                                                    \
        .statistics = OT_X(MEAN) | OT_X(VAR),                                                      \
        .y_over_x = OT_X(X) | OT_X(Z),                                                             \
        .dx_over_x = OT_X(X),                                                                      \
        .dx_over_dy = OT_X(X) | OT_X(Z),                                                           \
        .takes_more = true,                                                                        \
        .internal = inner,                                                                         \
        .plan_size = sizeof(struct batch_normalization_plan),                                      \
        .lanes = lanes,                                                                            \
        .channel_lanes = OT_CHANNEL_LANES,                                                         \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .again = again,                                                                            \
        .backward = backward,                                                                      \
        .cases = texts,                                                                            \
    };

NORM(BatchNormalization, "BatchNormalization", 5, 0, false, "", cases)
NORM(BatchNormalizationRelu, "BatchNormalization+Relu", 5, OT_X(BIAS), true, "", relu_cases)
NORM(BatchNormalizationSwish, "BatchNormalization+Swish", 5, OT_X(BIAS), true, " alpha:f",
     swish_cases)
NORM(BatchNormalizationHardSwish, "BatchNormalization+HardSwish", 5, OT_X(BIAS), true, "",
     hard_swish_cases)
NORM(BatchNormalizationAdd, "BatchNormalization+Add", 6, 0, true, "", add_cases)
NORM(BatchNormalizationAddRelu, "BatchNormalization+Add+Relu", 6, OT_Y(0), true, "", add_relu_cases)
