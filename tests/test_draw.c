/* test_draw.c - random patterns have the slots that they promise, each position as likely as any
 * other, and take no memory of the size of the matrix; budgets give the densities of the papers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/topology/binomial.h"
#include "runtime/topology/budget.h"
#include "runtime/topology/draw.h"

/* ---- budgets ---- */

enum { MOST = 4 };

/* The densities of Erdos-Renyi-Kernel as the reference code of SRigL computes them: four digits of
 * the sparsity, the fan-in, and the number of nonzeros with that fan-in. */
static const struct erk_case {
    int n;
    int64_t dim[MOST + 1]; /* units of each layer */
    double density, sparsity[MOST];
    int64_t fan_in[MOST], nonzeros;
} erk_cases[] = {
    {3, {784, 300, 100, 10}, .1, {.9204, .7698, 0}, {62, 69, 100}, 26500},
    {3, {784, 300, 100, 10}, .05, {.9615, .8887, .0815}, {30, 33, 91}, 13210},
    {3, {784, 300, 100, 10}, .02, {.9846, .9555, .6326}, {12, 13, 36}, 5260},
    {3, {784, 300, 100, 10}, .01, {.9923, .9777, .8163}, {6, 6, 18}, 2580},
    {4, {784, 1000, 1000, 1000, 10}, .1, {.894, .9068, .9068, 0}, {83, 93, 93, 1000}, 279000},
    {4, {784, 1000, 1000, 1000, 10}, .05, {.949, .9552, .9552, 0}, {40, 44, 44, 1000}, 138000},
    {4, {784, 1000, 1000, 1000, 10}, .02, {.9813, .9836, .9836, .1693}, {14, 16, 16, 830}, 54300},
    {4, {784, 1000, 1000, 1000, 10}, .01, {.9906, .9918, .9918, .5846}, {7, 8, 8, 415}, 27150},
};

static void fill_layers(const int64_t *dim, int n, struct budget_layer *layer) {
    for (int i = 0; i < n; i++)
        layer[i] = (struct budget_layer){
            .name = "w", .rows = dim[i + 1], .cols = dim[i], .dims = dim[i] + dim[i + 1]};
}

static void test_erk(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof erk_cases / sizeof *erk_cases; k++) {
        const struct erk_case *c = &erk_cases[k];
        struct budget_layer layer[MOST];
        int64_t nonzeros = 0;
        fill_layers(c->dim, c->n, layer);
        assert_int_equal(ot_budget_erk(layer, c->n, c->density, NULL), OT_OK);
        for (int i = 0; i < c->n; i++) {
            assert_true(fabs(1 - layer[i].density - c->sparsity[i]) < 6e-5);
            assert_int_equal(ot_budget_fan_in(&layer[i]), c->fan_in[i]);
            nonzeros += c->fan_in[i] * layer[i].rows;
        }
        assert_int_equal(nonzeros, c->nonzeros);
    }
}

static void test_er(void **state) {
    (void)state;
    static const int64_t dim[] = {784, 1000, 1000, 1000, 10}, higgs[] = {28, 1000, 1000, 1000, 2};
    struct budget_layer layer[MOST];
    double sum = 0;
    fill_layers(dim, MOST, layer);
    assert_int_equal(ot_budget_er(layer, MOST, 20, NULL), OT_OK);
    static const double expected[] = {35680, 40000, 40000, 10000};
    for (int i = 0; i < MOST; i++)
        assert_true(fabs(layer[i].density * (double)(layer[i].rows * layer[i].cols) - expected[i]) <
                    1e-6);
    fill_layers(higgs, MOST, layer);
    assert_int_equal(ot_budget_er(layer, MOST, 10, NULL), OT_OK);
    for (int i = 0; i < MOST; i++)
        sum += layer[i].density * (double)(layer[i].rows * layer[i].cols);
    assert_true(fabs(sum - 52280) < 1e-6);
}

static void test_refused_budgets(void **state) {
    (void)state;
    static const int64_t dim[] = {784, 300, 100, 10};
    static const double bad[] = {0, -.1, 1.01, (double)NAN, (double)INFINITY};
    struct budget_layer layer[MOST];
    ot_error err;
    fill_layers(dim, 3, layer);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ot_budget_uniform(layer, 3, bad[i], &err), OT_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "not in (0, 1]"));
        assert_int_equal(ot_budget_erk(layer, 3, bad[i], &err), OT_ERROR_ARGUMENT);
    }
    assert_int_equal(ot_budget_er(layer, 3, 0, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_budget_er(layer, 3, (double)NAN, &err), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_budget_er(layer, 3, 1000, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "every layer is dense"));
    assert_int_equal(ot_budget_uniform(layer, 3, 1, &err), OT_OK);
    assert_int_equal(ot_budget_erk(layer, 3, 1, &err), OT_OK);
    for (int i = 0; i < 3; i++) assert_true(layer[i].density == 1);
}

