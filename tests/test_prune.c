/* test_prune.c - pruned models against plain loops over the dense weights: what stays, its values,
 * what the model computes; scores of data; failures that leave the session as it was. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/networks.h"

enum { MOST_WEIGHTS = 24, MOST_ELEMENTS = 1024 };

/* All weights of a session, dense. */
struct copy {
    int n;
    ot_parameter_info info[MOST_WEIGHTS];
    float value[MOST_WEIGHTS][MOST_ELEMENTS];
};

static void read_all(const ot_session *s, struct copy *c) {
    c->n = ot_parameter_count(s);
    assert_true(c->n <= MOST_WEIGHTS);
    for (int i = 0; i < c->n; i++) {
        assert_int_equal(ot_get_parameter(s, i, &c->info[i], NULL), OT_OK);
        assert_true(c->info[i].elements <= MOST_ELEMENTS);
        assert_int_equal(ot_read_parameter(s, i, c->value[i], NULL), OT_OK);
    }
}

static bool is_layer(const ot_parameter_info *info) { return info->rank > 1; }

static void open_threads(struct fixture *f, make_fn *make, int threads) {
    const ot_options o = {.size = sizeof o, .threads = threads};
    fixture_open(f, make, &o);
}

static void prune(ot_session *s, const ot_sparsity_options *o) {
    ot_error err = {0};
    if (ot_prune(s, o, &err)) fail_msg("%s", err.message);
}

/* What is smaller than the k-th best score becomes zero; scores differ from each other. */
static void cut_off(float *value, const float *score, int64_t n, int64_t k) {
    for (int64_t i = 0; i < n; i++) {
        int64_t better = 0;
        for (int64_t j = 0; j < n; j++) better += score[j] > score[i];
        if (better >= k) value[i] = 0;
    }
}

static void compare(const ot_session *s, const struct copy *expected) {
    static struct copy now;
    read_all(s, &now);
    for (int i = 0; i < now.n; i++) {
        int64_t nonzeros = 0;
        for (int64_t k = 0; k < now.info[i].elements; k++) {
            assert_true(now.value[i][k] == expected->value[i][k]);
            nonzeros += now.value[i][k] != 0;
        }
        if (is_layer(&now.info[i])) assert_int_equal(now.info[i].nonzeros, nonzeros);
    }
}

static void magnitudes(const struct copy *c, int i, float *score) {
    for (int64_t k = 0; k < c->info[i].elements; k++) score[k] = fabsf(c->value[i][k]);
}

/* Dense weights whose rows are columns in the file. */
static unsigned char *dense_columns(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    network_weight(&m, "w1", 2, DIMS(12, 20), 1);
    network_weight(&m, "w2", 2, DIMS(20, CLASSES), 1);
    network_weight(&m, "b2", 1, DIMS(CLASSES), 1);
    model_node(&m, "MatMul", "x w1", "h", "");
    model_node(&m, "Tanh", "h", "a", "");
    model_node(&m, "Gemm", "a w2 b2", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

/* Convolutions with groups and strides, and an LSTM, whose bias and states are no layers. */
static unsigned char *grouped_and_recurrent(size_t *size) {
    struct test_model m;
    model_begin(&m, 14);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 4, 8, 8));
    network_weight(&m, "g1", 4, DIMS(8, 2, 3, 3), 1);
    network_weight(&m, "d1", 4, DIMS(8, 1, 3, 3), 1);
    network_weight(&m, "w", 3, DIMS(1, 20, 8), 1);
    network_weight(&m, "r", 3, DIMS(1, 20, 5), 0.6);
    network_weight(&m, "bias", 2, DIMS(1, 40), 1);
    model_ints(&m, "shape", 3, DIMS(0, 8, -1));
    model_node(&m, "Conv", "x g1", "h1", "kernel_shape=3,3 pads=1,1,1,1 strides=2,2 group=2");
    model_node(&m, "Conv", "h1 d1", "h2", "kernel_shape=3,3 pads=1,1,1,1 group=8");
    model_node(&m, "Reshape", "h2 shape", "h3", "");
    model_node(&m, "Transpose", "h3", "h4", "perm=2,0,1");
    model_node(&m, "LSTM", "h4 w r bias", "y", "hidden_size=5");
    model_output(&m, "y", OT_FLOAT, 4, DIMS(16, 1, -1, 5));
    return model_finish(&m, size);
}

