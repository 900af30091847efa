/* test_exporters.c - spellings of other exporters that the standard allows, or that onnxruntime
 * reads: absent outputs, free dimensions written as numbers, scales that are broadcast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/onnxtrain.h"
#include "tests/export_case.h"
#include "tests/model.h"

enum { STEPS = 4, BATCH = 3, FEATURES = 5, HIDDEN = 2 };

static float values[STEPS * BATCH * 64];

static void add_floats(struct test_model *m, const char *name, int rank, const int64_t *dim) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = 0.5f * ot_random_normal(3, (uint64_t)name[0], (uint64_t)i);
    model_floats(m, name, rank, dim, values);
}

static void count_line(void *context, const char *line) {
    int *lines = context;
    *lines += strlen(line) > 0;
}

static void count_step(void *context, const ot_profile_step *step) {
    int *steps = context;
    *steps += step->bytes >= 0;
}

static void judge(void *context, const ot_slopes *s) {
    int *judged = context;
    const double d = (16 * (s->left[1] + s->right[1]) - (s->left[0] + s->right[0])) / 30;
    if (fabs(d - s->gradient) > 2e-3 * (s->size + 1e-3))
        fail_msg("%s, input %s: gradient %g, difference %g", s->op, s->input, s->gradient, d);
    ++*judged;
}

/* A model of x: its plan prints itself, runs, is profiled, and has the right gradients. */
static void use(struct test_model *m, const ot_tensor *x) {
    ot_session *s;
    ot_error err = {0};
    ot_tensor y[2], target;
    ot_result result;
    size_t bytes;
    int lines = 0, steps = 0, judged = 0;
    if (model_open(m, &(ot_options){.threads = 1}, &s, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_MSE}, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &(ot_optimizer_options){.lr = 0.01f}, NULL), OT_OK);
    if (ot_prepare(s, 1, x, 1, &bytes, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_print_plan(s, count_line, &lines, NULL), OT_OK);
    assert_true(lines > 4);
    assert_int_equal(ot_run(s, x, 1, y, 1, &err), OT_OK);
    target = y[0];
    target.data = values;
    assert_int_equal(ot_train_step(s, x, 1, &target, &result, &err), OT_OK);
    assert_int_equal(ot_get_profile(s, count_step, &steps, NULL), OT_OK);
    assert_true(steps > 2);
    if (ot_measure_gradients(s, x, 1, judge, &judged, &err)) fail_msg("%s", err.message);
    assert_true(judged > 0);
    ot_close(s);
}

static const ot_tensor sequence = {OT_FLOAT, 3, {STEPS, BATCH, FEATURES}, values};
static const ot_tensor rows = {OT_FLOAT, 2, {BATCH, FEATURES}, values};

static void begin(struct test_model *m, const ot_tensor *x) {
    model_begin(m, 17);
    model_input(m, "x", OT_FLOAT, x->rank, x->dim);
    model_output(m, "y", OT_FLOAT, -1, NULL);
}

/* Only the last states of a recurrent layer are read. */
static void recurrent_layers_without_all_states(void **state) {
    (void)state;
    static const struct {
        const char *op, *outputs, *attributes;
        int gates, directions;
    } layers[] = {{"LSTM", "- h", "hidden_size=2", 4, 1},
                  {"LSTM", "- - h", "hidden_size=2 direction=bidirectional", 4, 2},
                  {"GRU", "- h", "hidden_size=2 direction=reverse", 3, 1},
                  {"RNN", "- h", "hidden_size=2 direction=bidirectional", 1, 2}};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int64_t d = layers[i].directions, g = layers[i].gates * HIDDEN;
        struct test_model m;
        begin(&m, &sequence);
        add_floats(&m, "W", 3, (const int64_t[]){d, g, FEATURES});
        add_floats(&m, "R", 3, (const int64_t[]){d, g, HIDDEN});
        add_floats(&m, "w", 2, (const int64_t[]){HIDDEN, 3});
        model_node(&m, layers[i].op, "x W R", layers[i].outputs, layers[i].attributes);
        model_node(&m, "MatMul", "h w", "y", "");
        use(&m, &sequence);
    }
}

