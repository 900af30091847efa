/* linear.c - sparse products of Gemm and MatMul: the convolution whose image is one pixel. */
#include "ops/product/linear.h"

#include <stdio.h>

#include "ops/kernels/kernels.h"
#include "ops/product/cost.h"
#include "ops/product/dnnl.h"

/* A dense weight that costs less to multiply slot by slot than its input to turn into rows. */
static bool is_small(const struct tensor *w) {
    enum { MOST = 1 << 15 };
    int64_t all;
    return ot_is_fixed(w) && ot_shape_count(w->dim, 2, MOST, &all) && all > 0;
}

bool ot_linear_lanes(const struct op_node *n, bool trans, int lane_rank) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    if (!x || !w || x->type != OT_FLOAT || w->type != OT_FLOAT) return false;
    if (w->rank != 2 || x->rank < 2 || lane_rank != x->rank - 1 ||
        w->dim[trans ? 1 : 0] != x->dim[x->rank - 1])
        return false;
    if (!w->pattern) return trans && is_small(w);
    const struct pattern *p = w->pattern;
    return n->form == OT_FORM_SPARSE && p->transposed == !trans &&
           p->rows == w->dim[trans ? 0 : 1] && p->cols == w->dim[trans ? 1 : 0];
}

bool ot_linear_rows(const struct op_node *n, bool trans, int i) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    return i == 1 && x && w && w->pattern && ot_linear_lanes(n, trans, x->rank - 1) &&
           ot_op_few_pay(n);
}

struct conv_shape ot_linear_shape(const struct op_node *n, int64_t features) {
    const struct tensor *x = n->x[0];
    return (struct conv_shape){.n = ot_dims_product(x, 0, x->rank - 1),
                               .c = x->dim[x->rank - 1],
                               .h = 1,
                               .w = 1,
                               .m = features,
                               .oh = 1,
                               .ow = 1,
                               .kh = 1,
                               .kw = 1,
                               .stride_h = 1,
                               .stride_w = 1,
                               .dilation_h = 1,
                               .dilation_w = 1,
                               .groups = 1};
}

bool ot_linear_product(const struct op_node *n, bool trans, struct conv_shape *s) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    if (x->rank < 2 || w->rank != 2 || x->dim[x->rank - 1] != w->dim[trans ? 1 : 0]) return false;
    *s = ot_linear_shape(n, w->dim[trans ? 0 : 1]);
    return true;
}

ot_status ot_full_pattern(struct op_node *n, const struct pattern **full, ot_error *err) {
    const struct tensor *w = n->x[1];
    const int64_t count = ot_elements(w);
    struct pattern *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    int *row = ot_arena_alloc(n->arena, (size_t)w->dim[0] + 1, sizeof *row);
    int *col = ot_arena_alloc(n->arena, (size_t)count, sizeof *col);
    if (!p || !row || !col) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *p = (struct pattern){.references = 1,
                          .rows = (int)w->dim[0],
                          .cols = (int)(count / w->dim[0]),
                          .nnz = (int)count,
                          .row = row,
                          .col = col};
    for (int r = 0; r <= p->rows; r++) row[r] = r * p->cols;
    for (int k = 0; k < p->nnz; k++) col[k] = k % p->cols;
    *full = p;
    return OT_OK;
}

uint32_t ot_sparse_want(const struct op_node *n) {
    return (ot_training_wants(n, 0) ? OT_SPARSE_DATA : 0) |
           (ot_training_wants(n, 1) || ot_training_wants(n, 2) ? OT_SPARSE_WEIGHT : 0);
}

static double positions(const struct conv_shape *s) {
    return s->m ? (double)s->n * (double)(ot_conv_outputs(s) / s->m) : 0;
}

