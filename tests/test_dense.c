/* test_dense.c - Gemm, MatMul, Reorder, Densify against plain loops in double, dense and sparse,
 * with 1 to 4 threads; attributes and shapes that prepare must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "runtime/base/pattern.h"
#include "tests/node_bench.h"

/* ---- Gemm ---- */

struct gemm_case {
    int64_t m, n, k;
    bool ta, tb;
    float alpha, beta;
    int c_rank; /* -1: absent */
    int64_t c[2];
    float density; /* of B */
};

static const struct gemm_case gemm_cases[] = {
    {5, 7, 3, false, false, 1, 1, -1, {0}, 1},
    {5, 7, 3, true, false, 0.5f, 2, 2, {5, 7}, 1},
    {33, 17, 40, false, true, 1, 1, 1, {17}, 1},
    {33, 17, 40, true, true, -2, 0.5f, 2, {1, 17}, 1},
    {65, 66, 67, false, false, 1, 3, 2, {65, 1}, 1},
    {200, 10, 130, false, true, 1, 1, 0, {0}, 1},
    {4, 300, 200, true, false, 1, 1, 1, {1}, 1},
    {1, 9, 0, false, true, 1, 1, 1, {9}, 1},
    {3, 0, 4, false, false, 1, 1, -1, {0}, 1},
    {17, 24, 31, false, true, 1, 1, 1, {24}, 0.3f},
    {40, 24, 31, false, false, 1, 1, 2, {1, 24}, 0.3f},
    {16, 50, 20, false, true, 1, 1, -1, {0}, 0.1f},
};

struct gemm_run {
    struct tensor *a, *b, *dense, *c, *dy;
    struct op_node *node;
    const float *y, *da;
};

/* A small dense weight that has a row a feature may run in lanes too. */
static bool small_rows(const struct gemm_case *k, const struct tensor *c) {
    const int64_t size = (int64_t)k->n * k->k;
    if (k->ta || !k->tb || k->alpha != 1 || size < 1 || size > 1 << 15) return false;
    return !c || (k->beta == 1 && k->c_rank > 0 && ot_elements(c) == k->n &&
                  c->dim[k->c_rank - 1] == k->n);
}

static void run_gemm(struct bench *b, const struct gemm_case *k, struct gemm_run *r) {
    const int64_t ad[] = {k->ta ? k->k : k->m, k->ta ? k->m : k->k};
    const int64_t bd[] = {k->tb ? k->n : k->k, k->tb ? k->k : k->n};
    const struct attr attr[] = {int_attr("transA", k->ta ? 823 : 0), int_attr("transB", k->tb),
                                float_attr("alpha", k->alpha), float_attr("beta", k->beta)};
    r->a = random_tensor(b, 1, 2, ad);
    r->b = r->dense = random_tensor(b, 2, 2, bd);
    r->c = k->c_rank < 0 ? NULL : random_tensor(b, 3, k->c_rank, k->c);
    r->dy = random_tensor(b, 4, 2, (int64_t[]){k->m, k->n});
    struct tensor *a = r->a, *dy = r->dy;
    bool sparse = k->density < 1;
    if (sparse) {
        r->b = sparsified(b, r->dense, !k->tb, k->density);
        r->dense = densified(b, r->b);
        a = reordered(b, a, LANES, 1);
        dy = reordered(b, dy, LANES, 1);
    }
    r->node = new_node(b, "Gemm", attr, 4, 3, (struct tensor *[]){a, r->b, r->c});
    assert_true(r->node->op->lanes(r->node, 1) == (sparse || small_rows(k, r->c)));
    r->node->y[0]->lanes = sparse ? LANES : 0;
    r->node->y[0]->lane_rank = sparse;
    run_forward(b, r->node);
    assert_true(ot_same_shape(r->node->y[0], r->dy));
    run_backward(b, r->node, dy);
    r->y = ot_f(sparse ? reordered(b, r->node->y[0], 0, 0) : r->node->y[0]);
    r->da = ot_f(sparse ? reordered(b, r->node->dx[0], 0, 0) : r->node->dx[0]);
}

