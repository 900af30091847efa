/* linear.h - what Gemm, MatMul and Conv share when x[1] is a sparse weight: its product with x[0],
 * plus a bias x[2] where there is one, in the form that the plan has chosen. */
#ifndef OT_OPS_PRODUCT_LINEAR_H
#define OT_OPS_PRODUCT_LINEAR_H

#include "ops/product/live.h"

struct product {
    const struct sparse_product *sparse;
    const struct live_product *live;
};

/* x[1] has a pattern, or x[0] is in lanes of samples. Describes itself in n, and sets n's sizes of
 * scratch, save and work memory. */
ot_status ot_product_prepare(struct op_node *n, const struct conv_shape *s, struct product *p,
                             ot_error *err);
/* For op.follow. */
void ot_product_follow(const struct product *p, const struct pattern *pattern);
void ot_product_free(const struct product *p);
/* For op.open and op.close. */
ot_status ot_product_open(struct op_node *n, const struct product *p, ot_error *err);
void ot_product_close(struct op_node *n, const struct product *p);
static inline bool ot_product_is(const struct product *p) { return p->sparse || p->live; }
void ot_product_forward(struct op_node *n, const struct product *p);
void ot_product_backward(struct op_node *n, const struct product *p);

/* May y = x W (+ b) run in lanes: x[1] a matrix with a pattern by output feature ([N,K] file order
 * where `trans`, else [K,N]), x[0] in lanes but for its last dimension? A small dense one may, in
 * file order [N,K]. */
bool ot_linear_lanes(const struct op_node *n, bool trans, int lane_rank);

/* May it run in rows, with the pattern of x[i], since there are few samples? */
bool ot_linear_rows(const struct op_node *n, bool trans, int i);

/* The product of x[0], whose last dimension is summed over, with a matrix of `features` outputs. */
struct conv_shape ot_linear_shape(const struct op_node *n, int64_t features);

/* As op.product has it; trans as above. */
bool ot_linear_product(const struct op_node *n, bool trans, struct conv_shape *s);

/* The pattern of a dense x[1]: every place, in the order in which they stand in memory. */
ot_status ot_full_pattern(struct op_node *n, const struct pattern **full, ot_error *err);

/* Of the gradients that n is asked for, those that its sparse product makes: that of the bias comes
 * with that of the weight. */
uint32_t ot_sparse_want(const struct op_node *n);

/* For readers of plans: the kernel, as "spmm avx512" or "dnnl gemm", the useful flops of a forward
 * step, and the time that this product is predicted to take. */
ot_status ot_sparse_describe(struct op_node *n, const struct conv_shape *s, ot_error *err);
void ot_dense_describe(struct op_node *n, const struct conv_shape *s, const char *kernel);

#endif
