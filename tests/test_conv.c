/* test_conv.c - Conv against plain loops in double, dense and sparse; the same bits with 1 to 4
 * threads; attributes and shapes that prepare must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "runtime/base/pattern.h"
#include "tests/node_bench.h"

struct conv_case {
    int rank; /* spatial dimensions */
    int64_t n, c, in[2], m, kernel[2], stride[2], dilation[2], pads[4], group;
    bool bias;
};

static const struct conv_case conv_cases[] = {
    {2, 1, 1, {5, 5}, 1, {3, 3}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, false},
    {2, 3, 3, {8, 9}, 20, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, true},
    {2, 8, 16, {7, 7}, 32, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 1, true},
    {2, 17, 5, {6, 11}, 7, {2, 5}, {1, 2}, {1, 1}, {0, 2, 1, 0}, 1, true},
    {2, 9, 24, {9, 9}, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 24, true},
    {2, 10, 12, {9, 8}, 18, {3, 3}, {2, 1}, {2, 2}, {2, 1, 2, 3}, 3, true},
    {2, 33, 32, {4, 4}, 48, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, false},
    {2, 4, 8, {13, 13}, 6, {1, 1}, {3, 3}, {1, 1}, {0, 0, 0, 0}, 2, true},
    {1, 5, 6, {31, 1}, 10, {4, 1}, {3, 1}, {2, 1}, {5, 1, 0, 0}, 2, true},
    {1, 18, 7, {12, 1}, 9, {3, 1}, {1, 1}, {1, 1}, {1, 1, 0, 0}, 1, false},
    /* few samples, cut along channels: all slices alike, and not */
    {2, 1, 64, {13, 13}, 96, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 1, true},
    {2, 1, 80, {8, 9}, 80, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, true},
    {2, 3, 80, {9, 9}, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1, 0, 0}, 1, true},
    {2, 1, 32, {40, 40}, 48, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, true},
    {1, 2, 64, {200, 1}, 80, {3, 1}, {1, 1}, {2, 1}, {2, 2, 0, 0}, 1, false},
};

static int64_t conv_out(const struct conv_case *k, int i) {
    int64_t padded = k->in[i] + k->pads[i] + k->pads[k->rank + i];
    return (padded - k->dilation[i] * (k->kernel[i] - 1) - 1) / k->stride[i] + 1;
}

struct conv_reference {
    double *y, *dx, *dw, *db;
};

/* What one output element adds to y, and to the gradients. */
static void conv_element(const struct conv_case *k, const int64_t out[2], const int64_t at[4],
                         const float *x, const float *w, const float *dy,
                         struct conv_reference *r) {
    int64_t cg = k->c / k->group, h = k->in[0], width = k->rank == 2 ? k->in[1] : 1;
    int64_t kw = k->rank == 2 ? k->kernel[1] : 1, taps = k->kernel[0] * kw;
    int64_t iy = ((at[0] * k->m + at[1]) * out[0] + at[2]) * out[1] + at[3];
    for (int64_t j = 0; j < cg * taps; j++) {
        int64_t c = at[1] / (k->m / k->group) * cg + j / taps;
        int64_t row = at[2] * k->stride[0] + j % taps / kw * k->dilation[0] - k->pads[0];
        int64_t col = at[3] * k->stride[1] + j % kw * k->dilation[1] - k->pads[1];
        if (k->rank == 1) col = 0;
        if (row < 0 || row >= h || col < 0 || col >= width) continue;
        int64_t ix = ((at[0] * k->c + c) * h + row) * width + col, iw = at[1] * cg * taps + j;
        r->y[iy] += (double)x[ix] * w[iw];
        r->dx[ix] += (double)dy[iy] * w[iw];
        r->dw[iw] += (double)dy[iy] * x[ix];
    }
}

static void conv_reference(struct bench *b, const struct conv_case *k, const struct tensor *x,
                           const struct tensor *w, const struct tensor *bias,
                           const struct tensor *dy, struct conv_reference *r) {
    const int64_t out[2] = {conv_out(k, 0), k->rank == 2 ? conv_out(k, 1) : 1};
    r->y = take(b, (size_t)ot_elements(dy), sizeof(double));
    r->dx = take(b, (size_t)ot_elements(x), sizeof(double));
    r->dw = take(b, (size_t)ot_elements(w), sizeof(double));
    r->db = take(b, (size_t)k->m, sizeof(double));
    for (int64_t i = 0; i < ot_elements(dy); i++) {
        const int64_t at[4] = {i / (k->m * out[0] * out[1]), i / (out[0] * out[1]) % k->m,
                               i / out[1] % out[0], i % out[1]};
        if (bias) r->y[i] = ot_f(bias)[at[1]];
        r->db[at[1]] += ot_f(dy)[i];
        conv_element(k, out, at, x->data, w->data, dy->data, r);
    }
}

