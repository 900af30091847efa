/* sparse.c - forward and backward of a sparse layer over blocks of lanes.
 *
 * A sub-block is 16 lanes of one block. A task of forward or of the data gradient is one tile of
 * one sub-block and some chunks of rows; it packs a panel of channels and runs its rows, panel
 * after panel. A task of the weight gradient is some chunks of rows over a fixed share of all
 * tiles; the shares are added in their order. So the number of threads changes no bit.
 */
#include <string.h>

#include "ops/sparse_product.h"
#include "ops/sparse_tile.h"

/* Values in a task; nonzeros whose sums and offsets stay in a second-level cache for all tiles. */
enum { GRAIN = 1 << 15, RESIDENT = 1 << 16 };

/* First float of a sub-block. */
static size_t block_from(const struct sparse_product *p, size_t block_floats, int64_t block) {
    return (size_t)(block / p->units) * block_floats + (size_t)(block % p->units) * OT_UNIT;
}

/* Does the busiest of the workers get more than an eighth above the mean? */
static bool uneven(int64_t tasks, int64_t workers) {
    const int64_t most = (tasks + workers - 1) / workers;
    return most * workers * 8 > tasks * 9;
}

/* Tasks that share the chunks of each item, at least `least`: as few as keep all workers busy,
 * since each packs the inputs of its tiles. */
static int tasks_each(const struct sparse_product *p, const struct stream *s, int64_t items,
                      int64_t least) {
    const int64_t workers = ot_pool_workers(p->pool);
    int n = least < s->chunks && !ot_stream_packed(s) ? (int)least : s->chunks;
    while (n < s->chunks && uneven(items * n, workers)) n++;
    return n;
}

static struct chunks chunks_of(const struct stream *s, int task, int tasks) {
    return (struct chunks){s->chunks * task / tasks, s->chunks * (task + 1) / tasks};
}

/* ---- forward and data gradient ---- */

struct gather_job {
    struct sparse_product *p;
    struct stream *s;
    const float *x, *value, *bias;
    float *y;
    size_t x_block, y_block;
    int64_t items;   /* tiles of all blocks */
    int tasks;       /* for each */
    bool past_cache; /* y is written past the caches */
    float *scratch;
};

/* The part of a tile that lies in a plane: false if none does. */
static bool clip_tile(struct tile *t, const struct plane *plane) {
    if (t->h > plane->grid_h - t->oy) t->h = plane->grid_h - t->oy;
    if (t->w > plane->grid_w - t->ox) t->w = plane->grid_w - t->ox;
    return t->h > 0 && t->w > 0;
}

static float *tile_output(const struct gather_job *job, const struct tile *t) {
    const struct stream *s = job->s;
    return job->y + block_from(job->p, job->y_block, t->block) + (size_t)t->oy * s->out.line +
           (size_t)t->ox * s->out.step;
}

static void gather_tile(const struct gather_job *job, int64_t item, struct chunks c, int worker) {
    const struct stream *s = job->s;
    const struct kernels *k = job->p->kernels;
    const struct tile whole = ot_tile_at(s, item);
    const float *x = job->x + block_from(job->p, job->x_block, whole.block);
    float *y = tile_output(job, &whole);
    struct ahead ahead = {.out = 0};
    if (c.to == s->chunks && item + 1 < job->items) { /* mostly what this worker does next */
        const struct tile next = ot_tile_at(s, item + 1);
        ot_fetch_input(s, &next, job->x + block_from(job->p, job->x_block, next.block), c,
                       &ahead.in);
        if (!job->past_cache)
            ahead.out = (ptrdiff_t)((uintptr_t)tile_output(job, &next) - (uintptr_t)y);
    }
    float *buffer = ot_sparse_worker(job->p, job->scratch, worker);
    float *part = buffer + job->p->packed;
    struct spmm a = {.in_line = (size_t)s->columns.length * OT_UNIT, .value = job->value,
                     .bias = job->bias,
                     .part_pitch = (size_t)s->tile_h * (size_t)s->tile_w * OT_UNIT,
                     .place = s->out, .past_cache = job->past_cache, .ahead = &ahead};
    for (int panel = 0; panel < s->panels; panel++) {
        a.in = ot_panel_input(k, s, x, &whole, panel, buffer);
        for (int i = c.from * s->planes; i < c.to * s->planes; i++) {
            const int chunk = i / s->planes, plane = i % s->planes;
            struct tile t = whole;
            a.e = ot_stream_list(s, chunk, panel, plane);
            if (!a.e.rows || !clip_tile(&t, &s->plane[plane])) continue;
            a.part = part + (size_t)plane * (size_t)s->rows * a.part_pitch;
            a.out = y + s->plane[plane].from;
            k->spmm[t.h - 1][t.w - 1](&a);
        }
    }
}

