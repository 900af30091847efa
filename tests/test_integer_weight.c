/* test_integer_weight.c - weights that the file holds as integers: trained as floats, rounded in
 * every step, written back as integers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "tests/export_case.h"

enum { N = 6, IN = 3, OUT = 4 };

static const int8_t weight[OUT * IN] = {10, 0, -7, 100, 0, 0, 0, -128, 127, 3, 0, -1};
static const float scale[OUT] = {0.05f, 0.01f, 0.008f, 0.1f};
static const int8_t no_zero[OUT] = {0};
static const int32_t bias[OUT] = {100000, -5, 0, 1234567}, zero = 0;
static const float bias_scale = 1e-5f;

/* y = x w^T + b. shared: the integers of w are an output of the model, too. */
static struct bytes model(bool shared) {
    Onnx__ModelProto *m = new_model(7, 13);
    add_input(m, "x", -1, IN);
    add_raw(m, "wq", OT_INT8, OUT, IN, weight, sizeof weight);
    add_raw(m, "ws", OT_FLOAT, OUT, 0, scale, sizeof scale);
    add_raw(m, "wz", OT_INT8, OUT, 0, no_zero, sizeof no_zero);
    add_raw(m, "bq", OT_INT32, OUT, 0, bias, sizeof bias);
    add_raw(m, "bs", OT_FLOAT, 1, 0, &bias_scale, sizeof bias_scale);
    add_raw(m, "bz", OT_INT32, 1, 0, &zero, sizeof zero);
    add_int(add_node(m, "DequantizeLinear", "wq ws wz", "w"), "axis", 0);
    add_node(m, "DequantizeLinear", "bq bs bz", "b");
    add_int(add_node(m, "Gemm", "x w b", "y"), "transB", 1);
    add_output(m, "y", -1, OUT);
    if (shared) {
        add_int(add_node(m, "Cast", "wq", "c"), "to", OT_FLOAT);
        add_output(m, "c", OUT, IN);
    }
    return pack_built(m);
}

static ot_session *open_bytes(struct bytes b) {
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    const ot_options options = {.threads = 1};
    if (ot_open_buffer(b.data, b.size, &options, &s, &err)) fail_msg("%s", err.message);
    free(b.data);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.05f, .momentum = 0.9f};
    assert_int_equal(ot_set_loss(s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

static struct bytes export_session(const ot_session *s) {
    ot_error err = {OT_OK, ""};
    if (ot_export_onnx(s, target(), NULL, &err)) fail_msg("%s", err.message);
    struct bytes b = slurp(target());
    unlink(target());
    return b;
}

/* The loss before, and with `train` a step. */
static double step(ot_session *s, bool train) {
    float x[N * IN], y[N * OUT];
    for (int i = 0; i < N * IN; i++) x[i] = (float)(i * 7 % 11) / 5 - 1;
    for (int i = 0; i < N * OUT; i++) y[i] = (float)(i * 5 % 7) / 7;
    const ot_tensor in = {OT_FLOAT, 2, {N, IN}, x}, out = {OT_FLOAT, 2, {N, OUT}, y};
    ot_result result;
    ot_error err = {OT_OK, ""};
    if ((train ? ot_train_step : ot_eval_step)(s, &in, 1, &out, &result, &err))
        fail_msg("%s", err.message);
    if (train) assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    return result.loss;
}

static void parameters(void **state) {
    (void)state;
    ot_session *s = open_bytes(model(false));
    ot_parameter_info info;
    float values[OUT * IN];
    assert_int_equal(ot_parameter_count(s), 2);
    assert_int_equal(ot_get_parameter(s, 0, &info, NULL), OT_OK);
    assert_string_equal(info.name, "wq");
    assert_int_equal(info.file_type, OT_INT8);
    assert_int_equal(info.nonzeros, OUT * IN - 5);
    assert_true(info.has_pattern && info.is_trainable);
    assert_int_equal(ot_read_parameter(s, 0, values, NULL), OT_OK);
    for (int i = 0; i < OUT * IN; i++) assert_true(values[i] == (float)weight[i] * scale[i / IN]);
    ot_close(s);
}

/* Without training the file's integers come back. */
static void unchanged(void **state) {
    (void)state;
    ot_session *s = open_bytes(model(false));
    struct bytes b = export_session(s);
    Onnx__ModelProto *m = unpack(b);
    const Onnx__TensorProto *w = initializer(m, "wq"), *bq = initializer(m, "bq");
    assert_int_equal(w->raw_data.len, sizeof weight);
    assert_memory_equal(w->raw_data.data, weight, sizeof weight);
    assert_memory_equal(bq->raw_data.data, bias, sizeof bias);
    onnx__model_proto__free_unpacked(m, NULL);
    free(b.data);
    ot_close(s);
}

/* What was trained is what the exported file computes; zeros stay zeros. */
static void trained(void **state) {
    (void)state;
    ot_session *s = open_bytes(model(false));
    const double before = step(s, false);
    for (int i = 0; i < 60; i++) step(s, true);
    const double after = step(s, false);
    assert_true(after < before / 4);
    struct bytes b = export_session(s);
    Onnx__ModelProto *m = unpack(b);
    const Onnx__TensorProto *w = initializer(m, "wq");
    for (int i = 0; i < OUT * IN; i++)
        if (!weight[i]) assert_int_equal(w->raw_data.data[i], 0);
    assert_true(memcmp(w->raw_data.data, weight, sizeof weight) != 0);
    onnx__model_proto__free_unpacked(m, NULL);
    ot_session *again = open_bytes(b);
    assert_true(fabs(step(again, false) - after) < 1e-6);
    ot_close(again);
    ot_close(s);
}

/* Integers that somebody else looks at stay constants. */
static void shared(void **state) {
    (void)state;
    ot_session *s = open_bytes(model(true));
    assert_int_equal(ot_parameter_count(s), 1);
    ot_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters),
        cmocka_unit_test(unchanged),
        cmocka_unit_test(trained),
        cmocka_unit_test(shared),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
