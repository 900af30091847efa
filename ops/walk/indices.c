/* indices.c - checks of index tensors, and loops over the lines that they pick. */
#include "ops/walk/indices.h"

/* The first index that is out of range; -1: none. */
static int64_t find_bad(const struct op_node *n, const struct ranges *r) {
    const int64_t count = ot_elements(n->x[1]);
    for (int64_t k = 0; k < count; k++) {
        const int64_t i = ot_index_at(n->x[1], k), length = r->length[k % r->columns];
        if (i < -length || i >= length) return k;
    }
    return -1;
}

ot_status ot_indices_check(const struct op_node *n, const struct ranges *r, ot_error *err) {
    const struct tensor *t = n->x[1];
    if (t->type != OT_INT64 && t->type != OT_INT32)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 1 is %s, expected int64",
                          ot_type_name(t->type));
    for (int i = 0; i < r->columns; i++)
        if (r->length[i] == 0 && ot_elements(t) > 0)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "the axis that is indexed has no elements");
    if (t->role != OT_ROLE_CONST) return OT_OK;
    const int64_t bad = find_bad(n, r);
    if (bad < 0) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID,
                      "index %lld is out of range for an axis of extent %lld",
                      (long long)ot_index_at(t, bad), (long long)r->length[bad % r->columns]);
}

void ot_indices_watch(struct op_node *n, const struct ranges *r) {
    const int64_t bad = n->x[1]->role == OT_ROLE_CONST ? -1 : find_bad(n, r);
    if (bad >= 0) ot_op_bad_index(n, bad);
}

ot_status ot_lines_of(const struct op_node *n, struct lines *l, ot_error *err) {
    const struct tensor *x = n->x[0], *index = n->x[1];
    struct array data, picked, box;
    char s[128], t[128];
    int axis;
    bool fits = x->rank == index->rank;
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 0), x->rank, &axis, err));
    for (int i = 0; fits && i < x->rank; i++) fits = i == axis || index->dim[i] <= x->dim[i];
    if (!fits)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "the indices have shape %s, which does not fit data of shape %s and axis %d",
            ot_shape_text(index, s, sizeof s), ot_shape_text(x, t, sizeof t), axis);
    ot_array_of(x, &data);
    ot_array_of(index, &picked);
    *l = (struct lines){.length = index->dim[axis],
                        .extent = x->dim[axis],
                        .picked_step = picked.stride[axis],
                        .data_step = data.stride[axis]};
    box = picked;
    box.dim[axis] = index->dim[axis] ? 1 : 0;
    ot_move_init(&l->move, &box, &picked, &data);
    ot_move_simplify(&l->move);
    return ot_indices_check(n, &(struct ranges){1, {l->extent}}, err);
}

struct walk {
    const struct op_node *n;
    ot_line_fn *fn;
};

static void run_lines(void *arg, int64_t from, int64_t to, int64_t count, int64_t from_stride,
                      int64_t to_stride) {
    const struct walk *w = arg;
    for (int64_t i = 0; i < count; i++) w->fn(w->n, from + i * from_stride, to + i * to_stride);
}

void ot_lines_run(struct op_node *n, const struct lines *l, ot_line_fn *fn) {
    struct walk w = {n, fn};
    ot_move_each(n->pool, &l->move, run_lines, &w);
}
