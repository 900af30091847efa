/* test_probe.c - gradients at positions that a weight has no slots for: those of the dense weight,
 * in plain loops in double; on every instruction set, with the same bits for any number of threads.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/rng.h"
#include "tests/sparse_case.h"

enum { CHANNEL_LANES = -1 }; /* in place of lanes: 16 channels side by side */

/*   n   c  h  w   m kh kw  strides dilations pads t l b r  groups lanes (1: rows) density */
static const struct sparse_case cases[] = {
    {"linear, a sample", 1, 33, 1, 1, 21, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0.2},
    {"linear, two", 2, 1500, 1, 1, 70, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0.1},
    {"linear, 17 in rows", 17, 40, 1, 1, 150, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0.1},
    {"linear, 17 in 16 lanes", 17, 40, 1, 1, 150, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 16, 0.1},
    {"linear, 64 lanes", 64, 1100, 1, 1, 45, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 64, 0.1},
    {"linear, 200 in 128 lanes", 200, 70, 1, 1, 45, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 128, 0.1},
    {"3x3", 17, 9, 7, 7, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.3},
    {"3x3, several strips", 16, 700, 3, 3, 25, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.1},
    {"groups, stride 2", 18, 12, 9, 9, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 4, 16, 0.3},
    {"groups in rows, strides 2 and 1", 3, 12, 9, 8, 9, 3, 2, 2, 1, 1, 1, 1, 0, 1, 1, 3, 1, 0.3},
    {"groups of several strips", 2, 14, 8, 8, 22, 80, 60, 1, 1, 1, 1, 40, 30, 39, 29, 2, 16, 0.05},
    {"dilation, pads of one side", 16, 4, 15, 15, 5, 3, 3, 1, 1, 2, 3, 2, 3, 0, 0, 1, 16, 0.3},
    {"1x1, 32 lanes", 37, 40, 5, 7, 30, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 32, 0.2},
    {"1x1 stride 2", 2, 9, 15, 15, 7, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 16, 0.3},
    {"a sample in rows", 1, 5, 12, 13, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.3},
    {"depthwise", 16, 24, 9, 9, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 24, 16, 0.6},
    {"empty", 16, 6, 5, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 0.0},
    {"lanes of channels", 3, 32, 6, 5, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, CHANNEL_LANES, 0.2},
};

/* ---- a node ---- */

struct probed {
    struct sparse_layer l;
    struct tensor t[3];
    struct tensor *x[2], *dy[1];
    void *scratch;
    float *dense; /* all gradients that were told */
    int *told;    /* how often each was */
};

static bool shape_of(const struct op_node *n, struct conv_shape *s) {
    *s = *(const struct conv_shape *)n->plan;
    return true;
}

/* [n][channels][pixels] to [n][channels / 16][pixels][16]. */
static void to_channel_lanes(float *f, int64_t n, int64_t channels, int64_t pixels) {
    const int64_t lanes = OT_CHANNEL_LANES, all = n * channels * pixels;
    float *from = malloc((size_t)all * sizeof *from);
    memcpy(from, f, (size_t)all * sizeof *from);
    for (int64_t i = 0; i < all; i++) {
        const int64_t channel = i / pixels;
        f[(channel / lanes * pixels + i % pixels) * lanes + channel % lanes] = from[i];
    }
    free(from);
}

static void set_node(struct probed *p, bool channel_lanes) {
    struct sparse_layer *l = &p->l;
    const int lanes = channel_lanes ? OT_CHANNEL_LANES : l->c.lanes > 1 ? l->c.lanes : 0;
    p->t[0] = (struct tensor){.lanes = lanes, .lane_rank = channel_lanes ? 2 : 1, .data = l->x};
    p->t[1] = (struct tensor){.pattern = l->pattern, .data = l->value};
    p->t[2] = (struct tensor){.data = l->dy};
    p->x[0] = &p->t[0];
    p->x[1] = &p->t[1];
    p->dy[0] = &p->t[2];
    l->op.product = shape_of;
    l->n.plan = &l->shape;
    l->n.n_in = 2;
    l->n.x = p->x;
    l->n.dy = p->dy;
    l->n.form = channel_lanes ? OT_FORM_DENSE : OT_FORM_SPARSE;
}

