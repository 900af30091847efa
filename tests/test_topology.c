/* test_topology.c - which slots stay, where others grow, and what moves with them: each part
 * against plain dense code, and sessions whose masks change. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"
#include "runtime/base/rng.h"
#include "runtime/topology/grow.h"
#include "runtime/topology/select.h"
#include "tests/counter.h"
#include "tests/networks.h"

/* ---- selection ---- */

struct ranked {
    float score;
    int index;
};

static int by_rank(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : x->index - y->index;
}

/* Few different scores: many ties, also of -0 and 0. */
static float tied(uint64_t stream, int i) {
    const uint32_t r = ot_random_u32(1, stream, (uint64_t)i);
    return r % 7 == 0 ? -0.0f : (float)((int)(r % 9) - 4) / 8;
}

static void check_selection(const float *score, int n, int most) {
    struct ranked *all = calloc((size_t)n + 1, sizeof *all);
    bool *keep = calloc((size_t)n + 1, 1), *right = calloc((size_t)n + 1, 1);
    for (int i = 0; i < n; i++) all[i] = (struct ranked){score[i], i};
    qsort(all, (size_t)n, sizeof *all, by_rank);
    for (int i = 0; i < most; i++) right[all[i].index] = true;
    ot_keep_best(score, n, most, keep);
    assert_memory_equal(keep, right, (size_t)n);
    free(all);
    free(keep);
    free(right);
}

static void selects_what_sorting_does(void **state) {
    (void)state;
    enum { MOST = 700 };
    float score[MOST];
    for (int n = 0; n <= MOST; n += n < 5 ? 1 : 139)
        for (int kind = 0; kind < 3; kind++) {
            for (int i = 0; i < n; i++)
                score[i] = kind == 0   ? tied((uint64_t)n, i)
                           : kind == 1 ? ot_random_normal(2, (uint64_t)n, (uint64_t)i)
                                       : ldexpf(ot_random_float(3, (uint64_t)n, (uint64_t)i), -140);
            for (int most = 0; most <= n; most += most < 3 || most > n - 3 ? 1 : 97)
                check_selection(score, n, most);
        }
}

/* Vectors of SET: thresholds -.3 and .4 of twelve weights; a third of each sign. */
static void drops_each_sign_apart(void **state) {
    (void)state;
    const float mixed[] = {-.9f, -.7f, -.5f, -.3f, -.1f, .05f, .2f, .4f, .6f, .8f, 1, 1.2f};
    const bool right[] = {1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1};
    const float positive[] = {.1f, .2f, .3f, .4f, .5f, .6f, .7f, .8f, .9f, 1};
    const float zeros[] = {0, 0, -0.0f, 1};
    float score[12];
    bool keep[12];
    assert_int_equal(ot_keep_by_sign(mixed, 12, .3, score, keep), 9); /* int(1.5), int(2.1) go */
    assert_memory_equal(keep, right, sizeof right);
    assert_int_equal(ot_keep_by_sign(positive, 10, .3, score, keep), 7);
    for (int k = 0; k < 10; k++) assert_int_equal(keep[k], k >= 3);
    assert_int_equal(ot_keep_by_sign(zeros, 4, .5, score, keep), 2);
    assert_true(keep[0] && !keep[1] && !keep[2] && keep[3]); /* of equal ones, the first stays */
    assert_int_equal(ot_keep_by_sign(mixed, 12, 0, score, keep), 12);
}

/* ---- merging and growth, on a dense matrix ---- */

enum { ROWS = 23, COLS = 37, CELLS = ROWS * COLS };

struct matrix {
    struct pattern *p;
    struct kept kept;
    bool keep[CELLS], is_kept[CELLS], is_slot[CELLS];
    int64_t grown[CELLS];
    int map[CELLS];
};