/* The tensors of a case; w and its dense form are the same where it is dense. */
struct conv_run {
    struct tensor *x, *w, *dense, *bias, *dy;
    struct op_node *node;
    const float *y, *dx, *dw, *db; /* in rows; dw as w stores it */
};

static void run_conv(struct bench *b, const struct conv_case *k, float density,
                     struct conv_run *r) {
    const int64_t xd[] = {k->n, k->c, k->in[0], k->in[1]};
    const int64_t wd[] = {k->m, k->c / k->group, k->kernel[0], k->kernel[1]};
    const int64_t yd[] = {k->n, k->m, conv_out(k, 0), k->rank == 2 ? conv_out(k, 1) : 1};
    const struct attr attr[] = {
        ints_attr("strides", k->stride, k->rank), ints_attr("dilations", k->dilation, k->rank),
        ints_attr("pads", k->pads, 2 * k->rank), int_attr("group", k->group)};
    r->x = random_tensor(b, 1, k->rank + 2, xd);
    r->w = r->dense = random_tensor(b, 2, k->rank + 2, wd);
    r->bias = k->bias ? random_tensor(b, 3, 1, &k->m) : NULL;
    r->dy = random_tensor(b, 4, k->rank + 2, yd);
    struct tensor *x = r->x, *dy = r->dy;
    if (density < 1) {
        r->w = sparsified(b, r->dense, false, density);
        r->dense = densified(b, r->w);
        x = reordered(b, x, LANES, 1);
        dy = reordered(b, dy, LANES, 1);
    }
    r->node = new_node(b, "Conv", attr, 4, 3, (struct tensor *[]){x, r->w, r->bias});
    if (density < 1) {
        assert_true(r->node->op->lanes(r->node, 1));
        r->node->y[0]->lanes = LANES;
        r->node->y[0]->lane_rank = 1;
    }
    run_forward(b, r->node);
    assert_true(ot_same_shape(r->node->y[0], r->dy));
    run_backward(b, r->node, dy);
    r->y = ot_f(density < 1 ? reordered(b, r->node->y[0], 0, 0) : r->node->y[0]);
    r->dx = ot_f(density < 1 ? reordered(b, r->node->dx[0], 0, 0) : r->node->dx[0]);
    r->dw = ot_f(r->node->dx[1]);
    r->db = r->bias ? ot_f(r->node->dx[2]) : NULL;
}

static void check_conv(const struct conv_case *k, float density) {
    struct bench b;
    struct conv_run r;
    struct conv_reference e;
    open_bench(&b, 2);
    run_conv(&b, k, density, &r);
    conv_reference(&b, k, r.x, r.dense, r.bias, r.dy, &e);
    assert_close(r.y, e.y, ot_elements(r.dy));
    assert_close(r.dx, e.dx, ot_elements(r.x));
    assert_close(r.dw, at_slots(&b, r.w->pattern, e.dw), ot_count(r.w));
    if (k->bias) assert_close(r.db, e.db, k->m);
    ot_pattern_unref(r.w->pattern);
    close_bench(&b);
}

static void test_conv_dense(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        check_conv(&conv_cases[i], 1);
}

static void test_conv_sparse(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        check_conv(&conv_cases[i], 0.4f);
}

/* Only part of the gradients is wanted: each is what it is when all are. */
static void test_conv_partial_gradients(void **state) {
    (void)state;
    const struct conv_case *k = &conv_cases[2];
    for (uint32_t want = 1; want < 7; want++) {
        struct bench b;
        struct conv_run all;
        open_bench(&b, 1);
        run_conv(&b, k, 1, &all);
        struct op_node *n = new_node(&b, "Conv", all.node->node->attr, 4, 3, all.node->x);
        n->want = want;
        run_forward(&b, n);
        run_backward(&b, n, all.dy);
        for (int i = 0; i < 3; i++)
            if ((want >> i) & 1)
                assert_memory_equal(n->dx[i]->data, all.node->dx[i]->data, ot_bytes(n->dx[i]));
        close_bench(&b);
    }
}

static void same_bits(const struct conv_case *k, float density) {
    struct bench one, b;
    struct conv_run first, r;
    open_bench(&one, 1);
    run_conv(&one, k, density, &first);
    for (int threads = 2; threads <= 4; threads++) {
        open_bench(&b, threads);
        run_conv(&b, k, density, &r);
        assert_memory_equal(r.y, first.y, ot_bytes(r.dy));
        assert_memory_equal(r.dx, first.dx, ot_bytes(r.x));
        assert_memory_equal(r.dw, first.dw, ot_bytes(r.w));
        if (k->bias) assert_memory_equal(r.db, first.db, (size_t)k->m * sizeof(float));
        ot_pattern_unref(r.w->pattern);
        close_bench(&b);
    }
    ot_pattern_unref(first.w->pattern);
    close_bench(&one);
}

