/* bench_limits.c - the machine's limits: multiply-adds a second, and bytes a second. */
#include "tools/bench.h"
#include "tools/bench_peak.h"
#include "tools/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 5, ROUNDS = 20000, MOST_THREADS = 256 };

/* Two arrays a thread, far larger together than any cache. */
static const size_t STREAM_BYTES = (size_t)96 << 20;

static ot_peak_fn *find_loop(const char *isa) {
    static const struct {
        const char *name;
        ot_peak_fn *run;
    } loops[] = {
#ifdef OT_X86_64
        {"avx512", ot_peak_avx512},
        {"avx2", ot_peak_avx2},
#endif
        {"generic", ot_peak_generic}};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (strcmp(isa, loops[i].name) == 0) return loops[i].run;
    return ot_peak_generic;
}

struct job {
    ot_peak_fn *loop; /* NULL: stream */
    float *from, *to;
    size_t floats;
    double done; /* flops or bytes */
};

static void *run_job(void *arg) {
    struct job *j = arg;
    if (j->loop) {
        float out[3] = {0.999999f, 1e-6f, 0};
        j->done = j->loop(ROUNDS, out);
        return NULL;
    }
    for (size_t i = 0; i < j->floats; i++) j->to[i] = j->from[i] * 0.5f;
    j->done = 2.0 * (double)(j->floats * sizeof(float));
    return NULL;
}

/* Runs all jobs at once, the first here; returns what they did a second. */
static double run_all(struct job *job, int n) {
    pthread_t thread[MOST_THREADS];
    bool started[MOST_THREADS] = {false};
    const double start = ot_now();
    for (int i = 1; i < n; i++)
        started[i] = pthread_create(&thread[i], NULL, run_job, &job[i]) == 0;
    run_job(&job[0]);
    double done = job[0].done;
    for (int i = 1; i < n; i++) {
        if (!started[i]) continue;
        pthread_join(thread[i], NULL);
        done += job[i].done;
    }
    return done / (ot_now() - start);
}

static double best_of(struct job *job, int n) {
    double best = 0;
    for (int i = 0; i < TRIALS; i++) {
        const double rate = run_all(job, n);
        best = rate > best ? rate : best;
    }
    return best;
}

int ot_limits_measure(int threads, const char *isa, struct limits *limits, struct failure *f) {
    const int n = threads < MOST_THREADS ? threads : MOST_THREADS;
    const size_t floats = STREAM_BYTES / sizeof(float) / (size_t)n;
    struct job *job = ot_take((size_t)n, sizeof *job, f);
    float *from = ot_take((size_t)n * floats, sizeof *from, f);
    float *to = ot_take((size_t)n * floats, sizeof *to, f);
    const int code = job && from && to ? 0 : f->code;
    for (int i = 0; i < n && !code; i++)
        job[i] = (struct job){find_loop(isa), from + (size_t)i * floats, to + (size_t)i * floats,
                              floats, 0};
    if (!code) {
        ot_fill_uniform(from, n * (int64_t)floats, 0); /* pages of its own, not the zero page */
        limits->gflops = 1e-9 * best_of(job, n);
        for (int i = 0; i < n; i++) job[i].loop = NULL;
        limits->gb_per_s = 1e-9 * best_of(job, n);
    }
    free(to);
    free(from);
    free(job);
    return code;
}
