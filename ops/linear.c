/* linear.c - sparse products of Gemm and MatMul: the convolution whose image is one pixel. */
#include "ops/linear.h"

#include <stdio.h>

#include "ops/cost.h"
#include "ops/kernels/kernels.h"

/* A dense weight that costs less to multiply slot by slot than its input to turn into rows. */
static bool is_small(const struct tensor *w) {
    enum { MOST = 1 << 15 };
    int64_t all;
    return ot_is_fixed(w) && ot_shape_count(w->dim, 2, MOST, &all) && all > 0;
}

bool ot_linear_lanes(const struct op_node *n, bool trans, int lane_rank) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    if (!x || !w || w->rank != 2 || x->rank < 2 || lane_rank != x->rank - 1 ||
        w->dim[trans ? 1 : 0] != x->dim[x->rank - 1])
        return false;
    if (!w->pattern) return trans && is_small(w);
    return w->pattern->transposed == !trans && w->pattern->rows == w->dim[trans ? 0 : 1] &&
           w->pattern->cols == w->dim[trans ? 1 : 0];
}

struct conv_shape ot_linear_shape(const struct op_node *n, int64_t features) {
    const struct tensor *x = n->x[0];
    return (struct conv_shape){
        .n = ot_dims_product(x, 0, x->rank - 1), .c = x->dim[x->rank - 1], .h = 1, .w = 1,
        .m = features, .oh = 1, .ow = 1, .kh = 1, .kw = 1, .stride_h = 1, .stride_w = 1,
        .dilation_h = 1, .dilation_w = 1, .groups = 1};
}

bool ot_linear_product(const struct op_node *n, bool trans, struct conv_shape *s) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    if (x->rank < 2 || w->rank != 2 || x->dim[x->rank - 1] != w->dim[trans ? 1 : 0]) return false;
    *s = ot_linear_shape(n, w->dim[trans ? 0 : 1]);
    return true;
}

ot_status ot_linear_sparse(struct op_node *n, int64_t features, struct sparse_product **product,
                           ot_error *err) {
    const struct tensor *x = n->x[0];
    const struct pattern *pattern = n->x[1]->pattern;
    if (!x->lanes)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "a sparse weight needs an input in lanes");
    if (!pattern) OT_TRY(ot_full_pattern(n, &pattern, err));
    const struct conv_shape s = ot_linear_shape(n, features);
    OT_TRY(ot_sparse_describe(n, &s, err));
    return ot_sparse_prepare(n, pattern, &s, x->lanes, ot_sparse_want(n), product,
                             &n->forward_scratch_size, &n->backward_scratch_size, err);
}

ot_status ot_full_pattern(struct op_node *n, const struct pattern **full, ot_error *err) {
    const struct tensor *w = n->x[1];
    const int64_t count = ot_elements(w);
    struct pattern *p = ot_arena_alloc(n->arena, 1, sizeof *p);
    int *row = ot_arena_alloc(n->arena, (size_t)w->dim[0] + 1, sizeof *row);
    int *col = ot_arena_alloc(n->arena, (size_t)count, sizeof *col);
    if (!p || !row || !col) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    *p = (struct pattern){.references = 1, .rows = (int)w->dim[0],
                          .cols = (int)(count / w->dim[0]), .nnz = (int)count, .row = row,
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
    ot_cost_note(n, ot_cost_dense(n->kernels, s, false));
}