static void check_gemm(struct bench *b, const struct gemm_case *k, const struct gemm_run *r) {
    double *y = take(b, (size_t)(k->m * k->n), sizeof *y), *da = take(b, 100000, sizeof *da);
    double *db = take(b, 100000, sizeof *db), *dc = take(b, 100000, sizeof *dc);
    const float *a = ot_f(r->a), *w = ot_f(r->dense), *dy = ot_f(r->dy);
    int64_t rows = k->c_rank == 2 ? k->c[0] : 1, cols = k->c_rank < 1 ? 1 : k->c[k->c_rank - 1];
    for (int64_t i = 0; i < k->m * k->n; i++) {
        int64_t p = i / k->n, q = i % k->n;
        int64_t ic = (rows > 1 ? p * cols : 0) + (cols > 1 ? q : 0);
        if (r->c) y[i] = (double)k->beta * ot_f(r->c)[ic];
        dc[ic] += (double)k->beta * dy[i];
        for (int64_t j = 0; j < k->k; j++) {
            int64_t ia = k->ta ? j * k->m + p : p * k->k + j;
            int64_t ib = k->tb ? q * k->k + j : j * k->n + q;
            y[i] += (double)k->alpha * a[ia] * w[ib];
            da[ia] += (double)k->alpha * dy[i] * w[ib];
            db[ib] += (double)k->alpha * dy[i] * a[ia];
        }
    }
    assert_close(r->y, y, k->m * k->n);
    assert_close(r->da, da, k->m * k->k);
    assert_close(ot_f(r->node->dx[1]), at_slots(b, r->b->pattern, db), ot_count(r->b));
    if (r->c) assert_close(ot_f(r->node->dx[2]), dc, ot_elements(r->c));
}

static void test_gemm(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof gemm_cases / sizeof *gemm_cases; i++) {
        struct bench one, b;
        struct gemm_run first, r;
        open_bench(&one, 1);
        run_gemm(&one, &gemm_cases[i], &first);
        check_gemm(&one, &gemm_cases[i], &first);
        for (int threads = 2; threads <= 4; threads++) {
            open_bench(&b, threads);
            run_gemm(&b, &gemm_cases[i], &r);
            assert_memory_equal(r.y, first.y, ot_bytes(r.dy));
            assert_memory_equal(r.da, first.da, ot_bytes(r.a));
            for (int j = 1; j < 3; j++)
                if (r.node->dx[j])
                    assert_memory_equal(r.node->dx[j]->data, first.node->dx[j]->data,
                                        ot_bytes(r.node->dx[j]));
            ot_pattern_unref(r.b->pattern);
            close_bench(&b);
        }
        ot_pattern_unref(first.b->pattern);
        close_bench(&one);
    }
}

