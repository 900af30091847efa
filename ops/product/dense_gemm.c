/* dense_gemm.c - matrix products C = alpha op(A) op(B) (+ C), one or many, cut by shape into pieces
 * of rows or columns; a piece is summed in the order of its terms by one thread. */
#include <string.h>

#include "ops/product/dnnl.h"

/* A matrix is cut along its longer side into 2 to 64 pieces of about LARGE elements, of a multiple
 * of STEP rows or columns. Smaller pieces cost a fifth of the speed and more: each has its operands
 * copied into the order that oneDNN multiplies in, or, where they are too small for that to pay,
 * multiplied as they stand. */
enum { LEAST = 2, MOST = 64, MANY = 8, LARGE = 1 << 20, STEP = 16 };

struct gemm_job {
    struct op_node *node;
    const struct dense_gemm *g;
    const float *a, *b;
    float *c;
    bool by_rows;  /* pieces are rows of C, else columns */
    int64_t grain; /* rows or columns a piece */
    int pieces;
};

/* One piece of one output matrix. */
static void run_gemm(void *arg, int task, int worker) {
    const struct gemm_job *job = arg;
    const struct dense_gemm *g = job->g;
    int64_t o = task / job->pieces, from, to;
    (void)worker;
    ot_task_range(job->by_rows ? g->m : g->n, job->grain, task % job->pieces, &from, &to);
    int64_t i0 = job->by_rows ? from : 0, j0 = job->by_rows ? 0 : from;
    int64_t rows = job->by_rows ? to - from : g->m, cols = job->by_rows ? g->n : to - from;
    float *c = job->c + o * g->m * g->n + i0 * g->n + j0;
    int64_t begin = g->first ? g->first[o] : 0, end = g->first ? g->first[o + 1] : 1;
    if (!g->k) end = begin;
    if (begin == end && !g->accumulate)
        for (int64_t i = 0; i < rows; i++) memset(c + i * g->n, 0, (size_t)cols * sizeof *c);
    struct sgemm_call call = {.ta = g->ta,
                              .tb = g->tb,
                              .m = rows,
                              .n = cols,
                              .k = g->k,
                              .alpha = g->alpha,
                              .lda = g->ta ? g->m : g->k,
                              .ldb = g->tb ? g->k : g->n,
                              .c = c,
                              .ldc = g->n};
    for (int64_t t = begin; t < end; t++) {
        int64_t ia = g->first ? g->a[t] : 0, ib = g->first ? g->b[t] : 0;
        call.a = job->a + ia * g->m * g->k + (g->ta ? i0 : i0 * g->k);
        call.b = job->b + ib * g->k * g->n + (g->tb ? j0 * g->k : j0);
        call.beta = t > begin || g->accumulate ? 1.0f : 0.0f;
        ot_dense_sgemm(job->node, &call);
    }
}

static int64_t count_pieces(const struct dense_gemm *g) {
    const double n = (double)g->m * (double)g->n / LARGE;
    return n < LEAST ? LEAST : n > MOST ? MOST : (int64_t)n;
}

void ot_dense_gemm(struct op_node *n, const struct dense_gemm *g, const float *a, const float *b,
                   float *c) {
    int64_t outputs = g->first ? g->outputs : 1;
    struct gemm_job job = {n, g, a, b, c, g->m >= g->n, 0, 1};
    int64_t longer = job.by_rows ? g->m : g->n;
    if (!outputs || !g->m || !g->n) return;
    /* many matrices, or small ones, are not cut */
    const bool cut = outputs < MANY && (double)g->m * (double)g->n * (double)g->k > 1e5;
    const int64_t pieces = count_pieces(g);
    job.grain = cut ? ((longer + pieces - 1) / pieces + STEP - 1) / STEP * STEP : longer;
    job.pieces = ot_task_count(longer, job.grain);
    ot_parallel_for(n->pool, (int)outputs * job.pieces, run_gemm, &job);
}
