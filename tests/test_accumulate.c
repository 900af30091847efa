/* test_accumulate.c - gradients of several batches before one step: every target that counts
 * counts once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/model.h"

enum { N = 36, IN = 5, CLASSES = 4, IGNORED = 9 };
#define LR        0.5f
#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static float x[N * IN], w[IN * CLASSES];
static int64_t label[N];

/* y = x w, cross entropy; some targets do not count. */
static ot_session *open_linear(void) {
    struct test_model m;
    ot_session *s = NULL;
    ot_error err = {0};
    for (int i = 0; i < N * IN; i++) x[i] = ot_random_normal(1, 0, (uint64_t)i);
    for (int i = 0; i < IN * CLASSES; i++) w[i] = ot_random_normal(2, 0, (uint64_t)i);
    for (int i = 0; i < N; i++) label[i] = i % 7 == 3 ? IGNORED : i * 5 % CLASSES;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, IN));
    model_floats(&m, "w", 2, DIMS(IN, CLASSES), w);
    model_node(&m, "MatMul", "x w", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    if (model_open(&m, NULL, &s, &err)) fail_msg("%s", err.message);
    const ot_loss_options loss = {.use_ignore_index = 1, .ignore_index = IGNORED};
    const ot_optimizer_options sgd = {.lr = LR};
    assert_int_equal(ot_set_loss(s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

static void add_batch(ot_session *s, int from, int n) {
    const ot_tensor in = {.type = OT_FLOAT, .rank = 2, .dim = {n, IN}, .data = x + from * IN};
    const ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {n}, .data = label + from};
    ot_error err = {0};
    if (ot_train_step(s, &in, 1, &target, NULL, &err)) fail_msg("%s", err.message);
}

/* The weights after one step of plain SGD on the mean over samples [0, n) whose target counts, in
 * double: the gradient of cross entropy is softmax minus one-hot. */
static void reference(int n, double *to) {
    double g[IN * CLASSES] = {0}, count = 0;
    for (int i = 0; i < n; i++) {
        double y[CLASSES] = {0}, sum = 0;
        if (label[i] == IGNORED) continue;
        for (int c = 0; c < CLASSES; c++)
            for (int k = 0; k < IN; k++) y[c] += (double)x[i * IN + k] * w[k * CLASSES + c];
        for (int c = 0; c < CLASSES; c++) sum += exp(y[c]);
        for (int c = 0; c < CLASSES; c++)
            for (int k = 0; k < IN; k++)
                g[k * CLASSES + c] += x[i * IN + k] * (exp(y[c]) / sum - (c == label[i]));
        count++;
    }
    for (int k = 0; k < IN * CLASSES; k++) to[k] = w[k] - LR * g[k] / count;
}

static void assert_stepped(ot_session *s, int n) {
    double expected[IN * CLASSES];
    float got[IN * CLASSES];
    reference(n, expected);
    assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    assert_int_equal(ot_read_parameter(s, 0, got, NULL), OT_OK);
    for (int k = 0; k < IN * CLASSES; k++) assert_float_equal(got[k], expected[k], 1e-6);
}

static void unequal_batches_are_one(void **state) {
    static const int cuts[][4] = {{36}, {16, 16, 4}, {4, 16, 16}, {1, 2, 3, 30}, {12, 12, 12}};
    (void)state;
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        ot_session *s = open_linear();
        for (int k = 0, from = 0; k < 4 && cuts[c][k]; from += cuts[c][k++])
            add_batch(s, from, cuts[c][k]);
        assert_stepped(s, N);
        ot_close(s);
    }
}

/* A batch without any target that counts neither counts nor makes numbers that are none. */
static void batches_that_do_not_count(void **state) {
    (void)state;
    for (int first = 0; first < 2; first++) {
        ot_session *s = open_linear();
        if (first) add_batch(s, 3, 1); /* label[3] is ignored */
        add_batch(s, 0, 10);
        if (!first) add_batch(s, 3, 1);
        assert_stepped(s, 10);
        add_batch(s, 3, 1); /* alone */
        assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
        ot_close(s);
    }
}

/* Of one batch and a later, smaller one: the gradient of each one's own loss. */
static void input_gradients_are_of_their_batch(void **state) {
    (void)state;
    ot_session *a = open_linear(), *b = open_linear();
    ot_tensor ga, gb;
    assert_int_equal(ot_want_input_gradient(a, 0, 1, NULL), OT_OK);
    assert_int_equal(ot_want_input_gradient(b, 0, 1, NULL), OT_OK);
    add_batch(a, 0, 16);
    add_batch(a, 16, 5);
    add_batch(b, 16, 5);
    assert_int_equal(ot_get_input_gradient(a, 0, &ga, NULL), OT_OK);
    assert_int_equal(ot_get_input_gradient(b, 0, &gb, NULL), OT_OK);
    for (int i = 0; i < 5 * IN; i++)
        assert_float_equal(((const float *)ga.data)[i], ((const float *)gb.data)[i], 1e-7);
    ot_close(a);
    ot_close(b);
}

/* The gradient of the mean over one batch, given back as a host would: it counts as much as the
 * first batch; and alone, the mean is over the calls. */
static void host_losses_count_as_a_batch(void **state) {
    static const float one[6 * CLASSES] = {[0] = 1, [5] = -2, [11] = 0.5f};
    (void)state;
    float got[2][IN * CLASSES];
    for (int twice = 0; twice < 2; twice++) {
        ot_session *s = open_linear();
        const ot_tensor in = {.type = OT_FLOAT, .rank = 2, .dim = {6, IN}, .data = x};
        const ot_tensor g = {.type = OT_FLOAT, .rank = 2, .dim = {6, CLASSES}, .data = one};
        ot_tensor out;
        for (int k = 0; k <= twice; k++) {
            assert_int_equal(ot_forward(s, &in, 1, &out, 1, NULL), OT_OK);
            assert_int_equal(ot_backward(s, &g, 1, NULL), OT_OK);
        }
        assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
        assert_int_equal(ot_read_parameter(s, 0, got[twice], NULL), OT_OK);
        ot_close(s);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

/* Between the batches of a step the sums go through a checkpoint. */
static void a_checkpoint_keeps_the_sums(void **state) {
    (void)state;
    char path[] = "/tmp/accumulate-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    ot_session *a = open_linear(), *b = open_linear();
    add_batch(a, 0, 16);
    add_batch(a, 16, 16);
    assert_int_equal(ot_save_checkpoint(a, path, NULL, 0, NULL), OT_OK);
    assert_int_equal(ot_load_checkpoint(b, path, NULL, NULL, NULL), OT_OK);
    add_batch(b, 32, 4);
    assert_stepped(b, N);
    ot_close(a);
    ot_close(b);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unequal_batches_are_one),
        cmocka_unit_test(batches_that_do_not_count),
        cmocka_unit_test(input_gradients_are_of_their_batch),
        cmocka_unit_test(host_losses_count_as_a_batch),
        cmocka_unit_test(a_checkpoint_keeps_the_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
