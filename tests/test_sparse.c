/* test_sparse.c - sparse products against a dense double loop, on every instruction set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/rng.h"
#include "tests/sanitized.h"
#include "tests/sparse_case.h"

/*   n   c  h  w   m kh kw  strides dilations pads t l b r  groups lanes density */
static const struct sparse_case cases[] = {
    {"linear", 40, 33, 1, 1, 21, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 64, 0.2},
    {"linear, 128 lanes, two blocks", 200, 70, 1, 1, 45, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 128, 0.1},
    {"linear, 48 lanes", 48, 19, 1, 1, 23, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 48, 0.3},
    {"3x3 same", 16, 8, 14, 14, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.1},
    {"batch of 12: no multiple of 8", 12, 8, 14, 14, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.1},
    {"batch of 61", 61, 5, 7, 7, 6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.2},
    {"stride 2, line of 32", 2, 2, 8, 32, 2, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 16, 1.0},
    {"stride 2, line of 16", 16, 3, 9, 16, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 16, 0.3},
    {"1x1 stride 2", 17, 9, 15, 15, 7, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 16, 0.3},
    {"stride 3, 7x7", 3, 3, 23, 20, 4, 7, 7, 3, 3, 1, 1, 3, 3, 3, 3, 1, 16, 0.2},
    {"strides 2 and 1", 5, 4, 11, 9, 5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.4},
    {"stride larger than the kernel", 5, 4, 11, 13, 5, 2, 2, 3, 4, 1, 1, 0, 0, 0, 0, 1, 16, 0.5},
    {"asymmetric pads", 16, 4, 10, 11, 5, 3, 3, 1, 1, 1, 1, 0, 2, 1, 0, 1, 16, 0.3},
    {"SAME_UPPER at stride 2", 16, 4, 8, 8, 5, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 1, 16, 0.3},
    {"pads wider than the kernel", 4, 3, 5, 6, 4, 2, 2, 1, 1, 1, 1, 3, 4, 2, 3, 1, 16, 0.5},
    {"dilation", 16, 4, 15, 15, 5, 3, 3, 1, 1, 2, 3, 2, 3, 2, 3, 1, 16, 0.3},
    {"dilation 3 at stride 2", 16, 4, 15, 16, 5, 3, 3, 2, 2, 3, 2, 3, 2, 3, 2, 1, 16, 0.3},
    {"groups", 16, 12, 9, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 16, 0.3},
    {"depthwise", 16, 24, 9, 9, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 24, 16, 0.6},
    {"depthwise, stride 2, multiplier 2", 3, 10, 9, 9, 20, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 10, 16,
     0.6},
    {"1x5", 16, 5, 6, 17, 7, 1, 5, 1, 1, 1, 1, 0, 2, 0, 2, 1, 16, 0.3},
    {"5x1", 16, 5, 17, 6, 7, 5, 1, 1, 1, 1, 1, 2, 0, 2, 0, 1, 16, 0.3},
    {"1-D", 16, 5, 1, 40, 7, 1, 3, 1, 2, 1, 1, 0, 1, 0, 1, 1, 16, 0.3},
    {"1x1", 16, 40, 7, 7, 30, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.2},
    {"1x1, 32 lanes", 37, 40, 5, 7, 30, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.2},
    {"3x3, 48 lanes", 37, 6, 5, 7, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 48, 0.2},
    {"3x3, stride 2, 32 lanes", 33, 6, 8, 7, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 32, 0.2},
    {"window of the whole image", 16, 6, 5, 4, 8, 5, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.3},
    {"window of a line", 16, 6, 1, 9, 8, 1, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.3},
    {"pads that keep the width", 16, 6, 1, 5, 8, 1, 3, 1, 1, 1, 1, 0, 1, 0, 0, 1, 16, 0.3},
    {"window of a line, stride 2", 16, 6, 1, 4, 8, 1, 2, 1, 2, 1, 1, 0, 0, 0, 0, 1, 16, 0.5},
    {"kernel side of 300", 2, 2, 1, 400, 3, 1, 300, 1, 1, 1, 1, 0, 20, 0, 20, 1, 16, 0.3},
    {"empty layer", 16, 6, 5, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.0},
    {"empty layer, stride 2", 16, 6, 5, 4, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 16, 0.0},
    {"nearly empty layer", 16, 64, 5, 4, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.0005},
    {"fully dense", 16, 9, 7, 7, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 1.0},
    {"many panels", 16, 700, 3, 3, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.3},
    {"more than 8192 channels", 16, 9000, 1, 1, 6, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.1},
    {"more than 32767 nonzeros a row", 3, 4200, 3, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.9},
    {"many chunks", 32, 300, 1, 1, 500, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.3},
    {"few samples", 6, 300, 1, 1, 200, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.3},
    {"few samples of many channels", 7, 9000, 1, 1, 12, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.02},
    {"a sample of many channels", 1, 70000, 1, 1, 9, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.001},
    {"few samples, empty layer", 2, 9, 1, 1, 7, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.0},
    {"one of everything", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 1.0},
};