/* A depthwise convolution, and what is no layer, keep all that they have. */
static bool takes_part(const ot_parameter_info *info) {
    return is_layer(info) && strcmp(info->name, "d1") && strcmp(info->name, "bias");
}

/* Sparse and dense weights, in all orientations. */
static void uniform(void **state) {
    (void)state;
    static make_fn *const makes[] = {network_mlp, network_cnn, dense_columns,
                                     grouped_and_recurrent};
    static struct copy c;
    static struct fixture f;
    for (int i = 0; i < 8; i++) {
        const double density = i < 4 ? .1 : .25;
        open_threads(&f, makes[i % 4], 1 + i);
        read_all(f.s, &c);
        for (int k = 0; k < c.n; k++) {
            float score[MOST_ELEMENTS];
            if (!takes_part(&c.info[k])) continue;
            magnitudes(&c, k, score);
            cut_off(c.value[k], score, c.info[k].elements,
                    (int64_t)((double)c.info[k].elements * density));
        }
        prune(f.s, &(ot_sparsity_options){.budget = OT_BUDGET_UNIFORM, .density = density});
        compare(f.s, &c);
        ot_close(f.s);
    }
}

static void global(void **state) {
    (void)state;
    static struct copy c;
    static struct fixture f;
    static float value[MOST_WEIGHTS * MOST_ELEMENTS], score[MOST_WEIGHTS * MOST_ELEMENTS];
    open_threads(&f, network_cnn, 1);
    read_all(f.s, &c);
    int64_t n = 0;
    for (int i = 0; i < c.n; i++)
        for (int64_t k = 0; is_layer(&c.info[i]) && k < c.info[i].elements; k++)
            value[n++] = c.value[i][k];
    for (int64_t k = 0; k < n; k++) score[k] = fabsf(value[k]);
    cut_off(value, score, n, (int64_t)((double)n * .15));
    n = 0;
    for (int i = 0; i < c.n; i++)
        for (int64_t k = 0; is_layer(&c.info[i]) && k < c.info[i].elements; k++)
            c.value[i][k] = value[n++];
    prune(f.s, &(ot_sparsity_options){.budget = OT_BUDGET_GLOBAL, .density = .15});
    compare(f.s, &c);
    ot_close(f.s);
}

/* Rows of c1 are dimension 0, those of w3 dimension 1. */
static void fan_in(void **state) {
    (void)state;
    static struct copy c;
    static struct fixture f;
    open_threads(&f, network_mlp, 1);
    prune(f.s, &(ot_sparsity_options){
                   .budget = OT_BUDGET_UNIFORM, .constraint = OT_CONSTRAIN_FAN_IN, .density = .1});
    read_all(f.s, &c);
    for (int i = 0; i < c.n; i++) {
        if (!is_layer(&c.info[i])) continue;
        const bool columns = strcmp(c.info[i].name, "w1") != 0;
        const int64_t rows = c.info[i].dim[columns], cols = c.info[i].dim[!columns];
        const int64_t most = (int64_t)((double)(rows * cols) * .1) / rows;
        assert_true(most > 0);
        for (int64_t r = 0; r < rows; r++) {
            int64_t slots = 0;
            for (int64_t k = 0; k < cols; k++)
                slots += c.value[i][columns ? k * rows + r : r * cols + k] != 0;
            assert_true(slots <= most);
        }
    }
    ot_close(f.s);
}

/* A group is channels 0 to 3, or 4 to 7, at one place of the kernel. */
static void two_of_four(void **state) {
    (void)state;
    static struct copy before, after;
    static struct fixture f;
    open_threads(&f, network_cnn, 1);
    read_all(f.s, &before);
    prune(f.s,
          &(ot_sparsity_options){.constraint = OT_CONSTRAIN_NM, .group = {2, 4}, .layers = "!c1"});
    read_all(f.s, &after);
    for (int i = 0; i < after.n; i++) {
        if (strcmp(after.info[i].name, "c2")) continue;
        for (int m = 0; m < 8; m++)
            for (int g = 0; g < 18; g++) {
                int kept = 0, had = 0;
                for (int c = 0; c < 4; c++) {
                    const int at = (m * 8 + g / 9 * 4 + c) * 9 + g % 9;
                    had += before.value[i][at] != 0;
                    kept += after.value[i][at] != 0;
                }
                assert_int_equal(kept, had < 2 ? had : 2);
            }
    }
    ot_close(f.s);
}

