/* conv.c - Conv: y[n,m,o] = b[m] + sum over c, k of W[m,c,k] x[n, c, o stride + k dilation - pad],
 * in groups (ONNX Conv-1, Conv-11), over one to three spatial dimensions.
 *
 * A dense W runs on oneDNN, in rows or, where oneDNN likes that better, in lanes of channels; a W
 * with a pattern on the sparse product, in lanes of samples or, for few samples, in rows. A dense W
 * with short rows goes there too, as one whose pattern is full, where its neighbours are in such
 * lanes: there are few channels to multiply, and turning them into rows and back costs as much.
 * Groups of single channels have kernels of their own in any layout.
 */
#include "ops/product/depthwise.h"
#include "ops/product/dnnl.h"
#include "ops/product/linear.h"
#include "ops/product/window.h"

struct conv_plan {
    struct conv_shape shape;
    const struct dense_conv *dense;
    struct product product;
    bool depthwise;
};

static ot_status check_groups(const struct op_node *n, int64_t *groups, ot_error *err) {
    const struct tensor *x = n->x[0], *w = n->x[1];
    int64_t g = ot_attr_int(n->node, "group", 1), c = x->dim[1], m = w->dim[0];
    if (x->dim[0] < 1 || c < 1 || m < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the batch is %lld, with %lld input and %lld output channels, expected "
                          "at least 1 of each",
                          (long long)x->dim[0], (long long)c, (long long)m);
    if (x->dim[0] > INT32_MAX || c > INT32_MAX || m > INT32_MAX)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "a dimension is larger than 2^31");
    if (g < 1 || g > m || c % g || m % g)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'group' is %lld, expected a divisor of %lld input channels "
                          "and %lld output channels",
                          (long long)g, (long long)c, (long long)m);
    if (w->dim[1] != c / g)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the weight has %lld channels for each group, expected %lld divided by "
                          "attribute 'group' %lld",
                          (long long)w->dim[1], (long long)c, (long long)g);
    *groups = g;
    return OT_OK;
}

static ot_status check_bias(const struct op_node *n, ot_error *err) {
    char s[128];
    if (n->n_in < 3 || !n->x[2]) return OT_OK;
    OT_TRY(ot_op_type(n, 2, OT_FLOAT, err));
    if (n->x[2]->rank != 1 || n->x[2]->dim[0] != n->x[1]->dim[0])
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the bias has shape %s, expected one value for each of %lld output channels",
            ot_shape_text(n->x[2], s, sizeof s), (long long)n->x[1]->dim[0]);
    return OT_OK;
}

static ot_status prepare_dense(struct op_node *n, struct conv_plan *plan, ot_error *err) {
    const struct conv_shape *s = &plan->shape;
    ot_dense_describe(n, s, "dnnl conv");
    return ot_dense_conv_new(n, s, n->n_in > 2 && n->x[2], n->want & 7, &plan->dense,
                             &n->forward_scratch_size, &n->backward_scratch_size, err);
}

static ot_status read_shape(const struct op_node *n, struct window *w, struct conv_shape *s,
                            ot_error *err) {
    int64_t groups = 1;
    OT_TRY(ot_conv_window(n, n->x[1], false, w, err));
    OT_TRY(check_groups(n, &groups, err));
    *s = (struct conv_shape){
        .n = n->x[0]->dim[0], .c = n->x[0]->dim[1], .m = n->x[1]->dim[0], .groups = (int)groups};
    ot_window_shape(w, s);
    return OT_OK;
}

