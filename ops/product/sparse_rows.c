/* sparse_rows.c - forward and backward of a sparse layer over few samples, in rows.
 *
 * Some samples at a time: the channels that have nonzeros are packed as flat.h has it, once for
 * all; then a task is one tile of the output image and one chunk of rows. A task of the weight
 * gradient is one chunk of rows over a fixed share of the tiles, as in lanes. So the number of
 * threads changes no bit.
 */
#include "ops/product/sparse_product.h"

enum { GRAIN = 1 << 12 }; /* floats that a task packs */

/* Samples in hand, from this one on. */
static int samples_from(const struct sparse_product *p, const struct stream *s, int64_t from) {
    return p->n - from < s->flat.samples ? (int)(p->n - from) : s->flat.samples;
}

/* ---- packing ---- */

struct pack_job {
    const struct flat *flat;
    const struct flat_part *part; /* of each plane */
    int planes;
    size_t plane;           /* floats */
    const int32_t *channel; /* NULL: all of them */
    int channels;
    size_t pitch; /* from channel to channel in x */
    const float *x;
    size_t sample;
    int samples;
    float *out;
    size_t size; /* from channel to channel in out */
};

static int64_t channels_a_task(const struct pack_job *job) {
    const int64_t n = GRAIN / (int64_t)(job->size + 1);
    return n > 0 ? n : 1;
}

static void pack_task(void *arg, int task, int worker) {
    (void)worker;
    const struct pack_job *job = arg;
    int64_t from, to;
    ot_task_range(job->channels, channels_a_task(job), task, &from, &to);
    for (int64_t c = from; c < to; c++) {
        const float *x = job->x + (size_t)(job->channel ? job->channel[c] : c) * job->pitch;
        for (int i = 0; i < job->planes; i++)
            ot_flat_pack(job->flat, &job->part[i], x, job->sample, job->samples,
                         job->out + (size_t)c * job->size + (size_t)i * job->plane, job->plane);
    }
}

static void run_pack(const struct op_node *n, struct pack_job *job) {
    ot_parallel_for(n->pool, ot_task_count(job->channels, channels_a_task(job)), pack_task, job);
}

/* All channels that the stream reads. */
static void pack_input(const struct op_node *n, const struct sparse_product *p,
                       const struct stream *s, const float *x, size_t sample, int64_t from,
                       float *out) {
    struct pack_job job = {.flat = &s->flat,
                           .part = s->part,
                           .planes = s->lines.runs * s->columns.runs,
                           .plane = s->flat.plane,
                           .channel = s->channel,
                           .channels = s->live,
                           .pitch = s->in.channel,
                           .x = x + (size_t)from * sample,
                           .sample = sample,
                           .samples = samples_from(p, s, from),
                           .out = out,
                           .size = s->channel_size};
    run_pack(n, &job);
}

/* All rows of dy, zeros between the lines. */
static void pack_dy(const struct op_node *n, const struct sparse_product *p, const float *dy,
                    int64_t from, float *out) {
    const struct stream *s = &p->forward;
    const struct flat_part all = {
        .bottom = s->flat.height, .right = s->flat.width, .line = s->out.line, .step = 1};
    struct pack_job job = {.flat = &s->flat,
                           .part = &all,
                           .planes = 1,
                           .plane = ot_sparse_dy_size(p),
                           .channels = s->rows,
                           .pitch = s->out.pitch,
                           .x = dy + (size_t)from * p->y_block,
                           .sample = p->y_block,
                           .samples = samples_from(p, s, from),
                           .out = out,
                           .size = ot_sparse_dy_size(p)};
    run_pack(n, &job);
}

/* ---- forward and data gradient ---- */

struct flat_job {
    struct op_node *n;
    const struct sparse_product *p;
    const struct stream *s;
    const float *value, *bias;
    float *y, *scratch;
    size_t y_sample;
    int samples;
};

/* The tile of all rows of a chunk to y. */
static void write_tile(const struct flat_job *job, int chunk, int from, const float *part) {
    const struct stream *s = job->s;
    const size_t pitch = (size_t)s->tile_w * OT_UNIT;
    const int row = s->chunk_row[chunk];
    for (int i = 0; i < s->planes; i++) {
        const struct plane *plane = &s->plane[i];
        const struct flat_rows rows = {.in = part +
                                             ((size_t)i * (size_t)s->rows + (size_t)row) * pitch,
                                       .pitch = pitch,
                                       .from = from,
                                       .count = s->tile_w * OT_UNIT,
                                       .rows = s->chunk_row[chunk + 1] - row,
                                       .height = plane->grid_h,
                                       .width = plane->grid_w,
                                       .samples = job->samples,
                                       .y = job->y + plane->from + (size_t)row * s->out.pitch,
                                       .sample = job->y_sample,
                                       .place = s->out};
        ot_flat_unpack(&s->flat, &rows);
    }
}