static void test_conv_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
        same_bits(&conv_cases[i], 1);
        same_bits(&conv_cases[i], 0.3f);
    }
    const struct conv_case large = {2,      32,     64,           {28, 28}, 64,  {3, 3},
                                    {1, 1}, {1, 1}, {1, 1, 1, 1}, 1,        true};
    same_bits(&large, 1);
}

/* Runs all tasks, and remembers the most of a call. */
static void count_tasks(void *context, int tasks, ot_task_fn *task, void *arg) {
    int *most = context;
    if (tasks > *most) *most = tasks;
    for (int i = 0; i < tasks; i++) task(arg, i, i % 4);
}

/* One sample is work for several threads: forward, and each gradient by itself. */
static void check_one_sample(int64_t channels) {
    const int64_t xd[] = {1, channels, 56, 56}, wd[] = {channels, channels, 1, 1};
    for (uint32_t want = 1; want < 4; want++) {
        struct bench b;
        int most = 0;
        open_bench(&b, 1);
        ot_pool_free(b.pool);
        assert_int_equal(ot_pool_new(NULL, 4, count_tasks, &most, &b.pool, &b.err), OT_OK);
        struct tensor *x = random_tensor(&b, 1, 4, xd), *w = random_tensor(&b, 2, 4, wd);
        struct op_node *n = new_node(&b, "Conv", NULL, 0, 2, (struct tensor *[]){x, w});
        n->want = want;
        run_forward(&b, n);
        assert_true(most >= 2);
        most = 0;
        run_backward(&b, n, random_tensor(&b, 3, 4, xd));
        assert_true(most >= (want == 3 ? 4 : 2));
        close_bench(&b);
    }
}

static void test_conv_one_sample(void **state) {
    (void)state;
    check_one_sample(64);
    check_one_sample(32);
}

static void test_conv_auto_pad(void **state) {
    (void)state;
    static const struct {
        const char *mode;
        int64_t in, kernel, stride, out;
        double first; /* y[0] of ones * ones: taps that are not padding */
    } cases[] = {{"VALID", 7, 3, 2, 3, 3},      {"SAME_UPPER", 7, 3, 2, 4, 2},
                 {"SAME_UPPER", 8, 3, 2, 4, 3}, {"SAME_LOWER", 8, 3, 2, 4, 2},
                 {"SAME_LOWER", 5, 1, 3, 2, 1}, {"NOTSET", 8, 3, 1, 6, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        open_bench(&b, 1);
        struct tensor *x = random_tensor(&b, 1, 3, (int64_t[]){1, 1, cases[i].in});
        struct tensor *w = random_tensor(&b, 2, 3, (int64_t[]){1, 1, cases[i].kernel});
        for (int64_t k = 0; k < cases[i].in; k++) ot_f(x)[k] = 1;
        for (int64_t k = 0; k < cases[i].kernel; k++) ot_f(w)[k] = 1;
        const struct attr attr[] = {text_attr("auto_pad", cases[i].mode),
                                    ints_attr("strides", &cases[i].stride, 1)};
        struct op_node *n = new_node(&b, "Conv", attr, 2, 2, (struct tensor *[]){x, w});
        run_forward(&b, n);
        assert_int_equal(n->y[0]->dim[2], cases[i].out);
        assert_true(ot_f(n->y[0])[0] == (float)cases[i].first);
        ot_op_close(n);
        n->op->release(n);
        close_bench(&b);
    }
}

#define LIST(...)                                                                                  \
    ((const int64_t[]){__VA_ARGS__}),                                                              \
        (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static ot_status conv_refusal(struct bench *b, const struct attr *attr, int n_attr,
                              const int64_t *xd, int xr, const int64_t *wd, int wr) {
    struct op_node *n = new_node(b, "Conv", attr, n_attr, 2,
                                 (struct tensor *[]){new_tensor(b, xr, xd), new_tensor(b, wr, wd)});
    ot_status status = n->op->prepare(n, &b->err);
    n->op->release(n);
    return status;
}

static void test_conv_hostile(void **state) {
    (void)state;
    static const int64_t pads[] = {0, 0, 1, 0};
    const struct {
        struct attr attr;
        const char *name; /* that the message must hold */
    } cases[] = {
        {{"group", OT_ATTR_INT, .i = 0}, "'group' is 0"},
        {{"group", OT_ATTR_INT, .i = -1}, "'group' is -1"},
        {{"group", OT_ATTR_INT, .i = (int64_t)1 << 31}, "'group'"},
        {{"group", OT_ATTR_INT, .i = 3}, "'group' is 3"},
        {{"group", OT_ATTR_INT, .i = 2}, "'group' 2"},
        {{"strides", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){0, 1}},
         "'strides' contains 0"},
        {{"strides", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){1, -1}}, "'strides'"},
        {{"strides", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){(int64_t)1 << 62, 1}},
         "'strides'"},
        {{"strides", OT_ATTR_INTS, .n = 1, .ints = (const int64_t[]){1}}, "'strides' has 1"},
        {{"strides", OT_ATTR_INTS, .n = 0}, "'strides' has 0"},
        {{"dilations", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){0, 1}}, "'dilations'"},
        {{"dilations", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){1 << 30, 1 << 30}},
         "'dilations'"},
        {{"dilations", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){9, 1}}, "padded input"},
        {{"pads", OT_ATTR_INTS, .n = 4, .ints = (const int64_t[]){0, -1, 0, 0}}, "'pads'"},
        {{"pads", OT_ATTR_INTS, .n = 3, .ints = pads}, "'pads' has 3"},
        {{"pads", OT_ATTR_INTS, .n = 4, .ints = (const int64_t[]){1 << 30, 0, 1 << 30, 0}},
         "'pads'"},
        {{"pads", OT_ATTR_INTS, .n = 4, .ints = (const int64_t[]){INT64_MAX, 0, INT64_MAX, 0}},
         "'pads'"},
        {{"kernel_shape", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){3, 2}}, "'kernel_shape'"},
        {{"kernel_shape", OT_ATTR_INTS, .n = 2, .ints = (const int64_t[]){0, 3}}, "'kernel_shape'"},
        {{"auto_pad", OT_ATTR_STRING, .n = 11, .s = "SAME_UPPERX"}, "'auto_pad'"},
        {{"auto_pad", OT_ATTR_STRING, .n = 0, .s = ""}, "'auto_pad'"},
        {{"auto_pad", OT_ATTR_STRING, .n = 6, .s = "VALID"}, "'auto_pad'"},
    };
    static const int64_t x[] = {2, 4, 8, 8}, w[] = {6, 4, 3, 3};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        open_bench(&b, 1);
        assert_int_equal(conv_refusal(&b, &cases[i].attr, 1, x, 4, w, 4), OT_ERROR_INVALID);
        if (!strstr(b.err.message, cases[i].name)) print_error("%s\n", b.err.message);
        assert_non_null(strstr(b.err.message, cases[i].name));
        close_bench(&b);
    }
}

