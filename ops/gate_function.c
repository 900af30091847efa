/* gate_function.c - activation functions of recurrent layers: names, values, slopes. */
#include "ops/gate_function.h"

#include <math.h>
#include <strings.h>

#include "ops/kernels/exponential.h"

/* uses: which of alpha and beta it reads from the lists, and what they are without. */
static const struct {
    const char *name;
    bool uses_alpha, uses_beta;
    float alpha, beta;
} table[OT_GATE_KINDS] = {
    [OT_GATE_SIGMOID] = {"Sigmoid", false, false, 0, 0},
    [OT_GATE_TANH] = {"Tanh", false, false, 0, 0},
    [OT_GATE_RELU] = {"Relu", false, false, 0, 0},
    [OT_GATE_AFFINE] = {"Affine", true, true, 1.0f, 0},
    [OT_GATE_LEAKY_RELU] = {"LeakyRelu", true, false, 0.01f, 0},
    [OT_GATE_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1.0f, 0},
    [OT_GATE_SCALED_TANH] = {"ScaledTanh", true, true, 1.0f, 1.0f},
    [OT_GATE_HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2f, 0.5f},
    [OT_GATE_ELU] = {"Elu", true, false, 1.0f, 0},
    [OT_GATE_SOFTSIGN] = {"Softsign", false, false, 0, 0},
    [OT_GATE_SOFTPLUS] = {"Softplus", false, false, 0, 0},
};

/* The slope must be told from y, so f must not come back to a value that it had elsewhere. */
static ot_status check(const struct op_node *n, const struct gate_function *f, ot_error *err) {
    const bool rising = f->kind == OT_GATE_LEAKY_RELU || f->kind == OT_GATE_THRESHOLDED_RELU ||
                        f->kind == OT_GATE_ELU;
    const bool steep = f->kind == OT_GATE_SCALED_TANH || f->kind == OT_GATE_HARD_SIGMOID;
    if ((rising && !(f->alpha >= 0)) || (steep && !(f->alpha > 0)))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "alpha %g of %s", (double)f->alpha,
                          table[f->kind].name);
    return OT_OK;
}

static ot_status find(const struct op_node *n, const char *name, struct gate_function *f,
                      ot_error *err) {
    for (int k = 0; k < OT_GATE_KINDS; k++) {
        if (strcasecmp(name, table[k].name) != 0) continue;
        f->kind = (enum gate_kind)k;
        f->alpha = table[k].alpha;
        f->beta = table[k].beta;
        return OT_OK;
    }
    return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'activations' holds '%.40s'", name);
}

/* The next value of a list, if it has one. */
static void take(const struct attr *list, int64_t *at, float *value) {
    if (list && *at < list->n) *value = list->floats[(*at)++];
}

ot_status ot_gate_functions_read(const struct op_node *n, const char *const *names, int count,
                              struct gate_function *f, ot_error *err) {
    const struct attr *given = ot_attr(n->node, "activations");
    const struct attr *alpha = ot_attr(n->node, "activation_alpha");
    const struct attr *beta = ot_attr(n->node, "activation_beta");
    const float clip = ot_attr(n->node, "clip") ? ot_attr_float(n->node, "clip", 0) : INFINITY;
    int64_t alphas = 0, betas = 0;
    if (given && given->n != count)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'activations' has %lld names, expected %d",
                          (long long)given->n, count);
    if (!(clip > 0)) return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'clip' is %g",
                                       (double)clip);
    for (int i = 0; i < count; i++) {
        OT_TRY(find(n, given ? given->strings[i] : names[i], &f[i], err));
        if (table[f[i].kind].uses_alpha) take(alpha, &alphas, &f[i].alpha);
        if (table[f[i].kind].uses_beta) take(beta, &betas, &f[i].beta);
        OT_TRY(check(n, &f[i], err));
        f[i].clip = INFINITY;
        f[i].low = -clip;
        f[i].high = clip;
        ot_gate_apply(&f[i], &f[i].low, 1);
        ot_gate_apply(&f[i], &f[i].high, 1);
        f[i].clip = clip;
    }
    return OT_OK;
}