/* |w g| of the gradient that a training step gives. */
static void taylor(void **state) {
    (void)state;
    static struct copy c, same;
    static struct fixture f, g;
    static float gradient[MOST_ELEMENTS], score[MOST_ELEMENTS];
    open_threads(&f, network_cnn, 2);
    open_threads(&g, network_cnn, 1);
    read_all(f.s, &c);
    ot_result r;
    assert_int_equal(ot_score_step(f.s, &f.in, 1, &f.target, &r, NULL), OT_OK);
    read_all(f.s, &same);
    for (int i = 0; i < c.n; i++) /* statistics, too */
        assert_memory_equal(c.value[i], same.value[i], (size_t)c.info[i].elements * 4);
    assert_true(fixture_train(&g) == r.loss);
    for (int i = 0; i < c.n; i++) {
        if (!is_layer(&c.info[i])) continue;
        assert_int_equal(ot_get_gradient(g.s, i, gradient, NULL), OT_OK);
        for (int64_t k = 0; k < c.info[i].elements; k++)
            score[k] = fabsf(c.value[i][k] * gradient[k]);
        cut_off(c.value[i], score, c.info[i].elements, (int64_t)((double)c.info[i].elements * .12));
    }
    const ot_sparsity_options o = {
        .budget = OT_BUDGET_UNIFORM, .by = OT_PRUNE_TAYLOR, .density = .12};
    prune(f.s, &o);
    compare(f.s, &c);
    ot_error err;
    assert_int_equal(ot_prune(f.s, &o, &err), OT_ERROR_STATE); /* the scores are gone */
    ot_close(f.s);
    ot_close(g.s);
}

/* Outputs are those of dense kernels on the same values; then training goes on. */
static void computes_and_trains(void **state) {
    (void)state;
    static make_fn *const makes[] = {network_mlp, network_cnn, dense_columns};
    static const ot_options never = {.size = sizeof never, .threads = 1, .sparse = OT_SPARSE_NEVER};
    static const ot_options always = {
        .size = sizeof always, .threads = 1, .sparse = OT_SPARSE_ALWAYS};
    static struct copy c;
    static struct fixture f, g;
    for (int i = 0; i < 3; i++) {
        ot_tensor y, z;
        fixture_open(&f, makes[i], &always);
        for (int k = 0; k < 3; k++) {
            fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        }
        prune(f.s, &(ot_sparsity_options){.budget = OT_BUDGET_ERK, .density = .15});
        read_all(f.s, &c);
        fixture_open(&g, makes[i], &never);
        for (int k = 0; k < c.n; k++)
            assert_int_equal(ot_write_parameter(g.s, k, c.value[k], NULL), OT_OK);
        assert_int_equal(ot_run(f.s, &f.in, 1, &y, 1, NULL), OT_OK);
        assert_int_equal(ot_run(g.s, &g.in, 1, &z, 1, NULL), OT_OK);
        for (int k = 0; k < BATCH * CLASSES; k++) {
            const float a = ((const float *)y.data)[k], b = ((const float *)z.data)[k];
            assert_true(fabsf(a - b) <= 1e-5f * (1 + fabsf(b)));
        }
        const double first = fixture_train(&f);
        double last = first;
        for (int k = 0; k < 20; k++) {
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            last = fixture_train(&f);
        }
        assert_true(last < first);
        for (int k = 0; k < c.n; k++) {
            ot_parameter_info now;
            assert_int_equal(ot_get_parameter(f.s, k, &now, NULL), OT_OK);
            assert_true(now.mask_hash == c.info[k].mask_hash);
        }
        ot_close(f.s);
        ot_close(g.s);
    }
}

/* ---- failures ---- */

static long left; /* allocations until one fails; below 0: none does */

