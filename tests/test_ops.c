/* test_ops.c - runs the test cases of all operators, or of the one named on the command line.
 *
 * For each case: shape and values, instruction sets, threads, layouts, patterns against dense
 * weights, gradients against central differences. What is checked how: cases.md.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/kernels/kernels.h"
#include "tests/cases.h"

enum { POOLS = 3, MAX_ISAS = 8, ELEMENTWISE = 64 };

struct report {
    long checks, failures;
};

/* All that is known about one case. */
struct trial {
    struct op_case c;
    struct report *report;
    struct pool *const *pool; /* 1, 2, 3 threads */
    void *x[CASE_TENSORS], *dy[CASE_TENSORS];
    uint32_t want;
    bool differentiable;
};

/* Results of one run as dense rows; they live in the case's arena. */
struct results {
    struct tensor y[CASE_TENSORS], dx[CASE_TENSORS], statistic[CASE_TENSORS];
};

static bool check(struct trial *t, bool ok, const char *what) {
    t->report->checks++;
    if (ok) return true;
    t->report->failures++;
    printf("%s: %s\n    %s\n", t->c.op->name, t->c.text, what);
    return false;
}

/* ---- running ---- */

static void keep(struct trial *t, struct case_run *r, const struct tensor *from,
                 struct tensor *to) {
    if (!from) return;
    *to = *from;
    to->lanes = to->lane_rank = 0;
    to->pattern = NULL;
    size_t bytes = (size_t)ot_elements(from) * ot_type_size(from->type);
    void *rows = ot_case_rows(r, from);
    to->data = ot_arena_alloc(&t->c.arena, bytes, 1);
    if (rows && to->data) memcpy(to->data, rows, bytes);
}

/* Runs forward, and backward where there is one. False: the layout was declined, or it failed. */
static bool run(struct trial *t, struct case_config config, struct results *out) {
    struct case_run r;
    bool declined;
    ot_error err = {0};
    memset(out, 0, sizeof *out);
    if (ot_case_open(&r, &t->c, config, t->x, &declined, &err)) return check(t, false, err.message);
    if (declined) return false;
    ot_case_forward(&r, t->x);
    for (int i = 0; i < t->c.n_out; i++) keep(t, &r, r.y[i], &out->y[i]);
    for (int i = 0; i < t->c.n_in; i++)
        if (t->c.op->statistics >> i & 1) keep(t, &r, r.x[i], &out->statistic[i]);
    check(t, ot_case_again(&r), "made again, output 0 differs");
    if (t->differentiable && config.want) {
        ot_case_backward(&r, t->dy);
        for (int i = 0; i < t->c.n_in; i++) keep(t, &r, r.dx[i], &out->dx[i]);
    }
    check(t, r.finite, "a spare lane of a result is not finite");
    ot_case_close(&r);
    return true;
}

/* ---- comparing ---- */

static double largest(const struct tensor *a) {
    double most = 0;
    for (int64_t k = 0; k < ot_elements(a); k++)
        if (isfinite(ot_f(a)[k])) most = fmax(most, fabs((double)ot_f(a)[k]));
    return most;
}

/* tolerance 0: bit-equal. Else relative to the largest element. */
static bool equal(const struct tensor *a, const struct tensor *b, double tolerance) {
    if (!a->data || !b->data) return a->data == b->data;
    if (a->type != b->type || !ot_same_shape(a, b)) return false;
    if (tolerance == 0 || a->type != OT_FLOAT) return !memcmp(a->data, b->data, ot_bytes(a));
    double most = tolerance * (largest(a) + 1e-6);
    for (int64_t k = 0; k < ot_elements(a); k++) {
        float p = ot_f(a)[k], q = ot_f(b)[k];
        bool same = p == q || (isnan(p) && isnan(q));
        if (!same && !(fabs((double)p - q) <= most)) return false;
    }
    return true;
}

static void compare(struct trial *t, const struct results *a, const struct results *b,
                    double tolerance, const char *how) {
    char what[192];
    for (int i = 0; i < t->c.n_out; i++) {
        snprintf(what, sizeof what, "output %d differs: %s", i, how);
        check(t, equal(&a->y[i], &b->y[i], tolerance), what);
    }
    for (int i = 0; i < t->c.n_in; i++) {
        snprintf(what, sizeof what, "gradient %d differs: %s", i, how);
        check(t, equal(&a->dx[i], &b->dx[i], tolerance), what);
        snprintf(what, sizeof what, "statistic %d differs: %s", i, how);
        check(t, equal(&a->statistic[i], &b->statistic[i], tolerance), what);
    }
}

/* ---- shapes and values ---- */