ot_status ot_sparse_describe(struct op_node *n, const struct conv_shape *s, ot_error *err) {
    enum { SIZE = 32 };
    char *name = ot_arena_alloc(n->arena, SIZE, 1);
    if (!name) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    snprintf(name, SIZE, "spmm %s", n->kernels->name);
    n->kernel = name;
    const struct tensor *w = n->x[1];
    const int64_t nnz = w->pattern ? w->pattern->nnz : ot_elements(w);
    n->flops = 2.0 * (double)nnz * positions(s);
    ot_cost_note(n, ot_cost_sparse(n->kernels, s, nnz, n->x[0]->lanes));
    return OT_OK;
}

void ot_dense_describe(struct op_node *n, const struct conv_shape *s, const char *kernel) {
    n->kernel = kernel;
    n->flops = 2.0 * (double)ot_elements(n->x[1]) * positions(s);
    ot_cost_note(n, ot_cost_dense(n->kernels, s));
}

/* ---- products ---- */

static ot_status prepare_sparse(struct op_node *n, const struct conv_shape *s, struct product *p,
                                ot_error *err) {
    const struct tensor *x = n->x[0];
    const struct pattern *pattern = n->x[1]->pattern;
    if (!pattern) OT_TRY(ot_full_pattern(n, &pattern, err));
    OT_TRY(ot_sparse_describe(n, s, err));
    OT_TRY(ot_sparse_prepare(n, pattern, s, x->lanes, ot_sparse_want(n) | OT_SPARSE_TOGETHER,
                             &p->sparse, &n->forward_scratch_size, &n->backward_scratch_size, err));
    n->joint = ot_sparse_is_joint(n, p->sparse);
    return OT_OK;
}

static ot_status prepare_live(struct op_node *n, const struct conv_shape *s, struct product *p,
                              ot_error *err) {
    const struct pattern *pattern = n->x[1]->pattern;
    struct live live = {*s, NULL, NULL};
    const bool some_live = n->form == OT_FORM_LIVE && !n->patterns_change;
    if (some_live && !ot_live_find(n->arena, pattern, s, n->x[0]->lanes, &live))
        return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    const bool some = live.row || live.channel;
    n->kernel = some ? "dnnl live" : "dnnl";
    n->flops = ot_dense_flops(&live.part);
    ot_cost_note(n, ot_cost_live(n->kernels, s, &live, pattern->nnz));
    return ot_live_prepare(n, s, &live, &p->live, err);
}

ot_status ot_product_prepare(struct op_node *n, const struct conv_shape *s, struct product *p,
                             ot_error *err) {
    return n->form == OT_FORM_SPARSE ? prepare_sparse(n, s, p, err) : prepare_live(n, s, p, err);
}

void ot_product_follow(const struct product *p, const struct pattern *pattern) {
    if (p->live)
        ot_live_follow(p->live, pattern);
    else
        ot_sparse_follow(p->sparse, pattern);
}

void ot_product_free(const struct product *p) { ot_live_free(p->live); }

ot_status ot_product_open(struct op_node *n, const struct product *p, ot_error *err) {
    return p->live ? ot_live_open(n, p->live, err) : OT_OK;
}

void ot_product_close(struct op_node *n, const struct product *p) {
    if (p->live) ot_live_close(n, p->live);
}

void ot_product_forward(struct op_node *n, const struct product *p) {
    const float *x = ot_f(n->x[0]), *bias = n->n_in > 2 && n->x[2] ? ot_f(n->x[2]) : NULL;
    if (p->live)
        ot_live_forward(n, p->live);
    else
        ot_sparse_forward(n, p->sparse, x, ot_f(n->x[1]), bias, ot_f(n->y[0]), n->scratch);
}

void ot_product_backward(struct op_node *n, const struct product *p) {
    float *d[3];
    for (int i = 0; i < 3; i++) d[i] = i < n->n_in && n->dx[i] ? ot_f(n->dx[i]) : NULL;
    if (p->live)
        ot_live_backward(n, p->live);
    else
        ot_sparse_backward(n, p->sparse, ot_f(n->x[0]), ot_f(n->x[1]), ot_f(n->dy[0]), d[0], d[1],
                           d[2], n->scratch);
}
