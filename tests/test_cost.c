/* test_cost.c - predictions of products against measured ratios, and what plans make of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "ops/product/cost.h"
#include "tests/cost_zen3.h"

/* Dense over sparse time of forward and both gradients, measured with `bench --kernels batch=64` on
 * one core with AVX-512. */
static const struct measured {
    int c, m, size, k, stride;
    double sparsity, ratio;
} measured[] = {
    {64, 64, 56, 3, 1, 0.5, 1.23},    {64, 64, 56, 3, 1, 0.9, 3.5},
    {128, 128, 28, 3, 1, 0.5, 1.26},  {128, 128, 28, 3, 1, 0.9, 4.4},
    {512, 512, 7, 3, 1, 0.8, 2.7},    {256, 64, 56, 1, 1, 0.5, 0.88},
    {64, 256, 56, 1, 1, 0.9, 1.6},    {2048, 512, 7, 1, 1, 0.8, 2.1},
    {1024, 1024, 1, 1, 1, 0.5, 0.78}, {1024, 1024, 1, 1, 1, 0.9, 3.5},
    {768, 3072, 1, 1, 1, 0.5, 0.72},  {768, 3072, 1, 1, 1, 0.95, 5.4},
    {3072, 768, 1, 1, 1, 0.5, 0.67},  {3072, 768, 1, 1, 1, 0.98, 15.2},
};

#define LENGTH(list) (sizeof(list) / sizeof *(list))

static double total(struct cost c) { return c.forward + c.data + c.weight; }

/* A square image of `size` pixels, a kernel of k x k; a linear layer has 1 of both. */
static struct conv_shape layer(int64_t n, int c, int m, int size, int k, int stride) {
    const int out = (size - 1) / stride + 1;
    return (struct conv_shape){.n = n,
                               .c = c,
                               .h = size,
                               .w = size,
                               .m = m,
                               .oh = out,
                               .ow = out,
                               .kh = k,
                               .kw = k,
                               .stride_h = stride,
                               .stride_w = stride,
                               .dilation_h = 1,
                               .dilation_w = 1,
                               .groups = 1};
}

static double predicted(const struct kernels *k, const struct measured *m) {
    const struct conv_shape s = layer(64, m->c, m->m, m->size, m->k, m->stride);
    const double nnz = (1 - m->sparsity) * m->m * m->c * m->k * m->k;
    return total(ot_cost_dense(k, &s)) / total(ot_cost_sparse(k, &s, (int64_t)nnz, 16));
}

/* Within half and double of what was measured, and on its side of 1 where that is clear. */
static void test_measured(void **state) {
    (void)state;
    for (int i = 0; ot_kernels_at(i); i++)
        for (size_t j = 0; j < sizeof measured / sizeof *measured; j++) {
            const double ratio = predicted(ot_kernels_at(i), &measured[j]);
            if (measured[j].ratio > 1.3) assert_true(ratio > 1);
            if (ot_kernels_at(i)->width != OT_UNIT) continue;
            if (measured[j].ratio < 0.8) assert_true(ratio < 1);
            assert_true(ratio > measured[j].ratio / 2 && ratio < measured[j].ratio * 2);
        }
}

/* ---- milliseconds ---- */

/* One thread: forward, data gradient, weight gradient (0: not recorded). */
struct recorded {
    int c, m, size, k, stride, batch;
    double sparsity, ms[3];
};

/* `bench --kernels batch=64` on a Xeon (Sapphire Rapids), and a layer of a step of ResNet-18. */
static const struct recorded xeon[] = {
    {64, 64, 56, 3, 1, 64, 0.9, {16.4, 16.8, 21.6}},
    {64, 64, 56, 3, 1, 64, 0.95, {11.6, 12.2, 16}},
    {128, 128, 28, 3, 1, 64, 0.9, {14.4, 14.3, 17.9}},
    {128, 128, 28, 3, 1, 64, 0.95, {10.1, 9.7, 11.5}},
    {256, 256, 14, 3, 1, 64, 0.9, {13.8, 13.4, 15.5}},
    {256, 256, 14, 3, 1, 64, 0.95, {9.2, 8.8, 10.2}},
    {512, 512, 7, 3, 1, 64, 0.9, {13.7, 13.1, 16.3}},
    {512, 512, 7, 3, 1, 64, 0.95, {8.5, 8.2, 9.7}},
    {64, 128, 56, 3, 2, 64, 0.9, {14.7, 16.5, 15.3}},
    {64, 128, 56, 3, 2, 64, 0.95, {11.1, 13.7, 11.6}},
    {128, 256, 28, 1, 2, 64, 0.9, {1.9, 3.7, 3.5}},
    {128, 256, 28, 1, 2, 64, 0.95, {1.9, 3.8, 2.5}},
    {256, 64, 56, 1, 1, 64, 0.9, {22.5, 13.3, 26.6}},
    {256, 64, 56, 1, 1, 64, 0.95, {21.4, 12.8, 24.4}},
    {64, 256, 56, 1, 1, 64, 0.9, {13.8, 23.1, 28.8}},
    {64, 256, 56, 1, 1, 64, 0.95, {13.1, 21.6, 27.3}},
    {2048, 512, 7, 1, 1, 64, 0.9, {10.7, 11.5, 13.3}},
    {2048, 512, 7, 1, 1, 64, 0.95, {7.6, 7.4, 9.1}},
    {1024, 1024, 1, 1, 1, 64, 0.9, {0.21, 0.221, 0.257}},
    {1024, 1024, 1, 1, 1, 64, 0.95, {0.131, 0.125, 0.135}},
    {768, 3072, 1, 1, 1, 64, 0.9, {0.517, 0.608, 0.704}},
    {768, 3072, 1, 1, 1, 64, 0.95, {0.29, 0.31, 0.293}},
    {3072, 768, 1, 1, 1, 64, 0.9, {0.574, 0.654, 0.767}},
    {3072, 768, 1, 1, 1, 64, 0.95, {0.298, 0.305, 0.341}},
    {512, 512, 7, 3, 1, 16, 0.95, {3.57}},
};