static void make(struct matrix *m, bool transposed, double density, double stays, uint64_t seed) {
    int64_t position[CELLS];
    int n = 0;
    memset(m, 0, sizeof *m);
    for (int i = 0; i < CELLS; i++)
        if (ot_random_float(seed, 1, (uint64_t)i) < density) position[n++] = i;
    const int rows = transposed ? COLS : ROWS, cols = transposed ? ROWS : COLS;
    assert_int_equal(ot_pattern_new(NULL, rows, cols, transposed, position, n, NULL, &m->p, NULL),
                     OT_OK);
    assert_int_equal(ot_kept_alloc(m->p, &m->kept, NULL), OT_OK);
    for (int r = 0; r < ROWS; r++)
        for (int k = m->p->row[r]; k < m->p->row[r + 1]; k++) {
            m->keep[k] = ot_random_float(seed, 2, (uint64_t)k) < stays;
            m->is_kept[ot_position(m->p, r, k)] = m->keep[k];
            m->is_slot[ot_position(m->p, r, k)] = true;
        }
    ot_kept_list(m->p, m->keep, &m->kept);
}

static void drop(struct matrix *m) {
    ot_kept_free(m->p, &m->kept);
    ot_pattern_unref(m->p);
}

/* The slot at a position; -1: there is none. */
static int slot_at(const struct pattern *p, int64_t position) {
    const int r = (int)(position / p->cols);
    for (int k = p->row[r]; k < p->row[r + 1]; k++)
        if (p->col[k] == (int)(position % p->cols)) return k;
    return -1;
}

static void check_merged(const struct matrix *m, int n, bool returns) {
    struct pattern *q = NULL;
    bool has_grown[CELLS] = {false};
    int map[CELLS], at = 0;
    for (int i = 0; i < n; i++) has_grown[m->grown[i]] = true;
    assert_int_equal(ot_pattern_merge(m->p, &m->kept, m->grown, n, returns, map, &q, NULL), OT_OK);
    assert_int_equal(q->nnz, m->kept.n + n);
    assert_int_equal(q->transposed, m->p->transposed);
    int live = 0;
    for (int r = 0; r < ROWS; r++) {
        const int first = at;
        assert_int_equal(q->row[r], at);
        for (int64_t i = (int64_t)r * COLS; i < (int64_t)(r + 1) * COLS; i++) {
            if (!m->is_kept[i] && !has_grown[i]) continue;
            assert_int_equal(q->col[at], i % COLS);
            assert_int_equal(map[at++], m->is_kept[i] || returns ? slot_at(m->p, i) : -1);
        }
        live += at > first;
    }
    assert_int_equal(q->live_rows, live);
    ot_pattern_unref(q);
}

static void merges_and_grows(void **state) {
    (void)state;
    struct matrix m;
    for (uint64_t seed = 0; seed < 60; seed++) {
        make(&m, seed % 2, (double)(seed % 10) / 12, (double)(seed % 7) / 6, seed);
        const int64_t free = ot_free_positions(m.p, &m.kept);
        const int n = (int)(seed % 3 == 0 ? free / 2 : (int64_t)seed % (free / 2 + 1));
        assert_int_equal(ot_grow_random(m.p, &m.kept, n, 5, seed, m.grown, NULL), OT_OK);
        for (int i = 0; i < n; i++) {
            assert_true(m.grown[i] >= 0 && m.grown[i] < CELLS && !m.is_kept[m.grown[i]]);
            assert_true(!i || m.grown[i] > m.grown[i - 1]);
        }
        check_merged(&m, n, false);
        check_merged(&m, n, true);
        drop(&m);
    }
}

