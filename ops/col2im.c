/* col2im.c - Col2Im: y = the sum of overlapping blocks, x [N, C * block, blocks] (ONNX Col2Im-18),
 * of integers too, and of bools, whose sum is "or". The gradient reads the blocks out again. */
#include <string.h>

#include "ops/number.h"
#include "ops/op.h"

struct axis {
    int64_t image, block, blocks, stride, dilation, begin;
};

struct col2im_plan {
    int rank;
    int64_t planes, image, block, blocks; /* planes: samples times channels; the others: products */
    struct axis axis[OT_MAX_RANK];
};

/* A list of attribute `name`, `count` numbers of at least `least`; `otherwise` if it is absent. */
static ot_status read_list(const struct op_node *n, const char *name, int count, int64_t least,
                           int64_t otherwise, int64_t *out, ot_error *err) {
    int found;
    const int64_t *list = ot_attr_ints(n->node, name, &found);
    for (int i = 0; i < count; i++) out[i] = list && i < found ? list[i] : otherwise;
    for (int i = 0; i < count; i++)
        if ((list && found != count) || out[i] < least || out[i] > 1 << 30)
            return ot_op_fail(
                n, err, OT_ERROR_INVALID,
                "attribute '%s' has %d values, expected one for each axis within its range", name,
                found);
    return OT_OK;
}

static ot_status read_axes(const struct op_node *n, struct col2im_plan *plan, ot_error *err) {
    const int64_t *image, *block;
    int64_t stride[OT_MAX_RANK], dilation[OT_MAX_RANK], pads[2 * OT_MAX_RANK];
    int blocks;
    OT_TRY(ot_op_ints(n, 1, &image, &plan->rank, err));
    OT_TRY(ot_op_ints(n, 2, &block, &blocks, err));
    if (plan->rank != blocks || plan->rank < 1 || plan->rank > OT_MAX_RANK - 2)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the image has %d axes and the blocks have %d, expected equal numbers of 1 or more",
            plan->rank, blocks);
    OT_TRY(read_list(n, "strides", plan->rank, 1, 1, stride, err));
    OT_TRY(read_list(n, "dilations", plan->rank, 1, 1, dilation, err));
    OT_TRY(read_list(n, "pads", 2 * plan->rank, 0, 0, pads, err));
    plan->image = plan->block = plan->blocks = 1;
    for (int i = 0; i < plan->rank; i++) {
        const int64_t most = 1 << 30;
        struct axis *a = &plan->axis[i];
        *a = (struct axis){image[i], block[i], 0, stride[i], dilation[i], pads[i]};
        if (image[i] < 1 || image[i] > most || block[i] < 1 || block[i] > most)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the image has extent %lld and the blocks %lld, expected 1 to 2^30",
                              (long long)image[i], (long long)block[i]);
        const int64_t room =
            image[i] + pads[i] + pads[i + plan->rank] - dilation[i] * (block[i] - 1);
        a->blocks = room < 1 ? 0 : (room - 1) / stride[i] + 1;
        if (!ot_shape_count((int64_t[]){plan->image, a->image}, 2, (int64_t)1 << 40,
                            &plan->image) ||
            !ot_shape_count((int64_t[]){plan->block, a->block}, 2, (int64_t)1 << 40,
                            &plan->block) ||
            !ot_shape_count((int64_t[]){plan->blocks, a->blocks}, 2, (int64_t)1 << 40,
                            &plan->blocks))
            return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has more than 2^40 elements");
    }
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct col2im_plan *plan = ot_op_plan(n);
    int64_t dim[OT_MAX_RANK];
    char text[128];
    if (!ot_is_integer(x->type) && x->type != OT_BOOL) OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(read_axes(n, plan, err));
    if (x->rank != 3 || x->dim[1] % plan->block || x->dim[2] != plan->blocks)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID, "input 0 has shape %s, expected [N, C * %lld, %lld]",
            ot_shape_text(x, text, sizeof text), (long long)plan->block, (long long)plan->blocks);
    dim[0] = x->dim[0];
    dim[1] = x->dim[1] / plan->block;
    plan->planes = dim[0] * dim[1];
    for (int i = 0; i < plan->rank; i++) dim[i + 2] = plan->axis[i].image;
    return ot_op_set(n, n->y[0], x->type, plan->rank + 2, dim, err);
}

/* Where element `e` of block `b` stands in the image; -1: in the padding. */
static int64_t image_offset(const struct col2im_plan *plan, int64_t e, int64_t b) {
    int64_t at = 0, scale = 1;
    for (int i = plan->rank - 1; i >= 0; i--) {
        const struct axis *a = &plan->axis[i];
        const int64_t k = b % a->blocks * a->stride - a->begin + e % a->block * a->dilation;
        if (k < 0 || k >= a->image) return -1;
        at += k * scale;
        scale *= a->image;
        b /= a->blocks;
        e /= a->block;
    }
    return at;
}

