/* test_best.c - the best of many candidates against a plain sort of all of them: random and tied
 * gradients, in pieces of any size, from any number of workers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/topology/best.h"

enum { WORKERS = 4 };

struct matrix {
    int rows, cols;
    struct pattern *pattern;
    float *gradient;
};

/* kind 0: random; 1: few different values, of both signs; 2: all zero. */
static struct matrix make_matrix(int rows, int cols, double density, int kind) {
    const int64_t all = (int64_t)rows * cols;
    struct matrix m = {rows, cols, NULL, malloc(((size_t)all + 1) * sizeof(float))};
    int64_t *position = malloc(((size_t)all + 1) * sizeof *position), n = 0;
    for (int64_t i = 0; i < all; i++) {
        const float g = ot_random_float(5, (uint64_t)kind, (uint64_t)i) - 0.5f;
        m.gradient[i] = kind == 0 ? g : kind == 1 ? roundf(g * 6) : 0.0f;
        if (ot_random_float(6, (uint64_t)cols, (uint64_t)i) < density) position[n++] = i;
    }
    assert_int_equal(ot_pattern_new(NULL, rows, cols, false, position, n, NULL, &m.pattern, NULL),
                     OT_OK);
    free(position);
    return m;
}

static void free_matrix(struct matrix *m) {
    ot_pattern_unref(m->pattern);
    free(m->gradient);
}

/* ---- the reference ---- */

static const float *compared;

static int compare_gradients(const void *a, const void *b) {
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    const float x = fabsf(compared[i]), y = fabsf(compared[j]);
    return x > y ? -1 : x < y ? 1 : i < j ? -1 : i > j;
}

static int compare_positions(const void *a, const void *b) {
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    return i < j ? -1 : i > j;
}

/* The best of rows [from, to), their positions ascending; returns how many. */
static int plain_best(const struct matrix *m, int from, int to, int count, int64_t *best) {
    const struct pattern *p = m->pattern;
    int n = 0;
    for (int r = from; r < to; r++)
        for (int c = 0, k = p->row[r]; c < m->cols; c++) {
            if (k < p->row[r + 1] && p->col[k] == c)
                k++;
            else
                best[n++] = (int64_t)r * m->cols + c;
        }
    compared = m->gradient;
    qsort(best, (size_t)n, sizeof *best, compare_gradients);
    if (n > count) n = count;
    qsort(best, (size_t)n, sizeof *best, compare_positions);
    return n;
}

static void check_same(const struct matrix *m, const float *gradient, const int64_t *position,
                       int n, const int64_t *expected, int n_expected) {
    assert_int_equal(n, n_expected);
    for (int i = 0; i < n; i++) {
        assert_int_equal(position[i], expected[i]);
        assert_memory_equal(&gradient[i], &m->gradient[expected[i]], sizeof(float));
    }
}

/* ---- the lists ---- */

/* All rows in any order, each in pieces, from the worker that the row's number draws. */
static void feed(const struct matrix *m, struct best *b, uint64_t seed) {
    for (int i = 0; i < m->rows; i++) {
        const int r = seed & 1 ? m->rows - 1 - i : i;
        const int worker = (int)(ot_random_u32(seed, 1, (uint64_t)r) % (uint32_t)b->workers);
        for (int c = 0, piece = 0; c < m->cols; c += piece) {
            piece = 1 + (int)(ot_random_u32(seed, 2, (uint64_t)(r * m->cols + c)) % 90);
            if (piece > m->cols - c) piece = m->cols - c;
            ot_best_take(b, worker, r, c, m->gradient + (size_t)r * (size_t)m->cols + c, piece);
        }
    }
}

static void check_matrix(const struct matrix *m, struct best *b, int count) {
    int64_t *expected = malloc(((size_t)m->rows * (size_t)m->cols + 1) * sizeof *expected);
    const int n = plain_best(m, 0, m->rows, count, expected);
    for (uint64_t seed = 0; seed < 3; seed++) {
        ot_best_start(b, m->pattern, count);
        feed(m, b, seed);
        const int found = ot_best_finish(b);
        check_same(m, b->list[0].gradient, b->list[0].position, found, expected, n);
    }
    free(expected);
}

