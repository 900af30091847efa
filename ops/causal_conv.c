/* causal_conv.c - CausalConvWithState: each channel convolved with its own k taps over what went
 * before, y[t] = act(bias + sum over j of w[j] p[t + j]), where p is past_state, k - 1 long (zeros
 * where it is absent), followed by x; present_state is the last k - 1 of p. act is none or
 * Swish, z sigmoid(z).
 *
 * With g the gradient before the activation: dp[t + j] += w[j] g[t], dw[j] = sum of g[t] p[t + j],
 * dbias = sum of g, over samples and t.
 */
#include <string.h>

#include "ops/kernels/exponential.h"
#include "ops/op.h"

enum { X, WEIGHT, BIAS, PAST };

struct causal_conv_plan {
    bool swish;
    int64_t batch, channels, length, taps;
};

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}

static ot_status check_shape(const struct op_node *n, int i, int rank, const int64_t *dim,
                             ot_error *err) {
    const struct tensor *t = input(n, i);
    struct tensor want = {.rank = rank};
    char have[128], text[128];
    if (!t) return OT_OK;
    memcpy(want.dim, dim, (size_t)rank * sizeof *dim);
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (!ot_same_shape(t, &want))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d has shape %s, expected %s", i,
                          ot_shape_text(t, have, sizeof have),
                          ot_shape_text(&want, text, sizeof text));
    return OT_OK;
}

static ot_status check_shapes(struct op_node *n, ot_error *err) {
    struct causal_conv_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[X], *w = n->x[WEIGHT];
    if (x->rank != 3 || w->rank != 3 || !w->dim[2])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "inputs 0 and 1 have ranks %d and %d, expected 3 and 3", x->rank,
                          w->rank);
    *plan = (struct causal_conv_plan){
        .batch = x->dim[0], .channels = x->dim[1], .length = x->dim[2], .taps = w->dim[2]};
    const int64_t weight[] = {plan->channels, 1, plan->taps};
    const int64_t past[] = {plan->batch, plan->channels, plan->taps - 1};
    OT_TRY(check_shape(n, X, 3, x->dim, err));
    OT_TRY(check_shape(n, WEIGHT, 3, weight, err));
    OT_TRY(check_shape(n, BIAS, 1, weight, err));
    OT_TRY(check_shape(n, PAST, 3, past, err));
    ot_op_like(n->y[0], x);
    return n->n_out > 1 && n->y[1] ? ot_op_set(n, n->y[1], OT_FLOAT, 3, past, err) : OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct causal_conv_plan *plan = ot_op_plan(n);
    const char *act = ot_attr_string(n->node, "activation", "none");
    const bool swish = !strcmp(act, "silu") || !strcmp(act, "swish");
    if (!swish && strcmp(act, "none") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'activation' is '%.40s', expected 'none', 'silu' or 'swish'",
                          act);
    OT_TRY(check_shapes(n, err));
    plan->swish = swish;
    const size_t padded = (size_t)(plan->length + plan->taps - 1) * sizeof(float);
    if (!ot_mul((size_t)plan->channels, padded, &n->forward_scratch_size) ||
        !ot_mul(3 * (size_t)plan->channels, padded, &n->backward_scratch_size))
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "the node needs more than 2^63 bytes of scratch memory");
    n->flops = 2.0 * (double)ot_count(n->x[X]) * (double)plan->taps;
    return OT_OK;
}

/* p of one channel of one sample. */
static void join_past(const struct op_node *n, int64_t b, int64_t c, float *p) {
    const struct causal_conv_plan *plan = n->plan;
    const int64_t row = b * plan->channels + c, before = plan->taps - 1;
    const struct tensor *past = input(n, PAST);
    if (past)
        memcpy(p, ot_f(past) + row * before, (size_t)before * sizeof *p);
    else
        memset(p, 0, (size_t)before * sizeof *p);
    memcpy(p + before, ot_f(n->x[X]) + row * plan->length, (size_t)plan->length * sizeof *p);
}

static void convolve(const struct op_node *n, int64_t c, const float *p, float *z) {
    const struct causal_conv_plan *plan = n->plan;
    const float *w = ot_f(n->x[WEIGHT]) + c * plan->taps;
    const float bias = input(n, BIAS) ? ot_f(n->x[BIAS])[c] : 0;
    for (int64_t t = 0; t < plan->length; t++) z[t] = bias;
    for (int64_t j = 0; j < plan->taps; j++)
        for (int64_t t = 0; t < plan->length; t++) z[t] += w[j] * p[t + j];
}

static inline float sigmoid(float x) { return 1 / (1 + ot_exp(-x)); }

static void forward_channel(void *arg, int c, int worker) {
    const struct op_node *n = arg;
    const struct causal_conv_plan *plan = n->plan;
    const int64_t before = plan->taps - 1;
    float *p = (float *)n->scratch + c * (plan->length + before);
    (void)worker;
    for (int64_t b = 0; b < plan->batch; b++) {
        const int64_t row = b * plan->channels + c;
        float *y = ot_f(n->y[0]) + row * plan->length;
        join_past(n, b, c, p);
        convolve(n, c, p, y);
        for (int64_t t = 0; plan->swish && t < plan->length; t++) y[t] *= sigmoid(y[t]);
        if (n->n_out > 1 && n->y[1])
            memcpy(ot_f(n->y[1]) + row * before, p + plan->length, (size_t)before * sizeof *p);
    }
}

