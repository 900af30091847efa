/* bench.c - `onnx-train bench`: whole training steps on made-up data, and where their time goes. */
#include "tools/bench/bench.h"
#include "tools/command.h"
#include "tools/jsonout.h"
#include "tools/model.h"
#include "tools/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { WARM_UP = 3, LEAST_PROFILED = 3 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double ot_median(double *value, int n) {
    qsort(value, (size_t)n, sizeof *value, by_value);
    return n % 2 ? value[n / 2] : 0.5 * (value[n / 2 - 1] + value[n / 2]);
}

/* The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014), on a counter. */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ot_fill_uniform(float *value, int64_t n, uint64_t seed) {
    const uint64_t start = mix(seed + 1);
    for (int64_t i = 0; i < n; i++)
        value[i] = (float)(mix(start + (uint64_t)i * 0x9e3779b97f4a7c15u) >> 40) * 0x1p-23f - 1;
}

/* ---- data ---------------------------------------------------------------------------------- */

struct bench {
    const struct settings *s;
    struct model m;
    ot_tensor input[MAX_INPUTS], target;
    void *data[MAX_INPUTS + 1];
    int64_t batch, steps, profiled;
    int threads;
    const char *isa;

    double *seconds; /* of each step */
    double median, least, most, peak_mb;
    struct shares shares;
    struct limits limits;
};

