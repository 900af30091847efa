/* gradient.c - a Gradient node of the model: its outputs, which are outputs of the graph, come from
 * backward steps behind all other steps. They are true derivatives: those of a weight's zeros, too,
 * so that the weights that it names are dense here. */
#include "runtime/compile/lower.h"

#include <string.h>

#include "runtime/model/gradient_fault.h"

static ot_status refuse_node(const struct node *n, const char *why, ot_error *err) {
    return ot_fail(err, OT_ERROR_UNSUPPORTED, "node '%.80s' (Gradient): %s", n->name, why);
}

static bool is_gradient(const struct node *n) {
    return !strcmp(n->op_type, "Gradient") && !strcmp(n->domain, OT_TRAINING_DOMAIN);
}

bool ot_gradient_makes(const struct plan *p, int v) {
    const int k = p->graph->value[v].producer;
    return k >= 0 && &p->graph->node[k] == p->gradient;
}

/* ---- before the nodes are lowered ---- */

ot_status ot_gradient_find(struct plan *p, const bool *needed, int *y, ot_error *err) {
    const struct graph *g = p->graph;
    *y = -1;
    for (int k = 0; k < g->n_nodes; k++) {
        const struct node *n = &g->node[k];
        if (!needed[k] || !is_gradient(n)) continue;
        if (p->request.kind != OT_PLAN_RUN)
            return refuse_node(n, "training through it needs second derivatives", err);
        if (p->gradient)
            return refuse_node(n, "the model has two Gradient nodes, but only one is supported",
                               err);
        p->gradient = n;
    }
    if (!p->gradient) return OT_OK;
    const char *fault = ot_gradient_fault(g, p->gradient, y);
    if (!fault && ot_gradient_makes(p, *y)) fault = "attribute 'y' names its own output";
    for (int i = 0; !fault && i < p->gradient->n_out; i++)
        if (g->value[p->gradient->in[i]].producer >= 0)
            fault = "xs names a value that a node computes, not an input or initializer";
    return fault ? refuse_node(p->gradient, fault, err) : OT_OK;
}

static ot_status check_uses(const struct plan *p, const bool *needed, ot_error *err) {
    const struct graph *g = p->graph;
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0 && ot_gradient_makes(p, g->node[k].in[i]))
                return refuse_node(p->gradient, "its outputs may only be outputs of the graph",
                                   err);
    return OT_OK;
}

ot_status ot_gradient_sources(struct plan *p, const bool *needed, ot_error *err) {
    const struct node *n = p->gradient;
    if (!n) return OT_OK;
    OT_TRY(check_uses(p, needed, err));
    for (int i = 0; i < n->n_out; i++) {
        struct entry *e;
        if (n->out[i] < 0) continue;
        OT_TRY(ot_lower_dense(p, n->in[i], &e, err));
        if (e->t.type != OT_FLOAT)
            return refuse_node(n, "attribute 'xs' names a value that is not float", err);
        if (e->t.role == OT_ROLE_CONST) e->t.role = OT_ROLE_PARAM; /* lest what it feeds folds */
        e->wants = true;
        p->rows[n->in[i]] = e;
    }
    return OT_OK;
}

/* ---- its results ---- */

ot_status ot_gradient_result(struct plan *p, int v, struct entry **e, ot_error *err) {
    const struct node *n = p->gradient;
    int i = 0;
    while (n->out[i] != v) i++;
    *e = ot_plan_entry(p, p->graph->value[v].name);
    if (!*e) return ot_plan_no_memory(err);
    (*e)->t = p->rows[n->in[i]]->t;
    (*e)->t.role = OT_ROLE_ACTIVATION;
    (*e)->t.data = NULL;
    return OT_OK;
}

ot_status ot_gradient_check_y(const struct plan *p, ot_error *err) {
    if (p->logits->t.type == OT_FLOAT && ot_elements(&p->logits->t) == 1) return OT_OK;
    return refuse_node(p->gradient, "attribute 'y' names a value that is not a single float", err);
}