static struct pool *new_pool(int threads) {
    struct pool *pool;
    assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
    return pool;
}

static void check_case(const struct sparse_case *c, const struct kernels *k, struct pool *pool,
                       bool back) {
    struct sparse_layer l;
    sparse_layer_make(&l, c, k, pool, back, true);
    sparse_layer_run(&l);
    sparse_layer_check(&l);
    sparse_layer_free(&l);
}

static void test_cases(void **state) {
    (void)state;
    struct pool *pool = new_pool(1);
    for (int i = 0; ot_kernels_at(i); i++)
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++)
            for (int back = 0; back < 2; back++) {
                struct sparse_case rows = cases[j];
                rows.lanes = 1;
                check_case(&cases[j], ot_kernels_at(i), pool, back);
                check_case(&rows, ot_kernels_at(i), pool, back);
            }
    ot_pool_free(pool);
}

static void test_batches(void **state) {
    (void)state;
    struct pool *pool = new_pool(1);
    for (int n = 1; n <= 35; n++) {
        struct sparse_case conv = {"conv", n, 3, 6, 7, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.5};
        struct sparse_case rows = conv, linear_rows;
        struct sparse_case linear = {"linear", n, 9, 1, 1, 7, 1, 1,  1,  1,
                                     1,        1, 0, 0, 0, 0, 1, 32, 0.5};
        linear_rows = linear;
        rows.lanes = linear_rows.lanes = 1;
        for (int i = 0; ot_kernels_at(i); i++) {
            check_case(&linear_rows, ot_kernels_at(i), pool, n % 2);
            check_case(&conv, ot_kernels_at(i), pool, n % 2);
            check_case(&rows, ot_kernels_at(i), pool, n % 2);
            check_case(&linear, ot_kernels_at(i), pool, n % 2);
        }
    }
    ot_pool_free(pool);
}

static void check_threads(const struct sparse_case *c) {
    struct sparse_layer one, many;
    struct pool *alone = new_pool(1);
    sparse_layer_make(&one, c, ot_kernels_at(0), alone, false, false);
    sparse_layer_run(&one);
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *pool = new_pool(threads);
        sparse_layer_make(&many, c, ot_kernels_at(0), pool, false, false);
        sparse_layer_run(&many);
        sparse_layer_run(&many);
        assert_memory_equal(one.y, many.y, one.y_size * sizeof(float));
        assert_memory_equal(one.dx, many.dx, one.x_size * sizeof(float));
        assert_memory_equal(one.dvalue, many.dvalue, (size_t)one.pattern->nnz * sizeof(float));
        assert_memory_equal(one.dbias, many.dbias, (size_t)one.c.m * sizeof(float));
        sparse_layer_free(&many);
        ot_pool_free(pool);
    }
    sparse_layer_free(&one);
    ot_pool_free(alone);
}