static void gather_task(void *arg, int task, int worker) {
    const struct flat_job *job = arg;
    const struct stream *s = job->s;
    const int chunk = task % s->chunks, from = task / s->chunks * s->tile_w * OT_UNIT;
    const size_t pitch = (size_t)s->tile_w * OT_UNIT;
    float *part = ot_sparse_worker(job->p, job->scratch, worker);
    struct spmm a = {
        .value = job->value, .bias = job->bias, .part_pitch = pitch, .place = {pitch, 0, OT_UNIT}};
    for (int panel = 0; panel < s->panels; panel++) {
        a.in = job->scratch + (size_t)(panel * s->width) * s->channel_size + from;
        for (int plane = 0; plane < s->planes; plane++) {
            a.e = ot_stream_list(s, chunk, panel, plane);
            a.part = a.out = part + (size_t)plane * (size_t)s->rows * pitch;
            if (a.e.rows) job->p->kernels->spmm[0][s->tile_w - 1](&a);
        }
    }
    write_tile(job, chunk, from, part);
}

static void gather(struct flat_job *job, const float *x, size_t x_sample) {
    const struct stream *s = job->s;
    float *const y = job->y;
    for (int64_t from = 0; from < job->p->n; from += s->flat.samples) {
        pack_input(job->n, job->p, s, x, x_sample, from, job->scratch);
        job->y = y + (size_t)from * job->y_sample;
        job->samples = samples_from(job->p, s, from);
        ot_parallel_for(job->n->pool, s->tiles_w * s->chunks, gather_task, job);
    }
}

void ot_sparse_rows_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                            const float *value, const float *bias, float *y, float *scratch) {
    struct flat_job job = {.n = n,
                           .p = p,
                           .s = &p->forward,
                           .bias = bias,
                           .y = y,
                           .scratch = scratch,
                           .y_sample = p->y_block};
    job.value = ot_sparse_values(n, p, &p->forward, value);
    gather(&job, x, p->x_block);
}

void ot_sparse_rows_backward(struct op_node *n, const struct sparse_product *p, const float *value,
                             const float *dy, float *dx, float *scratch) {
    struct flat_job job = {
        .n = n, .p = p, .s = &p->backward, .y = dx, .scratch = scratch, .y_sample = p->x_block};
    job.value = ot_sparse_values(n, p, &p->backward, value);
    gather(&job, dy, p->y_block);
}

/* ---- weight gradient ---- */

struct rows_job {
    const struct weight_job *job;
    const float *x, *dy; /* packed */
    bool first;          /* group */
};

static void weight_task(void *arg, int task, int worker) {
    (void)worker;
    const struct rows_job *r = arg;
    const struct sparse_product *p = r->job->p;
    const struct stream *s = &p->forward;
    const int chunk = task % s->chunks, share = task / s->chunks;
    const int64_t tiles = s->tiles_w;
    float *sum = ot_sparse_sums(r->job, (struct chunks){chunk, chunk + 1}, share, r->first);
    struct sddmm a = {.place = {ot_sparse_dy_size(p), 0, OT_UNIT},
                      .sum = sum,
                      .bias = r->job->dbias ? sum + s->nnz : NULL};
    for (int64_t i = tiles * share / p->shares; i < tiles * (share + 1) / p->shares; i++) {
        const size_t from = (size_t)i * (size_t)s->tile_w * OT_UNIT;
        a.dy = r->dy + from;
        for (int panel = 0; panel < s->panels; panel++) {
            a.e = ot_stream_list(s, chunk, panel, 0);
            a.in = r->x + (size_t)(panel * s->width) * s->channel_size + from;
            if (a.e.rows) p->kernels->sddmm[0][s->tile_w - 1](&a);
        }
    }
}

void ot_sparse_rows_weight(const struct weight_job *job) {
    const struct op_node *n = job->n;
    const struct sparse_product *p = job->p;
    const struct stream *s = &p->forward;
    float *x = job->scratch, *dy = x + s->channel_size * (size_t)s->live;
    for (int64_t from = 0; from == 0 || from < p->n; from += s->flat.samples) {
        struct rows_job r = {job, x, dy, from == 0};
        pack_input(n, p, s, job->x, p->x_block, from, x);
        pack_dy(n, p, job->dy, from, dy);
        ot_parallel_for(n->pool, p->shares * s->chunks, weight_task, &r);
    }
}
