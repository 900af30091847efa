/* window.h - the attributes that Conv and the poolings share, parsed and checked.
 *
 * kernel_shape, strides, pads, dilations and auto_pad (ONNX Conv-1, MaxPool-1, AveragePool-1 and
 * later) over 1 to 3 spatial dimensions. Along dimension d output o covers the input positions
 *   o * stride[d] - begin[d] + k * dilation[d],  0 <= k < kernel[d];
 * those outside [0, in[d]) are padding.
 */
#ifndef OT_OPS_PRODUCT_WINDOW_H
#define OT_OPS_PRODUCT_WINDOW_H

#include "ops/product/sparse.h"

enum { OT_WINDOW_MAX = 3 };

struct window {
    int rank; /* spatial dimensions, 1 to 3 */
    int64_t in[OT_WINDOW_MAX], out[OT_WINDOW_MAX];
    int64_t kernel[OT_WINDOW_MAX], stride[OT_WINDOW_MAX], dilation[OT_WINDOW_MAX];
    int64_t begin[OT_WINDOW_MAX], end[OT_WINDOW_MAX]; /* padding before and behind */
};

/* Fills *w for x[0] = [N, C, spatial...]. weight: Conv's, whose dimensions from 2 on are the kernel
 * (kernel_shape, where present, must agree); NULL: a pooling, where kernel_shape is required and
 * padding must be smaller than the (dilated) kernel. ceil_mode rounds the output size up, without
 * windows that begin in the padding behind. All values fit int; every out is at least 1. */
ot_status ot_conv_window(const struct op_node *n, const struct tensor *weight, bool ceil_mode,
                         struct window *w, ot_error *err);

/* The window of the convolution whose data gradient a ConvTranspose is: `in` is the size of y, of
 * attributes output_padding and output_shape too, `out` that of x[0]; `end` may be negative. */
ot_status ot_transposed_window(const struct op_node *n, const struct tensor *weight,
                               struct window *w, ot_error *err);

/* The spatial part of a shape: a 1-D convolution is one over images of height 1. */
void ot_window_shape(const struct window *w, struct conv_shape *s);

#endif
