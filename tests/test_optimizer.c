/* test_optimizer.c - optimizers and schedules against their formulas, in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/pool.h"
#include "runtime/base/rng.h"
#include "runtime/train/optimizer.h"

static void fill(float *x, int n, uint64_t stream) {
    for (int i = 0; i < n; i++) x[i] = ot_random_normal(7, stream, (uint64_t)i);
}

/* ---- optimizers ---- */

enum { W = 1000, STEPS = 12 };

/* The formulas of optimizer.h, written for one weight. */
struct reference {
    double w, m, v;
};

/* What the operators Adagrad and Adam of ai.onnx.preview.training say. */
static void onnx_step(const ot_optimizer_options *o, struct reference *r, double g, double t) {
    double lr = o->lr;
    g += o->weight_decay * r->w;
    if (o->kind == OT_ADAGRAD) {
        r->m += g * g;
        r->w -= lr / (1 + t * o->lr_decay) * g / (sqrt(r->m) + o->eps);
        return;
    }
    if (t > 0) lr *= sqrt(1 - pow(o->beta2, t)) / (1 - pow(o->beta1, t));
    r->m = o->beta1 * r->m + (1 - o->beta1) * g;
    r->v = o->beta2 * r->v + (1 - o->beta2) * g * g;
    r->w = (1 - o->post_decay) * (r->w - lr * r->m / (sqrt(r->v) + o->eps));
}

static void reference_step(const ot_optimizer_options *o, struct reference *r, double g, int t) {
    double lr = o->lr;
    t += (int)o->steps_before;
    if (o->kind >= OT_ADAGRAD) {
        onnx_step(o, r, g, t);
        return;
    }
    if (o->kind == OT_SGD) {
        g += o->weight_decay * r->w;
        r->m = t ? o->momentum * r->m + (1 - (double)o->dampening) * g : g;
        if (o->momentum > 0) g = o->nesterov ? g + o->momentum * r->m : r->m;
        r->w -= lr * g;
        return;
    }
    if (o->kind == OT_ADAMW)
        r->w -= lr * o->weight_decay * r->w;
    else
        g += o->weight_decay * r->w;
    r->m = o->beta1 * r->m + (1 - o->beta1) * g;
    r->v = o->beta2 * r->v + (1 - o->beta2) * g * g;
    r->w -= lr * (r->m / (1 - pow(o->beta1, t + 1))) /
            (sqrt(r->v / (1 - pow(o->beta2, t + 1))) + o->eps);
}