/* One to eight samples in rows: rows of any length, of one length, and without nonzeros. */
static void test_rows(void **state) {
    (void)state;
    static const struct {
        int c, m;
        double density;
    } layers[] = {{1, 1, 1},   {1, 9, 0.7},  {9, 1, 1},    {7, 1, 0.3},   {300, 30, 0.02},
                  {90, 9, 7},  {90, 9, 8},   {90, 30, 15}, {90, 30, 16},  {90, 30, 17},
                  {90, 9, 31}, {700, 9, 64}, {90, 30, 2},  {66000, 9, 33}};
    struct pool *pool = new_pool(2);
    for (size_t j = 0; j < sizeof layers / sizeof *layers; j++)
        for (int n = 1; n <= 8; n++) {
            const struct sparse_case c = {
                "rows", n, layers[j].c, 1, 1, layers[j].m,      1, 1, 1, 1, 1, 1, 0,
                0,      0, 0,           1, 1, layers[j].density};
            for (int i = 0; ot_kernels_at(i); i++)
                for (int back = 0; back < 2; back++) check_case(&c, ot_kernels_at(i), pool, back);
            check_threads(&c);
        }
    ot_pool_free(pool);
}

static int pick(int test, int what, int from, int to) {
    return from +
           (int)(ot_random_u32(11, (uint64_t)test, (uint64_t)what) % (uint32_t)(to - from + 1));
}

/* ThreadSanitizer takes minutes for what others take seconds for. */
#ifdef __SANITIZE_THREAD__
enum { RANDOM_CASES = 60, JOINT_CASES = 1 };
#else
enum { RANDOM_CASES = 240, JOINT_CASES = 2 };
#endif

static void test_random(void **state) {
    (void)state;
    static const double densities[] = {0.02, 0.1, 0.3, 0.7, 1.0};
    struct pool *pool = new_pool(2);
    for (int t = 0; t < RANDOM_CASES; t++) {
        int groups = pick(t, 0, 0, 3) ? 1 : pick(t, 1, 2, 4);
        char name[32];
        snprintf(name, sizeof name, "random %d", t);
        struct sparse_case c = {.name = name,
                                .n = pick(t, 2, 1, 40),
                                .c = groups * pick(t, 3, 1, 12),
                                .m = groups * pick(t, 4, 1, 12),
                                .kh = pick(t, 5, 1, 5),
                                .kw = pick(t, 6, 1, 5),
                                .stride_h = pick(t, 7, 1, 3),
                                .stride_w = pick(t, 8, 1, 3),
                                .dilation_h = pick(t, 9, 1, 2),
                                .dilation_w = pick(t, 10, 1, 3),
                                .top = pick(t, 11, 0, 3),
                                .left = pick(t, 12, 0, 3),
                                .bottom = pick(t, 13, 0, 3),
                                .right = pick(t, 14, 0, 3),
                                .groups = groups,
                                .lanes = t % 3 ? 1 : 16 * pick(t, 15, 1, 2),
                                .density = densities[pick(t, 16, 0, 4)]};
        c.h = (c.kh - 1) * c.dilation_h + pick(t, 17, 1, 9);
        c.w = (c.kw - 1) * c.dilation_w + pick(t, 18, 1, 18);
        for (int i = 0; ot_kernels_at(i); i++) check_case(&c, ot_kernels_at(i), pool, t % 2);
    }
    ot_pool_free(pool);
}