/* Each free position is as likely as any other: within five standard deviations of 20,000 draws. */
static void grows_everywhere_alike(void **state) {
    (void)state;
    enum { DRAWS = 20000, N = 60 };
    struct matrix m;
    static int count[CELLS];
    make(&m, false, 0.4, 0.5, 77);
    for (uint64_t i = 0; i < DRAWS; i++) {
        assert_int_equal(ot_grow_random(m.p, &m.kept, N, 8, i, m.grown, NULL), OT_OK);
        for (int k = 0; k < N; k++) count[m.grown[k]]++;
    }
    const double p = (double)N / (double)ot_free_positions(m.p, &m.kept);
    for (int i = 0; i < CELLS; i++)
        if (m.is_kept[i])
            assert_int_equal(count[i], 0);
        else
            assert_true(fabs(count[i] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)));
    drop(&m);
}

/* ---- sessions ---- */

static ot_topology_options set_options(int64_t every) {
    return (ot_topology_options){
        .size = sizeof(ot_topology_options), .method = "set", .every = every, .seed = 9};
}

static void open_set(struct fixture *f, make_fn *make_model, ot_options o, int64_t every) {
    fixture_open(f, make_model, &o);
    const ot_topology_options t = set_options(every);
    ot_error err = {0};
    if (ot_set_topology(f->s, &t, &err)) fail_msg("%s", err.message);
}

static void open_adam(struct fixture *f, make_fn *make_model, ot_options o, int64_t every) {
    open_set(f, make_model, o, every);
    ot_optimizer_options adam;
    ot_optimizer_defaults(OT_ADAM, &adam, sizeof adam);
    assert_int_equal(ot_set_optimizer(f->s, &adam, NULL), OT_OK);
}

/* What is known of each weight, in dense form. */
enum { BIG = 4096, PARAMS = 16 };
struct dense {
    float value[BIG], m[BIG], v[BIG];
    bool slot[BIG];
    int nnz;
};

static void take(const struct ot_session *s, struct dense all[PARAMS]) {
    memset(all, 0, PARAMS * sizeof *all);
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        const struct pattern *q = p->t.pattern;
        if (!q) continue;
        const float *w = p->t.data;
        all[i].nnz = q->nnz;
        for (int r = 0; r < q->rows; r++)
            for (int k = q->row[r]; k < q->row[r + 1]; k++) {
                const int64_t at = ot_position(q, r, k);
                all[i].slot[at] = true;
                all[i].value[at] = w[k];
                all[i].m[at] = p->moment[0][k];
                all[i].v[at] = p->moment[1][k];
            }
    }
}

/* Kept slots keep all, new ones have no moments; the number of slots stays. */
static void check_update(const struct ot_session *s, const struct dense was[PARAMS],
                         const struct dense is[PARAMS], int64_t moved) {
    int64_t grown = 0;
    for (int i = 0; i < s->model->n_parameters; i++) {
        if (!s->topology.layer[i].matrix.p) continue;
        assert_int_equal(was[i].nnz, is[i].nnz);
        for (int k = 0; k < BIG; k++) {
            const bool same = is[i].value[k] == was[i].value[k] && is[i].m[k] == was[i].m[k] &&
                              is[i].v[k] == was[i].v[k];
            if (!is[i].slot[k] || (was[i].slot[k] && same)) continue;
            assert_true(is[i].m[k] == 0 && is[i].v[k] == 0);
            assert_true(fabsf(is[i].value[k]) < 10);
            grown++;
        }
    }
    assert_int_equal(grown, moved);
}

static void updates_keep_what_stays(void **state) {
    (void)state;
    static struct dense was[PARAMS], is[PARAMS];
    make_fn *const make_model[] = {network_mlp, network_cnn};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        open_adam(&f, make_model[i], (ot_options){.threads = 1}, 2);
        for (int step = 1; step <= 12; step++) {
            ot_topology_report r;
            ot_error err = {0};
            fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            take(f.s, was);
            if (ot_topology_step(f.s, &r, &err)) fail_msg("%s", err.message);
            assert_int_equal(r.updated, step % 2 == 0);
            take(f.s, is);
            check_update(f.s, was, is, r.grown);
            assert_true(r.grown == r.dropped && (!r.updated || r.grown > 0));
            assert_int_equal(ot_topology_step(f.s, &r, NULL), OT_OK);
            assert_int_equal(r.updated, 0); /* not twice */
        }
        ot_close(f.s);
    }
}