static int64_t count_elements(const ot_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* Random floats; integers are 1 (a token that every vocabulary has, a mask that is open) below
 * `classes` 0, else random ones below it; other types stay zero. */
static int make_data(ot_tensor *t, int64_t classes, uint64_t seed, void **data, struct failure *f) {
    const int64_t n = count_elements(t);
    *data = ot_take((size_t)n, sizeof(int64_t), f);
    if (!*data) return f->code;
    t->data = *data;
    int64_t *as64 = *data;
    int32_t *as32 = *data;
    if (t->type == OT_FLOAT) ot_fill_uniform(*data, n, seed);
    for (int64_t i = 0; i < n && t->type == OT_INT64; i++)
        as64[i] = classes ? (int64_t)(mix(seed + (uint64_t)i) % (uint64_t)classes) : 1;
    for (int64_t i = 0; i < n && t->type == OT_INT32; i++) as32[i] = 1;
    return 0;
}

/* Labels below this number go with the output: the extent of the axis, the second or the last, that
 * the target lacks; 1 where it is free. */
static int64_t count_classes(const ot_value_info *output, const ot_tensor *target) {
    int64_t least = 0;
    for (int last = 0; last < 2 && output->rank >= 2; last++) {
        const int axis = last ? output->rank - 1 : 1;
        bool fits = target->rank == output->rank - 1;
        for (int i = 1; i < output->rank && fits; i++) {
            const int64_t want = i == axis ? -1 : target->dim[i - (i > axis)];
            fits = i == axis || output->dim[i] < 0 || output->dim[i] == want;
        }
        if (fits && (!least || output->dim[axis] < least)) least = output->dim[axis];
    }
    return least > 0 ? least : 1;
}

static int set_up(struct bench *b, struct failure *f) {
    struct model *m = &b->m;
    /* too small a step to change what is computed: random labels make any other diverge */
    const ot_optimizer_options options = {
        .size = sizeof options,
        .kind = (ot_optimizer_kind)ot_integer(b->s, OPTION_optimizer, OT_SGD),
        .lr = 1e-9f,
        .momentum = 0.9f};
    ot_error err = {0};
    size_t bytes;
    int code = ot_model_set_loss(m, b->s, f);
    if (!code) code = ot_model_shapes(m, b->s, b->input, f);
    if (code) return code;
    if (ot_set_optimizer(m->session, &options, &err) ||
        ot_prepare(m->session, 1, b->input, m->n_inputs, &bytes, &err) ||
        ot_get_target(m->session, &b->target, &err))
        return ot_refuse_status(f, err.status == OT_ERROR_LIMIT ? EXIT_MEMORY : EXIT_MODEL, &err);
    const int64_t classes = count_classes(&m->output, &b->target);
    for (int i = 0; i < m->n_inputs && !code; i++)
        code = make_data(&b->input[i], 0, (uint64_t)i, &b->data[i], f);
    if (!code) code = make_data(&b->target, classes, 99, &b->data[MAX_INPUTS], f);
    return code;
}

/* ---- measuring ----------------------------------------------------------------------------- */

static int run_step(struct bench *b, double *seconds, struct failure *f) {
    ot_error err = {0};
    const double start = ot_now();
    if (ot_train_step(b->m.session, b->input, b->m.n_inputs, &b->target, NULL, &err) ||
        ot_optimizer_step(b->m.session, &err))
        return ot_refuse_status(f, EXIT_MODEL, &err);
    *seconds = ot_now() - start;
    return 0;
}

/* First steps without clocks inside, then some with them: they cost a little. */
static int measure(struct bench *b, struct failure *f) {
    ot_error err = {0};
    double ignored;
    int code = 0;
    for (int i = 0; i < WARM_UP && !code; i++) code = run_step(b, &ignored, f);
    for (int64_t i = 0; i < b->steps && !code; i++) code = run_step(b, &b->seconds[i], f);
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    b->peak_mb = (double)usage.ru_maxrss / 1024;
    ot_set_profile(b->m.session, 1);
    for (int64_t i = 0; i < b->profiled && !code; i++) code = run_step(b, &ignored, f);
    if (code) return code;
    b->median = ot_median(b->seconds, (int)b->steps);
    b->least = b->seconds[0];
    b->most = b->seconds[b->steps - 1];
    if (ot_get_profile(b->m.session, ot_shares_add, &b->shares, &err))
        return ot_refuse_status(f, EXIT_RUNTIME, &err);
    ot_shares_sort(&b->shares);
    /* last, because its arrays would count as the model's peak memory */
    return ot_limits_measure(b->threads, b->isa, &b->limits, f);
}

/* ---- text ---------------------------------------------------------------------------------- */

static void print_share(const struct bench *b, const char *name, const struct share *s) {
    const double seconds = s->seconds > 0 ? s->seconds : 1;
    printf("%-24s %6.1f%% %9.3f", name, 100 * s->seconds / b->shares.all.seconds,
           1e3 * s->seconds / (double)b->profiled);
    if (s->flops > 0)
        printf(" %9.1f", 1e-9 * s->flops / seconds);
    else
        printf(" %9s", "");
    printf(" %8.1f\n", 1e-9 * s->bytes / seconds);
}

static void print_text(const struct bench *b) {
    ot_memory_info memory;
    ot_get_memory_info(b->m.session, &memory);
    const struct share *all = &b->shares.all;
    printf("model    %s, %.2f %% sparse\n", ot_text(b->s, OPTION_model),
           100 * ot_model_sparsity(&b->m));
    printf("run      batch %" PRId64 ", %d thread%s, %s, sparse=%s, %" PRId64 " steps after %d\n",
           b->batch, b->threads, b->threads > 1 ? "s" : "", b->isa, ot_text(b->s, OPTION_sparse),
           b->steps, WARM_UP);
    printf("step     %.3f ms (%.3f to %.3f), %.1f samples/s\n", 1e3 * b->median, 1e3 * b->least,
           1e3 * b->most, (double)b->batch / b->median);
    printf("memory   %.1f MiB peak; plan %.1f, weights %.1f, gradients %.1f, moments %.1f\n",
           b->peak_mb, (double)memory.plan / (1 << 20), (double)memory.weights / (1 << 20),
           (double)memory.gradients / (1 << 20), (double)memory.moments / (1 << 20));
    printf("limits   %.1f GFLOP/s, %.1f GB/s; reached %.1f (%.0f %%) and %.1f (%.0f %%)\n",
           b->limits.gflops, b->limits.gb_per_s, 1e-9 * all->flops / all->seconds,
           1e-7 * all->flops / all->seconds / b->limits.gflops, 1e-9 * all->bytes / all->seconds,
           1e-7 * all->bytes / all->seconds / b->limits.gb_per_s);
    printf("\n%-24s %7s %9s %9s %8s\n", "part of the step", "share", "ms", "GFLOP/s", "GB/s");
    for (int i = 0; i < PHASES; i++) print_share(b, ot_phase_names[i], &b->shares.phase[i]);
    printf("\noperator\n");
    for (int i = 0; i < b->shares.n_ops; i++)
        print_share(b, b->shares.op[i].name, &b->shares.op[i]);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_field(const char *name, double value) {
    printf(",\"%s\":", name);
    ot_print_number(stdout, value, 6);
}

static void json_shares(const struct bench *b) {
    const struct shares *s = &b->shares;
    fputs(",\n \"share\":{", stdout);
    for (int i = 0; i < PHASES; i++)
        printf("%s\"%s\":%.5f", i ? "," : "", ot_phase_names[i],
               s->phase[i].seconds / s->all.seconds);
    fputs(",\n  \"operators\":{", stdout);
    for (int i = 0; i < s->n_ops; i++) {
        fputs(i ? "," : "", stdout);
        ot_print_string(stdout, s->op[i].name);
        printf(":%.5f", s->op[i].seconds / s->all.seconds);
    }
    fputs("}}", stdout);
}

static void print_json(const struct bench *b) {
    ot_memory_info memory;
    ot_get_memory_info(b->m.session, &memory);
    const struct share *all = &b->shares.all;
    fputs("{\"model\":", stdout);
    ot_print_string(stdout, ot_text(b->s, OPTION_model));
    printf(",\"isa\":\"%s\",\"sparse\":\"%s\"", b->isa, ot_text(b->s, OPTION_sparse));
    printf(",\"batch\":%" PRId64 ",\"threads\":%d,\"steps\":%" PRId64 ",\n \"sparsity\":%.6g",
           b->batch, b->threads, b->steps, ot_model_sparsity(&b->m));
    json_field("step_ms", 1e3 * b->median);
    json_field("step_ms_min", 1e3 * b->least);
    json_field("step_ms_max", 1e3 * b->most);
    json_field("samples_per_s", (double)b->batch / b->median);
    json_field("peak_rss_mb", b->peak_mb);
    json_field("plan_mb", (double)memory.plan / (1 << 20));
    json_field("limit_gflops", b->limits.gflops);
    json_field("limit_gb_per_s", b->limits.gb_per_s);
    json_field("gflops", 1e-9 * all->flops / all->seconds);
    json_field("gb_per_s", 1e-9 * all->bytes / all->seconds);
    json_shares(b);
    fputs("}\n", stdout);
}

static void print_line(void *context, const char *line) { fprintf(context, "%s\n", line); }

/* The steps with their predicted and measured times; beside JSON on the other stream. */
static int print_plan(const struct bench *b, struct failure *f) {
    ot_error err;
    FILE *out = ot_integer(b->s, OPTION_json, 0) ? stderr : stdout;
    fputc('\n', out);
    if (ot_print_plan(b->m.session, print_line, out, &err))
        return ot_refuse_status(f, EXIT_RUNTIME, &err);
    return 0;
}

/* ---- the command --------------------------------------------------------------------------- */

static int bench_model(struct bench *b, struct failure *f) {
    int code = ot_model_open(&b->m, b->s, f);
    if (code) return code;
    b->seconds = ot_take((size_t)b->steps, sizeof *b->seconds, f);
    code = b->seconds ? set_up(b, f) : f->code;
    if (!code) code = measure(b, f);
    if (!code && ot_integer(b->s, OPTION_json, 0))
        print_json(b);
    else if (!code)
        print_text(b);
    if (!code && ot_integer(b->s, OPTION_plan, 0)) code = print_plan(b, f);
    for (int i = 0; i <= MAX_INPUTS; i++) free(b->data[i]);
    free(b->seconds);
    ot_model_close(&b->m);
    return code;
}

int ot_run_bench(struct settings *s, struct failure *f) {
    if (ot_integer(s, OPTION_kernels, 0)) return ot_bench_kernels(s, f);
    struct bench *b = ot_take(1, sizeof *b, f);
    if (!b) return f->code;
    b->s = s;
    b->batch = ot_integer(s, OPTION_batch, 1);
    b->steps = ot_integer(s, OPTION_steps, 1);
    b->profiled = b->steps / 4 > LEAST_PROFILED ? b->steps / 4 : LEAST_PROFILED;
    b->threads = (int)ot_integer(s, OPTION_threads, ot_count_cpus());
    b->isa = ot_text(s, OPTION_isa) ? ot_text(s, OPTION_isa) : ot_isa_name(0);
    const int code = bench_model(b, f);
    free(b);
    return code;
}
