/* test_init.c - networks from nothing, and models that start anew: masks, values, what is exported,
 * and options that are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/networks.h"

static const int64_t units[] = {784, 300, 100, 10};
static const ot_options one_thread = {.size = sizeof(ot_options), .threads = 1};

static ot_session *open_mlp(const ot_options *options) {
    ot_session *s = NULL;
    ot_error err = {0};
    if (ot_open_mlp(units, 4, options, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static void draw(ot_session *s, const ot_sparsity_options *o) {
    ot_error err = {0};
    if (ot_draw_weights(s, o, &err)) fail_msg("%s", err.message);
}

static ot_parameter_info info_of(const ot_session *s, const char *name) {
    ot_parameter_info info = {0};
    for (int i = 0; i < ot_parameter_count(s); i++) {
        assert_int_equal(ot_get_parameter(s, i, &info, NULL), OT_OK);
        if (!strcmp(info.name, name)) return info;
    }
    fail_msg("there is no weight '%s'", name);
    return info;
}

static float *values_of(const ot_session *s, const char *name, int64_t *n) {
    for (int i = 0; i < ot_parameter_count(s); i++) {
        ot_parameter_info info;
        assert_int_equal(ot_get_parameter(s, i, &info, NULL), OT_OK);
        if (strcmp(info.name, name)) continue;
        float *value = malloc((size_t)info.elements * sizeof *value);
        assert_int_equal(ot_read_parameter(s, i, value, NULL), OT_OK);
        *n = info.elements;
        return value;
    }
    fail_msg("there is no weight '%s'", name);
    return NULL;
}

/* Fan-ins of Erdos-Renyi-Kernel, equal in all rows; values of variance 2 / fan-in. */
static void constant_fan_in(void **state) {
    (void)state;
    static const int fan_in[] = {62, 69, 100};
    ot_session *s = open_mlp(&one_thread);
    draw(s,
         &(ot_sparsity_options){
             .budget = OT_BUDGET_ERK, .constraint = OT_CONSTRAIN_FAN_IN, .density = .1, .seed = 3});
    for (int i = 0; i < 3; i++) {
        char name[24];
        int64_t n;
        double squares = 0;
        snprintf(name, sizeof name, "fc%d.weight", i + 1);
        float *value = values_of(s, name, &n);
        for (int64_t r = 0; r < units[i + 1]; r++) {
            int slots = 0;
            for (int64_t c = 0; c < units[i]; c++) {
                const double v = value[r * units[i] + c];
                slots += v != 0;
                squares += v * v;
            }
            assert_int_equal(slots, fan_in[i]);
        }
        assert_true(fabs(squares / (double)units[i + 1] / 2 - 1) < .1);
        assert_int_equal(info_of(s, name).has_pattern, i < 2);
        free(value);
    }
    ot_close(s);
}

static void same_seed_same_network(void **state) {
    (void)state;
    const ot_sparsity_options first = {.budget = OT_BUDGET_ER, .epsilon = 20, .seed = 1};
    ot_sparsity_options second = first;
    ot_session *a = open_mlp(&one_thread), *b = open_mlp(NULL);
    draw(a, &first);
    draw(b, &first);
    assert_true(info_of(a, "fc1.weight").mask_hash == info_of(b, "fc1.weight").mask_hash);
    int64_t n;
    float *x = values_of(a, "fc2.weight", &n), *y = values_of(b, "fc2.weight", &n);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    second.seed = 2;
    draw(b, &second);
    assert_true(info_of(a, "fc1.weight").mask_hash != info_of(b, "fc1.weight").mask_hash);
    free(x);
    free(y);
    ot_close(a);
    ot_close(b);
}

/* Files that are written hold what was drawn, sparse where less than half is there. */
static void exported(void **state) {
    (void)state;
    char path[] = "/tmp/test_init_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    const ot_options options = {
        .size = sizeof options, .threads = 1, .activation = "all-relu:0.25"};
    ot_session *s = open_mlp(&options), *t = NULL;
    static const ot_layer_density list[] = {{"*", .1}, {"fc2*", .7}, {"fc3*", 1}};
    draw(s, &(ot_sparsity_options){
                .budget = OT_BUDGET_LIST, .densities = list, .n_densities = 3, .dense_fan = 1});
    const ot_export_options as = {.size = sizeof as, .sparse = OT_EXPORT_SPARSE_AUTO};
    ot_error err = {0};
    if (ot_export_onnx(s, path, &as, &err)) fail_msg("%s", err.message);
    if (ot_open(path, &one_thread, &t, &err)) fail_msg("%s", err.message);
    static const char *const names[] = {"fc1.weight", "fc2.weight", "fc3.weight", "fc3.bias"};
    for (int i = 0; i < 4; i++) {
        int64_t n;
        float *x = values_of(s, names[i], &n), *y = values_of(t, names[i], &n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
        assert_true(info_of(s, names[i]).mask_hash == info_of(t, names[i]).mask_hash);
        free(x);
        free(y);
    }
    assert_int_equal(info_of(t, "fc1.weight").structure, OT_STRUCTURE_SPARSE);
    assert_int_equal(info_of(t, "fc2.weight").structure, OT_STRUCTURE_ZEROS);
    assert_int_equal(info_of(t, "fc3.weight").has_pattern, 0);
    ot_node_info node;
    assert_int_equal(ot_get_node(t, 1, &node, NULL), OT_OK);
    assert_string_equal(node.op, "LeakyRelu");
    ot_close(s);
    ot_close(t);
    unlink(path);
}

