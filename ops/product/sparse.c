/* sparse.c - forward and data gradient of a sparse layer over blocks of lanes.
 *
 * A sub-block is 16 lanes of one block. A task is one tile of one sub-block and some chunks of
 * rows; it packs a panel of channels and runs its rows, panel after panel. The number of threads
 * changes no bit: a row's sum is one task's.
 */
#include "ops/product/sparse_product.h"
#include "ops/product/sparse_tile.h"

static void gather_task(void *arg, int task, int worker) {
    const struct gather_job *job = arg;
    const struct stream *s = job->s;
    ot_sparse_gather_tile(job, task / job->tasks,
                          ot_sparse_chunks(s, task % job->tasks, job->tasks), worker, NULL);
}

void ot_sparse_hold(struct op_node *n, const struct sparse_product *p, bool on) {
    if (!p->few) *ot_sparse_work(n, p) = (struct sparse_work){.hold = on};
}

/* Is y written past the caches? With several panels a tile's outputs come all at once, at the last
 * one, which only pays if there are many more than a cache holds. */
static bool goes_past_cache(const struct stream *s, const float *y, size_t floats) {
    const size_t least = s->panels > 1 ? OT_PAST_CACHE : OT_PAST_CACHE / 2;
    return floats * sizeof *y > least && (uintptr_t)y % (OT_UNIT * sizeof *y) == 0;
}

static void start_gather(struct gather_job *job, const float *value) {
    const struct stream *s = job->s;
    job->value = ot_sparse_values(job->n, job->p, job->s, value);
    const size_t blocks = (size_t)(job->p->blocks / job->p->units);
    job->items = job->p->blocks * s->tiles_h * s->tiles_w;
    job->past_cache = goes_past_cache(s, job->y, blocks * job->y_block);
}

static void gather(struct gather_job *job, const float *value) {
    const struct stream *s = job->s;
    start_gather(job, value);
    job->tasks = ot_sparse_tasks(job->n, s, job->items, 1);
    ot_parallel_for(job->n->pool, (int)(job->items * job->tasks), gather_task, job);
}

void ot_sparse_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                       const float *value, const float *bias, float *y, void *scratch) {
    if (p->few) {
        ot_sparse_few_forward(n, p, x, value, bias, y, scratch);
        return;
    }
    if (!p->lanes) {
        ot_sparse_rows_forward(n, p, x, value, bias, y, scratch);
        return;
    }
    struct gather_job job = {.n = n,
                             .p = p,
                             .s = &p->forward,
                             .x = x,
                             .bias = bias,
                             .y = y,
                             .x_block = p->x_block,
                             .y_block = p->y_block,
                             .scratch = scratch};
    gather(&job, value);
}

bool ot_sparse_is_joint(const struct op_node *n, const struct sparse_product *p) {
    const int64_t workers = n->workers; /* a share is one worker's */
    if (p->few) return p->joint;
    return p->joint && workers <= p->shares && !ot_sparse_uneven(p->shares, workers);
}

void ot_sparse_backward(struct op_node *n, const struct sparse_product *p, const float *x,
                        const float *value, const float *dy, float *dx, float *dvalue, float *dbias,
                        void *scratch) {
    if (p->few) {
        ot_sparse_few_backward(n, p, x, value, dy, dx, dvalue, dbias, scratch);
        return;
    }
    struct gather_job job = {.n = n,
                             .p = p,
                             .s = &p->backward,
                             .x = dy,
                             .y = dx,
                             .x_block = p->y_block,
                             .y_block = p->x_block,
                             .scratch = scratch};
    const bool weight = dvalue || dbias;
    const bool joint = dx && weight && ot_sparse_is_joint(n, p);
    if (joint)
        start_gather(&job, value);
    else if (dx && p->lanes)
        gather(&job, value);
    else if (dx)
        ot_sparse_rows_backward(n, p, value, dy, dx, scratch);
    if (weight) ot_sparse_weight(n, p, x, dy, dvalue, dbias, joint ? &job : NULL, scratch);
}