static bool product(const struct op_node *n, struct conv_shape *s) {
    struct window w;
    ot_error err;
    return n->x[0]->rank <= 4 && !read_shape(n, &w, s, &err);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct conv_plan *plan = ot_op_plan(n);
    struct window w;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 1, OT_FLOAT, err));
    OT_TRY(read_shape(n, &w, &plan->shape, err));
    OT_TRY(check_bias(n, err));
    int64_t dim[2 + OT_WINDOW_MAX] = {n->x[0]->dim[0], n->x[1]->dim[0]};
    for (int i = 0; i < w.rank; i++) dim[i + 2] = w.out[i];
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, w.rank + 2, dim, err));
    const bool samples = n->x[0]->lane_rank == 1, sparse = n->x[1]->pattern || samples;
    plan->depthwise = !n->x[1]->pattern && ot_is_depthwise(&plan->shape, n->x[0]);
    if (plan->depthwise) {
        ot_depthwise_prepare(n, &plan->shape);
        return OT_OK;
    }
    return sparse ? ot_product_prepare(n, &plan->shape, &plan->product, err)
                  : prepare_dense(n, plan, err);
}

/* Preparing a sparse product takes the square of an axis's taps. */
static bool few_taps(const struct tensor *w) {
    enum { MOST = 1 << 12 };
    for (int i = 2; i < w->rank; i++)
        if (w->dim[i] > MOST) return false;
    return true;
}

/* A dense weight of few enough columns, and not too large for a list of its places. */
static bool is_short(const struct tensor *w) {
    enum { COLUMNS = 160, MOST = 1 << 22 };
    int64_t columns, all;
    return ot_is_fixed(w) && ot_shape_count(w->dim + 1, w->rank - 1, COLUMNS, &columns) &&
           ot_shape_count(w->dim, w->rank, MOST, &all) && all > 0;
}

/* Sparse products know lines and images, not volumes. */
static bool is_flat(const struct tensor *w) { return w->rank == 3 || w->rank == 4; }

static bool takes_pattern(const struct tensor *w) {
    const struct pattern *p = w ? w->pattern : NULL;
    return p && is_flat(w) && few_taps(w) && !p->transposed && p->rows == w->dim[0];
}

/* Lanes of channels: x and y are made of whole ones. */
static bool blocks_fit(const struct tensor *x, const struct tensor *w) {
    const int block = ot_dnnl_block();
    return block == OT_CHANNEL_LANES && ot_is_fixed(w) && w->rank > 2 && x->rank == w->rank &&
           x->dim[1] % block == 0 && w->dim[0] % block == 0;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    const struct tensor *w = n->x[1], *bias = n->n_in > 2 ? n->x[2] : NULL;
    if (!w || (bias && !ot_is_fixed(bias))) return false;
    const bool sparse = w->pattern && n->form == OT_FORM_SPARSE;
    if (lane_rank == 2) return !sparse && blocks_fit(n->x[0], w);
    if (lane_rank != 1 || (w->pattern && !sparse)) return false;
    return w->pattern ? takes_pattern(w) : is_flat(w) && few_taps(w) && is_short(w);
}

static bool sparse_rows(const struct op_node *n, int i) { return i == 1 && takes_pattern(n->x[1]); }

static void forward(struct op_node *n) {
    const struct conv_plan *plan = n->plan;
    const float *bias = n->n_in > 2 && n->x[2] ? ot_f(n->x[2]) : NULL;
    if (plan->depthwise)
        ot_depthwise_forward(n, &plan->shape, bias);
    else if (ot_product_is(&plan->product))
        ot_product_forward(n, &plan->product);
    else
        ot_dense_conv_forward(n, plan->dense, ot_f(n->x[0]), ot_f(n->x[1]), bias, ot_f(n->y[0]),
                              n->scratch);
}

static void backward(struct op_node *n) {
    const struct conv_plan *plan = n->plan;
    float *d[3];
    for (int i = 0; i < 3; i++) d[i] = i < n->n_in && n->dx[i] ? ot_f(n->dx[i]) : NULL;
    if (plan->depthwise)
        ot_depthwise_backward(n, &plan->shape, d[0], d[1], d[2]);
    else if (ot_product_is(&plan->product))
        ot_product_backward(n, &plan->product);
    else
        ot_dense_conv_backward(n, plan->dense, ot_f(n->x[0]), ot_f(n->x[1]), ot_f(n->dy[0]), d[0],
                               d[1], d[2], n->scratch);
}

static void follow(struct op_node *n, int i) {
    const struct conv_plan *plan = n->plan;
    ot_product_follow(&plan->product, n->x[i]->pattern);
}

