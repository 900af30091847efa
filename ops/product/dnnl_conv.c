/* dnnl_conv.c - convolutions on oneDNN: the primitives of forward, data and weight gradient for the
 * pieces of a batch, and the layouts that they choose. */
#include <string.h>

#include "ops/product/dnnl_parts.h"

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

/* The descriptor of a forward pass of the same shape, which those of gradients are made from. */
static dnnl_status_t make_hint(const struct dense_conv *c, const struct pass *p,
                               const struct md *any, dnnl_primitive_desc_t *hint) {
    const_md md[OPERANDS] = {ot_dnnl_md(&any[X]), ot_dnnl_md(&any[W]), ot_dnnl_md(&any[Y]),
                             c->bias ? ot_dnnl_md(&p->plain[B]) : NULL};
    return ot_dnnl_conv_desc(hint, c->engine, FORWARD, md, &c->geometry, NULL, c->attr);
}

/* first: the pass over pieces of other sizes that read W, or the whole images, in one layout with
 * this one; NULL: none. */
static dnnl_status_t choose_layouts(struct dense_conv *c, struct pass *p, int kind,
                                    const struct md *any, const struct pass *of_w,
                                    const struct pass *of_whole) {
    dnnl_primitive_desc_t hint = NULL;
    const enum operand whole = ot_dnnl_whole(kind);
    const_md md[OPERANDS] = {ot_dnnl_md(&any[X]), ot_dnnl_md(&any[W]), ot_dnnl_md(&any[Y]),
                             ot_dnnl_has_operand(c, kind, B) ? ot_dnnl_md(&p->plain[B]) : NULL};
    if (of_w) md[W] = ot_dnnl_chosen(of_w, kind, W);
    if (of_whole) md[whole] = ot_dnnl_chosen(of_whole, kind, whole);
    dnnl_status_t status = kind == FORWARD ? dnnl_success : make_hint(c, p, any, &hint);
    if (!status)
        status = ot_dnnl_conv_desc(&p->desc, c->engine, kind, md, &c->geometry, hint, c->attr);
    if (hint) dnnl_primitive_desc_destroy(hint);
    return status;
}

static dnnl_status_t make_reorders(struct dense_conv *c, struct pass *p, int kind) {
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < OPERANDS && !status; i++) {
        if (!ot_dnnl_has_operand(c, kind, i)) continue;
        const_md plain = ot_dnnl_md(&p->plain[i]), chosen = ot_dnnl_chosen(p, kind, i);
        bool out = (int)ot_dnnl_pass[kind].output == i;
        p->bytes[i] = round_up(dnnl_memory_desc_get_size(chosen));
        if (!dnnl_memory_desc_equal(plain, chosen))
            status = make_reorder(c, out ? chosen : plain, out ? plain : chosen, &p->reorder[i]);
    }
    return status;
}

static dnnl_status_t make_pass(struct dense_conv *c, int kind, int last_samples, int last_slice) {
    struct cut *cut = &c->cut[kind];
    struct pass *p = &cut->pass[last_samples][last_slice];
    const struct conv_shape *s = &c->shape;
    const int64_t channels = kind == DATA ? s->c : s->m;
    struct md any[OPERANDS];
    memset(any, 0, sizeof any);
    dnnl_status_t status =
        ot_dnnl_plain(c, kind, last_samples ? s->n % c->samples : c->samples,
                      last_slice ? channels % cut->channels : cut->channels, p->plain, any);
    if (!status)
        status = choose_layouts(c, p, kind, any, last_samples ? &cut->pass[0][last_slice] : NULL,
                                last_slice ? &cut->pass[last_samples][0] : NULL);
    for (int i = 0; i < OPERANDS; i++) ot_dnnl_md_free(&any[i]);
    if (!status) status = dnnl_primitive_create(&p->conv, p->desc);
    if (!status) status = make_reorders(c, p, kind);
    if (!status)
        p->pad_bytes = round_up(dnnl_memory_desc_get_size(
            dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0)));
    return status;
}

