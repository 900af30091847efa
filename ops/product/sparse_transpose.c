/* sparse_transpose.c - the stream of a sparse layer's data gradient: the transposed weight, one
 * plane for each residue of the stride. */
#include "ops/product/sparse_product.h"

/* One axis of the data gradient. The gradient at input position r + o * stride, r its residue, is
 * fed through tap i by output o + tap if that lands on an integer: for one r only. */
struct residue {
    int residue; /* -1: beyond the image */
    int64_t tap;
};

static void find_residues(struct residue *r, int taps, int stride, int dilation, int pad,
                          int64_t size) {
    for (int i = 0; i < taps; i++) {
        int64_t distance = (int64_t)i * dilation - pad; /* of the input from stride * output */
        int64_t residue = (distance % stride + stride) % stride;
        r[i].residue = residue < size ? (int)residue : -1;
        r[i].tap = (residue - distance) / stride;
    }
}

/* Leaves out the taps that feed nothing: compact lists of taps, numbers into them. */
static int compact(const struct residue *r, int taps, int64_t *tap, int *number) {
    int n = 0;
    for (int i = 0; i < taps; i++) {
        number[i] = n;
        if (r[i].residue >= 0) tap[n++] = r[i].tap;
    }
    return n;
}

/* Those of kh lines, and behind them of kw columns. */
struct residues {
    struct residue *residue;
    int *number; /* among the taps of its axis that feed something */
};

/* The planes: input positions (a + oy * stride_h, b + ox * stride_w). */
static bool set_planes(struct stream *f, struct arena *arena, const struct conv_shape *s,
                       const struct sparse_view *v) {
    const int planes_h = (int)(s->h < s->stride_h ? s->h : s->stride_h);
    const int planes_w = (int)(s->w < s->stride_w ? s->w : s->stride_w);
    f->planes = planes_h * planes_w;
    f->plane = ot_arena_alloc(arena, (size_t)f->planes, sizeof *f->plane);
    if (!f->plane) return false;
    for (int i = 0; i < f->planes; i++) {
        int a = i / planes_w, b = i % planes_w;
        f->plane[i].grid_h = (int)((s->h - a + s->stride_h - 1) / s->stride_h);
        f->plane[i].grid_w = (int)((s->w - b + s->stride_w - 1) / s->stride_w);
        f->plane[i].from = ((size_t)a * (size_t)s->w + (size_t)b) * v->pixel;
    }
    f->grid_h = f->planes ? f->plane[0].grid_h : 0;
    f->grid_w = f->planes ? f->plane[0].grid_w : 0;
    return true;
}

/* The plane that each tap of the kernel feeds. */
static void set_taps(const struct conv_shape *s, const struct residues *m, struct stream_tap *tap) {
    const int planes_w = (int)(s->w < s->stride_w ? s->w : s->stride_w);
    for (int i = 0; i < s->kh; i++)
        for (int j = 0; j < s->kw; j++) {
            const int a = m->residue[i].residue, b = m->residue[s->kh + j].residue;
            *tap++ = (struct stream_tap){a < 0 || b < 0 ? -1 : a * planes_w + b, m->number[i],
                                         m->number[s->kh + j]};
        }
}

static ot_status build_backward(struct op_node *n, struct sparse_product *p,
                                const struct sparse_view *v, struct sparse_taps *taps,
                                const struct residues *m, ot_error *err) {
    const struct conv_shape *s = &v->s;
    const struct image x = ot_sparse_image(v, s->c, s->h, s->w);
    struct stream *f = &p->backward;
    int64_t *tap_x = taps->axis + s->kh;
    find_residues(m->residue, s->kh, s->stride_h, s->dilation_h, s->pad_top, s->h);
    find_residues(m->residue + s->kh, s->kw, s->stride_w, s->dilation_w, s->pad_left, s->w);
    const int taps_y = compact(m->residue, s->kh, taps->axis, m->number);
    const int taps_x = compact(m->residue + s->kh, s->kw, tap_x, m->number + s->kh);
    set_taps(s, m, taps->tap);
    taps->weight.transposed = true;
    *f = (struct stream){
        .in = ot_sparse_image(v, s->m, s->oh, s->ow),
        .out = {x.channel, (size_t)s->stride_h * x.line, (size_t)s->stride_w * x.pixel},
        .channels = (int)s->m,
        .rows = (int)s->c,
        .same_tiles_as = p->joint ? &p->forward : NULL};
    if (!set_planes(f, n->arena, s, v) ||
        !ot_axis_init(&f->lines, n->arena, s->oh, 1, taps->axis, taps_y) ||
        !ot_axis_init(&f->columns, n->arena, s->ow, 1, tap_x, taps_x) ||
        !ot_sparse_set_grid(f, p, n->arena))
        return ot_sparse_out_of_memory(n, err);
    return ot_stream_build(f, n->kernels, n->arena, &taps->weight, taps->axis, taps_y, tap_x,
                           taps_x, p->blocks, err);
}

ot_status ot_sparse_transpose(struct op_node *n, struct sparse_product *p,
                              const struct sparse_view *v, struct sparse_taps *taps,
                              ot_error *err) {
    const ot_allocator *al = &n->arena->allocator;
    const size_t count = (size_t)v->s.kh + (size_t)v->s.kw;
    struct residues m;
    m.residue = ot_block_alloc(al, count, sizeof *m.residue);
    m.number = ot_block_alloc(al, count, sizeof *m.number);
    ot_status status = m.residue && m.number ? build_backward(n, p, v, taps, &m, err)
                                             : ot_sparse_out_of_memory(n, err);
    ot_block_free(al, m.residue);
    ot_block_free(al, m.number);
    return status;
}
