/* tail.c - finds what makes probabilities of scores at a model's end, and what moves them. */
#include "runtime/tail.h"

#include <string.h>

#include "runtime/plan.h"

enum { FIRST_WITH_MODE = 12 /* opset: Dropout's input training_mode */, ONE_AXIS = 13 };

static bool is(const struct node *n, const char *op_type) { return !strcmp(n->op_type, op_type); }

/* Hands on each element as it is, but for its type. */
static bool keeps_place(const struct node *n) {
    if (is(n, "Identity")) return true;
    const int64_t to = is(n, "Cast") ? ot_attr_int(n, "to", 0) : OT_UNDEFINED;
    return to == OT_FLOAT || to == OT_FLOAT16 || to == OT_BFLOAT16 || to == OT_DOUBLE;
}

static bool moves(const struct node *n) {
    return is(n, "Reshape") || is(n, "Transpose") || is(n, "Squeeze") || is(n, "Unsqueeze") ||
           is(n, "Flatten");
}

static bool makes_probabilities(const struct node *n) {
    return is(n, "Softmax") || is(n, "LogSoftmax") || is(n, "Sigmoid");
}

/* May this Dropout drop something in a training step? */
static bool may_drop(const struct graph *g, const struct node *n) {
    if (n->opset < FIRST_WITH_MODE) return n->opset >= 7 || !ot_attr_int(n, "is_test", 0);
    const struct tensor *mode = n->n_in > 2 && n->in[2] >= 0 ? g->value[n->in[2]].constant : NULL;
    if (n->n_in < 3 || n->in[2] < 0) return false;
    return !mode || mode->type != OT_BOOL || *(const uint8_t *)mode->data;
}

/* Notes what kind of node this is; false: no such tail goes through it. */
static bool take(const struct graph *g, const struct node *n, struct tail *t) {
    if (is(n, "Log") && !t->logarithm)
        t->logarithm = true;
    else if (is(n, "Dropout"))
        t->drops |= may_drop(g, n);
    else if (moves(n))
        t->moves = true;
    else
        return keeps_place(n);
    return true;
}

void ot_tail_find(const struct graph *g, int output, struct tail *t) {
    *t = (struct tail){0};
    int v = g->output[output];
    while (t->n < OT_TAIL_NODES) {
        const int k = g->value[v].producer;
        const struct node *n = k < 0 ? NULL : &g->node[k];
        if (!n || *n->domain || n->n_in < 1 || n->in[0] < 0 || n->out[0] != v) break;
        t->node[t->n++] = k;
        if (makes_probabilities(n)) {
            if (t->logarithm && !is(n, "Softmax")) break;
            return;
        }
        if (!take(g, n, t)) break;
        v = n->in[0];
    }
    *t = (struct tail){0};
}

const char *ot_tail_activation(const struct graph *g, const struct tail *t) {
    return t->n ? g->node[t->node[t->n - 1]].op_type : "";
}

bool ot_tail_is_skipped(const struct graph *g, const struct tail *t, ot_loss_kind kind,
                        bool trains) {
    const char *activation = ot_tail_activation(g, t);
    if (t->drops && trains) return false;
    return (ot_loss_has_classes(kind) && !strcmp(activation, "Softmax")) ||
           (kind == OT_LOSS_BCE && !strcmp(activation, "Sigmoid"));
}

bool ot_plan_skips(const struct plan *p, ot_loss_kind kind) {
    const struct plan *part = p->parts ? p->part[0] : p;
    return ot_tail_is_skipped(part->graph, &part->tail, kind, ot_plan_trains(p->request.kind));
}

int ot_loss_value(const struct graph *g, ot_loss_kind kind, int output) {
    struct tail t;
    ot_tail_find(g, output, &t);
    const bool skipped = ot_tail_is_skipped(g, &t, kind, true) && !t.moves;
    return skipped ? g->node[t.node[t.n - 1]].in[0] : g->output[output];
}

/* ---- while a plan is made ---- */

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
        passed[t->node[i]] = i == t->n - 1 || is(n, "Log") || keeps_place(n);
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
    if (is(n, "Transpose")) {
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
