/* tensor_scatter.c - TensorScatter: y is a cache in which `update` stands, along one axis, from
 * write_indices[sample] on; mode "circular" wraps around at the end. dcache = dy where nothing was
 * written, else 0; dupdate = dy where it was written. */
#include <string.h>

#include "ops/walk/index.h"

enum { CACHE, UPDATE, INDICES };

struct tensor_scatter_plan {
    bool circular;
    int64_t batch, outer; /* samples, and sequences of one */
    int64_t length, written, inner;
};

static ot_status check_shapes(const struct op_node *n, int axis, ot_error *err) {
    const struct tensor *x = n->x[CACHE], *u = n->x[UPDATE];
    char have[128], want[128];
    OT_TRY(ot_op_type(n, UPDATE, x->type, err));
    bool fits = u->rank == x->rank;
    for (int i = 0; fits && i < x->rank; i++)
        fits = i == axis ? u->dim[i] <= x->dim[i] : u->dim[i] == x->dim[i];
    if (!fits)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the update has shape %s, which does not fit the cache %s along axis %d",
                          ot_shape_text(u, have, sizeof have), ot_shape_text(x, want, sizeof want),
                          axis);
    if (n->n_in <= INDICES || !n->x[INDICES]) return OT_OK;
    OT_TRY(ot_op_type(n, INDICES, OT_INT64, err));
    if (n->x[INDICES]->rank != 1 || n->x[INDICES]->dim[0] != x->dim[0])
        return ot_op_fail(n, err, OT_ERROR_INVALID, "write_indices has shape %s, expected [%lld]",
                          ot_shape_text(n->x[INDICES], have, sizeof have), (long long)x->dim[0]);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct tensor_scatter_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[CACHE];
    const char *mode = ot_attr_string(n->node, "mode", "linear");
    int axis;
    OT_TRY(ot_movable(n, CACHE, err));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", -2), x->rank, &axis, err));
    if (!axis)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'axis' is the axis of samples");
    plan->circular = !strcmp(mode, "circular");
    if (!plan->circular && strcmp(mode, "linear") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'linear' or 'circular'", mode);
    OT_TRY(check_shapes(n, axis, err));
    plan->batch = x->dim[0];
    plan->outer = ot_dims_product(x, 1, axis);
    plan->length = x->dim[axis];
    plan->written = n->x[UPDATE]->dim[axis];
    plan->inner = ot_dims_product(x, axis + 1, x->rank);
    ot_op_like(n->y[0], x);
    return OT_OK;
}

/* The step in the cache where step i of sample b goes; -1: it lies outside. */
static int64_t cache_step(const struct op_node *n, int64_t b, int64_t i) {
    const struct tensor_scatter_plan *plan = n->plan;
    const struct tensor *t = n->n_in > INDICES ? n->x[INDICES] : NULL;
    const int64_t first = t ? ((const int64_t *)t->data)[b] : 0;
    if (plan->circular) {
        const int64_t start = first % plan->length;
        return ((start < 0 ? start + plan->length : start) + i) % plan->length;
    }
    return first < 0 || first > plan->length - plan->written ? -1 : first + i;
}

/* From `update` into `cache`, or back. */
static void move_steps(struct op_node *n, size_t size, char *cache, char *update, bool back) {
    const struct tensor_scatter_plan *plan = n->plan;
    const size_t run = (size_t)plan->inner * size;
    for (int64_t k = 0; k < plan->batch * plan->outer; k++)
        for (int64_t i = 0; i < plan->written; i++) {
            const int64_t b = k / plan->outer, at = cache_step(n, b, i);
            char *to = update + (size_t)(k * plan->written + i) * run;
            if (at < 0) {
                if (back)
                    memset(to, 0, run);
                else
                    ot_op_bad_index(n, b);
                continue;
            }
            char *from = cache + (size_t)(k * plan->length + at) * run;
            memcpy(back ? to : from, back ? from : to, run);
        }
}

static void forward(struct op_node *n) {
    memcpy(n->y[0]->data, n->x[CACHE]->data, ot_bytes(n->y[0]));
    move_steps(n, ot_type_size(n->y[0]->type), n->y[0]->data, n->x[UPDATE]->data, false);
}

static void backward(struct op_node *n) {
    const struct tensor_scatter_plan *plan = n->plan;
    if (n->dx[UPDATE]) move_steps(n, sizeof(float), n->dy[0]->data, n->dx[UPDATE]->data, true);
    if (!n->dx[CACHE]) return;
    float *dx = ot_f(n->dx[CACHE]);
    memcpy(dx, n->dy[0]->data, ot_bytes(n->dx[CACHE]));
    for (int64_t k = 0; k < plan->batch * plan->outer; k++)
        for (int64_t i = 0; i < plan->written; i++) {
            const int64_t at = cache_step(n, k / plan->outer, i);
            if (at >= 0)
                memset(dx + (k * plan->length + at) * plan->inner, 0,
                       (size_t)plan->inner * sizeof *dx);
        }
}

static const char *const cases[] = {
    "C[2,3,5,4] U[2,3,2,4] i64{1,3} -> Y[2,3,5,4]",
    "C[2,5,4] U[2,3,4] i64{4,1}:x mode=circular -> Y[2,5,4]",
    "C[2,3,5] U[2,3,2] axis=-1 -> Y[2,3,5]",
    "f[1,3,1]{1,2,3} f[1,2,1]{8,9} i64{2} mode=circular -> f[1,3,1]{9,2,8}",
    "i32[2,2,1]{1,2,3,4} i32[2,1,1]{8,9} i64{1,0} -> i32[2,2,1]{1,8,9,4}",
    "C[2,5,4] U[2,6,4] -> error: the update has shape [2,6,4]",
    "C[2,5,4] U[2,3,4] axis=0 -> error: 'axis'",
    "C[2,5,4] U[2,3,4] mode=round -> error: 'mode' is 'round'",
    "C[2,5,4] U[2,3,4] i64{0} -> error: write_indices has shape [1]",
    NULL,
};

const struct op ot_op_TensorScatter = {
    .name = "TensorScatter",
    .since = 24,
    .min_in = 2,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "mode:s axis:i",
    .needs = OT_X(INDICES),
    .plan_size = sizeof(struct tensor_scatter_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
