/* branch.c - an If whose condition is a constant: nodes and initializers of the branch that it
 * takes stand in its place. What decides are initializers, Constants, comparisons, logic and casts
 * of such numbers, and how many elements a constant has. */
#include "onnx/walk.h"

#include <stdio.h>
#include <string.h>

enum { MOST_STEPS = 8 };    /* nodes between a constant and a condition */
enum { MOST_COUNTED = 64 }; /* elements of a constant whose Size decides: a shape */

bool ot_branch_is_if(const Onnx__NodeProto *p) {
    return !strcmp(p->op_type, "If") && !*ot_domain(p->domain) && p->n_input == 1;
}

/* ---- the condition ---- */

/* One integer or boolean; false: the value is something else. */
static bool read_number(struct import *im, int v, int64_t *number) {
    const struct tensor *t = ot_constant_read(im, v, 1);
    if (!t || !ot_elements(t)) return false;
    *number = t->type == OT_INT64   ? *(const int64_t *)t->data
              : t->type == OT_INT32 ? *(const int32_t *)t->data
              : t->type == OT_BOOL  ? *(const uint8_t *)t->data != 0
                                    : 0;
    return t->type == OT_INT64 || t->type == OT_INT32 || t->type == OT_BOOL;
}

static bool is_op(const struct node *n, const char *op) { return !strcmp(n->op_type, op); }

static bool combine_one(const struct node *n, int64_t x, int64_t *y) {
    const int64_t to = ot_attr_int(n, "to", 0);
    *y = is_op(n, "Not") ? !x : is_op(n, "Cast") && to == OT_BOOL ? x != 0 : x;
    return is_op(n, "Not") || is_op(n, "Identity") ||
           (is_op(n, "Cast") && (to == OT_BOOL || to == OT_INT32 || to == OT_INT64));
}

static bool combine_two(const struct node *n, int64_t a, int64_t b, int64_t *y) {
    const struct {
        const char *op;
        bool value;
    } table[] = {
        {"And", a && b}, {"Or", a || b},     {"Xor", !a != !b},       {"Equal", a == b},
        {"Less", a < b}, {"Greater", a > b}, {"LessOrEqual", a <= b}, {"GreaterOrEqual", a >= b}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (is_op(n, table[i].op)) return *y = table[i].value, true;
    return false;
}

/* The number of elements of a constant. */
static bool count_elements(struct import *im, int v, int64_t *number) {
    if (im->g->value[v].kind != OT_VALUE_INITIALIZER && im->g->value[v].kind != OT_VALUE_CONSTANT)
        return false;
    const struct tensor *t = ot_constant_read(im, v, MOST_COUNTED);
    if (t) *number = ot_elements(t);
    return t != NULL;
}

/* What value v is in every run; false: that depends on data, or nobody here can tell. */
static bool evaluate(struct import *im, int v, int steps, int64_t *number) {
    const struct graph *g = im->g;
    int64_t x[2] = {0};
    if (v < 0 || steps > MOST_STEPS) return false;
    if (g->value[v].kind == OT_VALUE_INITIALIZER || g->value[v].kind == OT_VALUE_CONSTANT)
        return read_number(im, v, number);
    if (g->value[v].kind != OT_VALUE_NODE) return false;
    const struct node *n = &g->node[g->value[v].producer];
    if (*n->domain || n->n_in < 1 || n->n_in > 2) return false;
    if (is_op(n, "Size")) return n->in[0] >= 0 && count_elements(im, n->in[0], number);
    for (int i = 0; i < n->n_in; i++)
        if (!evaluate(im, n->in[i], steps + 1, &x[i])) return false;
    return n->n_in == 1 ? combine_one(n, x[0], number) : combine_two(n, x[0], x[1], number);
}

/* ---- the branch ---- */

const Onnx__GraphProto *ot_branch_find(const Onnx__NodeProto *p, const char *name) {
    for (size_t i = 0; i < p->n_attribute; i++)
        if (p->attribute[i]->name && !strcmp(p->attribute[i]->name, name))
            return p->attribute[i]->g;
    return NULL;
}

/* Names begin with the first output of the node that is there, and the branch; in a function,
 * which may be called again, with a number, too. */
ot_status ot_branch_prefix(struct walker *w, const Onnx__NodeProto *p, const char *branch,
                           const char **prefix) {
    const struct frame *f = &w->frame[w->top];
    const char *outer = f->prefix ? f->prefix : "";
    char number[32] = "";
    size_t k = 0;
    while (k + 1 < p->n_output && !*p->output[k]) k++;
    if (f->function)
        snprintf(number, sizeof number, "#%llu", (unsigned long long)w->im->next_scope);
    const size_t size = strlen(outer) + strlen(p->output[k]) + strlen(branch) + sizeof number + 3;
    char *text = ot_small_alloc(&w->im->temporary, size, 1);
    if (!text) return ot_import_no_room(w->im, &w->im->scratch, size);
    snprintf(text, size, "%s%s/%s%s/", outer, p->output[k], branch, number);
    *prefix = text;
    return OT_OK;
}

static ot_status check_branch(struct walker *w, const Onnx__NodeProto *p, const char *name,
                              const Onnx__GraphProto *branch) {
    struct import *im = w->im;
    if (!branch) return ot_import_fail(im, OT_ERROR_INVALID, "attribute '%s' is missing", name);
    if (branch->n_input || branch->n_output != p->n_output || !p->n_output || !*p->output[0])
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "attribute '%s' is a graph with %zu inputs and %zu outputs, but the "
                              "node has %zu outputs",
                              name, branch->n_input, branch->n_output, p->n_output);
    return OT_OK;
}

