/* dnnl.c - the only file that sees oneDNN: convolution (forward, data and weight gradients) and
 * matrix products, for oneDNN 2.6 and 3.x. */
#include "ops/dnnl.h"

#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

/* oneDNN's OpenMP has one team a calling thread; we want teams of one. The symbols are those of
 * whatever OpenMP runtime oneDNN brings along, and missing where it was built without. */
extern void omp_set_num_threads(int) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

/* Makes oneDNN sequential on the calling thread; returns what to give to end_sequential. Also
 * around the making of primitives, whose blocking depends on the number of threads. */
static int begin_sequential(void) {
    int before = omp_get_max_threads && omp_set_num_threads ? omp_get_max_threads() : 1;
    if (before != 1) omp_set_num_threads(1);
    return before;
}

static void end_sequential(int before) {
    if (before != 1) omp_set_num_threads(before);
}

int ot_dnnl_block(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), wide = dnnl_cpu_isa_avx512_core;
    return (isa & wide) == wide ? 16 : 0;
}

#define DNNL_TEXT_(x) #x
#define DNNL_TEXT(x) DNNL_TEXT_(x)

const char *ot_dnnl_version(void) {
    return DNNL_TEXT(DNNL_VERSION_MAJOR) "." DNNL_TEXT(DNNL_VERSION_MINOR) "."
        DNNL_TEXT(DNNL_VERSION_PATCH);
}

/* ---- what differs between oneDNN 2 and 3 ---- */

enum pass_kind { FORWARD, DATA, WEIGHTS, PASSES };
enum operand { X, W, Y, B, OPERANDS };

/* Strides, zero-based dilations, padding before and behind. */
struct geometry {
    dnnl_dims_t stride, dilate, begin, end;
};

struct md {
    dnnl_memory_desc_t d;
};

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t const_md;
#define MD_INIT dnnl_memory_desc_create_with_tag

static const_md md_of(const struct md *m) { return m->d; }

static void md_free(struct md *m) {
    if (m->d) dnnl_memory_desc_destroy(m->d);
}

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               enum pass_kind kind, const_md const md[OPERANDS],
                               const struct geometry *g, dnnl_primitive_desc_t hint,
                               dnnl_primitive_attr_t attr) {
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    if (kind == FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_training, alg, md[X], md[W], md[B], md[Y], g->stride,
            g->dilate, g->begin, g->end, attr);
    if (kind == DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(
            pd, engine, alg, md[X], md[W], md[Y], g->stride, g->dilate, g->begin, g->end, hint,
            attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, engine, alg, md[X], md[W], md[B], md[Y], g->stride, g->dilate, g->begin, g->end, hint,
        attr);
}
#else
typedef const dnnl_memory_desc_t *const_md;
#define MD_INIT dnnl_memory_desc_init_by_tag

static const_md md_of(const struct md *m) { return &m->d; }

static void md_free(struct md *m) { (void)m; }

static dnnl_status_t conv_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                               enum pass_kind kind, const_md const md[OPERANDS],
                               const struct geometry *g, dnnl_primitive_desc_t hint,
                               dnnl_primitive_attr_t attr) {
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_convolution_desc_t d;
    dnnl_status_t status;
    if (kind == FORWARD)
        status = dnnl_dilated_convolution_forward_desc_init(&d, dnnl_forward_training, alg, md[X],
                                                            md[W], md[B], md[Y], g->stride,
                                                            g->dilate, g->begin, g->end);
    else if (kind == DATA)
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &d, alg, md[X], md[W], md[Y], g->stride, g->dilate, g->begin, g->end);
    else
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &d, alg, md[X], md[W], md[B], md[Y], g->stride, g->dilate, g->begin, g->end);
    return status ? status : dnnl_primitive_desc_create(pd, &d, attr, engine, hint);
}
#endif

static dnnl_status_t md_new(struct md *m, int rank, const dnnl_dims_t dims,
                            dnnl_format_tag_t tag) {
    return MD_INIT(&m->d, rank, dims, dnnl_f32, tag);
}

