/* gate_function.c - activation functions of recurrent layers, by their names. */
#include "ops/recurrent/gate_function.h"

#include <math.h>
#include <strings.h>

#include "ops/kernels/kernels.h"

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
static ot_status check_alpha(const struct op_node *n, const struct gate_function *f,
                             ot_error *err) {
    const bool rising = f->kind == OT_GATE_LEAKY_RELU || f->kind == OT_GATE_THRESHOLDED_RELU ||
                        f->kind == OT_GATE_ELU;
    const bool steep = f->kind == OT_GATE_SCALED_TANH || f->kind == OT_GATE_HARD_SIGMOID;
    if ((rising && !(f->alpha >= 0)) || (steep && !(f->alpha > 0)))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "attribute 'activation_alpha' is %g for %s, expected a value that keeps "
                          "the function rising",
                          (double)f->alpha, table[f->kind].name);
    return OT_OK;
}

static ot_status find_function(const struct op_node *n, const char *name, struct gate_function *f,
                               ot_error *err) {
    for (int k = 0; k < OT_GATE_KINDS; k++) {
        if (strcasecmp(name, table[k].name) != 0) continue;
        f->kind = (enum gate_kind)k;
        f->alpha = table[k].alpha;
        f->beta = table[k].beta;
        return OT_OK;
    }
    return ot_op_fail(n, err, OT_ERROR_INVALID,
                      "attribute 'activations' contains '%.40s', which is not a known function",
                      name);
}

/* The next value of a list, if it has one. */
static void take_next(const struct attr *list, int64_t *at, float *value) {
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
    if (!(clip > 0))
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'clip' is %g, expected more than 0",
                          (double)clip);
    for (int i = 0; i < count; i++) {
        OT_TRY(find_function(n, given ? given->strings[i] : names[i], &f[i], err));
        if (table[f[i].kind].uses_alpha) take_next(alpha, &alphas, &f[i].alpha);
        if (table[f[i].kind].uses_beta) take_next(beta, &betas, &f[i].beta);
        OT_TRY(check_alpha(n, &f[i], err));
        f[i].clip = INFINITY;
        f[i].low = -clip;
        f[i].high = clip;
        n->kernels->gate_apply(&f[i], &f[i].low, 1);
        n->kernels->gate_apply(&f[i], &f[i].high, 1);
        f[i].clip = clip;
    }
    return OT_OK;
}
