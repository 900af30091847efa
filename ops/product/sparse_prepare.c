/* sparse_prepare.c - prepares a sparse layer: the forward stream, and the memory that all passes
 * need. */
#include "ops/product/sparse_product.h"
#include "ops/product/sparse_tile.h"

static void set_taps(const struct conv_shape *s, struct sparse_taps *taps) {
    int64_t *tap_x = taps->axis + s->kh;
    for (int i = 0; i < s->kh; i++) taps->axis[i] = (int64_t)i * s->dilation_h - s->pad_top;
    for (int j = 0; j < s->kw; j++) tap_x[j] = (int64_t)j * s->dilation_w - s->pad_left;
    for (int t = 0; t < s->kh * s->kw; t++)
        taps->tap[t] = (struct stream_tap){0, t / s->kw, t % s->kw};
}

static ot_status prepare_forward(struct op_node *n, struct sparse_product *p,
                                 const struct sparse_view *v, bool often, struct sparse_taps *taps,
                                 ot_error *err) {
    const struct conv_shape *s = &v->s;
    const struct image out = ot_sparse_image(v, s->m, s->oh, s->ow);
    struct stream *f = &p->forward;
    const int64_t *tap_x = taps->axis + s->kh;
    set_taps(s, taps);
    *f = (struct stream){.in = ot_sparse_image(v, s->c, s->h, s->w),
                         .out = {out.channel, out.line, out.pixel},
                         .channels = (int)s->c,
                         .rows = (int)s->m,
                         .grid_h = (int)s->oh,
                         .grid_w = (int)s->ow,
                         .planes = 1,
                         .plane = ot_arena_alloc(n->arena, 1, sizeof *f->plane),
                         .weight = true,
                         .often = often};
    if (!f->plane) return ot_sparse_out_of_memory(n, err);
    *f->plane = (struct plane){f->grid_h, f->grid_w, 0};
    if (!ot_axis_init(&f->lines, n->arena, s->h, s->stride_h, taps->axis, s->kh) ||
        !ot_axis_init(&f->columns, n->arena, s->w, s->stride_w, tap_x, s->kw) ||
        !ot_sparse_set_grid(f, p, n->arena))
        return ot_sparse_out_of_memory(n, err);
    return ot_stream_build(f, n->kernels, n->arena, &taps->weight, taps->axis, s->kh, tap_x, s->kw,
                           p->blocks, err);
}

/* Large pointwise products do little else than read. */
static bool is_joint(const struct sparse_product *p, const struct sparse_view *v, uint32_t want) {
    const struct stream *f = &p->forward;
    const struct chunks all = {0, f->chunks};
    const size_t blocks = (size_t)(p->blocks / p->units);
    const uint32_t both = OT_SPARSE_DATA | OT_SPARSE_WEIGHT | OT_SPARSE_TOGETHER;
    return p->lanes && v->flat && want == both && f->chunks == 1 && ot_stream_wide(f) &&
           ot_dy_fits(f, all) && blocks * p->y_block * sizeof(float) > OT_PAST_CACHE;
}

static ot_status check_shapes(struct op_node *n, const struct pattern *p,
                              const struct conv_shape *s, int lanes, ot_error *err) {
    int64_t cols, pixels, floats;
    const int64_t most = INT32_MAX / 4;
    if (s->n < 0 || s->c < 0 || s->m < 0 || s->kh < 1 || s->kw < 1 || s->groups < 1 ||
        s->stride_h < 1 || s->stride_w < 1 || s->dilation_h < 1 || s->dilation_w < 1 || lanes < 0 ||
        lanes % OT_UNIT || s->c % s->groups || s->m % s->groups)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the window or the groups of the sparse product are invalid");
    if (__builtin_mul_overflow(s->c / s->groups, (int64_t)s->kh * s->kw, &cols) ||
        p->rows != s->m || p->cols != cols)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the sparse weight is %d x %d, expected %lld outputs of %lld x %d x %d weights",
            p->rows, p->cols, (long long)s->m, (long long)(s->c / s->groups), s->kh, s->kw);
    const int pixel = lanes ? lanes : 1;
    const int64_t area[2][3] = {{s->h, s->w, pixel}, {s->oh, s->ow, pixel}};
    if (s->c > most || s->m > most || !ot_shape_count(area[0], 3, most, &pixels) ||
        !ot_shape_count(area[1], 3, most, &pixels) || __builtin_mul_overflow(s->n, s->c, &floats) ||
        __builtin_mul_overflow(s->n, s->m, &floats) || s->n > most)
        return ot_op_fail(
            n, err, OT_ERROR_LIMIT,
            "the image has %lld channels of %lld x %lld, too many for a sparse product",
            (long long)s->c, (long long)s->h, (long long)s->w);
    return OT_OK;
}

