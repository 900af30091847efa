/* dnnl_step.c - convolutions on oneDNN: one step of them. */
#include <string.h>

#include "ops/dnnl_parts.h"

enum { SUM_GRAIN = 16384 };

static void set_handle(struct dense_conv *c, dnnl_memory_t memory, const void *data) {
    if (memory) ot_dnnl_fault(c->node, dnnl_memory_set_data_handle(memory, (void *)data));
}

static void run_reorder(struct dense_conv *c, dnnl_primitive_t reorder, dnnl_stream_t stream,
                        dnnl_memory_t from, dnnl_memory_t to) {
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    ot_dnnl_fault(c->node, dnnl_primitive_execute(reorder, stream, 2, args));
}

/* Runs one pass over a piece. data: the piece's plain X and Y, W and B as the pass wants them.
 * Scratch: Y, X, oneDNN's. packed_y: scratch holds Y already. */
static void run_pass(struct dense_conv *c, struct piece *piece, int kind,
                     const float *const data[OPERANDS], char *scratch, bool packed_y) {
    static const enum operand order[OPERANDS] = {Y, X, W, B};
    const struct pass *p = &piece->set->pass[kind];
    struct piece_pass *m = &piece->pass[kind];
    enum operand output = ot_dnnl_pass[kind].output;
    dnnl_exec_arg_t args[OPERANDS + 1];
    int n = 0;
    for (int k = 0; k < OPERANDS; k++) {
        enum operand i = order[k];
        if (!m->chosen[i]) continue;
        args[n++] = (dnnl_exec_arg_t){ot_dnnl_pass[kind].arg[i], m->chosen[i]};
        if (i == W) continue; /* set before, for all pieces */
        bool moved = p->reorder[i] != NULL;
        set_handle(c, m->chosen[i], moved ? (const void *)scratch : data[i]);
        if (!moved) continue;
        scratch += p->bytes[i];
        set_handle(c, m->plain[i], data[i]);
        if (i != output && !(i == Y && packed_y))
            run_reorder(c, p->reorder[i], piece->stream, m->plain[i], m->chosen[i]);
    }
    set_handle(c, m->pad, scratch);
    args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, m->pad};
    ot_dnnl_fault(c->node, dnnl_primitive_execute(p->conv, piece->stream, n, args));
    if (output != W && p->reorder[output])
        run_reorder(c, p->reorder[output], piece->stream, m->chosen[output], m->plain[output]);
}

/* Gives W to all pieces of a pass, packed into scratch where the pass wants that. */
static void pack_weights(struct dense_conv *c, int kind, const float *w, void *scratch) {
    const struct pass *p = &c->set[0].pass[kind];
    struct piece_pass *first = &c->piece[0].pass[kind];
    const void *packed = p->reorder[W] ? scratch : (const void *)w;
    const int before = ot_dnnl_begin(c->node);
    if (!before) return;
    for (int i = 0; i < c->pieces; i++) set_handle(c, c->piece[i].pass[kind].chosen[W], packed);
    if (p->reorder[W]) {
        set_handle(c, first->plain[W], w);
        run_reorder(c, p->reorder[W], c->piece[0].stream, first->plain[W], first->chosen[W]);
    }
    ot_dnnl_end(before);
}

struct conv_job {
    struct dense_conv *conv;
    const float *x, *dy, *bias;
    float *y, *dx;
    bool weights;   /* dW, db or both */
    char *partials; /* one partial dW and db a piece */
    char *scratch;  /* worker_bytes a worker */
};

static void forward_piece(void *arg, int task, int worker) {
    const struct conv_job *job = arg;
    struct dense_conv *c = job->conv;
    const struct conv_shape *s = &c->shape;
    struct piece *piece = &c->piece[task];
    const float *data[OPERANDS] = {[X] = job->x + piece->from * ot_conv_inputs(s),
                                   [Y] = job->y + piece->from * ot_conv_outputs(s),
                                   [B] = job->bias};
    const int before = ot_dnnl_begin(c->node);
    if (!before) return;
    run_pass(c, piece, FORWARD, data, job->scratch + (size_t)worker * c->worker_bytes[0], false);
    ot_dnnl_end(before);
}