static inline float sigmoid(float x) { return 1 / (1 + ot_exp(-x)); }

/* Small x keep their digits: 2 sigmoid(2x) - 1 would lose them. */
static inline float tangens(float x) {
    const float x2 = x * x;
    const float near = x * (1 + x2 * (-1.0f / 3 + x2 * (2.0f / 15 + x2 * (-17.0f / 315))));
    const float far = 2 * sigmoid(2 * x) - 1;
    return x2 < 0.04f ? near : far;
}

#define EACH(expression)                      \
    for (int64_t i = 0; i < count; i++) {     \
        const float v = x[i];                 \
        x[i] = (expression);                  \
    }                                         \
    break

void ot_gate_apply(const struct gate_function *f, float *x, int64_t count) {
    const float a = f->alpha, b = f->beta;
    if (f->clip < INFINITY)
        for (int64_t i = 0; i < count; i++) {
            const float low = x[i] < -f->clip ? -f->clip : x[i];
            x[i] = low > f->clip ? f->clip : low;
        }
    switch (f->kind) {
    case OT_GATE_SIGMOID: EACH(sigmoid(v));
    case OT_GATE_TANH: EACH(tangens(v));
    case OT_GATE_RELU: EACH(v > 0 ? v : 0);
    case OT_GATE_AFFINE: EACH(a * v + b);
    case OT_GATE_LEAKY_RELU: EACH(v > 0 ? v : a * v);
    case OT_GATE_THRESHOLDED_RELU: EACH(v > a ? v : 0);
    case OT_GATE_SCALED_TANH: EACH(a * tangens(b * v));
    case OT_GATE_HARD_SIGMOID: EACH(fminf(1, fmaxf(0, a * v + b)));
    case OT_GATE_ELU: EACH(v > 0 ? v : a * ot_expm1_negative(v));
    case OT_GATE_SOFTSIGN: EACH(v / (1 + fabsf(v)));
    default: EACH((v > 0 ? v : 0) + log1pf(ot_exp(-fabsf(v))));
    }
}
#undef EACH

#define EACH(slope)                                        \
    for (int64_t i = 0; i < count; i++) {                  \
        const float v = y[i];                              \
        d[i] *= (slope);                                   \
    }                                                      \
    break

void ot_gate_slope(const struct gate_function *f, const float *y, float *d, int64_t count) {
    const float a = f->alpha, b = f->beta;
    switch (f->kind) {
    case OT_GATE_SIGMOID: EACH(v * (1 - v));
    case OT_GATE_TANH: EACH(1 - v * v);
    case OT_GATE_RELU: EACH(v > 0 ? 1.0f : 0);
    case OT_GATE_AFFINE: EACH(v == v ? a : v);
    case OT_GATE_LEAKY_RELU: EACH(v > 0 ? 1.0f : a);
    case OT_GATE_THRESHOLDED_RELU: EACH(v > 0 ? 1.0f : 0);
    case OT_GATE_SCALED_TANH: EACH(a * b * (1 - (v / a) * (v / a)));
    case OT_GATE_HARD_SIGMOID: EACH(v > 0 && v < 1 ? a : 0);
    case OT_GATE_ELU: EACH(v > 0 ? 1.0f : v + a);
    case OT_GATE_SOFTSIGN: EACH((1 - fabsf(v)) * (1 - fabsf(v)));
    default: EACH(-expm1f(-v));
    }
    if (f->clip == INFINITY) return;
    const float low = fminf(f->low, f->high), high = fmaxf(f->low, f->high);
    for (int64_t i = 0; i < count; i++)
        if (y[i] <= low || y[i] >= high) d[i] = 0;
}
#undef EACH