static void test_gemm_hostile(void **state) {
    (void)state;
    const struct {
        struct attr attr;
        int64_t b[2];
        int b_rank;
        int64_t c[2];
        int c_rank;
        int opset;
        ot_status status;
        const char *text;
    } cases[] = {
        {float_attr("alpha", NAN), {3, 5}, 2, {5}, 1, 13, OT_ERROR_NUMERIC, "'alpha'"},
        {float_attr("beta", INFINITY), {3, 5}, 2, {5}, 1, 13, OT_ERROR_NUMERIC, "'beta'"},
        {float_attr("beta", 1), {4, 5}, 2, {5}, 1, 13, OT_ERROR_INVALID, "inner dimensions"},
        {float_attr("beta", 1), {3}, 1, {5}, 1, 13, OT_ERROR_INVALID, "two matrices"},
        {float_attr("beta", 1), {3, 5}, 2, {4}, 1, 13, OT_ERROR_INVALID, "broadcast"},
        {float_attr("beta", 1), {3, 5}, 2, {3, 1}, 2, 13, OT_ERROR_INVALID, "broadcast"},
        {float_attr("beta", 1), {3, 5}, 2, {5}, 1, 6, OT_ERROR_INVALID, "'broadcast' is 0"},
        {int_attr("broadcast", 1), {3, 5}, 2, {5}, 1, 6, OT_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        open_bench(&b, 1);
        struct tensor *x[] = {new_tensor(&b, 2, (int64_t[]){2, 3}),
                              new_tensor(&b, cases[i].b_rank, cases[i].b),
                              new_tensor(&b, cases[i].c_rank, cases[i].c)};
        struct op_node *n = new_node(&b, "Gemm", &cases[i].attr, 1, 3, x);
        ((struct node *)n->node)->opset = cases[i].opset;
        assert_int_equal(n->op->prepare(n, &b.err), cases[i].status);
        assert_non_null(strstr(b.err.message, cases[i].text));
        close_bench(&b);
    }
}

/* ---- MatMul ---- */

struct matmul_case {
    int ar, br, yr;
    int64_t a[4], b[4], y[4];
    float density;
};

static const struct matmul_case matmul_cases[] = {
    {2, 2, 2, {5, 3}, {3, 7}, {5, 7}, 1},
    {1, 1, 0, {4}, {4}, {0}, 1},
    {1, 2, 1, {4}, {4, 3}, {3}, 1},
    {2, 1, 1, {3, 4}, {4}, {3}, 1},
    {3, 1, 2, {2, 3, 4}, {4}, {2, 3}, 1},
    {1, 3, 2, {4}, {2, 4, 3}, {2, 3}, 1},
    {3, 2, 3, {2, 9, 4}, {4, 6}, {2, 9, 6}, 1},
    {2, 3, 3, {5, 4}, {3, 4, 6}, {3, 5, 6}, 1},
    {4, 4, 4, {2, 1, 5, 4}, {1, 3, 4, 6}, {2, 3, 5, 6}, 1},
    {4, 3, 4, {2, 3, 5, 4}, {3, 4, 6}, {2, 3, 5, 6}, 1},
    {3, 3, 3, {12, 5, 8}, {12, 8, 6}, {12, 5, 6}, 1},
    {3, 3, 3, {2, 70, 80}, {2, 80, 60}, {2, 70, 60}, 1},
    {2, 2, 2, {5, 0}, {0, 7}, {5, 7}, 1},
    {2, 2, 2, {21, 30}, {30, 17}, {21, 17}, 0.3f},
    {3, 2, 3, {3, 7, 30}, {30, 17}, {3, 7, 17}, 0.3f},
};

/* Offset of the matrix of t that broadcasts to batch i of y. */
static int64_t matrix_of(int64_t i, const int64_t *y, int y_batch, const int64_t *t, int rank) {
    int64_t at = 0, step = rank > 1 ? t[rank - 1] * t[rank - 2] : 0;
    for (int d = y_batch - 1, e = rank - 3; e >= 0; d--, e--) {
        at += t[e] == 1 ? 0 : i % y[d] * step;
        i /= y[d];
        step *= t[e];
    }
    return at;
}

static void check_matmul(const struct matmul_case *k, int threads) {
    struct bench b;
    open_bench(&b, threads);
    bool sparse = k->density < 1;
    struct tensor *a = random_tensor(&b, 1, k->ar, k->a), *w = random_tensor(&b, 2, k->br, k->b);
    struct tensor *dy = random_tensor(&b, 3, k->yr, k->y), *dense = w, *in = a, *dy_in = dy;
    if (sparse) {
        w = sparsified(&b, dense, true, k->density);
        dense = densified(&b, w);
        in = reordered(&b, a, LANES, k->ar - 1);
        dy_in = reordered(&b, dy, LANES, k->ar - 1);
    }
    struct op_node *n = new_node(&b, "MatMul", NULL, 0, 2, (struct tensor *[]){in, w});
    assert_true(n->op->lanes(n, k->ar - 1) == sparse);
    n->y[0]->lanes = sparse ? LANES : 0;
    n->y[0]->lane_rank = sparse ? k->ar - 1 : 0;
    run_forward(&b, n);
    assert_true(ot_same_shape(n->y[0], dy));
    run_backward(&b, n, dy_in);
    int64_t rows = k->ar > 1 ? k->a[k->ar - 2] : 1, inner = k->a[k->ar - 1];
    int64_t cols = k->br > 1 ? k->b[k->br - 1] : 1;
    int batch = k->yr - (k->ar > 1) - (k->br > 1);
    double *y = take(&b, (size_t)ot_elements(dy), sizeof *y);
    double *da = take(&b, (size_t)ot_elements(a), sizeof *da);
    double *db = take(&b, (size_t)ot_elements(dense), sizeof *db);
    for (int64_t i = 0; i < ot_elements(dy); i++) {
        int64_t m = i / (rows * cols);
        int64_t ia = matrix_of(m, k->y, batch, k->a, k->ar) + i / cols % rows * inner;
        int64_t ib = matrix_of(m, k->y, batch, k->b, k->br) + i % cols;
        for (int64_t j = 0; j < inner; j++) {
            y[i] += (double)ot_f(a)[ia + j] * ot_f(dense)[ib + j * cols];
            da[ia + j] += (double)ot_f(dy)[i] * ot_f(dense)[ib + j * cols];
            db[ib + j * cols] += (double)ot_f(dy)[i] * ot_f(a)[ia + j];
        }
    }
    assert_close(ot_f(sparse ? reordered(&b, n->y[0], 0, 0) : n->y[0]), y, ot_elements(dy));
    assert_close(ot_f(sparse ? reordered(&b, n->dx[0], 0, 0) : n->dx[0]), da, ot_elements(a));
    assert_close(ot_f(n->dx[1]), at_slots(&b, w->pattern, db), ot_count(w));
    ot_pattern_unref(w->pattern);
    close_bench(&b);
}

static void test_matmul(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof matmul_cases / sizeof *matmul_cases; i++) {
        check_matmul(&matmul_cases[i], 1);
        check_matmul(&matmul_cases[i], 3);
    }
}

