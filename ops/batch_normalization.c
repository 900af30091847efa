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
 */
#include <math.h>

#include "ops/channels.h"
#include "ops/kernels/kernels.h"

struct state {
    bool batch; /* statistics of the batch */
    float epsilon, momentum;
    struct channels x;
};

enum { X, SCALE, BIAS, MEAN, VAR }; /* inputs */

static bool node_trains(const struct op_node *n) {
    if (n->node->opset < 7) return !ot_attr_int(n->node, "is_test", 0);
    if (n->node->opset >= 14) return ot_attr_int(n->node, "training_mode", 0) != 0;
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) return true;
    return false;
}

static ot_status read_attributes(const struct op_node *n, struct state *s, ot_error *err) {
    s->epsilon = ot_attr_float(n->node, "epsilon", 1e-5f);
    s->momentum = ot_attr_float(n->node, "momentum", 0.9f);
    if (!(s->epsilon >= 0) || !isfinite(s->epsilon))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'epsilon' is %g",
                          (double)s->epsilon);
    if (!(s->momentum >= 0 && s->momentum <= 1))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'momentum' is %g, not in [0, 1]",
                          (double)s->momentum);
    if (n->node->opset < 9 && ot_attr_int(n->node, "spatial", 1) != 1)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "attribute 'spatial' is not 1");
    if (n->node->opset >= 14 && n->n_out > 3)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "%d outputs", n->n_out);
    s->batch = n->training && (n->bn == OT_BN_TRAIN || (n->bn == OT_BN_AUTO && node_trains(n)));
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    return lane_rank == 1 && n->x[X]->rank >= 2;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[X];
    struct state *s = n->state;
    char text[128];
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (x->rank < 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input of rank %d has no channels", x->rank);
    OT_TRY(read_attributes(n, s, err));
    for (int i = SCALE; i <= VAR; i++) {
        OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
        if (n->x[i]->rank != 1 || n->x[i]->dim[0] != x->dim[1])
            return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is %s for %lld channels", i,
                              ot_shape_text(n->x[i], text, sizeof text), (long long)x->dim[1]);
    }
    ot_channels_of(x, &s->x);
    ot_op_like(n->y[0], x);
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) OT_TRY(ot_op_set(n, n->y[i], OT_FLOAT, 1, &x->dim[1], err));
    n->mixes = s->batch;
    if (s->batch) n->save_size = (size_t)s->x.channels * 2 * sizeof(float);
    return OT_OK;
}

/* ---- forward ---- */

static void put(const struct op_node *n, int output, int64_t c, float value) {
    if (output < n->n_out && n->y[output]) ot_f(n->y[output])[c] = value;
}

/* Running mean or variance (x[i]) moves towards the batch's; outputs i - 2 and i get them. Where it
 * is not a statistic of the model but a computed value, it stays. */
static void move_statistic(const struct op_node *n, int i, int64_t c, float batch) {
    const float keep = ((const struct state *)n->state)->momentum;
    float *running = ot_f(n->x[i]) + c;
    const float moved = keep * *running + (1 - keep) * batch;
    if (n->x[i]->role == OT_ROLE_PARAM) *running = moved;
    put(n, i - 2, c, moved);
    put(n, i, c, batch);
}

/* Mean and 1 / sqrt(var + epsilon) that hold for this channel. */
static void statistics(const struct op_node *n, int64_t c, float *mean, float *inverse) {
    const struct state *s = n->state;
    if (s->batch && s->x.count) {
        double m, square;
        ot_channel_moments(n->kernels, &s->x, ot_f(n->x[X]), c, &m, &square);
        const double var = square / (double)s->x.count;
        *mean = (float)m;
        *inverse = (float)(1 / sqrt(var + (double)s->epsilon));
        move_statistic(n, MEAN, c, *mean);
        move_statistic(n, VAR, c, (float)var);
        return;
    }
    *mean = ot_f(n->x[MEAN])[c];
    *inverse = 1 / sqrtf(ot_f(n->x[VAR])[c] + s->epsilon);
    for (int i = MEAN; i <= VAR; i++) {
        put(n, i - 2, c, ot_f(n->x[i])[c]);
        put(n, i, c, ot_f(n->x[i])[c]);
    }
}

static void normalize(const struct op_node *n, int64_t c, float mean, float inverse) {
    const struct state *s = n->state;
    const float gain = inverse * ot_f(n->x[SCALE])[c], bias = ot_f(n->x[BIAS])[c];
    for (int64_t o = 0; o < s->x.outer; o++) {
        const int64_t at = (o * s->x.channels + c) * s->x.inner;
        n->kernels->scale(ot_f(n->x[X]) + at, mean, gain, bias, ot_f(n->y[0]) + at,
                          (size_t)s->x.inner);
    }
}

static void forward_channel(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const int64_t c = task;
    float mean, inverse;
    statistics(n, c, &mean, &inverse);
    if (s->batch) {
        ((float *)n->save)[2 * c] = mean;
        ((float *)n->save)[2 * c + 1] = inverse;
    }
    normalize(n, c, mean, inverse);
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)s->x.channels, forward_channel, n);
}

/* Mean and 1 / sqrt(var + epsilon) that forward used: statistics have moved since. */
static void used_statistics(const struct op_node *n, int64_t c, float *mean, float *inverse) {
    const struct state *s = n->state;
    const float *saved = n->save;
    *mean = s->batch ? saved[2 * c] : ot_f(n->x[MEAN])[c];
    *inverse = s->batch ? saved[2 * c + 1] : 1 / sqrtf(ot_f(n->x[VAR])[c] + s->epsilon);
}

