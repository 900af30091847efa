/* sparse_few.c - a sparse linear layer over a few samples, in rows.
 *
 * What such a layer does is read, so it reads what is there: the nonzeros of the weight in their
 * own order, without any stream; and for each of them the features of its column, packed for all
 * samples side by side, which is a small part of what lanes would be. Both gradients come from one
 * pass, whose tasks are pieces of the columns: each column's sum goes over the rows in their order.
 * So the number of threads, which says how many pieces there are, changes no bit.
 */
#include <string.h>

#include "ops/product/sparse_product.h"

/* Nonzeros of a task; columns that a task packs, whose gradients fill whole cache lines; nonzeros
 * of a row that a piece should have. */
enum { GRAIN = 1 << 14, COLUMNS = 1 << 12, LINE = 16, PIECE = 8 };

/* ---- prepare ---- */

bool ot_sparse_few_fits(const struct conv_shape *s, int lanes) {
    return !lanes && s->n > 0 && s->n <= OT_FEW_SAMPLES && s->c * s->m > 0 && s->h * s->w == 1 &&
           s->oh * s->ow == 1 && s->kh * s->kw == 1 && s->groups == 1 && !s->pad_top &&
           !s->pad_left && !s->stacked;
}

/* Pieces of the columns: two for each of several workers, unless rows are too short. */
static int count_pieces(const struct op_node *n, const struct pattern *w) {
    const int64_t workers = n->workers, rows = w->rows;
    const int64_t most = rows ? w->nnz / (rows * PIECE) : 1;
    int64_t pieces = workers > 1 ? 2 * workers : 1;
    if (pieces > most) pieces = most;
    if (pieces > w->cols / LINE) pieces = w->cols / LINE;
    return pieces < 1 ? 1 : (int)pieces;
}

/* Cuts the columns where about the same number of nonzeros lies between. */
static void cut_columns(const struct few_layer *f, const struct pattern *w) {
    const int lines = w->cols / LINE + 1;
    int64_t done = 0;
    int piece = 0;
    memset(f->count, 0, (size_t)lines * sizeof *f->count);
    for (int k = 0; k < w->nnz; k++) f->count[w->col[k] / LINE]++;
    for (int i = 0; i < lines; done += f->count[i++])
        for (; piece < f->pieces && done * f->pieces >= (int64_t)w->nnz * piece; piece++)
            f->column[piece] = i * LINE;
    while (piece <= f->pieces) f->column[piece++] = w->cols;
}

/* Where each piece of a row begins, and where the last one ends. */
static void cut_rows(const struct few_layer *f, const struct pattern *w) {
    for (int r = 0; r < w->rows; r++)
        for (int i = 1, k = w->row[r]; i < f->pieces; i++) {
            while (k < w->row[r + 1] && w->col[k] < f->column[i]) k++;
            f->cut[(size_t)(i - 1) * (size_t)w->rows + (size_t)r] = k;
        }
}

ot_status ot_sparse_few_prepare(struct op_node *n, struct sparse_product *p,
                                const struct pattern *w, int slots, const struct conv_shape *s,
                                uint32_t want, size_t *forward, size_t *backward, ot_error *err) {
    struct few_layer *f = ot_arena_alloc(n->arena, 1, sizeof *f);
    if (!f) return ot_sparse_out_of_memory(n, err);
    const bool data = want & OT_SPARSE_DATA, both = data && (want & OT_SPARSE_WEIGHT);
    *f = (struct few_layer){.pattern = w, .pieces = data ? count_pieces(n, w) : 1};
    while (1 << f->log < s->n) f->log++;
    const size_t width = (size_t)1 << f->log, cuts = (size_t)(f->pieces - 1);
    const size_t floats = (size_t)w->cols * width;
    p->few = f;
    p->joint = both;
    *forward = floats * sizeof(float);
    *backward = *forward * (both ? 2 : 1);
    if (s->n == 1 && w->cols <= UINT16_MAX + 1) {
        f->col16 = ot_arena_alloc_dirty(n->arena, (size_t)slots, sizeof *f->col16);
        if (!f->col16) return ot_sparse_out_of_memory(n, err);
    }
    if (f->pieces > 1) {
        f->column = ot_arena_alloc(n->arena, cuts + 2, sizeof *f->column);
        f->cut = ot_arena_alloc(n->arena, cuts * (size_t)w->rows, sizeof *f->cut);
        f->count = ot_arena_alloc(n->arena, (size_t)w->cols / LINE + 1, sizeof *f->count);
        if (!f->column || !f->cut || !f->count) return ot_sparse_out_of_memory(n, err);
    }
    ot_sparse_few_follow(p, w);
    return OT_OK;
}

