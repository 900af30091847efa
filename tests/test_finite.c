/* test_finite.c - results and states that are not finite: who is named, and what stays as it was.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "tests/networks.h"

enum { FLOAT = 1, N = 4, WIDTH = 3 };

/* y = Log(x w) u: finite only where x w is positive. */
static ot_session *open_log(const ot_options *o) {
    struct test_model m;
    model_begin(&m, 17);
    model_input(&m, "x", FLOAT, 2, DIMS(-1, WIDTH));
    model_output(&m, "y", FLOAT, 2, DIMS(-1, 2));
    model_floats(&m, "w", 2, DIMS(WIDTH, 2), (const float[]){1, 1, 1, 1, 1, 1});
    model_floats(&m, "u", 2, DIMS(2, 2), (const float[]){1, 2, 3, 5});
    model_node(&m, "MatMul", "x w", "a", "");
    model_node(&m, "Log", "a", "l", "");
    model_node(&m, "Identity", "l", "i", "");
    model_node(&m, "MatMul", "i u", "y", "");
    ot_session *s = NULL;
    ot_error err = {0};
    if (model_open(&m, o, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static float x[N * WIDTH];
static const int64_t label[N];

static ot_tensor input(float first) {
    for (int i = 0; i < N * WIDTH; i++) x[i] = i < WIDTH ? first : 1;
    return (ot_tensor){.type = OT_FLOAT, .rank = 2, .dim = {N, WIDTH}, .data = x};
}

static ot_tensor target(void) {
    return (ot_tensor){.type = OT_INT64, .rank = 1, .dim = {N}, .data = label};
}

static void has(const ot_error *err, const char *text) {
    if (!strstr(err->message, text)) fail_msg("no '%s' in: %s", text, err->message);
}

/* What has happened is told in the same way by every call that computes. */
static void the_first_node_is_named(void **state) {
    (void)state;
    ot_session *s = open_log(NULL);
    ot_tensor in = input(-1), t = target(), out;
    ot_result r = {.loss = 7};
    ot_error err[4];
    assert_int_equal(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_CROSS_ENTROPY}, NULL), 0);
    assert_int_equal(ot_set_optimizer(s, &(ot_optimizer_options){.lr = 1}, NULL), OT_OK);
    assert_int_equal(ot_run(s, &in, 1, &out, 1, &err[0]), OT_ERROR_NUMERIC);
    assert_int_equal(ot_eval_step(s, &in, 1, &t, &r, &err[1]), OT_ERROR_NUMERIC);
    assert_int_equal(ot_train_step(s, &in, 1, &t, &r, &err[2]), OT_ERROR_NUMERIC);
    assert_int_equal(ot_forward(s, &in, 1, &out, 1, &err[3]), OT_ERROR_NUMERIC);
    assert_true(r.loss == 7);
    for (int i = 0; i < 4; i++) {
        has(&err[i], "'l', computed by node 'l' (Log): NaN in 2 of 8");
        has(&err[i], "largest absolute value before it is 3, in 'a'");
    }
    in = input(1);
    assert_int_equal(ot_run(s, &in, 1, &out, 1, NULL), OT_OK);
    assert_int_equal(ot_train_step(s, &in, 1, &t, &r, NULL), OT_OK);
    ot_close(s);
}

static void who_wants_them_gets_them(void **state) {
    (void)state;
    ot_session *s = open_log(&(ot_options){.allow_nonfinite = 1});
    ot_tensor in = input(-1), t = target(), out;
    ot_result r;
    assert_int_equal(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_CROSS_ENTROPY}, NULL), 0);
    assert_int_equal(ot_run(s, &in, 1, &out, 1, NULL), OT_OK);
    assert_true(isnan(((const float *)out.data)[0]) && isfinite(((const float *)out.data)[7]));
    assert_int_equal(ot_eval_step(s, &in, 1, &t, &r, NULL), OT_OK);
    assert_true(isnan(r.loss));
    assert_int_equal(r.count, N);
    assert_int_equal(r.correct, 0); /* u makes class 1 the largest, NaN makes none */
    ot_close(s);
}

