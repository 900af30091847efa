/* reshape.c - Reshape and Flatten: y is x with another shape; nothing moves. */
#include "ops/walk/index.h"

/* ---- Reshape ---- */

/* A shape as the node gives it, entries of 0 already copied from x. */
struct request {
    int rank;
    int64_t dim[OT_MAX_RANK]; /* -1 at `open` */
    int open;                 /* -1: no entry is to be found out */
    uint32_t copied;          /* bit i: dim[i] came from x */
    int64_t known;            /* product of the others */
};

static ot_status read_dimension(const struct op_node *n, struct request *r, int i, bool zeros,
                                ot_error *err) {
    const struct tensor *x = n->x[0];
    if (r->dim[i] == 0 && zeros) {
        if (i >= x->rank)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "dimension %d of the shape is 0, which means that of input 0, but "
                              "input 0 has rank %d",
                              i, x->rank);
        r->dim[i] = x->dim[i];
        r->copied |= 1u << i;
        return OT_OK;
    }
    if (r->dim[i] == -1 && r->open < 0) {
        r->open = i;
        return OT_OK;
    }
    if (r->dim[i] < 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "dimension %d of the shape is %lld, expected at least -1, and -1 once", i,
                          (long long)r->dim[i]);
    return OT_OK;
}

static ot_status read_request(const struct op_node *n, struct request *r, ot_error *err) {
    const int64_t *shape;
    OT_TRY(ot_op_ints(n, 1, &shape, &r->rank, err));
    if (r->rank > OT_MAX_RANK)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the shape has %d dimensions, too many", r->rank);
    const bool zeros = !ot_attr_int(n->node, "allowzero", 0);
    r->open = -1;
    r->copied = 0;
    for (int i = 0; i < r->rank; i++) {
        r->dim[i] = shape[i];
        OT_TRY(read_dimension(n, r, i, zeros, err));
    }
    return OT_OK;
}

/* Product of all entries but the open one; false: too large. */
static bool count_known(struct request *r) {
    int64_t dim[OT_MAX_RANK];
    for (int i = 0; i < r->rank; i++) dim[i] = i == r->open ? 1 : r->dim[i];
    return ot_shape_count(dim, r->rank, (int64_t)1 << 40, &r->known);
}

static bool count_fits(const struct request *r, int64_t count) {
    return r->open < 0 ? r->known == count : r->known > 0 && count % r->known == 0;
}

/* The entry that holds the batch: the one at the place of x's first dimension that is a multiple
 * of the batch. -1: none. */
static int batch_entry(const struct op_node *n, const struct request *r) {
    const struct tensor *x = n->x[0];
    int64_t before = 1, product = 1;
    int axis = 0;
    while (axis < x->rank && (x->dim[axis] == 0 || x->dim[axis] % n->batch_to))
        before *= x->dim[axis++];
    if (axis == x->rank) return -1;
    for (int i = 0; i < r->rank && r->dim[i] > 0; product *= r->dim[i++])
        if (product == before && r->dim[i] % n->batch_from == 0 && !(r->copied >> i & 1)) return i;
    return -1;
}

/* A constant shape that holds the file's batch size gets the one that runs. Values that do not
 * come from the input keep their shape. */
static void rebatch(const struct op_node *n, struct request *r, int64_t count) {
    const enum tensor_role role = n->x[0]->role;
    if (n->batch_from == n->batch_to || n->batch_from < 1 || n->batch_to < 1 ||
        role == OT_ROLE_CONST || role == OT_ROLE_PARAM || n->x[1]->derived)
        return;
    if (r->open < 0 && count_fits(r, count)) return;
    int i = batch_entry(n, r);
    if (i < 0) return;
    struct request scaled = *r;
    if (__builtin_mul_overflow(r->dim[i] / n->batch_from, n->batch_to, &scaled.dim[i])) return;
    if (count_known(&scaled) && count_fits(&scaled, count)) *r = scaled;
}

static ot_status find_shape(const struct op_node *n, int *rank, int64_t *dim, ot_error *err) {
    struct request r;
    const int64_t count = ot_elements(n->x[0]);
    char text[128];
    OT_TRY(read_request(n, &r, err));
    if (!count_known(&r)) return ot_op_fail(n, err, OT_ERROR_LIMIT, "the shape is too large");
    rebatch(n, &r, count);
    if (!count_fits(&r, count))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 of shape %s has %lld elements, but the new shape has %lld%s",
                          ot_shape_text(n->x[0], text, sizeof text), (long long)count,
                          (long long)r.known, r.open < 0 ? "" : " times -1");
    if (r.open >= 0) r.dim[r.open] = count / r.known;
    *rank = r.rank;
    for (int i = 0; i < r.rank; i++) dim[i] = r.dim[i];
    return OT_OK;
}

/* The dimensions of the new shape that hold as many samples as the first lane_rank ones of x; so
 * many again where they do. 0: none do. */
