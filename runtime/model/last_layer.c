/* last_layer.c - from an output back to the first weight. */
#include "runtime/model/last_layer.h"

/* A weight with rows and columns among the inputs of the node, or NULL. */
static const struct parameter *weight_of(const struct model *m, const struct node *node) {
    for (int i = 0; i < node->n_in; i++) {
        const int k = node->in[i] < 0 ? -1 : m->parameter_of[node->in[i]];
        if (k >= 0 && m->parameter[k].t.rank > 1) return &m->parameter[k];
    }
    return NULL;
}

/* The first input that a node computes; -1: none is. */
static int computed_input(const struct model *m, const struct node *node) {
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] >= 0 && m->graph->value[node->in[i]].producer >= 0) return node->in[i];
    return -1;
}

const struct parameter *ot_last_layer(const struct model *m, int output) {
    const struct graph *g = m->graph;
    for (int v = g->output[output]; v >= 0 && g->value[v].producer >= 0;) {
        const struct node *node = &g->node[g->value[v].producer];
        const struct parameter *p = weight_of(m, node);
        if (p) return p;
        v = computed_input(m, node);
    }
    return NULL;
}
