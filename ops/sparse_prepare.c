/* sparse_prepare.c - builds the streams of a sparse layer: forward, and the transposed ones of the
 * data gradient, one plane for each residue of the stride. */
#include "ops/sparse_product.h"
#include "ops/sparse_tile.h"

/* The shape as streams see it: 1x1 products without stride or pads are rows of units. */
struct view {
    struct conv_shape s;
    bool flat;
    size_t pixel; /* floats from pixel to pixel */
};

static bool is_pointwise(const struct conv_shape *s) {
    return s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1 && s->pad_top == 0 &&
           s->pad_left == 0 && s->h == s->oh && s->w == s->ow;
}

static struct view view_of(const struct conv_shape *shape, int lanes) {
    struct view v = {.s = *shape, .flat = is_pointwise(shape),
                     .pixel = lanes ? (size_t)lanes : 1};
    if (v.flat) {
        v.s.w = v.s.ow = shape->h * shape->w * (lanes ? lanes / OT_UNIT : 1);
        v.s.h = v.s.oh = 1;
        v.pixel = lanes ? OT_UNIT : 1;
    }
    return v;
}

/* All nonzeros in the order of the pattern: rows ascend. */
static void list_nonzeros(const struct pattern *p, const struct conv_shape *s, struct nonzero *z) {
    const int area = s->kh * s->kw, group_rows = (int)(s->m / s->groups);
    const int group_channels = (int)(s->c / s->groups);
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            int tap = p->col[k] % area;
            z[k] = (struct nonzero){.row = r,
                                    .channel = r / group_rows * group_channels + p->col[k] / area,
                                    .i = tap / s->kw, .j = tap % s->kw, .slot = k};
        }
}

/* Nonzeros by input channel instead of by output row, and their roles swapped. count: c + 1 zeros.
 */
static void transpose(const struct nonzero *z, int nnz, int32_t *count, int channels,
                      struct nonzero *t) {
    for (int k = 0; k < nnz; k++) count[z[k].channel + 1]++;
    for (int c = 0; c < channels; c++) count[c + 1] += count[c];
    for (int k = 0; k < nnz; k++) {
        struct nonzero *to = &t[count[z[k].channel]++];
        *to = z[k];
        to->row = z[k].channel;
        to->channel = z[k].row;
    }
}

static ot_status out_of_memory(struct op_node *n, ot_error *err) {
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory for a sparse product");
}