static void test_conv_hostile_shapes(void **state) {
    (void)state;
    static const struct {
        int64_t x[6], w[6];
        int xr, wr;
        ot_status status;
    } cases[] = {
        {{2, 4, 8, 8}, {6, 4, 3, 3, 3}, 4, 5, OT_ERROR_INVALID},
        {{2, 4, 8, 8}, {6, 4, 3}, 4, 3, OT_ERROR_INVALID},
        {{2, 4, 8, 8}, {6, 4, 0, 3}, 4, 4, OT_ERROR_INVALID},
        {{2, 4, 8, 8}, {6, 4, 9, 3}, 4, 4, OT_ERROR_INVALID},
        {{2, 4, 8, 8}, {6, 5, 3, 3}, 4, 4, OT_ERROR_INVALID},
        {{2, 4, 8, 8}, {0, 4, 3, 3}, 4, 4, OT_ERROR_INVALID},
        {{0, 4, 8, 8}, {6, 4, 3, 3}, 4, 4, OT_ERROR_INVALID},
        {{2, 4, 0, 8}, {6, 4, 3, 3}, 4, 4, OT_ERROR_INVALID},
        {{2, 4}, {6, 4}, 2, 2, OT_ERROR_INVALID},
        {{2, 4, 8, 8, 8, 8}, {6, 4, 3, 3, 3, 3}, 6, 6, OT_ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench b;
        open_bench(&b, 1);
        assert_int_equal(
            conv_refusal(&b, NULL, 0, cases[i].x, cases[i].xr, cases[i].w, cases[i].wr),
            cases[i].status);
        close_bench(&b);
    }
    struct bench b;
    open_bench(&b, 1);
    static const int64_t pads[] = {1, 1, 1, 1};
    const struct attr both[] = {text_attr("auto_pad", "VALID"), ints_attr("pads", pads, 4)};
    assert_int_equal(conv_refusal(&b, both, 2, LIST(2, 4, 8, 8), LIST(6, 4, 3, 3)),
                     OT_ERROR_INVALID);
    assert_non_null(strstr(b.err.message, "'pads'"));
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv_dense),      cmocka_unit_test(test_conv_sparse),
        cmocka_unit_test(test_conv_threads),    cmocka_unit_test(test_conv_partial_gradients),
        cmocka_unit_test(test_conv_one_sample), cmocka_unit_test(test_conv_auto_pad),
        cmocka_unit_test(test_conv_hostile),    cmocka_unit_test(test_conv_hostile_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