static void check_rows(const struct matrix *m, struct best *b, int count) {
    int64_t *expected = malloc(((size_t)m->cols + 1) * sizeof *expected);
    ot_best_start(b, m->pattern, count);
    feed(m, b, 7);
    assert_int_equal(ot_best_finish(b), 0);
    for (int r = 0; r < m->rows; r++) {
        const int n = plain_best(m, r, r + 1, count, expected);
        const size_t at = (size_t)r * (size_t)count;
        check_same(m, b->row_gradient + at, b->row_position + at, b->row_n[r], expected, n);
    }
    free(expected);
}

static const struct {
    int rows, cols;
    double density;
} shapes[] = {{1, 1, 0},     {1, 1, 1},     {3, 5, 0.4},     {40, 37, 0.1},
              {7, 900, 0.2}, {200, 3, 0.5}, {90, 120, 0.02}, {16, 16, 0.97}};

static void test_against_sort(void **state) {
    (void)state;
    static const int counts[] = {0, 1, 2, 17, 300, 5000};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < 3; kind++) {
            struct matrix m = make_matrix(shapes[i].rows, shapes[i].cols, shapes[i].density, kind);
            for (int workers = 1; workers <= WORKERS; workers += 3) {
                struct best b = {.rows = 0}, rows = {.rows = 0};
                assert_int_equal(ot_best_new(NULL, 5000, workers, &b, NULL), OT_OK);
                assert_int_equal(ot_best_new_rows(NULL, m.rows, 40, workers, &rows, NULL), OT_OK);
                for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
                    check_matrix(&m, &b, counts[k]);
                    if (counts[k] && counts[k] <= 40) check_rows(&m, &rows, counts[k]);
                }
                ot_best_free(&b);
                ot_best_free(&rows);
            }
            free_matrix(&m);
        }
}

/* Single candidates, of which slots may be some, compete with those that came in pieces. */
static void test_add(void **state) {
    (void)state;
    struct matrix m = make_matrix(30, 40, 0.2, 0);
    const struct pattern *p = m.pattern;
    struct best b;
    for (int i = 0; i < m.rows * m.cols; i++) m.gradient[i] += 0.01f;
    assert_int_equal(ot_best_new(NULL, 50, 2, &b, NULL), OT_OK);
    ot_best_start(&b, p, 50);
    feed(&m, &b, 1);
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            const int64_t at = (int64_t)r * p->cols + p->col[k];
            ot_best_add(&b, at, m.gradient[at]);
        }
    struct matrix all = make_matrix(30, 40, 0, 0);
    for (int i = 0; i < m.rows * m.cols; i++) all.gradient[i] += 0.01f;
    int64_t expected[1200];
    const int found = ot_best_finish(&b), n = plain_best(&all, 0, 30, 50, expected);
    check_same(&m, b.list[0].gradient, b.list[0].position, found, expected, n);
    ot_best_free(&b);
    free_matrix(&m);
    free_matrix(&all);
}

/* Infinities are the best, whatever their sign; not-a-number counts as larger. */
static void test_not_finite(void **state) {
    (void)state;
    struct matrix m = make_matrix(8, 50, 0, 0);
    struct best b;
    m.gradient[333] = -INFINITY;
    m.gradient[12] = INFINITY;
    m.gradient[70] = NAN;
    assert_int_equal(ot_best_new(NULL, 3, 1, &b, NULL), OT_OK);
    ot_best_start(&b, m.pattern, 3);
    feed(&m, &b, 0);
    assert_int_equal(ot_best_finish(&b), 3);
    assert_int_equal(b.list[0].position[0], 12);
    assert_int_equal(b.list[0].position[1], 70);
    assert_int_equal(b.list[0].position[2], 333);
    ot_best_free(&b);
    free_matrix(&m);
}

static void test_limits(void **state) {
    (void)state;
    struct best b;
    ot_error err;
    assert_int_equal(ot_best_new(NULL, INT32_MAX, 1, &b, &err), OT_ERROR_LIMIT);
    assert_non_null(strstr(err.message, "2147483647 candidates"));
    ot_best_free(&b);
    assert_int_equal(ot_best_new(NULL, 0, 2, &b, &err), OT_OK);
    ot_best_free(&b);
    assert_true(ot_best_bytes(0, 1000, 1) >= 48000 && ot_best_bytes(0, 1000, 1) < 49000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sort),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
