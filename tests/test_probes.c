/* test_probes.c - training steps that tell gradients outside the masks: those of the same model
 * without masks; and nothing else changes by it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"
#include "tests/counter.h"
#include "tests/networks.h"

enum { MOST_PARAMETERS = 32 };

static const int64_t batches[] = {1, 2, 17, 64};

static void open_with(struct fixture *f, make_fn *make, ot_options o, int64_t batch) {
    fixture_open(f, make, &o);
    f->in.dim[0] = f->target.dim[0] = batch;
}

static int parameter_index(const struct fixture *f, const char *name) {
    for (int i = 0; i < f->s->model->n_parameters; i++)
        if (!strcmp(f->s->model->parameter[i].name, name)) return i;
    fail_msg("no weight %s", name);
    return -1;
}

static struct parameter *parameter_of(const struct fixture *f, const char *name) {
    return &f->s->model->parameter[parameter_index(f, name)];
}

/* All free positions of the named weights, and the `row` best of each row. */
static void count_free(const struct fixture *f, const char *const *names, int row,
                       struct probe_count *count) {
    for (; *names; names++) {
        const struct pattern *p = parameter_of(f, *names)->t.pattern;
        assert_non_null(p);
        count[parameter_index(f, *names)] =
            (struct probe_count){p->rows * p->cols - p->nnz, row, 0};
    }
}

static void start(struct fixture *f, const struct probe_count *count) {
    const struct probe_draw draw = {3, 100};
    ot_error err;
    if (ot_probes_new(f->s->model, count, ot_pool_workers(f->s->context.pool), &f->s->probes,
                      &err) ||
        ot_probes_start(&f->s->probes, f->s->model, count, &draw, &err))
        fail_msg("%s", err.message);
    f->s->probes_on = true;
}

static void set_probes(struct fixture *f, const char *const *names, int row) {
    struct probe_count count[MOST_PARAMETERS] = {{0, 0, 0}};
    count_free(f, names, row, count);
    start(f, count);
}

/* ---- against the model without masks ---- */

/* The file's position of row and column of a weight with a mask. */
static int64_t file_position(const struct pattern *p, int64_t position) {
    const int64_t row = position / p->cols, col = position % p->cols;
    return p->transposed ? col * p->rows + row : position;
}

static void check_weight(struct fixture *f, const struct fixture *dense, const char *name,
                         double factor) {
    const struct pattern *p = parameter_of(f, name)->t.pattern;
    const float *expected = parameter_of(dense, name)->gradient;
    struct probe_lists *l = ot_probes_of(&f->s->probes, parameter_index(f, name));
    const struct best_list *found = &l->whole.list[0];
    double largest = 0;
    assert_int_equal(ot_best_finish(&l->whole), p->rows * p->cols - p->nnz);
    for (int64_t i = 0; i < (int64_t)p->rows * p->cols; i++)
        largest = fmax(largest, fabs(factor * (double)expected[i]));
    assert_true(largest > 0);
    for (int i = 0; i < found->n; i++) {
        const double e = factor * (double)expected[file_position(p, found->position[i])];
        if (fabs((double)found->gradient[i] - e) > 1e-5 * largest)
            fail_msg("%s: position %lld: %g, expected %g", name, (long long)found->position[i],
                     (double)found->gradient[i], e);
    }
    for (int r = 0; r < p->rows; r++) {
        const int free_of_row = p->cols - (p->row[r + 1] - p->row[r]);
        assert_int_equal(l->rows.row_n[r],
                         free_of_row < l->rows.count ? free_of_row : l->rows.count);
    }
}

static void compare(make_fn *make, const char *const *names, ot_options o, int64_t batch) {
    struct fixture f, dense;
    ot_options all = o;
    all.mask = "!*";
    open_with(&f, make, o, batch);
    open_with(&dense, make, all, batch);
    set_probes(&f, names, 3);
    fixture_train(&dense);
    fixture_train(&f);
    for (int i = 0; names[i]; i++) check_weight(&f, &dense, names[i], 1);
    ot_close(f.s);
    ot_close(dense.s);
}

