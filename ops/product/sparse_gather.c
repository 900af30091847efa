/* sparse_gather.c - what the passes of a sparse layer share: tasks, a tile of products, the values
 * of the weight in a stream's order, and the sums of its gradient. */
#include <string.h>

#include "ops/product/sparse_product.h"
#include "ops/product/sparse_tile.h"

enum { GRAIN = 1 << 12 }; /* values in a task */

bool ot_sparse_uneven(int64_t tasks, int64_t workers) {
    const int64_t most = (tasks + workers - 1) / workers;
    return most * workers * 8 > tasks * 9;
}

int ot_sparse_tasks(const struct op_node *n, const struct stream *s, int64_t items, int64_t least) {
    const int64_t workers = n->workers;
    int tasks = least < s->chunks && !ot_stream_packed(s) ? (int)least : s->chunks;
    while (tasks < s->chunks && ot_sparse_uneven(items * tasks, workers)) tasks++;
    return tasks;
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
    struct prefetches prefetch = {.out = 0};
    if (c.to == s->chunks && item + 1 < job->items) { /* mostly what this worker does next */
        const struct tile next = ot_tile_at(s, item + 1);
        ot_prefetch_input(s, &next, job->x + ot_sparse_block(job->p, job->x_block, next.block), c,
                          &prefetch.in);
        if (!job->past_cache)
            prefetch.out = (ptrdiff_t)((uintptr_t)tile_output(job, &next) - (uintptr_t)y);
    }
    float *buffer = ot_sparse_worker(job->p, job->scratch, worker);
    float *part = buffer + job->p->packed;
    struct spmm a = {.in_line = (size_t)s->columns.length * OT_UNIT,
                     .value = job->value,
                     .bias = job->bias,
                     .part_pitch = (size_t)s->tile_h * (size_t)s->tile_w * OT_UNIT,
                     .place = s->out,
                     .past_cache = job->past_cache,
                     .prefetch = &prefetch};
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

struct refresh_job {
    const struct stream *s;
    const float *value;
    float *copy;
};

static void refresh_task(void *arg, int task, int worker) {
    (void)worker;
    const struct refresh_job *job = arg;
    int64_t from, to;
    ot_task_range(job->s->nnz, GRAIN, task, &from, &to);
    ot_stream_refresh(job->s, job->value, job->copy, from, to);
}

const float *ot_sparse_values(const struct op_node *n, const struct sparse_product *p,
                              const struct stream *s, const float *value) {
    if (!s->slot) return value;
    struct sparse_work *w = ot_sparse_work(n, p);
    bool *fresh = &w->fresh[s == &p->backward];
    struct refresh_job refresh = {s, value, (float *)(void *)((char *)n->work + s->value)};
    if (!w->hold || !*fresh)
        ot_parallel_for(n->pool, ot_task_count(s->nnz, GRAIN), refresh_task, &refresh);
    *fresh = true;
    return refresh.copy;
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
