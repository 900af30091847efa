/* nodes.c - nodes in the order of the file; calls of local functions are replaced by their bodies
 * (function_calls.c), an If of a constant by the branch it takes (branch.c), Constant nodes by
 * values, an Identity of a constant by the constant itself, sequences by their elements
 * (sequence.c). Loops keep their bodies (body.c). */
#include "onnx/walk.h"

#include <string.h>

/* ---- attributes ---- */

/* Everything about a node but its name, inputs and outputs. */
static ot_status read_template(struct walker *w, const Onnx__NodeProto *p, struct template *t) {
    struct import *im = w->im;
    const struct frame *f = &w->frame[w->top];
    const char *domain = ot_domain(p->domain);
    int opset = ot_names_get(&im->names, SCOPE_OPSET(f->number), domain);
    if (opset == OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "domain '%.80s' is not in opset_import",
                              domain);
    t->node.opset = opset;
    t->constant = -1;
    OT_TRY(ot_import_keep(im, p->op_type, &t->node.op_type));
    OT_TRY(ot_import_keep(im, domain, &t->node.domain));
    OT_TRY(ot_attributes_read(im, p->attribute, p->n_attribute, &t->node.attr,
                              f->function ? &t->ref : NULL));
    t->node.n_attr = (int)p->n_attribute;
    t->ready = true;
    return OT_OK;
}

static bool is_declared(const struct function *f, const char *name) {
    for (size_t i = 0; i < f->proto->n_attribute; i++)
        if (!strcmp(f->proto->attribute[i], name)) return true;
    return false;
}

static const struct attr *find_attr(const struct attr *list, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i].name, name)) return &list[i];
    return NULL;
}

/* The attributes of a template in this call: references get the caller's value, or the preset. */
static ot_status resolve(struct walker *w, const struct template *t, struct attr **attr) {
    struct import *im = w->im;
    const struct frame *f = &w->frame[w->top];
    *attr = t->node.attr;
    if (!t->ref) return OT_OK;
    struct attr *out = ot_small_alloc(&im->kept, (size_t)t->node.n_attr, sizeof *out);
    if (!out) return ot_import_no_room(im, &im->g->arena, (size_t)t->node.n_attr * sizeof *out);
    for (int i = 0; i < t->node.n_attr; i++) {
        const char *ref = t->ref[i];
        out[i] = t->node.attr[i];
        if (!ref) continue;
        const struct attr *a = find_attr(f->attr, f->n_attr, ref);
        if (!a) a = find_attr(f->function->preset, f->function->n_preset, ref);
        if (!a)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  is_declared(f->function, ref)
                                      ? "attribute '%.80s' refers to '%.80s', which the call lacks"
                                      : "attribute '%.80s' refers to '%.80s', which the function "
                                        "does not declare",
                                  out[i].name, ref);
        if (out[i].kind && out[i].kind != a->kind)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "attribute '%.80s' refers to '%.80s', which has another type",
                                  out[i].name, ref);
        const char *name = out[i].name;
        out[i] = *a;
        out[i].name = name;
    }
    *attr = out;
    return OT_OK;
}

/* ---- kinds of nodes ---- */

static ot_status add_constant(struct walker *w, const Onnx__NodeProto *p, struct template *t,
                              const struct attr *attr, int n_attr) {
    struct import *im = w->im;
    struct source source = {0};
    struct tensor shape;
    struct frame *f = &w->frame[w->top];
    int v;
    if (p->n_input || p->n_output != 1 || !*p->output[0])
        return ot_import_fail(
            im, OT_ERROR_INVALID,
            "the node has %zu inputs and %zu outputs, expected no inputs and one output",
            p->n_input, p->n_output);
    if (t->constant >= 0) return ot_walk_alias(w, f->scope, p->output[0], t->constant);
    OT_TRY(ot_constant_source(im, p, attr, n_attr, &source));
    OT_TRY(ot_walk_output(w, p->output[0], OT_VALUE_CONSTANT, &v));
    struct value *value = &im->g->value[v];
    if (source.tensor) OT_TRY(ot_payload_check(im, source.tensor, &shape, &value->type));
    if (source.sparse)
        OT_TRY(ot_sparse_check(im, source.sparse, &shape, &value->type, &value->spelling));
    if (source.ready) shape = *source.ready;
    if (source.ready) value->type = shape.type;
    value->rank = shape.rank;
    memcpy(value->dim, shape.dim, sizeof value->dim);
    value->exportable = !f->function;
    im->source[v] = source;
    if (f->function && !attr) t->constant = v; /* the same in every call: read once */
    return OT_OK;
}