static bool value_equal(const struct tensor *y, int64_t k, struct number v) {
    switch (y->type) {
    case OT_FLOAT: {
        double f = (double)ot_f(y)[k];
        return f == v.f || (isnan(f) && isnan(v.f)) || fabs(f - v.f) <= 2e-6 + 2e-5 * fabs(v.f);
    }
    case OT_DOUBLE: return ((double *)y->data)[k] == v.f;
    case OT_INT64:
    case OT_UINT64: return ((int64_t *)y->data)[k] == v.i;
    case OT_INT32:
    case OT_UINT32: return ((int32_t *)y->data)[k] == (int32_t)v.i;
    case OT_INT16:
    case OT_UINT16: return ((int16_t *)y->data)[k] == (int16_t)v.i;
    default: return ((int8_t *)y->data)[k] == (int8_t)v.i;
    }
}

/* A result, "output 0" or the like, against what the case says. */
static bool check_values(struct trial *t, const char *name, int i, const struct tensor *y,
                         const struct case_tensor *e) {
    char what[400], found[128], expected[128];
    struct tensor shape = {.rank = e->rank};
    memcpy(shape.dim, e->dim, sizeof shape.dim);
    snprintf(what, sizeof what, "%s %d is %s%s, expected %s%s", name, i, ot_type_name(y->type),
             ot_shape_text(y, found, sizeof found), ot_type_name(e->type),
             ot_shape_text(&shape, expected, sizeof expected));
    if (!check(t, y->type == e->type && ot_same_shape(y, &shape), what)) return false;
    for (int64_t k = 0; e->value && k < ot_elements(y); k++) {
        snprintf(what, sizeof what, "%s %d, element %lld is %g, expected %g", name, i, (long long)k,
                 y->type == OT_FLOAT ? (double)ot_f(y)[k] : NAN, e->value[k].f);
        check(t, value_equal(y, k, e->value[k]), what);
    }
    return true;
}

/* The results of the first run against what the case says. */
static bool check_outputs(struct trial *t, const struct results *r) {
    bool ok = true;
    for (int i = 0; i < t->c.n_out; i++)
        if (!t->c.out[i].absent) ok = check_values(t, "output", i, &r->y[i], &t->c.out[i]) && ok;
    return ok;
}

/* ---- gradients ---- */

/* The sum of all outputs weighted with dy; dy is the gradient of this loss. */
static double loss(struct trial *t, struct case_run *r) {
    double sum = 0;
    ot_case_forward(r, t->x);
    for (int i = 0; i < t->c.n_out; i++) {
        if (!r->dy[i]) continue;
        const float *y = ot_f(r->y[i]), *dy = t->dy[i];
        for (int64_t k = 0; k < ot_elements(r->y[i]); k++) sum += (double)y[k] * (double)dy[k];
    }
    return sum;
}

/* The slope of the loss along `v` at input i: the five-point formula
 * (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. */
static double slope(struct trial *t, struct case_run *r, int i, const double *v, int64_t n) {
    static const double at[] = {1, -1, 2, -2}, weight[] = {8, -8, -1, 1};
    double h = 0.01, sum = 0;
    float *x = t->x[i], *old = ot_arena_alloc(&r->arena, (size_t)n, sizeof *old);
    if (!old) return NAN;
    memcpy(old, x, (size_t)n * sizeof *x);
    for (int k = 0; k < 4; k++) {
        for (int64_t j = 0; j < n; j++) x[j] = (float)((double)old[j] + at[k] * h * v[j]);
        sum += weight[k] * loss(t, r);
    }
    memcpy(x, old, (size_t)n * sizeof *x);
    return sum / (12 * h);
}

/* What rounding of y to float does to a slope. */
static double noise(const struct trial *t, const struct results *a) {
    double sum = 0;
    for (int i = 0; i < t->c.n_out; i++)
        if (a->y[i].type == OT_FLOAT && a->y[i].data)
            sum += largest(&a->y[i]) * sqrt((double)ot_elements(&a->y[i]));
    return 1e-4 + 2e-5 * sum;
}

static void check_gradient(struct trial *t, struct case_run *r, const struct results *a, int i) {
    const struct tensor *dx = &a->dx[i];
    int64_t n = ot_elements(dx);
    double *v = ot_arena_alloc(&r->arena, (size_t)n, sizeof *v), most = largest(dx), dot = 0,
           sq = 0;
    char what[200];
    if (!check(t, v != NULL, "out of memory")) return;
    for (int64_t k = 0; k < n; k++) {
        v[k] = 2 * ot_case_random(400 + (uint64_t)i, (uint64_t)k) - 1;
        double g = (double)ot_f(dx)[k] * v[k];
        dot += g;
        sq += g * g;
    }
    double found = slope(t, r, i, v, n);
    snprintf(what, sizeof what, "gradient %d along a direction is %g, by differences %g", i, dot,
             found);
    check(t, fabs(found - dot) <= 2e-3 * sqrt(sq) + noise(t, a), what);
    memset(v, 0, (size_t)n * sizeof *v);
    for (int64_t k = 0; k < n; k += n <= ELEMENTWISE ? 1 : n / 16) {
        v[k] = 1;
        found = slope(t, r, i, v, n);
        v[k] = 0;
        snprintf(what, sizeof what, "gradient %d, element %lld is %g, by differences %g", i,
                 (long long)k, (double)ot_f(dx)[k], found);
        if (!check(t, fabs(found - (double)ot_f(dx)[k]) <= 2e-3 * most + noise(t, a), what)) break;
    }
}

