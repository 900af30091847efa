/* rules.c - what each optimizer does to values, gradients and moments. */
#include <math.h>

#include "runtime/train/update.h"

static void sgd(struct update u, int64_t from, int64_t to) {
    const float mu = u.o->momentum, wd = u.o->weight_decay, lr = u.lr, scale = u.scale;
    const bool nesterov = u.o->nesterov;
    for (int64_t i = from; i < to; i++) {
        float g = u.g[i] * scale + wd * u.w[i];
        if (u.m) {
            u.m[i] = mu * u.m[i] + u.share * g;
            g = nesterov ? g + mu * u.m[i] : u.m[i];
        }
        u.w[i] -= lr * g;
    }
}

static void adam(struct update u, int64_t from, int64_t to) {
    const float b1 = u.o->beta1, b2 = u.o->beta2, eps = u.o->eps, lr = u.lr;
    const bool decoupled = u.o->kind == OT_ADAMW;
    const float wd = u.o->weight_decay;
    for (int64_t i = from; i < to; i++) {
        float w = u.w[i], g = u.g[i] * u.scale;
        if (decoupled)
            w -= lr * wd * w;
        else
            g += wd * w;
        u.m[i] = b1 * u.m[i] + (1 - b1) * g;
        u.v[i] = b2 * u.v[i] + (1 - b2) * g * g;
        float denominator = sqrtf(u.v[i]) / u.correction2 + eps;
        u.w[i] = w - lr / u.correction1 * u.m[i] / denominator;
    }
}

static void adagrad(struct update u, int64_t from, int64_t to) {
    const float eps = u.o->eps, wd = u.o->weight_decay;
    for (int64_t i = from; i < to; i++) {
        const float g = u.g[i] * u.scale + wd * u.w[i];
        u.m[i] += g * g;
        u.w[i] -= u.lr * g / (sqrtf(u.m[i]) + eps);
    }
}

static void adam_onnx(struct update u, int64_t from, int64_t to) {
    const float b1 = u.o->beta1, b2 = u.o->beta2, eps = u.o->eps, wd = u.o->weight_decay;
    const float kept = 1 - u.o->post_decay;
    for (int64_t i = from; i < to; i++) {
        const float g = u.g[i] * u.scale + wd * u.w[i];
        u.m[i] = b1 * u.m[i] + (1 - b1) * g;
        u.v[i] = b2 * u.v[i] + (1 - b2) * g * g;
        u.w[i] = kept * (u.w[i] - u.lr * u.m[i] / (sqrtf(u.v[i]) + eps));
    }
}

update_rule *ot_update_rule(ot_optimizer_kind kind) {
    static update_rule *const rules[] = {
        [OT_SGD] = sgd,         [OT_ADAM] = adam,           [OT_ADAMW] = adam,
        [OT_ADAGRAD] = adagrad, [OT_ADAM_ONNX] = adam_onnx,
    };
    return rules[kind];
}
