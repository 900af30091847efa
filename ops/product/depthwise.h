/* depthwise.h - convolutions whose groups are single channels, in lanes and in rows. */
#ifndef OT_OPS_PRODUCT_DEPTHWISE_H
#define OT_OPS_PRODUCT_DEPTHWISE_H

#include "ops/product/sparse.h"

/* Is it such a convolution, with few enough taps, of x in rows or in lanes? */
bool ot_is_depthwise(const struct conv_shape *s, const struct tensor *x);

/* Asks for scratch memory: bands of images that stay in a cache, for each worker. */
void ot_depthwise_prepare(struct op_node *n, const struct conv_shape *s);

/* x, y, dx, dy have one layout; w: m x kh x kw; bias, dx, dw, dbias may be NULL. dw and dbias leave
 * out spare lanes. */
void ot_depthwise_forward(const struct op_node *n, const struct conv_shape *s, const float *bias);
void ot_depthwise_backward(const struct op_node *n, const struct conv_shape *s, float *dx,
                           float *dw, float *dbias);

#endif
