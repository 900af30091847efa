/* const_value.c - runs operators on constants while a model is opened: without a plan, and only
 * such that take time in proportion to what they make. */
#include "runtime/compile/const_value.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/compile/lower.h"

void ot_const_begin(struct const_work *e, const struct compiler *c, const struct kernels *kernels,
                    size_t budget) {
    e->compiler = c;
    e->kernels = kernels;
    ot_arena_init(&e->arena, &c->model->allocator, budget);
}

void ot_const_end(struct const_work *e) { ot_arena_free(&e->arena); }

bool ot_const_run(struct const_work *e, int k, struct tensor *const *x, struct tensor **y) {
    const struct node *node = &e->compiler->model->graph->node[k];
    struct plan p = {.request = {.kind = OT_PLAN_RUN,
                                 .kernels = e->kernels,
                                 .workers = ot_pool_workers(e->compiler->pool)},
                     .compiler = *e->compiler};
    struct plan_node *pn = ot_node_new(&p, &e->arena, ot_op_of(node), node, k);
    if (!pn) return false;
    struct op_node *n = &pn->n;
    for (int i = 0; i < n->n_in; i++) n->x[i] = x[i];
    for (int j = 0; j < n->n_out; j++) n->y[j] = y[j];
    const bool made = !n->op->prepare(n, NULL) && !ot_node_fold(n, NULL);
    if (n->op->release) n->op->release(n);
    return made;
}

/* Operators that masks are made with. */
static bool makes_masks(const struct node *node) {
    static const char *const plain[] = {
        "Cast",    "CastLike", "Not",     "And",         "Or",   "Xor",  "Equal",
        "Greater", "Less",     "Expand",  "LessOrEqual", "Mul",  "Sub",  "Add",
        "Where",   "Round",    "Sigmoid", "Abs",         "Clip", "Relu", "GreaterOrEqual"};
    const struct op *op = ot_op_of(node);
    if (!op || *node->domain) return false;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(plain[i], node->op_type)) return true;
    return op->moves != 0;
}

/* The nodes that make v, in no order. False: it is not of constants alone. */
static bool collect_nodes(const struct graph *g, int v, int *node, int *n) {
    int pending[OT_CONST_MOST * 4] = {v};
    for (int waiting = 1; waiting;) {
        const struct value *value = &g->value[pending[--waiting]];
        if (value->constant) {
            if (value->constant->pattern) return false;
            continue;
        }
        const int k = value->producer;
        int i = 0;
        while (i < *n && node[i] != k) i++;
        if (i < *n) continue;
        if (k < 0 || *n == OT_CONST_MOST || !makes_masks(&g->node[k])) return false;
        node[(*n)++] = k;
        for (i = 0; i < g->node[k].n_in; i++) {
            if (g->node[k].in[i] < 0) continue;
            if (waiting == OT_CONST_MOST * 4) return false;
            pending[waiting++] = g->node[k].in[i];
        }
    }
    return true;
}

static int ascending(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* What the nodes have made so far, one value after the other. */
struct made {
    struct const_work *e;
    int n, room;
    struct known {
        int value;
        struct tensor t;
    } * known;
};

static struct tensor *known_value(struct made *m, int v) {
    for (int i = 0; i < m->n; i++)
        if (m->known[i].value == v) return &m->known[i].t;
    const struct tensor *constant = m->e->compiler->model->graph->value[v].constant;
    if (m->n == m->room) return NULL;
    m->known[m->n].value = v;
    if (constant) m->known[m->n].t = *constant;
    m->known[m->n].t.role = OT_ROLE_CONST;
    return &m->known[m->n++].t;
}

static bool run_node(struct made *m, int k) {
    const struct node *node = &m->e->compiler->model->graph->node[k];
    struct tensor *x[OT_CONST_MOST] = {NULL}, *y[OT_CONST_MOST] = {NULL};
    if (node->n_in > OT_CONST_MOST || node->n_out > OT_CONST_MOST) return false;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] >= 0 && !(x[i] = known_value(m, node->in[i]))) return false;
    for (int j = 0; j < node->n_out; j++)
        if (node->out[j] >= 0 && !(y[j] = known_value(m, node->out[j]))) return false;
    return ot_const_run(m->e, k, x, y);
}

const struct tensor *ot_const_value(struct const_work *e, int v, int *node, int *n) {
    const struct graph *g = e->compiler->model->graph;
    const int before = *n;
    struct made m = {.e = e, .room = 1};
    if (!collect_nodes(g, v, node, n)) {
        *n = before;
        return NULL;
    }
    qsort(node, (size_t)*n, sizeof *node, ascending);
    for (int i = 0; i < *n; i++) m.room += g->node[node[i]].n_in + g->node[node[i]].n_out;
    m.known = ot_arena_alloc(&e->arena, (size_t)m.room, sizeof *m.known);
    if (!m.known) return NULL;
    for (int i = 0; i < *n; i++)
        if (!run_node(&m, node[i])) return NULL;
    return known_value(&m, v);
}
