/* linear.c - sparse products of Gemm and MatMul: the convolution whose image is one pixel. */
#include "ops/linear.h"

#include <stdio.h>

#include "ops/cost.h"
#include "ops/kernels/kernels.h"

bool ot_linear_lanes(const struct op_node *n, bool trans, int lane_rank) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    if (!x || !w || !w->pattern || w->rank != 2 || x->rank < 2 || lane_rank != x->rank - 1)
        return false;
    return w->pattern->transposed == !trans && w->pattern->rows == w->dim[trans ? 0 : 1] &&
           w->pattern->cols == x->dim[x->rank - 1];
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
    if (!x->lanes)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "a sparse weight needs an input in lanes");
    const struct conv_shape s = ot_linear_shape(n, features);
    OT_TRY(ot_sparse_describe(n, &s, err));
    return ot_sparse_prepare(n, n->x[1]->pattern, &s, x->lanes, ot_sparse_want(n), product,
                             &n->forward_scratch_size, &n->backward_scratch_size, err);
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
