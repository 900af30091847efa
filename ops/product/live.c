/* live.c - products with a weight that has a pattern on dense kernels: oneDNN's convolution, or its
 * matrix product where the image is one pixel. */
#include "ops/product/live.h"

#include <string.h>

#include "ops/product/channel_move.h"
#include "ops/product/dnnl.h"

/* Elements of W in a task; channels whose gradients of the bias a task adds up. */
enum { GRAIN = 1 << 15, SUMS = 64 };

/* Where things stand in the scratch memory of one direction, in floats; side: some of the bias, or
 * of dx. */
struct room {
    size_t x, y, side, weight, rest;
};

struct live_product {
    const struct pattern *pattern;
    struct conv_shape shape, part;
    struct channel_move in, out; /* channel NULL: all */
    int32_t *column; /* of each group of W and each of its columns: the column of the part */
    int64_t columns; /* of the part */
    const struct dense_conv *conv; /* NULL: a matrix product */
    struct room forward, backward;
    bool keeps;     /* backward finds the part of W in save memory */
    bool sums_bias; /* the dense kernels make its gradient */
};

/* ---- the weight ---- */

struct weight_job {
    const struct live_product *p;
    const float *value;
    float *part, *dvalue;
};

static int64_t rows_a_task(const struct live_product *p) { return GRAIN / (p->columns + 1) + 1; }

/* Row r of the part is this row of W, whose columns go to these. */
static int weight_row(const struct live_product *p, int64_t r, const int32_t **column) {
    const int64_t row = p->out.channel ? p->out.channel[r] : r;
    *column = p->column + row / (p->shape.m / p->shape.groups) * p->pattern->cols;
    return (int)row;
}

/* Slots of W with zeros between them. */
static void fill_dense_rows(void *arg, int task, int worker) {
    const struct weight_job *job = arg;
    const struct live_product *p = job->p;
    const int32_t *column;
    int64_t from, to;
    (void)worker;
    ot_task_range(p->part.m, rows_a_task(p), task, &from, &to);
    memset(job->part + from * p->columns, 0, (size_t)((to - from) * p->columns) * sizeof(float));
    for (int64_t r = from; r < to; r++) {
        const int row = weight_row(p, r, &column);
        float *out = job->part + r * p->columns;
        for (int k = p->pattern->row[row]; k < p->pattern->row[row + 1]; k++)
            out[column[p->pattern->col[k]]] = job->value[k];
    }
}

/* The gradient of the slots. */
static void read_rows(void *arg, int task, int worker) {
    const struct weight_job *job = arg;
    const struct live_product *p = job->p;
    const int32_t *column;
    int64_t from, to;
    (void)worker;
    ot_task_range(p->part.m, rows_a_task(p), task, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const int row = weight_row(p, r, &column);
        const float *in = job->part + r * p->columns;
        for (int k = p->pattern->row[row]; k < p->pattern->row[row + 1]; k++)
            job->dvalue[k] = in[column[p->pattern->col[k]]];
    }
}

static void over_rows(const struct op_node *n, void (*run)(void *, int, int),
                      struct weight_job *job) {
    ot_parallel_for(n->pool, ot_task_count(job->p->part.m, rows_a_task(job->p)), run, job);
}

/* ---- the bias ---- */

struct bias_job {
    const struct op_node *n;
    const struct channel_move *out;
};

/* dbias: sums of dy over samples and pixels. */
static void sum_channels(void *arg, int task, int worker) {
    const struct bias_job *job = arg;
    const struct channel_move *out = job->out;
    const int lanes = out->lanes;
    double sum[SUMS] = {0};
    int64_t from, to;
    (void)worker;
    ot_task_range(out->all, SUMS, task, &from, &to);
    for (int64_t s = 0; s < out->samples; s++) {
        const float *dy = ot_f(job->n->dy[0]) + (s * out->all + from) * out->pixels;
        for (int64_t c = 0; c < to - from; c += lanes)
            for (int64_t i = 0; i < out->pixels; i++, dy += lanes)
                for (int l = 0; l < lanes; l++) sum[c + l] += (double)dy[l];
    }
    for (int64_t c = from; c < to; c++) ot_f(job->n->dx[2])[c] = (float)sum[c - from];
}

static bool has_bias(const struct op_node *n) { return n->n_in > 2 && n->x[2]; }

/* The bias of the part. */
static const float *part_bias(const struct op_node *n, const struct live_product *p, float *room) {
    if (!has_bias(n) || !p->out.channel) return has_bias(n) ? ot_f(n->x[2]) : NULL;
    const struct channel_move one = {p->out.channel, p->out.kept, p->out.all, 1, 1, 1};
    ot_channels_gather(n, &one, ot_f(n->x[2]), room);
    return room;
}