/* A transposed convolution, groups, and matrices in the other orientation, the last of which no
 * sparse kernel takes. */
static unsigned char *network_mixed(size_t *size) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 8, 8));
    network_weight(&m, "t1", 4, DIMS(3, 6, 3, 3), 0.3);
    network_weight(&m, "g2", 4, DIMS(8, 3, 3, 3), 0.3);
    network_weight(&m, "w3", 2, DIMS(8, 20), 0.4);
    network_weight(&m, "w4", 2, DIMS(20, CLASSES), 0.3);
    model_node(&m, "ConvTranspose", "x t1", "h1", "strides=2,2 pads=1,0,1,1");
    model_node(&m, "Tanh", "h1", "a1", "");
    model_node(&m, "Conv", "a1 g2", "h2", "group=2 pads=1,1,0,1 strides=1,2");
    model_node(&m, "Relu", "h2", "a2", "");
    model_node(&m, "GlobalAveragePool", "a2", "p", "");
    model_node(&m, "Flatten", "p", "f", "");
    model_node(&m, "MatMul", "f w3", "h3", "");
    model_node(&m, "Gemm", "h3 w4", "y", "alpha=0.5");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&m, size);
}

static const char *const mixed_weights[] = {"t1", "g2", "w3", "w4", NULL};
static const char *const mlp_weights[] = {"w1", "w3", NULL};
static const char *const cnn_weights[] = {"c2", "c3", NULL};

static void test_dense_model(void **state) {
    (void)state;
    for (int isa = 0; ot_isa_name(isa); isa++)
        for (int mode = OT_SPARSE_AUTO; mode <= OT_SPARSE_LIVE; mode++)
            for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
                const ot_options o = {
                    .threads = 2, .isa = ot_isa_name(isa), .sparse = (ot_sparse_mode)mode};
                compare(network_cnn, cnn_weights, o, batches[b]);
                compare(network_mlp, mlp_weights, o, batches[b]);
                compare(network_mixed, mixed_weights, o, batches[b]);
            }
}

/* ---- random candidates ---- */

static void check_candidates(struct fixture *f, const struct fixture *dense, const char *name) {
    const struct pattern *p = parameter_of(f, name)->t.pattern;
    const float *expected = parameter_of(dense, name)->gradient;
    const struct best_list *found =
        &ot_probes_of(&f->s->probes, parameter_index(f, name))->whole.list[0];
    double largest = 0;
    for (int64_t i = 0; i < (int64_t)p->rows * p->cols; i++)
        largest = fmax(largest, fabs((double)expected[i]));
    assert_int_equal(found->n, 30);
    for (int i = 0; i < found->n; i++) {
        const double e = (double)expected[file_position(p, found->position[i])];
        const int row = (int)(found->position[i] / p->cols);
        assert_true(!i || found->position[i] > found->position[i - 1]);
        assert_true(fabs((double)found->gradient[i] - e) <= 1e-5 * largest);
        for (int k = p->row[row]; k < p->row[row + 1]; k++)
            assert_true(p->col[k] != found->position[i] % p->cols);
    }
}

/* Two batches before one optimizer step: their gradients add up at candidates, w2's from two
 * operators; the best of all positions are those of the second batch. */
