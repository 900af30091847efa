/* test_fit.c - training within a memory limit: micro-batches, activations computed again, refusal.
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
#include "tests/counter.h"
#include "tests/networks.h"

static void rows(struct fixture *f, int64_t n) { f->in.dim[0] = f->target.dim[0] = n; }

static size_t need(struct fixture *f) {
    ot_error err = {OT_OK, ""};
    size_t bytes;
    if (ot_prepare(f->s, 1, &f->in, 1, &bytes, &err)) fail_msg("%s", err.message);
    return bytes;
}

static ot_memory_info memory(const struct fixture *f) {
    ot_memory_info info;
    ot_get_memory_info(f->s, &info);
    return info;
}

/* What a step on `n` samples needs without a limit. */
static size_t free_need(make_fn *make, ot_options o, int64_t n) {
    struct fixture f;
    fixture_open(&f, make, &o);
    rows(&f, n);
    const size_t bytes = need(&f);
    ot_close(f.s);
    return bytes;
}

/* A session that is `by` bytes short of what n samples need. */
static void open_short(struct fixture *f, make_fn *make, ot_options o, int64_t n, size_t by) {
    o.limits.memory_bytes = free_need(make, o, n) - by;
    fixture_open(f, make, &o);
    rows(f, n);
}

/* ---- networks ---- */