static void outputs_before_others_may_be_absent(void **state) {
    (void)state;
    static const struct {
        const char *op, *inputs, *outputs, *attributes;
    } nodes[] = {{"Split", "a sizes", "- q -", "axis=1"},
                 {"LayerNormalization", "a s", "q - v", "axis=1"},
                 {"BatchNormalization", "a s t mean var", "q - v", "training_mode=1"},
                 {"Dropout", "a", "q", "ratio=0.5"}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        struct test_model m;
        begin(&m, &rows);
        add_floats(&m, "w", 2, (const int64_t[]){FEATURES, 6});
        for (int k = 0; k < 4; k++)
            model_floats(&m, ((const char *[]){"s", "t", "mean", "var"})[k], 1,
                         (const int64_t[]){6}, (const float[]){1, 2, 1, 2, 1, 3});
        model_ints(&m, "sizes", 3, (const int64_t[]){1, 3, 2});
        add_floats(&m, "u", 2, (const int64_t[]){i ? 6 : 3, 3});
        model_node(&m, "MatMul", "x w", "a", "");
        model_node(&m, nodes[i].op, nodes[i].inputs, nodes[i].outputs, nodes[i].attributes);
        model_node(&m, "MatMul", "q u", "y", "");
        use(&m, &rows);
    }
}

/* The standard gives these operators no optional first output. */
static void outputs_that_have_to_be_there(void **state) {
    (void)state;
    struct test_model m;
    ot_session *s;
    ot_error err;
    begin(&m, &rows);
    model_ints(&m, "k", 1, (const int64_t[]){2});
    model_node(&m, "TopK", "x k", "- y", "");
    assert_int_equal(model_open(&m, NULL, &s, &err), OT_ERROR_INVALID);
    assert_non_null(strstr(err.message, "output 0 is missing"));
}

/* ---- free dimensions ---- */

static void count_note(void *context, ot_log_level level, const char *line) {
    int *notes = context;
    *notes += level == OT_LOG_WARNING && strstr(line, "which is treated as free") != NULL;
}

/* An entry of the graph's field 11 (inputs) or 12 (outputs), whose shape is written as it is. */
static void add_written(struct test_model *m, unsigned field, const char *name,
                        const int64_t dim[2]) {
    wire_begin(&m->wire, field);
    wire_string(&m->wire, 1, name);
    wire_begin(&m->wire, 2);
    wire_begin(&m->wire, 1);
    wire_int(&m->wire, 1, OT_FLOAT);
    wire_begin(&m->wire, 2);
    for (int i = 0; i < 2; i++) {
        wire_begin(&m->wire, 1);
        wire_int(&m->wire, 1, dim[i]);
        wire_end(&m->wire);
    }
    for (int i = 0; i < 4; i++) wire_end(&m->wire);
}

static void free_dimensions_written_as_numbers(void **state) {
    (void)state;
    static const int64_t spellings[] = {-1, -2, 0};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const int64_t dim[] = {spellings[i], FEATURES}, hint[] = {spellings[i], 3};
        struct test_model m;
        ot_session *s;
        ot_value_info info;
        ot_tensor y;
        int notes = 0;
        model_begin(&m, 17);
        add_written(&m, 11, "x", dim);
        add_written(&m, 12, "y", hint);
        add_floats(&m, "w", 2, (const int64_t[]){FEATURES, 3});
        model_node(&m, "MatMul", "x w", "y", "");
        const ot_options options = {.threads = 1, .log = count_note, .log_context = &notes};
        assert_int_equal(model_open(&m, &options, &s, NULL), OT_OK);
        assert_int_equal(notes, 2);
        ot_get_input(s, 0, &info, NULL);
        assert_true(info.dim[0] == -1 && info.dim[1] == FEATURES);
        ot_get_output(s, 0, &info, NULL);
        assert_true(info.dim[0] == -1 && info.dim[1] == 3);
        assert_int_equal(ot_run(s, &rows, 1, &y, 1, NULL), OT_OK);
        assert_int_equal(y.dim[0], BATCH);
        ot_close(s);
    }
}

