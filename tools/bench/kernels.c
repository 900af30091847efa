/* kernels.c - `onnx-train bench --kernels`: the suite of layers, its table, its summary. */
#include "tools/bench/bench.h"
#include "tools/jsonout.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the suite ----------------------------------------------------------------------------- */

struct layer {
    int64_t c, m, size, k, stride;
    bool quick;        /* in the quick suite */
    bool batches;      /* at all batches in the standard suite */
    int64_t tokens[2]; /* of linear layers, in place of batches */
};

static const struct layer layers[] = {
    {64, 64, 56, 3, 1, true, false, {0}},           {128, 128, 28, 3, 1, true, true, {0}},
    {256, 256, 14, 3, 1, true, false, {0}},         {512, 512, 7, 3, 1, true, true, {0}},
    {64, 128, 56, 3, 2, false, false, {0}},         {128, 256, 28, 1, 2, false, false, {0}},
    {256, 64, 56, 1, 1, false, false, {0}},         {64, 256, 56, 1, 1, false, false, {0}},
    {2048, 512, 7, 1, 1, false, false, {0}},        {1024, 1024, 0, 1, 1, true, false, {128, 256}},
    {768, 3072, 0, 1, 1, false, false, {128, 902}}, {3072, 768, 0, 1, 1, false, false, {128, 902}},
};

enum {
    LAYERS = sizeof layers / sizeof *layers,
    SUMMARY_BATCH = 64,
    MOST_BATCHES = 8,
    MOST_CASES = LAYERS * MAX_LIST * MOST_BATCHES
};
enum suite { QUICK, STANDARD, FULL };

static const double all_sparsities[] = {50, 80, 90, 95, 98, 99}, usual_sparsities[] = {90, 95};

/* What is asked for. */
struct plan {
    enum suite suite;
    const char *only;
    int64_t batch; /* 0: the suite's */
    double sparsity[MAX_LIST];
    int n_sparsities; /* 0: the suite's */
    int threads;
    const char *isa;
    bool json;
};

static void name_layer(const struct layer *l, char *out, size_t size) {
    if (l->size)
        snprintf(out, size,
                 "%" PRId64 "->%" PRId64 " %" PRId64 "x%" PRId64 " s%" PRId64 " %" PRId64
                 "x%" PRId64,
                 l->c, l->m, l->k, l->k, l->stride, l->size, l->size);
    else
        snprintf(out, size, "%" PRId64 "->%" PRId64, l->c, l->m);
}

static int choose_batches(const struct plan *p, const struct layer *l, int64_t *batch) {
    static const int64_t batches[] = {SUMMARY_BATCH, 1, 8, 16, 17, 32, 128};
    if (p->batch) {
        batch[0] = p->batch;
        return 1;
    }
    if (!l->size) {
        memcpy(batch, l->tokens, sizeof l->tokens);
        return p->suite == QUICK ? 1 : 2;
    }
    const bool many = p->suite == FULL || (p->suite == STANDARD && l->batches);
    const int n = many ? (int)(sizeof batches / sizeof *batches) : 1;
    memcpy(batch, batches, (size_t)n * sizeof *batch);
    return n;
}

/* Batches that the summary leaves out are run at the usual sparsities, but for the full suite. */
static int choose_sparsities(const struct plan *p, const struct layer *l, int64_t batch,
                             double *sparsity) {
    if (p->n_sparsities) {
        memcpy(sparsity, p->sparsity, (size_t)p->n_sparsities * sizeof *sparsity);
        return p->n_sparsities;
    }
    const bool few = p->suite == QUICK ||
                     (p->suite == STANDARD && !p->batch && l->size && batch != SUMMARY_BATCH);
    const int n = few ? 2 : (int)(sizeof all_sparsities / sizeof *all_sparsities);
    memcpy(sparsity, few ? usual_sparsities : all_sparsities, (size_t)n * sizeof *sparsity);
    return n;
}

/* The cases of one layer, appended. */
static void add_cases(const struct plan *p, const struct layer *l, struct bench_case *list,
                      int *n) {
    int64_t batch[MOST_BATCHES];
    double sparsity[MAX_LIST];
    char name[sizeof list->shape];
    name_layer(l, name, sizeof name);
    const int batches = choose_batches(p, l, batch);
    for (int i = 0; i < batches; i++) {
        const int sparsities = choose_sparsities(p, l, batch[i], sparsity);
        for (int j = 0; j < sparsities; j++) {
            struct bench_case *c = &list[(*n)++];
            *c = (struct bench_case){.kind = l->size ? "conv" : "linear",
                                     .layer = {batch[i], l->c, l->m, l->size, l->k, l->stride},
                                     .sparsity = sparsity[j] / 100,
                                     .counts = p->batch || !l->size || batch[i] == SUMMARY_BATCH,
                                     .threads = p->threads,
                                     .isa = p->isa};
            memcpy(c->shape, name, sizeof name);
        }
    }
}