static void gather_task(void *arg, int task, int worker) {
    const struct gather_job *job = arg;
    const struct stream *s = job->s;
    gather_tile(job, task / job->tasks, chunks_of(s, task % job->tasks, job->tasks), worker);
}

struct refresh_job {
    struct stream *s;
    const float *value;
};

static void refresh_task(void *arg, int task, int worker) {
    (void)worker;
    const struct refresh_job *job = arg;
    int64_t from, to;
    ot_task_range(job->s->nnz, GRAIN, task, &from, &to);
    ot_stream_refresh(job->s, job->value, from, to);
}

const float *ot_sparse_values(struct sparse_product *p, struct stream *s, const float *value) {
    if (!s->slot) return value;
    struct refresh_job refresh = {s, value};
    ot_parallel_for(p->pool, ot_task_count(s->nnz, GRAIN), refresh_task, &refresh);
    return s->value;
}

/* Is y written past the caches? With several panels a tile's outputs come all at once, at the last
 * one, which only pays if there are many more than a cache holds. */
static bool goes_past_cache(const struct stream *s, const float *y, size_t floats) {
    const size_t least = s->panels > 1 ? OT_PAST_CACHE : OT_PAST_CACHE / 2;
    return floats * sizeof *y > least && (uintptr_t)y % (OT_UNIT * sizeof *y) == 0;
}

static void gather(struct gather_job *job, const float *value) {
    const struct stream *s = job->s;
    job->value = ot_sparse_values(job->p, job->s, value);
    const size_t blocks = (size_t)(job->p->blocks / job->p->units);
    job->items = job->p->blocks * s->tiles_h * s->tiles_w;
    job->past_cache = goes_past_cache(s, job->y, blocks * job->y_block);
    job->tasks = tasks_each(job->p, s, job->items, 1);
    ot_parallel_for(job->p->pool, (int)(job->items * job->tasks), gather_task, job);
}

void ot_sparse_forward(struct sparse_product *p, const float *x, const float *value,
                       const float *bias, float *y, void *scratch) {
    if (!p->lanes) {
        ot_sparse_rows_forward(p, x, value, bias, y, scratch);
        return;
    }
    struct gather_job job = {.p = p, .s = &p->forward, .x = x, .bias = bias, .y = y,
                             .x_block = p->x_block, .y_block = p->y_block, .scratch = scratch};
    gather(&job, value);
}

/* ---- weight gradient ---- */

/* Samples that a sub-block really has, for the unit of a flat row at position `at`. */
static int valid_lanes(const struct sparse_product *p, int64_t block, int at) {
    int64_t from = block / p->units * p->lanes +
                   (block % p->units + at % p->flat_units) * (int64_t)OT_UNIT;
    int64_t n = p->n - from;
    return n < 0 ? 0 : n < OT_UNIT ? (int)n : OT_UNIT;
}

static void zero_spare(float *unit, int valid) {
    memset(unit + valid, 0, (size_t)(OT_UNIT - valid) * sizeof *unit);
}

/* A compact copy of a tile of dy, of rows of some chunks; `partial`: with spare lanes zeroed. */
static void copy_dy(const struct sparse_product *p, const struct tile *t, struct chunks c,
                    const float *dy, bool partial, float *copy) {
    const struct stream *s = &p->forward;
    const size_t tile = (size_t)t->h * (size_t)t->w * OT_UNIT;
    const int first = s->chunk_row[c.from], rows = s->chunk_row[c.to] - first;
    float *to = copy + (size_t)first * tile;
    const struct pack a = {.in = dy + (size_t)first * s->out.pitch, .out = to, .channels = rows,
                           .in_channel = s->out.pitch, .in_line = s->out.line,
                           .in_step = s->out.step, .out_channel = tile,
                           .out_line = (size_t)t->w * OT_UNIT, .lines = t->h, .units = t->w,
                           .way = ot_copy_way(s, s->out.pitch, s->out.step)};
    p->kernels->pack(&a);
    const int units = t->h * t->w;
    for (int u = 0; partial && u < rows * units; u++)
        zero_spare(to + (size_t)u * OT_UNIT, valid_lanes(p, t->block, t->ox + u % units % t->w));
}

static const float *tile_dy(const struct weight_job *job, const struct tile *t) {
    const struct sparse_product *p = job->p;
    const struct place *out = &p->forward.out;
    return job->dy + block_from(p, p->y_block, t->block) + (size_t)t->oy * out->line +
           (size_t)t->ox * out->step;
}

