/* missed.c - names what runs as one operator in a plan, and what looks like that and does not. */
#include "runtime/compile/missed.h"

#include <stdio.h>
#include <string.h>

#include "runtime/compile/fuse.h"

/* Nodes between a Softmax and the products around it, and how many are looked at. */
enum { UP = 8, DOWN = 4, LOOKED_AT = 32, MOST = 64 /* notes of norms */ };

static bool is_op(const struct node *node, const char *op_type) {
    return !*node->domain && !strcmp(node->op_type, op_type);
}

static const struct node *producer(const struct graph *g, int v) {
    return v < 0 || g->value[v].producer < 0 ? NULL : &g->node[g->value[v].producer];
}

static ot_status note_missed(struct plan *p, const char *what, int node, int broken,
                             const char *why, ot_error *err) {
    struct missed *m = ot_arena_alloc(&p->arena, 1, sizeof *m), **last = &p->missed;
    if (!m) return ot_plan_no_memory(err);
    *m = (struct missed){.what = what, .node = node, .broken = broken, .why = why};
    while (*last) last = &(*last)->next;
    *last = m;
    return OT_OK;
}

/* ---- attention ---- */

/* Is v computed from a MatMul of what is computed, at most so many nodes away? */
static bool comes_from_product(const struct graph *g, int v, int depth, int *left) {
    const struct node *node = producer(g, v);
    if (!node || !depth || (*left)-- <= 0) return false;
    if (is_op(node, "MatMul")) return producer(g, node->in[0]) && producer(g, node->in[1]);
    for (int i = 0; i < node->n_in; i++)
        if (comes_from_product(g, node->in[i], depth - 1, left)) return true;
    return false;
}

/* Does v, handed on by at most so many nodes, lead into a MatMul? */
static bool leads_to_product(const struct graph *g, int v, int depth, int *left) {
    const int from = g->value[v].producer;
    if (!depth || (*left)-- <= 0) return false;
    for (int k = from + 1; k < g->n_nodes; k++) {
        const struct node *node = &g->node[k];
        for (int i = 0; i < node->n_in; i++) {
            if (node->in[i] != v) continue;
            if (is_op(node, "MatMul") && i == 0) return true;
            if (node->n_out && node->out[0] >= 0 &&
                leads_to_product(g, node->out[0], depth - 1, left))
                return true;
        }
    }
    return false;
}

ot_status ot_missed_attention(struct plan *p, int k, int broken, const char *why, ot_error *err) {
    const struct node *node = &p->graph->node[k];
    if (is_op(node, "Attention")) return OT_OK; /* one operator all the same */
    int up = LOOKED_AT, down = LOOKED_AT;
    if (!comes_from_product(p->graph, node->in[0], UP, &up) ||
        !leads_to_product(p->graph, node->out[0], DOWN, &down))
        return OT_OK;
    return note_missed(p, "attention", k, broken < 0 ? k : broken, why, err);
}

/* ---- normalisations ---- */

/* The root of a mean and a constant. */
static bool is_deviation(const struct graph *g, const struct node *node) {
    if (!is_op(node, "Sqrt")) return false;
    const struct node *sum = producer(g, node->in[0]);
    if (!sum || !is_op(sum, "Add")) return false;
    for (int i = 0; i < 2; i++) {
        const struct node *mean = producer(g, sum->in[i]);
        if (mean && is_op(mean, "ReduceMean") && g->value[sum->in[1 - i]].constant) return true;
    }
    return false;
}

static int only_reader(const struct graph *g, const bool *needed, int v) {
    int reader = -1;
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++) {
            if (g->node[k].in[i] != v) continue;
            if (reader >= 0 && reader != k) return -1;
            reader = k;
        }
    return reader;
}

/* The node at which what follows a deviation ceases to be a normalisation. */
static int find_break(const struct graph *g, const bool *needed, int k) {
    bool scaled = false;
    for (int i = 0; i < UP; i++) {
        const int next = only_reader(g, needed, g->node[k].out[0]);
        if (next < 0) return k;
        const struct node *node = &g->node[next];
        const bool scales = is_op(node, "Mul") || is_op(node, "Div");
        if (!scales && !is_op(node, "Reciprocal") && !is_op(node, "Cast")) return scaled ? k : next;
        scaled = scales;
        k = next;
    }
    return k;
}

ot_status ot_missed_norms(struct plan *p, const bool *needed, ot_error *err) {
    const struct graph *g = p->graph;
    int notes = 0;
    for (int k = 0; k < g->n_nodes && notes < MOST; k++) {
        if (!needed[k] || p->fused[k] || !is_deviation(g, &g->node[k])) continue;
        OT_TRY(note_missed(p, "normalisation", k, find_break(g, needed, k), "is not part of one",
                           err));
        notes++;
    }
    return OT_OK;
}

/* ---- printing ---- */

/* The fusion that the operator of the plan stands for, or NULL. */
static const struct fusion *fusion_of(const struct plan *p, int i) {
    const struct op_node *n = &p->node[i]->n;
    const struct fusion *f = n->index < 0 || !p->fused ? NULL : p->fused[n->index];
    return f && n->node == &f->node ? f : NULL;
}

static void print_recognised(const struct plan *p, ot_write_fn *write, void *context) {
    char line[256];
    for (int i = 0; i < p->n_nodes; i++) {
        const struct fusion *f = fusion_of(p, i);
        int count = 0, nodes = 0;
        bool first = f != NULL;
        for (int k = 0; f && k < p->n_nodes; k++) {
            const struct fusion *other = fusion_of(p, k);
            if (!other || strcmp(other->node.op_type, f->node.op_type)) continue;
            first = first && (count || k == i);
            count++;
            nodes += other->n;
        }
        if (!first) continue;
        snprintf(line, sizeof line, "recognised: %d %s in place of %d nodes", count,
                 f->node.op_type, nodes);
        write(context, line);
    }
}

/* Those of q and k, which attention makes while it copies them. */
static void print_rotary(const struct plan *p, ot_write_fn *write, void *context) {
    char line[128];
    int count = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        const struct fusion *f = fusion_of(p, i);
        for (int k = 0; f && f->attention && k < 2; k++) {
            const struct path *path = &f->attention->operand[k];
            for (int j = 0; j < path->n; j++) count += path->link[j].kind == OT_LINK_ROTARY;
        }
    }
    if (!count) return;
    snprintf(line, sizeof line, "recognised: %d rotary embeddings within ScaledAttention", count);
    write(context, line);
}

void ot_missed_print(const struct plan *p, ot_write_fn *write, void *context) {
    char line[512];
    const struct node *node = p->graph->node;
    print_recognised(p, write, context);
    print_rotary(p, write, context);
    for (const struct missed *m = p->missed; m; m = m->next) {
        snprintf(line, sizeof line,
                 "warning: node %d '%.100s' (%s): its %s is not recognised; node %d '%.100s' (%s) "
                 "%s",
                 m->node, node[m->node].name, node[m->node].op_type, m->what, m->broken,
                 node[m->broken].name, node[m->broken].op_type, m->why);
        write(context, line);
    }
}
