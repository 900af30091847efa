/* test_loop.c - Loop and Scan: the same recurrence spelled as RNN, as Loop in several ways, and as
 * Scan gives the same losses and gradients; weights in a body train and go back to their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/rng.h"
#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { BATCH = 3, IN = 4, HIDDEN = 5, MOST_STEPS = 7, OUT = 2, PLACE = 64 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* ---- the recurrence: h = tanh(x[t] W + h R + b), y = h of the last step times w ---- */

static float W[IN][HIDDEN], R[HIDDEN][HIDDEN], b[HIDDEN], w[HIDDEN][OUT];

static void fill(float *v, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++) v[i] = 0.5f * ot_random_normal(11, stream, i);
}

static void fill_weights(void) {
    fill(&W[0][0], IN * HIDDEN, 1);
    fill(&R[0][0], HIDDEN * HIDDEN, 2);
    fill(b, HIDDEN, 3);
    fill(&w[0][0], HIDDEN * OUT, 4);
    for (int i = 0; i < HIDDEN; i++) R[i][(i + 1) % HIDDEN] = R[i][(i + 3) % HIDDEN] = 0;
}

static void add_weights(struct test_model *m) {
    model_floats(m, "W", 2, DIMS(IN, HIDDEN), &W[0][0]);
    model_floats(m, "R", 2, DIMS(HIDDEN, HIDDEN), &R[0][0]);
    model_floats(m, "b", 1, DIMS(HIDDEN), b);
}