static int lane_rank_of(const struct tensor *x, int lane_rank, int rank, const int64_t *dim) {
    const int64_t samples = ot_dims_product(x, 0, lane_rank);
    int64_t n = 1;
    int found = 0;
    for (int i = 0; i < rank; i++) {
        n *= dim[i];
        if (n == samples && (!found || i + 1 == lane_rank)) found = i + 1;
    }
    return found;
}

/* Samples stay samples where the shape merges or splits their dimensions. */
static bool lanes(const struct op_node *n, int lane_rank) {
    int rank;
    int64_t dim[OT_MAX_RANK];
    return !find_shape(n, &rank, dim, NULL) && lane_rank_of(n->x[0], lane_rank, rank, dim);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    int rank;
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(find_shape(n, &rank, dim, err));
    if (n->y[0]->lanes) n->y[0]->lane_rank = lane_rank_of(n->x[0], n->x[0]->lane_rank, rank, dim);
    return ot_op_set(n, n->y[0], n->x[0]->type, rank, dim, err);
}

static const char *const cases[] = {
    "X[2,3,4] i64{4,6} -> Y[4,6]",
    "X[3,5,4] i64{-1,4} lanes -> Y[15,4]",
    "X[15,4] i64{3,5,4} lanes -> Y[3,5,4]",
    "X[3,4,5,2] i64{12,5,2} lanes -> Y[12,5,2]",
    "X[2,3,4] i64{0,-1} -> Y[2,12]",
    "X[2,3,4] i64{0,2,-1,3} -> Y[2,2,2,3]",
    "X[2,3,4] i64{0,0,2,2} -> Y[2,3,2,2]",
    "X[1] i64[0]{} -> Y[]",
    "X[0,3] i64{3,0} allowzero=1 -> Y[3,0]",
    "X[4,6] i64{1,2,3} batch=1,4 -> Y[4,2,3]",
    "X[8,6] i64{1,-1} batch=1,8 -> Y[8,6]",
    "X[8,49,6] i64{98,6} batch=2,8 -> Y[392,6]",
    "X[5,8,6] i64{5,2,2,3} batch=2,8 -> Y[5,8,2,3]",
    "X[4,6] i64{1,24} batch=1,4 -> Y[1,24]",
    "X[2,3] i64{-1,-1} -> error: dimension 1 of the shape is -1",
    "X[2,3] i64{4,-1} -> error: input 0 of shape [2,3] has 6 elements, but the new shape has 4 "
    "times -1",
    "X[0,3] i64{0,-1} -> error: 0 elements",
    "X[2,3] i64{7} -> error: input 0 of shape [2,3] has 6 elements, but the new shape has 7",
    "X[2,3] i64{2,3,0} -> error: dimension 2 of the shape is 0",
    "X[2,3] i64{4611686018427387904,4611686018427387904} -> error: too large",
    "X[2,3] i64{-2,-3} -> error: dimension 0 of the shape is -2",
    NULL};

const struct op ot_op_Reshape = {
    .name = "Reshape",
    .since = 5,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "allowzero:i",
    .view = true,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = lanes,
    .prepare = prepare,
    .forward = ot_view_forward,
    .backward = ot_view_backward,
    .limits = "shape must be constant",
    .cases = cases,
};

/* ---- Flatten: [d0, ..., d(axis-1)], [d(axis), ...] become two dimensions ---- */

static ot_status flatten_axis(const struct op_node *n, int *axis, ot_error *err) {
    const int64_t a = ot_attr_int(n->node, "axis", 1);
    const int rank = n->x[0]->rank;
    if (a == rank) {
        *axis = rank;
        return OT_OK;
    }
    return ot_op_axis(n, a, rank, axis, err);
}

static bool flatten_lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return lane_rank == 1 && !flatten_axis(n, &axis, NULL) && axis == 1;
}

static ot_status flatten_prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    int axis;
    OT_TRY(ot_movable(n, 0, err));
    OT_TRY(flatten_axis(n, &axis, err));
    const int64_t dim[2] = {ot_dims_product(x, 0, axis), ot_dims_product(x, axis, x->rank)};
    return ot_op_set(n, n->y[0], x->type, 2, dim, err);
}

static const char *const flatten_cases[] = {"X[2,3,4,5] -> Y[2,60]",
                                            "X[2,3,4,5] axis=0 -> Y[1,120]",
                                            "X[2,3,4,5] axis=-1 @11 -> Y[24,5]",
                                            "X[2,3] axis=2 -> Y[6,1]",
                                            "X[2,3] axis=3 -> error: axis 3",
                                            NULL};

const struct op ot_op_Flatten = {
    .name = "Flatten",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .view = true,
    .moves = OT_X(0),
    .straight = OT_STRAIGHT_THROUGH,
    .lanes = flatten_lanes,
    .prepare = flatten_prepare,
    .forward = ot_view_forward,
    .backward = ot_view_backward,
    .cases = flatten_cases,
};