static void test_candidates(void **state) {
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        struct fixture f, dense;
        const ot_options o = {.threads = threads};
        ot_options all = o;
        all.mask = "!*";
        open_with(&f, network_mlp, o, 17);
        open_with(&dense, network_mlp, all, 17);
        struct probe_count count[MOST_PARAMETERS] = {{0, 0, 0}};
        count[parameter_index(&f, "w1")] = count[parameter_index(&f, "w2")] =
            (struct probe_count){30, 0, 60};
        const struct pattern *w3 = parameter_of(&f, "w3")->t.pattern;
        count[parameter_index(&f, "w3")].whole = w3->rows * w3->cols - w3->nnz;
        count[parameter_index(&f, "w3")].row = 2;
        start(&f, count);
        for (int i = 0; i < 2; i++) {
            fixture_train(&f);
            fixture_train(&dense);
        }
        ot_probes_finish(&f.s->probes);
        check_candidates(&f, &dense, "w1");
        check_candidates(&f, &dense, "w2");
        check_weight(&f, &dense, "w3", 0.5);
        ot_close(f.s);
        ot_close(dense.s);
    }
}

/* The dense gradient is there: at all positions, and at candidates. */
static void test_densified(void **state) {
    (void)state;
    struct fixture f, dense;
    open_with(&f, network_mixed, (ot_options){.threads = 2, .sparse = OT_SPARSE_NEVER}, 17);
    open_with(&dense, network_mixed, (ot_options){.threads = 2, .mask = "!*"}, 17);
    struct probe_count count[MOST_PARAMETERS] = {{0, 0, 0}};
    count[parameter_index(&f, "t1")] = count[parameter_index(&f, "w4")] =
        (struct probe_count){30, 0, 40};
    start(&f, count);
    fixture_train(&f);
    fixture_train(&dense);
    ot_probes_finish(&f.s->probes);
    check_candidates(&f, &dense, "t1");
    check_candidates(&f, &dense, "w4");
    ot_close(f.s);
    ot_close(dense.s);
}

/* ---- nothing else changes ---- */

static void check_same_step(struct fixture *a, struct fixture *b) {
    const struct model *m = a->s->model;
    const double first = fixture_train(a), second = fixture_train(b);
    assert_memory_equal(&first, &second, sizeof first);
    for (int i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i], *q = &b->s->model->parameter[i];
        if (p->gradient)
            assert_memory_equal(p->gradient, q->gradient, (size_t)ot_count(&p->t) * sizeof(float));
    }
    assert_int_equal(ot_optimizer_step(a->s, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(b->s, NULL), OT_OK);
}

static void test_nothing_else(void **state) {
    (void)state;
    static const struct {
        make_fn *make;
        const char *const *weights;
    } networks[] = {{network_cnn, cnn_weights}, {network_mlp, mlp_weights}};
    for (int i = 0; i < 2; i++) {
        struct fixture plain, probed;
        fixture_open(&plain, networks[i].make, NULL);
        fixture_open(&probed, networks[i].make, NULL);
        set_probes(&probed, networks[i].weights, 0);
        check_same_step(&plain, &probed);
        probed.s->probes_on = false;
        check_same_step(&plain, &probed);
        assert_true(ot_plan_probe_share(plain.s->plan) == 0);
        const double share = ot_plan_probe_share(probed.s->plan);
        assert_true(share > 0);
        assert_int_equal(ot_plan_probe_interval(probed.s->plan, 100000, 0.03), 100000);
        const int64_t steps = ot_plan_probe_interval(probed.s->plan, 1, 0.001);
        assert_true((double)steps * 0.001 >= share && (double)(steps - 1) * 0.001 < share);
        ot_close(plain.s);
        ot_close(probed.s);
    }
}

/* ---- threads ---- */

static void test_threads(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 4, 7};
    struct fixture f[5];
    for (int i = 0; i < 5; i++) {
        fixture_open(&f[i], network_cnn, &(ot_options){.threads = threads[i]});
        set_probes(&f[i], cnn_weights, 2);
        fixture_train(&f[i]);
        for (int k = 0; cnn_weights[k]; k++) {
            struct best *a =
                &ot_probes_of(&f[0].s->probes, parameter_index(&f[0], cnn_weights[k]))->whole;
            struct best *b =
                &ot_probes_of(&f[i].s->probes, parameter_index(&f[i], cnn_weights[k]))->whole;
            const int n = i ? a->list[0].n : ot_best_finish(a);
            if (!i) continue;
            assert_int_equal(ot_best_finish(b), n);
            assert_memory_equal(a->list[0].position, b->list[0].position,
                                (size_t)n * sizeof(int64_t));
            assert_memory_equal(a->list[0].gradient, b->list[0].gradient,
                                (size_t)n * sizeof(float));
        }
    }
    for (int i = 0; i < 5; i++) ot_close(f[i].s);
}

