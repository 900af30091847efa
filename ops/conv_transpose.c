/* conv_transpose.c - ConvTranspose: y = the data gradient that a convolution with the same W, from
 * y's shape to x's, has where x is the gradient of its output; plus a bias (ONNX ConvTranspose-1,
 * 11).
 *
 * So dx is that convolution of dy, and dW its weight gradient with dy as input: dense on oneDNN in
 * rows, with a pattern (rows of W [C, M/group, k...]: its first dimension) on the sparse product.
 */
#include "ops/product/dnnl.h"
#include "ops/product/linear.h"
#include "ops/product/window.h"
#include "ops/walk/channels.h"

struct conv_transpose_plan {
    struct conv_shape shape; /* of the convolution: c channels of y, m channels of x */
    const struct dense_conv *dense;
    const struct sparse_product *sparse;
};

static const struct tensor *bias_of(const struct op_node *n) {
    return n->n_in > 2 ? n->x[2] : NULL;
}

static ot_status check_channels(const struct op_node *n, struct conv_shape *s, ot_error *err) {
    const struct tensor *x = n->x[0], *w = n->x[1], *bias = bias_of(n);
    const int64_t g = ot_attr_int(n->node, "group", 1), c = x->dim[1];
    char text[128];
    if (x->dim[0] < 1 || c < 1 || w->dim[1] < 1 || x->dim[0] > INT32_MAX || c > INT32_MAX)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the batch is %lld, with %lld input channels and %lld output channels "
                          "for each group, expected 1 to 2^31 of each",
                          (long long)x->dim[0], (long long)c, (long long)w->dim[1]);
    if (w->dim[0] != c)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the weight has %lld input channels, expected %lld", (long long)w->dim[0],
                          (long long)c);
    if (g < 1 || c % g || w->dim[1] > INT32_MAX / g)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'group' is %lld, expected a divisor of %lld input channels",
                          (long long)g, (long long)c);
    *s = (struct conv_shape){.n = x->dim[0], .c = w->dim[1] * g, .m = c, .groups = (int)g};
    if (!bias) return OT_OK;
    OT_TRY(ot_op_type(n, 2, OT_FLOAT, err));
    if (bias->rank != 1 || bias->dim[0] != s->c)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the bias has shape %s, expected one value for each of %lld output channels",
            ot_shape_text(bias, text, sizeof text), (long long)s->c);
    return OT_OK;
}

/* The convolution's gradients that this node's passes are made of. */
static ot_status prepare_sparse(struct op_node *n, struct conv_transpose_plan *plan,
                                ot_error *err) {
    const struct conv_shape *s = &plan->shape;
    const uint32_t weight = ot_training_wants(n, 1) ? OT_SPARSE_WEIGHT : 0;
    size_t forward, backward;
    OT_TRY(ot_sparse_describe(n, s, err));
    OT_TRY(ot_sparse_prepare(n, n->x[1]->pattern, s, n->x[0]->lanes, OT_SPARSE_DATA | weight,
                             &plan->sparse, &forward, &backward, err));
    n->forward_scratch_size = backward;
    n->backward_scratch_size = forward > backward ? forward : backward;
    return OT_OK;
}

static ot_status prepare_dense(struct op_node *n, struct conv_transpose_plan *plan, ot_error *err) {
    const struct conv_shape *s = &plan->shape;
    const unsigned weight = ot_training_wants(n, 1) ? OT_DENSE_DW : 0;
    size_t forward, backward;
    ot_dense_describe(n, s, "dnnl conv");
    OT_TRY(ot_dense_conv_new(n, s, false, OT_DENSE_DX | weight, &plan->dense, &forward, &backward,
                             err));
    n->forward_scratch_size = backward;
    n->backward_scratch_size = forward > backward ? forward : backward;
    return OT_OK;
}

