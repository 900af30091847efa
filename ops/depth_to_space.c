/* depth_to_space.c - DepthToSpace: blocksize^2 channels become the pixels of a block; SpaceToDepth
 * is the way back. Channels go by pixel first (mode DCR), or last (CRD). */
#include "ops/walk/index.h"

#include <string.h>

/* Axes of `deep` [N, C b b, H, W] taken apart, and where they stand in `wide` [N, C, H b, W b]. */
static void make_move(struct move *m, const struct tensor *deep, const struct tensor *wide,
                      int64_t b, bool pixels_last) {
    struct array from, to;
    ot_array_of(deep, &from);
    ot_array_of(wide, &to);
    const int64_t channels = wide->dim[1], pixel = from.stride[1];
    const int64_t step = pixels_last ? pixel : pixel * channels; /* from one pixel to the next */
    const int64_t lanes = deep->lanes ? deep->lanes : 1;
    *m = (struct move){.rank = 7,
                       .dim = {from.dim[0], channels, deep->dim[2], b, deep->dim[3], b, lanes},
                       .from_stride = {from.stride[0], pixels_last ? pixel * b * b : pixel,
                                       from.stride[2], step * b, from.stride[3], step, 1},
                       .to_stride = {to.stride[0], to.stride[1], to.stride[2] * b, to.stride[2],
                                     to.stride[3] * b, to.stride[3], 1}};
    ot_move_simplify(m);
}

static ot_status read_form(const struct op_node *n, int64_t *b, bool *pixels_last, ot_error *err) {
    const struct tensor *x = n->x[0];
    const char *mode = ot_attr_string(n->node, "mode", "DCR");
    *b = ot_attr_int(n->node, "blocksize", 0);
    *pixels_last = !strcmp(mode, "CRD");
    OT_TRY(ot_movable(n, 0, err));
    if (x->rank != 4)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected 4", x->rank);
    if (*b < 1 || *b > 1 << 15)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'blocksize' is %lld, expected 1 to 2^15", (long long)*b);
    if (!*pixels_last && strcmp(mode, "DCR") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'DCR' or 'CRD'", mode);
    return OT_OK;
}

static ot_status prepare_wide(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    int64_t b;
    bool pixels_last;
    OT_TRY(read_form(n, &b, &pixels_last, err));
    if (x->dim[1] % (b * b))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has %lld channels, expected a multiple of blocksize^2",
                          (long long)x->dim[1]);
    const int64_t dim[] = {x->dim[0], x->dim[1] / (b * b), x->dim[2] * b, x->dim[3] * b};
    OT_TRY(ot_op_set(n, n->y[0], x->type, 4, dim, err));
    make_move(ot_op_plan(n), x, n->y[0], b, pixels_last);
    return OT_OK;
}

static ot_status prepare_deep(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct move *m = ot_op_plan(n);
    int64_t b;
    bool pixels_last;
    OT_TRY(read_form(n, &b, &pixels_last, err));
    if (x->dim[2] % b || x->dim[3] % b)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has images of %lld x %lld, expected multiples of blocksize",
                          (long long)x->dim[2], (long long)x->dim[3]);
    const int64_t dim[] = {x->dim[0], x->dim[1] * b * b, x->dim[2] / b, x->dim[3] / b};
    OT_TRY(ot_op_set(n, n->y[0], x->type, 4, dim, err));
    make_move(m, n->y[0], x, b, pixels_last);
    *m = ot_move_reverse(m);
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    return lane_rank == 1 && n->x[0]->rank == 4;
}

static const char *const wide_cases[] = {
    "X[2,8,2,3] blocksize=2 lanes -> Y[2,2,4,6]",
    "X[2,18,2,1] blocksize=3 mode=CRD lanes -> Y[2,2,6,3]",
    "f[1,8,1,2]{0,1,9,10,18,19,27,28,36,37,45,46,54,55,63,64} blocksize=2 -> "
    "f[1,2,2,4]{0,18,1,19,36,54,37,55,9,27,10,28,45,63,46,64}",
    "f[1,8,1,2]{0,1,9,10,18,19,27,28,36,37,45,46,54,55,63,64} blocksize=2 mode=CRD -> "
    "f[1,2,2,4]{0,9,1,10,18,27,19,28,36,45,37,46,54,63,55,64}",
    "X[2,6,2,3] blocksize=2 -> error: 6 channels",
    "X[2,8,2,3] -> error: 'blocksize' is 0",
    "X[2,8,2,3] blocksize=2 mode=RDC -> error: 'mode' is 'RDC'",
    "X[2,8,2] blocksize=2 -> error: rank 3",
    NULL};

static const char *const deep_cases[] = {
    "X[2,2,4,6] blocksize=2 lanes -> Y[2,8,2,3]",
    "X[3,1,3,6] blocksize=3 -> Y[3,9,1,2]",
    "f[1,2,2,4]{0,18,1,19,36,54,37,55,9,27,10,28,45,63,46,64} blocksize=2 -> "
    "f[1,8,1,2]{0,1,9,10,18,19,27,28,36,37,45,46,54,55,63,64}",
    "X[2,2,4,6] blocksize=2 mode=CRD lanes -> Y[2,8,2,3]",
    "X[2,8,2,3] blocksize=2 -> error: 2 x 3",
    NULL};

const struct op ot_op_DepthToSpace = {
    .name = "DepthToSpace",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "blocksize:i mode:s",
    .plan_size = sizeof(struct move),
    .lanes = lanes,
    .prepare = prepare_wide,
    .forward = ot_move_forward,
    .backward = ot_move_backward,
    .cases = wide_cases,
};

const struct op ot_op_SpaceToDepth = {
    .name = "SpaceToDepth",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "blocksize:i mode:s",
    .plan_size = sizeof(struct move),
    .lanes = lanes,
    .prepare = prepare_deep,
    .forward = ot_move_forward,
    .backward = ot_move_backward,
    .cases = deep_cases,
};
