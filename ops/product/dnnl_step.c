/* dnnl_step.c - convolutions on oneDNN: one step of them. */
#include <string.h>

#include "ops/product/dnnl_parts.h"

enum { SUM_GRAIN = 16384 };

/* One pass over all pieces. */
struct conv_run {
    struct op_node *n;
    const struct dense_conv *c;
    int kind;
    const float *data[OPERANDS]; /* plain and whole; W of WEIGHTS is in partials, or NULL */
    char *packed;                /* weights, slice by slice */
    char *whole;                 /* images that all slices read, packed */
    char *partials;              /* one dW and db a piece */
};

static void set_handle(struct op_node *n, dnnl_memory_t memory, const void *data) {
    if (memory) ot_dnnl_fault(n, dnnl_memory_set_data_handle(memory, (void *)data));
}

static void run_reorder(struct op_node *n, dnnl_primitive_t reorder, dnnl_stream_t stream,
                        dnnl_memory_t from, dnnl_memory_t to) {
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    ot_dnnl_fault(n, dnnl_primitive_execute(reorder, stream, 2, args));
}

/* Where a piece's part of a plain operand begins. */
static const float *plain_at(const struct conv_run *run, const struct piece *piece, int operand) {
    const struct conv_shape *s = &run->c->shape;
    const int64_t x = ot_conv_inputs(s), y = ot_conv_outputs(s);
    const int64_t taps = (s->depth.in ? s->depth.kernel : 1) * (int64_t)s->kh * s->kw;
    const bool of_x = run->kind == DATA;
    int64_t at = piece->channel;
    if (operand == X) at = piece->sample * x + (of_x ? piece->channel * (x / s->c) : 0);
    if (operand == Y) at = piece->sample * y + (of_x ? 0 : piece->channel * (y / s->m));
    if (operand == W) at = piece->channel * taps * (of_x ? 1 : s->c / s->groups);
    return run->data[operand] ? run->data[operand] + at : NULL;
}

/* Runs the pass over a piece, whose W is set. Scratch: Y, X, oneDNN's. packed_y: scratch holds Y
 * already. */
static void run_piece(const struct conv_run *run, int number, char *scratch, bool packed_y) {
    static const enum operand order[OPERANDS] = {Y, X, W, B};
    struct op_node *n = run->n;
    const struct cut *cut = &run->c->cut[run->kind];
    const struct piece *piece = &cut->piece[number];
    const struct handles *h = &ot_dnnl_handles(n, cut)[number];
    const struct pass *p = piece->pass;
    const enum operand output = ot_dnnl_pass[run->kind].output;
    const bool packed_whole = ot_dnnl_packs_whole(cut, run->kind);
    dnnl_exec_arg_t args[OPERANDS + 1];
    int count = 0;
    for (int k = 0; k < OPERANDS; k++) {
        enum operand i = order[k];
        if (!h->chosen[i]) continue;
        args[count++] = (dnnl_exec_arg_t){ot_dnnl_pass[run->kind].arg[i], h->chosen[i]};
        if (i == W || (i == ot_dnnl_whole(run->kind) && packed_whole)) continue;
        const float *plain = plain_at(run, piece, i);
        bool moved = p->reorder[i] != NULL;
        if (i != B || run->kind == FORWARD)
            set_handle(n, h->chosen[i], moved ? (const void *)scratch : plain);
        if (!moved) continue;
        scratch += p->bytes[i];
        set_handle(n, h->plain[i], plain);
        if (i != output && !(i == Y && packed_y))
            run_reorder(n, p->reorder[i], h->stream, h->plain[i], h->chosen[i]);
    }
    set_handle(n, h->pad, scratch);
    args[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, h->pad};
    ot_dnnl_fault(n, dnnl_primitive_execute(p->conv, h->stream, count, args));
    if (output != W && p->reorder[output])
        run_reorder(n, p->reorder[output], h->stream, h->chosen[output], h->plain[output]);
}

/* Gives an operand to `count` pieces, `step` apart: packed by the first where the pass wants that,
 * else as it stands. */
static void set_operand(const struct conv_run *run, int first, int count, int step, enum operand i,
                        char *packed) {
    struct op_node *n = run->n;
    const struct cut *cut = &run->c->cut[run->kind];
    const struct handles *h = &ot_dnnl_handles(n, cut)[first];
    const dnnl_primitive_t reorder = cut->piece[first].pass->reorder[i];
    const float *plain = plain_at(run, &cut->piece[first], i);
    for (int k = 0; k < count; k++)
        set_handle(n, h[k * step].chosen[i], reorder ? (const void *)packed : plain);
    if (!reorder) return;
    set_handle(n, h->plain[i], plain);
    run_reorder(n, reorder, h->stream, h->plain[i], h->chosen[i]);
}

