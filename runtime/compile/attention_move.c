/* attention_move.c - views through the nodes that only move elements. */
#include <string.h>

#include "runtime/compile/attention_parts.h"
#include "runtime/compile/lower.h"

static bool is_op(const struct node *node, const char *op_type) {
    return !strcmp(node->op_type, op_type);
}

/* A node of the plan that is prepared to learn its output's shape, and never run. */
static ot_status probe(struct place *w, const struct node *node, struct op_node **probed) {
    struct plan_node *pn = ot_node_new(w->p, &w->p->arena, ot_op_of(node), node, -1);
    struct tensor *t = ot_arena_alloc(&w->p->arena, (size_t)node->n_out + 1, sizeof *t);
    if (!pn || !t) return ot_plan_no_memory(w->err);
    struct op_node *n = &pn->n;
    *probed = NULL;
    t[node->n_out] = w->at;
    n->x[0] = &t[node->n_out];
    for (int j = 0; j < node->n_out; j++) n->y[j] = node->out[j] < 0 ? NULL : &t[j];
    for (int i = 1; i < node->n_in; i++) {
        struct entry *e;
        if (node->in[i] < 0) continue;
        OT_TRY(ot_lower_value(w->p, node->in[i], &e, w->err));
        if (e->t.role != OT_ROLE_CONST || e->t.pattern) return OT_OK;
        n->x[i] = &e->t;
    }
    if (!n->op->prepare(n, NULL)) *probed = n;
    if (n->op->release) n->op->release(n);
    return OT_OK;
}

static bool slice_all(struct place *w, int axis, int64_t from, int64_t count) {
    bool fits = true;
    for (int i = 0; i < w->views; i++) fits &= ot_view_slice(&w->view[i], axis, from, count);
    return fits;
}

bool ot_place_shape(struct place *w, const struct tensor *to) {
    bool fits = true;
    for (int i = 0; i < w->views; i++) fits &= ot_view_reshape(&w->view[i], to->rank, to->dim);
    return fits;
}

static bool move_transpose(struct place *w, const struct op_node *n) {
    int count, perm[OT_MAX_RANK];
    const int64_t *given = ot_attr_ints(n->node, "perm", &count);
    for (int i = 0; i < n->x[0]->rank; i++) perm[i] = given ? (int)given[i] : n->x[0]->rank - 1 - i;
    for (int i = 0; i < w->views; i++) ot_view_transpose(&w->view[i], perm);
    return true;
}

static bool move_expand(struct place *w, const struct op_node *n) {
    bool fits = true;
    for (int i = 0; i < w->views; i++)
        fits &= ot_view_expand(&w->view[i], n->y[0]->rank, n->y[0]->dim);
    return fits;
}

static bool move_split(struct place *w, const struct op_node *n, int out) {
    int axis, j = 0;
    int64_t from = 0;
    if (ot_op_axis(n, ot_attr_int(n->node, "axis", 0), n->x[0]->rank, &axis, NULL)) return false;
    for (; n->node->out[j] != out; j++) {
        if (!n->y[j]) return false;
        from += n->y[j]->dim[axis];
    }
    return slice_all(w, axis, from, n->y[j]->dim[axis]);
}

/* One index, along an axis that goes or stays. */
static bool move_gather(struct place *w, const struct op_node *n) {
    int axis;
    const struct tensor *index = n->x[1];
    if (ot_elements(index) != 1 || (index->type != OT_INT64 && index->type != OT_INT32) ||
        ot_op_axis(n, ot_attr_int(n->node, "axis", 0), n->x[0]->rank, &axis, NULL))
        return false;
    int64_t from =
        index->type == OT_INT64 ? *(const int64_t *)index->data : *(const int32_t *)index->data;
    if (from < 0) from += n->x[0]->dim[axis];
    return slice_all(w, axis, from, 1) && ot_place_shape(w, n->y[0]);
}

/* Neighbours alone. */
static bool move_slice(struct place *w, const struct op_node *n) {
    const int64_t *start, *axes, *steps = NULL;
    int starts, count, n_steps = 0;
    if (n->node->opset < 10) {
        start = ot_attr_ints(n->node, "starts", &starts);
        axes = ot_attr_ints(n->node, "axes", &count);
    } else if (ot_op_ints(n, 1, &start, &starts, NULL) || ot_op_ints(n, 3, &axes, &count, NULL) ||
               ot_op_ints(n, 4, &steps, &n_steps, NULL)) {
        return false;
    }
    for (int i = 0; i < starts; i++) {
        int axis;
        if ((steps && steps[i] != 1) ||
            ot_op_axis(n, axes ? axes[i] : i, n->x[0]->rank, &axis, NULL))
            return false;
        const int64_t dim = n->x[0]->dim[axis];
        int64_t from = start[i] < 0 ? start[i] + dim : start[i];
        from = from < 0 ? 0 : from > dim ? dim : from;
        if (!slice_all(w, axis, from, n->y[0]->dim[axis])) return false;
    }
    return true;
}

ot_status ot_place_move(struct place *w, const struct node *node, int out, bool *moved) {
    struct op_node *n = NULL;
    int j = 0;
    OT_TRY(probe(w, node, &n));
    *moved = false;
    if (!n || (is_op(node, "Cast") && n->y[0]->type != OT_FLOAT)) return OT_OK;
    while (node->out[j] != out) j++;
    if (is_op(node, "Transpose"))
        *moved = move_transpose(w, n);
    else if (is_op(node, "Expand"))
        *moved = move_expand(w, n);
    else if (is_op(node, "Split"))
        *moved = move_split(w, n, out);
    else if (is_op(node, "Gather"))
        *moved = move_gather(w, n);
    else if (is_op(node, "Slice"))
        *moved = move_slice(w, n);
    else
        *moved = ot_place_shape(w, n->y[j]);
    w->at.rank = n->y[j]->rank;
    memcpy(w->at.dim, n->y[j]->dim, sizeof w->at.dim);
    return OT_OK;
}
