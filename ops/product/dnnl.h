/* dnnl.h - dense convolutions and matrix products on oneDNN, and the only door to it.
 *
 * oneDNN is used as a sequential library: the batch, the channels of few samples, or the rows of a
 * product are cut by shape into pieces, and each piece runs on the pool thread that takes it. The
 * number of threads therefore changes no bit. Arrays are plain row-major, or x and y of a
 * convolution in lanes of channels; other layouts that oneDNN prefers live in scratch.
 *
 * A failure inside a step is kept in op_node.fault (see ot_op_fault): nothing here returns one.
 */
#ifndef OT_OPS_PRODUCT_DNNL_H
#define OT_OPS_PRODUCT_DNNL_H

#include "ops/op.h"
#include "ops/product/sparse.h"

struct dense_conv;

/* How many channels stand side by side in the layout that convolutions like best on this machine;
 * 0: there is no such layout. */
int ot_dnnl_block(void);

enum { OT_DENSE_DX = 1, OT_DENSE_DW = 2, OT_DENSE_DB = 4 };

/* Makes the primitives for x [n,c,h,w], W [m,c/groups,kh,kw], y [n,m,oh,ow]; n, c, m >= 1. want:
 * OT_DENSE_ bits of the gradients that backward will be asked for. Sets both scratch sizes, for
 * n->workers, and asks for work memory. Memory of the object itself comes from n's arena;
 * ot_dense_conv_free returns what oneDNN holds. */
ot_status ot_dense_conv_new(struct op_node *n, const struct conv_shape *shape, bool bias,
                            unsigned want, const struct dense_conv **conv, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err);
void ot_dense_conv_free(const struct dense_conv *conv); /* NULL and half-built are fine */
/* For op.open and op.close: oneDNN's objects in n's work memory. */
ot_status ot_dense_conv_open(struct op_node *n, const struct dense_conv *conv, ot_error *err);
void ot_dense_conv_close(struct op_node *n, const struct dense_conv *conv);

/* bias: m floats, NULL where there is none. */
void ot_dense_conv_forward(struct op_node *n, const struct dense_conv *conv, const float *x,
                           const float *w, const float *bias, float *y, void *scratch);

/* dx, dw, dbias: NULL where not wanted now, and never wanted without its bit above. */
void ot_dense_conv_backward(struct op_node *n, const struct dense_conv *conv, const float *x,
                            const float *w, const float *dy, float *dx, float *dw, float *dbias,
                            void *scratch);

/* Products C = alpha op(A) op(B) (+ C), op(A) [m,k], op(B) [k,n], all matrices without gaps. */
struct dense_gemm {
    bool ta, tb; /* A is stored [k,m], B is stored [n,k] */
    int64_t m, n, k;
    float alpha;
    bool accumulate; /* add to what C holds */

    /* Several products: matrix o of C is the sum over t in [first[o], first[o+1]) of A's matrix
     * a[t] times B's matrix b[t]. first NULL: a single product. */
    int64_t outputs;
    const int64_t *first, *a, *b;
};

void ot_dense_gemm(struct op_node *n, const struct dense_gemm *g, const float *a, const float *b,
                   float *c);

/* One sequential product on the calling thread, as BLAS's sgemm with row-major matrices whose rows
 * are lda, ldb, ldc apart. */
struct sgemm_call {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
};

void ot_dense_sgemm(struct op_node *n, const struct sgemm_call *call);

#endif
