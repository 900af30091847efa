/* integer_gemm.c - products of integer matrices, one or many, some rows of the result a task. */
#include "ops/product/integer_gemm.h"

#include "ops/number.h"

enum { WORK = 16384 }; /* products of a task, where a row has no more */

struct job {
    const struct dense_gemm *g;
    ot_type type;
    const void *a, *b;
    void *c;
    int64_t rows, grain; /* of all matrices; of a task */
};

/* Row i of A's matrix number ia times column j of B's matrix number ib. */
static uint64_t dot(const struct job *job, int64_t ia, int64_t ib, int64_t i, int64_t j) {
    const struct dense_gemm *g = job->g;
    const int64_t step_a = g->ta ? g->m : 1, step_b = g->tb ? 1 : g->n;
    int64_t at_a = ia * g->m * g->k + (g->ta ? i : i * g->k);
    int64_t at_b = ib * g->k * g->n + (g->tb ? j * g->k : j);
    uint64_t sum = 0;
    for (int64_t k = 0; k < g->k; k++, at_a += step_a, at_b += step_b)
        sum += (uint64_t)ot_load_integer(job->a, job->type, at_a) *
               (uint64_t)ot_load_integer(job->b, job->type, at_b);
    return sum;
}

static void multiply_row(const struct job *job, int64_t row) {
    const struct dense_gemm *g = job->g;
    const int64_t o = row / g->m, i = row % g->m;
    const int64_t begin = g->first ? g->first[o] : 0, end = g->first ? g->first[o + 1] : 1;
    for (int64_t j = 0; j < g->n; j++) {
        const int64_t at = row * g->n + j;
        uint64_t sum = g->accumulate ? (uint64_t)ot_load_integer(job->c, job->type, at) : 0;
        for (int64_t t = begin; t < end; t++)
            sum += dot(job, g->first ? g->a[t] : 0, g->first ? g->b[t] : 0, i, j);
        ot_store_integer(job->c, job->type, at, (int64_t)sum);
    }
}

static void multiply_rows(void *arg, int number, int worker) {
    const struct job *job = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(job->rows, job->grain, number, &from, &to);
    for (int64_t row = from; row < to; row++) multiply_row(job, row);
}

void ot_integer_gemm(struct op_node *n, const struct dense_gemm *g, ot_type type, const void *a,
                     const void *b, void *c) {
    const int64_t rows = g->m * (g->first ? g->outputs : 1);
    if (!rows || !g->n) return;
    /* at most 2^20 tasks */
    struct job job = {g, type, a, b, c, rows, 1 + WORK / (g->n * g->k + 1) + (rows >> 20)};
    ot_parallel_for(n->pool, ot_task_count(rows, job.grain), multiply_rows, &job);
}