/* In rows, units along the image: every width, with what is left of a unit. */
static void test_widths(void **state) {
    (void)state;
    struct pool *pool = new_pool(1);
    for (int w = 1; w <= 40; w++) {
        const int stride = 1 + w % 2;
        struct sparse_case same = {"width", 2, 3, 5, w, 4, 3, 3, 1,  stride,
                                   1,       1, 1, 1, 1, 1, 1, 1, 0.5};
        struct sparse_case pointwise = {
            "width, 1x1", 3, 9, 3, w, 7, 1, 1, stride, stride, 1, 1, 0, 0, 0, 0, 1, 1, 0.4};
        struct sparse_case wide = {
            "width, 3x5", 1, 2, 4, w, 3, 3, 5, stride, 1, 2, 2, 2, 4, 1, 5, 1, 1, 0.4};
        for (int i = 0; ot_kernels_at(i); i++) {
            check_case(&same, ot_kernels_at(i), pool, w % 2);
            check_case(&pointwise, ot_kernels_at(i), pool, w % 2);
            check_case(&wide, ot_kernels_at(i), pool, w % 2);
        }
    }
    ot_pool_free(pool);
}

/* Under a sanitizer large layers take minutes: there test_cases alone runs every kernel. */
#ifdef OT_SANITIZED
enum { SLOW = 1 };
#else
enum { SLOW = 0 };
#endif

/* A pass that makes both gradients at once makes them as two passes do, bit for bit; and says which
 * part of its time went where. The last tiles are narrower; spare lanes of dx are anything. */
static void test_joint(void **state) {
    (void)state;
    static const struct sparse_case large[] = {
        {"joint", 32, 19, 61, 65, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.05},
        {"joint, 32 lanes", 33, 3, 61, 65, 20, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.3},
    };
    struct pool *pool = new_pool(2);
    for (int i = 0; i < JOINT_CASES; i++)
        for (int k = 0; ot_kernels_at(k); k++) {
            if (SLOW && k != i) continue;
            struct sparse_layer one, two;
            double share = -1;
            sparse_layer_make(&one, &large[i], ot_kernels_at(k), pool, true, true);
            sparse_layer_make(&two, &large[i], ot_kernels_at(k), pool, false, true);
            assert_true(ot_sparse_is_joint(&one.n, one.product));
            one.n.weight_share = &share;
            sparse_layer_run(&one);
            assert_true(share > 0 && share < 1);
            if (k == i) sparse_layer_check(&one);
            ot_sparse_backward(&two.n, two.product, two.x, two.value, two.dy, two.dx, NULL, NULL,
                               two.scratch);
            ot_sparse_backward(&two.n, two.product, two.x, two.value, two.dy, NULL, two.dvalue,
                               two.dbias, two.scratch);
            if (large[i].n % large[i].lanes == 0)
                assert_memory_equal(one.dx, two.dx, one.x_size * sizeof(float));
            assert_memory_equal(one.dvalue, two.dvalue, (size_t)one.pattern->nnz * sizeof(float));
            assert_memory_equal(one.dbias, two.dbias, (size_t)one.c.m * sizeof(float));
            sparse_layer_free(&one);
            sparse_layer_free(&two);
        }
    ot_pool_free(pool);
    check_threads(&large[0]);
}

/* What is held is not copied again, nor does it change a bit; and it is copied once it is not. */
static void test_hold(void **state) {
    (void)state;
    const struct sparse_case many = {
        "many tiles", 160, 19, 1, 1, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.3};
    struct pool *pool = new_pool(2);
    struct sparse_layer one, two;
    sparse_layer_make(&one, &many, ot_kernels_at(0), pool, true, true);
    sparse_layer_make(&two, &many, ot_kernels_at(0), pool, false, true);
    sparse_layer_run(&one);
    ot_sparse_hold(&two.n, two.product, true);
    sparse_layer_run(&two);
    for (int i = 0; i < two.pattern->nnz; i++) two.value[i] *= 2;
    sparse_layer_run(&two);
    assert_memory_equal(one.y, two.y, one.y_size * sizeof(float));
    assert_memory_equal(one.dx, two.dx, one.x_size * sizeof(float));
    ot_sparse_hold(&two.n, two.product, false);
    sparse_layer_run(&two);
    sparse_layer_check(&two);
    sparse_layer_free(&one);
    sparse_layer_free(&two);
    ot_pool_free(pool);
}

/* Blocks of 32 lanes as lines of a stacked image: the same bits of y and dx, and sums of dvalue in
 * another order. */