static void test_matmul_hostile(void **state) {
    (void)state;
    static const struct {
        int64_t a[3], b[3];
        int ar, br;
        const char *text;
    } cases[] = {{{5, 3}, {4, 7}, 2, 2, "inner dimensions"},
                 {{0}, {4, 7}, 0, 2, "scalar"},
                 {{2, 5, 3}, {3, 3, 7}, 3, 3, "broadcast"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        open_bench(&b, 1);
        struct tensor *x[] = {new_tensor(&b, cases[i].ar, cases[i].a),
                              new_tensor(&b, cases[i].br, cases[i].b)};
        struct op_node *n = new_node(&b, "MatMul", NULL, 0, 2, x);
        assert_int_equal(n->op->prepare(n, &b.err), OT_ERROR_INVALID);
        assert_non_null(strstr(b.err.message, cases[i].text));
        close_bench(&b);
    }
}

/* ---- Reorder, Densify ---- */

static void test_reorder(void **state) {
    (void)state;
    static const int64_t dims[][4] = {{17, 3, 5, 7}, {1, 2, 1, 1}, {128, 1, 1, 33}, {3, 40, 9, 1}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (int lane_rank = 1; lane_rank < 4; lane_rank++) {
            struct bench b;
            open_bench(&b, 2);
            struct tensor *x = random_tensor(&b, 1, 4, dims[i]);
            struct tensor *y = reordered(&b, x, LANES, lane_rank);
            int64_t size = ot_sample_elements(y), samples = ot_lane_samples(y);
            for (int64_t k = 0; k < ot_count(y); k++) {
                int64_t sample = k / (size * LANES) * LANES + k % LANES;
                float expected =
                    sample < samples ? ot_f(x)[sample * size + k / LANES % size] : 0.0f;
                assert_true(ot_f(y)[k] == expected);
            }
            assert_memory_equal(reordered(&b, y, 0, 0)->data, x->data, ot_bytes(x));
            struct op_node *n = new_node(&b, "Reorder", NULL, 0, 1, &x);
            n->y[0]->lanes = LANES;
            n->y[0]->lane_rank = lane_rank;
            run_forward(&b, n);
            run_backward(&b, n, y);
            assert_memory_equal(n->dx[0]->data, x->data, ot_bytes(x));
            close_bench(&b);
        }
    }
}

static void test_densify(void **state) {
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct bench b;
        open_bench(&b, 3);
        struct tensor *w = random_tensor(&b, 1, 2, (int64_t[]){300, 500});
        struct tensor *s = sparsified(&b, w, transposed, 0.1f);
        struct op_node *n = new_node(&b, "Densify", NULL, 0, 1, &s);
        run_forward(&b, n);
        float *expected = take(&b, 150000, sizeof *expected);
        ot_pattern_scatter(s->pattern, s->data, expected);
        assert_memory_equal(n->y[0]->data, expected, 150000 * sizeof(float));
        run_backward(&b, n, w);
        assert_memory_equal(n->dx[0]->data, s->data, ot_bytes(s));
        ot_pattern_unref(s->pattern);
        close_bench(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),    cmocka_unit_test(test_gemm_hostile),
        cmocka_unit_test(test_matmul),  cmocka_unit_test(test_matmul_hostile),
        cmocka_unit_test(test_reorder), cmocka_unit_test(test_densify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