/* A worker needs a packed panel, and room for a tile of every row. In rows all workers share all
 * packed channels, and so many packed rows of dy. */
static void worker_memory(struct sparse_product *p, const struct stream *s, int dy) {
    const size_t shared = s->channel_size * (size_t)s->live + (size_t)dy * ot_sparse_dy_size(p);
    const size_t packed = p->lanes ? s->channel_size * (size_t)s->width : 0;
    size_t rows =
        (size_t)s->tile_h * (size_t)s->tile_w * OT_UNIT * (size_t)s->rows * (size_t)s->planes;
    if (!p->lanes && shared > p->shared) p->shared = shared;
    if (packed > p->packed) p->packed = packed;
    if (rows > p->rows) p->rows = rows;
}

/* A worker of a joint product has its partial sums and a tile of dy at once. */
static void joint_memory(struct sparse_product *p) {
    const struct stream *f = &p->forward;
    p->dy = p->rows;
    p->rows += (size_t)f->tile_h * (size_t)f->tile_w * OT_UNIT * (size_t)f->rows;
}

static ot_status sizes(struct op_node *n, struct sparse_product *p, int slots, uint32_t want,
                       size_t *forward, size_t *backward, ot_error *err) {
    const struct stream *f = &p->forward;
    const size_t workers = (size_t)n->workers;
    worker_memory(p, f, want & OT_SPARSE_WEIGHT ? f->rows : 0);
    worker_memory(p, &p->backward, 0);
    if (p->joint) joint_memory(p);
    size_t sums = 0, floats;
    if (want & OT_SPARSE_WEIGHT) {
        int64_t items = p->blocks * f->tiles_h * f->tiles_w;
        int shares = OT_SPARSE_SHARES / f->chunks;
        p->shares = shares > items ? (int)items : shares;
        if (p->shares < 1) p->shares = 1;
        sums = (size_t)p->shares * ((size_t)slots + (size_t)f->rows);
    }
    if (!ot_mul(p->packed + p->rows, workers, &floats) || !ot_add(floats, sums, &floats) ||
        !ot_add(floats, p->shared, &floats) || !ot_mul(floats, sizeof(float), backward))
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "a sparse product of this size needs too much scratch memory");
    *forward = (p->shared + (p->packed + p->rows) * workers) * sizeof(float);
    return OT_OK;
}

/* Copies of values in the order of the streams are each node's own. */
static void ask_work(struct op_node *n, struct sparse_product *p, int slots) {
    struct stream *const s[] = {&p->forward, &p->backward};
    p->work = ot_op_ask_work(n, sizeof(struct sparse_work));
    for (int i = 0; i < 2; i++)
        if (s[i]->slot) s[i]->value = ot_op_ask_work(n, (size_t)slots * sizeof(float));
}

static struct stream_weight weight_of(const struct pattern *w, const struct conv_shape *s,
                                      const struct stream_tap *tap, bool changes,
                                      struct sparse_room room) {
    return (struct stream_weight){.pattern = w,
                                  .groups = s->groups,
                                  .group_rows = (int)(s->m / s->groups),
                                  .group_channels = (int)(s->c / s->groups),
                                  .taps = s->kh * s->kw,
                                  .tap = tap,
                                  .changes = changes,
                                  .expected = room.expected,
                                  .capacity = room.capacity};
}

