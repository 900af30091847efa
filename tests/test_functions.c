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

static double swish_of(double x) { return x * sigmoid_of(1.5 * x); }
static double swish_slope(double x) {
    const double s = sigmoid_of(1.5 * x);
    return s + 1.5 * x * s * (1 - s);
}
static double sigmoid_slope(double x) { return sigmoid_of(x) * sigmoid_of(-x); }
static double tanh_slope(double x) { return 1 / (cosh(x) * cosh(x)); }
static double softplus_of(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static double mish_of(double x) { return x * tanh(softplus_of(x)); }
static double mish_slope(double x) {
    const double t = tanh(softplus_of(x));
    return t + x * (1 - t * t) * sigmoid_of(x);
}
static double elu_of(double x) { return 0.75 * (x > 0 ? x : 1.5 * expm1(x)); }
static double elu_slope(double x) { return 0.75 * (x > 0 ? 1 : 1.5 * exp(x)); }
static double celu_of(double x) { return x > 0 ? x : 1.5 * expm1(x / 1.5); }
static double celu_slope(double x) { return x > 0 ? 1 : exp(x / 1.5); }
static double hard_sigmoid_of(double x) { return fmax(0, fmin(1, 1.5 * x + 0.75)); }
static double hard_sigmoid_slope(double x) { return x > -0.5 && x < 1.0 / 6 ? 1.5 : 0; }
static double hard_swish_of(double x) { return x * fmax(0, fmin(1, x / 6 + 0.5)); }
static double hard_swish_slope(double x) { return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5; }

static const struct params p = {1.5f, 0.75f};

static void value_of(const struct kernels *k, enum function f, const float *x, const float *z,
                     float *y, size_t n) {
    const struct function_value a = {.x = x, .z = z, .y = y, .p = p};
    k->value[f](&a, n);
}

static void gradient_of(const struct kernels *k, enum function f, const float *x, const float *dy,
                        float *dx, size_t n) {
    const struct function_gradient a = {.x = x, .dy = dy, .dx = dx, .p = p};
    k->gradient[f](&a, n);
}

/* Errors: absolute, and relative to the value or, below 1, to x. */
static const struct {
    enum function f;
    double (*value)(double x), (*slope)(double x);
    double absolute, relative;
} functions[] = {
    {OT_EXP, exp, exp, 1e-44, 3e-7},
    {OT_SIGMOID, sigmoid_of, sigmoid_slope, 1e-7, 4e-7},
    {OT_ERF, erf, erf_slope, 5e-7, 2e-7},
    {OT_GELU, gelu_of, gelu_slope, 1e-7, 5e-7},
    {OT_GELU_TANH, gelu_tanh_of, gelu_tanh_slope, 1e-7, 5e-7},
    {OT_SWISH, swish_of, swish_slope, 1e-7, 5e-7},
    {OT_TANH, tanh, tanh_slope, 1e-7, 3e-7},
    {OT_MISH, mish_of, mish_slope, 2e-7, 1e-6},
    {OT_ELU, elu_of, elu_slope, 1e-7, 3e-7},
    {OT_CELU, celu_of, celu_slope, 1e-7, 3e-7},
    {OT_HARD_SIGMOID, hard_sigmoid_of, hard_sigmoid_slope, 1e-7, 3e-7},
    {OT_HARD_SWISH, hard_swish_of, hard_swish_slope, 1e-7, 3e-7},
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
            value_of(k, functions[f].f, x, NULL, y, N);
            gradient_of(k, functions[f].f, x, one, dx, N);
            for (int i = 0; i < N; i++) {
                if (x[i] > 88) break; /* exp overflows */
                check(f, "value", x[i], y[i], functions[f].value(x[i]));
                check(f, "slope", x[i], dx[i], functions[f].slope(x[i]));
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
            value_of(ot_kernels_at(t), f, x, NULL, y, 6);
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
                value_of(k, f, x, NULL, y, n);
                for (size_t i = 0; i < n; i++) {
                    value_of(k, f, x + i, NULL, &one, 1);
                    assert_true(fabsf(one - y[i]) <= 1e-6f * (1 + fabsf(one)));
                }
                gradient_of(k, f, x, x, y, n);
                guarded_free(x, n, back);
                guarded_free(y, n, back);
            }
}

/* With a factor: its value times what stands alone, and both gradients, wanted or not. */
static void test_factors(void **state) {
    (void)state;
    enum { N = 37 };
    float x[N], z[N], dy[N], y[N], alone[N], slope[N], dx[N], dz[N];
    for (int i = 0; i < N; i++) {
        x[i] = 0.31f * (float)i - 6;
        z[i] = 0.2f * (float)(i % 7) - 0.5f;
        dy[i] = 1 - 0.1f * (float)(i % 11);
    }
    for (int t = 0; ot_kernels_at(t); t++)
        for (int f = 0; f < OT_FUNCTIONS; f++) {
            const struct kernels *k = ot_kernels_at(t);
            value_of(k, f, x, z, y, N);
            value_of(k, f, x, NULL, alone, N);
            gradient_of(k, f, x, dy, slope, N);
            for (int want = 1; want < 4; want++) {
                const struct function_gradient a = {.x = x,
                                                    .z = z,
                                                    .dy = dy,
                                                    .p = p,
                                                    .dx = want & 1 ? dx : NULL,
                                                    .dz = want & 2 ? dz : NULL};
                k->gradient[f](&a, N);
                for (int i = 0; i < N; i++) {
                    assert_float_equal(y[i], z[i] * alone[i], 1e-6f * (1 + fabsf(alone[i])));
                    if (want & 1) assert_float_equal(dx[i], z[i] * slope[i], 1e-6f);
                    if (want & 2)
                        assert_float_equal(dz[i], dy[i] * alone[i], 1e-6f * (1 + fabsf(alone[i])));
                }
            }
        }
}

/* What goes past the caches has the same bits. */
static void test_past_cache(void **state) {
    (void)state;
    enum { N = 77 };
    static _Alignas(64) float x[N], dy[N], near[2][N], past[2][N + 3]; /* 80 */
    for (int i = 0; i < N; i++) {
        x[i] = 0.31f * (float)i - 12;
        dy[i] = 1 - 0.1f * (float)(i % 11);
    }
    for (int t = 0; ot_kernels_at(t); t++)
        for (int f = 0; f < OT_FUNCTIONS; f++) {
            const struct kernels *k = ot_kernels_at(t);
            struct function_value v = {.x = x, .y = past[0], .p = p, .past_cache = true};
            struct function_gradient g = {
                .x = x, .dy = dy, .dx = past[1], .p = p, .past_cache = true};
            k->value[f](&v, N);
            k->gradient[f](&g, N);
            value_of(k, f, x, NULL, near[0], N);
            gradient_of(k, f, x, dy, near[1], N);
            assert_memory_equal(past[0], near[0], sizeof near[0]);
            assert_memory_equal(past[1], near[1], sizeof near[1]);
            k->copy_past(x, past[0], N, true);
            assert_memory_equal(past[0], x, sizeof x);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_factors),
                                       cmocka_unit_test(test_past_cache),
                                       cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