/* x -> fc1 -> LeakyRelu(-a) -> fc2 -> LeakyRelu(+a) -> fc3, against plain loops. */
static void all_relu(void **state) {
    (void)state;
    static const int64_t small[] = {6, 5, 4, 3};
    const ot_options options = {.size = sizeof options, .threads = 1, .activation = "all-relu:0.5"};
    static const float slope[] = {-.5f, .5f, 1};
    ot_session *s = NULL;
    assert_int_equal(ot_open_mlp(small, 4, &options, &s, NULL), OT_OK);
    draw(s, &(ot_sparsity_options){.budget = OT_BUDGET_UNIFORM, .density = .8, .seed = 8});
    float x[6] = {1, -2, .5f, -.25f, 3, -1}, y[6];
    const ot_tensor in = {OT_FLOAT, 2, {1, 6}, x};
    ot_tensor out;
    assert_int_equal(ot_run(s, &in, 1, &out, 1, NULL), OT_OK);
    for (int i = 0; i < 3; i++) {
        char name[24];
        int64_t n;
        snprintf(name, sizeof name, "fc%d.weight", i + 1);
        float *w = values_of(s, name, &n);
        for (int r = 0; r < small[i + 1]; r++) {
            y[r] = 0;
            for (int c = 0; c < small[i]; c++) y[r] += w[r * small[i] + c] * x[c];
            if (y[r] < 0) y[r] *= slope[i];
        }
        memcpy(x, y, sizeof x);
        free(w);
    }
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(((const float *)out.data)[i] - x[i]) < 1e-5f * (1 + fabsf(x[i])));
    ot_close(s);
}

/* A model of a file: masks and values are new, biases are 0, other layers keep theirs. */
static void model_starts_anew(void **state) {
    (void)state;
    size_t size;
    ot_session *s = NULL;
    ot_error err = {0};
    unsigned char *bytes = network_mlp(&size);
    if (ot_open_buffer(bytes, size, &one_thread, &s, &err)) fail_msg("%s", err.message);
    free(bytes);
    ot_parameter_info before[16], after;
    const int count = ot_parameter_count(s);
    assert_true(count <= 16);
    for (int i = 0; i < count; i++) assert_int_equal(ot_get_parameter(s, i, &before[i], NULL), 0);
    draw(s, &(ot_sparsity_options){.budget = OT_BUDGET_UNIFORM, .density = .5, .seed = 5});
    int drawn = 0;
    for (int i = 0; i < count; i++) {
        assert_int_equal(ot_get_parameter(s, i, &after, NULL), OT_OK);
        if (after.rank < 2) continue;
        assert_int_equal(after.has_pattern, 1);
        assert_true(after.nonzeros > 0 && after.nonzeros < after.elements);
        assert_true(after.mask_hash != before[i].mask_hash);
        drawn++;
    }
    assert_true(drawn > 1);
    ot_close(s);
}

static void layers_that_take_no_part(void **state) {
    (void)state;
    ot_session *s = open_mlp(&one_thread);
    draw(s, &(ot_sparsity_options){.budget = OT_BUDGET_UNIFORM, .density = .1, .layers = "!fc3.*"});
    assert_int_equal(info_of(s, "fc1.weight").has_pattern, 1);
    assert_int_equal(info_of(s, "fc2.weight").has_pattern, 1);
    assert_int_equal(info_of(s, "fc3.weight").has_pattern, 0);
    draw(s, &(ot_sparsity_options){.budget = OT_BUDGET_UNIFORM, .density = .2, .layers = "fc2*"});
    assert_true(fabs((double)info_of(s, "fc1.weight").nonzeros - 23520) < 800);
    assert_true(fabs((double)info_of(s, "fc2.weight").nonzeros - 6000) < 400);
    assert_int_equal(info_of(s, "fc3.weight").has_pattern, 0);
    ot_close(s);
}

