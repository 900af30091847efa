/* sparse_case.c - one sparse layer with random pattern and data, and its dense reference. */
#include "tests/sparse_case.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/rng.h"

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static size_t whole_pages(size_t floats) {
    size_t bytes = floats * sizeof(float);
    return (bytes + page() - 1) / page() * page();
}

float *guarded(size_t floats, bool back) {
    size_t bytes = whole_pages(floats);
    char *p = mmap(NULL, bytes + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    if (bytes) assert_int_equal(mprotect(p + page(), bytes, PROT_READ | PROT_WRITE), 0);
    return (float *)(p + page() + (back ? bytes - floats * sizeof(float) : 0));
}

void guarded_free(float *block, size_t floats, bool back) {
    size_t bytes = whole_pages(floats);
    char *p = (char *)block - (back ? bytes - floats * sizeof(float) : 0);
    munmap(p - page(), bytes + 2 * page());
}

static int out_size(int size, int from, int to, int k, int stride, int dilation) {
    return (size + from + to - dilation * (k - 1) - 1) / stride + 1;
}

/* Positions of `fan_in` slots of a row, one in each of as many parts of it. */
static int64_t draw_row(int64_t row, int cols, int fan_in, int64_t *position) {
    if (row % 4 == 3) return 0;
    for (int k = 0; k < fan_in; k++) {
        const int from = (int)((int64_t)k * cols / fan_in);
        const int to = (int)((int64_t)(k + 1) * cols / fan_in);
        const uint32_t draw = ot_random_u32(7, (uint64_t)row, (uint64_t)k);
        position[k] = row * cols + from + (int64_t)(draw % (uint32_t)(to - from));
    }
    return fan_in;
}

static struct pattern *random_pattern(int rows, int cols, double density, int shift) {
    const int64_t all = (int64_t)rows * cols;
    int64_t *position = malloc(((size_t)all + 1) * sizeof *position), n = 0;
    for (int64_t r = 0; density >= 2 && r < rows; r++)
        n += draw_row(r, cols, (int)density, position + n);
    for (int64_t i = 0; density < 2 && i < all; i++)
        if (ot_random_float(7, (uint64_t)((i + shift) % all), (uint64_t)cols) < density)
            position[n++] = i;
    struct pattern *p;
    assert_int_equal(ot_pattern_new(NULL, rows, cols, false, position, n, NULL, &p, NULL), OT_OK);
    free(position);
    return p;
}

static void fill(float *f, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++) f[i] = ot_random_float(3, stream, i) - 0.5f;
}

/* Where (sample, channel, line, column) stands in lanes. */
static size_t at(const struct sparse_case *c, int64_t channels, int64_t h, int64_t w, int64_t i,
                 int64_t ch, int64_t y, int64_t x) {
    size_t s = (size_t)((ch * h + y) * w + x);
    return ((size_t)(i / c->lanes) * (size_t)(channels * h * w) + s) * (size_t)c->lanes +
           (size_t)(i % c->lanes);
}

static void poison_spare(const struct sparse_case *c, float *f, int64_t elements, float value) {
    for (int64_t i = c->n; i % c->lanes; i++)
        for (int64_t s = 0; s < elements; s++)
            f[((i / c->lanes) * elements + s) * c->lanes + i % c->lanes] = value;
}

