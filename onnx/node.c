/* node.c - adds one node to the graph, with its inputs, its outputs and its name. */
#include <stdio.h>
#include <string.h>

#include "onnx/walk.h"

ot_status ot_walk_add(struct walker *w, const Onnx__NodeProto *p, const struct node *node) {
    struct import *im = w->im;
    struct graph *g = im->g;
    char buffer[2 * OT_SHORT_NAME + 16];
    struct node n = *node;
    const struct frame *f = &w->frame[w->top];
    n.in_body = im->body;
    n.n_in = (int)p->n_input;
    n.n_out = (int)p->n_output;
    n.in = ot_small_alloc(&im->kept, p->n_input + p->n_output, sizeof *n.in);
    if (!n.in) return ot_import_no_room(im, &g->arena, (p->n_input + p->n_output) * sizeof *n.in);
    n.out = n.in + p->n_input;
    for (int k = 0; k < n.n_in; k++) {
        OT_TRY(ot_walk_input(w, p->input[k], &n.in[k]));
        if (n.in[k] < 0) n.in[k] = VALUE_ABSENT;
    }
    if (!strcmp(n.op_type, "Identity") && !*n.domain && n.n_in == 1 && n.n_out == 1 &&
        n.in[0] >= 0 && *p->output[0] &&
        (g->value[n.in[0]].kind == OT_VALUE_INITIALIZER ||
         g->value[n.in[0]].kind == OT_VALUE_CONSTANT))
        return ot_walk_alias(w, f->scope, p->output[0], n.in[0]);
    for (int k = 0; k < n.n_out; k++) {
        n.out[k] = VALUE_ABSENT;
        if (!*p->output[k]) continue;
        OT_TRY(ot_walk_output(w, p->output[k], OT_VALUE_NODE, &n.out[k]));
        g->value[n.out[k]].producer = g->n_nodes;
    }
    const char *name = p->name ? p->name : "";
    if (f->function) {
        snprintf(buffer, sizeof buffer, "%.*s/%.*s", OT_SHORT_NAME, f->function->proto->name,
                 OT_SHORT_NAME, name);
        name = buffer;
    }
    OT_TRY(ot_import_keep(im, name, &n.name));
    ot_weights_use(im, &n);
    if ((size_t)g->n_nodes >= im->max_nodes)
        return ot_import_fail(im, OT_ERROR_LIMIT, "internal error: more nodes than were counted");
    g->node[g->n_nodes++] = n;
    return OT_OK;
}
