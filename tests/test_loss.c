/* test_loss.c - losses: values against PyTorch's, gradients against differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/pool.h"
#include "runtime/base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void fill(float *x, int n, uint64_t stream) {
    for (int i = 0; i < n; i++) x[i] = ot_random_normal(7, stream, (uint64_t)i);
}

static struct pool *make_pool(int workers) {
    struct pool *pool;
    assert_int_equal(ot_pool_new(NULL, workers, NULL, NULL, &pool, NULL), OT_OK);
    return pool;
}

/* ---- values and gradients ---- */

enum { N = 3, C = 5, T = 4, ALL = N * C * T };

static ot_result run_with(struct pool *pool, struct loss_run *run, float *gradient) {
    ot_result r;
    assert_int_equal(ot_loss_count(run, &run->total, NULL), OT_OK);
    ot_loss_run(run, gradient, pool, ot_kernels_find(NULL), &r);
    assert_int_equal(r.count, run->total);
    return r;
}

static double run_loss(struct loss_run *run, float *gradient) {
    struct pool *pool = make_pool(1);
    const ot_result r = run_with(pool, run, gradient);
    ot_pool_free(pool);
    return r.loss;
}

/* As tests/golden/make_losses.py has them: logits [N, C, T], and [N, T, C]. */
struct golden {
    float x[ALL], last[ALL], soft[ALL], yes[ALL];
    int64_t label[N * T], ignored[N * T];
    int32_t mask[N * T];
};

static void make_golden(struct golden *g) {
    static const int32_t mask[N * T] = {1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0};
    memcpy(g->mask, mask, sizeof mask);
    for (int i = 0; i < ALL; i++) {
        g->x[i] = (float)sin(i + 1);
        g->yes[i] = i % 3 == 0;
    }
    for (int i = 0; i < N * T; i++) {
        g->label[i] = (5 * i % C + i / 3) % C;
        g->ignored[i] = i % 7 ? g->label[i] : -100;
        double sum = 0;
        for (int c = 0; c < C; c++) sum += exp(cos((i / T * C + c) * T + i % T + 1));
        for (int c = 0; c < C; c++) {
            const int at = (i / T * C + c) * T + i % T;
            g->soft[at] = (float)(exp(cos(at + 1)) / sum);
            g->last[i * C + c] = g->x[at];
        }
    }
}

/* Which of the golden arrays a case takes. */
struct golden_case {
    double loss; /* PyTorch's */
    ot_loss_options o;
    int target; /* 0 label, 1 ignored, 2 soft, 3 yes */
    bool last, masked;
};

static const struct golden_case golden_cases[] = {
    {1.813963617767, {.kind = OT_LOSS_CROSS_ENTROPY}, 0, false, false},
    {1.813963617767, {.kind = OT_LOSS_CROSS_ENTROPY}, 0, true, false},
    {1.956946092630, {.kind = OT_LOSS_CROSS_ENTROPY}, 1, false, false},
    {1.956946092630, {.kind = OT_LOSS_CROSS_ENTROPY}, 1, true, false},
    {1.816447690789, {.kind = OT_LOSS_CROSS_ENTROPY, .label_smoothing = 0.1f}, 0, true, false},
    {1.944845049858, {.kind = OT_LOSS_CROSS_ENTROPY, .label_smoothing = 0.1f}, 1, true, false},
    {1.839377756299, {.kind = OT_LOSS_CROSS_ENTROPY, .class_axis = 1}, 2, false, false},
    {1.839320415468,
     {.kind = OT_LOSS_CROSS_ENTROPY, .class_axis = -2, .label_smoothing = 0.1f},
     2,
     false,
     false},
    {0.751794369187, {.kind = OT_LOSS_BCE}, 3, false, false},
    {1.916053940159, {.kind = OT_LOSS_NEXT_TOKEN}, 0, true, false},
    {1.916053940159, {.kind = OT_LOSS_NEXT_TOKEN}, 0, false, false},
    {1.608917201358, {.kind = OT_LOSS_NEXT_TOKEN}, 0, true, true},
};

/* What a case runs on. */
struct setting {
    struct tensor output;
    ot_tensor target, mask;
    struct loss loss;
    struct loss_run run;
};

static void set_case(struct setting *s, const struct golden_case *c, struct golden *g) {
    void *const targets[] = {g->label, g->ignored, g->soft, g->yes};
    s->output = (struct tensor){.type = OT_FLOAT, .rank = 3, .dim = {N, C, T}, .data = g->x};
    if (c->last)
        s->output = (struct tensor){.type = OT_FLOAT, .rank = 3, .dim = {N, T, C}, .data = g->last};
    s->target = (ot_tensor){OT_INT64, 2, {N, T}, targets[c->target]};
    if (c->target >= 2) s->target = (ot_tensor){OT_FLOAT, 3, {N, C, T}, targets[c->target]};
    s->mask = (ot_tensor){OT_INT32, 2, {N, T}, g->mask};
    const struct loss_output output = {.t = &s->output};
    assert_int_equal(ot_loss_make(&c->o, c->o.kind, &output, &s->target, true, &s->loss, NULL),
                     OT_OK);
    s->run = (struct loss_run){&s->loss, &s->output, &s->target, c->masked ? &s->mask : NULL, 0};
}

