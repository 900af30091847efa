/* body.c - Loop and Scan: how often they run is known when a step is planned, if ever. So the graph
 * keeps the node, and its body once: nodes of bodies stand behind those of the graph, their values
 * among its values, and they see the names around them. runtime/compile/unroll.c repeats them. */
#include "onnx/walk.h"

#include <string.h>

enum { MOST_NESTED = 16 };

bool ot_body_is_loop(const struct node *n) {
    return !*n->domain && (!strcmp(n->op_type, "Loop") || !strcmp(n->op_type, "Scan"));
}

static bool has_output(const Onnx__NodeProto *p) {
    size_t k = 0;
    while (k < p->n_output && !*p->output[k]) k++;
    return k < p->n_output;
}

/* Names of inputs stand for values of their own. */
static ot_status declare_inputs(struct walker *w, struct body *b) {
    const struct frame *f = &w->frame[w->top];
    for (int k = 0; k < b->n_in; k++) {
        ot_status status =
            ot_values_formal(w->im, f->scope, f->prefix, f->branch->input[k], &b->in[k]);
        if (status) return ot_fail_in(&w->im->last, status, "body/input[%d]", k);
    }
    return OT_OK;
}

static ot_status check_body(struct walker *w, const Onnx__NodeProto *p, const Onnx__GraphProto *g) {
    int nested = 1;
    for (int i = 1; i <= w->top; i++) nested += w->frame[i].loop != NULL;
    if (!g) return ot_import_fail(w->im, OT_ERROR_INVALID, "the body is missing");
    if (!has_output(p)) return ot_import_fail(w->im, OT_ERROR_INVALID, "the body has no output");
    if (nested > MOST_NESTED)
        return ot_import_fail(w->im, OT_ERROR_LIMIT, "loops are nested %d deep, the limit is %d",
                              nested, MOST_NESTED);
    return OT_OK;
}

/* The node without inputs and outputs, and its empty body. */
static ot_status new_loop(struct import *im, const struct node *node, const Onnx__GraphProto *g,
                          struct node **loop) {
    struct body *b = ot_small_alloc(&im->kept, 1, sizeof *b);
    int *values = ot_small_alloc(&im->kept, g->n_input + g->n_output, sizeof *values);
    *loop = ot_small_alloc(&im->temporary, 1, sizeof **loop);
    if (!b || !values) return ot_import_no_room(im, &im->g->arena, sizeof *b);
    if (!*loop) return ot_import_no_room(im, &im->scratch, sizeof **loop);
    *b = (struct body){.n_in = (int)g->n_input,
                       .n_out = (int)g->n_output,
                       .in = values,
                       .out = values + g->n_input,
                       .number = ++im->n_bodies};
    **loop = *node;
    (*loop)->body = b;
    return OT_OK;
}

ot_status ot_body_enter(struct walker *w, const Onnx__NodeProto *p, const struct node *node) {
    struct import *im = w->im;
    struct frame inner = w->frame[w->top];
    struct node *loop;
    inner.branch = ot_branch_find(p, "body");
    inner.call = p;
    inner.outer_body = im->body;
    OT_TRY(check_body(w, p, inner.branch));
    OT_TRY(ot_branch_prefix(w, p, "body", &inner.prefix));
    OT_TRY(new_loop(im, node, inner.branch, &loop));
    inner.loop = loop;
    OT_TRY(ot_branch_push(w, inner));
    ot_status status = declare_inputs(w, loop->body);
    if (status)
        w->top--;
    else
        im->body = loop->body->number;
    return status;
}

static ot_status take_outputs(struct walker *w, struct body *b) {
    const struct frame *f = &w->frame[w->top];
    for (int k = 0; k < b->n_out; k++) {
        const char *name = f->branch->output[k]->name;
        OT_TRY(ot_walk_input(w, name ? name : "", &b->out[k]));
        if (b->out[k] == VALUE_ABSENT)
            return ot_import_fail(w->im, OT_ERROR_INVALID, "output %d of the body has no value", k);
        if (b->out[k] >= 0 && w->im->g->value[b->out[k]].kind == OT_VALUE_SEQUENCE)
            return ot_import_fail(
                w->im, OT_ERROR_UNSUPPORTED,
                "output '%.80s' of the body is a sequence, which is not supported", name);
    }
    return OT_OK;
}

/* What a loop takes has to be tensors. */
static ot_status check_inputs(struct walker *w, const Onnx__NodeProto *p) {
    for (size_t i = 0; i < p->n_input; i++) {
        int v;
        OT_TRY(ot_walk_input(w, p->input[i], &v));
        if (v >= 0 && w->im->g->value[v].kind == OT_VALUE_SEQUENCE)
            return ot_import_fail(w->im, OT_ERROR_UNSUPPORTED,
                                  "input '%.80s' is a sequence, which is not supported",
                                  p->input[i]);
    }
    return OT_OK;
}

ot_status ot_body_leave(struct walker *w) {
    const struct frame *f = &w->frame[w->top];
    const struct node *loop = f->loop;
    ot_status status = take_outputs(w, loop->body);
    w->im->body = f->outer_body;
    w->top--;
    OT_TRY(status);
    OT_TRY(check_inputs(w, f->call));
    return ot_walk_add(w, f->call, loop);
}

/* ---- behind the graph's own nodes ---- */

/* start[b]: the place of the first node of body b; of `bodies` and one more. */
static void count_places(const struct graph *g, int bodies, int *start) {
    for (int k = 0; k < g->n_nodes; k++) start[g->node[k].in_body + 1]++;
    for (int b = 0; b < bodies; b++) start[b + 1] += start[b];
}

static void move_nodes(struct graph *g, struct node *sorted, const int *start, int *next) {
    const int n = g->n_nodes;
    for (int k = 0; k < n; k++) {
        const struct node *node = &g->node[k];
        const int to = next[node->in_body]++;
        for (int j = 0; j < node->n_out; j++)
            if (node->out[j] >= 0) g->value[node->out[j]].producer = to;
        if (node->body) {
            node->body->first_node = start[node->body->number];
            node->body->end = start[node->body->number + 1];
        }
        sorted[to] = *node;
    }
    memcpy(g->node, sorted, (size_t)n * sizeof *sorted);
    g->n_nodes = start[1];
}

ot_status ot_bodies_gather(struct import *im) {
    struct graph *g = im->g;
    const size_t bodies = (size_t)im->n_bodies + 1;
    im->bodies_gathered = true;
    g->all_nodes = g->n_nodes;
    if (!im->n_bodies) return OT_OK;
    int *start = ot_small_alloc(&im->temporary, 2 * bodies + 1, sizeof *start);
    struct node *sorted = ot_arena_alloc(&im->scratch, (size_t)g->n_nodes, sizeof *sorted);
    if (!start || !sorted)
        return ot_import_no_room(im, &im->scratch, (size_t)g->n_nodes * sizeof *sorted);
    int *next = start + bodies + 1;
    count_places(g, (int)bodies, start);
    memcpy(next, start, bodies * sizeof *start);
    move_nodes(g, sorted, start, next);
    return OT_OK;
}