static void weight_tile(const struct weight_job *job, const struct tile *t,
                        const struct tile *next, struct chunks c, float *buffer,
                        struct sddmm *a) {
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    const float *x = job->x + block_from(p, p->x_block, t->block);
    const bool partial = (t->block / p->units + 1) * p->lanes > p->n;
    a->dy = tile_dy(job, t);
    a->place = s->out;
    if (partial || s->panels > 1 || (ot_stream_wide(s) && !ot_dy_fits(s, c))) {
        float *copy = buffer + p->packed;
        copy_dy(p, t, c, a->dy, partial, copy);
        a->dy = copy;
        a->place = (struct place){(size_t)t->h * (size_t)t->w * OT_UNIT, (size_t)t->w * OT_UNIT,
                                  OT_UNIT};
    }
    *a->ahead = (struct ahead){.out = 0};
    if (next) {
        const float *next_x = job->x + block_from(p, p->x_block, next->block);
        ot_fetch_input(s, next, next_x, c, &a->ahead->in);
        ot_fetch_dy(s, next, tile_dy(job, next), c, &a->ahead->dy);
    }
    for (int panel = 0; panel < s->panels; panel++) {
        a->in = ot_panel_input(p->kernels, s, x, t, panel, buffer);
        for (int chunk = c.from; chunk < c.to; chunk++) {
            a->e = ot_stream_list(s, chunk, panel, 0);
            if (a->e.rows) p->kernels->sddmm[t->h - 1][t->w - 1](a);
        }
    }
}

/* Where `at` numbers slots, a chunk has the same ones as entries: its rows follow one another. */
float *ot_sparse_sums(const struct weight_job *job, struct chunks c, int share, bool clear) {
    const struct stream *s = &job->p->forward;
    const int first = s->ptr[s->list[c.from * s->panels]];
    const int last = s->ptr[s->list[c.to * s->panels]];
    const int row = s->chunk_row[c.from], rows = s->chunk_row[c.to] - row;
    float *sum = job->sums + (size_t)share * ((size_t)s->nnz + (size_t)s->rows);
    if (clear) {
        memset(sum + first, 0, (size_t)(last - first) * sizeof *sum);
        memset(sum + s->nnz + row, 0, (size_t)rows * sizeof *sum);
    }
    return sum;
}

static void weight_task(void *arg, int task, int worker) {
    const struct weight_job *job = arg;
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    const int share = task / job->tasks;
    const struct chunks c = chunks_of(s, task % job->tasks, job->tasks);
    const int64_t items = p->blocks * s->tiles_h * s->tiles_w;
    float *sum = ot_sparse_sums(job, c, share, true);
    struct ahead ahead;
    struct sddmm a = {.in_line = (size_t)s->columns.length * OT_UNIT, .sum = sum,
                      .bias = job->dbias ? sum + s->nnz : NULL, .ahead = &ahead};
    const int64_t to = items * (share + 1) / p->shares;
    for (int64_t i = items * share / p->shares; i < to; i++) {
        const struct tile t = ot_tile_at(s, i), next = ot_tile_at(s, i + 1);
        weight_tile(job, &t, i + 1 < to ? &next : NULL, c,
                    ot_sparse_worker(p, job->scratch, worker), &a);
    }
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

static void backward_data(struct sparse_product *p, const float *value, const float *dy, float *dx,
                          float *scratch) {
    if (!p->lanes) {
        ot_sparse_rows_backward(p, value, dy, dx, scratch);
        return;
    }
    struct gather_job job = {.p = p, .s = &p->backward, .x = dy, .y = dx, .x_block = p->y_block,
                             .y_block = p->x_block, .scratch = scratch};
    gather(&job, value);
}

void ot_sparse_backward(struct sparse_product *p, const float *x, const float *value,
                        const float *dy, float *dx, float *dvalue, float *dbias, void *scratch) {
    if (dx) backward_data(p, value, dy, dx, scratch);
    if (!dvalue && !dbias) return;
    const struct stream *s = &p->forward;
    struct weight_job job = {.p = p, .x = x, .dy = dy, .scratch = scratch, .dvalue = dvalue,
                             .dbias = dbias};
    job.sums = ot_sparse_worker(p, scratch, ot_pool_workers(p->pool));
    job.tasks = tasks_each(p, s, p->shares, s->nnz / RESIDENT + 1);
    if (p->lanes)
        ot_parallel_for(p->pool, p->shares * job.tasks, weight_task, &job);
    else
        ot_sparse_rows_weight(&job);
    ot_parallel_for(p->pool, ot_task_count((int64_t)s->nnz + s->rows, GRAIN), collect_task, &job);
}