/* ---- little memory ---- */

/* The largest limit, more or less, with which a plan is not what it is without: it computes again,
 * or is divided. */
static void limit_memory(struct fixture *f, bool divide) {
    size_t bytes;
    assert_int_equal(ot_prepare(f->s, 1, &f->in, 1, &bytes, NULL), OT_OK);
    while (divide ? !f->s->plan->parts : !f->s->plan->request.frugal) {
        ot_session_drop_plans(f->s);
        bytes -= 1 + bytes / 200;
        f->s->options.limits.memory_bytes = bytes;
        assert_int_equal(ot_prepare(f->s, 1, &f->in, 1, NULL, NULL), OT_OK);
    }
}

/* What a probe reads may have been computed again. */
static void test_recomputed(void **state) {
    (void)state;
    struct fixture f, dense;
    open_with(&f, network_cnn, (ot_options){.threads = 1}, 64);
    open_with(&dense, network_cnn, (ot_options){.threads = 1, .mask = "!*"}, 64);
    set_probes(&f, cnn_weights, 1);
    limit_memory(&f, false);
    fixture_train(&f);
    fixture_train(&dense);
    assert_true(f.s->plan->request.frugal && f.s->plan->n_again > 0 && !f.s->plan->parts);
    for (int i = 0; cnn_weights[i]; i++) check_weight(&f, &dense, cnn_weights[i], 1);
    ot_close(f.s);
    ot_close(dense.s);
}

/* ---- micro-batches ---- */

/* Gradients at all positions are those of the last micro-batch: the end of the batch. */
static void test_micro_batches(void **state) {
    (void)state;
    struct fixture f, dense;
    open_with(&f, network_mlp, (ot_options){.threads = 1}, 64);
    set_probes(&f, mlp_weights, 1);
    limit_memory(&f, true);
    fixture_train(&f);
    const struct plan *p = f.s->plan;
    assert_true(p->parts > 1);
    const int64_t rows = p->batch / p->parts;
    open_with(&dense, network_mlp, (ot_options){.threads = 1, .mask = "!*"}, rows);
    memmove(dense.x, dense.x + (64 - rows) * 12, (size_t)rows * 12 * sizeof(float));
    memmove(dense.label, dense.label + 64 - rows, (size_t)rows * sizeof *dense.label);
    fixture_train(&dense);
    for (int i = 0; mlp_weights[i]; i++)
        check_weight(&f, &dense, mlp_weights[i], (double)rows / 64);
    ot_close(f.s);
    ot_close(dense.s);
}

/* ---- patterns that are given ---- */

/* The slots of the weight itself: their gradients are those of the step. */
static void check_own_slots(const struct fixture *f, const char *name, const float *sum) {
    const struct parameter *p = parameter_of(f, name);
    for (int k = 0; k < p->t.pattern->nnz; k++)
        assert_true(fabsf(sum[k] - p->gradient[k]) <= 1e-5f * (1e-3f + fabsf(p->gradient[k])));
}