void ot_sparse_few_follow(const struct sparse_product *p, const struct pattern *w) {
    struct few_layer *f = p->few;
    f->pattern = w;
    for (int k = 0; f->col16 && k < w->nnz; k++) f->col16[k] = (uint16_t)w->col[k];
    if (f->pieces == 1) return;
    cut_columns(f, w);
    cut_rows(f, w);
}

/* ---- packing ---- */

struct few_job {
    struct op_node *n;
    const struct sparse_product *p;
    struct few kernel;
    const float *x;
    float *dx, *packed;
    size_t pitch; /* floats of a column */
    const float *dy;
    float *dbias;
    int grain; /* rows of a task */
};

/* Columns [from, to) of all samples side by side: x where it is wanted, then zeros where dx is. */
static void pack_columns(const struct few_job *job, int64_t from, int64_t to) {
    const struct sparse_product *p = job->p;
    const size_t width = (size_t)1 << p->few->log, n = (size_t)p->n;
    const size_t features = job->x ? width : 0, cols = (size_t)p->few->pattern->cols;
    for (int64_t c = from; c < to; c++) {
        float *const out = job->packed + (size_t)c * job->pitch;
        for (size_t s = 0; s < job->pitch; s++)
            out[s] = s < n && s < features ? job->x[s * cols + (size_t)c] : 0;
    }
}

static void unpack_columns(const struct few_job *job, int64_t from, int64_t to) {
    const size_t n = (size_t)job->p->n, cols = (size_t)job->p->few->pattern->cols;
    const float *const in = job->packed + job->pitch - ((size_t)1 << job->p->few->log);
    for (size_t s = 0; s < n; s++)
        for (int64_t c = from; c < to; c++)
            job->dx[s * cols + (size_t)c] = in[(size_t)c * job->pitch + s];
}

static void pack_task(void *arg, int task, int worker) {
    const struct few_job *job = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(job->p->few->pattern->cols, COLUMNS, task, &from, &to);
    pack_columns(job, from, to);
}

static void pack_input(struct few_job *job) {
    const int cols = job->p->few->pattern->cols;
    ot_parallel_for(job->n->pool, ot_task_count(cols, COLUMNS), pack_task, job);
}

/* ---- passes ---- */

/* Rows further on whose columns are fetched: those of so many nonzeros, where a second-level cache
 * does not hold what is packed. */
static int choose_prefetch(const struct few_job *job) {
    enum { NONZEROS = 32, NEAR = (256 << 10) / sizeof(float) };
    const struct pattern *w = job->p->few->pattern;
    const int64_t each = (int64_t)w->nnz / w->rows + 1;
    if ((size_t)w->cols * job->pitch <= NEAR) return 0;
    return 1 + (int)(NONZEROS / each);
}

static struct few_job new_job(struct op_node *n, const struct sparse_product *p, const float *value,
                              float *scratch) {
    const struct pattern *w = p->few->pattern;
    const int64_t grain = (int64_t)w->rows * GRAIN / ((int64_t)w->nnz + w->rows);
    return (struct few_job){.n = n,
                            .p = p,
                            .kernel = {.begin = w->row,
                                       .end = w->row + 1,
                                       .col = w->col,
                                       .col16 = p->few->col16,
                                       .value = value,
                                       .to = w->rows,
                                       .samples = (int)p->n,
                                       .nnz = w->nnz,
                                       .rows = (size_t)w->rows},
                            .packed = scratch,
                            .pitch = (size_t)1 << p->few->log,
                            .grain = grain < 1 ? 1 : (int)grain};
}