static void check_gradients(struct trial *t, struct case_config config, const struct results *a) {
    struct case_run r;
    bool declined;
    for (int i = 0; i < t->c.n_in; i++)
        if (t->c.slope[i].type) check_values(t, "gradient", i, &a->dx[i], &t->c.slope[i]);
    if (!t->differentiable || !t->want || t->c.stated) return;
    ot_error err = {0};
    if (!check(t, !ot_case_open(&r, &t->c, config, t->x, &declined, &err), err.message)) return;
    for (int i = 0; i < t->c.n_in; i++)
        if (a->dx[i].data) check_gradient(t, &r, a, i);
    ot_case_close(&r);
    /* each gradient alone is what it is beside the others */
    for (int i = 0; i < t->c.n_in; i++) {
        struct results alone;
        if (!(t->want >> i & 1) || t->want == 1u << i) continue;
        config.want = 1u << i;
        if (run(t, config, &alone))
            check(t, equal(&a->dx[i], &alone.dx[i], 1e-5), "a gradient wanted alone differs");
    }
}

/* ---- one case ---- */

static void check_threads(struct trial *t, struct case_config config, const struct results *a,
                          const char *how) {
    static const int others[] = {0, 2};
    for (int k = 0; k < 2; k++) {
        struct results b;
        config.pool = t->pool[others[k]];
        char what[160];
        snprintf(what, sizeof what, "%d threads against 2, %s", others[k] + 1, how);
        if (run(t, config, &b)) compare(t, a, &b, 0, what);
    }
}

/* In the memory of inputs, with a gradient in two parts. */
static void check_frugal(struct trial *t, struct case_config config, const struct results *a,
                         const char *how) {
    const struct op *op = t->c.op;
    struct results b;
    char what[160];
    if (!op->y_over_x && !op->dx_over_x && !op->dx_over_dy && !op->takes_more) return;
    snprintf(what, sizeof what, "frugal, %s", how);
    config.frugal = true;
    if (run(t, config, &b)) compare(t, a, &b, 1e-5, what);
    config.want = 0;
    if (!run(t, config, &b)) return;
    for (int i = 0; i < t->c.n_out; i++)
        check(t, equal(&a->y[i], &b.y[i], 0), "an output in the memory of an input differs");
}

/* What the first run, whose weights are dense, says about a run with patterns: no gradient where
 * there is no slot. */
static struct results with_patterns(struct trial *t, const struct results *a) {
    struct results r = *a;
    for (int i = 0; i < t->c.n_in; i++) {
        if (!t->c.in[i].sparse || !a->dx[i].data) continue;
        int64_t n = ot_elements(&a->dx[i]);
        float *dx = r.dx[i].data = ot_arena_alloc(&t->c.arena, (size_t)n, sizeof *dx);
        for (int64_t k = 0; dx && k < n; k++)
            dx[k] = ot_case_has_slot(&t->c.in[i], i, k) ? ot_f(&a->dx[i])[k] : 0;
    }
    return r;
}

/* One layout and form against what the first run says. True: it was taken. */
static bool check_variant(struct trial *t, struct case_config config, const struct results *a) {
    static const char *const forms[] = {", pattern", ", all", ", live"};
    struct results b;
    char how[120];
    if (!run(t, config, &b)) return false;
    snprintf(how, sizeof how, "%s, %d lanes of rank %d%s", config.kernels->name, config.lanes,
             config.lane_rank, config.patterns ? forms[config.form] : "");
    compare(t, a, &b, 1e-5, how);
    check_threads(t, config, &b, how);
    check_frugal(t, config, &b, how);
    return true;
}