static void begin(struct test_model *m) {
    model_begin(m, 17);
    model_input(m, "x", OT_FLOAT, 3, DIMS(-1, BATCH, IN));
    model_input(m, "h0", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_floats(m, "w", 2, DIMS(HIDDEN, OUT), &w[0][0]);
    model_output(m, "y", OT_FLOAT, 2, DIMS(BATCH, OUT));
}

static void add_length(struct test_model *m) {
    model_integer(m, "zero", 0);
    model_integer(m, "one", 1);
    model_integer(m, "many", 1000);
    model_node(m, "Shape", "x", "shape", "");
    model_node(m, "Gather", "shape zero", "n", "axis=0");
}

/* The next state, of xi and a state. */
static void add_cell(struct test_model *m, const char *state, const char *next) {
    char in[32];
    snprintf(in, sizeof in, "%s R", state);
    model_node(m, "MatMul", "xi W", "a", "");
    model_node(m, "MatMul", in, "r", "");
    model_node(m, "Add", "a r", "s", "");
    model_node(m, "Add", "s b", "t", "");
    model_node(m, "Tanh", "t", next, "");
}

static void add_state(struct test_model *m, const char *output) {
    model_output(m, output, OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
}

static void add_scanned(struct test_model *m) {
    model_node(m, "Identity", "h2", "state", "");
    add_state(m, "state");
}

static void loop_values(struct test_model *m) {
    model_input(m, "i", OT_INT64, 0, NULL);
    model_input(m, "c", OT_BOOL, 0, NULL);
    model_output(m, "c2", OT_BOOL, 0, NULL);
}

/* The body of a loop whose counter is the step: its state is h2, which is an output too, where it
 * is scanned. */
static void add_body(struct test_model *m, bool scanned) {
    loop_values(m);
    model_input(m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_node(m, "Gather", "x i", "xi", "axis=0");
    add_cell(m, "h", "h2");
    model_node(m, "Identity", "c", "c2", "");
    add_state(m, "h2");
    if (scanned) add_scanned(m);
}

/* As the operator, whose matrices are transposed. */
static void as_operator(struct test_model *m) {
    float wt[HIDDEN][IN], rt[HIDDEN][HIDDEN], both[2 * HIDDEN] = {0};
    for (int i = 0; i < HIDDEN; i++) {
        for (int k = 0; k < IN; k++) wt[i][k] = W[k][i];
        for (int k = 0; k < HIDDEN; k++) rt[i][k] = R[k][i];
        both[i] = b[i];
    }
    model_floats(m, "W", 3, DIMS(1, HIDDEN, IN), &wt[0][0]);
    model_floats(m, "R", 3, DIMS(1, HIDDEN, HIDDEN), &rt[0][0]);
    model_floats(m, "b", 2, DIMS(1, 2 * HIDDEN), both);
    model_ints(m, "first", 1, DIMS(0));
    model_node(m, "Unsqueeze", "h0 first", "h1", "");
    model_node(m, "RNN", "x W R b - h1", "- hn", "hidden_size=5");
    model_node(m, "Squeeze", "hn first", "h", "");
    model_node(m, "MatMul", "h w", "y", "");
}

static void as_loop(struct test_model *m) {
    add_weights(m);
    add_length(m);
    model_loop_begin(m, "Loop", "n - h0", "hn");
    add_body(m, false);
    model_loop_end(m, "");
    model_node(m, "MatMul", "hn w", "y", "");
}

/* Weights stand in the body, and the last state is the last of all states. */
static void as_loop_with_weights(struct test_model *m) {
    add_length(m);
    model_loop_begin(m, "Loop", "n - h0", "- all");
    add_weights(m);
    add_body(m, true);
    model_loop_end(m, "");
    model_node(m, "Sub", "n one", "last", "");
    model_node(m, "Gather", "all last", "hn", "axis=0");
    model_node(m, "MatMul", "hn w", "y", "");
}

/* As Keras' layers are exported: a counter of its own, a condition, no trip count. */
static void as_while(struct test_model *m) {
    add_weights(m);
    add_length(m);
    model_node(m, "Less", "zero n", "starts", "");
    model_loop_begin(m, "Loop", "- starts zero h0", "count hn all");
    loop_values(m);
    model_input(m, "k", OT_INT64, 0, NULL);
    model_input(m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_node(m, "Gather", "x k", "xi", "axis=0");
    add_cell(m, "h", "h2");
    model_node(m, "Add", "k one", "k2", "");
    model_node(m, "Less", "k2 n", "l1", "");
    model_node(m, "Less", "k2 many", "l2", "");
    model_node(m, "And", "l1 l2", "c2", "");
    model_output(m, "k2", OT_INT64, 0, NULL);
    add_state(m, "h2");
    add_scanned(m);
    model_loop_end(m, "");
    model_node(m, "MatMul", "hn w", "y", "");
}

/* The second of two outputs is taken: the states, the last of them first. */
static void as_scan(struct test_model *m) {
    add_weights(m);
    model_integer(m, "zero", 0);
    model_loop_begin(m, "Scan", "h0 x", "hn all");
    model_input(m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_input(m, "xi", OT_FLOAT, 2, DIMS(BATCH, IN));
    add_cell(m, "h", "h2");
    add_state(m, "h2");
    add_scanned(m);
    model_loop_end(m, "num_scan_inputs=1 scan_output_directions=1,");
    model_node(m, "Gather", "all zero", "last", "axis=0");
    model_node(m, "MatMul", "last w", "y", "");
}

/* A loop around the products of each step, of which it makes one. */
static void as_nested(struct test_model *m) {
    add_weights(m);
    add_length(m);
    model_loop_begin(m, "Loop", "n - h0", "hn");
    loop_values(m);
    model_input(m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_node(m, "Gather", "x i", "xi", "axis=0");
    model_loop_begin(m, "Loop", "one - h", "h3");
    model_input(m, "j", OT_INT64, 0, NULL);
    model_input(m, "d", OT_BOOL, 0, NULL);
    model_input(m, "g", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    add_cell(m, "g", "g2");
    model_output(m, "d", OT_BOOL, 0, NULL);
    add_state(m, "g2");
    model_loop_end(m, "");
    model_node(m, "Identity", "c", "c2", "");
    add_state(m, "h3");
    model_loop_end(m, "");
    model_node(m, "MatMul", "hn w", "y", "");
}

/* ---- runs ---- */

struct result {
    double loss;
    float y[BATCH * OUT], gw[IN][HIDDEN], gr[HIDDEN][HIDDEN], gb[HIDDEN],
        gx[MOST_STEPS * BATCH * IN];
};

static void must(ot_status status, const ot_error *err) {
    if (status) fail_msg("%s", err->message);
}

static ot_session *open_model(struct test_model *m, const ot_options *options) {
    ot_session *s;
    ot_error err = {0};
    must(model_open(m, options, &s, &err), &err);
    must(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_MSE}, &err), &err);
    must(ot_set_optimizer(s, &(ot_optimizer_options){.lr = 0.1f}, &err), &err);
    return s;
}

/* The parameter whose name ends so. */
static int parameter(const ot_session *s, const char *name) {
    for (int i = 0; i < ot_parameter_count(s); i++) {
        ot_parameter_info info;
        assert_int_equal(ot_get_parameter(s, i, &info, NULL), OT_OK);
        const char *slash = strrchr(info.name, '/');
        if (!strcmp(slash ? slash + 1 : info.name, name)) return i;
    }
    fail_msg("there is no parameter '%s'", name);
    return -1;
}

static void transpose(float *matrix, int rows, int columns) {
    float copy[HIDDEN * HIDDEN];
    memcpy(copy, matrix, (size_t)(rows * columns) * sizeof *copy);
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < columns; k++) matrix[k * rows + i] = copy[i * columns + k];
}

static void step(ot_session *s, int steps, bool transposed, struct result *r) {
    static float x[MOST_STEPS * BATCH * IN], h0[BATCH * HIDDEN], zero[BATCH * OUT];
    float bias[2 * HIDDEN];
    ot_error err = {0};
    ot_result result;
    fill(x, sizeof x / sizeof *x, 8);
    fill(h0, sizeof h0 / sizeof *h0, 9);
    const ot_tensor in[] = {{OT_FLOAT, 3, {steps, BATCH, IN}, x},
                            {OT_FLOAT, 2, {BATCH, HIDDEN}, h0}};
    ot_tensor y = {OT_FLOAT, 2, {BATCH, OUT}, zero}, view;
    must(ot_want_input_gradient(s, 0, 1, &err), &err);
    must(ot_train_step(s, in, 2, &y, &result, &err), &err);
    r->loss = result.loss;
    must(ot_get_gradient(s, parameter(s, "W"), &r->gw[0][0], &err), &err);
    must(ot_get_gradient(s, parameter(s, "R"), &r->gr[0][0], &err), &err);
    must(ot_get_gradient(s, parameter(s, "b"), bias, &err), &err);
    memcpy(r->gb, bias, sizeof r->gb);
    must(ot_get_input_gradient(s, 0, &view, &err), &err);
    memset(r->gx, 0, sizeof r->gx);
    memcpy(r->gx, view.data, (size_t)(steps * BATCH * IN) * sizeof(float));
    if (transposed) {
        transpose(&r->gw[0][0], HIDDEN, IN);
        transpose(&r->gr[0][0], HIDDEN, HIDDEN);
    }
    must(ot_run(s, in, 2, &y, 1, &err), &err);
    memcpy(r->y, y.data, sizeof r->y);
}

static void near(const char *what, const float *a, const float *reference, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)reference[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - reference[i]) <= 1e-5 * most))
            fail_msg("%s[%zu] is %.9g, not %.9g", what, i, a[i], reference[i]);
}

static void compare(const struct result *a, const struct result *reference) {
    assert_true(fabs(a->loss - reference->loss) <= 1e-6 * reference->loss);
    near("y", a->y, reference->y, BATCH * OUT);
    near("gradient of W", &a->gw[0][0], &reference->gw[0][0], IN * HIDDEN);
    near("gradient of R", &a->gr[0][0], &reference->gr[0][0], HIDDEN * HIDDEN);
    near("gradient of b", a->gb, reference->gb, HIDDEN);
    near("gradient of x", a->gx, reference->gx, MOST_STEPS * BATCH * IN);
}

static void (*const spellings[])(struct test_model *) = {as_loop, as_loop_with_weights, as_while,
                                                         as_scan, as_nested};
enum { SPELLINGS = sizeof spellings / sizeof *spellings };

/* Sequences of several lengths in one session; sparse or dense, R has zeros. */
static void spellings_of_a_recurrence_agree(void **state) {
    (void)state;
    static const int lengths[] = {5, 1, MOST_STEPS, 5};
    static struct result expected, got;
    fill_weights();
    for (int k = 0; k < SPELLINGS * 2; k++) {
        const ot_options options = {.threads = 1,
                                    .sparse = k % 2 ? OT_SPARSE_ALWAYS : OT_SPARSE_NEVER};
        struct test_model m;
        begin(&m);
        as_operator(&m);
        ot_session *reference = open_model(&m, &options);
        begin(&m);
        spellings[k / 2](&m);
        ot_session *s = open_model(&m, &options);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            step(reference, lengths[i], true, &expected);
            step(s, lengths[i], false, &got);
            compare(&got, &expected);
        }
        ot_close(reference);
        ot_close(s);
    }
}

