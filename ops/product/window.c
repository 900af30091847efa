/* window.c - parses kernel_shape, strides, pads, dilations, auto_pad; out = (in + begin + end -
 * dilation * (kernel - 1) - 1) / stride + 1 (ONNX Conv, MaxPool), and the way back for
 * ConvTranspose. */
#include "ops/product/window.h"

#include <string.h>

/* Keeps every sum and product below in 64 bits, and every value in int. */
static const int64_t MOST = (int64_t)1 << 30;

/* Reads a list of `count` values in [least, MOST]; absent: `otherwise` throughout. */
static ot_status read_list(const struct op_node *n, const char *name, int count, int64_t least,
                           int64_t otherwise, int64_t *out, ot_error *err) {
    int found = 0;
    const int64_t *list = ot_attr_ints(n->node, name, &found);
    if (ot_attr(n->node, name) && found != count)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute '%s' has %d values, expected %d",
                          name, found, count);
    for (int i = 0; i < count; i++) {
        out[i] = found ? list[i] : otherwise;
        if (out[i] < least || out[i] > MOST)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute '%s' contains %lld, expected %lld to 2^30", name,
                              (long long)out[i], (long long)least);
    }
    return OT_OK;
}

static ot_status read_kernel(const struct op_node *n, const struct tensor *weight, struct window *w,
                             ot_error *err) {
    bool given = ot_attr(n->node, "kernel_shape") != NULL;
    if (!given && !weight)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'kernel_shape' is missing");
    OT_TRY(read_list(n, "kernel_shape", w->rank, 1, 1, w->kernel, err));
    for (int i = 0; weight && i < w->rank; i++) {
        int64_t size = weight->dim[i + 2];
        if (size < 1 || size > MOST)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the weight has a kernel of size %lld, expected 1 to 2^30",
                              (long long)size);
        if (given && w->kernel[i] != size)
            return ot_op_fail(
                n, err, OT_ERROR_INVALID,
                "attribute 'kernel_shape' contains %lld, but the weight has a kernel of size %lld",
                (long long)w->kernel[i], (long long)size);
        w->kernel[i] = size;
    }
    return OT_OK;
}

enum auto_pad { NOTSET, VALID, SAME_UPPER, SAME_LOWER, UNKNOWN };

static ot_status read_auto_pad(const struct op_node *n, enum auto_pad *mode, ot_error *err) {
    static const char *const names[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"};
    const struct attr *a = ot_attr(n->node, "auto_pad");
    *mode = NOTSET;
    if (!a) return OT_OK;
    while (*mode < UNKNOWN &&
           ((size_t)a->n != strlen(names[*mode]) || memcmp(a->s, names[*mode], (size_t)a->n) != 0))
        ++*mode;
    if (*mode == UNKNOWN)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'auto_pad' is '%.40s', expected NOTSET, VALID, SAME_UPPER or "
                          "SAME_LOWER",
                          a->s);
    return OT_OK;
}

static int64_t kernel_span(const struct window *w, int i) {
    return w->dilation[i] * (w->kernel[i] - 1) + 1;
}

/* auto_pad decides what `pads` would say: SAME makes out = ceil(in / stride). */
static void pad_same(struct window *w, enum auto_pad mode) {
    for (int i = 0; i < w->rank && mode != VALID; i++) {
        int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
        int64_t total = (out - 1) * w->stride[i] + kernel_span(w, i) - w->in[i];
        if (total < 0) total = 0;
        w->begin[i] = mode == SAME_UPPER ? total / 2 : total - total / 2;
        w->end[i] = total - w->begin[i];
    }
}

static ot_status read_pads(const struct op_node *n, struct window *w, ot_error *err) {
    enum auto_pad mode;
    int64_t pads[2 * OT_WINDOW_MAX];
    OT_TRY(read_auto_pad(n, &mode, err));
    OT_TRY(read_list(n, "pads", 2 * w->rank, 0, 0, pads, err));
    for (int i = 0; i < w->rank; i++) {
        w->begin[i] = pads[i];
        w->end[i] = pads[w->rank + i];
        if (mode != NOTSET && (w->begin[i] || w->end[i]))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "attribute 'pads' must be zeros if 'auto_pad' is given");
    }
    if (mode != NOTSET) pad_same(w, mode);
    return OT_OK;
}

