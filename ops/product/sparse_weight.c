/* sparse_weight.c - the weight gradient of a sparse layer over blocks of lanes.
 *
 * A task is some chunks of rows over a fixed share of all tiles; the shares are added in their
 * order. So the number of threads changes no bit. Of large pointwise layers, which do little else
 * than read, the data gradient of each tile is made along, from the same copy of dy.
 */
#include "ops/product/sparse_product.h"
#include "ops/product/sparse_tile.h"
#include "runtime/base/clock.h"

/* Sums in a task; nonzeros whose sums and offsets stay in a second-level cache for all tiles. */
enum { GRAIN = 1 << 12, RESIDENT = 1 << 16 };

/* Samples that a sub-block really has, for the unit of a flat row at position `at`. */
static int valid_lanes(const struct sparse_product *p, int64_t block, int at) {
    int64_t from =
        block / p->units * p->lanes + (block % p->units + at % p->flat_units) * (int64_t)OT_UNIT;
    int64_t n = p->n - from;
    return n < 0 ? 0 : n < OT_UNIT ? (int)n : OT_UNIT;
}

/* Which lanes of a line of a tile hold samples, as struct pack has it; false: all do. */
static bool find_spare(const struct sparse_product *p, const struct tile *t,
                       int32_t mask[OT_TILE_UNITS * OT_UNIT]) {
    if ((t->block / p->units + 1) * p->lanes <= p->n) return false;
    bool spare = false;
    for (int u = 0; u < t->w; u++) {
        const int valid = valid_lanes(p, t->block, t->ox + u);
        for (int i = 0; i < OT_UNIT; i++) mask[u * OT_UNIT + i] = i < valid ? -1 : 0;
        spare = spare || valid < OT_UNIT;
    }
    return spare;
}

/* Where a row and a line of a copy of dy begin. */
static struct place copy_place(const struct stream *s) {
    const size_t line = (size_t)s->tile_w * OT_UNIT;
    return (struct place){(size_t)s->tile_h * line, line, OT_UNIT};
}

/* A compact copy of a tile of dy, of rows of some chunks; mask as struct pack has it. */
static void copy_dy(const struct sparse_product *p, const struct tile *t, struct chunks c,
                    const float *dy, const int32_t *mask, float *copy) {
    const struct stream *s = &p->forward;
    const struct place place = copy_place(s);
    const int first = s->chunk_row[c.from], rows = s->chunk_row[c.to] - first;
    const struct pack a = {.in = dy + (size_t)first * s->out.pitch,
                           .out = copy + (size_t)first * place.pitch,
                           .mask = mask,
                           .channels = rows,
                           .in_channel = s->out.pitch,
                           .in_line = s->out.line,
                           .in_step = s->out.step,
                           .out_channel = place.pitch,
                           .out_line = place.line,
                           .lines = t->h,
                           .units = t->w,
                           .way = ot_copy_way(s, s->out.pitch, s->out.step)};
    p->kernels->pack(&a);
}

static const float *tile_dy(const struct weight_job *job, const struct tile *t) {
    const struct sparse_product *p = job->p;
    return job->dy + ot_sparse_block(p, p->y_block, t->block) + ot_tile_from(&p->forward, t);
}

/* Sets from where a tile of dy is read. */
static void place_dy(const struct weight_job *job, const struct tile *t, struct chunks c,
                     float *copy, struct sddmm *a) {
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    int32_t mask[OT_TILE_UNITS * OT_UNIT];
    const bool partial = find_spare(p, t, mask);
    const bool far = ot_stream_wide(s) && !ot_dy_fits(s, c);
    a->dy = tile_dy(job, t);
    a->place = s->out;
    if (!partial && s->panels == 1 && !far && !job->data) return;
    copy_dy(p, t, c, a->dy, partial ? mask : NULL, copy);
    a->dy = copy;
    a->dy_in_l2 = true;
    a->place = copy_place(s);
}

/* The data gradient of a tile, from the copy of its dy. */
static void gather_along(const struct weight_job *job, int64_t item, struct chunks c, int worker,
                         const float *dy, struct joint_time *time) {
    const double start = time ? ot_clock() : 0;
    ot_sparse_gather_tile(job->data, item, c, worker, dy);
    if (time) time->data += ot_clock() - start;
}

