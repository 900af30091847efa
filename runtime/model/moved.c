/* moved.c - finds values that are made of constants by moving their elements. */
#include "runtime/model/moved.h"

#include "ops/op.h"

bool ot_moves(const struct op *op, int i) { return op && op->moves >> (i < 15 ? i : 15) & 1; }

/* Appends x where it is not there yet. */
static bool enlist(int *list, int *n, int x) {
    for (int i = 0; i < *n; i++)
        if (list[i] == x) return true;
    if (*n == OT_MOVED_MOST) return false;
    list[(*n)++] = x;
    return true;
}

static bool enter_value(const struct graph *g, int v, struct moved *m) {
    if (v < 0) return false;
    if (g->value[v].constant) return enlist(m->origin, &m->n_origins, v);
    return g->value[v].producer >= 0 && enlist(m->node, &m->n_nodes, g->value[v].producer);
}

bool ot_moved_find(const struct graph *g, int v, struct moved *m) {
    m->n_nodes = m->n_origins = 0;
    if (!enter_value(g, v, m)) return false;
    for (int k = 0; k < m->n_nodes; k++) {
        const struct node *node = &g->node[m->node[k]];
        const struct op *op = ot_op_of(node);
        if (!op || !op->moves) return false;
        for (int i = 0; i < node->n_in; i++)
            if (ot_moves(op, i) && !enter_value(g, node->in[i], m)) return false;
    }
    return true;
}