static void *failing_alloc(void *context, size_t size, size_t align) {
    (void)context;
    if (!left) return NULL;
    left--;
    return aligned_alloc(align, (size + align - 1) / align * align);
}
static void plain_free(void *context, void *block) {
    (void)context;
    free(block);
}

static void out_of_memory(void **state) {
    (void)state;
    const ot_options o = {
        .size = sizeof o, .threads = 1, .allocator = {failing_alloc, plain_free, NULL}};
    const ot_sparsity_options how = {.budget = OT_BUDGET_GLOBAL, .density = .1};
    static struct copy c;
    static struct fixture f;
    ot_error err;
    left = -1;
    fixture_open(&f, network_cnn, &o);
    fixture_train(&f);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    read_all(f.s, &c);
    long count = 0;
    for (;; count++) {
        left = count;
        const ot_status status = ot_prune(f.s, &how, &err);
        left = -1;
        if (!status) break;
        assert_int_equal(status, OT_ERROR_NO_MEMORY);
        static struct copy now;
        read_all(f.s, &now);
        for (int i = 0; i < c.n; i++) {
            assert_true(now.info[i].mask_hash == c.info[i].mask_hash);
            assert_memory_equal(now.value[i], c.value[i], (size_t)c.info[i].elements * 4);
        }
    }
    assert_true(count > 10);
    fixture_train(&f);
    ot_close(f.s);
}

static void refused(void **state) {
    (void)state;
    static const struct {
        ot_sparsity_options o;
        ot_status status;
        const char *word; /* of the message */
    } items[] = {
        {{.budget = OT_BUDGET_ERK}, OT_ERROR_ARGUMENT, "density is 0"},
        {{.budget = OT_BUDGET_GLOBAL, .density = 1.01}, OT_ERROR_ARGUMENT, "density is 1.01"},
        {{.budget = OT_BUDGET_UNIFORM, .density = 1e-9}, OT_ERROR_ARGUMENT, "without a weight"},
        {{.budget = OT_BUDGET_GLOBAL, .density = 1e-3}, OT_ERROR_ARGUMENT, "without a weight"},
        {{.constraint = OT_CONSTRAIN_NM, .group = {5, 4}}, OT_ERROR_ARGUMENT, "nm:5:4"},
        {{.constraint = OT_CONSTRAIN_NM, .group = {0, 4}}, OT_ERROR_ARGUMENT, "nm:0:4"},
        {{.constraint = OT_CONSTRAIN_NM, .group = {2, 4}}, OT_ERROR_ARGUMENT, "'c1' has 3 inputs"},
        {{.budget = OT_BUDGET_ERK,
          .density = .2,
          .constraint = OT_CONSTRAIN_BLOCK,
          .group = {3, 1}},
         OT_ERROR_ARGUMENT,
         "'c1' has 8 rows"},
        {{.budget = OT_BUDGET_ERK,
          .density = .2,
          .constraint = OT_CONSTRAIN_BLOCK,
          .group = {0, 1}},
         OT_ERROR_ARGUMENT,
         "block:0x1"},
        {{.density = .2, .by = OT_PRUNE_TAYLOR}, OT_ERROR_STATE, "ot_score_step"},
        {{.density = .2, .layers = "c9"}, OT_ERROR_ARGUMENT, "c9"},
    };
    static struct copy c;
    static struct fixture f;
    open_threads(&f, network_cnn, 1);
    read_all(f.s, &c);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        ot_error err = {0};
        assert_int_equal(ot_prune(f.s, &items[i].o, &err), items[i].status);
        if (!strstr(err.message, items[i].word)) fail_msg("%zu: %s", i, err.message);
        compare(f.s, &c);
    }
    fixture_train(&f);
    const ot_sparsity_options o = {.budget = OT_BUDGET_ERK, .density = .2};
    assert_int_equal(ot_prune(f.s, &o, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_score_step(f.s, &f.in, 1, &f.target, NULL, NULL), OT_ERROR_STATE);
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform),       cmocka_unit_test(global),
        cmocka_unit_test(fan_in),        cmocka_unit_test(two_of_four),
        cmocka_unit_test(taylor),        cmocka_unit_test(computes_and_trains),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