/* Adds all blocks of one plane to the image, or, `back`, reads them out of it. */
static void move_blocks(const struct col2im_plan *plan, float *image, float *blocks, bool back) {
    for (int64_t e = 0; e < plan->block; e++)
        for (int64_t b = 0; b < plan->blocks; b++) {
            const int64_t at = image_offset(plan, e, b);
            float *x = blocks + e * plan->blocks + b;
            if (back)
                *x = at < 0 ? 0 : image[at];
            else if (at >= 0)
                image[at] += *x;
        }
}

static void forward_plane(void *arg, int plane, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct col2im_plan *plan = n->plan;
    float *y = ot_f(n->y[0]) + plane * plan->image;
    memset(y, 0, (size_t)plan->image * sizeof *y);
    move_blocks(plan, y, ot_f(n->x[0]) + plane * plan->block * plan->blocks, false);
}

static void forward_integer_plane(void *arg, int plane, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct col2im_plan *plan = n->plan;
    const struct tensor *x = n->x[0], *y = n->y[0];
    const int64_t image = plane * plan->image, blocks = plane * plan->block * plan->blocks;
    for (int64_t i = image; i < image + plan->image; i++) ot_store_integer(y->data, y->type, i, 0);
    for (int64_t k = 0; k < plan->block * plan->blocks; k++) {
        const int64_t at = image_offset(plan, k / plan->blocks, k % plan->blocks);
        if (at < 0) continue;
        const int64_t old = ot_load_integer(y->data, y->type, image + at);
        const int64_t more = ot_load_integer(x->data, x->type, blocks + k);
        const int64_t sum = (int64_t)((uint64_t)old + (uint64_t)more);
        ot_store_integer(y->data, y->type, image + at, y->type == OT_BOOL ? sum != 0 : sum);
    }
}

static void backward_plane(void *arg, int plane, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct col2im_plan *plan = n->plan;
    move_blocks(plan, ot_f(n->dy[0]) + plane * plan->image,
                ot_f(n->dx[0]) + plane * plan->block * plan->blocks, true);
}

static void forward(struct op_node *n) {
    const struct col2im_plan *plan = n->plan;
    const bool integers = n->y[0]->type != OT_FLOAT;
    ot_parallel_for(n->pool, (int)plan->planes, integers ? forward_integer_plane : forward_plane,
                    n);
}

static void backward(struct op_node *n) {
    const struct col2im_plan *plan = n->plan;
    if (n->dx[0]) ot_parallel_for(n->pool, (int)plan->planes, backward_plane, n);
}

static const char *const cases[] = {
    "X[2,12,9] i64{4,4} i64{2,2} -> Y[2,3,4,4]",
    "X[1,12,6] i64{5,4} i64{2,3} strides=2,2 pads=1,0,0,2 dilations=1,1 -> Y[1,2,5,4]",
    "X[2,4,5] i64{6} i64{2} dilations=1 -> Y[2,2,6]",
    "X[1,8,8] i64{3,3,3} i64{2,2,2} -> Y[1,1,3,3,3]",
    "f[1,2,2]{1,2,3,4} i64{3} i64{2} -> f[1,1,3]{1,5,4}",
    "i64[1,2,2]{1,2,9007199254740993,4} i64{3} i64{2} -> i64[1,1,3]{1,9007199254740995,4}",
    "u8[1,2,2]{200,100,3,4} i64{3} i64{2} strides=1 -> u8[1,1,3]{200,103,4}",
    "i8[1,2,2]{1,100,100,4} i64{3} i64{2} -> i8[1,1,3]{1,-56,4}",
    "b[1,2,2]{0,1,1,0} i64{3} i64{2} -> b[1,1,3]{0,1,0}",
    "X[2,12,8] i64{4,4} i64{2,2} -> error: input 0 has shape [2,12,8], expected [N, C * 4, 9]",
    "X[2,12,9] i64{4,4} i64{2} -> error: the image has 2 axes and the blocks have 1",
    "X[2,12,9] i64{4,4} i64{2,2} strides=0,1 -> error: 'strides'",
    NULL};

const struct op ot_op_Col2Im = {
    .name = "Col2Im",
    .since = 18,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "dilations:I pads:I strides:I",
    .plan_size = sizeof(struct col2im_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "image_shape and block_shape must be constant",
    .cases = cases,
};