static void make_probed(struct probed *p, const struct sparse_case *c, const struct kernels *k,
                        struct pool *pool) {
    struct sparse_case rows = *c;
    const bool channel_lanes = c->lanes == CHANNEL_LANES;
    if (channel_lanes) rows.lanes = 1;
    sparse_layer_make(&p->l, &rows, k, pool, true, true);
    set_node(p, channel_lanes);
    const size_t all = (size_t)p->l.pattern->rows * (size_t)p->l.pattern->cols;
    p->dense = calloc(all, sizeof *p->dense);
    p->told = calloc(all, sizeof *p->told);
    p->scratch = NULL;
}

static void prepare_probe(struct probed *p, int slots) {
    ot_error err;
    if (ot_op_prepare_probe(&p->l.n, slots, &err)) fail_msg("%s", err.message);
    assert_true(p->l.n.probe_predicted > 0);
    p->scratch = guarded(p->l.n.probe_scratch_size / sizeof(float), true);
    memset(p->scratch, 0xff, p->l.n.probe_scratch_size);
    p->l.n.scratch = p->scratch;
}

static void free_probed(struct probed *p) {
    guarded_free(p->scratch, p->l.n.probe_scratch_size / sizeof(float), true);
    free(p->dense);
    free(p->told);
    sparse_layer_free(&p->l);
}

static void note(void *to, int worker, int row, int col, const float *gradient, int n) {
    struct probed *p = to;
    assert_in_range(worker, 0, p->l.n.workers - 1);
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)row * (size_t)p->l.pattern->cols + (size_t)(col + i);
        p->dense[at] = gradient[i];
        p->told[at]++;
    }
}

static void run_probe(struct probed *p, const struct probe_sink *sink) {
    const struct sparse_layer *l = &p->l;
    const bool channel_lanes = p->t[0].lane_rank == 2;
    ot_error err;
    if (channel_lanes) to_channel_lanes(l->x, l->c.n, l->c.c, l->shape.h * l->shape.w);
    if (channel_lanes) to_channel_lanes(l->dy, l->c.n, l->c.m, l->shape.oh * l->shape.ow);
    ot_op_probe(&p->l.n, sink);
    assert_int_equal(ot_op_fault(&p->l.n, &err), OT_OK);
}

/* ---- the reference ---- */

static size_t at(const struct sparse_case *c, int64_t channels, int64_t pixels, int64_t i,
                 int64_t place) {
    return (size_t)((i / c->lanes * channels * pixels + place) * c->lanes + i % c->lanes);
}

/* The gradient at one position of the dense weight. */
static double plain_gradient(const struct sparse_layer *l, const float *x, const float *dy, int row,
                             int col) {
    const struct sparse_case *c = &l->c;
    const int64_t area = c->kh * c->kw, oh = l->shape.oh, ow = l->shape.ow;
    const int64_t channel = row / (c->m / c->groups) * (c->c / c->groups) + col / area;
    double sum = 0;
    for (int64_t i = 0; i < c->n; i++)
        for (int64_t o = 0; o < oh * ow; o++) {
            const int64_t y = o / ow * c->stride_h + col % area / c->kw * c->dilation_h - c->top;
            const int64_t z = o % ow * c->stride_w + col % c->kw * c->dilation_w - c->left;
            if (y < 0 || y >= c->h || z < 0 || z >= c->w) continue;
            sum += (double)dy[at(c, c->m, oh * ow, i, row * oh * ow + o)] *
                   (double)x[at(c, c->c, c->h * c->w, i, (channel * c->h + y) * c->w + z)];
        }
    return sum;
}

static float *copy_of(const float *f, size_t n) {
    float *copy = malloc((n + 1) * sizeof *copy);
    memcpy(copy, f, n * sizeof *copy);
    return copy;
}

/* Gradients are sums of about so many products of numbers up to a half. */
static void check_close(const struct sparse_layer *l, double found, double expected, int row,
                        int col) {
    const double size = sqrt((double)l->c.n * (double)(l->shape.oh * l->shape.ow)) / 12;
    if (!(fabs(found - expected) <= 1e-5 * (size + fabs(expected))))
        fail_msg("%s: row %d, column %d: %g, expected %g", l->c.name, row, col, found, expected);
}

/* ---- all positions ---- */

static void check_all(const struct sparse_case *c, const struct kernels *k, struct pool *pool) {
    struct probed p;
    make_probed(&p, c, k, pool);
    prepare_probe(&p, 0);
    float *x = copy_of(p.l.x, p.l.x_size), *dy = copy_of(p.l.dy, p.l.y_size);
    const struct pattern *w = p.l.pattern;
    const int step = (int)(1 + (int64_t)w->rows * w->cols * c->n * p.l.shape.oh / 100000);
    run_probe(&p, &(struct probe_sink){.take = note, .to = &p});
    for (int i = 0; i < w->rows * w->cols; i++) {
        assert_int_equal(p.told[i], 1);
        if (i % step) continue;
        check_close(&p.l, p.dense[i], plain_gradient(&p.l, x, dy, i / w->cols, i % w->cols),
                    i / w->cols, i % w->cols);
    }
    free(x);
    free(dy);
    free_probed(&p);
}

