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
 * dx = g dy, and with batch statistics
 * dx = g (dy - sum dy / m - (x - mean) / (var + epsilon) * sum dy (x - mean) / m).
 */
#include "ops/op.h"

#include <math.h>

enum { SPLIT = 32, FLUSH = 8 }; /* partial sums in float, and after how many they go to double */

struct state {
    bool batch; /* statistics of the batch */
    float epsilon, momentum;
    int64_t channels, outer, inner; /* the array is [outer][channels][inner] */
    int64_t spare_block; /* the outer index whose last lanes are spare; -1: none */
    int64_t lanes, used; /* in that block: L, and lanes that are not spare */
    int64_t count;       /* elements of a channel */
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

static void set_array(const struct tensor *x, struct state *s) {
    s->channels = x->dim[1];
    s->count = x->dim[0] * ot_dims_product(x, 2, x->rank);
    s->outer = x->lanes ? ot_lane_blocks(x) : x->dim[0];
    s->inner = ot_dims_product(x, 2, x->rank) * (x->lanes ? x->lanes : 1);
    s->spare_block = -1;
    if (!x->lanes || x->dim[0] % x->lanes == 0) return;
    s->spare_block = s->outer - 1;
    s->lanes = x->lanes;
    s->used = x->dim[0] % x->lanes;
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
    set_array(x, s);
    ot_op_like(n->y[0], x);
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) OT_TRY(ot_op_set(n, n->y[i], OT_FLOAT, 1, &x->dim[1], err));
    if (s->batch) n->save_size = (size_t)s->channels * 2 * sizeof(float);
    return OT_OK;
}

/* ---- sums over a channel ---- */

struct sums {
    double a, ab; /* sum of a, and of (a - a0) (b - b0) */
};

/* Up to FLUSH times SPLIT elements, n of them; the rest goes to double one by one. */
static void add_piece(struct sums *sum, const float *a, const float *b, float a0, float b0,
                      int64_t n) {
    float pa[SPLIT] = {0}, pab[SPLIT] = {0};
    int64_t k = 0;
    for (; k + SPLIT <= n; k += SPLIT)
        for (int j = 0; j < SPLIT; j++) {
            pa[j] += a[k + j];
            pab[j] += (a[k + j] - a0) * (b[k + j] - b0);
        }
    for (int j = 0; j < SPLIT; j++) {
        sum->a += pa[j];
        sum->ab += pab[j];
    }
    for (; k < n; k++) {
        sum->a += a[k];
        sum->ab += (a[k] - a0) * (b[k] - b0);
    }
}

static void add_run(struct sums *sum, const float *a, const float *b, float a0, float b0,
                    int64_t n) {
    const int64_t piece = SPLIT * FLUSH;
    for (int64_t i = 0; i < n; i += piece)
        add_piece(sum, a + i, b + i, a0, b0, n - i < piece ? n - i : piece);
}

static struct sums channel_sums(const struct state *s, const float *a, const float *b, float a0,
                                float b0, int64_t channel) {
    struct sums sum = {0, 0};
    for (int64_t o = 0; o < s->outer; o++) {
        const int64_t at = (o * s->channels + channel) * s->inner;
        if (o != s->spare_block) {
            add_run(&sum, a + at, b + at, a0, b0, s->inner);
            continue;
        }
        for (int64_t i = at; i < at + s->inner; i += s->lanes)
            add_run(&sum, a + i, b + i, a0, b0, s->used);
    }
    return sum;
}

/* ---- forward ---- */

/* y = (x - mean) * gain + bias */
static void scale_run(const float *x, float mean, float gain, float bias, float *y, int64_t n) {
    for (int64_t k = 0; k < n; k++) y[k] = (x[k] - mean) * gain + bias;
}

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
    if (s->batch && s->count) {
        const float *x = ot_f(n->x[X]);
        *mean = (float)(channel_sums(s, x, x, 0, 0, c).a / (double)s->count);
        const double var = channel_sums(s, x, x, *mean, *mean, c).ab / (double)s->count;
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
    const float gain = inverse * ot_f(n->x[SCALE])[c], bias = ot_f(n->x[BIAS])[c];
    for (int64_t o = 0; o < s->outer; o++) {
        const int64_t at = (o * s->channels + c) * s->inner;
        scale_run(ot_f(n->x[X]) + at, mean, gain, bias, ot_f(n->y[0]) + at, s->inner);
    }
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)s->channels, forward_channel, n);
}

/* ---- backward ---- */

/* dx = gain * dy + slope * (x - mean) + shift */
static void back_run(const float *dy, const float *x, const float k[4], float *dx, int64_t n) {
    const float gain = k[0], slope = k[1], mean = k[2], shift = k[3];
    for (int64_t i = 0; i < n; i++) dx[i] = gain * dy[i] + slope * (x[i] - mean) + shift;
}

static void backward_channel(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const int64_t c = task;
    const float *x = ot_f(n->x[X]), *dy = ot_f(n->dy[0]), *saved = n->save;
    const float mean = s->batch ? saved[2 * c] : ot_f(n->x[MEAN])[c];
    const float inverse =
        s->batch ? saved[2 * c + 1] : 1 / sqrtf(ot_f(n->x[VAR])[c] + s->epsilon);
    struct sums sum = {0, 0};
    if (s->batch || n->dx[SCALE] || n->dx[BIAS]) sum = channel_sums(s, dy, x, 0, mean, c);
    if (n->dx[SCALE]) ot_f(n->dx[SCALE])[c] = (float)(sum.ab * (double)inverse);
    if (n->dx[BIAS]) ot_f(n->dx[BIAS])[c] = (float)sum.a;
    if (!n->dx[X]) return;
    const float gain = inverse * ot_f(n->x[SCALE])[c];
    const double m = (double)s->count;
    for (int64_t o = 0; o < s->outer; o++) {
        const int64_t at = (o * s->channels + c) * s->inner;
        if (s->batch) {
            const float k[4] = {gain, (float)(-gain * (double)inverse * inverse * sum.ab / m), mean,
                                (float)(-gain * sum.a / m)};
            back_run(dy + at, x + at, k, ot_f(n->dx[X]) + at, s->inner);
        } else {
            scale_run(dy + at, 0, gain, 0, ot_f(n->dx[X]) + at, s->inner);
        }
    }
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    ot_parallel_for(n->pool, (int)s->channels, backward_channel, n);
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
    .backward = backward,
    .cases = cases,
};
