/* integer_gemm.h - products of integer matrices. */
#ifndef OT_OPS_PRODUCT_INTEGER_GEMM_H
#define OT_OPS_PRODUCT_INTEGER_GEMM_H

#include "ops/product/dnnl.h"

/* C = op(A) op(B) (+ C) of an integer type, wrapping around; alpha is not looked at. Plain loops:
 * integers are shapes, positions and counts, of few elements. */
void ot_integer_gemm(struct op_node *n, const struct dense_gemm *g, ot_type type, const void *a,
                     const void *b, void *c);

#endif