/* Dropout twice, on shapes that divide by 4 and that do not. */
static unsigned char *dropped(size_t *size) {
    struct test_model m;
    model_begin(&m, 10);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    network_weight(&m, "w1", 2, DIMS(20, 12), 0.2);
    network_weight(&m, "w2", 2, DIMS(21, 20), 0.3);
    network_weight(&m, "w3", 2, DIMS(CLASSES, 21), 1);
    model_node(&m, "Gemm", "x w1", "h1", "transB=1");
    model_node(&m, "Dropout", "h1", "d1", "ratio=0.3");
    model_node(&m, "Gemm", "d1 w2", "h2", "transB=1");
    model_node(&m, "Dropout", "h2", "d2", "ratio=0.6");
    model_node(&m, "Gemm", "d2 w3", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

static void large_weight(struct test_model *m, const char *name, int64_t rows, int64_t columns) {
    float *w = malloc((size_t)(rows * columns) * sizeof *w);
    assert_non_null(w);
    network_floats(w, (size_t)(rows * columns), (uint64_t)rows, 1);
    model_floats(m, name, 2, DIMS(rows, columns), w);
    free(w);
}

/* Samples that look at each other. */
static unsigned char *mingled(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    network_weight(&m, "w1", 2, DIMS(20, 12), 0.2);
    network_weight(&m, "w2", 2, DIMS(CLASSES, 20), 0.3);
    model_node(&m, "Gemm", "x w1", "h", "transB=1");
    model_node(&m, "Softmax", "h", "s", "axis=0");
    model_node(&m, "Gemm", "s w2", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

/* Dense products that are large beside what is between them. */
static unsigned char *wide(size_t *size) {
    struct test_model m;
    model_begin(&m, 20);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 192));
    large_weight(&m, "w1", 192, 2048);
    large_weight(&m, "w2", 2048, 2048);
    large_weight(&m, "w3", 2048, CLASSES);
    model_node(&m, "MatMul", "x w1", "h1", "");
    model_node(&m, "Gelu", "h1", "a1", "");
    model_node(&m, "MatMul", "a1 w2", "h2", "");
    model_node(&m, "Gelu", "h2", "a2", "");
    model_node(&m, "MatMul", "a2 w3", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

/* An output without samples. */
static unsigned char *summed(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 12));
    network_weight(&m, "w1", 2, DIMS(12, CLASSES), 0.4);
    model_node(&m, "MatMul", "x w1", "h", "");
    model_node(&m, "ReduceSum", "h", "y", "keepdims=0");
    model_output(&m, "y", OT_FLOAT, 0, NULL);
    return model_finish(&m, size);
}

/* Time comes first: a cell sees what came before. */
static unsigned char *recurrent(size_t *size) {
    struct test_model m;
    model_begin(&m, 14);
    model_input(&m, "x", OT_FLOAT, 3, DIMS(-1, 2, 6));
    network_weight(&m, "w", 3, DIMS(1, 20, 6), 1);
    network_weight(&m, "r", 3, DIMS(1, 20, 5), 1);
    model_node(&m, "LSTM", "x w r", "y", "hidden_size=5");
    model_output(&m, "y", OT_FLOAT, 4, DIMS(-1, 1, 2, 5));
    return model_finish(&m, size);
}

/* ---- the same as the whole ---- */

static ot_result gradients(struct fixture *f, const ot_tensor *target, float *g, size_t *n) {
    ot_error err = {OT_OK, ""};
    ot_result r;
    if (ot_train_step(f->s, &f->in, 1, target, &r, &err)) fail_msg("%s", err.message);
    *n = 0;
    for (int i = 0; i < ot_parameter_count(f->s); i++) {
        ot_parameter_info info;
        ot_get_parameter(f->s, i, &info, NULL);
        if (!f->s->model->parameter[i].gradient) continue;
        assert_int_equal(ot_get_gradient(f->s, i, g + *n, NULL), OT_OK);
        *n += (size_t)info.elements;
    }
    return r;
}

/* `sparse` says which form weights have: that of sparse kernels fills wide lanes. */
static void must_agree(make_fn *make, ot_bn_mode bn, ot_sparse_mode sparse,
                       const ot_loss_options *loss, int64_t n) {
    enum { MOST = 4096 };
    static float g[2][MOST], values[MOST_BATCH * CLASSES];
    struct fixture f[2];
    const ot_options o = {.threads = 2, .bn = bn, .sparse = sparse};
    ot_result r[2];
    size_t count;
    network_floats(values, MOST_BATCH * CLASSES, 5, 1);
    fixture_open(&f[0], make, &o);
    rows(&f[0], n);
    open_short(&f[1], make, o, n, 1000);
    for (int k = 0; k < 2; k++) {
        ot_tensor target = f[k].target;
        assert_int_equal(ot_set_loss(f[k].s, loss, NULL), OT_OK);
        if (loss->kind != OT_LOSS_CROSS_ENTROPY)
            target = (ot_tensor){.type = OT_FLOAT, .rank = 2, .dim = {n, CLASSES}, .data = values};
        r[k] = gradients(&f[k], &target, g[k], &count);
        assert_true(count <= MOST);
        assert_int_equal(memory(&f[k]).parts > 1, k);
    }
    assert_int_equal(r[0].count, r[1].count);
    assert_int_equal(r[0].correct, r[1].correct);
    assert_float_equal(r[0].loss, r[1].loss, 1e-5 * fabs(r[0].loss));
    float most = 0;
    for (size_t i = 0; i < count; i++) most = fmaxf(most, fabsf(g[0][i]));
    for (size_t i = 0; i < count; i++) assert_float_equal(g[0][i], g[1][i], 1e-5f * most);
    for (int k = 0; k < 2; k++) ot_close(f[k].s);
}

static void micro_batches_add_up(void **state) {
    (void)state;
    const ot_loss_options losses[] = {
        {.kind = OT_LOSS_CROSS_ENTROPY},
        {.kind = OT_LOSS_CROSS_ENTROPY, .label_smoothing = 0.1f},
        {.kind = OT_LOSS_CROSS_ENTROPY, .use_ignore_index = 1, .ignore_index = 2},
        {.kind = OT_LOSS_MSE},
        {.kind = OT_LOSS_L1},
        {.kind = OT_LOSS_HUBER, .huber_delta = 0.3f},
        {.kind = OT_LOSS_BCE},
    };
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        must_agree(network_mlp, OT_BN_AUTO, OT_SPARSE_NEVER, &losses[i], 64);
        must_agree(network_cnn, OT_BN_FROZEN, OT_SPARSE_AUTO, &losses[i],
                   61); /* parts of two sizes */
    }
    must_agree(network_cnn, OT_BN_AFFINE, OT_SPARSE_AUTO, &losses[0], 64);
    must_agree(dropped, OT_BN_AUTO, OT_SPARSE_NEVER, &losses[0], 63);
}

/* ---- the choice ---- */

static void a_limit_that_fits_changes_nothing(void **state) {
    (void)state;
    struct fixture f;
    open_short(&f, network_mlp, (ot_options){.threads = 1, .sparse = OT_SPARSE_NEVER}, 64, 0);
    fixture_train(&f);
    assert_int_equal(memory(&f).parts, 1);
    assert_int_equal(memory(&f).recomputed, 0);
    ot_close(f.s);
    open_short(&f, network_mlp, (ot_options){.threads = 1, .sparse = OT_SPARSE_NEVER}, 64, 1);
    fixture_train(&f);
    assert_true(memory(&f).parts > 1);
    ot_close(f.s);
}

/* Where statistics are those of the batch, what changes no bit comes first. */
static void activations_come_before_micro_batches_where_samples_mix(void **state) {
    (void)state;
    double loss[2][4];
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        open_short(&f, network_cnn, (ot_options){.threads = 2}, 64, k);
        for (int i = 0; i < 4; i++) {
            loss[k][i] = fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        }
        assert_int_equal(memory(&f).parts, 1);
        assert_int_equal(memory(&f).recomputed > 0, k);
        ot_close(f.s);
    }
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
}