static ot_status find_output_size(const struct op_node *n, struct window *w, int i, bool pooling,
                                  bool ceil_mode, ot_error *err) {
    int64_t padded = w->in[i] + w->begin[i] + w->end[i];
    if (kernel_span(w, i) > MOST || w->begin[i] > MOST || w->end[i] > MOST)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'dilations' contains %lld, which is too large for this kernel",
                          (long long)w->dilation[i]);
    if (padded > MOST)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'pads' makes the padded input %lld long, expected at most 2^30",
            (long long)padded);
    if (pooling && (w->begin[i] >= kernel_span(w, i) || w->end[i] >= kernel_span(w, i)))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'pads' contains %lld and %lld, expected less than the size of "
                          "the kernel, %lld",
                          (long long)w->begin[i], (long long)w->end[i],
                          (long long)kernel_span(w, i));
    if (kernel_span(w, i) > padded)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the kernel covers %lld positions, but the padded input has only %lld",
                          (long long)kernel_span(w, i), (long long)padded);
    int64_t slack = padded - kernel_span(w, i);
    w->out[i] = (slack + (ceil_mode ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
    if (ceil_mode && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->begin[i]) w->out[i]--;
    return OT_OK;
}

/* Kernel, strides and dilations; x[0]'s extents into `size`. */
static ot_status read_window(const struct op_node *n, const struct tensor *weight, struct window *w,
                             int64_t *size, ot_error *err) {
    const struct tensor *x = n->x[0];
    memset(w, 0, sizeof *w);
    w->rank = x->rank - 2;
    if (w->rank < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected 3 to 5",
                          x->rank);
    if (w->rank > OT_WINDOW_MAX)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input 0 has %d spatial dimensions, at most %d are supported", w->rank,
                          OT_WINDOW_MAX);
    if (weight && weight->rank != x->rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the weight has rank %d, but input 0 has rank %d", weight->rank, x->rank);
    OT_TRY(read_kernel(n, weight, w, err));
    OT_TRY(read_list(n, "strides", w->rank, 1, 1, w->stride, err));
    OT_TRY(read_list(n, "dilations", w->rank, 1, 1, w->dilation, err));
    for (int i = 0; i < w->rank; i++) {
        size[i] = x->dim[i + 2];
        if (size[i] < 1 || size[i] > MOST)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "dimension %d of input 0 is %lld, expected 1 to 2^30", i + 2,
                              (long long)size[i]);
    }
    return OT_OK;
}

ot_status ot_conv_window(const struct op_node *n, const struct tensor *weight, bool ceil_mode,
                         struct window *w, ot_error *err) {
    int64_t size[OT_WINDOW_MAX];
    OT_TRY(read_window(n, weight, w, size, err));
    memcpy(w->in, size, sizeof size);
    OT_TRY(read_pads(n, w, err));
    for (int i = 0; i < w->rank; i++) OT_TRY(find_output_size(n, w, i, !weight, ceil_mode, err));
    return OT_OK;
}

/* Along dimension i the windows of all outputs cover `full` positions. What the input has less than
 * that is padding: of `pads`, or cut so that the input has a given size. */
static ot_status set_transposed(const struct op_node *n, struct window *w, int i,
                                enum auto_pad mode, int64_t extra, int64_t given, ot_error *err) {
    const int64_t full = (w->out[i] - 1) * w->stride[i] + kernel_span(w, i);
    const bool same = mode == SAME_UPPER || mode == SAME_LOWER;
    w->in[i] = full + extra - w->begin[i] - w->end[i];
    if (given || same) {
        w->in[i] = given ? given : w->out[i] * w->stride[i];
        const int64_t total = full + extra > w->in[i] ? full + extra - w->in[i] : 0;
        w->begin[i] = mode == SAME_UPPER ? total / 2 : total - total / 2;
    }
    w->end[i] = full - w->in[i] - w->begin[i];
    if (extra >= w->stride[i] && extra >= w->dilation[i])
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'output_padding' contains %lld, expected less than the stride, %lld",
            (long long)extra, (long long)w->stride[i]);
    if (full > MOST || w->in[i] > MOST || w->in[i] < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "dimension %d of the output would be %lld, expected 1 to 2^30", i + 2,
                          (long long)w->in[i]);
    return OT_OK;
}

ot_status ot_transposed_window(const struct op_node *n, const struct tensor *weight,
                               struct window *w, ot_error *err) {
    enum auto_pad mode;
    int64_t pads[2 * OT_WINDOW_MAX], extra[OT_WINDOW_MAX], size[OT_WINDOW_MAX] = {0};
    OT_TRY(read_window(n, weight, w, w->out, err));
    OT_TRY(read_auto_pad(n, &mode, err));
    OT_TRY(read_list(n, "pads", 2 * w->rank, 0, 0, pads, err));
    OT_TRY(read_list(n, "output_padding", w->rank, 0, 0, extra, err));
    if (ot_attr(n->node, "output_shape"))
        OT_TRY(read_list(n, "output_shape", w->rank, 1, 0, size, err));
    for (int i = 0; i < w->rank; i++) {
        w->begin[i] = pads[i];
        w->end[i] = pads[w->rank + i];
        OT_TRY(set_transposed(n, w, i, mode, extra[i], size[i], err));
    }
    return OT_OK;
}

void ot_window_shape(const struct window *w, struct conv_shape *s) {
    const int j = w->rank - 1; /* the width; the height is before it, and the depth before that */
    s->h = s->oh = s->kh = s->stride_h = s->dilation_h = 1;
    s->pad_top = s->pad_bottom = 0;
    s->w = w->in[j];
    s->ow = w->out[j];
    s->kw = (int)w->kernel[j];
    s->stride_w = (int)w->stride[j];
    s->dilation_w = (int)w->dilation[j];
    s->pad_left = (int)w->begin[j];
    s->pad_right = (int)w->end[j];
    if (w->rank == 1) return;
    s->h = w->in[j - 1];
    s->oh = w->out[j - 1];
    s->kh = (int)w->kernel[j - 1];
    s->stride_h = (int)w->stride[j - 1];
    s->dilation_h = (int)w->dilation[j - 1];
    s->pad_top = (int)w->begin[j - 1];
    s->pad_bottom = (int)w->end[j - 1];
    if (w->rank == 2) return;
    s->depth = (struct conv_depth){w->in[0],          w->out[0],           (int)w->kernel[0],
                                   (int)w->stride[0], (int)w->dilation[0], (int)w->begin[0],
                                   (int)w->end[0]};
}