static bool product_of_y(const struct op_node *n, struct conv_shape *s) {
    const struct conv_transpose_plan *plan = n->plan;
    *s = plan->shape;
    return true;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct conv_transpose_plan *plan = ot_op_plan(n);
    struct window w;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    OT_TRY(ot_transposed_window(n, n->x[1], &w, err));
    OT_TRY(check_channels(n, &plan->shape, err));
    ot_window_shape(&w, &plan->shape);
    int64_t dim[2 + OT_WINDOW_MAX] = {n->x[0]->dim[0], plan->shape.c};
    for (int i = 0; i < w.rank; i++) dim[i + 2] = w.in[i];
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, w.rank + 2, dim, err));
    return n->x[1]->pattern ? prepare_sparse(n, plan, err) : prepare_dense(n, plan, err);
}

static bool sparse_rows(const struct op_node *n, int i) {
    enum { TAPS = 1 << 12 }; /* preparing a sparse product takes the square of an axis's taps */
    const struct tensor *w = n->x[1];
    if (i != 1 || !w || !w->pattern || w->rank < 3 || w->rank > 4) return false;
    for (int d = 2; d < w->rank; d++)
        if (w->dim[d] > TAPS) return false;
    return !w->pattern->transposed && w->pattern->rows == w->dim[0];
}

static bool lanes(const struct op_node *n, int lane_rank) {
    const struct tensor *bias = bias_of(n);
    const bool fixed = !bias || bias->role == OT_ROLE_PARAM || bias->role == OT_ROLE_CONST;
    return lane_rank == 1 && fixed && sparse_rows(n, 1);
}

/* ---- the bias ---- */

static void add_bias(void *arg, int plane, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    struct channels c;
    ot_channels_of(n->y[0], &c);
    const float bias = ot_f(n->x[2])[plane % c.channels];
    float *y = ot_f(n->y[0]) + plane * c.inner;
    for (int64_t i = 0; i < c.inner; i++) y[i] += bias;
}

static void sum_bias(void *arg, int channel, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    struct channels c;
    double mean, square;
    ot_channels_of(n->dy[0], &c);
    ot_channel_moments(n->kernels, &c, ot_f(n->dy[0]), channel, &mean, &square);
    ot_f(n->dx[2])[channel] = (float)(mean * (double)c.count);
}

/* ---- passes ---- */

static void forward(struct op_node *n) {
    const struct conv_transpose_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]), *w = ot_f(n->x[1]);
    float *y = ot_f(n->y[0]);
    if (plan->sparse)
        ot_sparse_backward(n, plan->sparse, NULL, w, x, y, NULL, NULL, n->scratch);
    else
        ot_dense_conv_backward(n, plan->dense, NULL, w, x, y, NULL, NULL, n->scratch);
    if (bias_of(n))
        ot_parallel_for(
            n->pool,
            (int)(ot_lane_blocks(n->y[0]) * plan->shape.c * (n->y[0]->lanes ? 1 : plan->shape.n)),
            add_bias, n);
}

static void backward(struct op_node *n) {
    const struct conv_transpose_plan *plan = n->plan;
    const float *x = ot_f(n->x[0]), *w = ot_f(n->x[1]), *dy = ot_f(n->dy[0]);
    float *dx = n->dx[0] ? ot_f(n->dx[0]) : NULL, *dw = n->dx[1] ? ot_f(n->dx[1]) : NULL;
    if (dx && plan->sparse) ot_sparse_forward(n, plan->sparse, dy, w, NULL, dx, n->scratch);
    if (dx && plan->dense) ot_dense_conv_forward(n, plan->dense, dy, w, NULL, dx, n->scratch);
    if (dw && plan->sparse)
        ot_sparse_backward(n, plan->sparse, dy, w, x, NULL, dw, NULL, n->scratch);
    if (dw && plan->dense)
        ot_dense_conv_backward(n, plan->dense, dy, w, x, NULL, dw, NULL, n->scratch);
    if (bias_of(n) && n->dx[2]) ot_parallel_for(n->pool, (int)plan->shape.c, sum_bias, n);
}

static void follow(struct op_node *n, int i) {
    const struct conv_transpose_plan *plan = n->plan;
    ot_sparse_follow(plan->sparse, n->x[i]->pattern);
}