/* What a method that prunes leaves of a weight is the best of what it had, in plain code: `score`
 * of each dense element. Ties stay in the order of rows. */
static void check_pruned(const struct dense *was, const struct dense *is, const float *score) {
    int worse = 0;
    for (int k = 0; k < BIG; k++) {
        if (!is->slot[k]) continue;
        assert_true(was->slot[k] && is->value[k] == was->value[k] && is->m[k] == was->m[k]);
        for (int j = 0; j < BIG; j++)
            worse += was->slot[j] && !is->slot[j] &&
                     (score[j] > score[k] || (score[j] == score[k] && j < k));
    }
    assert_int_equal(worse, 0);
}

/* The weights of w3 are dense here, and used as [inputs, outputs]. */
static bool is_transposed(const struct parameter *p) { return !strcmp(p->name, "w3"); }

/* Positions in the matrix of outputs, of each element in the order of the file. */
static int64_t matrix_place(const struct parameter *p, bool transposed, int64_t element) {
    const int64_t rows = p->t.dim[0], cols = ot_elements(&p->t) / rows;
    return transposed ? element % cols * rows + element / cols : element;
}

/* Dense weights count as masks with all slots. */
static void take_all(const struct ot_session *s, struct dense all[PARAMS]) {
    take(s, all);
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        const float *w = p->t.data;
        if (p->t.pattern || !s->topology.layer[i].matrix.p) continue;
        const bool transposed = is_transposed(p);
        all[i].nnz = (int)ot_elements(&p->t);
        for (int64_t k = 0; k < all[i].nnz; k++) {
            const int64_t at = matrix_place(p, transposed, k);
            all[i].slot[at] = true;
            all[i].value[at] = w[k];
            all[i].m[at] = p->moment[0][k];
            all[i].v[at] = p->moment[1][k];
        }
    }
}

/* gmp and movement leave the right weights in each update, and in the end as many as asked for; a
 * dense weight gets a mask. */
static void prunes_to_the_goal(void **state) {
    (void)state;
    static struct dense was[PARAMS], is[PARAMS];
    static float score[PARAMS][BIG];
    const char *const methods[] = {"gmp", "movement"};
    for (int kind = 0; kind < 2; kind++) {
        struct fixture f;
        open_adam(&f, network_mlp, (ot_options){.threads = 1, .mask = "!w3"}, 2);
        const ot_sparsity_options left = {.density = .04, .budget = OT_BUDGET_UNIFORM};
        const ot_topology_options t = {.size = sizeof t,
                                       .method = methods[kind],
                                       .sparsity = &left,
                                       .every = 2,
                                       .start = 2,
                                       .end = 7};
        ot_error err = {0};
        if (ot_set_topology(f.s, &t, &err)) fail_msg("%s", err.message);
        memset(score, 0, sizeof score);
        for (int step = 1; step <= 9; step++) {
            ot_topology_report r;
            fixture_train(&f);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            take_all(f.s, was);
            for (int i = 0; i < f.s->model->n_parameters; i++) {
                const struct parameter *p = &f.s->model->parameter[i];
                const struct pattern *q = p->t.pattern;
                const float *moment = p->moment[OT_SCORE];
                for (int k = 0; k < BIG && kind == 0; k++) score[i][k] = fabsf(was[i].value[k]);
                for (int row = 0; kind && q && row < q->rows; row++)
                    for (int k = q->row[row]; k < q->row[row + 1]; k++)
                        score[i][ot_position(q, row, k)] = moment ? moment[k] : 0;
                for (int64_t k = 0; kind && !q && moment && k < ot_elements(&p->t); k++)
                    score[i][matrix_place(p, is_transposed(p), k)] = moment[k];
            }
            if (ot_topology_step(f.s, &r, &err)) fail_msg("%s", err.message);
            assert_int_equal(r.updated, step == 2 || step == 4 || step == 6 || step == 7);
            take_all(f.s, is);
            for (int i = 0; i < f.s->model->n_parameters; i++)
                if (r.updated && f.s->topology.layer[i].matrix.p)
                    check_pruned(&was[i], &is[i], score[i]);
        }
        for (int i = 0; i < f.s->model->n_parameters; i++) {
            const struct topology_layer *l = &f.s->topology.layer[i];
            const struct parameter *p = &f.s->model->parameter[i];
            if (!l->matrix.p) continue;
            assert_non_null(p->t.pattern);
            assert_int_equal(p->t.pattern->nnz, (int)((double)ot_elements(&p->t) * .04));
        }
        ot_close(f.s);
    }
}