static void weight_tile(const struct weight_job *job, int64_t item, bool last, struct chunks c,
                        int worker, struct joint_time *time, struct sddmm *a) {
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    const struct tile t = ot_tile_at(s, item), next = ot_tile_at(s, item + 1);
    const float *x = job->x + ot_sparse_block(p, p->x_block, t.block);
    float *buffer = ot_sparse_worker(p, job->scratch, worker), *copy = buffer + p->packed + p->dy;
    place_dy(job, &t, c, copy, a);
    if (job->data) gather_along(job, item, c, worker, copy, time);
    *a->prefetch = (struct prefetches){.out = 0};
    if (!last) {
        const float *next_x = job->x + ot_sparse_block(p, p->x_block, next.block);
        ot_prefetch_input(s, &next, next_x, c, &a->prefetch->in);
        if (!job->data) ot_prefetch_dy(s, &next, tile_dy(job, &next), c, &a->prefetch->dy);
    }
    for (int panel = 0; panel < s->panels; panel++) {
        a->in = ot_panel_input(p->kernels, s, x, &t, panel, buffer);
        for (int chunk = c.from; chunk < c.to; chunk++) {
            a->e = ot_stream_list(s, chunk, panel, 0);
            if (a->e.rows) p->kernels->sddmm[t.h - 1][t.w - 1](a);
        }
    }
    a->dy_in_l2 = ot_dy_fits(s, c); /* fetched for the next tile, if it is read in place */
}

static void weight_task(void *arg, int task, int worker) {
    const struct weight_job *job = arg;
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    const int share = task / job->tasks;
    const struct chunks c = ot_sparse_chunks(s, task % job->tasks, job->tasks);
    const int64_t items = p->blocks * s->tiles_h * s->tiles_w;
    float *sum = ot_sparse_sums(job, c, share, true);
    struct prefetches prefetch;
    struct sddmm a = {.in_line = (size_t)s->columns.length * OT_UNIT,
                      .sum = sum,
                      .bias = job->dbias ? sum + s->nnz : NULL,
                      .prefetch = &prefetch};
    struct joint_time *time = job->time ? &job->time[share] : NULL;
    const double start = time ? ot_clock() : 0;
    const int64_t to = items * (share + 1) / p->shares;
    for (int64_t i = items * share / p->shares; i < to; i++)
        weight_tile(job, i, i + 1 == to, c, worker, time, &a);
    if (time) time->all = ot_clock() - start;
}

/* The sum of the shares, in the order of the weight's slots. */
static void collect_task(void *arg, int task, int worker) {
    (void)worker;
    const struct weight_job *job = arg;
    const struct stream *s = &job->p->forward;
    const int64_t pitch = (int64_t)s->nnz + s->rows;
    int64_t from, to;
    ot_task_range(pitch, GRAIN, task, &from, &to);
    for (int i = 1; i < job->p->shares; i++)
        for (int64_t k = from; k < to; k++) job->sums[k] += job->sums[i * pitch + k];
    const int64_t slots = to < s->nnz ? to : s->nnz;
    for (int64_t k = from; job->dvalue && k < slots; k++)
        job->dvalue[s->slot ? s->slot[k] : k] = job->sums[k];
    for (int64_t k = from < slots ? slots : from; job->dbias && k < to; k++)
        job->dbias[k - s->nnz] = job->sums[k];
}

static double weight_share(const struct joint_time *time, int n) {
    struct joint_time sum = {0, 0};
    for (int i = 0; i < n; i++) {
        sum.data += time[i].data;
        sum.all += time[i].all;
    }
    return sum.all > 0 ? 1 - sum.data / sum.all : 0.5;
}

void ot_sparse_weight(struct op_node *n, const struct sparse_product *p, const float *x,
                      const float *dy, float *dvalue, float *dbias, const struct gather_job *data,
                      float *scratch) {
    const struct stream *s = &p->forward;
    struct weight_job job = {.n = n,
                             .p = p,
                             .x = x,
                             .dy = dy,
                             .scratch = scratch,
                             .dvalue = dvalue,
                             .dbias = dbias,
                             .data = data};
    struct joint_time time[OT_SPARSE_SHARES] = {0};
    if (data && n->weight_share) job.time = time;
    job.sums = ot_sparse_worker(p, scratch, n->workers);
    if (p->lanes) {
        job.tasks = ot_sparse_tasks(n, s, p->shares, s->nnz / RESIDENT + 1);
        ot_parallel_for(n->pool, p->shares * job.tasks, weight_task, &job);
    } else {
        ot_sparse_rows_weight(&job);
    }
    ot_parallel_for(n->pool, ot_task_count((int64_t)s->nnz + s->rows, GRAIN), collect_task, &job);
    if (job.time) *n->weight_share = weight_share(time, p->shares);
}