static void make_layer(struct sparse_layer *l, const struct sparse_case *c,
                       const struct kernels *kernels, struct pool *pool, bool back, bool poison,
                       int shift, bool changes) {
    memset(l, 0, sizeof *l);
    l->c = *c;
    l->back = back;
    l->shape =
        (struct conv_shape){c->n,
                            c->c,
                            c->h,
                            c->w,
                            c->m,
                            out_size(c->h, c->top, c->bottom, c->kh, c->stride_h, c->dilation_h),
                            out_size(c->w, c->left, c->right, c->kw, c->stride_w, c->dilation_w),
                            c->kh,
                            c->kw,
                            c->stride_h,
                            c->stride_w,
                            c->dilation_h,
                            c->dilation_w,
                            c->top,
                            c->left,
                            c->bottom,
                            c->right,
                            c->groups,
                            {0},
                            false};
    l->pattern = random_pattern(c->m, c->c / c->groups * c->kh * c->kw, c->density, shift);
    ot_arena_init(&l->arena, NULL, 0);
    l->op.name = "Conv";
    l->node.name = c->name;
    l->n = (struct op_node){.op = &l->op,
                            .node = &l->node,
                            .arena = &l->arena,
                            .pool = pool,
                            .workers = ot_pool_workers(pool),
                            .kernels = kernels,
                            .patterns_change = changes};
    ot_error err = {OT_OK, ""};
    if (ot_sparse_prepare(&l->n, l->pattern, &l->shape, c->lanes > 1 ? c->lanes : 0,
                          OT_SPARSE_DATA | OT_SPARSE_WEIGHT | OT_SPARSE_TOGETHER, &l->product,
                          &l->forward_scratch, &l->backward_scratch, &err))
        fail_msg("%s", err.message);
    assert_int_equal(ot_op_open(&l->n, &l->arena, &err), OT_OK);
    size_t blocks = (size_t)((c->n + c->lanes - 1) / c->lanes * c->lanes);
    l->x_size = blocks * (size_t)(c->c * c->h * c->w);
    l->y_size = blocks * (size_t)(c->m * l->shape.oh * l->shape.ow);
    size_t nnz = (size_t)l->pattern->nnz, m = (size_t)c->m;
    float **block[] = {&l->x, &l->dx, &l->y, &l->dy, &l->value, &l->dvalue, &l->bias, &l->dbias};
    const size_t size[] = {l->x_size, l->x_size, l->y_size, l->y_size, nnz, nnz, m, m};
    for (int i = 0; i < 8; i++) {
        *block[i] = guarded(size[i], back);
        fill(*block[i], size[i], (uint64_t)i);
    }
    float *const result[] = {l->dx, l->y, l->dvalue, l->dbias};
    const size_t results[] = {l->x_size, l->y_size, nnz, m};
    for (int i = 0; i < 4; i++)
        for (size_t k = 0; k < results[i]; k++) result[i][k] = NAN;
    if (poison) {
        poison_spare(c, l->x, (int64_t)c->c * c->h * c->w, 1e30f);
        poison_spare(c, l->dy, c->m * l->shape.oh * l->shape.ow, NAN);
    }
    size_t scratch =
        l->forward_scratch > l->backward_scratch ? l->forward_scratch : l->backward_scratch;
    l->scratch = guarded(scratch / sizeof(float), back);
    memset(l->scratch, 0xff, scratch);
}

void sparse_layer_make(struct sparse_layer *l, const struct sparse_case *c,
                       const struct kernels *kernels, struct pool *pool, bool back, bool poison) {
    make_layer(l, c, kernels, pool, back, poison, 0, false);
}

void sparse_layer_make_changing(struct sparse_layer *l, const struct sparse_case *c,
                                const struct kernels *kernels, struct pool *pool, int shift) {
    make_layer(l, c, kernels, pool, true, true, shift, true);
}

void sparse_layer_run(struct sparse_layer *l) {
    ot_sparse_forward(&l->n, l->product, l->x, l->value, l->bias, l->y, l->scratch);
    ot_sparse_backward(&l->n, l->product, l->x, l->value, l->dy, l->dx, l->dvalue, l->dbias,
                       l->scratch);
}

void sparse_layer_free(struct sparse_layer *l) {
    const bool back = l->back;
    size_t nnz = (size_t)l->pattern->nnz, m = (size_t)l->c.m;
    float *block[] = {l->x, l->dx, l->y, l->dy, l->value, l->dvalue, l->bias, l->dbias};
    const size_t size[] = {l->x_size, l->x_size, l->y_size, l->y_size, nnz, nnz, m, m};
    for (int i = 0; i < 8; i++) guarded_free(block[i], size[i], back);
    size_t scratch =
        l->forward_scratch > l->backward_scratch ? l->forward_scratch : l->backward_scratch;
    guarded_free(l->scratch, scratch / sizeof(float), back);
    ot_pattern_unref(l->pattern);
    ot_arena_free(&l->arena);
}