/* ---- scales that are broadcast ---- */

enum { CHANNELS = 4, MOST_ELEMENTS = 64 };

static const ot_tensor image = {OT_FLOAT, 4, {BATCH, CHANNELS, 2, 2}, values};

/* A step of training; then the model, written back. */
static void train_and_write(struct test_model *m, ot_session **s) {
    ot_error err = {0};
    ot_result result;
    ot_tensor y;
    if (model_open(m, &(ot_options){.threads = 1}, s, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_set_loss(*s, &(ot_loss_options){.kind = OT_LOSS_MSE}, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(*s, &(ot_optimizer_options){.lr = 0.1f}, NULL), OT_OK);
    if (ot_run(*s, &image, 1, &y, 1, &err)) fail_msg("%s", err.message);
    y.data = values + 128;
    if (ot_train_step(*s, &image, 1, &y, &result, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_optimizer_step(*s, NULL), OT_OK);
    assert_int_equal(ot_export_onnx(*s, target(), NULL, &err), OT_OK);
}

/* Weight i is trained, and the written file holds it in the shape that it came in. */
static void assert_came_back(const ot_session *trained, const ot_session *written, int i) {
    ot_parameter_info a, b;
    float p[MOST_ELEMENTS], q[MOST_ELEMENTS];
    assert_int_equal(ot_get_parameter(trained, i, &a, NULL), OT_OK);
    assert_int_equal(ot_get_parameter(written, i, &b, NULL), OT_OK);
    assert_int_equal(a.is_trainable, 1);
    assert_int_equal(a.rank, b.rank);
    assert_memory_equal(a.dim, b.dim, (size_t)a.rank * sizeof *a.dim);
    assert_int_equal(ot_read_parameter(trained, i, p, NULL), OT_OK);
    assert_int_equal(ot_read_parameter(written, i, q, NULL), OT_OK);
    assert_memory_equal(p, q, (size_t)a.elements * sizeof *p);
    for (int64_t k = 0; k < a.elements; k++) assert_true(p[k] != 0.25f);
}

static void scales_of_any_shape_are_trained_and_come_back(void **state) {
    (void)state;
    static const struct {
        const char *op, *attributes;
        int rank;
        int64_t dim[4];
    } nodes[] = {{"GroupNormalization", "num_groups=2", 4, {1, CHANNELS, 1, 1}},
                 {"GroupNormalization", "num_groups=2", 1, {1}},
                 {"InstanceNormalization", "", 3, {CHANNELS, 1, 1}},
                 {"InstanceNormalization", "", 1, {1}},
                 {"LayerNormalization", "axis=1", 3, {CHANNELS, 1, 1}},
                 {"LayerNormalization", "axis=1", 2, {1, 2}}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        const float quarter[CHANNELS] = {0.25f, 0.25f, 0.25f, 0.25f};
        struct test_model m;
        ot_session *s, *again;
        model_begin(&m, 21);
        add_floats(&m, "w", 4, (const int64_t[]){CHANNELS, CHANNELS, 1, 1});
        model_input(&m, "x", OT_FLOAT, image.rank, image.dim);
        model_output(&m, "y", OT_FLOAT, -1, NULL);
        model_floats(&m, "scale", nodes[i].rank, nodes[i].dim, quarter);
        model_floats(&m, "bias", nodes[i].rank, nodes[i].dim, quarter);
        model_node(&m, "Conv", "x w", "a", "");
        model_node(&m, nodes[i].op, "a scale bias", "y", nodes[i].attributes);
        train_and_write(&m, &s);
        assert_int_equal(ot_open(target(), NULL, &again, NULL), OT_OK);
        assert_int_equal(ot_parameter_count(again), 3);
        for (int k = 0; k < 3; k++) assert_came_back(s, again, k);
        ot_close(again);
        ot_close(s);
        remove(target());
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_layers_without_all_states),
        cmocka_unit_test(outputs_before_others_may_be_absent),
        cmocka_unit_test(outputs_that_have_to_be_there),
        cmocka_unit_test(free_dimensions_written_as_numbers),
        cmocka_unit_test(scales_of_any_shape_are_trained_and_come_back),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
