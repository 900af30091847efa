/* tail.c - whether a plan skips the activation at its end, and along which axis that normalises. */
#include "runtime/compile/tail.h"

#include <string.h>

#include "runtime/compile/plan.h"

enum { ONE_AXIS = 13 }; /* opset: a Softmax along one axis */

static bool is_op(const struct node *n, const char *op_type) {
    return !strcmp(n->op_type, op_type);
}

bool ot_plan_skips(const struct plan *p, ot_loss_kind kind) {
    const struct plan *part = p->parts ? p->part[0] : p;
    return ot_tail_is_skipped(part->graph, &part->tail, kind, ot_plan_trains(p->request.kind));
}

/* Does anybody but the node before it in the tail, and who asks for the shape, read its output? */
static bool is_read(const struct graph *g, const struct tail *t, int i, const bool *needed) {
    const int v = g->node[t->node[i]].out[0];
    for (int k = 0; k < g->n_nodes; k++) {
        const struct op *op = needed[k] ? ot_op_of(&g->node[k]) : NULL;
        if (!op || op->shape_only) continue;
        for (int j = 0; j < g->node[k].n_in; j++)
            if (g->node[k].in[j] == v && !(i && k == t->node[i - 1] && j == 0)) return true;
    }
    return false;
}

void ot_tail_choose(struct plan *p, const bool *needed, bool *passed) {
    const struct graph *g = p->graph;
    const struct tail *t = &p->tail;
    for (int i = 0; i < t->n; i++)
        if (is_read(g, t, i, needed)) return;
    for (int i = 0; i < t->n; i++) {
        const struct node *n = &g->node[t->node[i]];
        passed[t->node[i]] = i == t->n - 1 || is_op(n, "Log") || ot_tail_keeps_place(n);
    }
}

static const struct tensor *tensor_of(const struct plan *p, int v) {
    const struct entry *e = p->rows[v] ? p->rows[v] : p->lanes[v];
    return e ? &e->t : NULL;
}

static int softmax_axis(const struct node *n, int rank) {
    const int64_t axis = ot_attr_int(n, "axis", n->opset >= ONE_AXIS ? -1 : 1);
    return (int)(axis < 0 ? axis + rank : axis);
}

bool ot_softmax_has_axis(const struct plan *p, int k) {
    const struct node *n = &p->graph->node[k];
    const struct tensor *x = tensor_of(p, n->in[0]);
    if (n->opset >= ONE_AXIS || !x) return true;
    const int axis = softmax_axis(n, x->rank);
    return axis >= 0 && axis < x->rank && ot_dims_product(x, axis + 1, x->rank) == 1;
}

/* Where the node moves axis a of x; -1: it is no axis of y. */
static int moved_axis(const struct node *n, const struct tensor *x, const struct tensor *y, int a) {
    int count = 0;
    if (is_op(n, "Transpose")) {
        const int64_t *perm = ot_attr_ints(n, "perm", &count);
        for (int i = 0; i < y->rank; i++)
            if ((i < count ? perm[i] : y->rank - 1 - i) == a) return i;
        return -1;
    }
    const int64_t inner = ot_dims_product(x, a + 1, x->rank);
    for (int i = y->rank - 1; i >= 0; i--)
        if (y->dim[i] == x->dim[a] && ot_dims_product(y, i + 1, y->rank) == inner) return i;
    return -1;
}

int ot_tail_axis(const struct plan *p) {
    const struct graph *g = p->graph;
    const struct tail *t = &p->tail;
    const char *activation = ot_tail_activation(g, t);
    const struct node *last = t->n ? &g->node[t->node[t->n - 1]] : NULL;
    const struct tensor *x = last ? tensor_of(p, last->in[0]) : NULL;
    if (!x || !strcmp(activation, "Sigmoid") || !ot_softmax_has_axis(p, t->node[t->n - 1]))
        return 0;
    int axis = softmax_axis(last, x->rank);
    for (int i = t->n - 2; i >= 0 && axis >= 0; i--) {
        const struct node *n = &g->node[t->node[i]];
        const struct tensor *y = tensor_of(p, n->out[0]);
        if (!y) return 0;
        axis = moved_axis(n, tensor_of(p, n->in[0]), y, axis);
    }
    return axis == 0 ? -1 : axis; /* samples are no classes */
}
