/* sparse.c - forward and data gradient of a sparse layer over blocks of lanes.
 *
 * A sub-block is 16 lanes of one block. A task is one tile of one sub-block and some chunks of
 * rows; it packs a panel of channels and runs its rows, panel after panel. The number of threads
 * changes no bit: a row's sum is one task's.
 */
#include "ops/sparse_product.h"
#include "ops/sparse_tile.h"

enum { GRAIN = 1 << 12 }; /* values in a task */

/* Does the busiest of the workers get more than an eighth above the mean? */
static bool uneven(int64_t tasks, int64_t workers) {
    const int64_t most = (tasks + workers - 1) / workers;
    return most * workers * 8 > tasks * 9;
}

int ot_sparse_tasks(const struct sparse_product *p, const struct stream *s, int64_t items,
                    int64_t least) {
    const int64_t workers = ot_pool_workers(p->pool);
    int n = least < s->chunks && !ot_stream_packed(s) ? (int)least : s->chunks;
    while (n < s->chunks && uneven(items * n, workers)) n++;
    return n;
}

/* The part of a tile that lies in a plane: false if none does. */
static bool clip_tile(struct tile *t, const struct plane *plane) {
    if (t->h > plane->grid_h - t->oy) t->h = plane->grid_h - t->oy;
    if (t->w > plane->grid_w - t->ox) t->w = plane->grid_w - t->ox;
    return t->h > 0 && t->w > 0;
}

static float *tile_output(const struct gather_job *job, const struct tile *t) {
    return job->y + ot_sparse_block(job->p, job->y_block, t->block) + ot_tile_from(job->s, t);
}

void ot_sparse_gather_tile(const struct gather_job *job, int64_t item, struct chunks c, int worker,
                           const float *packed) {
    const struct stream *s = job->s;
    const struct kernels *k = job->p->kernels;
    const struct tile whole = ot_tile_at(s, item);
    const float *x = job->x + ot_sparse_block(job->p, job->x_block, whole.block);
    float *y = tile_output(job, &whole);
    struct ahead ahead = {.out = 0};
    if (c.to == s->chunks && item + 1 < job->items) { /* mostly what this worker does next */
        const struct tile next = ot_tile_at(s, item + 1);
        ot_fetch_input(s, &next, job->x + ot_sparse_block(job->p, job->x_block, next.block), c,
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
        a.in = packed ? packed + (size_t)(panel * s->width) * s->channel_size
                      : ot_panel_input(k, s, x, &whole, panel, buffer);
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
    ot_sparse_gather_tile(job, task / job->tasks,
                          ot_sparse_chunks(s, task % job->tasks, job->tasks), worker, NULL);
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
    if (!p->hold || !s->fresh)
        ot_parallel_for(p->pool, ot_task_count(s->nnz, GRAIN), refresh_task, &refresh);
    s->fresh = true;
    return s->value;
}

void ot_sparse_hold(struct sparse_product *p, bool on) {
    p->hold = on;
    p->forward.fresh = p->backward.fresh = false;
}

/* Is y written past the caches? With several panels a tile's outputs come all at once, at the last
 * one, which only pays if there are many more than a cache holds. */
static bool goes_past_cache(const struct stream *s, const float *y, size_t floats) {
    const size_t least = s->panels > 1 ? OT_PAST_CACHE : OT_PAST_CACHE / 2;
    return floats * sizeof *y > least && (uintptr_t)y % (OT_UNIT * sizeof *y) == 0;
}

static void begin(struct gather_job *job, const float *value) {
    const struct stream *s = job->s;
    job->value = ot_sparse_values(job->p, job->s, value);
    const size_t blocks = (size_t)(job->p->blocks / job->p->units);
    job->items = job->p->blocks * s->tiles_h * s->tiles_w;
    job->past_cache = goes_past_cache(s, job->y, blocks * job->y_block);
}

static void gather(struct gather_job *job, const float *value) {
    const struct stream *s = job->s;
    begin(job, value);
    job->tasks = ot_sparse_tasks(job->p, s, job->items, 1);
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

bool ot_sparse_is_joint(const struct sparse_product *p) {
    const int64_t workers = ot_pool_workers(p->pool); /* a share is one worker's */
    return p->joint && workers <= p->shares && !uneven(p->shares, workers);
}

void ot_sparse_ask_share(struct sparse_product *p, double *share) { p->share = share; }

void ot_sparse_backward(struct sparse_product *p, const float *x, const float *value,
                        const float *dy, float *dx, float *dvalue, float *dbias, void *scratch) {
    struct gather_job job = {.p = p, .s = &p->backward, .x = dy, .y = dx, .x_block = p->y_block,
                             .y_block = p->x_block, .scratch = scratch};
    const bool weight = dvalue || dbias;
    const bool joint = dx && weight && ot_sparse_is_joint(p);
    if (joint) begin(&job, value);
    else if (dx && p->lanes) gather(&job, value);
    else if (dx) ot_sparse_rows_backward(p, value, dy, dx, scratch);
    if (weight) ot_sparse_weight(p, x, dy, dvalue, dbias, joint ? &job : NULL, scratch);
}