static ot_status open_work(struct op_node *n, ot_error *err) {
    const struct conv_plan *plan = n->plan;
    return plan->dense ? ot_dense_conv_open(n, plan->dense, err)
                       : ot_product_open(n, &plan->product, err);
}

static void close_work(struct op_node *n) {
    const struct conv_plan *plan = n->plan;
    if (plan->dense)
        ot_dense_conv_close(n, plan->dense);
    else
        ot_product_close(n, &plan->product);
}

static void release(struct op_node *n) {
    const struct conv_plan *plan = n->plan;
    ot_dense_conv_free(plan->dense);
    ot_product_free(&plan->product);
}

static const char *const cases[] = {
    "X[2,3,5,5] W[4,3,3,3]:p B[4]:p pads=1,1,1,1 kernel_shape=3,3 -> Y[2,4,5,5]",
    "X[2,3,5,5] W[4,3,3,3]~0.4:p B[4]:p pads=1,1,1,1 lanes -> Y[2,4,5,5]",
    "X[1,4,6,7] W[6,2,2,3]~0.5:p group=2 strides=2,1 pads=0,1,1,2 lanes -> Y[1,6,3,8]",
    "X[18,3,9,7] W[5,3,7,7]:p B[5]:p strides=2,2 pads=3,3,3,3 lanes -> Y[18,5,5,4]",
    "X[3,4,5,6] W[8,1,3,3]:p B[8]:p group=4 strides=2,1 pads=1,1,1,1 lanes -> Y[3,8,3,6]",
    "X[17,2,4,4] W[3,2,1,1]~0.6:p strides=2,3 lanes -> Y[17,3,2,2]",
    "X[3,4,7,6] W[4,1,3,3]~0.5:p B[4]:p group=4 dilations=2,1 pads=2,1,2,1 lanes -> Y[3,4,7,6]",
    "X[18,2,7,6] W[2,1,3,3]:p B[2]:p group=2 pads=1,1,1,1 lanes -> Y[18,2,7,6]",
    "X[3,4,8,9] W[4,1,3,3]:p group=4 strides=2,2 pads=0,1,2,1 lanes -> Y[3,4,4,5]",
    "X[2,3,9,4] W[3,1,2,4]:p group=3 strides=1,2 dilations=3,1 pads=1,2,5,3 lanes -> Y[2,3,12,3]",
    "X[2,3,9] W[3,1,5]:p group=3 pads=4,0 lanes -> Y[2,3,9]",
    "X[2,3,2,2] W[3,1,3,3]:p group=3 pads=3,3,3,3 strides=2,3 lanes -> Y[2,3,3,2]",
    "X[18,3,8,9] W[3,1,5,5]:p B[3]:p group=3 strides=2,2 pads=2,2,2,2 lanes -> Y[18,3,4,5]",
    "X[2,16,9,8] W[16,1,7,7]:p B[16]:p group=16 pads=3,3,3,3 lanes -> Y[2,16,9,8]",
    "X[2,19,10,17] W[19,1,5,5]:p B[19]:p group=19 strides=2,1 pads=2,1,2,2 -> Y[2,19,5,16]",
    "X[1,16,40,41] W[16,1,7,7]:p group=16 strides=3,2 pads=3,3,2,3 -> Y[1,16,13,21]",
    "X[2,9,7,6] W[9,1,3,3]:p B[9]:p group=9 strides=2,3 dilations=3,2 pads=3,0,4,2 -> Y[2,9,4,2]",
    "X[2,8,3,3] W[8,1,7,7]:p group=8 pads=3,3,3,3 -> Y[2,8,3,3]",
    "X[3,2,9] W[4,2,3]~0.5:p strides=2 auto_pad=SAME_UPPER lanes -> Y[3,4,5]",
    "X[3,2,8] W[4,2,3]:p strides=2 auto_pad=SAME_LOWER -> Y[3,4,4]",
    "X[1,2,5,4] W[2,2,3,3] auto_pad=VALID -> Y[1,2,3,2]",
    "X[9,2,5,5] W[4,1,3,3]:p group=2 dilations=2,2 pads=2,1,2,1 @1 -> Y[9,4,5,3]",
    "X[3,16,5,6] W[32,16,3,3]:p B[32]:p pads=1,1,1,1 -> Y[3,32,5,6]",
    "X[9,32,7,5] W[16,32,1,1]:p strides=2,2 -> Y[9,16,4,3]",
    "X[2,32,6,6] W[32,1,3,3]:p B[32]:p group=32 pads=1,0,1,0 -> Y[2,32,6,4]",
    "X[2,16,9] W[16,16,3] dilations=2 -> Y[2,16,5]",
    "X[3,6,5,6] W[9,6,3,3]~0.8l:p B[9]:p strides=2,1 pads=1,0,2,1 lanes -> Y[3,9,3,5]",
    "X[9,8,5,5] W[12,4,3,3]~0.7l:p group=2 dilations=2,2 pads=2,1,2,1 lanes -> Y[9,12,5,3]",
    "X[3,4,5,6] W[8,1,3,3]~0.9l:p B[8]:p group=4 pads=1,1,1,1 lanes -> Y[3,8,5,6]",
    "X[5,48,5,6] W[64,48,3,3]~0.6l:p B[64]:p pads=1,1,1,1 -> Y[5,64,5,6]",
    "X[3,48,9,9] W[64,48,1,1]~0.6l:p strides=2,2 -> Y[3,64,5,5]",
    "X[2,32,4,5] W[32,1,3,3]~0.6l:p B[32]:p group=32 pads=1,1,1,1 -> Y[2,32,4,5]",
    "X[18,6,1,1] W[9,6,1,1]~0.6l:p B[9]:p lanes -> Y[18,9,1,1]",
    "X[3,6,7] W[9,6,3]~0.8l:p B[9]:p strides=2 pads=1,1 lanes -> Y[3,9,4]",
    "X[3,6,4,4] W[9,6,3,3]~0:p B[9]:p pads=1,1,1,1 lanes -> Y[3,9,4,4]",
    "X[1,2,4,4] W[2,2,3,3] group=0 -> error: 'group' is 0",
    "X[1,3,4,4] W[2,3,3,3] group=2 -> error: 'group' is 2",
    "X[1,2,4,4] W[2,2,3,3] strides=0,1 -> error: 'strides' contains 0",
    "X[1,2,4,4] W[2,2,3,3] pads=1,1 -> error: 'pads' has 2 values, expected 4",
    "X[1,2,4,4] W[2,2,3,3] dilations=2,2 -> error: the kernel covers 5",
    "X[1,2,4,4] W[2,2,3,3] kernel_shape=3,2 -> error: 'kernel_shape' contains 2",
    "X[1,2,4,4] W[2,2,3,3] auto_pad=SAME -> error: 'auto_pad' is 'SAME'",
    "X[1,2,4,4] W[2,2,3,3] B[3] -> error: the bias has shape [3]",
    "X[2,2,4,5,4] W[4,2,2,3,3]:p B[4]:p strides=2,1,2 pads=1,0,1,0,2,1 -> Y[2,4,2,5,2]",
    "X[1,4,4,3,4] W[2,2,3,1,3]:p group=2 dilations=1,1,2 pads=0,0,1,1,0,1 -> Y[1,2,3,3,2]",
    "X[2,2,4,3,3] W[3,2,2,2,2]~0.5:p -> Y[2,3,3,2,2]",
    "X[1,2,4,4,4,4] W[2,2,3,3,3,3] -> error: 4 spatial dimensions",
    NULL};

const struct op ot_op_Conv = {
    .name = "Conv",
    .since = 1,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I",
    .needs = OT_X(0) | OT_X(1),
    .sparse_in = 2,
    .parameters = 6,
    .plan_size = sizeof(struct conv_plan),
    .lanes = lanes,
    .product = product,
    .sparse_rows = sparse_rows,
    .channel_lanes = OT_CHANNEL_LANES,
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
