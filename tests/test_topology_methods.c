/* test_topology_methods.c - growth by gradient in sessions: against the gradients of the same model
 * without masks, and with allocations that fail. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"
#include "runtime/topology/merge.h"
#include "tests/counter.h"
#include "tests/networks.h"

enum { MOST = 4096 };

static void open_method(struct fixture *f, make_fn *model, const char *method, ot_options o) {
    const ot_sparsity_options layers = {
        .size = sizeof layers,
        .layers = model == network_mlp ? "!w2" : NULL}; /* w2 is used twice */
    const ot_topology_options t = {
        .size = sizeof t, .method = method, .every = 1, .end = 100, .sparsity = &layers};
    ot_error err = {0};
    fixture_open(f, model, &o);
    if (ot_set_topology(f->s, &t, &err)) fail_msg("%s", err.message);
}

/* What a weight has at each position of its matrix. */
struct matrix {
    int n, rows, cols;
    bool slot[MOST];
    float value[MOST], moment[MOST];
};

static void take(const struct parameter *p, struct matrix *m) {
    const struct pattern *q = p->t.pattern;
    const float *w = p->t.data;
    memset(m, 0, sizeof *m);
    m->n = q->nnz;
    m->rows = q->rows;
    m->cols = q->cols;
    for (int r = 0; r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++) {
            const int64_t at = ot_position(q, r, k);
            m->slot[at] = true;
            m->value[at] = w[k];
            m->moment[at] = p->moment[0][k];
        }
}

static void mark_best(const float *score, int n, int64_t most, bool *marked) {
    for (; most > 0; most--) {
        int best = -1;
        for (int i = 0; i < n; i++)
            if (!marked[i] && score[i] >= 0 && (best < 0 || score[i] > score[best])) best = i;
        marked[best] = true;
    }
}

/* was: after the optimizer step, before the update. Slots that go compete with all others. */
static void check_update(const struct matrix *was, const struct matrix *is, const float *gradient,
                         bool transposed, int64_t moves) {
    const int n = was->rows * was->cols;
    float score[MOST];
    bool right[MOST] = {false};
    for (int i = 0; i < n; i++) score[i] = was->slot[i] ? fabsf(was->value[i]) : -1;
    mark_best(score, n, was->n - moves, right);
    for (int i = 0; i < n; i++) {
        const int r = i / was->cols, c = i % was->cols;
        score[i] = right[i] ? -1 : fabsf(gradient[transposed ? c * was->rows + r : i]);
    }
    mark_best(score, n, moves, right);
    for (int i = 0; i < n; i++) {
        assert_int_equal(is->slot[i], right[i]);
        assert_true(is->value[i] == (right[i] ? was->value[i] : 0));
        assert_true(is->moment[i] == (right[i] ? was->moment[i] : 0));
    }
}

/* Weights with masks, before the update. */
static int take_all(const struct fixture *f, struct matrix *all) {
    int n = 0;
    for (int i = 0; i < f->s->model->n_parameters; i++)
        if (f->s->topology.layer[i].matrix.p) take(&f->s->model->parameter[i], &all[n++]);
    return n;
}

static void grows_where_gradients_are_largest(void **state) {
    (void)state;
    static struct matrix was[8], is[8];
    make_fn *const models[] = {network_mlp, network_cnn};
    for (int kind = 0; kind < 2; kind++) {
        struct fixture f, dense;
        open_method(&f, models[kind], "rigl", (ot_options){.threads = 1});
        fixture_open(&dense, models[kind], &(ot_options){.threads = 1, .mask = "!*"});
        fixture_train(&f);
        fixture_train(&dense);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        const double share = ot_topology_share(&f.s->topology.rule, 1);
        assert_true(take_all(&f, was) >= 2);
        assert_int_equal(ot_topology_step(f.s, NULL, NULL), OT_OK);
        take_all(&f, is);
        for (int i = 0, k = 0; i < f.s->model->n_parameters; i++) {
            const struct parameter *p = &dense.s->model->parameter[i];
            if (!f.s->topology.layer[i].matrix.p) continue;
            assert_null(p->t.pattern);
            check_update(&was[k], &is[k], p->gradient,
                         f.s->model->parameter[i].t.pattern->transposed,
                         (int64_t)(share * was[k].n));
            k++;
        }
        ot_close(f.s);
        ot_close(dense.s);
    }
}

/* An update whose n-th allocation fails changes nothing, and a later call makes the same one. */
static void any_allocation_may_fail(void **state) {
    (void)state;
    static struct matrix right[8], was[8], is[8];
    struct counter c = {0};
    struct fixture f, whole;
    open_method(&whole, network_mlp, "rigl", (ot_options){.threads = 1});
    open_method(&f, network_mlp, "rigl",
                (ot_options){.threads = 1, .allocator = counting_allocator(&c)});
    fixture_train(&whole);
    fixture_train(&f);
    assert_int_equal(ot_optimizer_step(whole.s, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    assert_int_equal(ot_topology_step(whole.s, NULL, NULL), OT_OK);
    take_all(&whole, right);
    take_all(&f, was);
    ot_status status = OT_ERROR_NO_MEMORY;
    long n = 0;
    while (status) {
        c.requests = 0;
        c.fail_at = ++n;
        status = ot_topology_step(f.s, NULL, NULL);
        c.fail_at = 0;
        take_all(&f, is);
        assert_memory_equal(is, status ? was : right, sizeof is);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
    ot_close(f.s);
    ot_close(whole.s);
    assert_int_equal(c.live, 0);
}

/* A checkpoint between two batches of the step before an update: another session goes on from it,
 * with lists of its own, and comes to the same masks and losses. */
static void goes_on_between_batches(void **state) {
    (void)state;
    const char *path = "between.otc";
    struct fixture f[2];
    double loss[2];
    ot_error err = {0};
    for (int k = 0; k < 2; k++) open_method(&f[k], network_cnn, "rigl", (ot_options){.threads = 1});
    fixture_train(&f[0]);
    if (ot_save_checkpoint(f[0].s, path, NULL, 0, &err)) fail_msg("%s", err.message);
    if (ot_load_checkpoint(f[1].s, path, NULL, NULL, &err)) fail_msg("%s", err.message);
    for (int k = 0; k < 2; k++) {
        ot_topology_report r;
        fixture_train(&f[k]);
        assert_int_equal(ot_optimizer_step(f[k].s, NULL), OT_OK);
        if (ot_topology_step(f[k].s, &r, &err)) fail_msg("%s", err.message);
        assert_true(r.updated && r.grown > 0);
        loss[k] = fixture_train(&f[k]);
    }
    assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
    for (int i = 0; i < ot_parameter_count(f[0].s); i++) {
        ot_parameter_info a, b;
        assert_int_equal(ot_get_parameter(f[0].s, i, &a, NULL), OT_OK);
        assert_int_equal(ot_get_parameter(f[1].s, i, &b, NULL), OT_OK);
        assert_true(a.mask_hash == b.mask_hash);
    }
    for (int k = 0; k < 2; k++) ot_close(f[k].s);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(grows_where_gradients_are_largest),
                                       cmocka_unit_test(any_allocation_may_fail),
                                       cmocka_unit_test(goes_on_between_batches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