/* The weights of each slice, for all samples; then the images of all samples that slices share. */
static void pack_task(const struct conv_run *run, int task) {
    const int kind = run->kind;
    const struct cut *cut = &run->c->cut[kind];
    const int slices = kind == WEIGHTS ? 0 : cut->slices, batch = task - slices;
    if (task < slices)
        set_operand(run, task, cut->batches, cut->slices, W,
                    run->packed + (size_t)task * cut->pass[0][0].bytes[W]);
    else
        set_operand(run, batch * cut->slices, cut->slices, 1, ot_dnnl_whole(kind),
                    run->whole + (size_t)batch * cut->pass[0][0].bytes[ot_dnnl_whole(kind)]);
}

static int pack_tasks(const struct conv_run *run) {
    const struct cut *cut = &run->c->cut[run->kind];
    return (run->kind == WEIGHTS ? 0 : cut->slices) +
           (ot_dnnl_packs_whole(cut, run->kind) ? cut->batches : 0);
}

/* All passes of a call, in one loop of packing and one of pieces. */
struct conv_job {
    struct op_node *n;
    const struct dense_conv *c;
    struct conv_run run[2];
    int runs;
    bool together; /* a task is a piece of both */
    char *scratch; /* worker_bytes a worker */
    size_t worker_bytes;
};

static void pack_any(void *arg, int task, int worker) {
    const struct conv_job *job = arg;
    const int first = pack_tasks(&job->run[0]);
    const int before = ot_dnnl_begin(job->n);
    (void)worker;
    if (!before) return;
    if (task < first)
        pack_task(&job->run[0], task);
    else
        pack_task(&job->run[1], task - first);
    ot_dnnl_end(before);
}

static void run_any(void *arg, int task, int worker) {
    const struct conv_job *job = arg;
    const struct conv_run *run = job->run;
    const int first = ot_dnnl_pieces(&job->c->cut[run->kind]);
    char *scratch = job->scratch + (size_t)worker * job->worker_bytes;
    const int before = ot_dnnl_begin(job->n);
    if (!before) return;
    if (task < first)
        run_piece(run, task, scratch, false);
    else
        run_piece(run + 1, task - first, scratch, false);
    if (job->together) run_piece(run + 1, task, scratch, job->c->same_dy);
    ot_dnnl_end(before);
}

static void run_passes(struct conv_job *job) {
    int packs = 0, pieces = 0;
    for (int i = 0; i < job->runs; i++) {
        packs += pack_tasks(&job->run[i]);
        if (!job->together || !i) pieces += ot_dnnl_pieces(&job->c->cut[job->run[i].kind]);
    }
    if (packs) ot_parallel_for(job->n->pool, packs, pack_any, job);
    ot_parallel_for(job->n->pool, pieces, run_any, job);
}

void ot_dense_conv_forward(struct op_node *n, const struct dense_conv *c, const float *x,
                           const float *w, const float *bias, float *y, void *scratch) {
    struct conv_job job = {.n = n, .c = c, .runs = 1, .worker_bytes = c->worker_bytes[0]};
    struct conv_run *run = &job.run[0];
    *run = (struct conv_run){.n = n,
                             .c = c,
                             .kind = FORWARD,
                             .packed = scratch,
                             .data = {[X] = x, [W] = w, [Y] = y, [B] = bias}};
    run->whole = run->packed + ot_dnnl_packed_bytes(c, FORWARD);
    job.scratch = run->whole + ot_dnnl_whole_bytes(c, FORWARD);
    run_passes(&job);
}

/* ---- sums of partial dW and db ---- */

struct sum_job {
    float *out; /* may be the first partial */
    const char *partials;
    size_t pitch;
    int pieces;
    int64_t n;
};

/* Adds the partials in the order of the pieces. */
static void sum_range(void *arg, int task, int worker) {
    const struct sum_job *job = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(job->n, SUM_GRAIN, task, &from, &to);
    memmove(job->out + from, (const float *)(const void *)job->partials + from,
            (size_t)(to - from) * sizeof(float));
    for (int p = 1; p < job->pieces; p++) {
        const float *in = (const float *)(const void *)(job->partials + (size_t)p * job->pitch);
        for (int64_t i = from; i < to; i++) job->out[i] += in[i];
    }
}

static void sum_ranges(const struct op_node *n, struct sum_job *job) {
    if ((const char *)job->out == job->partials && job->pieces == 1) return;
    ot_parallel_for(n->pool, ot_task_count(job->n, SUM_GRAIN), sum_range, job);
}