/* Every row of a matrix product begins as the bias. */
static void start_with_bias(const struct live_product *p, const float *bias, float *y) {
    const int64_t m = p->part.m;
    for (int64_t i = 0; i < p->part.n; i++) memcpy(y + i * m, bias, (size_t)m * sizeof *y);
}

/* ---- one step ---- */

static void multiply_matrices(struct op_node *n, const struct live_product *p, const float *x,
                              const float *w, const float *bias, float *y) {
    if (bias) start_with_bias(p, bias, y);
    const struct dense_gemm g = {.tb = true,
                                 .m = p->part.n,
                                 .n = p->part.m,
                                 .k = p->part.c,
                                 .alpha = 1,
                                 .accumulate = bias != NULL};
    ot_dense_gemm(n, &g, x, w, y);
}

static void multiply_back(struct op_node *n, const struct live_product *p, const float *x,
                          const float *w, const float *dy, float *dx, float *dw) {
    const struct dense_gemm data = {.m = p->part.n, .n = p->part.c, .k = p->part.m, .alpha = 1},
                            weight = {.ta = true,
                                      .m = p->part.m,
                                      .n = p->part.c,
                                      .k = p->part.n,
                                      .alpha = 1};
    if (dx) ot_dense_gemm(n, &data, dy, w, dx);
    if (dw) ot_dense_gemm(n, &weight, dy, x, dw);
}

/* The listed channels of `all`, in scratch from `at` on; all of them where there is no list. */
static const float *gathered(const struct op_node *n, const struct channel_move *m,
                             const float *all, size_t at) {
    float *some = (float *)n->scratch + at;
    if (!m->channel) return all;
    ot_channels_gather(n, m, all, some);
    return some;
}

void ot_live_forward(struct op_node *n, const struct live_product *p) {
    float *scratch = n->scratch, *y = ot_f(n->y[0]);
    float *part = p->out.channel ? scratch + p->forward.y : y;
    float *w = p->keeps ? n->save : scratch + p->forward.weight;
    void *rest = scratch + p->forward.rest;
    struct weight_job job = {p, ot_f(n->x[1]), w, NULL};
    over_rows(n, fill_dense_rows, &job);
    const float *x = gathered(n, &p->in, ot_f(n->x[0]), p->forward.x);
    const float *bias = part_bias(n, p, scratch + p->forward.side);
    if (p->conv)
        ot_dense_conv_forward(n, p->conv, x, w, bias, part, rest);
    else
        multiply_matrices(n, p, x, w, bias, part);
    if (p->out.channel) ot_channels_spread(n, &p->out, part, bias ? ot_f(n->x[2]) : NULL, y);
}

void ot_live_backward(struct op_node *n, const struct live_product *p) {
    float *scratch = n->scratch, *dx = n->dx[0] ? ot_f(n->dx[0]) : NULL;
    float *part = dx && p->in.channel ? scratch + p->backward.side : dx;
    float *dw = n->dx[1] ? scratch + p->backward.weight : NULL;
    void *rest = scratch + p->backward.rest;
    float *dbias = has_bias(n) && n->dx[2] ? ot_f(n->dx[2]) : NULL;
    if (dbias && !p->sums_bias) {
        struct bias_job job = {n, &p->out};
        ot_parallel_for(n->pool, ot_task_count(p->out.all, SUMS), sum_channels, &job);
        dbias = NULL;
    }
    if (!dx && !dw && !dbias) return;
    const float *dy = gathered(n, &p->out, ot_f(n->dy[0]), p->backward.y);
    const float *x = dw || dbias ? gathered(n, &p->in, ot_f(n->x[0]), p->backward.x) : NULL;
    if (p->conv)
        ot_dense_conv_backward(n, p->conv, x, n->save, dy, part, dw, dbias, rest);
    else
        multiply_back(n, p, x, n->save, dy, part, dw);
    if (dx && p->in.channel) ot_channels_spread(n, &p->in, part, NULL, dx);
    struct weight_job job = {.p = p, .part = dw, .dvalue = dw ? ot_f(n->dx[1]) : NULL};
    if (dw) over_rows(n, read_rows, &job);
}

/* ---- prepare ---- */

static bool is_linear(const struct conv_shape *s) {
    return s->h * s->w * s->oh * s->ow * s->kh * s->kw == 1 && s->groups == 1 && !s->depth.in &&
           !(s->pad_top | s->pad_left | s->pad_bottom | s->pad_right);
}