static void optimizers_follow_their_formulas(void **state) {
    (void)state;
    const ot_optimizer_options options[] = {
        {.kind = OT_SGD, .lr = 0.1f},
        {.kind = OT_SGD, .lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f},
        {.kind = OT_SGD, .lr = 0.1f, .momentum = 0.9f, .nesterov = 1},
        {.kind = OT_SGD, .lr = 0.1f, .momentum = 0.9f, .dampening = 0.4f},
        {.kind = OT_SGD, .lr = 0.1f, .momentum = 0.9f, .dampening = 0.4f, .steps_before = 1},
        {.kind = OT_ADAM, .lr = 0.01f, .weight_decay = 0.1f},
        {.kind = OT_ADAM, .lr = 0.01f, .steps_before = 5},
        {.kind = OT_ADAGRAD, .lr = 0.1f, .weight_decay = 0.1f, .lr_decay = 0.2f, .eps = 1e-3f},
        {.kind = OT_ADAGRAD, .lr = 0.1f, .lr_decay = 0.2f, .steps_before = 3},
        {.kind = OT_ADAM_ONNX, .lr = 0.01f, .weight_decay = 0.1f, .eps = 1e-2f},
        {.kind = OT_ADAM_ONNX, .lr = 0.01f, .post_decay = 0.01f, .steps_before = 2},
        {.kind = OT_ADAMW, .lr = 0.01f, .weight_decay = 0.1f, .beta1 = 0.8f, .beta2 = 0.95f},
        {.kind = OT_ADAM, .lr = 0.01f, .beta2 = 0.9f, .eps = 1e-3f, .exact = 1},
        {.kind = OT_ADAM, .lr = 0.01f, .beta1 = 0.9f, .eps = 1e-3f, .exact = 1},
        {.kind = OT_ADAMW, .lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.9f, .exact = 1},
        {.kind = OT_ADAGRAD, .lr = 0.01f, .exact = 1},
        {.kind = OT_ADAM_ONNX, .lr = 0.01f, .exact = 1},
    };
    struct pool *pool = NULL;
    assert_int_equal(ot_pool_new(NULL, 2, NULL, NULL, &pool, NULL), OT_OK);
    for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
        static float w[W], g[W], m[W], v[W];
        struct reference r[W];
        struct parameter p = {.name = "w",
                              .t = {.type = OT_FLOAT, .rank = 1, .dim = {W}, .data = w},
                              .gradient = g,
                              .fixed = OT_TRAINED};
        struct optimizer o = {.is_set = true};
        assert_int_equal(ot_optimizer_check(&options[k], &o.options, NULL), OT_OK);
        int moments = ot_optimizer_moments(&o.options);
        p.moment[0] = moments > 0 ? m : NULL;
        p.moment[1] = moments > 1 ? v : NULL;
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        fill(w, W, 3);
        for (int i = 0; i < W; i++) r[i] = (struct reference){.w = w[i]};
        for (int t = 0; t < STEPS; t++) {
            double norm;
            fill(g, W, (uint64_t)(100 + t));
            for (int i = 0; i < W; i++) reference_step(&o.options, &r[i], 0.5 * g[i], t);
            assert_int_equal(ot_optimizer_run(&o, &p, 1, 0.5, pool, &norm, NULL), OT_OK);
            assert_true(p.gradient_is_zero);
            p.gradient_is_zero = false;
        }
        for (int i = 0; i < W; i++) assert_float_equal(w[i], r[i].w, 2e-5);
    }
    ot_pool_free(pool);
}

static void clipping_scales_to_the_norm_and_nan_changes_nothing(void **state) {
    (void)state;
    float w[2] = {1, 1}, g[2] = {30, 40};
    struct parameter p = {.name = "w",
                          .t = {.type = OT_FLOAT, .rank = 1, .dim = {2}, .data = w},
                          .gradient = g,
                          .fixed = OT_TRAINED};
    struct optimizer o = {.options = {.lr = 1, .clip_norm = 5}, .is_set = true};
    struct pool *pool = NULL;
    double norm;
    assert_int_equal(ot_pool_new(NULL, 1, NULL, NULL, &pool, NULL), OT_OK);
    assert_int_equal(ot_optimizer_run(&o, &p, 1, 1, pool, &norm, NULL), OT_OK);
    assert_float_equal(norm, 50, 1e-9);
    assert_float_equal(w[0], 1 - 3, 1e-5);
    assert_float_equal(w[1], 1 - 4, 1e-5);
    g[1] = NAN;
    p.gradient_is_zero = false;
    ot_error err;
    assert_int_equal(ot_optimizer_run(&o, &p, 1, 1, pool, &norm, &err), OT_ERROR_NUMERIC);
    assert_non_null(strstr(err.message, "'w'"));
    assert_float_equal(w[0], -2, 1e-5);
    ot_pool_free(pool);
}