/* Softmax(x + mask) w: masks of -inf are no fault, a row without a way out is. */
static ot_status run_masked(int closed, ot_error *err) {
    struct test_model m;
    float mask[WIDTH] = {0};
    for (int i = 0; i < closed; i++) mask[i] = -INFINITY;
    model_begin(&m, 17);
    model_input(&m, "x", FLOAT, 2, DIMS(-1, WIDTH));
    model_output(&m, "y", FLOAT, 2, DIMS(-1, WIDTH));
    model_floats(&m, "mask", 1, DIMS(WIDTH), mask);
    model_node(&m, "Add", "x mask", "s", "");
    model_node(&m, "Softmax", "s", "p", "axis=-1");
    model_node(&m, "Neg", "p", "y", "");
    ot_session *s = NULL;
    ot_tensor in = input(1), out;
    assert_int_equal(model_open(&m, NULL, &s, NULL), OT_OK);
    const ot_status status = ot_run(s, &in, 1, &out, 1, err);
    ot_close(s);
    return status;
}

static void masks_are_no_fault(void **state) {
    (void)state;
    ot_error err;
    assert_int_equal(run_masked(WIDTH - 1, &err), OT_OK);
    assert_int_equal(run_masked(WIDTH, &err), OT_ERROR_NUMERIC);
    has(&err, "node 'p' (Softmax): NaN");
}

static void inputs_are_named(void **state) {
    (void)state;
    ot_session *s = open_log(NULL);
    ot_tensor in = input(NAN), out;
    ot_error err;
    assert_int_equal(ot_run(s, &in, 1, &out, 1, &err), OT_ERROR_NUMERIC);
    has(&err, "the input 'x' holds NaN (3 of 12 values)");
    ot_close(s);
}

/* ---- updates ---- */

static void read_all(ot_session *s, float *w) {
    for (int i = 0; i < ot_parameter_count(s); i++)
        assert_int_equal(ot_read_parameter(s, i, w + 4096 * i, NULL), OT_OK);
}

static float before[16 * 4096], after[16 * 4096], gradient[4096], kept[4096];

/* Nothing of a step that would overflow is written, and its gradients can be looked at. */
static void check_refused(const ot_optimizer_options *good, const ot_optimizer_options *bad) {
    struct fixture f;
    ot_error err;
    fixture_open(&f, network_mlp, NULL);
    assert_int_equal(ot_set_optimizer(f.s, good, NULL), OT_OK);
    fixture_train(&f);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(f.s, bad, NULL), OT_OK);
    fixture_train(&f);
    read_all(f.s, before);
    ot_get_gradient(f.s, 0, gradient, NULL);
    assert_int_equal(ot_optimizer_step(f.s, &err), OT_ERROR_NUMERIC);
    has(&err, "is out of range");
    read_all(f.s, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(ot_get_gradient(f.s, 0, kept, NULL), OT_OK);
    assert_memory_equal(gradient, kept, sizeof kept);
    assert_int_equal(ot_step_count(f.s), 0);
    assert_int_equal(ot_set_optimizer(f.s, good, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK); /* with the same gradients */
    ot_close(f.s);
}

static void updates_that_overflow_write_nothing(void **state) {
    (void)state;
    const ot_optimizer_options good = {.lr = 0.01f};
    check_refused(&good, &(ot_optimizer_options){.lr = 1e38f});
    check_refused(&good, &(ot_optimizer_options){
                             .lr = 1e38f, .momentum = 0.9f, .nesterov = 1, .weight_decay = 1e29f});
    check_refused(&good, &(ot_optimizer_options){.kind = OT_ADAM, .weight_decay = 1e29f});
    check_refused(&good, &(ot_optimizer_options){.kind = OT_ADAMW, .lr = 1e38f});
    check_refused(&good, &(ot_optimizer_options){.kind = OT_ADAGRAD, .weight_decay = 1e29f});
}

/* The bound on weights grows with them: the step that would leave the range is found without being
 * told, some steps after the last look at all of them. */
static void weights_that_grow_are_stopped(void **state) {
    (void)state;
    struct fixture f;
    ot_error err;
    fixture_open(&f, network_mlp, NULL);
    const ot_optimizer_options grow = {.kind = OT_ADAMW, .lr = 1e4f};
    assert_int_equal(ot_set_optimizer(f.s, &grow, NULL), OT_OK);
    int steps = 0;
    ot_status status = OT_OK;
    while (!status && steps < 200) {
        ot_result r;
        status = ot_train_step(f.s, &f.in, 1, &f.target, &r, &err);
        if (!status) status = ot_optimizer_step(f.s, &err);
        steps++;
    }
    read_all(f.s, after);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) assert_true(isfinite(after[i]));
    ot_close(f.s);
}

