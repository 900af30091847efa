/* test_slots.c - large weights are read in pieces on several threads: the pattern is that of one
 * look at each element in order, and the zeros take no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/pieces.h"
#include "runtime/base/half.h"
#include "runtime/base/pattern.h"
#include "runtime/base/pool.h"
#include "tests/export_case.h"

/* ---- a matrix ---- */

struct matrix {
    int64_t rows, cols;
    float *value;
};

static uint32_t draw(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

/* One element in `every` is no zero; from element `negative` on every third zero is -0.0. Row 3
 * and column 5 are empty. */
static struct matrix make_matrix(int64_t rows, int64_t cols, unsigned every, int64_t negative) {
    struct matrix m = {rows, cols, zeroed((size_t)(rows * cols), sizeof(float))};
    uint32_t state = (uint32_t)(rows * 31 + cols);
    for (int64_t i = 0; i < rows * cols; i++) {
        const uint32_t r = draw(&state) >> 8;
        if (r % every == 0 && i / cols != 3 && i % cols != 5)
            m.value[i] = (float)(r % 2048) / 64 - 15.9921875f;
        else if (i >= negative && r % 3 == 0)
            m.value[i] = -0.0f;
    }
    return m;
}

/* ---- what a pattern must be, element by element ---- */

static void check_counts(const struct pattern *p) {
    int rows = 0, cols = 0;
    bool *seen = zeroed((size_t)p->cols, sizeof *seen);
    for (int r = 0; r < p->rows; r++) rows += p->row[r + 1] > p->row[r];
    for (int k = 0; k < p->nnz; k++) {
        cols += !seen[p->col[k]];
        seen[p->col[k]] = true;
    }
    free(seen);
    assert_int_equal(p->live_rows, rows);
    assert_int_equal(p->live_cols, cols);
}

static void check_value(const struct value *v, const struct matrix *m, bool transposed) {
    const struct tensor *t = v->constant;
    const struct pattern *p = t->pattern;
    assert_non_null(p);
    assert_int_equal(p->transposed, transposed);
    assert_int_equal(p->rows, transposed ? m->cols : m->rows);
    assert_int_equal(p->cols, transposed ? m->rows : m->cols);
    int slot = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        assert_int_equal(p->row[r], slot);
        for (int64_t c = 0; c < p->cols; c++) {
            const int64_t at = transposed ? c * p->rows + r : r * p->cols + c;
            if (m->value[at] == 0) {
                const bool negative = v->negative_zeros && v->negative_zeros[at / 8] >> at % 8 & 1;
                if (negative != (ot_bits_of_float(m->value[at]) != 0))
                    fail_msg("element %lld: the sign of a zero", (long long)at);
                continue;
            }
            if (slot >= p->nnz || p->col[slot] != c ||
                ((const float *)t->data)[slot] != m->value[at])
                fail_msg("slot %d is not element %lld", slot, (long long)at);
            slot++;
        }
    }
    assert_int_equal(p->row[p->rows], slot);
    assert_int_equal(p->nnz, slot);
    check_counts(p);
}

/* ---- models ---- */

static void add_typed(Onnx__ModelProto *m, const struct matrix *x, int type) {
    const size_t count = (size_t)(x->rows * x->cols);
    if (type == OT_FLOAT) {
        add_raw(m, "w", OT_FLOAT, x->rows, x->cols, x->value, count * sizeof *x->value);
        return;
    }
    uint16_t *half = zeroed(count, sizeof *half);
    for (size_t i = 0; i < count; i++) half[i] = ot_float16_of_float(x->value[i]);
    add_raw(m, "w", OT_FLOAT16, x->rows, x->cols, half, count * sizeof *half);
    free(half);
}

/* x -> y by MatMul, where columns are the rows of the pattern, or by Gemm with transB. */
static struct bytes model_of(const struct matrix *x, bool transposed, int type) {
    Onnx__ModelProto *m = new_model(8, 13);
    add_input(m, "x", -1, transposed ? x->rows : x->cols);
    Onnx__NodeProto *n = add_node(m, transposed ? "MatMul" : "Gemm", "x w", "y");
    if (!transposed) add_int(n, "transB", 1);
    add_output(m, "y", -1, transposed ? x->cols : x->rows);
    add_typed(m, x, type);
    return pack_built(m);
}