static ot_status declare_values(struct walker *w) {
    const struct frame *f = &w->frame[w->top];
    const Onnx__GraphProto *g = f->branch;
    for (size_t i = 0; i < g->n_initializer; i++)
        OT_TRY(ot_values_initializer(w->im, f->scope, f->prefix, g->initializer[i], !f->function));
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        OT_TRY(ot_values_sparse_initializer(w->im, f->scope, f->prefix, g->sparse_initializer[i],
                                            !f->function));
    return OT_OK;
}

ot_status ot_branch_push(struct walker *w, struct frame frame) {
    if (w->top + 1 >= OT_MOST_FRAMES)
        return ot_import_fail(w->im, OT_ERROR_LIMIT,
                              "functions, branches and loops are nested too deep");
    frame.node = frame.branch->node;
    frame.n = frame.branch->n_node;
    frame.i = 0;
    frame.scope = w->im->next_scope;
    w->im->next_scope += 2;
    w->frame[++w->top] = frame;
    ot_status status = declare_values(w);
    if (status) w->top--;
    return status;
}

/* Formal outputs have the names of the node's. */
static ot_status name_outputs(struct walker *w) {
    const struct frame *f = &w->frame[w->top];
    const Onnx__GraphProto *g = f->branch;
    for (size_t k = 0; k < g->n_output; k++)
        if (!g->output[k]->name ||
            !ot_names_set(&w->im->names, f->scope + 1, g->output[k]->name, (int)k))
            return ot_import_fail(w->im, OT_ERROR_INVALID, "output %zu of the branch has no name",
                                  k);
    return OT_OK;
}

ot_status ot_branch_enter(struct walker *w, const Onnx__NodeProto *p, bool *taken) {
    int v;
    int64_t number = 0;
    OT_TRY(ot_walk_input(w, p->input[0], &v));
    *taken = evaluate(w->im, v, 0, &number);
    if (!*taken) return OT_OK;
    const char *name = number ? "then_branch" : "else_branch";
    struct frame inner = w->frame[w->top];
    inner.branch = ot_branch_find(p, name);
    inner.call = p;
    inner.loop = NULL;
    OT_TRY(check_branch(w, p, name, inner.branch));
    OT_TRY(ot_branch_prefix(w, p, name, &inner.prefix));
    OT_TRY(ot_branch_push(w, inner));
    ot_status status = name_outputs(w);
    if (status) w->top--;
    return status;
}
