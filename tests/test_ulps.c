/* test_ulps.c - functions of one float as operators compute them, in rows and lanes, with every
 * instruction set, against long double: errors in units in the last place, for arguments from 1e-30
 * up, where exp(x) - 1, erf and their like lose all digits if they are written down naively. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "tests/cases.h"

enum { SMALL = 1200, WIDE = 2000, COUNT = 2 * SMALL + WIDE };

/* ---- the functions, alpha 1.5 where there is one ---- */

static long double identity(long double x) { return x; }
static long double sigmoid(long double x) { return 1 / (1 + expl(-x)); }
static long double elu(long double x) { return x > 0 ? x : 1.5L * expm1l(x); }
static long double selu(long double x) {
    const long double gamma = 1.05070102f, alpha = 1.67326319f;
    return gamma * (x > 0 ? x : alpha * expm1l(x));
}
static long double celu(long double x) { return x > 0 ? x : 1.5L * expm1l(x / 1.5L); }
static long double softplus(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }
static long double softsign(long double x) { return x / (1 + fabsl(x)); }
static long double mish(long double x) { return x * tanhl(softplus(x)); }
static long double swish(long double x) { return x * sigmoid(1.5L * x); }
static long double gelu(long double x) { return 0.5L * x * erfcl(-x * sqrtl(0.5L)); }
static long double gelu_tanh(long double x) {
    return x * sigmoid(2 * sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x));
}

/* `low` and `high` bound the wide sweep; `ulps` what is allowed. */
static const struct {
    const char *op, *attributes;
    long double (*f)(long double x);
    double low, high, ulps;
} functions[] = {
    {"Identity", "", identity, -9, 9, 0},
    {"Exp", "", expl, -87, 88, 4},
    {"Sigmoid", "", sigmoid, -87, 88, 4},
    {"Erf", "", erfl, -9, 9, 4},
    {"Elu", "alpha=1.5", elu, -20, 20, 4},
    {"Selu", "", selu, -20, 20, 4},
    {"Celu", "alpha=1.5", celu, -20, 20, 4},
    {"Softplus", "", softplus, -87, 88, 4},
    {"Softsign", "", softsign, -1000, 1000, 3},
    {"Mish", "", mish, -80, 80, 8},
    {"Swish", "alpha=1.5", swish, -6, 50, 8},
    {"Gelu", "", gelu, -12, 12, 8},
    {"Gelu", "approximate=tanh", gelu_tanh, -3, 12, 12},
    {"Tanh", "", tanhl, -12, 12, 3},
    {"Sinh", "", sinhl, -80, 80, 4},
    {"Asinh", "", asinhl, -1000, 1000, 3},
    {"Atanh", "", atanhl, -0.99, 0.99, 3},
    {"Atan", "", atanl, -1000, 1000, 3},
    {"Asin", "", asinl, -1, 1, 3},
    {"Sin", "", sinl, -100, 100, 3},
    {"Tan", "", tanl, -1.5, 1.5, 3},
};

/* |y - want| in units in the last place of want. */
static double error(float y, long double want) {
    int exponent;
    frexpl(want, &exponent);
    if (exponent < FLT_MIN_EXP) exponent = FLT_MIN_EXP;
    return (double)(fabsl((long double)y - want) / ldexpl(1, exponent - FLT_MANT_DIG));
}

/* Both signs of 1e-30 to 1e-3, then the wide sweep. */
static void fill(float *x, double low, double high) {
    for (int i = 0; i < SMALL; i++) {
        x[2 * i] = (float)pow(10, -30 + 27.0 * i / (SMALL - 1));
        x[2 * i + 1] = -x[2 * i];
    }
    for (int i = 0; i < WIDE; i++)
        x[2 * SMALL + i] = (float)(low + (high - low) * (i + 0.37) / WIDE);
}

/* Runs the operator on x; the values stand in *y, in rows. False: it does not take the layout. */
static bool run(int f, const struct kernels *kernels, struct pool *pool, int lanes, float *x,
                float *y) {
    char text[96];
    struct op_case c;
    struct case_run r;
    ot_error err = {0};
    bool declined = true;
    void *in[CASE_TENSORS] = {x};
    snprintf(text, sizeof text, "X[%d,1] %s @24 -> Y[%d,1]", COUNT, functions[f].attributes, COUNT);
    assert_int_equal(ot_case_parse(&c, ot_op_find(functions[f].op), text, &err), OT_OK);
    const struct case_config config = {
        .kernels = kernels, .pool = pool, .lanes = lanes, .lane_rank = lanes ? 1 : 0};
    if (ot_case_open(&r, &c, config, in, &declined, &err)) fail_msg("%s", err.message);
    if (!declined) {
        ot_case_forward(&r, in);
        memcpy(y, ot_case_rows(&r, r.y[0]), COUNT * sizeof *y);
        ot_case_close(&r);
    }
    ot_arena_free(&c.arena);
    return !declined;
}

static void check(int f, const char *isa, int lanes, const float *x, const float *y) {
    double most = 0;
    for (int i = 0; i < COUNT; i++) {
        const double e = error(y[i], functions[f].f((long double)x[i]));
        most = e > most ? e : most;
        if (!(e <= functions[f].ulps))
            fail_msg("%s %s, %s, %d lanes: %.9g gives %.9g, not %.9Lg: %.3g ulps", functions[f].op,
                     functions[f].attributes, isa, lanes, (double)x[i], (double)y[i],
                     functions[f].f((long double)x[i]), e);
    }
    if (getenv("OT_VERBOSE")) print_message("%-10s %-8s %4.1f ulps\n", functions[f].op, isa, most);
}

static void test_operators(void **state) {
    static float x[COUNT], y[COUNT];
    struct pool *pool = NULL;
    ot_error err = {0};
    (void)state;
    assert_int_equal(ot_pool_new(NULL, 1, NULL, NULL, &pool, &err), OT_OK);
    for (int f = 0; f < (int)(sizeof functions / sizeof *functions); f++) {
        fill(x, functions[f].low, functions[f].high);
        for (int k = 0; ot_kernels_at(k); k++)
            for (int lanes = 0; lanes <= 32; lanes += 16)
                if (run(f, ot_kernels_at(k), pool, lanes, x, y))
                    check(f, ot_kernels_at(k)->name, lanes, x, y);
    }
    ot_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
