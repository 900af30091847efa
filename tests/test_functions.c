/* test_functions.c - functions of one float of every instruction set against libm in double: errors
 * within what exponential.h says, limits, NaN, lengths around a vector. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "tests/sparse_case.h"

static double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }
static double erf_slope(double x) { return 2 / sqrt(acos(-1)) * exp(-x * x); }
static double gelu_of(double x) { return 0.5 * x * erfc(-x * sqrt(0.5)); }
static double gelu_slope(double x) {
    return 0.5 * erfc(-x * sqrt(0.5)) + x * exp(-0.5 * x * x) / sqrt(2 * acos(-1));
}
static double bent(double x) { return sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x); }
static double gelu_tanh_of(double x) { return 0.5 * x * (1 + tanh(bent(x))); }
static double gelu_tanh_slope(double x) {
    const double t = tanh(bent(x)), slope = sqrt(2 / acos(-1)) * (1 + 3 * 0.044715 * x * x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope;
}

/* Errors: absolute, and relative to the value or, below 1, to x. */
static const struct {
    enum function f;
    double (*value)(double x), (*slope)(double x);
    double absolute, relative;
} functions[] = {
    {OT_EXP, exp, NULL, 1e-44, 3e-7},
    {OT_SIGMOID, sigmoid_of, NULL, 1e-38, 4e-7},
    {OT_ERF, erf, erf_slope, 5e-7, 2e-7},
    {OT_GELU, gelu_of, gelu_slope, 1e-7, 5e-7},
    {OT_GELU_TANH, gelu_tanh_of, gelu_tanh_slope, 1e-7, 5e-7},
};

static void check(int f, const char *what, double x, float y, double want) {
    const double scale = fabs(want) + (f >= 2 ? fabs(x) : 0);
    if (!(fabs((double)y - want) <= functions[f].absolute + functions[f].relative * scale))
        fail_msg("function %d: %s of %.9g is %.9g, not %.9g", (int)functions[f].f, what, x, y,
                 want);
}

static void test_errors(void **state) {
    (void)state;
    enum { N = 60000 };
    static float x[N], one[N], y[N], dx[N];
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i - N / 2) * 3e-3f;
        one[i] = 1;
    }
    for (int t = 0; ot_kernels_at(t); t++)
        for (int f = 0; f < (int)(sizeof functions / sizeof *functions); f++) {
            const struct kernels *k = ot_kernels_at(t);
            k->value[functions[f].f](x, y, N);
            if (functions[f].slope) k->gradient[functions[f].f](x, one, dx, N);
            for (int i = 0; i < N; i++) {
                if (x[i] > 88) break; /* exp overflows */
                check(f, "value", x[i], y[i], functions[f].value(x[i]));
                if (functions[f].slope) check(f, "slope", x[i], dx[i], functions[f].slope(x[i]));
            }
        }
}

static void test_limits(void **state) {
    (void)state;
    static const float x[] = {INFINITY, -INFINITY, NAN, 1e30f, -1e30f, 0};
    static const float want[][6] = {[OT_EXP] = {INFINITY, 0, NAN, INFINITY, 0, 1},
                                    [OT_SIGMOID] = {1, 0, NAN, 1, 0, 0.5f},
                                    [OT_ERF] = {1, -1, NAN, 1, -1, 0},
                                    [OT_GELU] = {INFINITY, NAN, NAN, 1e30f, 0, 0}};
    for (int t = 0; ot_kernels_at(t); t++)
        for (int f = OT_EXP; f <= OT_GELU; f++) {
            float y[6];
            ot_kernels_at(t)->value[f](x, y, 6);
            for (int i = 0; i < 6; i++) {
                const float w = want[f][i];
                const bool right = isfinite(w) ? fabsf(y[i] - w) < 1e-7f : !memcmp(&y[i], &w, 4);
                if (!right && !(isnan(w) && isnan(y[i])))
                    fail_msg("function %d of %g is %g", f, x[i], y[i]);
            }
        }
}

/* Nothing is read or written outside, and an element's place changes nothing. */
static void test_lengths(void **state) {
    (void)state;
    enum { MOST = 35 };
    for (int t = 0; ot_kernels_at(t); t++)
        for (int f = 0; f < OT_FUNCTIONS; f++)
            for (size_t n = 1; n <= MOST; n++) {
                const struct kernels *k = ot_kernels_at(t);
                const bool back = n % 2;
                float *x = guarded(n, back), *y = guarded(n, back), one;
                for (size_t i = 0; i < n; i++) x[i] = 0.3f * (float)i - 4;
                k->value[f](x, y, n);
                for (size_t i = 0; i < n; i++) {
                    k->value[f](x + i, &one, 1);
                    assert_true(fabsf(one - y[i]) <= 1e-6f * (1 + fabsf(one)));
                }
                if (k->gradient[f]) k->gradient[f](x, x, y, n);
                guarded_free(x, n, back);
                guarded_free(y, n, back);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