/* ---- patterns ---- */

static void check_pattern(const struct pattern *p) {
    assert_int_equal(p->row[0], 0);
    assert_int_equal(p->row[p->rows], p->nnz);
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            assert_true(p->col[k] >= 0 && p->col[k] < p->cols);
            assert_true(k == p->row[r] || p->col[k] > p->col[k - 1]);
        }
}

/* Counts of all numbers within 5 standard deviations of the binomial distribution's. */
static void test_binomial(void **state) {
    (void)state;
    static const struct {
        int64_t n;
        double p;
    } items[] = {{1, .5}, {7, .02}, {40, .3}, {40, .97}, {1000, .01}, {3000, .6}};
    enum { DRAWS = 100000 };
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        const int64_t n = items[i].n;
        const double p = items[i].p;
        const struct binomial b = ot_binomial(n, p);
        int *seen = calloc((size_t)n + 1, sizeof *seen);
        double probability = exp((double)n * log1p(-p));
        for (int k = 0; k < DRAWS; k++) {
            const int64_t drawn = ot_binomial_draw(&b, ot_random_u64(i, 1, (uint64_t)k));
            assert_true(drawn >= 0 && drawn <= n);
            seen[drawn]++;
        }
        for (int64_t k = 0; k <= n; k++) {
            if (n == 3000)
                probability = exp(lgamma(3001) - lgamma((double)k + 1) - lgamma(3001 - (double)k) +
                                  (double)k * log(p) + (3000 - (double)k) * log1p(-p));
            const double mean = DRAWS * probability;
            assert_true(fabs(seen[k] - mean) <= 5 * sqrt(mean + 1));
            probability *= (double)(n - k) / (double)(k + 1) * p / (1 - p);
        }
        free(seen);
    }
    const struct binomial none = ot_binomial(9, 0), all = ot_binomial(9, 1);
    assert_int_equal(ot_binomial_draw(&none, UINT64_MAX), 0);
    assert_int_equal(ot_binomial_draw(&all, 0), 9);
}

/* How often each position is a slot, over many patterns. */
static void check_uniform(bool transposed, double density, int64_t fan_in) {
    enum { ROWS = 5, COLS = 13, PATTERNS = 4000 };
    int seen[ROWS * COLS] = {0}, total = 0;
    for (uint32_t i = 0; i < PATTERNS; i++) {
        const struct draw d = {.seed = 9, .update = i, .layer = 3};
        struct pattern *p = NULL;
        if (fan_in)
            assert_int_equal(ot_draw_fan_in(NULL, ROWS, COLS, transposed, fan_in, &d, &p, NULL), 0);
        else
            assert_int_equal(ot_draw_free(NULL, ROWS, COLS, transposed, density, &d, &p, NULL), 0);
        check_pattern(p);
        for (int r = 0; r < p->rows; r++) {
            if (fan_in) assert_int_equal(p->row[r + 1] - p->row[r], fan_in);
            for (int k = p->row[r]; k < p->row[r + 1]; k++) seen[ot_pattern_position(p, r, k)]++;
        }
        total += p->nnz;
        ot_pattern_unref(p);
    }
    const double share = fan_in ? (double)fan_in / (transposed ? ROWS : COLS) : density;
    const double deviation = sqrt(PATTERNS * share * (1 - share));
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(fabs(seen[i] - PATTERNS * share) <= 4.5 * deviation + 1e-9);
    if (!fan_in)
        assert_true(fabs(total - PATTERNS * ROWS * COLS * share) <=
                    4.5 * deviation * sqrt(ROWS * COLS));
}

static void test_uniform(void **state) {
    (void)state;
    check_uniform(false, .1, 0);
    check_uniform(true, .4, 0);
    check_uniform(false, .85, 0);
    check_uniform(false, 0, 1);
    check_uniform(false, 0, 6);
    check_uniform(true, 0, 4);
    check_uniform(false, 0, 11);
    check_uniform(false, 0, 13);
}