/* ---- reference ---- */

/* All that sample i contributes through one slot. */
static void add_slot(const struct sparse_layer *l, int64_t i, int r, int k, double *y, double *dx,
                     double *dvalue) {
    const struct sparse_case *c = &l->c;
    const struct conv_shape *s = &l->shape;
    int col = l->pattern->col[k], area = c->kh * c->kw;
    int ch = r / (c->m / c->groups) * (c->c / c->groups) + col / area;
    for (int64_t oy = 0; oy < s->oh; oy++)
        for (int64_t ox = 0; ox < s->ow; ox++) {
            int64_t iy = oy * c->stride_h + col % area / c->kw * c->dilation_h - c->top;
            int64_t ix = ox * c->stride_w + col % c->kw * c->dilation_w - c->left;
            if (iy < 0 || iy >= c->h || ix < 0 || ix >= c->w) continue;
            size_t a = at(c, c->c, c->h, c->w, i, ch, iy, ix);
            size_t b = at(c, c->m, s->oh, s->ow, i, r, oy, ox);
            y[b] += (double)l->value[k] * l->x[a];
            dx[a] += (double)l->value[k] * l->dy[b];
            *dvalue += (double)l->dy[b] * l->x[a];
        }
}

static void compare(const char *name, const char *what, const float *got, const double *want,
                    size_t n, double tolerance) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
            fail_msg("%s: %s[%zu] is %.9g, not %.9g", name, what, i, (double)got[i], want[i]);
}

/* Compares the real lanes only. */
static void compare_lanes(const struct sparse_case *c, const char *what, const float *got,
                          const double *want, int64_t elements, double tolerance) {
    for (int64_t i = 0; i < c->n; i++)
        for (int64_t s = 0; s < elements; s++) {
            int64_t k = ((i / c->lanes) * elements + s) * c->lanes + i % c->lanes;
            compare(c->name, what, got + k, want + k, 1, tolerance);
        }
}

void sparse_layer_check(const struct sparse_layer *l) {
    const struct sparse_case *c = &l->c;
    const struct conv_shape *s = &l->shape;
    double *y = calloc(l->y_size + 1, sizeof *y), *dx = calloc(l->x_size + 1, sizeof *dx);
    double *dvalue = calloc((size_t)l->pattern->nnz + 1, sizeof *dvalue);
    double *dbias = calloc((size_t)c->m + 1, sizeof *dbias);
    for (int64_t i = 0; i < c->n; i++)
        for (int r = 0; r < c->m; r++) {
            for (int64_t oy = 0; oy < s->oh; oy++)
                for (int64_t ox = 0; ox < s->ow; ox++) {
                    size_t b = at(c, c->m, s->oh, s->ow, i, r, oy, ox);
                    y[b] += (double)l->bias[r];
                    dbias[r] += (double)l->dy[b];
                }
            for (int k = l->pattern->row[r]; k < l->pattern->row[r + 1]; k++)
                add_slot(l, i, r, k, y, dx, &dvalue[k]);
        }
    const double tolerance = 1e-5 * sqrt(1 + (double)c->n * (double)(s->oh * s->ow) / 64);
    const double density = (double)l->pattern->nnz / ((double)l->pattern->rows * l->pattern->cols);
    const double terms = 1 + density * c->kh * c->kw * (c->c > c->m ? c->c : c->m) / 64;
    compare_lanes(c, "y", l->y, y, c->m * s->oh * s->ow, 1e-5 * sqrt(terms));
    compare_lanes(c, "dx", l->dx, dx, (int64_t)c->c * c->h * c->w, 1e-5 * sqrt(terms));
    compare(c->name, "dvalue", l->dvalue, dvalue, (size_t)l->pattern->nnz, tolerance);
    compare(c->name, "dbias", l->dbias, dbias, (size_t)c->m, tolerance);
    free(y);
    free(dx);
    free(dvalue);
    free(dbias);
}