static void schedules_reach_their_ends(void **state) {
    (void)state;
    ot_optimizer_options o = {
        .lr = 1, .warmup_steps = 10, .total_steps = 110, .final_factor = 0.1f};
    assert_float_equal(ot_schedule_lr(&o, 4), 0.5, 1e-9);
    assert_float_equal(ot_schedule_lr(&o, 500), 1, 1e-9);
    o.schedule = OT_SCHEDULE_LINEAR;
    assert_float_equal(ot_schedule_lr(&o, 60), 0.55, 1e-6);
    assert_float_equal(ot_schedule_lr(&o, 1000), 0.1, 1e-6);
    o.schedule = OT_SCHEDULE_COSINE;
    assert_float_equal(ot_schedule_lr(&o, 10), 1, 1e-6);
    assert_float_equal(ot_schedule_lr(&o, 60), 0.55, 1e-6);
    assert_float_equal(ot_schedule_lr(&o, 110), 0.1, 1e-6);
    o = (ot_optimizer_options){
        .lr = 1, .schedule = OT_SCHEDULE_STEP, .step_size = 3, .gamma = 0.5f};
    assert_float_equal(ot_schedule_lr(&o, 7), 0.25, 1e-6);
}

/* Zero is a legal value of these; what a host leaves zero is the default unless it says `exact`. */
static void zeros_are_defaults_or_zeros(void **state) {
    (void)state;
    ot_optimizer_options o, filled;
    assert_int_equal(ot_optimizer_check(&(ot_optimizer_options){.kind = OT_ADAM}, &o, NULL), OT_OK);
    assert_true(o.beta1 == 0.9f && o.beta2 == 0.999f && o.eps == 1e-8f && o.gamma == 0.1f);
    for (int kind = OT_SGD; kind <= OT_ADAM_ONNX; kind++) {
        ot_optimizer_defaults((ot_optimizer_kind)kind, &o, sizeof o);
        assert_true(o.beta1 == 0.9f && o.beta2 == 0.999f && o.eps == 1e-8f && o.gamma == 0.1f);
        assert_true(o.lr == (kind == OT_SGD || kind == OT_ADAGRAD ? 0.01f : 0.001f));
        o.beta1 = o.beta2 = o.eps = o.gamma = 0;
        assert_int_equal(ot_optimizer_check(&o, &filled, NULL), OT_OK);
        assert_true(filled.beta1 == 0 && filled.beta2 == 0 && filled.eps == 0 && filled.gamma == 0);
    }
    o = (ot_optimizer_options){.lr = 1, .schedule = OT_SCHEDULE_STEP, .step_size = 3, .exact = 1};
    assert_true(ot_schedule_lr(&o, 2) == 1 && ot_schedule_lr(&o, 3) == 0);
}

static void bad_options_are_named(void **state) {
    (void)state;
    const struct {
        ot_optimizer_options options;
        const char *word;
    } cases[] = {
        {{.lr = -1}, "lr"},
        {{.lr = NAN}, "lr"},
        {{.momentum = 2}, "momentum"},
        {{.schedule = OT_SCHEDULE_LINEAR}, "total_steps"},
        {{.nesterov = 1}, "nesterov"},
        {{.schedule = OT_SCHEDULE_STEP}, "step_size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ot_optimizer_options filled;
        ot_error err;
        assert_int_equal(ot_optimizer_check(&cases[i].options, &filled, &err), OT_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, cases[i].word));
    }
}

static void globs_match(void **state) {
    (void)state;
    assert_true(ot_glob("*", ""));
    assert_true(ot_glob("features.*.weight", "features.3.conv.weight"));
    assert_true(ot_glob("*bn*", "layer1.bn2.bias"));
    assert_true(ot_glob("fc[0-9].bias", "fc7.bias"));
    assert_false(ot_glob("fc[!0-9].bias", "fc7.bias"));
    assert_true(ot_glob("a?c", "abc"));
    assert_false(ot_glob("a?c", "ac"));
    assert_true(ot_glob("x[", "x["));
    assert_false(ot_glob("weight", "weight2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimizers_follow_their_formulas),
        cmocka_unit_test(clipping_scales_to_the_norm_and_nan_changes_nothing),
        cmocka_unit_test(schedules_reach_their_ends),
        cmocka_unit_test(zeros_are_defaults_or_zeros),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(globs_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
