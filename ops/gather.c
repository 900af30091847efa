/* gather.c - Gather: y[o, k, i] = x[o, index[k], i]; o and i stand for the axes before and behind.
 *
 * Negative indices count from the end. Constant ones are checked once; those that come with each
 * batch fail the step where they are out of range, and are clamped, so that none leads out of x.
 * The gradient of an element is the sum over its copies in the order of k.
 */
#include "ops/index.h"

#include <string.h>

enum { PIECE = 256 }; /* floats of a row that one task adds */

struct state {
    int64_t outer, length, inner, count; /* length: of the axis; count: indices */
    int64_t pieces, grain;               /* of a row, in the gradient; how many make a task */
};

static int64_t index_at(const struct op_node *n, int64_t k) {
    const struct tensor *t = n->x[1];
    return t->type == OT_INT64 ? ((const int64_t *)t->data)[k] : ((const int32_t *)t->data)[k];
}

/* Into [0, length), whatever it is. */
static int64_t source(const struct op_node *n, int64_t k) {
    const int64_t length = ((const struct state *)n->state)->length;
    int64_t i = index_at(n, k);
    if (i < 0) i += length;
    return i < 0 ? 0 : i >= length ? length - 1 : i;
}

/* The first index that is out of range; -1: none. */
static int64_t find_bad(const struct op_node *n) {
    const struct state *s = n->state;
    for (int64_t k = 0; k < s->count; k++)
        if (index_at(n, k) < -s->length || index_at(n, k) >= s->length) return k;
    return -1;
}

static ot_status check_indices(const struct op_node *n, const struct state *s, ot_error *err) {
    if (s->length == 0 && s->outer * s->inner * s->count > 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the axis is empty");
    if (n->x[1]->role != OT_ROLE_CONST) return OT_OK;
    const int64_t bad = find_bad(n);
    if (bad < 0) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID, "index %lld of an axis of extent %lld",
                      (long long)index_at(n, bad), (long long)s->length);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *index = n->x[1];
    struct state *s = n->state;
    int64_t dim[2 * OT_MAX_RANK];
    int axis, rank = 0;
    OT_TRY(ot_movable(n, 0, err));
    if (index->type != OT_INT64 && index->type != OT_INT32)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 is %s, not int64",
                          ot_type_name(index->type));
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    for (int i = 0; i < axis; i++) dim[rank++] = x->dim[i];
    for (int i = 0; i < index->rank; i++) dim[rank++] = index->dim[i];
    for (int i = axis + 1; i < x->rank; i++) dim[rank++] = x->dim[i];
    OT_TRY(ot_op_set(n, n->y[0], x->type, rank, dim, err));
    s->outer = ot_dims_product(x, 0, axis);
    s->length = x->dim[axis];
    s->inner = ot_dims_product(x, axis + 1, x->rank);
    s->count = ot_elements(index);
    s->pieces = (s->inner + PIECE - 1) / PIECE;
    s->grain = 1 + 4096 / (s->count * (s->inner < PIECE ? s->inner : PIECE) + 1);
    return check_indices(n, s, err);
}

static void forward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct state *s = n->state;
    const size_t row = (size_t)s->inner * ot_type_size(n->x[0]->type);
    int64_t from, to;
    ot_task_range(s->outer * s->count, 256, task, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const int64_t x = r / s->count * s->length + source(n, r % s->count);
        memcpy((char *)n->y[0]->data + (size_t)r * row,
               (const char *)n->x[0]->data + (size_t)x * row, row);
    }
}

static void forward(struct op_node *n) {
    const struct state *s = n->state;
    const int64_t bad = n->x[1]->role == OT_ROLE_CONST ? -1 : find_bad(n);
    if (bad >= 0) ot_op_bad_index(n, bad);
    if (ot_elements(n->y[0]) > 0)
        ot_parallel_for(n->pool, ot_task_count(s->outer * s->count, 256), forward_task, n);
}

/* A piece of all rows under one outer index: nobody else adds there. */
static void add_piece(const struct op_node *n, int64_t outer, int64_t start) {
    const struct state *s = n->state;
    const int64_t end = start + PIECE < s->inner ? start + PIECE : s->inner;
    for (int64_t k = 0; k < s->count; k++) {
        const float *dy = ot_f(n->dy[0]) + (outer * s->count + k) * s->inner;
        float *dx = ot_f(n->dx[0]) + (outer * s->length + source(n, k)) * s->inner;
        for (int64_t i = start; i < end; i++) dx[i] += dy[i];
    }
}

static void backward_task(void *arg, int task, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct state *s = n->state;
    int64_t from, to;
    ot_task_range(s->outer * s->pieces, s->grain, task, &from, &to);
    for (int64_t i = from; i < to; i++) add_piece(n, i / s->pieces, i % s->pieces * PIECE);
}

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    if (!n->dx[0]) return;
    ot_fill(n->pool, n->dx[0]->data, ot_count(n->dx[0]), sizeof(float), NULL);
    if (ot_elements(n->y[0]) > 0)
        ot_parallel_for(n->pool, ot_task_count(s->outer * s->pieces, s->grain), backward_task, n);
}

static const char *const cases[] = {
    "X[5,4] i64{0,3,-1,3} -> Y[4,4]",
    "X[5,300]:p i64[2,3]{0,3,-1,3,-5,1} -> Y[2,3,300]",
    "X[2,5,3] i64{4,-5,4} axis=1 -> Y[2,3,3]",
    "X[2,5,3] i64(2) axis=-1 -> Y[2,5]",
    "X[2,3] i32{1} -> Y[1,3]",
    "X[5,4] i64{7,-9}:x -> Y[2,4]",
    "i64{10,20,30} i64(-1) -> i64(30)",
    "f[2,3]{1,2,3,4,5,6} i64{2,-3} axis=1 -> f[2,2]{3,1,6,4}",
    "f[2,2]{1,2,3,4} i64{7,-9}:x -> f[2,2]{3,4,1,2}",
    "X[5,4] i64{5} -> error: index 5",
    "X[5,4] i64{-6} -> error: index -6",
    "X[5,4] i64{-9223372036854775808} -> error: index -9223372036854775808",
    "X[5,4] i64{0} axis=2 -> error: axis 2",
    "X[0,4] i64{0} -> error: empty",
    "X[5,4] f{0} -> error: not int64",
    NULL};

const struct op ot_op_Gather = {
    .name = "Gather",
    .since = 1,
    .min_in = 2,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i",
    .needs = OT_X(1),
    .parameters = OT_X(0),
    .state_size = sizeof(struct state),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