/* In rows the grid is one line of units. */
static bool set_grid(struct stream *s, const struct sparse_product *p, struct arena *arena) {
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

static ot_status prepare_forward(struct op_node *n, struct sparse_product *p, const struct view *v,
                                 const struct nonzero *z, int nnz, int64_t *tap, ot_error *err) {
    const struct conv_shape *s = &v->s;
    struct stream *f = &p->forward;
    int64_t *tap_x = tap + s->kh;
    for (int i = 0; i < s->kh; i++) tap[i] = (int64_t)i * s->dilation_h - s->pad_top;
    for (int j = 0; j < s->kw; j++) tap_x[j] = (int64_t)j * s->dilation_w - s->pad_left;
    *f = (struct stream){
        .in = {(size_t)s->h * (size_t)s->w * v->pixel, (size_t)s->w * v->pixel, v->pixel},
        .out = {(size_t)s->oh * (size_t)s->ow * v->pixel, (size_t)s->ow * v->pixel, v->pixel},
        .channels = (int)s->c, .rows = (int)s->m, .grid_h = (int)s->oh, .grid_w = (int)s->ow,
        .planes = 1, .plane = ot_arena_alloc(n->arena, 1, sizeof *f->plane),
        .weight = true};
    if (!f->plane) return out_of_memory(n, err);
    *f->plane = (struct plane){f->grid_h, f->grid_w, 0};
    if (!ot_axis_init(&f->lines, n->arena, s->h, s->stride_h, tap, s->kh) ||
        !ot_axis_init(&f->columns, n->arena, s->w, s->stride_w, tap_x, s->kw) ||
        !set_grid(f, p, n->arena))
        return out_of_memory(n, err);
    return ot_stream_build(f, n->kernels, n->arena, z, nnz, tap, s->kh, tap_x, s->kw, p->blocks,
                           err);
}

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

struct backward_memory {
    struct nonzero *z;
    int32_t *count;
    struct residue *residue; /* kh + kw */
    int *number;             /* kh + kw */
};

/* The planes: input positions (a + oy * stride_h, b + ox * stride_w). */
static bool set_planes(struct stream *f, struct arena *arena, const struct conv_shape *s,
                       const struct view *v) {
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

/* Large pointwise products do little else than read, dy most of all. */
static bool is_joint(const struct sparse_product *p, const struct view *v, uint32_t want) {
    const struct stream *f = &p->forward;
    const struct chunks all = {0, f->chunks};
    const size_t blocks = (size_t)(p->blocks / p->units);
    return p->lanes && v->flat && want == (OT_SPARSE_DATA | OT_SPARSE_WEIGHT) && f->chunks == 1 &&
           ot_stream_wide(f) && ot_dy_fits(f, all) &&
           blocks * p->y_block * sizeof(float) > OT_PAST_CACHE;
}

/* Gives nonzeros their plane and compact taps; drops those that feed nothing. */
static int set_taps(const struct conv_shape *s, const struct backward_memory *m, int nnz) {
    const int planes_w = (int)(s->w < s->stride_w ? s->w : s->stride_w);
    int n = 0;
    for (int k = 0; k < nnz; k++) {
        struct nonzero z = m->z[k];
        int a = m->residue[z.i].residue, b = m->residue[s->kh + z.j].residue;
        if (a < 0 || b < 0) continue;
        z.plane = a * planes_w + b;
        z.i = m->number[z.i];
        z.j = m->number[s->kh + z.j];
        m->z[n++] = z;
    }
    return n;
}

static ot_status build_backward(struct op_node *n, struct sparse_product *p, const struct view *v,
                                const struct nonzero *z, int nnz, int64_t *tap,
                                const struct backward_memory *m, ot_error *err) {
    const struct conv_shape *s = &v->s;
    const size_t pixel = v->pixel, line = (size_t)s->w * pixel;
    struct stream *f = &p->backward;
    int64_t *tap_x = tap + s->kh;
    find_residues(m->residue, s->kh, s->stride_h, s->dilation_h, s->pad_top, s->h);
    find_residues(m->residue + s->kh, s->kw, s->stride_w, s->dilation_w, s->pad_left, s->w);
    const int taps_y = compact(m->residue, s->kh, tap, m->number);
    const int taps_x = compact(m->residue + s->kh, s->kw, tap_x, m->number + s->kh);
    *f = (struct stream){
        .in = {(size_t)s->oh * (size_t)s->ow * pixel, (size_t)s->ow * pixel, pixel},
        .out = {(size_t)s->h * line, (size_t)s->stride_h * line, (size_t)s->stride_w * pixel},
        .channels = (int)s->m, .rows = (int)s->c, .like = p->joint ? &p->forward : NULL};
    if (!set_planes(f, n->arena, s, v) ||
        !ot_axis_init(&f->lines, n->arena, s->oh, 1, tap, taps_y) ||
        !ot_axis_init(&f->columns, n->arena, s->ow, 1, tap_x, taps_x) ||
        !set_grid(f, p, n->arena))
        return out_of_memory(n, err);
    transpose(z, nnz, m->count, (int)s->c, m->z);
    nnz = set_taps(s, m, nnz);
    return ot_stream_build(f, n->kernels, n->arena, m->z, nnz, tap, taps_y, tap_x, taps_x,
                           p->blocks, err);
}

static ot_status prepare_backward(struct op_node *n, struct sparse_product *p, const struct view *v,
                                  const struct nonzero *z, int nnz, int64_t *tap, ot_error *err) {
    const ot_allocator *al = &n->arena->allocator;
    const struct conv_shape *s = &v->s;
    const size_t taps = (size_t)s->kh + (size_t)s->kw;
    struct backward_memory m;
    m.z = ot_block_alloc(al, (size_t)nnz, sizeof *m.z);
    m.count = ot_block_alloc(al, (size_t)s->c + 1, sizeof *m.count);
    m.residue = ot_block_alloc(al, taps, sizeof *m.residue);
    m.number = ot_block_alloc(al, taps, sizeof *m.number);
    ot_status status = m.z && m.count && m.residue && m.number
                           ? build_backward(n, p, v, z, nnz, tap, &m, err)
                           : out_of_memory(n, err);
    ot_block_free(al, m.z);
    ot_block_free(al, m.count);
    ot_block_free(al, m.residue);
    ot_block_free(al, m.number);
    return status;
}

static ot_status check(struct op_node *n, const struct pattern *p, const struct conv_shape *s,
                       int lanes, ot_error *err) {
    int64_t cols, pixels, floats;
    const int64_t most = INT32_MAX / 4;
    if (s->n < 0 || s->c < 0 || s->m < 0 || s->kh < 1 || s->kw < 1 || s->groups < 1 ||
        s->stride_h < 1 || s->stride_w < 1 || s->dilation_h < 1 || s->dilation_w < 1 ||
        lanes < 0 || lanes % OT_UNIT || s->c % s->groups || s->m % s->groups)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the window of a sparse product is not valid");
    if (__builtin_mul_overflow(s->c / s->groups, (int64_t)s->kh * s->kw, &cols) ||
        p->rows != s->m || p->cols != cols)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "a sparse weight of %d x %d for %lld inputs of %lld x %d x %d", p->rows,
                          p->cols, (long long)s->m, (long long)(s->c / s->groups), s->kh, s->kw);
    const int pixel = lanes ? lanes : 1;
    const int64_t area[2][3] = {{s->h, s->w, pixel}, {s->oh, s->ow, pixel}};
    if (s->c > most || s->m > most || !ot_shape_count(area[0], 3, most, &pixels) ||
        !ot_shape_count(area[1], 3, most, &pixels) ||
        __builtin_mul_overflow(s->n, s->c, &floats) ||
        __builtin_mul_overflow(s->n, s->m, &floats) || s->n > most)
        return ot_op_fail(n, err, OT_ERROR_LIMIT,
                          "%lld channels of %lld x %lld are too many for a sparse product",
                          (long long)s->c, (long long)s->h, (long long)s->w);
    return OT_OK;
}

/* A worker needs a packed panel, and room for a tile of every row. In rows all workers share all
 * packed channels, and so many packed rows of dy. */
static void worker_memory(struct sparse_product *p, const struct stream *s, int dy) {
    const size_t shared = s->channel_size * (size_t)s->live + (size_t)dy * ot_sparse_dy_size(p);
    const size_t packed = p->lanes ? s->channel_size * (size_t)s->width : 0;
    size_t rows = (size_t)s->tile_h * (size_t)s->tile_w * OT_UNIT * (size_t)s->rows *
                  (size_t)s->planes;
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

static ot_status sizes(struct op_node *n, struct sparse_product *p, uint32_t want, size_t *forward,
                       size_t *backward, ot_error *err) {
    const struct stream *f = &p->forward;
    const size_t workers = (size_t)ot_pool_workers(p->pool);
    worker_memory(p, f, want & OT_SPARSE_WEIGHT ? f->rows : 0);
    worker_memory(p, &p->backward, 0);
    if (p->joint) joint_memory(p);
    size_t sums = 0, floats;
    if (want & OT_SPARSE_WEIGHT) {
        int64_t items = p->blocks * f->tiles_h * f->tiles_w;
        int shares = OT_SPARSE_SHARES / f->chunks;
        p->shares = shares > items ? (int)items : shares;
        if (p->shares < 1) p->shares = 1;
        sums = (size_t)p->shares * ((size_t)f->nnz + (size_t)f->rows);
    }
    if (!ot_mul(p->packed + p->rows, workers, &floats) || !ot_add(floats, sums, &floats) ||
        !ot_add(floats, p->shared, &floats) ||
        !ot_mul(floats, sizeof(float), backward))
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "too much scratch memory for a sparse product");
    *forward = (p->shared + (p->packed + p->rows) * workers) * sizeof(float);
    return OT_OK;
}

ot_status ot_sparse_prepare(struct op_node *n, const struct pattern *pattern,
                            const struct conv_shape *shape, int lanes, uint32_t want,
                            struct sparse_product **product, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err) {
    OT_TRY(check(n, pattern, shape, lanes, err));
    const ot_allocator *al = &n->arena->allocator;
    const struct view v = view_of(shape, lanes);
    const int units = lanes ? lanes / OT_UNIT : 1, samples = lanes ? lanes : 1;
    struct sparse_product *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    struct nonzero *z = ot_block_alloc(al, (size_t)pattern->nnz, sizeof *z);
    int64_t *tap = ot_block_alloc(al, (size_t)shape->kh + (size_t)shape->kw, sizeof *tap);
    ot_status status = OT_OK;
    if (!p || !z || !tap) {
        status = out_of_memory(n, err);
        goto done;
    }
    *p = (struct sparse_product){.kernels = n->kernels, .pool = n->pool, .n = shape->n,
                                 .lanes = lanes, .units = v.flat ? 1 : units,
                                 .flat_units = v.flat ? units : 1};
    p->blocks = lanes ? (shape->n + lanes - 1) / lanes * p->units : 1;
    p->x_block = (size_t)(shape->c * shape->h * shape->w) * (size_t)samples;
    p->y_block = (size_t)(shape->m * shape->oh * shape->ow) * (size_t)samples;
    list_nonzeros(pattern, shape, z);
    status = prepare_forward(n, p, &v, z, pattern->nnz, tap, err);
    p->joint = !status && is_joint(p, &v, want);
    if (!status && (want & OT_SPARSE_DATA))
        status = prepare_backward(n, p, &v, z, pattern->nnz, tap, err);
    if (!status) status = sizes(n, p, want, forward_scratch, backward_scratch, err);
    *product = p;
done:
    ot_block_free(al, z);
    ot_block_free(al, tap);
    return status;
}