/* Both streams, and the memory that they need. */
static ot_status prepare_streams(struct op_node *n, struct sparse_product *p,
                                 const struct sparse_view *v, uint32_t want,
                                 struct sparse_taps *taps, size_t *forward, size_t *backward,
                                 ot_error *err) {
    const bool often = want & OT_SPARSE_OFTEN;
    const int slots = taps->weight.changes ? taps->weight.capacity : taps->weight.pattern->nnz;
    want &= ~(uint32_t)OT_SPARSE_OFTEN;
    OT_TRY(prepare_forward(n, p, v, often, taps, err));
    p->joint = is_joint(p, v, want);
    if (want & OT_SPARSE_DATA) OT_TRY(ot_sparse_transpose(n, p, v, taps, err));
    p->joint = p->joint && p->backward.chunks == 1; /* all rows of a tile at once */
    OT_TRY(sizes(n, p, slots, want, forward, backward, err));
    ask_work(n, p, slots);
    return OT_OK;
}

ot_status ot_sparse_prepare_room(struct op_node *n, const struct pattern *pattern,
                                 struct sparse_room room, const struct conv_shape *shape, int lanes,
                                 uint32_t want, const struct sparse_product **product,
                                 size_t *forward_scratch, size_t *backward_scratch, ot_error *err) {
    OT_TRY(check_shapes(n, pattern, shape, lanes, err));
    const ot_allocator *al = &n->arena->allocator;
    const struct sparse_view v = ot_sparse_view(shape, lanes);
    const int units = lanes ? lanes / OT_UNIT : 1, samples = lanes ? lanes : 1;
    struct sparse_product *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    if (p && ot_sparse_few_fits(shape, lanes)) {
        *p = (struct sparse_product){.kernels = n->kernels, .n = shape->n};
        *product = p;
        return ot_sparse_few_prepare(n, p, pattern, room.capacity, shape, want, forward_scratch,
                                     backward_scratch, err);
    }
    struct sparse_taps taps = {
        .tap = ot_block_alloc(al, (size_t)shape->kh * (size_t)shape->kw, sizeof *taps.tap),
        .axis = ot_block_alloc(al, (size_t)shape->kh + (size_t)shape->kw, sizeof *taps.axis)};
    taps.weight = weight_of(pattern, shape, taps.tap, n->patterns_change, room);
    ot_status status;
    if (p && taps.tap && taps.axis) {
        *p = (struct sparse_product){.kernels = n->kernels,
                                     .n = shape->n,
                                     .lanes = lanes,
                                     .units = v.flat ? 1 : units,
                                     .flat_units = v.flat ? units : 1};
        p->blocks = lanes ? (shape->n + lanes - 1) / lanes * p->units : 1;
        p->x_block = (size_t)(shape->c * shape->h * shape->w) * (size_t)samples;
        p->y_block = (size_t)(shape->m * shape->oh * shape->ow) * (size_t)samples;
        *product = p;
        status = prepare_streams(n, p, &v, want, &taps, forward_scratch, backward_scratch, err);
    } else {
        status = ot_sparse_out_of_memory(n, err);
    }
    ot_block_free(al, taps.tap);
    ot_block_free(al, taps.axis);
    return status;
}

ot_status ot_sparse_prepare(struct op_node *n, const struct pattern *pattern,
                            const struct conv_shape *shape, int lanes, uint32_t want,
                            const struct sparse_product **product, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err) {
    const struct sparse_room same = {pattern->nnz, pattern->nnz};
    return ot_sparse_prepare_room(n, pattern, same, shape, lanes, want, product, forward_scratch,
                                  backward_scratch, err);
}

void ot_sparse_follow(const struct sparse_product *p, const struct pattern *pattern) {
    struct sparse_product *q = (struct sparse_product *)p;
    if (p->few) {
        ot_sparse_few_follow(p, pattern);
        return;
    }
    ot_stream_follow(&q->forward, pattern);
    if (q->backward.map) ot_stream_follow(&q->backward, pattern);
}