/* The sum of a slice, whose pieces stand `pitch` apart. */
static void sum_slice(const struct conv_run *run, const struct piece *piece, char *partials,
                      size_t pitch, float *dbias) {
    const struct dense_conv *c = run->c;
    const struct cut *cut = &c->cut[WEIGHTS];
    const struct pass *p = piece->pass;
    float *dw = (float *)plain_at(run, piece, W);
    struct sum_job job = {NULL, partials, pitch, cut->batches, 0};
    if (dw) {
        const_md md = p->reorder[W] ? ot_dnnl_chosen(p, WEIGHTS, W) : ot_dnnl_md(&p->plain[W]);
        job.out = p->reorder[W] ? (float *)(void *)partials : dw;
        job.n = (int64_t)(dnnl_memory_desc_get_size(md) / sizeof(float));
        sum_ranges(run->n, &job);
    }
    if (!dbias) return;
    const int64_t left = c->shape.m - piece->channel;
    job.out = dbias + piece->channel;
    job.partials = partials + cut->pass[0][0].bytes[W];
    job.n = left < cut->channels ? left : cut->channels;
    sum_ranges(run->n, &job);
}

/* Writes dW of a slice as rows. */
static void unpack_slice(void *arg, int task, int worker) {
    const struct conv_run *run = arg;
    struct op_node *n = run->n;
    const struct cut *cut = &run->c->cut[WEIGHTS];
    const struct piece *piece = &cut->piece[task];
    const struct handles *h = &ot_dnnl_handles(n, cut)[task];
    const dnnl_primitive_t reorder = piece->pass->reorder[W];
    (void)worker;
    if (!reorder) return;
    const int before = ot_dnnl_begin(n);
    if (!before) return;
    set_handle(n, h->plain[W], plain_at(run, piece, W));
    run_reorder(n, reorder, h->stream, h->chosen[W], h->plain[W]);
    ot_dnnl_end(before);
}

static void sum_partials(struct conv_run *run, float *dbias) {
    const struct dense_conv *c = run->c;
    const struct cut *cut = &c->cut[WEIGHTS];
    const size_t bytes = ot_dnnl_partial_bytes(c);
    for (int i = 0; i < cut->slices; i++)
        sum_slice(run, &cut->piece[i], run->partials + (size_t)i * bytes,
                  (size_t)cut->slices * bytes, dbias);
    if (run->data[W]) ot_parallel_for(run->n->pool, cut->slices, unpack_slice, run);
}

/* Each piece of the weight gradient writes a dW and db of its own. */
static void set_partials(struct conv_run *run) {
    struct op_node *n = run->n;
    const struct cut *cut = &run->c->cut[WEIGHTS];
    const struct handles *h = ot_dnnl_handles(n, cut);
    const size_t bytes = ot_dnnl_partial_bytes(run->c);
    const int before = ot_dnnl_begin(n);
    for (int i = 0; before && i < ot_dnnl_pieces(cut); i++) {
        char *partial = run->partials + (size_t)i * bytes;
        set_handle(n, h[i].chosen[W], partial);
        set_handle(n, h[i].chosen[B], partial + cut->pass[0][0].bytes[W]);
    }
    ot_dnnl_end(before);
}

void ot_dense_conv_backward(struct op_node *n, const struct dense_conv *c, const float *x,
                            const float *w, const float *dy, float *dx, float *dw, float *dbias,
                            void *scratch) {
    const bool weights = dw || dbias;
    struct conv_run data = {
        .n = n, .c = c, .kind = DATA, .packed = scratch, .data = {[X] = dx, [W] = w, [Y] = dy}};
    struct conv_run gradient = {
        .n = n, .c = c, .kind = WEIGHTS, .data = {[X] = x, [W] = dw, [Y] = dy}};
    const struct cut *cut = c->cut;
    struct conv_job job = {.n = n, .c = c, .worker_bytes = c->worker_bytes[1]};
    data.whole = data.packed + ot_dnnl_packed_bytes(c, DATA);
    gradient.whole = data.whole + ot_dnnl_whole_bytes(c, DATA);
    gradient.partials = gradient.whole + ot_dnnl_whole_bytes(c, WEIGHTS);
    job.scratch =
        gradient.partials + (size_t)ot_dnnl_pieces(&cut[WEIGHTS]) * ot_dnnl_partial_bytes(c);
    job.together = dx && weights && cut[DATA].slices == 1 && cut[WEIGHTS].slices == 1;
    if (weights) set_partials(&gradient);
    if (dx) job.run[job.runs++] = data;
    if (weights) job.run[job.runs++] = gradient;
    if (job.runs) run_passes(&job);
    if (weights) sum_partials(&gradient, dbias);
}
