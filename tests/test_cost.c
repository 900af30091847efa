/* test_cost.c - predictions of products against measured ratios, and what plans make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ops/cost.h"
#include "ops/kernels/kernels.h"

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

static double total(struct cost c) { return c.forward + c.data + c.weight; }

static double predicted(const struct kernels *k, const struct measured *m) {
    const int out = (m->size - 1) / m->stride + 1;
    const struct conv_shape s = {.n = 64, .c = m->c, .h = m->size, .w = m->size, .m = m->m,
                                 .oh = out, .ow = out, .kh = m->k, .kw = m->k,
                                 .stride_h = m->stride, .stride_w = m->stride, .dilation_h = 1,
                                 .dilation_w = 1, .groups = 1};
    const double nnz = (1 - m->sparsity) * m->m * m->c * m->k * m->k;
    return total(ot_cost_dense(k, &s, false)) / total(ot_cost_sparse(k, &s, (int64_t)nnz, 16));
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

/* A sparser weight never takes longer, a sample in 16 lanes as long as 16. */
static void test_monotone(void **state) {
    (void)state;
    const struct kernels *k = ot_kernels_at(0);
    struct conv_shape s = {.n = 16, .c = 256, .h = 1, .w = 1, .m = 256, .oh = 1, .ow = 1, .kh = 1,
                           .kw = 1, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1,
                           .groups = 1};
    for (int64_t nnz = 1; nnz < 60000; nnz *= 2)
        assert_true(total(ot_cost_sparse(k, &s, nnz, 16)) <
                    total(ot_cost_sparse(k, &s, 2 * nnz, 16)));
    const double many = total(ot_cost_sparse(k, &s, 6000, 16));
    s.n = 1;
    assert_true(total(ot_cost_sparse(k, &s, 6000, 16)) == many);
    assert_true(total(ot_cost_sparse(k, &s, 6000, 0)) < many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_monotone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