static void test_corners(void **state) {
    (void)state;
    const struct draw d = {.seed = 1}, other = {.seed = 1, .layer = 1};
    struct pattern *p = NULL, *q = NULL, *r = NULL;
    assert_int_equal(ot_draw_free(NULL, 7, 9, false, 1, &d, &p, NULL), OT_OK);
    assert_int_equal(p->nnz, 63);
    ot_pattern_unref(p);
    assert_int_equal(ot_draw_free(NULL, 7, 9, false, 0, &d, &p, NULL), OT_OK);
    assert_int_equal(p->nnz, 0);
    ot_pattern_unref(p);
    assert_int_equal(ot_draw_free(NULL, 1, 1, false, .5, &d, &p, NULL), OT_OK);
    ot_pattern_unref(p);
    assert_int_equal(ot_draw_free(NULL, 300, 200, false, .1, &d, &p, NULL), OT_OK);
    assert_int_equal(ot_draw_free(NULL, 300, 200, false, .1, &d, &q, NULL), OT_OK);
    assert_int_equal(ot_draw_free(NULL, 300, 200, false, .1, &other, &r, NULL), OT_OK);
    assert_true(ot_pattern_equal(p, q));
    assert_false(ot_pattern_equal(p, r));
    ot_pattern_unref(p);
    ot_pattern_unref(q);
    ot_pattern_unref(r);
    assert_int_equal(ot_draw_fan_in(NULL, 4, 9, false, 10, &d, &p, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_draw_free(NULL, 4, 9, false, (double)NAN, &d, &p, NULL), OT_ERROR_ARGUMENT);
}

/* ---- memory: nothing of the size of the matrix ---- */

static size_t largest;

static void *counted_alloc(void *context, size_t size, size_t align) {
    (void)context;
    if (size > largest) largest = size;
    return aligned_alloc(align, (size + align - 1) / align * align);
}
static void counted_free(void *context, void *block) {
    (void)context;
    free(block);
}

static void test_memory(void **state) {
    (void)state;
    const ot_allocator al = {counted_alloc, counted_free, NULL};
    const struct draw d = {.seed = 4};
    struct pattern *p = NULL;
    largest = 0;
    assert_int_equal(ot_draw_free(&al, 100000, 3000000, false, 1e-6, &d, &p, NULL), OT_OK);
    assert_true(abs(p->nnz - 300000) < 5 * 548);
    check_pattern(p);
    assert_true(largest <= 4 * 3000000 + 4096); /* columns with slots are counted */
    ot_pattern_unref(p);
}

/* ---- values ---- */

/* Mean and variance of the values of rows that have few and many slots. */
static void test_values(void **state) {
    (void)state;
    enum { ROWS = 400, COLS = 300 };
    static const struct start starts[] = {{OT_START_HE, false, 0},
                                          {OT_START_XAVIER, false, 0},
                                          {OT_START_HE, true, 0},
                                          {OT_START_XAVIER, true, ROWS}};
    const struct draw d = {.seed = 2, .layer = 5};
    struct pattern *p = NULL;
    assert_int_equal(ot_draw_fan_in(NULL, ROWS, COLS, false, 30, &d, &p, NULL), OT_OK);
    float *value = malloc((size_t)p->nnz * sizeof *value), *dense = malloc(4 * ROWS * COLS);
    static const double variance[] = {2. / 30, 2. / (30 + 40), 2. / COLS, 2. / (COLS + ROWS)};
    for (int i = 0; i < 4; i++) {
        double sum = 0, squares = 0, most = 0;
        ot_draw_values(p, ROWS, COLS, &starts[i], &d, value);
        for (int k = 0; k < p->nnz; k++) {
            sum += value[k];
            squares += (double)value[k] * value[k];
            if (fabs(value[k]) > most) most = fabs(value[k]);
        }
        assert_true(fabs(sum / p->nnz) < 5 * sqrt(variance[i] / p->nnz));
        assert_true(fabs(squares / p->nnz / variance[i] - 1) < .05);
        if (starts[i].dense_fan) assert_true(most <= sqrt(3 * variance[i]));
        ot_draw_values(NULL, ROWS, COLS, &starts[i], &d, dense);
        for (int r = 0; r < ROWS && starts[i].dense_fan; r++)
            for (int k = p->row[r]; k < p->row[r + 1]; k++)
                assert_true(value[k] == dense[ot_pattern_position(p, r, k)]);
    }
    free(value);
    free(dense);
    ot_pattern_unref(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_erk),
        cmocka_unit_test(test_er),
        cmocka_unit_test(test_refused_budgets),
        cmocka_unit_test(test_binomial),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
