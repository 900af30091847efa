/* test_follow_streams.c - sparse products that follow other patterns: the same lists, element for
 * element, and the same bits as products that are made for these patterns, on every instruction
 * set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "ops/product/sparse_product.h"
#include "tests/counter.h"
#include "tests/sparse_case.h"

/*   n   c  h  w   m kh kw  strides dilations pads t l b r  groups lanes density */
static const struct sparse_case cases[] = {
    {"linear", 1, 133, 1, 1, 121, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 64, 0.1},
    {"more panels", 1, 900, 1, 1, 300, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 128, 0.05},
    {"1x1", 1, 40, 7, 7, 30, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.1},
    {"3x3", 1, 8, 14, 14, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.1},
    {"stride 2", 1, 6, 9, 16, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 16, 0.2},
    {"taps that feed nothing", 1, 4, 2, 13, 5, 5, 2, 3, 4, 1, 1, 3, 0, 3, 0, 1, 16, 0.5},
    {"groups", 1, 12, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 16, 0.2},
    {"depthwise", 1, 24, 9, 9, 24, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 24, 16, 0.4},
    {"nearly empty", 1, 64, 5, 4, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.0005},
    {"full", 1, 9, 7, 7, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 1.0},
    {"one of everything", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 1.0},
};
enum { CASES = sizeof cases / sizeof *cases, SHIFTS = 2 };
static const int shifts[SHIFTS] = {7, 1003}, batches[] = {1, 2, 17, 64};

static struct pool *new_pool(int threads) {
    struct pool *pool;
    assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
    return pool;
}

static void same(const char *name, const char *what, const int32_t *a, const int32_t *b, size_t n) {
    assert_true(!a == !b);
    for (size_t i = 0; a && i < n; i++)
        if (a[i] != b[i]) fail_msg("%s: %s[%zu] is %d, not %d", name, what, i, a[i], b[i]);
}

static void same_streams(const char *name, const struct stream *a, const struct stream *b) {
    const size_t lists = (size_t)(b->chunks * b->panels * b->planes), nnz = (size_t)b->nnz;
    assert_true(!a->list == !b->list);
    if (!b->list) return;
    const int32_t shape_a[] = {a->tile_h, a->tile_w, a->panels, a->chunks,
                               a->width,  a->live,   a->nnz};
    const int32_t shape_b[] = {b->tile_h, b->tile_w, b->panels, b->chunks,
                               b->width,  b->live,   b->nnz};
    same(name, "shape", shape_a, shape_b, 7);
    const size_t rows = (size_t)b->list[lists];
    same(name, "list", a->list, b->list, lists + 1);
    same(name, "row", a->row, b->row, rows);
    same(name, "ptr", a->ptr, b->ptr, rows + 1);
    same(name, "value_index", a->value_index, b->value_index, rows);
    same(name, "chunk_row", a->chunk_row, b->chunk_row, (size_t)b->chunks + 1);
    same(name, "offset", a->offset, b->offset, nnz + 1);
    same(name, "slot", a->slot, b->slot, nnz);
}

static void same_layers(const struct sparse_layer *a, const struct sparse_layer *b) {
    const struct sparse_product *p = a->product, *q = b->product;
    assert_int_equal(a->forward_scratch, b->forward_scratch);
    assert_int_equal(a->backward_scratch, b->backward_scratch);
    assert_true(!p->few == !q->few);
    if (p->few && p->few->pieces > 1) {
        const size_t pieces = (size_t)p->few->pieces, rows = (size_t)a->pattern->rows;
        same(a->c.name, "column", p->few->column, q->few->column, pieces + 1);
        same(a->c.name, "cut", p->few->cut, q->few->cut, (pieces - 1) * rows);
    }
    if (p->few) return;
    same_streams(a->c.name, &p->forward, &q->forward);
    same_streams(a->c.name, &p->backward, &q->backward);
}

/* The layer takes the pattern of `other`, whose values it has. */
static void follow(struct sparse_layer *l, const struct sparse_layer *other) {
    assert_int_equal(l->pattern->nnz, other->pattern->nnz);
    ot_pattern_unref(l->pattern);
    l->pattern = ot_pattern_ref(other->pattern);
    ot_sparse_follow(l->product, l->pattern);
}

static void check_product(struct sparse_case c, const struct kernels *k, struct pool *pool) {
    struct sparse_layer l, other;
    sparse_layer_make_changing(&l, &c, k, pool, 0);
    for (int i = 0; i < SHIFTS; i++) {
        sparse_layer_make_changing(&other, &c, k, pool, shifts[i]);
        follow(&l, &other);
        same_layers(&l, &other);
        sparse_layer_run(&l);
        sparse_layer_check(&l);
        sparse_layer_run(&other);
        assert_memory_equal(l.y, other.y, l.y_size * sizeof(float));
        assert_memory_equal(l.dx, other.dx, l.x_size * sizeof(float));
        assert_memory_equal(l.dvalue, other.dvalue, (size_t)l.pattern->nnz * sizeof(float));
        sparse_layer_free(&other);
    }
    sparse_layer_free(&l);
}

static void products(void **state) {
    (void)state;
    struct pool *pool = new_pool(3);
    for (int i = 0; ot_kernels_at(i); i++)
        for (int j = 0; j < CASES; j++)
            for (int n = 0; n < 4; n++) {
                struct sparse_case c = cases[j];
                c.n = batches[n];
                check_product(c, ot_kernels_at(i), pool);
                c.lanes = 1;
                check_product(c, ot_kernels_at(i), pool);
            }
    ot_pool_free(pool);
}

/* The n-th allocation of a product that is to follow fails, for all n. */
static void no_memory(void **state) {
    (void)state;
    struct pool *pool = new_pool(2);
    struct sparse_layer l;
    sparse_layer_make_changing(&l, &cases[4], ot_kernels_at(0), pool, 0);
    ot_status status = OT_ERROR_NO_MEMORY;
    struct counter counter = {0};
    for (long n = 1; status; n++) {
        counter = (struct counter){.fail_at = n};
        const ot_allocator al = counting_allocator(&counter);
        struct arena arena;
        struct op_node node = l.n;
        const struct sparse_product *product;
        size_t forward, backward;
        ot_arena_init(&arena, &al, 0);
        node.arena = &arena;
        status = ot_sparse_prepare(&node, l.pattern, &l.shape, 16, 3, &product, &forward, &backward,
                                   NULL);
        assert_true(status == OT_OK || status == OT_ERROR_NO_MEMORY);
        ot_arena_free(&arena);
        assert_int_equal(counter.live, 0);
    }
    assert_true(counter.requests >= 5);
    sparse_layer_free(&l);
    ot_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