/* Tokens fill lanes: samples may be fewer than these. */
static unsigned char *tokens(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 3, DIMS(-1, 32, 6));
    network_weight(&m, "w1", 2, DIMS(6, 60), 0.2);
    network_weight(&m, "w2", 2, DIMS(60, 2), 0.2);
    model_node(&m, "MatMul", "x w1", "h", "");
    model_node(&m, "Sigmoid", "h", "a", "");
    model_node(&m, "MatMul", "a w2", "y", "");
    model_output(&m, "y", OT_FLOAT, 3, DIMS(-1, 32, 2));
    return model_finish(&m, size);
}

static void tokens_count_as_samples(void **state) {
    (void)state;
    struct fixture f;
    ot_options o = {.threads = 1};
    const ot_loss_options mse = {.kind = OT_LOSS_MSE};
    for (int k = 0; k < 2; k++) {
        fixture_open(&f, tokens, &o);
        assert_int_equal(ot_set_loss(f.s, &mse, NULL), OT_OK);
        rows(&f, 14);
        o.limits.memory_bytes = need(&f) - 1;
        if (k) assert_int_equal(memory(&f).parts, 2);
        assert_int_equal(memory(&f).recomputed, 0);
        ot_close(f.s);
    }
}

/* Its moments leave less for the plan. */
static void an_optimizer_that_comes_later_counts(void **state) {
    (void)state;
    struct fixture f;
    const ot_optimizer_options adam = {.kind = OT_ADAM, .lr = 0.01f};
    open_short(&f, network_mlp, (ot_options){.threads = 1, .sparse = OT_SPARSE_NEVER}, 64, 0);
    need(&f);
    assert_int_equal(memory(&f).parts, 1);
    assert_int_equal(ot_set_optimizer(f.s, &adam, NULL), OT_OK);
    fixture_train(&f);
    assert_true(memory(&f).parts > 1);
    ot_close(f.s);
}

/* Without any limit. */
static void bargains_are_computed_again(void **state) {
    (void)state;
    make_fn *const makes[] = {wide, network_cnn, dropped};
    for (int k = 0; k < 3; k++) {
        struct fixture f;
        fixture_open(&f, makes[k], &(ot_options){.threads = 2});
        rows(&f, 64);
        fixture_train(&f);
        assert_int_equal(memory(&f).recomputed, k ? 0 : 2);
        ot_close(f.s);
    }
}

static void count_again(void *context, const char *line) {
    *(int *)context += strstr(line, " again ") != NULL;
}

