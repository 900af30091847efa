/* sparse_case.h - one sparse layer with random pattern and data, for tests and the benchmark. */
#ifndef OT_TESTS_SPARSE_CASE_H
#define OT_TESTS_SPARSE_CASE_H

#include "ops/product/sparse.h"

struct sparse_case {
    const char *name;
    int n, c, h, w, m, kh, kw;
    int stride_h, stride_w, dilation_h, dilation_w;
    int top, left, bottom, right;
    int groups, lanes; /* 1: in rows */
    double density;    /* from 2 on: nonzeros of each row but every fourth, which has none */
};

/* All floats stand in blocks of their own, with unreadable pages before and behind. */
struct sparse_layer {
    struct sparse_case c;
    struct conv_shape shape;
    struct pattern *pattern;
    struct arena arena;
    struct op op;
    struct node node;
    struct op_node n;
    const struct sparse_product *product;
    size_t forward_scratch, backward_scratch, x_size, y_size; /* sizes of x, y in floats */
    float *x, *value, *bias, *y, *dy, *dx, *dvalue, *dbias;
    void *scratch;
    bool back;
};

/* back: the blocks end at the unreadable page; else they begin there. Where `poison` is set, spare
 * lanes of dy are NaN, those of x 1e30. Fails the test on error. */
void sparse_layer_make(struct sparse_layer *l, const struct sparse_case *c,
                       const struct kernels *kernels, struct pool *pool, bool back, bool poison);
/* The same, back and poisoned, of a product that is to follow other patterns. shift: of all
 * nonzeros, so that there are as many of them elsewhere. */
void sparse_layer_make_changing(struct sparse_layer *l, const struct sparse_case *c,
                                const struct kernels *kernels, struct pool *pool, int shift);
void sparse_layer_run(struct sparse_layer *l); /* forward and backward */
void sparse_layer_free(struct sparse_layer *l);
/* Compares y, dx, dvalue and dbias with a naive dense computation in double. */
void sparse_layer_check(const struct sparse_layer *l);

/* A block of floats between two unreadable pages. */
float *guarded(size_t floats, bool back);
void guarded_free(float *block, size_t floats, bool back);

#endif