static struct graph *import_on(struct bytes b, struct pool *pool) {
    struct import_options o = {.pool = pool};
    o.limits = (ot_limits){INT32_MAX, 1000, (uint64_t)1 << 40, (uint64_t)1 << 34};
    struct graph *g = NULL;
    ot_error err = {0};
    if (ot_import_buffer(b.data, b.size, &o, &g, &err)) fail_msg("%s", err.message);
    return g;
}

static void check_all(const struct matrix *x, int type, struct pool *pool) {
    for (int transposed = 0; transposed < 2; transposed++) {
        struct bytes b = model_of(x, transposed, type);
        for (int threads = 0; threads < 2; threads++) {
            struct graph *g = import_on(b, threads ? pool : NULL);
            check_value(&g->value[value_named(g, "w")], x, transposed);
            ot_graph_free(g);
        }
        free(b.data);
    }
}

/* ---- tests ---- */

/* Rows within a piece, in several pieces, as long as a piece; pieces that end with a row; one run
 * for several threads; more rounds than one. */
static void patterns_are_those_of_each_element(void **state) {
    static const struct {
        int64_t rows, cols;
        unsigned every;
        int64_t negative;
    } cases[] = {
        {6, 7, 2, 0},           {100, 63, 20, INT64_MAX}, {300, 1000, 20, 0},  {7, 131077, 30, 5},
        {9, 65536, 10, 400000}, {70000, 9, 8, 70000},     {512, 1280, 500, 0}, {1, 200000, 20, 0},
        {200000, 1, 20, 0},     {650, 1024, 20, 600000},
    };
    struct pool *pool;
    (void)state;
    assert_int_equal(ot_pool_new(NULL, 3, NULL, NULL, &pool, NULL), OT_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct matrix x =
            make_matrix(cases[i].rows, cases[i].cols, cases[i].every, cases[i].negative);
        check_all(&x, OT_FLOAT, pool);
        if (i % 3 == 0) check_all(&x, OT_FLOAT16, pool);
        free(x.value);
    }
    ot_pool_free(pool);
}

/* ---- memory ---- */

/* Bytes that are out, and the most that ever were. */
struct meter {
    size_t out, most;
};

enum { HEAD = 4096 };

static void *meter_alloc(void *context, size_t size, size_t align) {
    struct meter *m = context;
    void *p = NULL;
    if (align > HEAD || posix_memalign(&p, HEAD, size + HEAD)) return NULL;
    *(size_t *)p = size;
    m->out += size;
    if (m->out > m->most) m->most = m->out;
    return (char *)p + HEAD;
}

static void meter_free(void *context, void *p) {
    if (!p) return;
    char *from = (char *)p - HEAD;
    ((struct meter *)context)->out -= *(size_t *)(void *)from;
    free(from);
}

/* Beside the tree of the file: 6 bytes a slot while it is read and 8 afterwards, and what the lanes
 * of a round hold at least. */
static void zeros_take_no_memory(void **state) {
    struct matrix x = make_matrix(2048, 4096, 20, INT64_MAX);
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct bytes b = model_of(&x, transposed, OT_FLOAT);
        struct meter meter = {0};
        ot_allocator counting = {meter_alloc, meter_free, &meter};
        struct graph *g = import_with(b, counting);
        const size_t slots = (size_t)g->value[value_named(g, "w")].constant->pattern->nnz;
        const size_t bound =
            b.size + 14 * slots + (size_t)OT_LANES * OT_PIECE * 12 + ((size_t)2 << 20);
        if (meter.most > bound) fail_msg("%zu bytes at once, more than %zu", meter.most, bound);
        ot_graph_free(g);
        assert_int_equal(meter.out, 0);
        free(b.data);
    }
    free(x.value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_those_of_each_element),
        cmocka_unit_test(zeros_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