/* g, the gradient before the activation; p is there. */
static void gradient_before(const struct op_node *n, int64_t row, int64_t c, const float *p,
                            float *g) {
    const struct causal_conv_plan *plan = n->plan;
    const float *dy = n->dy[0] ? ot_f(n->dy[0]) + row * plan->length : NULL;
    if (!dy) {
        memset(g, 0, (size_t)plan->length * sizeof *g);
    } else if (!plan->swish) {
        memcpy(g, dy, (size_t)plan->length * sizeof *g);
    } else {
        convolve(n, c, p, g);
        for (int64_t t = 0; t < plan->length; t++) {
            const float v = sigmoid(g[t]);
            g[t] = dy[t] * v * (1 + g[t] * (1 - v));
        }
    }
}

static void backward_channel(void *arg, int c, int worker) {
    const struct op_node *n = arg;
    const struct causal_conv_plan *plan = n->plan;
    const int64_t before = plan->taps - 1, padded = plan->length + before;
    const float *w = ot_f(n->x[WEIGHT]) + c * plan->taps;
    float *p = (float *)n->scratch + 3 * c * padded, *g = p + padded, *dp = g + padded;
    float *dw = n->dx[WEIGHT] ? ot_f(n->dx[WEIGHT]) + c * plan->taps : NULL;
    float *dpast = input(n, PAST) && n->dx[PAST] ? ot_f(n->dx[PAST]) : NULL;
    double bias = 0;
    (void)worker;
    for (int64_t j = 0; dw && j < plan->taps; j++) dw[j] = 0;
    for (int64_t b = 0; b < plan->batch; b++) {
        const int64_t row = b * plan->channels + c;
        join_past(n, b, c, p);
        gradient_before(n, row, c, p, g);
        memset(dp, 0, (size_t)padded * sizeof *dp);
        if (n->n_out > 1 && n->dy[1])
            memcpy(dp + plan->length, ot_f(n->dy[1]) + row * before, (size_t)before * sizeof *dp);
        for (int64_t t = 0; t < plan->length; t++) bias += (double)g[t];
        for (int64_t j = 0; j < plan->taps; j++) {
            double sum = 0;
            for (int64_t t = 0; t < plan->length; t++) {
                dp[t + j] += w[j] * g[t];
                sum += (double)g[t] * (double)p[t + j];
            }
            if (dw) dw[j] += (float)sum;
        }
        if (dpast) memcpy(dpast + row * before, dp, (size_t)before * sizeof *dp);
        if (n->dx[X])
            memcpy(ot_f(n->dx[X]) + row * plan->length, dp + before,
                   (size_t)plan->length * sizeof *dp);
    }
    if (input(n, BIAS) && n->dx[BIAS]) ot_f(n->dx[BIAS])[c] = (float)bias;
}

static void forward(struct op_node *n) {
    const struct causal_conv_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->channels, forward_channel, n);
}

static void backward(struct op_node *n) {
    const struct causal_conv_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)plan->channels, backward_channel, n);
}

static const char *const cases[] = {
    "X[2,3,7] W[3,1,4]:p B[3]:p -> Y[2,3,7]",
    "X[2,3,7] W[3,1,4]:p B[3]:p P[2,3,3] activation=silu -> Y[2,3,7] S[2,3,3]",
    "X[2,3,2] W[3,1,4]:p - P[2,3,3] activation=swish -> Y[2,3,2] S[2,3,3]",
    "X[2,3,5] W[3,1,1]:p -> Y[2,3,5] S[2,3,0]",
    "X[1,2,1] W[2,1,3]:p -> Y[1,2,1] S[1,2,2]",
    "f[1,1,3]{1,2,3} f[1,1,2]{10,1} f{0.5} f[1,1,1]{4} -> f[1,1,3]{41.5,12.5,23.5} f[1,1,1]{3}",
    "X[2,3,7] W[3,2,4] -> error: input 1 has shape [3,2,4], expected [3,1,4]",
    "X[2,3,7] W[3,1,4] B[2] -> error: input 2 has shape [2], expected [3]",
    "X[2,3] W[3,1,4] -> error: inputs 0 and 1 have ranks 2 and 3, expected 3 and 3",
    "X[2,3,7] W[3,1,4] activation=relu -> error: 'activation' is 'relu'",
    NULL,
};

const struct op ot_op_CausalConvWithState = {
    .name = "CausalConvWithState",
    .since = 27,
    .min_in = 2,
    .max_in = 4,
    .min_out = 1,
    .max_out = 2,
    .attributes = "activation:s",
    .needs = OT_X(X) | OT_X(WEIGHT) | OT_X(BIAS) | OT_X(PAST),
    .parameters = OT_X(WEIGHT) | OT_X(BIAS),
    .all_outputs = true,
    .plan_size = sizeof(struct causal_conv_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