/* The movement score is the sum over steps of -lr g w, with w before the step. */
static void adds_up_movement(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_mlp, &(ot_options){.threads = 1});
    const ot_sparsity_options left = {.density = .05};
    const ot_topology_options t = {.size = sizeof t,
                                   .method = "movement",
                                   .sparsity = &left,
                                   .every = 5,
                                   .start = 9,
                                   .end = 99};
    ot_error err = {0};
    if (ot_set_topology(f.s, &t, &err)) fail_msg("%s", err.message);
    static float right[BIG];
    const struct parameter *p = NULL;
    for (int step = 0; step < 3; step++) {
        fixture_train(&f);
        for (int i = 0; i < f.s->model->n_parameters && !p; i++)
            if (f.s->topology.layer[i].matrix.p) p = &f.s->model->parameter[i];
        const float *w = p->t.data;
        const float rate = (float)ot_learning_rate(f.s);
        for (int64_t k = 0; k < ot_count(&p->t); k++) right[k] -= rate * (p->gradient[k] * w[k]);
        assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
        assert_memory_equal(p->moment[OT_SCORE], right, ot_bytes(&p->t));
    }
    ot_close(f.s);
}

/* The bits do not depend on the number of threads. */
static void any_number_of_threads(void **state) {
    (void)state;
    double right[8];
    const int threads[] = {1, 2, 3, 4, 7};
    for (int i = 0; i < 5; i++) {
        struct fixture f;
        open_set(&f, network_cnn, (ot_options){.threads = threads[i]}, 1);
        for (int step = 0; step < 8; step++) {
            const double loss = fixture_train(&f);
            if (!i) right[step] = loss;
            assert_memory_equal(&loss, &right[step], sizeof loss);
            assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
            assert_int_equal(ot_topology_step(f.s, NULL, NULL), OT_OK);
        }
        ot_close(f.s);
    }
}

/* ---- what fails ---- */

/* One update whose n-th allocation fails changes nothing; the next call does it. */
static void any_allocation_may_fail(void **state) {
    (void)state;
    static struct dense was[PARAMS], is[PARAMS];
    struct counter c = {0};
    struct fixture f;
    open_adam(&f, network_mlp, (ot_options){.threads = 1, .allocator = counting_allocator(&c)}, 1);
    fixture_train(&f);
    assert_int_equal(ot_optimizer_step(f.s, NULL), OT_OK);
    take(f.s, was);
    assert_int_equal(ot_run(f.s, &f.in, 1, NULL, 0, NULL), OT_OK);
    const long before = c.live;
    ot_status status = OT_ERROR_NO_MEMORY;
    for (long n = 1; status; n++) {
        ot_topology_report r;
        c.requests = 0;
        c.fail_at = n;
        status = ot_topology_step(f.s, &r, NULL);
        c.fail_at = 0;
        if (!status) break;
        assert_int_equal(status, OT_ERROR_NO_MEMORY);
        assert_int_equal(c.live, before);
        take(f.s, is);
        assert_memory_equal(was, is, sizeof is);
        assert_int_equal(ot_run(f.s, &f.in, 1, NULL, 0, NULL), OT_OK);
        assert_true(n < 1000);
    }
    assert_int_equal(f.s->topology.updates, 1);
    ot_close(f.s);
    assert_int_equal(c.live, 0);
}