/* Where the columns of each group of W stand in the part. */
static bool map_columns(const struct op_node *n, struct live_product *p) {
    const int taps = p->shape.kh * p->shape.kw, cols = p->pattern->cols;
    const int64_t each = p->shape.c / p->shape.groups, kept = p->part.c / p->part.groups;
    int32_t *column = ot_arena_alloc(n->arena, (size_t)(p->shape.c * taps), sizeof *column);
    p->column = column;
    if (!column) return false;
    for (int64_t i = 0; i < p->part.c; i++) {
        const int64_t c = p->in.channel ? p->in.channel[i] : i;
        for (int t = 0; t < taps; t++)
            column[c / each * cols + c % each * taps + t] = (int32_t)(i % kept * taps + t);
    }
    return true;
}

static size_t reserve(size_t *at, bool needed, double floats) {
    const size_t from = *at;
    if (needed) *at += ((size_t)floats + 15) & ~(size_t)15;
    return from;
}

/* Memory of both directions; forward and backward: bytes of the dense kernels. */
static void lay_out_scratch(struct op_node *n, struct live_product *p, size_t forward,
                            size_t backward) {
    const double x = (double)p->part.n * (double)ot_conv_inputs(&p->part),
                 y = (double)p->part.n * (double)ot_conv_outputs(&p->part),
                 w = (double)p->part.m * (double)p->columns;
    const bool in = p->in.channel, out = p->out.channel, data = ot_training_wants(n, 0),
               weight = ot_training_wants(n, 1);
    struct room *f = &p->forward, *b = &p->backward;
    p->keeps = data;
    f->x = reserve(&f->rest, in, x);
    f->y = reserve(&f->rest, out, y);
    f->side = reserve(&f->rest, out, (double)p->part.m);
    f->weight = reserve(&f->rest, !p->keeps, w);
    b->x = reserve(&b->rest, in && (weight || p->sums_bias), x);
    b->y = reserve(&b->rest, out, y);
    b->side = reserve(&b->rest, in && data, x);
    b->weight = reserve(&b->rest, weight, w);
    n->save_size = p->keeps ? (size_t)w * sizeof(float) : 0;
    n->forward_scratch_size = f->rest * sizeof(float) + forward;
    n->backward_scratch_size = b->rest * sizeof(float) + backward;
}

static ot_status make_dense_conv(struct op_node *n, struct live_product *p, size_t *forward,
                                 size_t *backward, ot_error *err) {
    p->sums_bias = !p->out.channel && has_bias(n) && ot_training_wants(n, 2);
    const unsigned want = (ot_training_wants(n, 0) ? OT_DENSE_DX : 0) |
                          (ot_training_wants(n, 1) ? OT_DENSE_DW : 0) |
                          (p->sums_bias ? OT_DENSE_DB : 0);
    return ot_dense_conv_new(n, &p->part, has_bias(n), want, &p->conv, forward, backward, err);
}

ot_status ot_live_prepare(struct op_node *n, const struct conv_shape *shape,
                          const struct live *live, const struct live_product **product,
                          ot_error *err) {
    const struct conv_shape *s = &live->part;
    const int lanes = n->x[0]->lanes ? n->x[0]->lanes : 1;
    struct live_product *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    size_t forward = 0, backward = 0;
    if (!p) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *product = p;
    *p = (struct live_product){.pattern = n->x[1]->pattern,
                               .shape = *shape,
                               .part = *s,
                               .in = {live->channel, s->c, shape->c, s->n, s->h * s->w, lanes},
                               .out = {live->row, s->m, shape->m, s->n, s->oh * s->ow, lanes},
                               .columns = s->c / s->groups * s->kh * s->kw};
    if (!map_columns(n, p)) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    if (!is_linear(s)) OT_TRY(make_dense_conv(n, p, &forward, &backward, err));
    lay_out_scratch(n, p, forward, backward);
    return OT_OK;
}

ot_status ot_live_open(struct op_node *n, const struct live_product *p, ot_error *err) {
    return p->conv ? ot_dense_conv_open(n, p->conv, err) : OT_OK;
}

void ot_live_close(struct op_node *n, const struct live_product *p) {
    if (p->conv) ot_dense_conv_close(n, p->conv);
}

void ot_live_follow(const struct live_product *p, const struct pattern *pattern) {
    ((struct live_product *)p)->pattern = pattern;
}

void ot_live_free(const struct live_product *p) {
    if (p) ot_dense_conv_free(p->conv);
}