static void again_channel(void *arg, int task, int worker) {
    (void)worker;
    float mean, inverse;
    used_statistics(arg, task, &mean, &inverse);
    normalize(arg, task, mean, inverse);
}

static void again(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)s->x.channels, again_channel, n);
}

/* ---- backward ---- */

/* dx = gain * dy, and with batch statistics + slope * (x - mean) + shift */
struct line {
    float mean, gain, slope, shift;
};

static void backward_data(const struct op_node *n, int64_t c, const struct line *l) {
    const struct state *s = n->state;
    for (int64_t o = 0; o < s->x.outer; o++) {
        const int64_t at = (o * s->x.channels + c) * s->x.inner;
        const float *dy = ot_f(n->dy[0]) + at;
        float *dx = ot_f(n->dx[X]) + at;
        if (s->batch)
            n->kernels->combine(dy, l->gain, ot_f(n->x[X]) + at, l->mean, l->slope, l->shift, dx,
                                (size_t)s->x.inner);
        else
            n->kernels->scale(dy, 0, l->gain, 0, dx, (size_t)s->x.inner);
    }
}

static void backward_channel(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const int64_t c = task;
    float mean, inverse;
    used_statistics(n, c, &mean, &inverse);
    double sum = 0, product = 0; /* of dy, of dy (x - mean) */
    if (s->batch || n->dx[SCALE] || n->dx[BIAS] || n->dx[MEAN] || n->dx[VAR])
        ot_channel_products(n->kernels, &s->x, ot_f(n->dy[0]), ot_f(n->x[X]), mean, c, &sum,
                            &product);
    if (n->dx[SCALE]) ot_f(n->dx[SCALE])[c] = (float)(product * (double)inverse);
    if (n->dx[BIAS]) ot_f(n->dx[BIAS])[c] = (float)sum;
    const float gain = inverse * ot_f(n->x[SCALE])[c], fixed = s->batch ? 0 : gain;
    if (n->dx[MEAN]) ot_f(n->dx[MEAN])[c] = (float)(-fixed * sum);
    if (n->dx[VAR])
        ot_f(n->dx[VAR])[c] = (float)(-0.5 * fixed * (double)inverse * inverse * product);
    if (!n->dx[X]) return;
    const double m = (double)s->x.count;
    const struct line l = {mean, gain, (float)(-gain * (double)inverse * inverse * product / m),
                           (float)(-gain * sum / m)};
    backward_data(n, c, &l);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)s->x.channels, backward_channel, n);
}

#define STATE "S[3]:p B[3]:p M[3]:p V[3]:p range=0.3,2"

static const char *const cases[] = {
    "X[2,3,4,5] " STATE " -> Y[2,3,4,5]",
    "X[5,3] " STATE " lanes -> Y[5,3]",
    "X[2,3,40] " STATE " bn=frozen train training_mode=1 -> Y[2,3,40]",
    "X[2,3,4,5] " STATE " bn=affine train training_mode=1 -> Y[2,3,4,5]",
    "X[3,3,7,9] " STATE " train training_mode=1 lanes -> Y[3,3,7,9] RM[3]:n RV[3]:n",
    "X[17,3,2,2] " STATE " train bn=train momentum=0.7 lanes -> Y[17,3,2,2]",
    "X[9,3] " STATE " train training_mode=1 lanes -> Y[9,3]",
    "X[4,3,3] " STATE " train @9 -> Y[4,3,3] RM[3]:n RV[3]:n SM[3]:n SV[3]:n",
    "X[4,3,3] " STATE " train @7 -> Y[4,3,3]",
    "X[4,3,3] " STATE " train is_test=0 @6 -> Y[4,3,3]",
    "X[4,3,3] " STATE " train is_test=1 @6 -> Y[4,3,3]",
    "f[2,1,2]{1,2,3,4}:x f{2}:p f{1}:p f{0}:p f{1}:p epsilon=0 train training_mode=1 -> "
    "f[2,1,2]{-1.6832816,0.1055728,1.8944272,3.6832816} f{0.25}:n f{1.025}:n",
    "f[1,1,2]{1,2}:x f{2}:p f{1}:p f{1}:p f{4}:p epsilon=0 -> f[1,1,2]{1,2}",
    "X[0,3,3] " STATE " train training_mode=1 -> Y[0,3,3]",
    "X[2,4,3] " STATE " -> error: input 1 is [3] for 4 channels",
    "X[3] " STATE " -> error: rank 1",
    "X[2,3] " STATE " epsilon=-1 -> error: epsilon",
    "X[2,3] " STATE " momentum=2 -> error: momentum",
    "X[2,3] " STATE " spatial=0 @7 -> error: spatial",
    "X[2,3] " STATE " -> Y[2,3] A[3] B[3] C[3] D[3] -> error: 5 outputs",
    NULL};

const struct op ot_op_BatchNormalization = {
    .name = "BatchNormalization",
    .since = 6,
    .min_in = 5,
    .max_in = 5,
    .min_out = 1,
    .max_out = 5,
    .attributes = "epsilon:f momentum:f spatial:i is_test:i training_mode:i",
    .needs = OT_X(X) | OT_X(SCALE) | OT_X(MEAN) | OT_X(VAR),
    .parameters = OT_X(SCALE) | OT_X(BIAS),
    .statistics = OT_X(MEAN) | OT_X(VAR),
    .state_size = sizeof(struct state),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .again = again,
    .backward = backward,
    .cases = cases,
};