/* ---- convolution ---- */

/* The batch is cut into at most PIECES pieces, enough for 8 threads, of SAMPLES or more. */
enum { PIECES = 8, SAMPLES = 4, ALIGN = 64, SUM_GRAIN = 16384 };

/* What each pass calls its operands, and which it writes. */
static const struct {
    int arg[OPERANDS];
    enum operand output;
    const char *name;
} passes[PASSES] = {
    [FORWARD] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS}, Y, "forward"},
    [DATA] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST, 0}, X, "data gradient"},
    [WEIGHTS] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS},
                 W,
                 "weight gradient"},
};

/* One pass over a piece of a certain size. Between plain arrays and the layouts of its choice stand
 * reorders, for X and Y within each piece, for W once for all pieces. */
struct pass {
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t conv;
    dnnl_primitive_t reorder[OPERANDS]; /* NULL: the layouts agree */
    size_t bytes[OPERANDS];             /* in the chosen layout, rounded up */
    size_t pad_bytes;                   /* oneDNN's own scratchpad */
};

/* The three passes for pieces of one size. */
struct pass_set {
    int64_t samples;
    struct md plain[OPERANDS];
    struct pass pass[PASSES];
    bool same_dy; /* both gradients read dy in the same layout */
};

/* A piece has memory objects of its own, because two threads must not set handles of one. */
struct piece {
    int64_t from;
    const struct pass_set *set;
    dnnl_stream_t stream;
    struct piece_pass {
        dnnl_memory_t plain[OPERANDS], chosen[OPERANDS], pad;
    } pass[PASSES];
};

struct dense_conv {
    struct op_node *node;
    struct conv_shape shape;
    struct geometry geometry;
    bool bias;
    unsigned want;
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attr;
    struct pass_set set[2]; /* full pieces, and the last one where it is smaller */
    int pieces;
    struct piece piece[PIECES];
    size_t worker_bytes[2]; /* scratch of one worker, forward and backward */
};

static size_t round_up(size_t bytes) { return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

static void note_fault(struct op_node *n, dnnl_status_t status) {
    if (status) atomic_store_explicit(&n->fault, (int)status, memory_order_relaxed);
}

static bool has_pass(const struct dense_conv *c, int kind) {
    return kind == FORWARD || (kind == DATA && (c->want & OT_DENSE_DX)) ||
           (kind == WEIGHTS && (c->want & (OT_DENSE_DW | OT_DENSE_DB)));
}

static bool has_operand(const struct dense_conv *c, int kind, int operand) {
    if (operand != B) return true;
    return kind == FORWARD ? c->bias : kind == WEIGHTS && (c->want & OT_DENSE_DB);
}

static const_md chosen_md(const struct pass *p, int kind, int operand) {
    return dnnl_primitive_desc_query_md(p->desc, dnnl_query_exec_arg_md,
                                        passes[kind].arg[operand]);
}

/* Rows, or x and y in lanes of channels: batch and channels (of W: groups, outputs, inputs), then
 * depth where there is one, height and width. */
static dnnl_status_t plain_descs(const struct dense_conv *c, int64_t samples, struct md *plain,
                                 struct md *any) {
    static const dnnl_format_tag_t rows[] = {[1] = dnnl_a, [4] = dnnl_abcd, [5] = dnnl_abcde,
                                             [6] = dnnl_abcdef},
                                   blocks[] = {[4] = dnnl_aBcd16b, [5] = dnnl_aBcde16b};
    const struct conv_shape *s = &c->shape;
    const bool lanes[OPERANDS] = {[X] = c->node->x[0]->lanes, [Y] = c->node->y[0]->lanes};
    const int64_t g = s->groups, image[OPERANDS][3] = {[X] = {s->depth.in, s->h, s->w},
                                                       [W] = {s->depth.kernel, s->kh, s->kw},
                                                       [Y] = {s->depth.out, s->oh, s->ow}};
    struct {
        int rank;
        dnnl_dims_t dims;
    } spec[OPERANDS] = {[X] = {2, {samples, s->c}}, [Y] = {2, {samples, s->m}}, [B] = {1, {s->m}},
                        [W] = {2 + (g > 1), {g > 1 ? g : s->m, g > 1 ? s->m / g : s->c, s->c / g}}};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < OPERANDS && !status; i++) {
        for (int k = s->depth.in ? 0 : 1; k < 3 && i != B; k++)
            spec[i].dims[spec[i].rank++] = image[i][k];
        const dnnl_format_tag_t tag = (lanes[i] ? blocks : rows)[spec[i].rank];
        status = md_new(&plain[i], spec[i].rank, spec[i].dims, tag);
        if (!status && i != B)
            status = md_new(&any[i], spec[i].rank, spec[i].dims, dnnl_format_tag_any);
    }
    return status;
}