/* ---- writing back ---- */

static void read_weight(const ot_session *s, const char *name, float *values) {
    assert_int_equal(ot_read_parameter(s, parameter(s, name), values, NULL), OT_OK);
}

/* What an optimizer step changes is in the file that is written, where it was. */
static void weights_go_back_to_their_place(void **state) {
    (void)state;
    char path[] = "/tmp/test_loop_XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    fill_weights();
    for (int k = 0; k < SPELLINGS; k++) {
        struct result before, after;
        float trained[HIDDEN][HIDDEN], read[HIDDEN][HIDDEN];
        struct test_model m;
        ot_error err = {0};
        ot_session *s, *again;
        static float x[3 * BATCH * IN], h0[BATCH * HIDDEN], zero[BATCH * OUT];
        const ot_tensor in[] = {{OT_FLOAT, 3, {3, BATCH, IN}, x},
                                {OT_FLOAT, 2, {BATCH, HIDDEN}, h0}};
        const ot_tensor target = {OT_FLOAT, 2, {BATCH, OUT}, zero};
        fill(x, sizeof x / sizeof *x, 8);
        begin(&m);
        spellings[k](&m);
        s = open_model(&m, &(ot_options){.threads = 1});
        must(ot_train_step(s, in, 2, &target, &(ot_result){0}, &err), &err);
        must(ot_optimizer_step(s, &err), &err);
        read_weight(s, "R", &trained[0][0]);
        assert_memory_not_equal(trained, R, sizeof R);
        for (int i = 0; i < HIDDEN * HIDDEN; i++)
            assert_int_equal((&trained[0][0])[i] != 0, (&R[0][0])[i] != 0);
        must(ot_export_onnx(s, path, &(ot_export_options){0}, &err), &err);
        must(ot_open(path, &(ot_options){.threads = 1}, &again, &err), &err);
        must(ot_set_loss(again, &(ot_loss_options){.kind = OT_LOSS_MSE}, &err), &err);
        must(ot_set_optimizer(again, &(ot_optimizer_options){.lr = 0.1f}, &err), &err);
        read_weight(again, "R", &read[0][0]);
        assert_memory_equal(read, trained, sizeof read);
        step(s, 4, false, &before);
        step(again, 4, false, &after);
        assert_true(before.loss == after.loss);
        ot_close(s);
        ot_close(again);
    }
    unlink(path);
}

