/* dnnl_conv.c - convolutions on oneDNN: the primitives of forward, data and weight gradient for the
 * pieces of a batch, and the layouts that they choose. */
#include <math.h>
#include <string.h>

#include "ops/dnnl_parts.h"

enum { ALIGN = 64 };

const struct dnnl_pass ot_dnnl_pass[PASSES] = {
    [FORWARD] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS}, Y, "forward"},
    [DATA] = {{DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST, 0}, X, "data gradient"},
    [WEIGHTS] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS},
                 W,
                 "weight gradient"},
};

const_md ot_dnnl_chosen(const struct pass *p, int kind, int operand) {
    return dnnl_primitive_desc_query_md(p->desc, dnnl_query_exec_arg_md,
                                        ot_dnnl_pass[kind].arg[operand]);
}

static size_t round_up(size_t bytes) { return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

static bool has_pass(const struct dense_conv *c, int kind) {
    return kind == FORWARD || (kind == DATA && (c->want & OT_DENSE_DX)) ||
           (kind == WEIGHTS && (c->want & (OT_DENSE_DW | OT_DENSE_DB)));
}

static bool has_operand(const struct dense_conv *c, int kind, int operand) {
    if (operand != B) return true;
    return kind == FORWARD ? c->bias : kind == WEIGHTS && (c->want & OT_DENSE_DB);
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
        status = ot_dnnl_md_new(&plain[i], spec[i].rank, spec[i].dims, tag);
        if (!status && i != B)
            status = ot_dnnl_md_new(&any[i], spec[i].rank, spec[i].dims, dnnl_format_tag_any);
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
    const_md w = set == c->set ? ot_dnnl_md(&any[W])
                               : ot_dnnl_chosen(&c->set[0].pass[kind], kind, W);
    const_md md[OPERANDS] = {ot_dnnl_md(&any[X]), w, ot_dnnl_md(&any[Y]),
                             has_operand(c, kind, B) ? ot_dnnl_md(&set->plain[B]) : NULL};
    dnnl_status_t status = ot_dnnl_conv_desc(&p->desc, c->engine, kind, md, &c->geometry,
                                     kind == FORWARD ? NULL : set->pass[FORWARD].desc, c->attr);
    if (!status) status = dnnl_primitive_create(&p->conv, p->desc);
    for (int i = 0; i < OPERANDS && !status; i++) {
        if (!has_operand(c, kind, i)) continue;
        const_md plain = ot_dnnl_md(&set->plain[i]), chosen = ot_dnnl_chosen(p, kind, i);
        bool out = (int)ot_dnnl_pass[kind].output == i;
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
    for (int i = 0; i < OPERANDS; i++) ot_dnnl_md_free(&any[i]);
    if (status)
        return ot_op_fail(c->node, err,
                          status == dnnl_out_of_memory ? OT_ERROR_NO_MEMORY : OT_ERROR_UNSUPPORTED,
                          "oneDNN makes no convolution (%s): status %d",
                          ot_dnnl_pass[kind ? kind - 1 : 0].name, (int)status);
    set->same_dy = has_pass(c, DATA) && has_pass(c, WEIGHTS) &&
                   dnnl_memory_desc_equal(ot_dnnl_chosen(&set->pass[DATA], DATA, Y),
                                          ot_dnnl_chosen(&set->pass[WEIGHTS], WEIGHTS, Y));
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
            status = new_memory(c, ot_dnnl_chosen(p, kind, i), &m->chosen[i]);
            if (!status && p->reorder[i])
                status = new_memory(c, ot_dnnl_md(&piece->set->plain[i]), &m->plain[i]);
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

size_t ot_dnnl_partial_bytes(const struct dense_conv *c) {
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
    *backward = c->set[0].pass[DATA].bytes[W] + (size_t)c->pieces * ot_dnnl_partial_bytes(c) +
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
    const int before = ot_dnnl_begin(NULL);
    if (!before) return ot_op_fail(n, err, OT_ERROR_STATE, "the process is ending");
    ot_status status = make_all(c, err);
    ot_dnnl_end(before);
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
    for (int i = 0; i < OPERANDS; i++) ot_dnnl_md_free(&set->plain[i]);
}

void ot_dense_conv_free(struct dense_conv *c) {
    const int before = c ? ot_dnnl_begin(NULL) : 0;
    if (!before) return;
    for (int i = 0; i < PIECES; i++) free_piece(&c->piece[i]);
    for (int i = 0; i < 2; i++) free_set(&c->set[i]);
    if (c->attr) dnnl_primitive_attr_destroy(c->attr);
    if (c->engine) dnnl_engine_destroy(c->engine);
    ot_dnnl_end(before);
}
