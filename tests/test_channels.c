/* test_channels.c - channels that leave a model: where their constants are exact, outputs are those
 * of the model with these channels silenced; shapes, files, layers that are tied. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/networks.h"

static const ot_options one_thread = {.size = sizeof(ot_options), .threads = 1};

/* Conv (no padding behind it), BatchNormalization, LeakyRelu, MaxPool, Conv, BatchNormalization,
 * Relu, Flatten, Gemm, Sigmoid, MatMul with an Add: every kind of reader and of constant. */
static unsigned char *chain(size_t *size) {
    struct test_model m;
    model_begin(&m, 16);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    network_weight(&m, "c1", 4, DIMS(8, 3, 3, 3), 1);
    network_weight(&m, "scale", 1, DIMS(8), 1);
    network_weight(&m, "shift", 1, DIMS(8), 1);
    network_weight(&m, "mean", 1, DIMS(8), 1);
    float variance[8];
    for (int i = 0; i < 8; i++) variance[i] = 0.5f + 0.1f * (float)i;
    model_floats(&m, "variance", 1, DIMS(8), variance);
    network_weight(&m, "c2", 4, DIMS(6, 8, 2, 2), 0.5);
    network_weight(&m, "scale2", 1, DIMS(6), 1);
    network_weight(&m, "shift2", 1, DIMS(6), 1);
    network_weight(&m, "mean2", 1, DIMS(6), 1);
    model_floats(&m, "variance2", 1, DIMS(6), variance);
    network_weight(&m, "w3", 2, DIMS(10, 24), 0.5);
    network_weight(&m, "b3", 1, DIMS(10), 1);
    network_weight(&m, "w4", 2, DIMS(10, CLASSES), 1);
    network_weight(&m, "b4", 1, DIMS(CLASSES), 1);
    model_node(&m, "Conv", "x c1", "h1", "kernel_shape=3,3");
    model_node(&m, "BatchNormalization", "h1 scale shift mean variance", "n1", "");
    model_node(&m, "LeakyRelu", "n1", "a1", "alpha=-0.5");
    model_node(&m, "MaxPool", "a1", "p1", "kernel_shape=2,2 strides=2,2");
    model_node(&m, "Conv", "p1 c2", "h2", "kernel_shape=2,2");
    model_node(&m, "BatchNormalization", "h2 scale2 shift2 mean2 variance2", "n2", "");
    model_node(&m, "Relu", "n2", "a2", "");
    model_node(&m, "Flatten", "a2", "f", "");
    model_node(&m, "Gemm", "f w3 b3", "h3", "transB=1");
    model_node(&m, "Sigmoid", "h3", "a3", "");
    model_node(&m, "MatMul", "a3 w4", "h4", "");
    model_node(&m, "Add", "h4 b4", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

static void open_model(struct fixture *f, make_fn *make) {
    ot_error err = {0};
    if (fixture_try(f, make, &one_thread, &err)) fail_msg("%s", err.message);
}

static int find(const ot_session *s, const char *name, ot_parameter_info *info) {
    for (int i = 0; i < ot_parameter_count(s); i++) {
        assert_int_equal(ot_get_parameter(s, i, info, NULL), OT_OK);
        if (!strcmp(info->name, name)) return i;
    }
    fail_msg("there is no weight '%s'", name);
    return -1;
}

/* Clears the rows of a weight whose sum of absolute values is among the least n - kept. */
static void silence(ot_session *s, const char *name, int64_t rows, int64_t kept, bool columns) {
    ot_parameter_info info;
    const int i = find(s, name, &info);
    float value[4096];
    double sum[64] = {0};
    const int64_t cols = info.elements / rows;
    assert_int_equal(ot_read_parameter(s, i, value, NULL), OT_OK);
    for (int64_t k = 0; k < info.elements; k++)
        sum[columns ? k % rows : k / cols] += fabs(value[k]);
    for (int64_t k = 0; k < info.elements; k++) {
        const int64_t r = columns ? k % rows : k / cols;
        int64_t better = 0;
        for (int64_t j = 0; j < rows; j++) better += sum[j] > sum[r];
        if (better >= kept) value[k] = 0;
    }
    assert_int_equal(ot_write_parameter(s, i, value, NULL), OT_OK);
}

static void outputs_stay(void **state) {
    (void)state;
    static struct fixture f, g, h;
    static const struct {
        const char *name;
        int64_t rows, kept;
    } items[] = {{"c1", 8, 4}, {"c2", 6, 3}, {"w3", 10, 5}};
    ot_tensor y, z;
    ot_error err = {0};
    open_model(&f, chain);
    open_model(&g, chain);
    for (int i = 0; i < 3; i++) silence(g.s, items[i].name, items[i].rows, items[i].kept, false);
    const ot_sparsity_options o = {.constraint = OT_CONSTRAIN_CHANNELS, .density = .5};
    if (ot_prune(f.s, &o, &err)) fail_msg("%s", err.message);
    ot_parameter_info info;
    for (int i = 0; i < 3; i++) {
        find(f.s, items[i].name, &info);
        assert_int_equal(info.dim[0], items[i].kept);
    }
    find(f.s, "c2", &info);
    assert_int_equal(info.dim[1], 4);
    find(f.s, "w3", &info);
    assert_int_equal(info.dim[1], 12);
    find(f.s, "w4", &info);
    assert_int_equal(info.dim[0], 5);
    find(f.s, "variance", &info);
    assert_int_equal(info.dim[0], 4);
    assert_int_equal(ot_run(f.s, &f.in, 1, &y, 1, NULL), OT_OK);
    assert_int_equal(ot_run(g.s, &g.in, 1, &z, 1, NULL), OT_OK);
    for (int k = 0; k < BATCH * CLASSES; k++) {
        const float a = ((const float *)y.data)[k], b = ((const float *)z.data)[k];
        assert_true(fabsf(a - b) <= 1e-4f * (1 + fabsf(b)));
    }
    /* the file has the smaller shapes, and computes the same */
    char path[] = "/tmp/test_channels_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    const ot_export_options as = {.size = sizeof as, .sparse = OT_EXPORT_SPARSE_AUTO};
    if (ot_export_onnx(f.s, path, &as, &err)) fail_msg("%s", err.message);
    if (ot_open(path, &one_thread, &h.s, &err)) fail_msg("%s", err.message);
    assert_int_equal(ot_run(h.s, &f.in, 1, &z, 1, NULL), OT_OK);
    assert_int_equal(ot_run(f.s, &f.in, 1, &y, 1, NULL), OT_OK);
    assert_memory_equal(y.data, z.data, BATCH * CLASSES * sizeof(float));
    unlink(path);
    ot_close(h.s);
    ot_close(f.s);
    ot_close(g.s);
}

/* It can be trained afterwards. */
static void trains(void **state) {
    (void)state;
    static struct fixture f;
    const ot_sparsity_options o = {.constraint = OT_CONSTRAIN_CHANNELS, .density = .7};
    fixture_open(&f, chain, &one_thread);
    double first = fixture_train(&f), last = first;
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    assert_int_equal(ot_prune(f.s, &o, NULL), OT_OK);
    for (int k = 0; k < 30; k++) {
        last = fixture_train(&f);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    }
    assert_true(last < first);
    ot_close(f.s);
}

/* Channels of sums and of outputs stay; the first convolution's go into a sum, too. */
static void tied_layers_stay(void **state) {
    (void)state;
    static struct fixture f;
    ot_error err = {0};
    const ot_sparsity_options o = {.constraint = OT_CONSTRAIN_CHANNELS, .density = .5};
    ot_sparsity_options last = o;
    ot_parameter_info info;
    fixture_open(&f, network_cnn, &one_thread);
    if (ot_prune(f.s, &o, &err)) fail_msg("%s", err.message);
    find(f.s, "c1", &info);
    assert_int_equal(info.dim[0], 8);
    find(f.s, "c2", &info);
    assert_int_equal(info.dim[0], 8);
    find(f.s, "c3", &info);
    assert_int_equal(info.dim[0], 4);
    find(f.s, "fc", &info);
    assert_int_equal(info.dim[0], CLASSES);
    assert_int_equal(info.dim[1], 4);
    last.layers = "fc";
    assert_int_equal(ot_prune(f.s, &last, &err), OT_ERROR_UNSUPPORTED);
    last.layers = "c3";
    last.density = .01;
    assert_int_equal(ot_prune(f.s, &last, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "none of the 4 channels of 'c3'"));
    last.budget = OT_BUDGET_ERK;
    assert_int_equal(ot_prune(f.s, &last, &err), OT_ERROR_ARGUMENT);
    fixture_train(&f);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_stay),
        cmocka_unit_test(trains),
        cmocka_unit_test(tied_layers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