/* ---- states ---- */

static void states_that_are_not_finite_stay_outside(void **state) {
    (void)state;
    const char path[] = "test_finite.tmp";
    struct fixture f;
    ot_error err;
    fixture_open(&f, network_mlp, NULL);
    read_all(f.s, before);
    before[5] = NAN;
    assert_int_equal(ot_write_parameter(f.s, 0, before, NULL), OT_ERROR_NUMERIC);
    read_all(f.s, after);
    assert_true(isfinite(after[5]));
    ot_f(&f.s->model->parameter[0].t)[0] = NAN; /* no call does that */
    assert_int_equal(ot_save_checkpoint(f.s, path, NULL, 0, &err), OT_ERROR_NUMERIC);
    has(&err, f.s->model->parameter[0].name);
    assert_int_equal(ot_export_onnx(f.s, path, NULL, &err), OT_ERROR_NUMERIC);
    assert_int_equal(access(path, F_OK), -1);
    ot_close(f.s);
}

/* ---- promises of the interface ---- */

static void no_call_needs_a_session(void **state) {
    (void)state;
    ot_model_info model;
    ot_memory_info memory;
    ot_tensor t;
    ot_get_model_info(NULL, &model);
    ot_get_memory_info(NULL, &memory);
    ot_set_profile(NULL, 1);
    assert_int_equal(memory.weights + (size_t)model.nodes, 0);
    assert_int_equal(ot_input_count(NULL) + ot_output_count(NULL) + ot_node_count(NULL), 0);
    assert_int_equal(ot_parameter_count(NULL) + (int)ot_step_count(NULL), 0);
    assert_true(ot_learning_rate(NULL) == 0 && ot_gradient_norm(NULL) == 0);
    assert_int_equal(ot_get_profile(NULL, NULL, NULL, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_print_plan(NULL, NULL, NULL, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_get_target(NULL, &t, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_clear_gradients(NULL, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_optimizer_step(NULL, NULL), OT_ERROR_ARGUMENT);
}

/* A plan without a loss has no target, whatever it is for. */
static void targets_are_of_losses(void **state) {
    (void)state;
    struct fixture f;
    ot_tensor t, out;
    fixture_open(&f, network_mlp, NULL);
    fixture_train(&f);
    assert_int_equal(ot_get_target(f.s, &t, NULL), OT_OK);
    assert_int_equal(t.type, OT_INT64);
    assert_int_equal(t.dim[0], BATCH);
    assert_int_equal(ot_forward(f.s, &f.in, 1, &out, 1, NULL), OT_OK);
    assert_int_equal(ot_get_target(f.s, &t, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_run(f.s, &f.in, 1, &out, 1, NULL), OT_OK);
    assert_int_equal(ot_get_target(f.s, &t, NULL), OT_ERROR_STATE);
    ot_close(f.s);
}

static void gradients_can_be_dropped(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_mlp, NULL);
    fixture_train(&f);
    assert_int_equal(ot_clear_gradients(f.s, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_get_gradient(f.s, 0, gradient, NULL), OT_OK);
    for (int i = 0; i < 16; i++) assert_true(gradient[i] == 0);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_node_is_named),
        cmocka_unit_test(who_wants_them_gets_them),
        cmocka_unit_test(masks_are_no_fault),
        cmocka_unit_test(inputs_are_named),
        cmocka_unit_test(updates_that_overflow_write_nothing),
        cmocka_unit_test(weights_that_grow_are_stopped),
        cmocka_unit_test(states_that_are_not_finite_stay_outside),
        cmocka_unit_test(no_call_needs_a_session),
        cmocka_unit_test(targets_are_of_losses),
        cmocka_unit_test(gradients_can_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