/* A matrix of 1.5 10^12 elements, more than a dense tensor may have: drawn, written, read. */
static void larger_than_dense(void **state) {
    (void)state;
    static const int64_t wide[] = {10, 1500000, 1000000, 2};
    char path[] = "/tmp/test_init_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    ot_session *s = NULL, *t = NULL;
    ot_error err = {0};
    if (ot_open_mlp(wide, 4, &one_thread, &s, &err)) fail_msg("%s", err.message);
    draw(s, &(ot_sparsity_options){.budget = OT_BUDGET_ER, .epsilon = .05});
    const ot_parameter_info drawn = info_of(s, "fc2.weight");
    assert_true(drawn.elements == 1500000000000);
    assert_true(fabs((double)drawn.nonzeros - 125000) < 5 * 354);
    const ot_export_options as = {.size = sizeof as, .sparse = OT_EXPORT_SPARSE_AUTO};
    if (ot_export_onnx(s, path, &as, &err)) fail_msg("%s", err.message);
    if (ot_open(path, &one_thread, &t, &err)) fail_msg("%s", err.message);
    assert_true(info_of(t, "fc2.weight").mask_hash == drawn.mask_hash);
    ot_close(s);
    ot_close(t);
    unlink(path);
}

static void refused(void **state) {
    (void)state;
    static const ot_layer_density list[] = {{"fc1*", .1}, {"fc9*", .1}}, zero[] = {{"fc1*", 0}};
    static const struct {
        ot_sparsity_options o;
        const char *word; /* of the message */
    } items[] = {
        {{.budget = OT_BUDGET_ERK}, "density is 0"},
        {{.budget = OT_BUDGET_ERK, .density = 1.5}, "density is 1.5"},
        {{.budget = OT_BUDGET_UNIFORM, .density = (double)NAN}, "density is"},
        {{.budget = OT_BUDGET_ER, .epsilon = 1e4}, "every layer is dense"},
        {{.budget = OT_BUDGET_GLOBAL, .density = .1}, "global"},
        {{.budget = (ot_budget_kind)77, .density = .1}, "77"},
        {{.density = .1, .layers = "fc7*"}, "fc7*"},
        {{.density = .1, .layers = "!*"}, "no trained weight"},
        {{.budget = OT_BUDGET_LIST, .densities = list, .n_densities = 2}, "fc9*"},
        {{.budget = OT_BUDGET_LIST, .densities = zero, .n_densities = 1}, "fc1* is 0"},
        {{.constraint = OT_CONSTRAIN_NM, .group = {2, 4}}, "pruning"},
        {{.constraint = OT_CONSTRAIN_BLOCK, .group = {2, 4}, .density = .5}, "pruning"},
        {{.constraint = OT_CONSTRAIN_FAN_IN, .budget = OT_BUDGET_UNIFORM, .density = .001},
         "fc1.weight"},
        {{.budget = OT_BUDGET_UNIFORM, .density = 1e-12}, "fc1.weight"},
    };
    ot_session *s = open_mlp(&one_thread);
    draw(s, &(ot_sparsity_options){.density = .1});
    const uint64_t hash = info_of(s, "fc1.weight").mask_hash;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        ot_sparsity_options o = items[i].o;
        ot_error err = {0};
        o.size = sizeof o;
        assert_int_equal(ot_draw_weights(s, &o, &err), OT_ERROR_ARGUMENT);
        if (!strstr(err.message, items[i].word)) fail_msg("%zu: %s", i, err.message);
        assert_true(info_of(s, "fc1.weight").mask_hash == hash);
    }
    ot_close(s);
}

static void refused_models(void **state) {
    (void)state;
    static const int64_t none[] = {784, 0}, huge[] = {10, (int64_t)1 << 40}, two[] = {4, 3};
    static const char *const bad[] = {"relu",         "all-relu:",   "all-relu:0",
                                      "all-relu:nan", "all-relu:-1", "all-relu:1x"};
    ot_session *s = NULL;
    ot_error err = {0};
    assert_int_equal(ot_open_mlp(none, 2, NULL, &s, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_open_mlp(huge, 2, NULL, &s, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_open_mlp(two, 1, NULL, &s, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_open_mlp(NULL, 2, NULL, &s, &err), OT_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const ot_options options = {.size = sizeof options, .activation = bad[i]};
        assert_int_equal(ot_open_mlp(units, 4, &options, &s, &err), OT_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "activation"));
    }
    const ot_options options = {.size = sizeof options, .activation = "all-relu:0.5"};
    assert_int_equal(ot_open_mlp(two, 2, &options, &s, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "no hidden Relu"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_fan_in),   cmocka_unit_test(same_seed_same_network),
        cmocka_unit_test(exported),          cmocka_unit_test(all_relu),
        cmocka_unit_test(model_starts_anew), cmocka_unit_test(layers_that_take_no_part),
        cmocka_unit_test(larger_than_dense), cmocka_unit_test(refused),
        cmocka_unit_test(refused_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
