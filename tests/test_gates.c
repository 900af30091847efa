/* test_gates.c - kernels of recurrent cells of every instruction set: each activation function
 * against libm, its slope against differences, and cells of all lengths against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/rng.h"
#include "tests/sparse_case.h"

static double limited(double x, double clip) { return fmax(-clip, fmin(clip, x)); }

static double value_of(const struct gate_function *f, double x) {
    const double a = (double)f->alpha, b = (double)f->beta;
    x = limited(x, (double)f->clip);
    switch (f->kind) {
    case OT_GATE_SIGMOID: return 1 / (1 + exp(-x));
    case OT_GATE_TANH: return tanh(x);
    case OT_GATE_RELU: return fmax(0, x);
    case OT_GATE_AFFINE: return a * x + b;
    case OT_GATE_LEAKY_RELU: return x > 0 ? x : a * x;
    case OT_GATE_THRESHOLDED_RELU: return x > a ? x : 0;
    case OT_GATE_SCALED_TANH: return a * tanh(b * x);
    case OT_GATE_HARD_SIGMOID: return fmax(0, fmin(1, a * x + b));
    case OT_GATE_ELU: return x > 0 ? x : a * expm1(x);
    case OT_GATE_SOFTSIGN: return x / (1 + fabs(x));
    default: return fmax(0, x) + log1p(exp(-fabs(x)));
    }
}

static struct gate_function function_of(const struct kernels *k, enum gate_kind kind, float clip) {
    struct gate_function f = {
        .kind = kind, .alpha = 0.75f, .beta = 0.4f, .clip = clip, .low = -clip, .high = clip};
    k->gate_apply(&f, &f.low, 1);
    k->gate_apply(&f, &f.high, 1);
    return f;
}

static float noise(uint64_t stream, uint64_t i) { return 6 * ot_random_float(9, stream, i) - 3; }

static float *some(size_t n, bool back, uint64_t stream) {
    float *x = guarded(n, back);
    for (size_t i = 0; i < n; i++) x[i] = noise(stream, i);
    return x;
}

static void close_to(double want, float got) { assert_true(fabs(want - (double)got) < 3e-6); }

/* Away from where the function bends. */
static double slope_of(const struct gate_function *f, double x) {
    return (value_of(f, x + 1e-6) - value_of(f, x - 1e-6)) / 2e-6;
}

static void check_function(const struct kernels *k, const struct gate_function *f, size_t n) {
    float *gate = some(n, n & 1, 1), *rec = some(n, n & 1, 2), *dh = some(n, n & 1, 3);
    float *dy = some(n, n & 1, 4), *h = some(n, n & 1, 5), *d = some(n, n & 1, 6), x[64];
    const struct rnn_cells a = {*f, gate, rec, h, dh, dy, d};
    for (size_t i = 0; i < n; i++) x[i] = gate[i] + rec[i];
    k->rnn_forward(&a, n);
    k->rnn_back(&a, n);
    for (size_t i = 0; i < n; i++) {
        close_to(value_of(f, (double)x[i]), h[i]);
        assert_true(h[i] == gate[i]);
        const double slope = slope_of(f, (double)x[i]);
        close_to(slope * ((double)dh[i] + (double)dy[i]), d[i]);
    }
    k->gate_apply(f, x, n);
    assert_memory_equal(x, h, n * sizeof *x);
    float *const all[] = {gate, rec, dh, dy, h, d};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i], n, n & 1);
}

static void test_every_function(void **state) {
    (void)state;
    for (int t = 0; ot_kernels_at(t); t++)
        for (int kind = 0; kind < OT_GATE_KINDS; kind++)
            for (int clip = 0; clip < 2; clip++) {
                const struct gate_function f =
                    function_of(ot_kernels_at(t), (enum gate_kind)kind, clip ? 1.1f : INFINITY);
                for (size_t n = 1; n <= 35; n++) check_function(ot_kernels_at(t), &f, n);
            }
}

/* ---- LSTM ---- */

enum { N_MOST = 37 };

/* Everything of some cells; c and h are what the forward pass gives. */
struct lstm_case {
    float *gate, *rec, *dgate, *peephole, *before, *c, *h, *dh, *dy, *dc;
};

static void lstm_make(struct lstm_case *p, size_t n, bool back) {
    float **const all[] = {&p->before, &p->c, &p->h, &p->dh, &p->dy, &p->dc};
    p->gate = some(4 * n, back, 1);
    p->rec = some(4 * n, back, 2);
    p->dgate = some(4 * n, back, 3);
    p->peephole = some(3 * n, back, 4);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = some(n, back, 5 + i);
}

static void lstm_free(struct lstm_case *p, size_t n, bool back) {
    float *const all[] = {p->before, p->c, p->h, p->dh, p->dy, p->dc};
    guarded_free(p->gate, 4 * n, back);
    guarded_free(p->rec, 4 * n, back);
    guarded_free(p->dgate, 4 * n, back);
    guarded_free(p->peephole, 3 * n, back);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_free(all[i], n, back);
}