static void plans_show_what_is_computed_again(void **state) {
    (void)state;
    struct fixture f;
    int lines = 0;
    open_short(&f, network_cnn, (ot_options){.threads = 2}, 64, 1);
    need(&f);
    assert_int_equal(ot_print_plan(f.s, count_again, &lines, NULL), OT_OK);
    assert_true(lines > 0);
    assert_int_equal(lines, memory(&f).recomputed);
    ot_close(f.s);
}

/* The number in the message is exact: one byte less does not do. */
static void what_does_not_fit_says_what_it_takes(void **state) {
    (void)state;
    make_fn *const makes[] = {network_mlp, network_cnn};
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        ot_error err = {OT_OK, ""};
        size_t bytes = 0;
        ot_options o = {.threads = 1};
        o.limits.memory_bytes = free_need(makes[k], o, 1) * 2 / 3;
        for (int i = 0; i < 3; i++) {
            fixture_open(&f, makes[k], &o);
            rows(&f, 64);
            const ot_status status = ot_prepare(f.s, 1, &f.in, 1, NULL, &err);
            ot_close(f.s);
            assert_int_equal(status, i == 1 ? OT_OK : OT_ERROR_LIMIT);
            if (i == 0)
                assert_int_equal(sscanf(err.message, "the step needs %zu bytes", &bytes), 1);
            o.limits.memory_bytes = i == 0 ? bytes : bytes - 1;
        }
    }
}

/* Where rows are no samples, there is nothing to divide. */
static void what_is_not_by_sample_stays_whole(void **state) {
    (void)state;
    make_fn *const makes[] = {summed, recurrent};
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        ot_error err = {OT_OK, ""};
        const ot_loss_options mse = {.kind = OT_LOSS_MSE};
        ot_options o = {.threads = 1};
        for (int short_of = 0; short_of < 2; short_of++) {
            fixture_open(&f, makes[k], &o);
            assert_int_equal(ot_set_loss(f.s, &mse, NULL), OT_OK);
            rows(&f, 64);
            if (!short_of)
                o.limits.memory_bytes = need(&f) - 1;
            else
                assert_int_equal(ot_prepare(f.s, 1, &f.in, 1, NULL, &err), OT_ERROR_LIMIT);
            ot_close(f.s);
        }
    }
}

static void threads_change_no_bit_of_parts(void **state) {
    (void)state;
    double loss[3][4];
    const size_t limit = free_need(network_cnn, (ot_options){.bn = OT_BN_FROZEN}, 40);
    for (int k = 0; k < 3; k++) {
        struct fixture f;
        const ot_options o = {
            .threads = k + 1, .bn = OT_BN_FROZEN, .limits = {.memory_bytes = limit}};
        fixture_open(&f, network_cnn, &o);
        rows(&f, 64);
        for (int i = 0; i < 4; i++) {
            loss[k][i] = fixture_train(&f);
            ot_optimizer_step(f.s, NULL);
        }
        assert_true(memory(&f).parts > 1);
        ot_close(f.s);
        assert_memory_equal(loss[0], loss[k], sizeof loss[0]);
    }
}

/* ---- memory and failures ---- */

/* An allocator that knows how many bytes are out. */
struct meter {
    size_t now, most;
};

static void *meter_alloc(void *context, size_t size, size_t align) {
    struct meter *m = context;
    char *p = NULL;
    if (posix_memalign((void **)&p, align, size + align)) return NULL;
    memcpy(p + align - sizeof size, &size, sizeof size);
    memcpy(p + align - sizeof size - sizeof align, &align, sizeof align);
    m->now += size;
    if (m->now > m->most) m->most = m->now;
    return p + align;
}

static void meter_free(void *context, void *pointer) {
    size_t size, align;
    memcpy(&size, (char *)pointer - sizeof size, sizeof size);
    memcpy(&align, (char *)pointer - sizeof size - sizeof align, sizeof align);
    ((struct meter *)context)->now -= size;
    free((char *)pointer - align);
}

