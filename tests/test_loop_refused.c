/* test_loop_refused.c - loops that cannot be unrolled: data decide, too many iterations, faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { BATCH = 3, HIDDEN = 5 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static void must(ot_status status, const ot_error *err) {
    if (status) fail_msg("%s", err->message);
}

static int refusals;

static void note(void *context, ot_log_level level, const char *line) {
    (void)context;
    refusals += level == OT_LOG_WARNING && strstr(line, "depends on data") != NULL;
}

/* A loop from h0 to y; its body adds one, or does nothing. */
static void add_loop(struct test_model *m, const char *inputs, const char *output,
                     const char *condition, bool nodes) {
    model_loop_begin(m, "Loop", inputs, output);
    model_input(m, "i", OT_INT64, 0, NULL);
    model_input(m, "c", OT_BOOL, 0, NULL);
    model_input(m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_output(m, condition, OT_BOOL, 0, NULL);
    if (!strcmp(condition, "less")) {
        model_node(m, "ReduceMax", "h", "max", "keepdims=0");
        model_node(m, "Less", "max size", "less", "");
    }
    if (nodes) model_node(m, "Add", "h h", "h2", "");
    model_output(m, nodes ? "h2" : "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_loop_end(m, "");
}

static void begin_other(struct test_model *m) {
    model_begin(m, 17);
    model_input(m, "h0", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_floats(m, "size", 0, NULL, (const float[]){100});
    model_output(m, "y", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
}

static void data_may_not_decide(void **state) {
    (void)state;
    ot_session *s = NULL;
    ot_error err;
    struct test_model m;
    refusals = 0;
    begin_other(&m);
    model_input(&m, "n", OT_INT64, 0, NULL);
    model_input(&m, "go", OT_BOOL, 0, NULL);
    add_loop(&m, "n - h0", "h1", "c", true);
    add_loop(&m, "- go h1", "h2x", "c", true);
    add_loop(&m, "- - h2x", "y", "less", true);
    assert_int_equal(model_open(&m, &(ot_options){.log = note}, &s, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "operator Loop opset 17: the trip count depends on data"));
    assert_non_null(strstr(err.message, "3 of 8 nodes"));
    assert_int_equal(refusals, 3);
}

/* Without an end, and with or without nodes. */
static void iterations_are_counted(void **state) {
    (void)state;
    for (int nodes = 0; nodes < 2; nodes++) {
        ot_session *s = NULL;
        ot_error err;
        struct test_model m;
        size_t bytes;
        float h0[BATCH * HIDDEN] = {0};
        const ot_tensor in = {OT_FLOAT, 2, {BATCH, HIDDEN}, h0};
        begin_other(&m);
        add_loop(&m, "- - h0", "y", "c", nodes);
        const ot_options options = {.threads = 1, .limits.nodes = 1000};
        must(model_open(&m, &options, &s, &err), &err);
        assert_int_equal(ot_prepare(s, 0, &in, 1, &bytes, &err), OT_ERROR_LIMIT);
        assert_non_null(strstr(err.message, "1000 nodes"));
        ot_close(s);
    }
}

static void expect(struct test_model *m, ot_status status, const char *message) {
    ot_session *s = NULL;
    ot_error err = {0};
    assert_int_equal(model_open(m, NULL, &s, &err), status);
    if (!strstr(err.message, message)) fail_msg("'%s' lacks '%s'", err.message, message);
    assert_null(s);
}

static void faulty_loops_are_refused(void **state) {
    (void)state;
    struct test_model m;
    begin_other(&m);
    model_integer(&m, "n", 3);
    add_loop(&m, "n - h0 h0", "y", "c", true);
    expect(&m, OT_ERROR_INVALID, "4 inputs, but its body has 3");
    begin_other(&m);
    model_integer(&m, "n", 3);
    add_loop(&m, "n - h0", "y z u", "c", true);
    expect(&m, OT_ERROR_INVALID, "3 outputs, but its body has 2");
    begin_other(&m);
    model_integer(&m, "n", 3);
    add_loop(&m, "n - h0", "y", "nothing", true);
    expect(&m, OT_ERROR_INVALID, "'nothing' is not defined");
    begin_other(&m);
    model_node(&m, "Loop", "- - h0", "y", "");
    expect(&m, OT_ERROR_INVALID, "the body is missing");
    begin_other(&m);
    model_loop_begin(&m, "Scan", "h0", "y");
    model_input(&m, "h", OT_FLOAT, 1, DIMS(HIDDEN));
    model_node(&m, "Relu", "h", "o", "");
    model_output(&m, "o", OT_FLOAT, 1, DIMS(HIDDEN));
    model_loop_end(&m, "num_scan_inputs=2");
    expect(&m, OT_ERROR_INVALID, "'num_scan_inputs' is 2");
}

static void loops_nest_so_deep_and_no_deeper(void **state) {
    (void)state;
    for (int depth = 8; depth <= 9; depth++) {
        struct test_model m;
        ot_session *s = NULL;
        ot_error err;
        char in[32] = "n - h0", names[3][16];
        begin_other(&m);
        model_integer(&m, "n", 1);
        for (int d = 0; d < depth; d++) {
            snprintf(names[0], sizeof names[0], d ? "y%d" : "y", d);
            model_loop_begin(&m, "Loop", in, names[0]);
            snprintf(names[0], sizeof names[0], "i%d", d);
            snprintf(names[1], sizeof names[1], "c%d", d);
            snprintf(names[2], sizeof names[2], "h%dx", d);
            model_input(&m, names[0], OT_INT64, 0, NULL);
            model_input(&m, names[1], OT_BOOL, 0, NULL);
            model_input(&m, names[2], OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
            snprintf(in, sizeof in, "n - %s", names[2]);
        }
        model_node(&m, "Relu", names[2], "relu", "");
        for (int d = depth - 1; d >= 0; d--) {
            snprintf(names[0], sizeof names[0], d < depth - 1 ? "y%d" : "relu", d + 1);
            snprintf(names[1], sizeof names[1], "c%d", d);
            model_output(&m, names[1], OT_BOOL, 0, NULL);
            model_output(&m, names[0], OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
            model_loop_end(&m, "");
        }
        const ot_status status = model_open(&m, NULL, &s, &err);
        if (status && depth == 8) fail_msg("%s", err.message);
        assert_int_equal(status, depth == 8 ? OT_OK : OT_ERROR_LIMIT);
        ot_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_may_not_decide),
        cmocka_unit_test(iterations_are_counted),
        cmocka_unit_test(faulty_loops_are_refused),
        cmocka_unit_test(loops_nest_so_deep_and_no_deeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