/* One cell in double, of the sums that reach its gates and what it saw of c: dh h + dc c. */
static double lstm_goal(const struct lstm_cells *a, const double *x, double before, const double *p,
                        double dh, double dc) {
    const double i = value_of(&a->f[0], x[0] + p[0] * before);
    const double f = a->coupled ? 1 - i : value_of(&a->f[0], x[2] + p[2] * before);
    const double c = f * before + i * value_of(&a->f[1], x[3]);
    const double o = value_of(&a->f[0], x[1] + p[1] * c);
    return dh * o * value_of(&a->f[2], c) + dc * c;
}

/* Cell i: the gradients of its gates and of c_before, by differences. */
static void check_gradients(const struct lstm_cells *a, const struct lstm_case *p,
                            const struct lstm_case *was, size_t n, size_t i) {
    const double step = 1e-6, before = (double)p->before[i];
    const double dh = (double)p->dh[i] + (a->dy ? (double)p->dy[i] : 0), dc = (double)was->dc[i];
    double x[4], w[3] = {0, 0, 0};
    for (size_t g = 0; g < 4; g++)
        x[g] = (double)was->gate[g * n + i] + (double)was->rec[g * n + i];
    for (size_t k = 0; k < 3 && a->peephole[0]; k++)
        w[k] = (double)a->peephole[k][a->peephole_step ? i : 0];
    for (size_t g = 0; g < 4; g++) {
        const double at = x[g];
        x[g] = at + step;
        const double up = lstm_goal(a, x, before, w, dh, dc);
        x[g] = at - step;
        const double slope = (up - lstm_goal(a, x, before, w, dh, dc)) / (2 * step);
        x[g] = at;
        assert_true(fabs(slope - (double)p->dgate[g * n + i]) < 2e-5);
    }
    const double up = lstm_goal(a, x, before + step, w, dh, dc);
    const double slope = (up - lstm_goal(a, x, before - step, w, dh, dc)) / (2 * step);
    assert_true(fabs(slope - (double)p->dc[i]) < 2e-5);
    assert_true(fabs(lstm_goal(a, x, before, w, 1, 0) - (double)p->h[i]) < 3e-6);
    assert_true(fabs(lstm_goal(a, x, before, w, 0, 1) - (double)p->c[i]) < 3e-6);
}

/* Bits of form: coupled, peepholes, one for all cells, dy. */
static void check_lstm(const struct kernels *k, size_t n, int form) {
    struct lstm_case p, was;
    const bool back = n & 1;
    lstm_make(&p, n, back);
    lstm_make(&was, n, back);
    struct lstm_cells a = {.coupled = form & 1,
                           .pitch = n,
                           .gate = p.gate,
                           .rec = p.rec,
                           .peephole_step = form & 4 ? 0 : 1,
                           .c_before = p.before,
                           .c = p.c,
                           .h = p.h,
                           .dh = p.dh,
                           .dy = form & 8 ? p.dy : NULL,
                           .dc = p.dc,
                           .dgate = p.dgate};
    a.f[0] = function_of(k, OT_GATE_SIGMOID, INFINITY);
    a.f[1] = function_of(k, OT_GATE_TANH, INFINITY);
    a.f[2] = function_of(k, OT_GATE_SOFTSIGN, INFINITY);
    for (size_t j = 0; j < 3 && form & 2; j++) a.peephole[j] = p.peephole + j * n;
    k->lstm_forward(&a, n);
    k->lstm_back(&a, n);
    for (size_t i = 0; i < n; i++) check_gradients(&a, &p, &was, n, i);
    lstm_free(&p, n, back);
    lstm_free(&was, n, back);
}

static void test_lstm(void **state) {
    (void)state;
    for (int t = 0; ot_kernels_at(t); t++)
        for (size_t n = 1; n <= N_MOST; n++)
            for (int form = 0; form < 16; form++) check_lstm(ot_kernels_at(t), n, form);
}

/* ---- sums ---- */

static void check_sums(const struct kernels *k, size_t n, bool product) {
    enum { COUNT = 3 };
    float *x = some(COUNT * n, n & 1, 1), *z = some(COUNT * n, n & 1, 2);
    double sum[COUNT] = {1, 2, 3}, want[COUNT] = {1, 2, 3};
    for (size_t i = 0; i < COUNT * n; i++)
        want[i / n] += (double)x[i] * (product ? (double)z[i] : 1);
    k->row_sums(x, product ? z : NULL, COUNT, n, sum);
    for (int i = 0; i < COUNT; i++) assert_true(fabs(sum[i] - want[i]) < 2e-5);
    guarded_free(x, COUNT * n, n & 1);
    guarded_free(z, COUNT * n, n & 1);
}

static void test_row_sums(void **state) {
    (void)state;
    for (int t = 0; ot_kernels_at(t); t++)
        for (size_t n = 1; n <= N_MOST; n++)
            for (int product = 0; product < 2; product++) check_sums(ot_kernels_at(t), n, product);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_function),
                                       cmocka_unit_test(test_lstm),
                                       cmocka_unit_test(test_row_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