/* w2 is used by two operators, whose gradients add up; micro-batches add up, too. */
static void test_given(void **state) {
    (void)state;
    static const char *const names[] = {"w1", "w2", "w3"};
    for (int divided = 0; divided < 2; divided++) {
        struct fixture f;
        float sum[3][400] = {{0}};
        struct probe_request request[3];
        struct probe_sink sink[MOST_PARAMETERS] = {{0}};
        open_with(&f, network_mlp, (ot_options){.threads = 2}, 64);
        for (int i = 0; i < 3; i++) {
            const int k = parameter_index(&f, names[i]);
            const struct pattern *p = f.s->model->parameter[k].t.pattern;
            request[i] = (struct probe_request){k, p->nnz};
            sink[k] = (struct probe_sink){.pattern = p, .sum = sum[i]};
        }
        struct probe_lists none[3] = {{.drawn = NULL}};
        f.s->probes = (struct probes){.n = 3, .request = request, .lists = none, .sink = sink};
        f.s->probes_on = true;
        if (divided) limit_memory(&f, true);
        fixture_train(&f);
        assert_int_equal(f.s->plan->parts > 1, divided);
        for (int i = 0; i < 3; i++) check_own_slots(&f, names[i], sum[i]);
        f.s->probes = (struct probes){.n = 0};
        ot_close(f.s);
    }
}

/* ---- what is refused ---- */

static void test_refused(void **state) {
    (void)state;
    static const char *const twice[] = {"w2", NULL};
    struct fixture f;
    ot_error err;
    ot_result r;
    fixture_open(&f, network_mlp, NULL);
    set_probes(&f, twice, 0);
    assert_int_equal(ot_train_step(f.s, &f.in, 1, &f.target, &r, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'w2'"));
    assert_non_null(strstr(err.message, "2 operators"));
    ot_probes_free(&f.s->probes);
    fixture_train(&f);
    struct probe_count count[MOST_PARAMETERS] = {{0, 0, 0}};
    count[parameter_index(&f, "b1")].whole = 1;
    assert_int_equal(ot_probes_new(f.s->model, count, 1, &f.s->probes, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "'b1' has no mask"));
    count[parameter_index(&f, "b1")].whole = 0;
    count[parameter_index(&f, "w1")] = (struct probe_count){1, 1, 1};
    assert_int_equal(ot_probes_new(f.s->model, count, 1, &f.s->probes, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "'w1'"));
    ot_close(f.s);
}

/* ---- no memory ---- */

/* Each allocation of lists, candidates and a plan with probes fails once; the session goes on. */
static void test_no_memory(void **state) {
    (void)state;
    struct counter c = {0, 0, 0};
    struct fixture f;
    const struct probe_draw draw = {3, 100};
    ot_error err;
    ot_status status = OT_ERROR_NO_MEMORY;
    fixture_open(&f, network_mlp, &(ot_options){.threads = 1, .allocator = counting_allocator(&c)});
    struct probe_count count[MOST_PARAMETERS] = {{0, 0, 0}};
    count[parameter_index(&f, "w1")] = (struct probe_count){30, 4, 0};
    count[parameter_index(&f, "w2")] = (struct probe_count){30, 0, 60};
    const double loss = fixture_train(&f);
    for (long n = 1; status == OT_ERROR_NO_MEMORY; n++) {
        ot_session_drop_plans(f.s);
        c.requests = 0;
        c.fail_at = n;
        status = ot_probes_new(f.s->model, count, 1, &f.s->probes, &err);
        if (!status) status = ot_probes_start(&f.s->probes, f.s->model, count, &draw, &err);
        f.s->probes_on = !status;
        if (!status) status = ot_prepare(f.s, 1, &f.in, 1, NULL, &err);
        c.fail_at = 0;
        if (!status) break;
        ot_probes_free(&f.s->probes);
        f.s->probes_on = false;
        assert_true(n < 1000 && fixture_train(&f) == loss);
    }
    assert_int_equal(status, OT_OK);
    const long requests = c.requests;
    assert_true(fixture_train(&f) == loss);
    assert_int_equal(c.requests, requests); /* the step allocated nothing */
    ot_close(f.s);
    assert_int_equal(c.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense_model),  cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_nothing_else), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_recomputed),   cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_given),        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_densified),    cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