static void check_stacked(const struct kernels *k, struct pool *pool, int blocks) {
    const struct sparse_case linear = {"linear", 32 * blocks, 19, 1, 1, 70, 1, 1,  1,  1,
                                       1,        1,           0,  0, 0, 0,  1, 32, 0.3};
    struct sparse_layer one, two;
    size_t scratch[2];
    ot_error err;
    sparse_layer_make(&one, &linear, k, pool, true, false);
    sparse_layer_make(&two, &linear, k, pool, false, false);
    struct conv_shape shape = one.shape;
    shape.n = OT_UNIT;
    shape.h = shape.oh = blocks;
    shape.w = shape.ow = 2;
    shape.stacked = true;
    assert_int_equal(ot_sparse_prepare(&two.n, two.pattern, &shape, OT_UNIT,
                                       OT_SPARSE_DATA | OT_SPARSE_WEIGHT, &two.product, &scratch[0],
                                       &scratch[1], &err),
                     OT_OK);
    assert_int_equal(ot_op_open(&two.n, &two.arena, &err), OT_OK);
    guarded_free(two.scratch, two.backward_scratch / sizeof(float), false);
    two.backward_scratch = two.forward_scratch = scratch[scratch[1] > scratch[0]];
    two.scratch = guarded(two.backward_scratch / sizeof(float), false);
    sparse_layer_run(&one);
    sparse_layer_run(&two);
    sparse_layer_check(&two);
    assert_memory_equal(one.y, two.y, one.y_size * sizeof(float));
    assert_memory_equal(one.dx, two.dx, one.x_size * sizeof(float));
    sparse_layer_free(&one);
    sparse_layer_free(&two);
}

static void test_stacked(void **state) {
    (void)state;
    struct pool *pool = new_pool(2);
    for (int i = 0; ot_kernels_at(i); i++)
        for (int blocks = 1; blocks <= 9; blocks++) check_stacked(ot_kernels_at(i), pool, blocks);
    ot_pool_free(pool);
}

/* The number of threads changes no bit, nor does a second run. */
static void test_threads(void **state) {
    (void)state;
    const char *const names[] = {"many chunks",
                                 "batch of 61",
                                 "stride 3, 7x7",
                                 "depthwise",
                                 "linear, 128 lanes, two blocks",
                                 "many panels",
                                 "few samples",
                                 "few samples of many channels"};
    for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
        bool wanted = false;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            wanted |= !strcmp(names[i], cases[j].name);
        if (!wanted) continue;
        struct sparse_case rows = cases[j];
        rows.lanes = 1;
        check_threads(&cases[j]);
        check_threads(&rows);
    }
}

/* More than 2.1 million nonzeros: prepare and run on a stack of 64 KiB. */
static void *run_large(void *arg) {
    struct sparse_layer *l = arg;
    size_t forward, backward;
    ot_error err;
    l->n.pool = new_pool(1);
    if (ot_sparse_prepare(&l->n, l->pattern, &l->shape, l->c.lanes, 3, &l->product, &forward,
                          &backward, &err) ||
        ot_op_open(&l->n, &l->arena, &err))
        return arg;
    sparse_layer_run(l);
    ot_pool_free(l->n.pool);
    return NULL;
}

static void test_small_stack(void **state) {
    (void)state;
    static const struct sparse_case large = {
        "2.3 million nonzeros", 2, 1024, 2, 2, 1280, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.2};
    struct sparse_layer l;
    struct pool *pool = new_pool(1);
    sparse_layer_make(&l, &large, ot_kernels_at(0), pool, true, true);
    assert_true(l.pattern->nnz > 2100000);
    pthread_attr_t attr;
    pthread_t thread;
    void *failed;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 64 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attr, run_large, &l), 0);
    pthread_join(thread, &failed);
    pthread_attr_destroy(&attr);
    assert_null(failed);
    sparse_layer_check(&l);
    sparse_layer_free(&l);
    ot_pool_free(pool);
}