static struct conv_shape shape_of(const struct recorded *r) {
    return layer(r->batch, r->c, r->m, r->size, r->k, r->stride);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Half of the errors are at most 15 %, none is more than 40 %. */
static void check_errors(const char *what, double *error, size_t n) {
    qsort(error, n, sizeof *error, by_value);
    if (error[n / 2] > 0.15 || error[n - 1] > 0.40)
        fail_msg("%s: median error %.3f, worst %.3f", what, error[n / 2], error[n - 1]);
}

static void test_recorded(void **state) {
    (void)state;
    const struct kernels k = {.name = "avx512"};
    double error[3 * LENGTH(xeon)];
    size_t passes = 0;
    for (size_t i = 0; i < LENGTH(xeon); i++) {
        const struct recorded *r = &xeon[i];
        const struct conv_shape s = shape_of(r);
        const double nnz = (1 - r->sparsity) * r->m * r->c * r->k * r->k;
        const struct cost cost = ot_cost_sparse(&k, &s, (int64_t)nnz, 16);
        const double ms[] = {cost.forward, cost.data, cost.weight};
        for (int j = 0; j < 3; j++)
            if (r->ms[j] > 0) error[passes++] = fabs(ms[j] / r->ms[j] - 1);
    }
    check_errors("avx512", error, passes);
}

static double step_error(const struct kernels *k, const struct step_time *t, bool dense, int pass) {
    struct conv_shape s = layer(t->samples, t->c, t->m, t->size, t->k, t->stride);
    s.groups = t->groups;
    const double slots = t->density * t->m * (t->c / t->groups) * t->k * t->k;
    const bool first = t->c == 3 || t->c == 784;
    const struct cost c =
        dense ? ot_cost_dense(k, &s) : ot_cost_sparse(k, &s, (int64_t)(slots + 0.5), 16);
    const double ms = pass ? c.weight + (first ? 0 : c.data) : c.forward;
    return fabs(ms / t->ms[pass] - 1);
}

static void test_steps(void **state) {
    (void)state;
    const struct kernels k = {.name = "avx2"};
    double error[2 * (LENGTH(sparse_steps) > LENGTH(dense_steps) ? LENGTH(sparse_steps)
                                                                 : LENGTH(dense_steps))];
    for (size_t i = 0; i < 2 * LENGTH(sparse_steps); i++)
        error[i] = step_error(&k, &sparse_steps[i / 2], false, i % 2);
    check_errors("sparse steps", error, 2 * LENGTH(sparse_steps));
    for (size_t i = 0; i < 2 * LENGTH(dense_steps); i++)
        error[i] = step_error(&k, &dense_steps[i / 2], true, i % 2);
    check_errors("dense steps", error, 2 * LENGTH(dense_steps));
}

/* A step of linear layers of 40 nonzeros a row over two samples, at the speed of the fastest steps
 * of an EPYC (Zen 3): forward, and both gradients. */
static void test_few(void **state) {
    (void)state;
    static const struct {
        int width;
        double forward, backward;
    } steps[] = {{3000, 0.103, 0.175}, {30000, 1.73, 3.27}, {300000, 34.7, 50.7}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const int width = steps[i].width;
        const struct conv_shape s = layer(2, width, width, 1, 1, 1);
        for (int k = 0; ot_kernels_at(k); k++) {
            const struct cost c = ot_cost_sparse(ot_kernels_at(k), &s, 40 * (int64_t)width, 0);
            assert_true(fabs(c.forward / steps[i].forward - 1) <= 0.40);
            assert_true(fabs((c.data + c.weight) / steps[i].backward - 1) <= 0.40);
        }
    }
}

/* A sparser weight never takes longer, a sample in 16 lanes as long as 16. */
static void test_monotone(void **state) {
    (void)state;
    const struct kernels *k = ot_kernels_at(0);
    struct conv_shape s = {.n = 16,
                           .c = 256,
                           .h = 1,
                           .w = 1,
                           .m = 256,
                           .oh = 1,
                           .ow = 1,
                           .kh = 1,
                           .kw = 1,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
    for (int64_t nnz = 1; nnz < 60000; nnz *= 2)
        assert_true(total(ot_cost_sparse(k, &s, nnz, 16)) <
                    total(ot_cost_sparse(k, &s, 2 * nnz, 16)));
    const double many = total(ot_cost_sparse(k, &s, 6000, 16));
    s.n = 1;
    assert_true(total(ot_cost_sparse(k, &s, 6000, 16)) == many);
    assert_true(total(ot_cost_sparse(k, &s, 6000, 0)) < many);
}

/* No number of samples takes longer than so many that the last lanes are full, or than the layout
 * that was not chosen. */
static void test_few_samples(void **state) {
    (void)state;
    struct conv_shape s = {.c = 64,
                           .h = 14,
                           .w = 14,
                           .m = 64,
                           .oh = 14,
                           .ow = 14,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
    double chosen[65], rows[65], lanes[65];
    for (int i = 0; ot_kernels_at(i); i++) {
        for (int n = 1; n <= 64; n++) {
            s.n = n;
            rows[n] = total(ot_cost_sparse(ot_kernels_at(i), &s, 2000, 0));
            lanes[n] = total(ot_cost_sparse(ot_kernels_at(i), &s, 2000, 16));
            chosen[n] = ot_op_rows_pay(n, 16) ? rows[n] : lanes[n];
        }
        for (int n = 1; n <= 64; n++) {
            assert_true(chosen[n] <= 1.05 * chosen[(n + 15) / 16 * 16]);
            assert_true(chosen[n] <= 1.05 * fmin(rows[n], lanes[n]));
        }
    }
    assert_true(ot_op_rows_pay(1, 16) && ot_op_rows_pay(17, 16));
    assert_true(!ot_op_rows_pay(16, 16) && !ot_op_rows_pay(15, 16) && !ot_op_rows_pay(31, 16));
}

/* ---- choices ---- */

/* A convolution of 16 samples. Of its weight, every `rows`th row and every `channels`th channel
 * have slots, at every `step`th position. */
struct layer {
    int c, m, size, taps, step, rows, channels;
};

static struct pattern *pattern_of(const struct layer *l) {
    const int cols = l->c * l->taps * l->taps;
    int64_t n = 0, *at = malloc((size_t)l->m * (size_t)cols * sizeof *at);
    struct pattern *p;
    assert_non_null(at);
    for (int64_t i = 0; i < (int64_t)l->m * cols; i++) {
        const int64_t row = i / cols, channel = i % cols / (l->taps * l->taps);
        if (row % l->rows == 0 && channel % l->channels == 0 && i % l->step == 0) at[n++] = i;
    }
    assert_int_equal(ot_pattern_new(NULL, l->m, cols, false, at, n, NULL, &p, NULL), OT_OK);
    free(at);
    return p;
}

/* What is chosen where x is in this layout. */
static enum ot_form choice(const struct layer *l, struct lanes x_in) {
    const struct lanes samples = {16, 1}, channels = {OT_CHANNEL_LANES, 2};
    struct arena arena;
    ot_arena_init(&arena, NULL, 0);
    struct attr pads = {.name = "pads",
                        .kind = OT_ATTR_INTS,
                        .n = 4,
                        .ints = (int64_t[]){l->taps / 2, l->taps / 2, l->taps / 2, l->taps / 2}};
    struct node node = {.name = "conv",
                        .op_type = "Conv",
                        .n_in = 2,
                        .n_out = 1,
                        .opset = 13,
                        .attr = &pads,
                        .n_attr = 1};
    struct tensor x = {.type = OT_FLOAT,
                       .rank = 4,
                       .dim = {16, l->c, l->size, l->size},
                       .lanes = x_in.count,
                       .lane_rank = x_in.rank};
    struct tensor w = {.type = OT_FLOAT,
                       .role = OT_ROLE_PARAM,
                       .rank = 4,
                       .dim = {l->m, l->c, l->taps, l->taps},
                       .pattern = pattern_of(l)};
    struct tensor *in[] = {&x, &w};
    struct op_node n = {.op = ot_op_find("Conv"),
                        .node = &node,
                        .n_in = 2,
                        .n_out = 1,
                        .x = in,
                        .want = 3,
                        .kernels = ot_kernels_at(0),
                        .arena = &arena};
    assert_true(ot_op_has_forms(&n));
    ot_op_choose_form(&n, samples, channels);
    for (int f = 0; f < OT_FORMS; f++) assert_true(n.choice[f] >= n.choice[n.form]);
    ot_pattern_unref(w.pattern);
    ot_arena_free(&arena);
    return n.form;
}

static void test_forms(void **state) {
    (void)state;
    const struct lanes samples = {16, 1}, channels = {OT_CHANNEL_LANES, 2};
    const struct layer few[] = {{256, 256, 14, 3, 11, 1, 1}, {256, 256, 14, 3, 11, 2, 2}};
    for (int i = 0; i < 2; i++) { /* sparse kernels, whichever rows and channels have slots */
        assert_int_equal(choice(&few[i], samples), OT_FORM_SPARSE);
        assert_int_equal(choice(&few[i], channels), OT_FORM_SPARSE);
    }
    /* every slot of every other filter; all slots */
    assert_int_equal(choice(&(struct layer){256, 256, 14, 3, 1, 2, 1}, channels), OT_FORM_LIVE);
    assert_int_equal(choice(&(struct layer){128, 128, 28, 3, 1, 2, 1}, channels), OT_FORM_LIVE);
    assert_int_equal(choice(&(struct layer){256, 256, 14, 3, 1, 1, 1}, channels), OT_FORM_DENSE);
    assert_int_equal(choice(&(struct layer){64, 256, 56, 1, 1, 1, 1}, channels), OT_FORM_DENSE);
    /* turning x costs more than the difference */
    assert_int_equal(choice(&(struct layer){64, 64, 56, 1, 5, 1, 1}, samples), OT_FORM_SPARSE);
    assert_int_equal(choice(&(struct layer){64, 64, 56, 1, 5, 1, 1}, channels), OT_FORM_DENSE);
}

/* ---- what is left ---- */

static void test_live(void **state) {
    (void)state;
    struct arena arena;
    struct live live;
    ot_arena_init(&arena, NULL, 0);
    const struct layer l = {48, 64, 8, 1, 1, 4, 2}; /* 16 of 64 rows, 24 of 48 channels */
    const struct conv_shape s = {
        .n = 1, .c = 48, .h = 8, .w = 8, .m = 64, .oh = 8, .ow = 8, .kh = 1, .kw = 1, .groups = 1};
    struct pattern *p = pattern_of(&l);
    assert_true(ot_live_find(&arena, p, &s, 0, &live));
    assert_int_equal(live.part.m, 16);
    assert_int_equal(live.part.c, 24);
    for (int i = 0; i < 16; i++) assert_int_equal(live.row[i], 4 * i);
    for (int i = 0; i < 24; i++) assert_int_equal(live.channel[i], 2 * i);
    assert_true(ot_live_find(&arena, p, &s, 16, &live)); /* in whole lanes */
    assert_int_equal(live.part.m, 16);
    assert_int_equal(live.part.c, 32);
    for (int i = 1; i < 32; i++) assert_true(live.channel[i] > live.channel[i - 1]);
    ot_pattern_unref(p);
    ot_arena_free(&arena);
}

/* Gradients at all positions, over the three passes of the layer: measured with AVX2. */
static void test_probes(void **state) {
    (void)state;
    static const struct {
        int64_t n;
        int c, size, k, lanes;
        double sparsity, ratio;
    } probes[] = {{128, 1000, 1, 1, 128, 0.9, 2.25},
                  {128, 1000, 1, 1, 128, 0.95, 3.5},
                  {16, 128, 28, 3, 16, 0.9, 2.6},
                  {16, 128, 28, 3, 16, 0.95, 3.9}};
    const struct kernels *k = ot_kernels_find("avx2");
    for (size_t i = 0; k && i < sizeof probes / sizeof *probes; i++) {
        const struct conv_shape s =
            layer(probes[i].n, probes[i].c, probes[i].c, probes[i].size, probes[i].k, 1);
        const double all = (double)s.m * (double)s.c * s.kh * s.kw, slots = 0.1 * all;
        const double nnz = (1 - probes[i].sparsity) * all;
        const double step = total(ot_cost_sparse(k, &s, (int64_t)nnz, probes[i].lanes));
        const double ratio = ot_cost_probe(k, &s, 0, probes[i].lanes) / step;
        if (ratio < 0.5 * probes[i].ratio || ratio > 2 * probes[i].ratio)
            fail_msg("probe %zu: %g steps, measured %g", i, ratio, probes[i].ratio);
        assert_true(ot_cost_probe(k, &s, (int64_t)slots, probes[i].lanes) < ratio * step);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured), cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_monotone), cmocka_unit_test(test_few_samples),
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_live),
        cmocka_unit_test(test_few),      cmocka_unit_test(test_steps),
        cmocka_unit_test(test_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