/* The reorder between an operand's plain layout and the one chosen by the pass. */
static dnnl_status_t make_reorder(const struct dense_conv *c, const_md from, const_md to,
                                  dnnl_primitive_t *reorder) {
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&desc, from, c->engine, to, c->engine, NULL);
    if (!status) status = dnnl_primitive_create(reorder, desc);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return status;
}

static dnnl_status_t make_pass(struct dense_conv *c, struct pass_set *set, int kind,
                               const struct md *any) {
    struct pass *p = &set->pass[kind];
    /* pieces of both sizes share one packed W, and add up dW in one layout */
    const_md w = set == c->set ? md_of(&any[W]) : chosen_md(&c->set[0].pass[kind], kind, W);
    const_md md[OPERANDS] = {md_of(&any[X]), w, md_of(&any[Y]),
                             has_operand(c, kind, B) ? md_of(&set->plain[B]) : NULL};
    dnnl_status_t status = conv_desc(&p->desc, c->engine, kind, md, &c->geometry,
                                     kind == FORWARD ? NULL : set->pass[FORWARD].desc, c->attr);
    if (!status) status = dnnl_primitive_create(&p->conv, p->desc);
    for (int i = 0; i < OPERANDS && !status; i++) {
        if (!has_operand(c, kind, i)) continue;
        const_md plain = md_of(&set->plain[i]), chosen = chosen_md(p, kind, i);
        bool out = (int)passes[kind].output == i;
        p->bytes[i] = round_up(dnnl_memory_desc_get_size(chosen));
        if (!dnnl_memory_desc_equal(plain, chosen))
            status = make_reorder(c, out ? chosen : plain, out ? plain : chosen, &p->reorder[i]);
    }
    if (!status)
        p->pad_bytes = round_up(dnnl_memory_desc_get_size(
            dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0)));
    return status;
}

static ot_status make_set(struct dense_conv *c, struct pass_set *set, ot_error *err) {
    struct md any[OPERANDS];
    memset(any, 0, sizeof any);
    int kind = FORWARD;
    dnnl_status_t status = plain_descs(c, set->samples, set->plain, any);
    for (; kind < PASSES && !status; kind++)
        if (has_pass(c, kind)) status = make_pass(c, set, kind, any);
    for (int i = 0; i < OPERANDS; i++) md_free(&any[i]);
    if (status)
        return ot_op_fail(c->node, err,
                          status == dnnl_out_of_memory ? OT_ERROR_NO_MEMORY : OT_ERROR_UNSUPPORTED,
                          "oneDNN makes no convolution (%s): status %d",
                          passes[kind ? kind - 1 : 0].name, (int)status);
    set->same_dy = has_pass(c, DATA) && has_pass(c, WEIGHTS) &&
                   dnnl_memory_desc_equal(chosen_md(&set->pass[DATA], DATA, Y),
                                          chosen_md(&set->pass[WEIGHTS], WEIGHTS, Y));
    return OT_OK;
}