/* What does not fit is refused, with a message that names the node. */
static void test_refused(void **state) {
    (void)state;
    static const struct sparse_case small = {"conv", 2, 2, 4, 4, 2, 3, 3,  1,  1,
                                             1,      1, 1, 1, 1, 1, 1, 16, 0.5};
    struct sparse_layer l;
    struct pool *pool = new_pool(1);
    sparse_layer_make(&l, &small, ot_kernels_at(0), pool, true, true);
    struct {
        int64_t h, c;
        int dilation, stride, lanes;
    } bad[] = {{1 << 30, 2, 1, 1, 16}, {4, 2, 1 << 29, 1, 16}, {4, 2, 1, 0, 16},
               {4, 2, 1, 1, 8},        {4, 3, 1, 1, 16},       {-1, 2, 1, 1, 16},
               {1 << 30, 2, 1, 1, 0},  {4, 2, 1 << 29, 1, 0},  {4, 2, 1, 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conv_shape s = l.shape;
        s.h = bad[i].h;
        s.c = bad[i].c;
        s.dilation_h = bad[i].dilation;
        s.stride_h = bad[i].stride;
        const struct sparse_product *product;
        size_t forward, backward;
        ot_error err = {OT_OK, ""};
        assert_int_not_equal(ot_sparse_prepare(&l.n, l.pattern, &s, bad[i].lanes, 3, &product,
                                               &forward, &backward, &err),
                             OT_OK);
        assert_non_null(strstr(err.message, "'conv'"));
    }
    sparse_layer_free(&l);
    ot_pool_free(pool);
}

/* The n-th allocation fails, for all n: prepare says so and nothing leaks. */
struct failing {
    int left;
};

static void *failing_alloc(void *context, size_t size, size_t align) {
    struct failing *f = context;
    ot_allocator al = ot_allocator_or_default(NULL);
    return f->left-- > 0 ? al.alloc(al.context, size, align) : NULL;
}

static void failing_free(void *context, void *pointer) {
    (void)context;
    ot_allocator al = ot_allocator_or_default(NULL);
    al.free(al.context, pointer);
}

static void check_no_memory(const struct sparse_case *c, int lanes, int least) {
    struct sparse_layer l;
    struct pool *pool = new_pool(2);
    sparse_layer_make(&l, c, ot_kernels_at(0), pool, true, true);
    ot_status status = OT_ERROR_NO_MEMORY;
    int n = 0;
    for (; status && n < 1000; n++) {
        struct failing f = {n};
        ot_allocator al = {failing_alloc, failing_free, &f};
        struct arena arena;
        struct op_node node = l.n;
        const struct sparse_product *product;
        size_t forward, backward;
        ot_arena_init(&arena, &al, 0);
        node.arena = &arena;
        status = ot_sparse_prepare(&node, l.pattern, &l.shape, lanes, 3, &product, &forward,
                                   &backward, NULL);
        assert_true(status == OT_OK || status == OT_ERROR_NO_MEMORY);
        ot_arena_free(&arena);
    }
    assert_int_equal(status, OT_OK);
    assert_true(n > least);
    sparse_layer_free(&l);
    ot_pool_free(pool);
}

static void test_no_memory(void **state) {
    (void)state;
    static const struct sparse_case conv = {"conv", 2, 70, 4, 4, 60, 3, 3,  2,  2,
                                            1,      1, 1,  1, 1, 1,  1, 16, 0.5};
    static const struct sparse_case few = {"few", 2, 70, 1, 1, 60, 1, 1,  1,  1,
                                           1,     1, 0,  0, 0, 0,  1, 16, 0.5};
    check_no_memory(&conv, 16, 5);
    check_no_memory(&conv, 0, 5);
    check_no_memory(&few, 0, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_batches),
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_random),
        cmocka_unit_test(test_widths),  cmocka_unit_test(test_hold),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_joint),
        cmocka_unit_test(test_stacked), cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
