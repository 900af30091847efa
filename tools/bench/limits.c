/* limits.c - the machine's limits: multiply-adds a second, and bytes a second. */
#include "tools/bench/bench.h"
#include "tools/bench/peak.h"
#include "tools/progress.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TRIALS = 5, ROUNDS = 20000, MOST_THREADS = 256, LINE = 16 };

/* Two arrays a thread, far larger together than any cache. */
static const size_t STREAM_BYTES = (size_t)96 << 20;

struct loops {
    const char *name;
    int floats; /* in a vector */
    ot_peak_fn *peak, *load;
    ot_copy_fn *copy;
};

static const struct loops *find_loops(const char *isa) {
    static const struct loops all[] = {
#ifdef OT_X86_64
        {"avx512", 16, ot_peak_avx512, ot_load_avx512, ot_copy_avx512},
        {"avx2", 8, ot_peak_avx2, ot_load_avx2, ot_copy_avx2},
#endif
        {"generic", 4, ot_peak_generic, ot_load_generic, ot_copy_generic}};
    const struct loops *l = all;
    while (strcmp(isa, l->name) != 0 && strcmp(l->name, "generic") != 0) l++;
    return l;
}

struct job {
    const struct loops *loops;
    ot_peak_fn *run; /* NULL: copy */
    const float *from;
    float *to;
    size_t floats;
    double done; /* flops or bytes */
};

static void *run_job(void *arg) {
    struct job *j = arg;
    if (j->run) {
        float out[3] = {0.999999f, 1e-6f, 0};
        j->done = j->run(ROUNDS, out);
        return NULL;
    }
    j->loops->copy(j->from, j->to, j->floats / (size_t)j->loops->floats);
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

static double best_of(struct job *job, int n, ot_peak_fn *run) {
    double best = 0;
    for (int i = 0; i < n; i++) job[i].run = run;
    for (int i = 0; i < TRIALS; i++) {
        const double rate = run_all(job, n);
        best = rate > best ? rate : best;
    }
    return best;
}

int ot_limits_measure(int threads, const char *isa, struct limits *limits, struct failure *f) {
    const int n = threads < MOST_THREADS ? threads : MOST_THREADS;
    const size_t floats = STREAM_BYTES / sizeof(float) / (size_t)n / LINE * LINE;
    const struct loops *loops = find_loops(isa);
    struct job *job = ot_take((size_t)n, sizeof *job, f);
    float *from = ot_take((size_t)n * floats, sizeof *from, f);
    float *to = ot_take((size_t)n * floats + LINE, sizeof *to, f);
    const int code = job && from && to ? 0 : f->code;
    for (int i = 0; i < n && !code; i++) {
        const uintptr_t aligned = ((uintptr_t)to + 63) & ~(uintptr_t)63;
        job[i] = (struct job){
            loops,  NULL, from + (size_t)i * floats, (float *)aligned + (size_t)i * floats,
            floats, 0};
    }
    if (!code) {
        ot_fill_uniform(from, n * (int64_t)floats, 0); /* pages of its own, not the zero page */
        limits->gflops = 1e-9 * best_of(job, n, loops->peak);
        limits->load_gflops = 1e-9 * best_of(job, n, loops->load);
        limits->gb_per_s = 1e-9 * best_of(job, n, NULL);
    }
    free(to);
    free(from);
    free(job);
    return code;
}