static dnnl_status_t new_memory(const struct dense_conv *c, const_md md, dnnl_memory_t *memory) {
    return dnnl_memory_create(memory, md, c->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t make_handles(const struct dense_conv *c, int kind, const struct pass *p,
                                  struct handles *h) {
    dnnl_status_t status = dnnl_stream_create(&h->stream, c->engine, dnnl_stream_default_flags);
    for (int i = 0; i < OPERANDS && !status; i++) {
        if (!ot_dnnl_has_operand(c, kind, i)) continue;
        status = new_memory(c, ot_dnnl_chosen(p, kind, i), &h->chosen[i]);
        if (!status && p->reorder[i])
            status = new_memory(c, ot_dnnl_md(&p->plain[i]), &h->plain[i]);
    }
    if (!status)
        status = new_memory(c, dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0),
                            &h->pad);
    return status;
}

/* The passes over full pieces come first: the others take over their layouts. */
static dnnl_status_t make_cut(struct dense_conv *c, int kind) {
    struct cut *cut = &c->cut[kind];
    const int64_t channels = kind == DATA ? c->shape.c : c->shape.m;
    const bool odd_samples = c->shape.n % c->samples, odd_slice = channels % cut->channels;
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < 4 && !status; i++)
        if ((i < 2 || odd_samples) && (i % 2 == 0 || odd_slice))
            status = make_pass(c, kind, i / 2, i % 2);
    for (int i = 0; i < ot_dnnl_pieces(cut) && !status; i++) {
        const int batch = i / cut->slices, slice = i % cut->slices;
        struct piece *piece = &cut->piece[i];
        piece->sample = batch * c->samples;
        piece->channel = slice * cut->channels;
        piece->pass = &cut->pass[odd_samples && batch == cut->batches - 1]
                                [odd_slice && slice == cut->slices - 1];
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

/* What a piece takes of its worker's scratch. */
static size_t pass_scratch(const struct cut *cut, int kind, const struct pass *p) {
    const bool shared = ot_dnnl_packs_whole(cut, kind);
    size_t bytes = p->pad_bytes;
    for (int i = X; i <= Y; i++)
        if (i != W && p->reorder[i] && !(shared && i == (int)ot_dnnl_whole(kind)))
            bytes += p->bytes[i];
    return bytes;
}

size_t ot_dnnl_partial_bytes(const struct dense_conv *c) {
    const struct cut *cut = &c->cut[WEIGHTS];
    const struct pass *p = &cut->pass[0][0];
    return p->conv ? p->bytes[W] + round_up((size_t)cut->channels * sizeof(float)) : 0;
}

size_t ot_dnnl_packed_bytes(const struct dense_conv *c, int kind) {
    const struct cut *cut = &c->cut[kind];
    return (size_t)cut->slices * cut->pass[0][0].bytes[W];
}

size_t ot_dnnl_whole_bytes(const struct dense_conv *c, int kind) {
    const struct cut *cut = &c->cut[kind];
    if (!ot_dnnl_packs_whole(cut, kind)) return 0;
    return (size_t)cut->batches * cut->pass[0][0].bytes[ot_dnnl_whole(kind)];
}

/* Scratch: [packed W] [whole images] [partial dW and db, one a piece] [a part for each worker]. */
static void count_scratch(const struct op_node *n, struct dense_conv *c, size_t *forward,
                          size_t *backward) {
    const size_t workers = (size_t)n->workers;
    const struct cut *weights = &c->cut[WEIGHTS];
    for (int kind = FORWARD; kind < PASSES; kind++) {
        size_t *most = &c->worker_bytes[kind != FORWARD];
        for (int i = 0; i < 4; i++) {
            size_t bytes = pass_scratch(&c->cut[kind], kind, &c->cut[kind].pass[i / 2][i % 2]);
            if (bytes > *most) *most = bytes;
        }
    }
    *forward = ot_dnnl_packed_bytes(c, FORWARD) + ot_dnnl_whole_bytes(c, FORWARD) +
               workers * c->worker_bytes[0];
    *backward = ot_dnnl_packed_bytes(c, DATA) + ot_dnnl_whole_bytes(c, DATA) +
                ot_dnnl_whole_bytes(c, WEIGHTS) +
                (size_t)ot_dnnl_pieces(weights) * ot_dnnl_partial_bytes(c) +
                workers * c->worker_bytes[1];
}

/* Whether a piece of both gradients may leave its packed dy for the second. */
static bool has_same_dy(const struct dense_conv *c) {
    for (int i = 0; i < 2; i++) {
        const struct pass *data = &c->cut[DATA].pass[i][0], *weights = &c->cut[WEIGHTS].pass[i][0];
        if (data->conv && weights->conv &&
            !dnnl_memory_desc_equal(ot_dnnl_chosen(data, DATA, Y),
                                    ot_dnnl_chosen(weights, WEIGHTS, Y)))
            return false;
    }
    return ot_dnnl_has_pass(c, DATA) && ot_dnnl_has_pass(c, WEIGHTS) && c->cut[DATA].slices == 1 &&
           c->cut[WEIGHTS].slices == 1;
}

static ot_status no_memory(const struct op_node *n, dnnl_status_t status, ot_error *err) {
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "oneDNN failed with status %d", (int)status);
}

static ot_status make_all(struct op_node *n, struct dense_conv *c, ot_error *err) {
    OT_TRY(ot_dnnl_choose_cuts(n, c, err));
    dnnl_status_t status = dnnl_engine_create(&c->engine, dnnl_cpu, 0);
    if (!status) status = dnnl_primitive_attr_create(&c->attr);
    if (!status)
        status = dnnl_primitive_attr_set_scratchpad_mode(c->attr, dnnl_scratchpad_mode_user);
    if (status) return no_memory(n, status, err);
    for (int kind = FORWARD; kind < PASSES; kind++) {
        if (!ot_dnnl_has_pass(c, kind)) continue;
        status = make_cut(c, kind);
        if (status)
            return ot_op_fail(
                n, err, status == dnnl_out_of_memory ? OT_ERROR_NO_MEMORY : OT_ERROR_UNSUPPORTED,
                "oneDNN cannot create the convolution (%s): status %d", ot_dnnl_pass[kind].name,
                (int)status);
    }
    c->same_dy = has_same_dy(c);
    return OT_OK;
}

ot_status ot_dense_conv_new(struct op_node *n, const struct conv_shape *shape, bool bias,
                            unsigned want, const struct dense_conv **conv, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err) {
    struct dense_conv *c = ot_arena_alloc(n->arena, 1, sizeof *c);
    if (!c) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *conv = c;
    c->shape = *shape;
    c->lanes[X] = n->x[0]->lanes;
    c->lanes[Y] = n->y[0]->lanes;
    c->bias = bias;
    c->want = want;
    set_geometry(&c->geometry, shape);
    const int before = ot_dnnl_begin(NULL);
    if (!before) return ot_op_fail(n, err, OT_ERROR_STATE, "the process is ending");
    ot_status status = make_all(n, c, err);
    ot_dnnl_end(before);
    if (!status) count_scratch(n, c, forward_scratch, backward_scratch);
    return status;
}

/* ---- what each node has for itself ---- */

ot_status ot_dense_conv_open(struct op_node *n, const struct dense_conv *c, ot_error *err) {
    const int before = ot_dnnl_begin(NULL);
    if (!before) return ot_op_fail(n, err, OT_ERROR_STATE, "the process is ending");
    dnnl_status_t status = dnnl_success;
    for (int kind = FORWARD; kind < PASSES; kind++) {
        const struct cut *cut = &c->cut[kind];
        for (int i = 0; ot_dnnl_has_pass(c, kind) && i < ot_dnnl_pieces(cut) && !status; i++)
            status = make_handles(c, kind, cut->piece[i].pass, &ot_dnnl_handles(n, cut)[i]);
    }
    ot_dnnl_end(before);
    return status ? no_memory(n, status, err) : OT_OK;
}

static void free_handles(struct handles *h) {
    for (int i = 0; i < OPERANDS; i++) {
        if (h->plain[i]) dnnl_memory_destroy(h->plain[i]);
        if (h->chosen[i]) dnnl_memory_destroy(h->chosen[i]);
    }
    if (h->pad) dnnl_memory_destroy(h->pad);
    if (h->stream) dnnl_stream_destroy(h->stream);
}

void ot_dense_conv_close(struct op_node *n, const struct dense_conv *c) {
    const int before = ot_dnnl_begin(NULL);
    if (!before) return;
    for (int kind = FORWARD; kind < PASSES; kind++)
        for (int i = 0; i < ot_dnnl_pieces(&c->cut[kind]); i++)
            free_handles(&ot_dnnl_handles(n, &c->cut[kind])[i]);
    ot_dnnl_end(before);
}

/* ---- the end ---- */

static void free_pass(const struct pass *p) {
    for (int i = 0; i < OPERANDS; i++) {
        if (p->reorder[i]) dnnl_primitive_destroy(p->reorder[i]);
        ot_dnnl_md_free(&p->plain[i]);
    }
    if (p->conv) dnnl_primitive_destroy(p->conv);
    if (p->desc) dnnl_primitive_desc_destroy(p->desc);
}

void ot_dense_conv_free(const struct dense_conv *c) {
    const int before = c ? ot_dnnl_begin(NULL) : 0;
    if (!before) return;
    for (int kind = FORWARD; kind < PASSES; kind++) {
        const struct cut *cut = &c->cut[kind];
        for (int i = 0; i < 4; i++) free_pass(&cut->pass[i / 2][i % 2]);
    }
    if (c->attr) dnnl_primitive_attr_destroy(c->attr);
    if (c->engine) dnnl_engine_destroy(c->engine);
    ot_dnnl_end(before);
}