void ot_dense_conv_forward(struct dense_conv *c, const float *x, const float *w,
                           const float *bias, float *y, void *scratch) {
    struct conv_job job = {.conv = c, .x = x, .y = y, .bias = bias};
    pack_weights(c, FORWARD, w, scratch);
    job.scratch = (char *)scratch + c->set[0].pass[FORWARD].bytes[W];
    ot_parallel_for(c->node->pool, c->pieces, forward_piece, &job);
}

static void backward_piece(void *arg, int task, int worker) {
    const struct conv_job *job = arg;
    struct dense_conv *c = job->conv;
    const struct conv_shape *s = &c->shape;
    struct piece *piece = &c->piece[task];
    char *scratch = job->scratch + (size_t)worker * c->worker_bytes[1];
    int64_t x_from = piece->from * ot_conv_inputs(s);
    const float *data[OPERANDS] = {[Y] = job->dy + piece->from * ot_conv_outputs(s)};
    const int before = ot_dnnl_begin(c->node);
    if (!before) return;
    if (job->dx) {
        data[X] = job->dx + x_from;
        run_pass(c, piece, DATA, data, scratch, false);
    }
    if (job->weights) {
        char *partial = job->partials + (size_t)task * ot_dnnl_partial_bytes(c);
        data[X] = job->x + x_from;
        data[B] = (float *)(void *)(partial + piece->set->pass[WEIGHTS].bytes[W]);
        set_handle(c, piece->pass[WEIGHTS].chosen[W], partial);
        run_pass(c, piece, WEIGHTS, data, scratch, job->dx && piece->set->same_dy);
    }
    ot_dnnl_end(before);
}

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

static void sum_partials(struct dense_conv *c, char *partials, float *dw, float *dbias) {
    const struct pass *p = &c->set[0].pass[WEIGHTS];
    struct piece_pass *first = &c->piece[0].pass[WEIGHTS];
    struct sum_job job = {NULL, partials, ot_dnnl_partial_bytes(c), c->pieces, 0};
    if (dw) {
        const_md md = p->reorder[W] ? ot_dnnl_chosen(p, WEIGHTS, W)
                                    : ot_dnnl_md(&c->set[0].plain[W]);
        job.out = p->reorder[W] ? (float *)(void *)partials : dw;
        job.n = (int64_t)(dnnl_memory_desc_get_size(md) / sizeof(float));
        ot_parallel_for(c->node->pool, ot_task_count(job.n, SUM_GRAIN), sum_range, &job);
    }
    if (dw && p->reorder[W]) {
        const int before = ot_dnnl_begin(c->node);
        if (!before) return;
        set_handle(c, first->chosen[W], partials);
        set_handle(c, first->plain[W], dw);
        run_reorder(c, p->reorder[W], c->piece[0].stream, first->chosen[W], first->plain[W]);
        ot_dnnl_end(before);
    }
    if (dbias) {
        job = (struct sum_job){dbias, partials + p->bytes[W], ot_dnnl_partial_bytes(c), c->pieces,
                               c->shape.m};
        ot_parallel_for(c->node->pool, ot_task_count(job.n, SUM_GRAIN), sum_range, &job);
    }
}

void ot_dense_conv_backward(struct dense_conv *c, const float *x, const float *w,
                            const float *dy, float *dx, float *dw, float *dbias, void *scratch) {
    struct conv_job job = {.conv = c, .x = x, .dy = dy, .dx = dx, .weights = dw || dbias};
    job.partials = (char *)scratch + c->set[0].pass[DATA].bytes[W];
    job.scratch = job.partials + (size_t)c->pieces * ot_dnnl_partial_bytes(c);
    if (dx) pack_weights(c, DATA, w, scratch);
    ot_parallel_for(c->node->pool, c->pieces, backward_piece, &job);
    if (job.weights) sum_partials(c, job.partials, dw, dbias);
}