/* Plans of several kinds and sizes are kept, but within the limit together. While one is made,
 * what it is made of stands beside those that will have to go. */
static void plans_together_stay_within_the_limit(void **state) {
    (void)state;
    const ot_options o = {.threads = 1, .bn = OT_BN_FROZEN};
    struct meter m = {0};
    ot_options limited = o;
    limited.limits.memory_bytes = free_need(network_cnn, o, 16) + 100000;
    limited.allocator = (ot_allocator){meter_alloc, meter_free, &m};
    struct fixture f;
    ot_error err = {OT_OK, ""};
    fixture_open(&f, network_cnn, &limited);
    m.most = m.now;
    for (int i = 0; i < 6; i++) {
        rows(&f, 64 - 5 * i);
        fixture_train(&f);
        ot_result r;
        if (ot_eval_step(f.s, &f.in, 1, &f.target, &r, &err)) fail_msg("%s", err.message);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        assert_true(m.now <= limited.limits.memory_bytes);
    }
    assert_true(m.most <= limited.limits.memory_bytes * 2);
    ot_close(f.s);
    assert_int_equal(m.now, 0);
}

static void divided_steps_allocate_nothing(void **state) {
    (void)state;
    struct counter c = {0};
    struct fixture f;
    const ot_options o = {
        .threads = 1, .sparse = OT_SPARSE_NEVER, .allocator = counting_allocator(&c)};
    open_short(&f, network_mlp, o, 63, 1);
    fixture_train(&f);
    ot_optimizer_step(f.s, NULL);
    const long before = c.requests;
    for (int i = 0; i < 3; i++) {
        fixture_train(&f);
        ot_optimizer_step(f.s, NULL);
    }
    assert_true(memory(&f).parts > 1);
    assert_int_equal(c.requests, before);
    ot_close(f.s);
    assert_int_equal(c.live, 0);
}

static void every_failed_allocation_is_told(void **state) {
    (void)state;
    const ot_bn_mode modes[] = {OT_BN_FROZEN, OT_BN_TRAIN};
    for (int k = 0; k < 2; k++) {
        const ot_options plain = {.threads = 1, .bn = modes[k]};
        const size_t limit = free_need(network_cnn, plain, 64) * 2 / 3;
        ot_status status = OT_ERROR_NO_MEMORY;
        for (long n = 1; status; n++) {
            struct counter c = {.fail_at = n};
            struct fixture f;
            ot_options o = plain;
            ot_error err = {OT_OK, ""};
            o.limits.memory_bytes = limit;
            o.allocator = counting_allocator(&c);
            status = fixture_try(&f, network_cnn, &o, &err);
            if (!status) {
                rows(&f, 64);
                status = ot_prepare(f.s, 1, &f.in, 1, NULL, &err);
                if (!status && c.requests < n) assert_true(memory(&f).parts > 1);
                ot_close(f.s);
            }
            assert_int_equal(c.live, 0);
            if (c.requests < n) break;
            if (status != OT_ERROR_NO_MEMORY) fail_msg("allocation %ld: %s", n, err.message);
        }
        assert_int_equal(status, OT_OK);
    }
}

static void gradient_of(const struct fixture *f, const char *name, float *gradient) {
    for (int i = 0; i < ot_parameter_count(f->s); i++)
        if (!strcmp(f->s->model->parameter[i].name, name))
            assert_int_equal(ot_get_gradient(f->s, i, gradient, NULL), OT_OK);
}