/* ---- given patterns ---- */

static struct pattern *other_pattern(const struct pattern *w, double density, uint64_t seed) {
    const int64_t all = (int64_t)w->rows * w->cols;
    int64_t *position = malloc(((size_t)all + 1) * sizeof *position), n = 0;
    struct pattern *other;
    for (int64_t i = 0; i < all; i++)
        if (ot_random_float(11, seed, (uint64_t)i) < density) position[n++] = i;
    assert_int_equal(ot_pattern_new(NULL, w->rows, w->cols, false, position, n, NULL, &other, NULL),
                     OT_OK);
    free(position);
    return other;
}

/* Two patterns, one after the other; sums go on from what is there. */
static void check_given(const struct sparse_case *c, const struct kernels *k, struct pool *pool) {
    struct probed p;
    make_probed(&p, c, k, pool);
    const struct pattern *w = p.l.pattern;
    struct pattern *pattern[] = {other_pattern(w, 0.2, 1), other_pattern(w, 0.1, 2)};
    const int most = pattern[0]->nnz > pattern[1]->nnz ? pattern[0]->nnz : pattern[1]->nnz;
    float *x = copy_of(p.l.x, p.l.x_size), *dy = copy_of(p.l.dy, p.l.y_size);
    float *sum = malloc(((size_t)most + 1) * sizeof *sum);
    prepare_probe(&p, most + 1);
    for (int i = 0; i < (c->lanes == CHANNEL_LANES ? 1 : 2); i++) {
        const struct pattern *q = pattern[i];
        const int step = (int)(1 + (int64_t)q->nnz * c->n * p.l.shape.oh / 100000);
        for (int s = 0; s < q->nnz; s++) sum[s] = 3;
        run_probe(&p, &(struct probe_sink){.pattern = q, .sum = sum});
        for (int r = 0; r < q->rows; r++)
            for (int s = q->row[r]; s < q->row[r + 1]; s++)
                if (s % step == 0)
                    check_close(&p.l, sum[s], 3 + plain_gradient(&p.l, x, dy, r, q->col[s]), r,
                                q->col[s]);
    }
    free(x);
    free(dy);
    free(sum);
    ot_pattern_unref(pattern[0]);
    ot_pattern_unref(pattern[1]);
    free_probed(&p);
}

static struct pool *new_pool(int threads) {
    struct pool *pool;
    assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
    return pool;
}

static void test_cases(void **state) {
    (void)state;
    struct pool *pool = new_pool(2);
    for (int i = 0; ot_kernels_at(i); i++)
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            check_all(&cases[k], ot_kernels_at(i), pool);
            check_given(&cases[k], ot_kernels_at(i), pool);
        }
    ot_pool_free(pool);
}

/* ---- threads ---- */

static void test_threads(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 4, 7};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        float *first = NULL;
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            struct probed p;
            struct pool *pool = new_pool(threads[i]);
            make_probed(&p, &cases[k], ot_kernels_at(0), pool);
            prepare_probe(&p, 0);
            run_probe(&p, &(struct probe_sink){.take = note, .to = &p});
            const size_t all = (size_t)p.l.pattern->rows * (size_t)p.l.pattern->cols;
            if (first)
                assert_memory_equal(first, p.dense, all * sizeof *first);
            else
                first = copy_of(p.dense, all);
            free_probed(&p);
            ot_pool_free(pool);
        }
        free(first);
    }
}

/* ---- what is refused ---- */

static void test_refused(void **state) {
    (void)state;
    struct probed p;
    struct pool *pool = new_pool(1);
    ot_error err;
    make_probed(&p, &cases[0], ot_kernels_at(0), pool);
    p.l.op.product = NULL;
    assert_int_equal(ot_op_prepare_probe(&p.l.n, 0, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "outside a mask"));
    p.l.op.product = shape_of;
    p.l.shape.depth.in = 3;
    assert_int_equal(ot_op_prepare_probe(&p.l.n, 0, &err), OT_ERROR_UNSUPPORTED);
    p.l.shape.depth.in = 0;
    prepare_probe(&p, 0);
    free_probed(&p);
    ot_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