/* ---- what no iteration changes ---- */

static void count_products(void *context, const ot_profile_step *step) {
    int *n = context;
    *n += !strcmp(step->what, "forward") && !strcmp(step->op, "MatMul");
}

struct steps {
    int splits, gathers;
};

static void count_steps(void *context, const ot_profile_step *step) {
    struct steps *n = context;
    n->splits += !strcmp(step->what, "forward") && !strcmp(step->op, "Split");
    n->gathers += !strcmp(step->what, "forward") && !strcmp(step->op, "Gather");
}

/* The product of two weights is the same in each iteration: it is computed once. */
static void what_no_iteration_changes_is_computed_once(void **state) {
    (void)state;
    float h0[BATCH * HIDDEN] = {1};
    const ot_tensor in = {OT_FLOAT, 2, {BATCH, HIDDEN}, h0};
    ot_tensor y;
    ot_session *s;
    ot_error err;
    struct test_model m;
    int products = 0;
    fill_weights();
    model_begin(&m, 17);
    model_input(&m, "h0", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_output(&m, "y", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_integer(&m, "n", 4);
    model_floats(&m, "R", 2, DIMS(HIDDEN, HIDDEN), &R[0][0]);
    model_loop_begin(&m, "Loop", "n - h0", "y");
    loop_values(&m);
    model_input(&m, "h", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_node(&m, "MatMul", "R R", "q", "");
    model_node(&m, "MatMul", "h q", "h2", "");
    model_node(&m, "Identity", "c", "c2", "");
    model_output(&m, "h2", OT_FLOAT, 2, DIMS(BATCH, HIDDEN));
    model_loop_end(&m, "");
    s = open_model(&m, &(ot_options){.threads = 1});
    must(ot_run(s, &in, 1, &y, 1, &err), &err);
    must(ot_get_profile(s, count_products, &products, &err), &err);
    assert_int_equal(products, 5);
    ot_close(s);
}

/* Steps that are read one by one from a value that is computed are parts of one Split: its gradient
 * is written once, not once a step. */
static void steps_are_parts_of_one_split(void **state) {
    (void)state;
    struct steps count = {0};
    static float x[MOST_STEPS * BATCH * IN], h0[BATCH * HIDDEN];
    const ot_tensor in[] = {{OT_FLOAT, 3, {MOST_STEPS, BATCH, IN}, x},
                            {OT_FLOAT, 2, {BATCH, HIDDEN}, h0}};
    ot_tensor y;
    ot_error err;
    struct test_model m;
    fill_weights();
    begin(&m);
    as_while(&m);
    ot_session *s = open_model(&m, &(ot_options){.threads = 1});
    must(ot_run(s, in, 2, &y, 1, &err), &err);
    must(ot_get_profile(s, count_steps, &count, &err), &err);
    assert_int_equal(count.splits, 1);
    assert_int_equal(count.gathers, 0);
    ot_close(s);
}

/* ---- memory ---- */

/* All states of a sequence whose steps come first: they are no samples to divide a batch by. */
static void steps_are_no_samples(void **state) {
    (void)state;
    enum { STEPS = 64 };
    static float x[STEPS * BATCH * IN], h0[BATCH * HIDDEN];
    const ot_tensor in[] = {{OT_FLOAT, 3, {STEPS, BATCH, IN}, x},
                            {OT_FLOAT, 2, {BATCH, HIDDEN}, h0}};
    size_t whole = 0;
    fill_weights();
    for (int percent = 100; percent > 30; percent -= 5) {
        struct test_model m;
        ot_memory_info info;
        ot_error err;
        size_t bytes;
        begin(&m);
        as_while(&m);
        model_output(&m, "all", OT_FLOAT, 3, DIMS(-1, BATCH, HIDDEN));
        ot_session *s = open_model(
            &m, &(ot_options){.threads = 1, .limits.memory_bytes = whole * (size_t)percent / 100});
        const ot_loss_options loss = {.kind = OT_LOSS_MSE, .output = "all"};
        must(ot_set_loss(s, &loss, &err), &err);
        const ot_status status = ot_prepare(s, 1, in, 2, &bytes, &err);
        if (!whole) whole = bytes;
        ot_get_memory_info(s, &info);
        assert_true(status == OT_ERROR_LIMIT || info.parts == 1);
        ot_close(s);
        if (status) break;
    }
}

static int allocations, failing;

static void *alloc(void *context, size_t size, size_t align) {
    (void)context;
    return allocations++ == failing ? NULL
                                    : aligned_alloc(align, (size + align - 1) / align * align);
}

static void release(void *context, void *p) {
    (void)context;
    free(p);
}

/* Every allocation fails once. */
static void memory_may_end_at_any_time(void **state) {
    (void)state;
    const ot_options options = {.threads = 1, .allocator = {alloc, release, NULL}};
    static float x[2 * BATCH * IN], h0[BATCH * HIDDEN];
    const ot_tensor in[] = {{OT_FLOAT, 3, {2, BATCH, IN}, x}, {OT_FLOAT, 2, {BATCH, HIDDEN}, h0}};
    ot_status status = OT_ERROR_NO_MEMORY;
    fill_weights();
    for (failing = 0; status && failing < 2000; failing++) {
        struct test_model m;
        ot_session *s = NULL;
        ot_error err;
        size_t bytes;
        allocations = 0;
        begin(&m);
        as_nested(&m);
        status = model_open(&m, &options, &s, &err);
        if (!status) status = ot_prepare(s, 0, in, 2, &bytes, &err);
        if (status) assert_int_equal(status, OT_ERROR_NO_MEMORY);
        ot_close(s);
    }
    assert_int_equal(status, OT_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spellings_of_a_recurrence_agree),
        cmocka_unit_test(weights_go_back_to_their_place),
        cmocka_unit_test(what_no_iteration_changes_is_computed_once),
        cmocka_unit_test(steps_are_parts_of_one_split),
        cmocka_unit_test(steps_are_no_samples),
        cmocka_unit_test(memory_may_end_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