static void refuse(struct fixture *f, ot_topology_options o, const char *text) {
    ot_error err = {0};
    o.size = sizeof o;
    assert_int_equal(ot_set_topology(f->s, &o, &err), OT_ERROR_ARGUMENT);
    if (!strstr(err.message, text)) fail_msg("'%s' is not in '%s'", text, err.message);
}

static void refuses_contradictions(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, network_mlp, &(ot_options){0});
    refuse(&f, (ot_topology_options){.method = "sets"}, "no method 'sets'");
    refuse(&f, (ot_topology_options){.method = "set"}, "every");
    refuse(&f, (ot_topology_options){.method = "set", .every = -1}, "every is -1");
    refuse(&f, (ot_topology_options){.method = "set", .every = 1, .drop = "x"}, "drop is 'x'");
    refuse(&f, (ot_topology_options){.method = "set", .every = 1, .grow = "none"}, "grow 'none'");
    refuse(&f, (ot_topology_options){.method = "rigl", .every = 1, .drop = "taylor"},
           "drop 'taylor'");
    refuse(&f, (ot_topology_options){.method = "set", .every = 1, .drop_fraction = 1},
           "drop_fraction");
    refuse(&f, (ot_topology_options){.method = "set", .every = 1, .drop_fraction = NAN},
           "drop_fraction");
    refuse(&f, (ot_topology_options){.method = "set", .every = 1, .start = 5, .end = 5},
           "end is 5");
    const struct {
        const char *method;
        int64_t end;
        ot_sparsity_options sparsity;
        const char *text;
    } sparsities[] = {
        {"set", 0, {.density = .1}, "a density or a budget is given"},
        {"set", 0, {.layers = "nothing"}, "matches 'nothing'"},
        {"set", 0, {.layers = "!*"}, "no trained weight"},
        {"gmp", 9, {.density = 1.5}, "density is 1.5"},
        {"gmp", 9, {.density = 0, .budget = OT_BUDGET_ERK}, "density is 0"},
        {"gmp", 0, {.density = .1}, "needs an end"},
        {"gmp", 9, {.density = .9, .budget = OT_BUDGET_UNIFORM}, "no layer has more weights"},
        {"gmp", 9, {.density = 1e-9, .budget = OT_BUDGET_UNIFORM}, "none would be left"},
    };
    for (size_t i = 0; i < sizeof sparsities / sizeof *sparsities; i++)
        refuse(&f,
               (ot_topology_options){.method = sparsities[i].method,
                                     .every = 1,
                                     .end = sparsities[i].end,
                                     .sparsity = &sparsities[i].sparsity},
               sparsities[i].text);
    const ot_sparsity_options channels = {.density = .5, .constraint = OT_CONSTRAIN_CHANNELS};
    const ot_sparsity_options groups = {.constraint = OT_CONSTRAIN_NM, .group = {2, 4}};
    ot_topology_options o = {.size = sizeof o, .method = "gmp", .every = 1, .end = 9};
    ot_error err = {0};
    o.sparsity = &channels;
    assert_int_equal(ot_set_topology(f.s, &o, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "constraint channels"));
    o.method = "rigl";
    o.sparsity = &groups;
    assert_int_equal(ot_set_topology(f.s, &o, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "method 'rigl' takes no constraint"));
    ot_close(f.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selects_what_sorting_does), cmocka_unit_test(drops_each_sign_apart),
        cmocka_unit_test(merges_and_grows),          cmocka_unit_test(grows_everywhere_alike),
        cmocka_unit_test(updates_keep_what_stays),   cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(prunes_to_the_goal),        cmocka_unit_test(adds_up_movement),
        cmocka_unit_test(any_allocation_may_fail),   cmocka_unit_test(refuses_contradictions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