static int make_suite(const struct plan *p, struct bench_case *list) {
    int n = 0;
    for (int i = 0; i < LAYERS; i++) {
        char name[64];
        name_layer(&layers[i], name, sizeof name);
        const bool wanted =
            p->only ? strstr(name, p->only) != NULL : p->suite != QUICK || layers[i].quick;
        if (wanted) add_cases(p, &layers[i], list, &n);
    }
    return n;
}

/* ---- one line a case ----------------------------------------------------------------------- */

static void print_head(const struct plan *p, const struct limits *limits) {
    printf("%d thread%s, %s, oneDNN %s; ms of ours and of dense; GFLOP/s count nonzeros only\n",
           p->threads, p->threads > 1 ? "s" : "", p->isa, ot_dnnl_version());
    printf("limits: %.1f GFLOP/s, %.1f where each multiply-add loads an operand, %.1f GB/s\n",
           limits->gflops, limits->load_gflops, limits->gb_per_s);
    printf("%-24s %6s %5s |%17s %6s |%17s %6s |%17s %6s |%7s %7s %8s\n", "layer", "batch", "spars.",
           "forward", "GF/s", "data gradient", "GF/s", "weight gradient", "GF/s", "ratio", "limit",
           "reorders");
}

static void print_case(const struct bench_case *c) {
    const double flops = ot_bench_case_flops(c);
    printf("%-24s %6" PRId64 " %5.1f%%", c->shape, c->layer.n, 100 * c->sparsity);
    for (int i = 0; i < PASSES; i++)
        printf("|%8.3f %8.3f %6.1f ", c->ms[i], c->dense_ms[i], 1e-6 * flops / c->ms[i]);
    printf("|%6.2fx %6.2fx %8.3f\n", c->ratio, c->limit, c->reorder_ms);
    fflush(stdout);
}

static void print_json(const struct bench_case *c, bool first) {
    static const char *const pass[PASSES] = {"forward", "backward_data", "backward_weight"};
    const double flops = ot_bench_case_flops(c), dense = ot_bench_case_dense_flops(c);
    printf("%s\n {\"kind\":\"%s\",\"shape\":\"%s\",\"sparsity\":%.4g,\"batch\":%" PRId64
           ",\"threads\":%d,\"isa\":\"%s\",\"rounds\":%d,\"nonzeros\":%" PRId64,
           first ? "[" : ",", c->kind, c->shape, c->sparsity, c->layer.n, c->threads, c->isa,
           c->rounds, c->nonzeros);
    for (int i = 0; i < PASSES; i++)
        printf(",\"%s_ms\":%.6g,\"dense_%s_ms\":%.6g,\"%s_gflops\":%.4g,\"dense_%s_gflops\":%.4g",
               pass[i], c->ms[i], pass[i], c->dense_ms[i], pass[i], 1e-6 * flops / c->ms[i],
               pass[i], 1e-6 * dense / c->dense_ms[i]);
    printf(",\"reorder_ms\":%.6g,\"ratio\":%.5g,\"limit_ratio\":%.5g}", c->reorder_ms, c->ratio,
           c->limit);
    fflush(stdout);
}

/* ---- summary ------------------------------------------------------------------------------- */

struct summary {
    double sparsity, log_sum, limit_log_sum, worst;
    int n;
    const struct bench_case *worst_case;
};

static struct summary summarise(const struct bench_case *list, int n, double sparsity,
                                const char *kind) {
    struct summary s = {.sparsity = sparsity};
    for (int i = 0; i < n; i++) {
        if (!list[i].counts || list[i].sparsity != sparsity || (kind && strcmp(kind, list[i].kind)))
            continue;
        s.log_sum += log(list[i].ratio);
        s.limit_log_sum += log(list[i].limit);
        if (!s.n++ || list[i].ratio < s.worst) {
            s.worst = list[i].ratio;
            s.worst_case = &list[i];
        }
    }
    return s;
}

static double mean(const struct summary *s) { return s->n ? exp(s->log_sum / s->n) : NAN; }

static double mean_limit(const struct summary *s) {
    return s->n ? exp(s->limit_log_sum / s->n) : NAN;
}

/* Share of oneDNN's dense rate that the useful work reaches, over the 3x3 layers. */
static double rate_share(const struct bench_case *list, int n, double sparsity, enum pass pass) {
    double sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++) {
        const struct bench_case *c = &list[i];
        if (!c->counts || c->sparsity != sparsity || c->layer.k != 3 || c->layer.stride != 1)
            continue;
        const double ours = ot_bench_case_flops(c) / c->ms[pass];
        sum += log(ours / (ot_bench_case_dense_flops(c) / c->dense_ms[pass]));
        count++;
    }
    return count ? 100 * exp(sum / count) : NAN;
}

