/* test_quantize.c - gradients go straight through QuantizeLinear and DequantizeLinear. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

enum { N = 5, IN = 3, HIDDEN = 4, OUT = 2 };

static const float first[HIDDEN * IN] = {0.5f,  -0.25f, 1,      0.75f, -1,   0.125f,
                                         -0.5f, 0.25f,  -0.75f, 1,     0.5f, -0.125f};
/* Two slots are absent; 8 and -9 are beyond the range of 8 bits at a scale of 1/16. */
static const float second[OUT * HIDDEN] = {0.52f, 0, 8, -0.31f, 0, 0.77f, -9, 0.4f};

enum form { PLAIN, WEIGHT, ACTIVATION, BETWEEN, BROKEN };

/* y = second * tanh(first * x), where `form` is quantized on the way. */
static ot_session *open_form(enum form form, const float *w2, ot_status expected) {
    struct test_model m;
    const float scale = 1.0f / 16, fine = 1.0f / 4096;
    model_begin(&m, 21);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(N, IN));
    model_floats(&m, "w1", 2, DIMS(HIDDEN, IN), first);
    model_floats(&m, "w2", 2, DIMS(OUT, HIDDEN), w2);
    model_floats(&m, "scale", 0, NULL, &scale);
    model_floats(&m, "fine", 0, NULL, &fine);
    model_node(&m, "Gemm", "x w1", "h", "transB=1");
    model_node(&m, "Tanh", "h", "a", "");
    if (form == WEIGHT) {
        model_node(&m, "QuantizeLinear", "w2 scale", "wq", "output_dtype=3");
        model_node(&m, "DequantizeLinear", "wq scale", "w", "");
    } else if (form != PLAIN) {
        model_node(&m, "QuantizeLinear", "a fine", "aq", "output_dtype=5");
        if (form == BETWEEN) {
            model_node(&m, "Cast", "aq", "at", "to=5");
            model_node(&m, "Transpose", "at", "af", "");
            model_node(&m, "Identity", "af", "ac", "");
            model_node(&m, "Transpose", "ac", "ai", "");
        }
        if (form == BROKEN) model_node(&m, "Abs", "aq", "ai", "");
        model_node(&m, "DequantizeLinear", form >= BETWEEN ? "ai fine" : "aq fine", "ad", "");
    }
    model_node(&m, "Gemm",
               form >= ACTIVATION ? "ad w2"
               : form == WEIGHT   ? "a w"
                                  : "a w2",
               "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(N, OUT));
    const ot_options options = {.threads = 2};
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    if (model_open(&m, &options, &s, &err)) fail_msg("%s", err.message);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    assert_int_equal(ot_set_loss(s, &loss, NULL), OT_OK);
    const ot_optimizer_options sgd = {.lr = 0.1f};
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    float x[N * IN], target[N * OUT];
    for (int i = 0; i < N * IN; i++) x[i] = (float)(i * 7 % 11) / 5 - 1;
    for (int i = 0; i < N * OUT; i++) target[i] = (float)(i * 5 % 7) / 3 - 1;
    const ot_tensor in = {OT_FLOAT, 2, {N, IN}, x}, out = {OT_FLOAT, 2, {N, OUT}, target};
    if (ot_train_step(s, &in, 1, &out, NULL, &err) != expected) fail_msg("%s", err.message);
    return s;
}

static void gradient_of(ot_session *s, const char *name, float *values) {
    ot_parameter_info info = {0};
    int i = -1;
    do assert_int_equal(ot_get_parameter(s, ++i, &info, NULL), OT_OK);
    while (strcmp(info.name, name) != 0);
    assert_int_equal(ot_get_gradient(s, i, values, NULL), OT_OK);
}

static void close_to(const float *a, const float *b, int n, double tolerance) {
    for (int i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %d: %g, not %g", i, (double)a[i], (double)b[i]);
}

/* The gradient is that at the rounded weight; nothing comes where it saturates, or has no slot. */
static void weights(void **state) {
    (void)state;
    float w[OUT * HIDDEN], want[HIDDEN * IN], have[HIDDEN * IN]; /* IN > OUT */
    for (int i = 0; i < OUT * HIDDEN; i++) {
        const float q = rintf(second[i] * 16);
        w[i] = (q > 127 ? 127 : q < -128 ? -128 : q) / 16;
    }
    ot_session *plain = open_form(PLAIN, w, OT_OK);
    ot_session *quantized = open_form(WEIGHT, second, OT_OK);
    gradient_of(plain, "w2", want);
    gradient_of(quantized, "w2", have);
    for (int i = 0; i < OUT * HIDDEN; i++)
        if (second[i] == 0 || fabsf(second[i]) >= 8) want[i] = 0;
    close_to(have, want, OUT * HIDDEN, 1e-6);
    gradient_of(plain, "w1", want);
    gradient_of(quantized, "w1", have);
    close_to(have, want, HIDDEN * IN, 1e-5);
    ot_close(plain);
    ot_close(quantized);
}

/* Two forms have nearly the same gradient of w1. */
static void same_gradients(enum form a, enum form b, double tolerance) {
    float want[HIDDEN * IN], have[HIDDEN * IN];
    ot_session *one = open_form(a, second, OT_OK), *other = open_form(b, second, OT_OK);
    gradient_of(one, "w1", want);
    gradient_of(other, "w1", have);
    assert_true(fabsf(want[0]) > 0.01f);
    close_to(have, want, HIDDEN * IN, tolerance);
    ot_close(one);
    ot_close(other);
}

/* 16 bits are so fine that the gradient is nearly that without rounding. */
static void activations(void **state) {
    (void)state;
    same_gradients(PLAIN, ACTIVATION, 1e-2);
}

/* What only converts or moves the integers changes nothing. */
static void between(void **state) {
    (void)state;
    same_gradients(ACTIVATION, BETWEEN, 1e-7);
}

/* An operator that cannot carry the gradient of integers is refused. */
static void refusal(void **state) {
    (void)state;
    ot_close(open_form(BROKEN, second, OT_ERROR_UNSUPPORTED));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights),
        cmocka_unit_test(activations),
        cmocka_unit_test(between),
        cmocka_unit_test(refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