/* Every layout, pattern, form and instruction set against the first run. */
static void check_variants(struct trial *t, struct case_config first, const struct results *a) {
    static const int widths[] = {0, 16, 32};
    const struct results masked = with_patterns(t, a);
    bool sparse = false, entered = false;
    int rank = 0;
    for (int i = 0; i < t->c.n_in; i++) {
        sparse = sparse || t->c.in[i].sparse;
        bool moves = t->c.in[i].role == OT_ROLE_ACTIVATION && t->c.in[i].rank > rank;
        if (moves && !t->c.in[i].absent) rank = t->c.in[i].rank;
    }
    const int layouts = 3 * (rank ? rank : 1), forms = sparse ? 1 + OT_FORMS : 1;
    for (int v = 0; ot_kernels_at(v); v++)
        for (int w = 0; w < layouts * forms; w++) {
            struct case_config config = first;
            config.kernels = ot_kernels_at(v);
            config.lanes = widths[w % 3];
            config.lane_rank = config.lanes ? 1 + w / 3 % (rank ? rank : 1) : 0;
            config.patterns = w / layouts > 0;
            config.form = config.patterns ? (enum ot_form)(w / layouts - 1) : OT_FORM_SPARSE;
            if (!config.lanes && w % layouts) continue;
            if (config.lanes && !rank) continue;
            const bool taken = check_variant(t, config, config.patterns ? &masked : a);
            entered = entered || (taken && config.lanes && config.patterns == sparse);
        }
    if (t->c.lanes) check(t, entered, "did not run in lanes layout");
}

static void check_refusal(struct trial *t, struct case_config config) {
    struct case_run r;
    bool declined;
    ot_error err = {0};
    char what[800];
    if (!ot_case_open(&r, &t->c, config, t->x, &declined, &err)) {
        ot_case_close(&r);
        check(t, false, "was not refused");
        return;
    }
    snprintf(what, sizeof what, "refused with: %s", err.message);
    check(t, strstr(err.message, t->c.error) != NULL, what);
}

static void draw_gradients(struct trial *t, const struct results *a) {
    for (int i = 0; i < t->c.n_out; i++) {
        if (a->y[i].type != OT_FLOAT || !a->y[i].data) continue;
        int64_t n = ot_elements(&a->y[i]);
        float *dy = t->dy[i] = ot_arena_alloc(&t->c.arena, (size_t)n, sizeof *dy);
        for (int64_t k = 0; dy && k < n; k++)
            dy[k] =
                t->c.stated ? 1 : (float)(2 * ot_case_random(500 + (uint64_t)i, (uint64_t)k) - 1);
    }
}

static void check_case(struct trial *t) {
    const struct op *op = t->c.op;
    int last = 0;
    while (ot_kernels_at(last + 1)) last++;
    struct case_config config = {.kernels = ot_kernels_at(last), .pool = t->pool[1]};
    struct results shape, a;
    if (t->c.error) {
        check_refusal(t, config);
        return;
    }
    if (!run(t, config, &shape) || !check_outputs(t, &shape)) return;
    draw_gradients(t, &shape);
    for (int i = 0; i < t->c.n_out; i++) /* of integers the loss knows nothing */
        t->differentiable |= shape.y[i].type == OT_FLOAT && (op->backward || op->view);
    for (int i = 0; i < t->c.n_in; i++) {
        const struct case_tensor *x = &t->c.in[i];
        bool fixed = x->absent || x->role == OT_ROLE_CONST || x->type != OT_FLOAT;
        if (!fixed && !(op->statistics >> i & 1)) t->want |= 1u << i;
    }
    config.want = t->differentiable ? t->want : 0;
    if (!run(t, config, &a)) return;
    check_gradients(t, config, &a);
    check_variants(t, config, &a);
}

static void check_operator(const struct op *op, struct pool *const *pool, struct report *report) {
    for (int i = 0; op->cases && op->cases[i]; i++) {
        struct trial t = {.report = report, .pool = pool};
        ot_error err = {0};
        bool parsed = !ot_case_parse(&t.c, op, op->cases[i], &err);
        if (check(&t, parsed && !ot_case_draw(&t.c, t.x, &err), err.message)) check_case(&t);
        ot_arena_free(&t.c.arena);
    }
}

int main(int argc, char **argv) {
    struct report report = {0};
    struct pool *pool[POOLS] = {NULL};
    bool found = argc < 2, ready = true;
    ot_error err = {0};
    for (int i = 0; i < POOLS; i++)
        ready = ready && !ot_pool_new(NULL, i + 1, NULL, NULL, &pool[i], &err);
    for (int i = 0; ready && ot_op_at(i); i++) {
        if (argc > 1 && strcmp(argv[1], ot_op_at(i)->name)) continue;
        found = true;
        check_operator(ot_op_at(i), pool, &report);
    }
    for (int i = 0; i < POOLS; i++) ot_pool_free(pool[i]);
    if (!ready) printf("%s\n", err.message);
    if (!found) printf("no operator %s\n", argv[1]);
    printf("%ld checks, %ld failures\n", report.checks, report.failures);
    return report.failures || !found || !ready || !report.checks;
}