static dnnl_status_t new_memory(const struct dense_conv *c, const_md md, dnnl_memory_t *memory) {
    return dnnl_memory_create(memory, md, c->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t make_piece(struct dense_conv *c, struct piece *piece) {
    dnnl_status_t status =
        dnnl_stream_create(&piece->stream, c->engine, dnnl_stream_default_flags);
    for (int kind = FORWARD; kind < PASSES && !status; kind++) {
        const struct pass *p = &piece->set->pass[kind];
        struct piece_pass *m = &piece->pass[kind];
        if (!p->conv) continue;
        for (int i = 0; i < OPERANDS && !status; i++) {
            if (!has_operand(c, kind, i)) continue;
            status = new_memory(c, chosen_md(p, kind, i), &m->chosen[i]);
            if (!status && p->reorder[i])
                status = new_memory(c, md_of(&piece->set->plain[i]), &m->plain[i]);
        }
        if (!status)
            status = new_memory(
                c, dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0), &m->pad);
    }
    return status;
}

static void set_geometry(struct geometry *g, const struct conv_shape *s) {
    const struct conv_depth *d = &s->depth;
    const int stride[] = {d->stride, s->stride_h, s->stride_w};
    const int dilate[] = {d->dilation, s->dilation_h, s->dilation_w};
    const int begin[] = {d->front, s->pad_top, s->pad_left};
    const int end[] = {d->back, s->pad_bottom, s->pad_right};
    for (int i = d->in ? 0 : 1, k = 0; i < 3; i++, k++) {
        g->stride[k] = stride[i];
        g->dilate[k] = dilate[i] - 1;
        g->begin[k] = begin[i];
        g->end[k] = end[i];
    }
}

static size_t pass_scratch(const struct pass *p) {
    return p->pad_bytes + (p->reorder[X] ? p->bytes[X] : 0) + (p->reorder[Y] ? p->bytes[Y] : 0);
}

/* Bytes of one partial dW and db. */
static size_t partial_bytes(const struct dense_conv *c) {
    const struct pass *p = &c->set[0].pass[WEIGHTS];
    return p->conv ? p->bytes[W] + round_up((size_t)c->shape.m * sizeof(float)) : 0;
}

/* Scratch: [packed W] [partial dW and db, one a piece] [a part for each worker]. */
static void count_scratch(struct dense_conv *c, size_t *forward, size_t *backward) {
    size_t workers = (size_t)ot_pool_workers(c->node->pool);
    for (int i = 0; i < 2; i++) {
        for (int kind = FORWARD; kind < PASSES; kind++) {
            size_t bytes = pass_scratch(&c->set[i].pass[kind]);
            size_t *most = &c->worker_bytes[kind != FORWARD];
            if (bytes > *most) *most = bytes;
        }
    }
    *forward = c->set[0].pass[FORWARD].bytes[W] + workers * c->worker_bytes[0];
    *backward = c->set[0].pass[DATA].bytes[W] + (size_t)c->pieces * partial_bytes(c) +
                workers * c->worker_bytes[1];
}

/* Each piece has a dW of its own: all of them shall not be larger than x and y. There are two
 * pieces in any case. */
static int64_t piece_size(const struct conv_shape *s) {
    const double w = (double)s->m * (double)(s->c / s->groups) * s->kh * s->kw;
    const double x = (double)s->c * (double)(s->h * s->w);
    const double y = (double)s->m * (double)(s->oh * s->ow);
    double pieces = (double)s->n * (x + y) / w;
    if (pieces > (double)s->n / SAMPLES) pieces = (double)s->n / SAMPLES;
    pieces = pieces < 2 ? 2 : pieces > PIECES ? PIECES : floor(pieces);
    return (int64_t)ceil((double)s->n / pieces);
}

static ot_status make_all(struct dense_conv *c, ot_error *err) {
    int64_t n = c->shape.n, size = piece_size(&c->shape);
    dnnl_status_t status = dnnl_engine_create(&c->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_primitive_attr_create(&c->attr);
    if (!status)
        status = dnnl_primitive_attr_set_scratchpad_mode(c->attr, dnnl_scratchpad_mode_user);
    if (status) goto fail;
    c->set[0].samples = size;
    OT_TRY(make_set(c, &c->set[0], err));
    if (n % size) {
        c->set[1].samples = n % size;
        OT_TRY(make_set(c, &c->set[1], err));
    }
    for (int64_t from = 0; from < n && !status; from += size) {
        struct piece *piece = &c->piece[c->pieces++];
        piece->from = from;
        piece->set = &c->set[n - from < size];
        status = make_piece(c, piece);
    }
    if (!status) return OT_OK;
fail:
    return ot_op_fail(c->node, err, OT_ERROR_NO_MEMORY, "oneDNN fails with status %d",
                      (int)status);
}

ot_status ot_dense_conv_new(struct op_node *n, const struct conv_shape *shape, bool bias,
                            unsigned want, struct dense_conv **conv, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err) {
    struct dense_conv *c = ot_arena_alloc(n->arena, 1, sizeof *c);
    if (!c) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *conv = c;
    c->node = n;
    c->shape = *shape;
    c->bias = bias;
    c->want = want;
    set_geometry(&c->geometry, shape);
    int before = begin_sequential();
    ot_status status = make_all(c, err);
    end_sequential(before);
    if (!status) count_scratch(c, forward_scratch, backward_scratch);
    return status;
}

static void free_piece(struct piece *piece) {
    for (int kind = FORWARD; kind < PASSES; kind++) {
        struct piece_pass *m = &piece->pass[kind];
        for (int i = 0; i < OPERANDS; i++) {
            if (m->plain[i]) dnnl_memory_destroy(m->plain[i]);
            if (m->chosen[i]) dnnl_memory_destroy(m->chosen[i]);
        }
        if (m->pad) dnnl_memory_destroy(m->pad);
    }
    if (piece->stream) dnnl_stream_destroy(piece->stream);
}

static void free_set(struct pass_set *set) {
    for (int kind = FORWARD; kind < PASSES; kind++) {
        struct pass *p = &set->pass[kind];
        for (int i = 0; i < OPERANDS; i++)
            if (p->reorder[i]) dnnl_primitive_destroy(p->reorder[i]);
        if (p->conv) dnnl_primitive_destroy(p->conv);
        if (p->desc) dnnl_primitive_desc_destroy(p->desc);
    }
    for (int i = 0; i < OPERANDS; i++) md_free(&set->plain[i]);
}

void ot_dense_conv_free(struct dense_conv *c) {
    if (!c) return;
    for (int i = 0; i < PIECES; i++) free_piece(&c->piece[i]);
    for (int i = 0; i < 2; i++) free_set(&c->set[i]);
    if (c->attr) dnnl_primitive_attr_destroy(c->attr);
    if (c->engine) dnnl_engine_destroy(c->engine);
}

/* ---- convolution: one step ---- */

static void set_handle(struct dense_conv *c, dnnl_memory_t memory, const void *data) {
    if (memory) note_fault(c->node, dnnl_memory_set_data_handle(memory, (void *)data));
}

static void run_reorder(struct dense_conv *c, dnnl_primitive_t reorder, dnnl_stream_t stream,
                        dnnl_memory_t from, dnnl_memory_t to) {
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    note_fault(c->node, dnnl_primitive_execute(reorder, stream, 2, args));
}

/* Runs one pass over a piece. data: the piece's plain X and Y, W and B as the pass wants them.
 * Scratch: Y, X, oneDNN's. packed_y: scratch holds Y already. */
static void run_pass(struct dense_conv *c, struct piece *piece, int kind,
                     const float *const data[OPERANDS], char *scratch, bool packed_y) {
    static const enum operand order[OPERANDS] = {Y, X, W, B};
    const struct pass *p = &piece->set->pass[kind];
    struct piece_pass *m = &piece->pass[kind];
    enum operand output = passes[kind].output;
    dnnl_exec_arg_t args[OPERANDS + 1];
    int n = 0;
    for (int k = 0; k < OPERANDS; k++) {
        enum operand i = order[k];
        if (!m->chosen[i]) continue;
        args[n++] = (dnnl_exec_arg_t){passes[kind].arg[i], m->chosen[i]};
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
    note_fault(c->node, dnnl_primitive_execute(p->conv, piece->stream, n, args));
    if (output != W && p->reorder[output])
        run_reorder(c, p->reorder[output], piece->stream, m->chosen[output], m->plain[output]);
}

/* Gives W to all pieces of a pass, packed into scratch where the pass wants that. */
static void pack_weights(struct dense_conv *c, int kind, const float *w, void *scratch) {
    const struct pass *p = &c->set[0].pass[kind];
    struct piece_pass *first = &c->piece[0].pass[kind];
    const void *packed = p->reorder[W] ? scratch : (const void *)w;
    int before = begin_sequential();
    for (int i = 0; i < c->pieces; i++) set_handle(c, c->piece[i].pass[kind].chosen[W], packed);
    if (p->reorder[W]) {
        set_handle(c, first->plain[W], w);
        run_reorder(c, p->reorder[W], c->piece[0].stream, first->plain[W], first->chosen[W]);
    }
    end_sequential(before);
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
    int before = begin_sequential();
    run_pass(c, piece, FORWARD, data, job->scratch + (size_t)worker * c->worker_bytes[0], false);
    end_sequential(before);
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
    int before = begin_sequential();
    if (job->dx) {
        data[X] = job->dx + x_from;
        run_pass(c, piece, DATA, data, scratch, false);
    }
    if (job->weights) {
        char *partial = job->partials + (size_t)task * partial_bytes(c);
        data[X] = job->x + x_from;
        data[B] = (float *)(void *)(partial + piece->set->pass[WEIGHTS].bytes[W]);
        set_handle(c, piece->pass[WEIGHTS].chosen[W], partial);
        run_pass(c, piece, WEIGHTS, data, scratch, job->dx && piece->set->same_dy);
    }
    end_sequential(before);
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
    struct sum_job job = {NULL, partials, partial_bytes(c), c->pieces, 0};
    if (dw) {
        const_md md = p->reorder[W] ? chosen_md(p, WEIGHTS, W) : md_of(&c->set[0].plain[W]);
        job.out = p->reorder[W] ? (float *)(void *)partials : dw;
        job.n = (int64_t)(dnnl_memory_desc_get_size(md) / sizeof(float));
        ot_parallel_for(c->node->pool, ot_task_count(job.n, SUM_GRAIN), sum_range, &job);
    }
    if (dw && p->reorder[W]) {
        int before = begin_sequential();
        set_handle(c, first->chosen[W], partials);
        set_handle(c, first->plain[W], dw);
        run_reorder(c, p->reorder[W], c->piece[0].stream, first->chosen[W], first->plain[W]);
        end_sequential(before);
    }
    if (dbias) {
        job = (struct sum_job){dbias, partials + p->bytes[W], partial_bytes(c), c->pieces,
                               c->shape.m};
        ot_parallel_for(c->node->pool, ot_task_count(job.n, SUM_GRAIN), sum_range, &job);
    }
}

void ot_dense_conv_backward(struct dense_conv *c, const float *x, const float *w,
                            const float *dy, float *dx, float *dw, float *dbias, void *scratch) {
    struct conv_job job = {.conv = c, .x = x, .dy = dy, .dx = dx, .weights = dw || dbias};
    job.partials = (char *)scratch + c->set[0].pass[DATA].bytes[W];
    job.scratch = job.partials + (size_t)c->pieces * partial_bytes(c);
    if (dx) pack_weights(c, DATA, w, scratch);
    ot_parallel_for(c->node->pool, c->pieces, backward_piece, &job);
    if (job.weights) sum_partials(c, job.partials, dw, dbias);
}

/* ---- matrix products ---- */

void ot_dense_sgemm(struct op_node *n, const struct sgemm_call *call) {
    int before = begin_sequential();
    note_fault(n, dnnl_sgemm(call->ta ? 'T' : 'N', call->tb ? 'T' : 'N', call->m, call->n, call->k,
                             call->alpha, call->a, call->lda, call->b, call->ldb, call->beta,
                             call->c, call->ldc));
    end_sequential(before);
}