/* Some rows from one end to the other. */
static void rows_task(void *arg, int task, int worker) {
    const struct few_job *job = arg;
    const struct kernels *k = job->p->kernels;
    const int log = job->p->few->log;
    struct few kernel = job->kernel;
    int64_t from, to;
    (void)worker;
    ot_task_range(job->p->few->pattern->rows, job->grain, task, &from, &to);
    kernel.from = (int)from;
    kernel.to = (int)to;
    (kernel.y ? k->few_forward : k->few_backward)[log](&kernel);
}

static void run_rows(struct few_job *job) {
    const int rows = job->p->few->pattern->rows;
    if (job->packed) pack_input(job);
    ot_parallel_for(job->n->pool, ot_task_count(rows, job->grain), rows_task, job);
}

/* The gradients of some columns, and of what the weight has there. */
static void columns_task(void *arg, int task, int worker) {
    const struct few_job *job = arg;
    const struct few_layer *f = job->p->few;
    const struct pattern *w = f->pattern;
    struct few kernel = job->kernel;
    (void)worker;
    if (task > 0) kernel.begin = f->cut + (size_t)(task - 1) * (size_t)w->rows;
    if (task + 1 < f->pieces) kernel.end = f->cut + (size_t)task * (size_t)w->rows;
    const int from = task ? f->column[task] : 0;
    const int to = task + 1 < f->pieces ? f->column[task + 1] : w->cols;
    pack_columns(job, from, to);
    job->p->kernels->few_backward[f->log](&kernel);
    unpack_columns(job, from, to);
}

static void bias_task(void *arg, int task, int worker) {
    const struct few_job *job = arg;
    const size_t rows = job->kernel.rows;
    int64_t from, to;
    (void)worker;
    ot_task_range((int64_t)rows, COLUMNS, task, &from, &to);
    for (size_t r = (size_t)from; r < (size_t)to; r++) {
        float sum = job->dy[r];
        for (size_t s = 1; s < (size_t)job->p->n; s++) sum += job->dy[s * rows + r];
        job->dbias[r] = sum;
    }
}

void ot_sparse_few_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                           const float *value, const float *bias, float *y, float *scratch) {
    const bool one = p->n == 1; /* stands as it would be packed */
    struct few_job job = new_job(n, p, value, one ? NULL : scratch);
    job.x = x;
    job.kernel.x = one ? x : scratch;
    job.kernel.bias = bias;
    job.kernel.prefetch_rows = choose_prefetch(&job);
    job.kernel.y = y;
    run_rows(&job);
}

void ot_sparse_few_backward(struct op_node *n, const struct sparse_product *p, const float *x,
                            const float *value, const float *dy, float *dx, float *dvalue,
                            float *dbias, float *scratch) {
    struct few_job job = new_job(n, p, value, scratch);
    job.x = dvalue ? x : NULL;
    job.dx = dx;
    job.dy = job.kernel.dy = dy;
    job.dbias = dbias;
    job.kernel.data = dx != NULL;
    job.kernel.pairs = scratch;
    job.kernel.dvalue = dvalue;
    if (dx && dvalue) job.pitch *= 2;
    job.kernel.prefetch_rows = choose_prefetch(&job);
    if (dx)
        ot_parallel_for(n->pool, p->few->pieces, columns_task, &job);
    else if (dvalue)
        run_rows(&job);
    if (dbias)
        ot_parallel_for(n->pool, ot_task_count(p->few->pattern->rows, COLUMNS), bias_task, &job);
    if (n->weight_share) *n->weight_share = 0.5; /* one loop makes both */
}