static ot_status open_work(struct op_node *n, ot_error *err) {
    const struct conv_transpose_plan *plan = n->plan;
    return plan->dense ? ot_dense_conv_open(n, plan->dense, err) : OT_OK;
}

static void close_work(struct op_node *n) {
    const struct conv_transpose_plan *plan = n->plan;
    if (plan->dense) ot_dense_conv_close(n, plan->dense);
}

static void release(struct op_node *n) {
    const struct conv_transpose_plan *plan = n->plan;
    ot_dense_conv_free(plan->dense);
}

static const char *const cases[] = {
    "X[2,3,4,5] W[3,4,3,3]:p B[4]:p -> Y[2,4,6,7]",
    "X[2,3,4,5] W[3,4,3,3]:p B[4]:p strides=2,3 pads=1,0,1,1 output_padding=1,0 -> Y[2,4,8,14]",
    "X[3,4,3,4] W[4,2,2,3]~0.5:p B[4]:p group=2 strides=2,1 pads=0,1,1,2 lanes -> Y[3,4,5,3]",
    "X[17,3,4,4] W[3,5,4,4]~0.3:p strides=2,2 pads=1,1,1,1 lanes -> Y[17,5,8,8]",
    "X[2,3,5,5] W[3,2,3,3]~0.5:p dilations=2,2 output_padding=1,1 strides=2,2 lanes "
    "-> Y[2,2,14,14]",
    "X[3,2,5] W[2,3,3]~0.6:p B[3]:p strides=2 auto_pad=SAME_UPPER lanes -> Y[3,3,10]",
    "X[1,2,4,4] W[2,2,3,3] strides=3,2 output_shape=10,8 -> Y[1,2,10,8]",
    "X[1,2,4,4] W[2,2,3,3]~0.7:p strides=3,2 output_shape=14,7 auto_pad=SAME_LOWER lanes "
    "-> Y[1,2,14,7]",
    "X[1,2,3] W[2,1,2]:p group=2 -> Y[1,2,4]",
    "X[2,2,2,3,2] W[2,3,2,3,3]:p B[3]:p strides=2,1,2 pads=1,0,0,0,1,1 output_padding=1,0,0 "
    "-> Y[2,3,4,4,4]",
    "f[1,1,3,3]{0,1,2,3,4,5,6,7,8} f[1,2,3,3]{1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1} -> f[1,2,5,5]"
    "{0,1,3,3,2,3,8,15,12,7,9,21,36,27,15,9,20,33,24,13,6,13,21,15,8,"
    "0,1,3,3,2,3,8,15,12,7,9,21,36,27,15,9,20,33,24,13,6,13,21,15,8}",
    "X[1,2,4,4] W[3,2,3,3] -> error: the weight has 3 input channels, expected 2",
    "X[1,3,4,4] W[3,2,3,3] group=2 -> error: 'group' is 2",
    "X[1,2,4,4] W[2,2,3,3] output_padding=1,1 -> error: 'output_padding' contains 1",
    "X[1,2,2,2] W[2,2,1,1] pads=1,1,1,1 -> error: dimension 2 of the output would be 0",
    "X[1,2,4,4] W[2,2,3,3] B[3] -> error: the bias has shape [3]",
    NULL};

const struct op ot_op_ConvTranspose = {
    .name = "ConvTranspose",
    .since = 1,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "auto_pad:s dilations:I group:i kernel_shape:I output_padding:I output_shape:I "
                  "pads:I strides:I",
    .needs = OT_X(0) | OT_X(1),
    .sparse_in = 2,
    .parameters = 6,
    .plan_size = sizeof(struct conv_transpose_plan),
    .lanes = lanes,
    .sparse_rows = sparse_rows,
    .product_of_y = product_of_y,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .follow = follow,
    .open = open_work,
    .close = close_work,
    .release = release,
    .limits = "3 spatial dimensions with dense weights only",
    .cases = cases,
};