static void losses_are_pytorchs(void **state) {
    (void)state;
    struct golden g;
    struct setting s;
    make_golden(&g);
    for (size_t i = 0; i < COUNT(golden_cases); i++) {
        set_case(&s, &golden_cases[i], &g);
        assert_float_equal(run_loss(&s.run, NULL), golden_cases[i].loss, 1e-7);
    }
}

/* Of the golden cases, and of the elementwise losses. */
static void gradients_are_differences(void **state) {
    (void)state;
    static const struct golden_case more[] = {
        {0, {.kind = OT_LOSS_MSE}, 2, false, false},
        {0, {.kind = OT_LOSS_L1}, 2, false, false},
        {0, {.kind = OT_LOSS_HUBER, .huber_delta = 0.7f}, 2, false, false}};
    struct golden g;
    struct setting s;
    float slope[ALL];
    make_golden(&g);
    for (size_t k = 0; k < COUNT(golden_cases) + COUNT(more); k++) {
        set_case(&s, k < COUNT(more) ? &more[k] : &golden_cases[k - COUNT(more)], &g);
        float *x = s.output.data;
        run_loss(&s.run, slope);
        for (int i = 0; i < ALL; i++) {
            const float keep = x[i], h = 1e-2f;
            x[i] = keep + h;
            double up = run_loss(&s.run, NULL), width = (double)x[i];
            x[i] = keep - h;
            double down = run_loss(&s.run, NULL);
            width -= (double)x[i];
            x[i] = keep;
            if (s.loss.kind == OT_LOSS_L1 && fabs((double)(keep - g.soft[i])) < (double)h) continue;
            assert_float_equal(slope[i], (up - down) / width, 2e-4);
        }
    }
}

/* One-hot integers are probabilities too. */
static void integers_are_probabilities(void **state) {
    (void)state;
    struct golden g;
    struct setting s;
    float slope[2][ALL];
    uint8_t hot[ALL] = {0};
    make_golden(&g);
    for (int i = 0; i < N * T; i++) hot[(i / T * C + g.label[i]) * T + i % T] = 1;
    set_case(&s, &golden_cases[0], &g);
    const double want = run_loss(&s.run, slope[0]);
    s.target = (ot_tensor){OT_UINT8, 3, {N, C, T}, hot};
    s.loss.soft = true;
    assert_float_equal(run_loss(&s.run, slope[1]), want, 1e-12);
    for (int i = 0; i < ALL; i++) assert_float_equal(slope[0][i], slope[1][i], 1e-8);
}

static void labels_out_of_range_name_their_sample(void **state) {
    (void)state;
    float x[2 * 3] = {0};
    int64_t label[2] = {0, 3};
    struct tensor out = {.type = OT_FLOAT, .rank = 2, .dim = {2, 3}, .data = x};
    const ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {2}, .data = label};
    struct loss loss = {.kind = OT_LOSS_CROSS_ENTROPY, .axis = 1, .ignored = -100};
    struct loss_run run = {&loss, &out, &target, NULL, 0};
    ot_error err;
    assert_int_equal(ot_loss_count(&run, &run.total, &err), OT_ERROR_NUMERIC);
    assert_non_null(strstr(err.message, "sample 1"));
    loss.ignored = label[0] = 3; /* all ignored: loss 0, not 0/0 */
    assert_true(run_loss(&run, NULL) == 0 && run.total == 0);
}

/* Many classes, many positions, and positions in columns: more tasks than one. */
static void threads_change_no_bit(void **state) {
    (void)state;
    enum { SIZE = 2 * 40 * 3000 };
    static const int64_t dims[][3] = {{2, 3000, 40}, {80, 3000, 1}, {6000, 40, 1}, {1, 3, 80000}};
    static float x[SIZE], slope[2][SIZE], t[SIZE];
    static int64_t label[80000];
    struct pool *pool[] = {make_pool(1), make_pool(3)};
    fill(x, SIZE, 1);
    fill(t, SIZE, 2);
    for (int k = 0; k < 8; k++) {
        const int64_t *d = dims[k / 2];
        struct tensor out = {.type = OT_FLOAT, .rank = 3, .dim = {d[0], d[1], d[2]}, .data = x};
        const bool values = k % 2;
        struct loss loss = {.kind = values ? OT_LOSS_HUBER : OT_LOSS_CROSS_ENTROPY,
                            .axis = !values,
                            .delta = 1,
                            .smoothing = 0.1};
        ot_tensor target = {
            values ? OT_FLOAT : OT_INT64, 2, {d[0], d[2]}, values ? (void *)t : label};
        for (int i = 0; i < 80000; i++) label[i] = i * 7 % d[1];
        struct loss_run run = {&loss, &out, &target, NULL, 0};
        const ot_result a = run_with(pool[0], &run, slope[0]),
                        b = run_with(pool[1], &run, slope[1]);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(slope[0], slope[1], sizeof slope[0]);
    }
    for (int k = 0; k < 2; k++) ot_pool_free(pool[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_pytorchs),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(integers_are_probabilities),
        cmocka_unit_test(labels_out_of_range_name_their_sample),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
