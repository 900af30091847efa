/* sparse_view.c - the shape of a sparse layer as streams see it. */
#include "ops/product/sparse_product.h"

static bool is_pointwise(const struct conv_shape *s) {
    return s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1 && s->pad_top == 0 &&
           s->pad_left == 0 && s->h == s->oh && s->w == s->ow;
}

struct sparse_view ot_sparse_view(const struct conv_shape *shape, int lanes) {
    struct sparse_view v = {.s = *shape,
                            .flat = is_pointwise(shape) && !shape->stacked,
                            .pixel = lanes ? (size_t)lanes : 1};
    if (v.flat) {
        v.s.w = v.s.ow = shape->h * shape->w * (lanes ? lanes / OT_UNIT : 1);
        v.s.h = v.s.oh = 1;
        v.pixel = lanes ? OT_UNIT : 1;
    }
    return v;
}

struct image ot_sparse_image(const struct sparse_view *v, int64_t channels, int64_t lines,
                             int64_t width) {
    const size_t line = (size_t)width * v->pixel;
    if (v->s.stacked) return (struct image){line, (size_t)channels * line, v->pixel};
    return (struct image){(size_t)lines * line, line, v->pixel};
}

ot_status ot_sparse_out_of_memory(struct op_node *n, ot_error *err) {
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory for a sparse product");
}

bool ot_sparse_set_grid(struct stream *s, const struct sparse_product *p, struct arena *arena) {
    if (p->lanes) return true;
    const int height = s->grid_h, width = s->grid_w, runs = s->columns.runs;
    const int parts = s->lines.runs * runs;
    s->grid_h = 1;
    s->part = ot_arena_alloc(arena, (size_t)parts, sizeof *s->part);
    if (!s->part || !ot_flat_init(&s->flat, &s->lines, &s->columns, height, width, p->n,
                                  p->kernels->tile, &s->grid_w))
        return false;
    for (int i = 0; i < parts; i++)
        s->part[i] = ot_flat_part(&s->lines, i / runs, &s->columns, i % runs, &s->in);
    return true;
}