/* Sample 50 is not finite: parts before it have run. */
static void a_failed_part_leaves_no_trace(void **state) {
    (void)state;
    struct fixture f;
    ot_result r;
    float before[8], after[8], gradient[2][8];
    int mean = -1;
    const ot_options o = {.threads = 1};
    ot_options tight = o;
    tight.limits.memory_bytes = free_need(network_cnn, o, 30);
    fixture_open(&f, network_cnn, &tight);
    rows(&f, 64);
    for (int i = 0; i < ot_parameter_count(f.s); i++)
        if (!strcmp(f.s->model->parameter[i].name, "m1")) mean = i;
    const double loss = fixture_train(&f);
    assert_true(memory(&f).parts > 1);
    gradient_of(&f, "z1", gradient[0]);
    ot_close(f.s);
    fixture_open(&f, network_cnn, &tight);
    rows(&f, 64);
    ot_read_parameter(f.s, mean, before, NULL);
    const float keep = f.x[50 * 192];
    f.x[50 * 192] = NAN;
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, NULL), OT_ERROR_NUMERIC);
    ot_read_parameter(f.s, mean, after, NULL);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_ERROR_STATE);
    f.x[50 * 192] = keep;
    assert_true(fixture_train(&f) == loss);
    gradient_of(&f, "z1", gradient[1]);
    assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
    ot_close(f.s);
}

static void classes_are_checked_before_anything_runs(void **state) {
    (void)state;
    struct fixture f;
    ot_error err = {OT_OK, ""};
    ot_result r;
    open_short(&f, network_mlp, (ot_options){.threads = 1, .sparse = OT_SPARSE_NEVER}, 64, 1);
    f.label[60] = CLASSES;
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, &err), OT_ERROR_NUMERIC);
    assert_non_null(strstr(err.message, "sample 60"));
    ot_close(f.s);
}

static void samples_that_depend_on_each_other_are_not_divided(void **state) {
    (void)state;
    struct fixture f;
    ot_error err = {OT_OK, ""};
    open_short(&f, mingled, (ot_options){.threads = 1}, BATCH, 64);
    assert_int_equal(ot_prepare(f.s, 1, &f.in, 1, NULL, &err), OT_ERROR_LIMIT);
    assert_non_null(strstr(err.message, "the step needs"));
    assert_null(strstr(err.message, "micro-batches"));
    ot_close(f.s);
}

/* The second run has made other plans, or fewer, when it goes on: it is divided the same way. */
static void a_resumed_run_is_divided_as_it_was(void **state) {
    (void)state;
    char path[] = "/tmp/onnx-train-fit-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    double loss[2] = {0};
    const ot_options o = {.threads = 1, .bn = OT_BN_AFFINE};
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        ot_error err = {OT_OK, ""};
        open_short(&f, network_cnn, o, 64, 1);
        if (k && ot_load_checkpoint(f.s, path, NULL, NULL, &err)) fail_msg("%s", err.message);
        for (int i = k ? 2 : 0; i < 4; i++) {
            if (i == 2 && !k && ot_save_checkpoint(f.s, path, NULL, 0, &err))
                fail_msg("%s", err.message);
            loss[k] = fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            assert_true(memory(&f).parts > 1);
            ot_result r;
            if (!k) assert_int_equal(ot_eval_step(f.s, &f.in, 1, &f.target, &r, NULL), OT_OK);
        }
        ot_close(f.s);
    }
    assert_true(loss[0] == loss[1]);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(a_limit_that_fits_changes_nothing),
        cmocka_unit_test(activations_come_before_micro_batches_where_samples_mix),
        cmocka_unit_test(tokens_count_as_samples),
        cmocka_unit_test(an_optimizer_that_comes_later_counts),
        cmocka_unit_test(bargains_are_computed_again),
        cmocka_unit_test(plans_show_what_is_computed_again),
        cmocka_unit_test(what_does_not_fit_says_what_it_takes),
        cmocka_unit_test(what_is_not_by_sample_stays_whole),
        cmocka_unit_test(threads_change_no_bit_of_parts),
        cmocka_unit_test(plans_together_stay_within_the_limit),
        cmocka_unit_test(divided_steps_allocate_nothing),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(a_failed_part_leaves_no_trace),
        cmocka_unit_test(classes_are_checked_before_anything_runs),
        cmocka_unit_test(samples_that_depend_on_each_other_are_not_divided),
        cmocka_unit_test(a_resumed_run_is_divided_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