/* Where the mean ratio is 1: between two neighbours its logarithm is taken for a line. */
static void print_break_even(const struct summary *s, int n) {
    for (int i = 1; i < n; i++) {
        const double a = log(mean(&s[i - 1])), b = log(mean(&s[i]));
        if (a < 0 && b >= 0) {
            printf("break-even at %.1f %% sparsity\n",
                   100 * (s[i - 1].sparsity + (s[i].sparsity - s[i - 1].sparsity) * a / (a - b)));
            return;
        }
    }
    if (n)
        printf("break-even %s %.1f %% sparsity\n", mean(&s[0]) >= 1 ? "below" : "above",
               100 * (mean(&s[0]) >= 1 ? s[0].sparsity : s[n - 1].sparsity));
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The different sparsities, ascending. */
static int list_sparsities(const struct bench_case *list, int n, double *sparsity) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < count && sparsity[k] != list[i].sparsity) k++;
        if (k == count && list[i].counts && count < MAX_LIST) sparsity[count++] = list[i].sparsity;
    }
    qsort(sparsity, (size_t)count, sizeof *sparsity, by_value);
    return count;
}

/* A figure, or a dash where nothing was measured. */
static void print_figure(double figure, const char *unit) {
    if (isnan(figure))
        printf(" %9s", "-");
    else
        printf(" %8.2f%s", figure, unit);
}

static void print_summary(const struct bench_case *list, int n, int64_t batch) {
    double sparsity[MAX_LIST];
    struct summary all[MAX_LIST];
    const int count = list_sparsities(list, n, sparsity);
    if (!count) return;
    printf("\ngeometric means of the ratios; convolutions at batch %" PRId64 "\n", batch);
    printf("%9s %9s %9s %9s %9s %9s  %-22s %9s %9s of dense GFLOP/s at 3x3\n", "sparsity", "all",
           "limit", "conv", "linear", "worst", "", "forward", "weight");
    for (int i = 0; i < count; i++) {
        all[i] = summarise(list, n, sparsity[i], NULL);
        const struct summary conv = summarise(list, n, sparsity[i], "conv");
        const struct summary linear = summarise(list, n, sparsity[i], "linear");
        printf("%8.1f%%", 100 * sparsity[i]);
        print_figure(mean(&all[i]), "x");
        print_figure(mean_limit(&all[i]), "x");
        print_figure(mean(&conv), "x");
        print_figure(mean(&linear), "x");
        print_figure(all[i].worst, "x");
        printf("  %-22s", all[i].worst_case->shape);
        print_figure(rate_share(list, n, sparsity[i], PASS_FORWARD), "%");
        print_figure(rate_share(list, n, sparsity[i], PASS_WEIGHT), "%");
        putchar('\n');
    }
    if (count > 1) print_break_even(all, count);
}

/* ---- the command --------------------------------------------------------------------------- */

static int read_plan(const struct settings *s, struct plan *p, struct failure *f) {
    *p = (struct plan){.suite = (enum suite)ot_integer(s, OPTION_suite, STANDARD),
                       .only = ot_text(s, OPTION_only),
                       .batch = ot_is_given(s, OPTION_batch) ? ot_integer(s, OPTION_batch, 0) : 0,
                       .threads = (int)ot_integer(s, OPTION_threads, 1),
                       .isa = ot_text(s, OPTION_isa) ? ot_text(s, OPTION_isa) : ot_isa_name(0),
                       .json = ot_integer(s, OPTION_json, 0)};
    p->n_sparsities = ot_list(s, OPTION_sparsity, p->sparsity);
    for (int i = 0; i < p->n_sparsities; i++)
        if (p->sparsity[i] < 0 || p->sparsity[i] >= 100)
            return ot_refuse(f, EXIT_USAGE, "sparsity: %g is not a percentage in [0, 100)",
                             p->sparsity[i]);
    if (ot_is_given(s, OPTION_model))
        return ot_refuse(f, EXIT_USAGE, "--kernels takes no model, but '%s' is given",
                         ot_text(s, OPTION_model));
    return 0;
}

int ot_bench_kernels(const struct settings *s, struct failure *f) {
    struct plan p;
    int code = read_plan(s, &p, f);
    struct bench_case *list = code ? NULL : ot_take(MOST_CASES, sizeof *list, f);
    if (!list) return f->code;
    const int n = make_suite(&p, list);
    if (!n) code = ot_refuse(f, EXIT_USAGE, "only: no layer's name contains '%s'", p.only);
    struct limits limits = {0};
    ot_dense_layer_isa(p.isa);
    if (!code) code = ot_limits_measure(p.threads, p.isa, &limits, f);
    if (!code && !p.json) print_head(&p, &limits);
    for (int i = 0; i < n && !code; i++) {
        code = ot_bench_case_run(&list[i], &limits, f);
        if (!code && p.json)
            print_json(&list[i], i == 0);
        else if (!code)
            print_case(&list[i]);
    }
    if (!code && p.json)
        puts("\n]");
    else if (!code)
        print_summary(list, n, p.batch ? p.batch : SUMMARY_BATCH);
    free(list);
    return code;
}
