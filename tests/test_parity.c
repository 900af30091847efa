/* test_parity.c - 20 steps of SGD with momentum against PyTorch's masked training: the losses of
 * all steps and the gradients of the first. tests/golden/make_golden.py made the references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/onnxtrain.h"

enum { BATCH = 16, BATCHES = 4, STEPS = 20 };

static void *need(void *p) {
    assert_non_null(p);
    return p;
}

static FILE *open_golden(const char *model, const char *file) {
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s/%s", OT_TESTS_DIR, model, file);
    return need(fopen(path, "rb"));
}

/* The data of a version 1 .npy file: a header whose length stands in bytes 8 and 9, then rows. */
static void *read_npy(const char *model, const char *file, size_t *bytes) {
    FILE *f = open_golden(model, file);
    unsigned char head[10];
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x93NUMPY\x01", 7);
    long start = 10 + head[8] + 256 * head[9];
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *bytes = (size_t)(ftell(f) - start);
    assert_int_equal(fseek(f, start, SEEK_SET), 0);
    void *data = need(malloc(*bytes));
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

static void check(ot_status status, const ot_error *err) {
    if (status) fail_msg("%s: %s", ot_status_name(status), err->message);
}

static int find_parameter(const ot_session *s, const char *name, ot_parameter_info *info) {
    for (int i = 0; i < ot_parameter_count(s); i++) {
        ot_error err;
        check(ot_get_parameter(s, i, info, &err), &err);
        if (!strcmp(info->name, name)) return i;
    }
    fail_msg("no parameter %s", name);
    return -1;
}

static double max_abs(const float *v, size_t n) {
    double m = 0;
    for (size_t i = 0; i < n; i++) m = fabs(v[i]) > m ? fabs(v[i]) : m;
    return m;
}

/* Each gradient within 1e-4 of its own largest element. A bias before BatchNormalization has the
 * gradient 0 but for rounding: it is measured by a hundredth of the largest gradient of all. */
static void compare_gradients(const ot_session *s, const char *model) {
    size_t bytes, at = 0;
    float *expected = read_npy(model, "gradients.npy", &bytes);
    double least = 1e-2 * max_abs(expected, bytes / sizeof *expected);
    FILE *list = open_golden(model, "gradients.txt");
    char name[64];
    size_t n;
    while (fscanf(list, "%63s %zu", name, &n) == 2) {
        ot_parameter_info info;
        ot_error err;
        int i = find_parameter(s, name, &info);
        assert_int_equal(info.elements, n);
        float *got = need(malloc(n * sizeof *got));
        check(ot_get_gradient(s, i, got, &err), &err);
        double scale = fmax(max_abs(expected + at, n), least), worst = 0;
        for (size_t k = 0; k < n; k++) worst = fmax(worst, fabs(got[k] - expected[at + k]));
        if (!(worst <= 1e-4 * scale))
            fail_msg("%s: gradient of %s is off by %g of %g", model, name, worst, scale);
        free(got);
        at += n;
    }
    assert_int_equal(at * sizeof *expected, bytes);
    fclose(list);
    free(expected);
}

static void train_like_pytorch(const char *model, int rank, const int64_t *dim, float lr,
                               const ot_options *options) {
    char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s/model.onnx", OT_TESTS_DIR, model);
    ot_session *s = NULL;
    ot_error err;
    check(ot_open(path, options, &s, &err), &err);
    ot_optimizer_options sgd = {.kind = OT_SGD, .lr = lr, .momentum = 0.9f};
    check(ot_set_optimizer(s, &sgd, &err), &err);

    size_t x_bytes, y_bytes, loss_bytes;
    char *x = read_npy(model, "x.npy", &x_bytes), *y = read_npy(model, "y.npy", &y_bytes);
    double *losses = read_npy(model, "losses.npy", &loss_bytes);
    assert_int_equal(loss_bytes, STEPS * sizeof *losses);
    ot_tensor input = {.type = OT_FLOAT, .rank = rank};
    memcpy(input.dim, dim, (size_t)rank * sizeof *dim);
    ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {BATCH}};
    for (int step = 0; step < STEPS; step++) {
        int batch = step % BATCHES;
        input.data = x + x_bytes / BATCHES * (size_t)batch;
        target.data = y + y_bytes / BATCHES * (size_t)batch;
        ot_result result;
        check(ot_train_step(s, &input, 1, &target, &result, &err), &err);
        assert_int_equal(result.count, BATCH);
        if (!(fabs(result.loss - losses[step]) <= 1e-4 * losses[step]))
            fail_msg("%s: loss %.9g in step %d, PyTorch has %.9g", model, result.loss, step,
                     losses[step]);
        if (step == 0) compare_gradients(s, model);
        check(ot_optimizer_step(s, &err), &err);
    }
    ot_close(s);
    free(x);
    free(y);
    free(losses);
}

static void every_way(const char *model, int rank, const int64_t *dim, float lr) {
    for (int i = 0; ot_isa_name(i); i++)
        for (int sparse = OT_SPARSE_AUTO; sparse <= OT_SPARSE_LIVE; sparse++) {
            ot_options options = {
                .threads = 2, .isa = ot_isa_name(i), .sparse = (ot_sparse_mode)sparse};
            print_message("%s, %s, sparse mode %d\n", model, options.isa, sparse);
            train_like_pytorch(model, rank, dim, lr, &options);
        }
}

static void test_cnn(void **state) {
    (void)state;
    every_way("cnn", 4, (const int64_t[]){BATCH, 1, 12, 12}, 0.02f);
}

static void test_mlp(void **state) {
    (void)state;
    every_way("mlp", 2, (const int64_t[]){BATCH, 32}, 0.1f);
}

static void test_rnn(void **state) {
    (void)state;
    every_way("rnn", 3, (const int64_t[]){BATCH, 6, 10}, 0.2f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cnn), cmocka_unit_test(test_mlp),
                                       cmocka_unit_test(test_rnn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
