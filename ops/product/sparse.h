/* sparse.h - products with a sparse weight: Gemm, MatMul and Conv are one thing.
 *
 * A linear layer is the convolution whose image is one pixel. y = W x + b; with the pattern of W
 * fixed, prepare turns every slot into an offset into the packed input, once per shape:
 *   forward          y[row] = b[row] + sum over the row's slots of value * x[offset]
 *   backward data    the same kernel on the transposed stream, one per residue of the stride
 *   backward weight  dW[slot] = sum over positions and samples of dy[row] * x[offset]
 * Strides, padding, dilation and groups only decide offsets and how x is packed: in lanes layout
 * as ops/product/pack.h has it; in rows, for few samples, as ops/product/flat.h has it. A
 * linear layer over few samples in rows has no streams: it reads the pattern itself, which then
 * outlives the product.
 * (Method: kernels of Nikdan et al., SparseProp, arXiv 2302.04852, restated as gathers.)
 */
#ifndef OT_OPS_PRODUCT_SPARSE_H
#define OT_OPS_PRODUCT_SPARSE_H

#include "ops/op.h"
#include "runtime/base/pattern.h"

/* The first of three spatial axes; in 0: there is none. Volumes are for dense weights only. */
struct conv_depth {
    int64_t in, out;
    int kernel, stride, dilation, front, back;
};

/* A linear layer: h = w = oh = ow = kh = kw = 1, strides and dilations 1, pads 0, groups 1.
 * Outputs that the pads do not cover read zeros; a negative pad crops. Stacked products are sparse
 * 1x1 ones of one block of lanes. */
struct conv_shape {
    int64_t n;         /* samples (tokens) */
    int64_t c, h, w;   /* input; a 1-D convolution has h = 1 */
    int64_t m, oh, ow; /* output */
    int kh, kw;
    int stride_h, stride_w, dilation_h, dilation_w;
    int pad_top, pad_left, pad_bottom, pad_right;
    int groups;
    struct conv_depth depth;
    bool stacked; /* lines stand one behind the other with all channels: [h][c][w][lanes] */
};

/* Elements of one sample of x, and of y. */
static inline int64_t ot_conv_inputs(const struct conv_shape *s) {
    return s->c * (s->depth.in ? s->depth.in : 1) * s->h * s->w;
}
static inline int64_t ot_conv_outputs(const struct conv_shape *s) {
    return s->m * (s->depth.in ? s->depth.out : 1) * s->oh * s->ow;
}

/* Gradients, and whether both are asked for in one call: bits of want. */
enum { OT_SPARSE_DATA = 1, OT_SPARSE_WEIGHT = 2, OT_SPARSE_TOGETHER = 4 };
/* The product will run many times with the same values (ot_sparse_hold). */
enum { OT_SPARSE_OFTEN = 8 };

struct sparse_product;

/* Does a linear layer over so few samples, in rows, read the pattern itself? */
bool ot_sparse_few_fits(const struct conv_shape *s, int lanes);

/* Builds the streams for this pattern (rows = m, cols = c / groups * kh * kw) and shape. want:
 * which of dx and (dvalue, dbias) will be asked for. n gives arena, pool, kernels; lanes is x's L,
 * a multiple of 16, or 0 where x is in rows. Sets *forward_scratch and *backward_scratch in bytes,
 * for n->workers, and asks for work memory of n. Everything belongs to n's arena. */
ot_status ot_sparse_prepare(struct op_node *n, const struct pattern *pattern,
                            const struct conv_shape *shape, int lanes, uint32_t want,
                            const struct sparse_product **product, size_t *forward_scratch,
                            size_t *backward_scratch, ot_error *err);

/* Slots of patterns that change (op_node.patterns_change): for how many of them the product is laid
 * out, whatever this pattern has; and the most that any pattern of this shape has. */
struct sparse_room {
    int expected, capacity;
};
/* The same for a pattern that has so many, if any change. */
ot_status ot_sparse_prepare_room(struct op_node *n, const struct pattern *pattern,
                                 struct sparse_room room, const struct conv_shape *shape, int lanes,
                                 uint32_t want, const struct sparse_product **product,
                                 size_t *forward_scratch, size_t *backward_scratch, ot_error *err);

/* The product of another pattern of the same shape, for which there is room: all that prepare has
 * derived from the pattern is derived anew, in the same memory. Nobody runs the product meanwhile,
 * and patterns change (op_node.patterns_change). */
void ot_sparse_follow(const struct sparse_product *p, const struct pattern *pattern);

/* x [n,c,h,w] and y [n,m,oh,ow]; value: nnz; bias: m floats or NULL. Spare lanes of y are
 * what spare lanes of x make them. */
void ot_sparse_forward(struct op_node *n, const struct sparse_product *p, const float *x,
                       const float *value, const float *bias, float *y, void *scratch);

/* From here on, until it is called with false, values stay as they are: copies of them in another
 * order, which each pass brings up to date, are made once. */
void ot_sparse_hold(struct op_node *n, const struct sparse_product *p, bool on);

/* Does one pass over dy make dx, dvalue and dbias, where they are asked for together? */
bool ot_sparse_is_joint(const struct op_node *n, const struct sparse_product *p);

/* dx, dvalue, dbias: NULL where not wanted. Spare lanes of dy count as zero in dvalue and dbias,
 * whatever they hold; those of x are finite. A joint pass sets *n->weight_share. */
void ot_sparse_backward(struct op_node *n, const struct sparse_product *p, const float *x,
                        const float *value, const float *dy, float *dx, float *dvalue, float *dbias,
                        void *scratch);

#endif
