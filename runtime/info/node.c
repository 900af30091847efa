/* node.c - the values and nodes of an algorithm that is written. After a failure all of
 * this does nothing, so that its callers need not look. */
#include "runtime/info/training.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 64 };

void ot_write_fail(struct writer *w, ot_status status, const char *format, ...) {
    char text[400];
    va_list list;
    if (w->status) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    w->status = ot_fail(w->err, status, "training_info cannot be written: %s", text);
}

void *ot_write_take(struct writer *w, size_t n, size_t size) {
    void *memory = w->status ? NULL : ot_arena_alloc(w->arena, n, size);
    if (!memory) ot_write_fail(w, OT_ERROR_NO_MEMORY, "out of memory");
    return memory;
}

/* list with room for one more than n. */
static bool grow_list(struct writer *w, void *list, int n, int *room, size_t size) {
    if (n < *room) return true;
    void *bigger = ot_write_take(w, 2 * (size_t)n + 64, size), *old;
    if (!bigger) return false;
    memcpy(&old, list, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(list, &bigger, sizeof bigger);
    *room = 2 * n + 64;
    return true;
}

int ot_write_value(struct writer *w, const char *name, enum value_kind kind) {
    struct graph *g = w->g;
    const size_t size = strlen(w->prefix) + strlen(name) + 1;
    char *whole = ot_write_take(w, size, 1);
    if (!whole || !grow_list(w, &g->value, g->n_values, &w->value_room, sizeof *g->value))
        return -1;
    snprintf(whole, size, "%s%s", w->prefix, name);
    g->value[g->n_values] = (struct value){.name = whole, .kind = kind, .producer = -1, .rank = -1};
    return g->n_values++;
}

static void set_shape(struct value *v, ot_type type, int rank, const int64_t *dim) {
    v->type = type;
    v->rank = rank;
    if (rank > 0) memcpy(v->dim, dim, (size_t)rank * sizeof *dim);
}

int ot_write_tensor(struct writer *w, const char *name, struct tensor t, const struct value *like) {
    struct tensor *kept = ot_write_take(w, 1, sizeof *kept);
    const int v = ot_write_value(w, name, OT_VALUE_INITIALIZER);
    if (!kept || v < 0) return -1;
    *kept = t;
    struct value *value = &w->g->value[v];
    set_shape(value, t.type, t.rank, t.dim);
    value->constant = kept;
    if (like) value->spelling = like->spelling;
    return v;
}

int ot_write_number(struct writer *w, const char *name, float number) {
    float *data = ot_write_take(w, 1, sizeof *data);
    if (!data) return -1;
    *data = number;
    return ot_write_tensor(w, name, (struct tensor){.type = OT_FLOAT, .data = data}, NULL);
}

struct node *ot_write_node(struct writer *w, const char *op, const char *domain, int n_in,
                           int n_out, int n_attr) {
    struct graph *g = w->g;
    int *ends = ot_write_take(w, (size_t)n_in + (size_t)n_out, sizeof *ends);
    struct attr *attr = ot_write_take(w, (size_t)n_attr + 1, sizeof *attr);
    if (!ends || !attr || !grow_list(w, &g->node, g->n_nodes, &w->node_room, sizeof *g->node))
        return NULL;
    struct node *n = &g->node[g->n_nodes++];
    *n = (struct node){.name = "",
                       .op_type = op,
                       .domain = domain,
                       .n_in = n_in,
                       .n_out = n_out,
                       .n_attr = n_attr,
                       .in = ends,
                       .out = ends + n_in,
                       .attr = attr};
    return n;
}

/* ---- expressions ---- */

/* What an operator needs beside its inputs to do what readers expect. */
static struct attr attribute_of(const char *op) {
    if (!strcmp(op, "Cast")) return (struct attr){.name = "to", .kind = OT_ATTR_INT, .i = OT_FLOAT};
    if (!strcmp(op, "ReduceMean"))
        return (struct attr){.name = "keepdims", .kind = OT_ATTR_INT, .i = 0};
    return (struct attr){0};
}

static int write_term(struct writer *w, const struct expression *e, int index, const char *name,
                      const int *values) {
    const struct term *t = &e->term[index];
    if (t->kind == OT_TERM_VALUE) return values[t->index];
    if (t->kind != OT_TERM_NODE) {
        ot_write_fail(w, OT_ERROR_STATE, "an expression has more than operators and values");
        return -1;
    }
    char *op = ot_write_take(w, (size_t)t->length + 1, 1), inner[NAME];
    int in[OT_MATCH_ARGS];
    if (!op) return -1;
    memcpy(op, t->text, (size_t)t->length);
    for (int i = 0; i < t->n_args; i++) {
        snprintf(inner, sizeof inner, "t%d", w->inner++);
        in[i] = write_term(w, e, t->arg[i], inner, values);
    }
    const struct attr a = attribute_of(op);
    struct node *n = ot_write_node(w, op, "", t->n_args, 1, a.name != NULL);
    const int out = ot_write_value(w, name, OT_VALUE_NODE);
    if (!n || out < 0) return -1;
    memcpy(n->in, in, (size_t)t->n_args * sizeof *in);
    n->out[0] = out;
    if (a.name) n->attr[0] = a;
    return out;
}

int ot_write_expression(struct writer *w, const char *name, const char *expression,
                        const int *values) {
    struct expression e;
    if (!ot_expression(&e, expression)) {
        ot_write_fail(w, OT_ERROR_STATE, "the expression '%s' is malformed", expression);
        return -1;
    }
    for (int i = 0; i < e.values; i++)
        if (values[i] < 0) return -1; /* a failure before this call */
    return w->status ? -1 : write_term(w, &e, 0, name, values);
}

void ot_write_binding(struct writer *w, int key, int from) {
    struct algorithm *a = w->g->algorithm;
    if (w->status || key < 0 || from < 0) return;
    const struct value *k = &w->g->value[key];
    set_shape(&w->g->value[from], k->constant->type, k->rank, k->dim);
    a->binding[a->n_bindings++] = (struct binding){key, from};
}