static bool refers(const Onnx__NodeProto *p) {
    for (size_t i = 0; i < p->n_attribute; i++)
        if (p->attribute[i]->ref_attr_name && *p->attribute[i]->ref_attr_name) return true;
    return false;
}

static ot_status read_node(struct walker *w, const Onnx__NodeProto *p) {
    struct import *im = w->im;
    struct frame *f = &w->frame[w->top];
    struct template local = {.constant = -1};
    struct template *t = f->function && !f->branch ? &f->function->template[f->i - 1] : &local;
    struct attr *attr = NULL;
    if (!p->op_type || !*p->op_type)
        return ot_import_fail(im, OT_ERROR_INVALID, "op_type is missing");
    const int function = ot_functions_find(im, p);
    const bool constant = function < 0 && !strcmp(p->op_type, "Constant") && !*ot_domain(p->domain);
    if (constant && !(f->function && refers(p))) {
        if (!t->ready) t->constant = -1;
        t->ready = true; /* its attributes stay where they are until the value is read */
        return add_constant(w, p, t, NULL, 0);
    }
    bool taken;
    if (function < 0 && ot_branch_is_if(p)) {
        OT_TRY(ot_branch_enter(w, p, &taken));
        if (taken) return OT_OK;
    }
    if (!t->ready) OT_TRY(read_template(w, p, t));
    OT_TRY(resolve(w, t, &attr));
    if (constant) return add_constant(w, p, t, attr, t->node.n_attr);
    if (function >= 0) return ot_call_enter(w, p, function, t, attr);
    struct node node = t->node;
    node.attr = attr;
    if (ot_body_is_loop(&node) && !im->bodies_gathered) return ot_body_enter(w, p, &node);
    OT_TRY(ot_sequence_node(w, p, &node, &taken));
    return taken ? OT_OK : ot_walk_add(w, p, &node);
}

ot_status ot_nodes_walk(struct import *im) {
    im->next_scope = SCOPE_CALL;
    return ot_nodes_walk_graph(im, im->model->graph, "graph");
}

ot_status ot_nodes_walk_graph(struct import *im, const Onnx__GraphProto *p, const char *place) {
    struct walker w = {.im = im};
    w.frame = ot_small_alloc(&im->temporary, OT_MOST_FRAMES, sizeof *w.frame);
    if (!w.frame) return ot_import_no_room(im, &im->scratch, OT_MOST_FRAMES * sizeof *w.frame);
    w.frame[0] =
        (struct frame){.number = -1, .node = p->node, .n = p->n_node, .scope = SCOPE_GRAPH};
    while (w.top > 0 || w.frame[0].i < w.frame[0].n) {
        struct frame *f = &w.frame[w.top];
        const Onnx__NodeProto *node = f->i < f->n ? f->node[f->i] : f->call;
        const bool done = f->i >= f->n;
        if (!done) f->i++;
        const int first = im->g->n_values;
        ot_status status = done ? ot_call_leave(&w) : read_node(&w, node);
        if (!status) continue;
        ot_walk_faulty(&w, node, first);
        const size_t number = w.frame[0].i - 1;
        status = ot_fail_in(&im->last, status, "%s/node[%zu] '%.60s' (%.60s)", place, number,
                            node->name ? node->name : "", node->op_type ? node->op_type : "");
        OT_TRY(ot_import_problem(im, status));
    }
    return OT_OK;
}
