/* unroll_graph.c - the graph of a plan grows: values and nodes behind the others. */
#include <stdio.h>
#include <string.h>

#include "runtime/compile/unroll.h"

enum { NAME = 256 };
enum { OPSET = 11 }; /* of the nodes made here: axes are attributes */

/* ---- growing ---- */

void *ot_unroll_take(struct unroller *u, int64_t n, size_t size) {
    return ot_arena_alloc(&u->p->arena, (size_t)n, size);
}

ot_status ot_unroll_no_memory(struct unroller *u) { return ot_plan_no_memory(u->err); }

/* The array of n elements, or one with more room. */
static void *grown(struct unroller *u, void *array, int64_t n, int *capacity, size_t size) {
    if (n < *capacity) return array;
    void *more = ot_unroll_take(u, 2 * (int64_t)*capacity + 64, size);
    if (!more) return NULL;
    if (n) memcpy(more, array, (size_t)n * size);
    *capacity = 2 * *capacity + 64;
    return more;
}

ot_status ot_unroll_fail(struct unroller *u, const struct node *n, ot_status status,
                         const char *why) {
    return ot_fail(u->err, status, "node '%.100s' (%.40s): %s", n->name, n->op_type, why);
}

/* A name with the iterations in which it stands, or the name itself. */
static const char *indexed(struct unroller *u, const char *name) {
    char text[NAME];
    if (!u->depth) return name;
    int n = snprintf(text, sizeof text, "%.120s", name);
    for (int l = 0; l < u->depth && n < NAME - 24; l++)
        n += snprintf(text + n, sizeof text - (size_t)n, "[%lld]", (long long)u->level[l].i);
    char *kept = ot_unroll_take(u, n + 1, 1);
    if (kept) memcpy(kept, text, (size_t)n + 1);
    return kept;
}

/* ---- values and nodes ---- */

ot_status ot_unroll_value(struct unroller *u, const struct value *like, int *v) {
    struct graph *g = u->g;
    g->value = grown(u, g->value, g->n_values, &u->value_room, sizeof *g->value);
    const char *name = indexed(u, like->name);
    if (!g->value || !name) return ot_unroll_no_memory(u);
    *v = g->n_values++;
    g->value[*v] = *like;
    g->value[*v].name = name;
    return OT_OK;
}

/* A constant of one element, a scalar or, where `formal` has rank 1, a vector. */
ot_status ot_unroll_number(struct unroller *u, const struct value *formal, ot_type type,
                           int64_t number, int *v) {
    struct tensor *t = ot_unroll_take(u, 1, sizeof *t);
    int64_t *data = ot_unroll_take(u, 1, sizeof *data);
    if (!t || !data) return ot_unroll_no_memory(u);
    *t = (struct tensor){.type = type, .role = OT_ROLE_CONST, .data = data};
    t->rank = formal && formal->rank == 1;
    t->dim[0] = t->rank;
    if (type == OT_BOOL)
        *(uint8_t *)(void *)data = number != 0;
    else
        *data = number;
    struct value value = {.name = formal ? formal->name : "",
                          .kind = OT_VALUE_CONSTANT,
                          .producer = -1,
                          .type = type,
                          .rank = t->rank,
                          .constant = t};
    value.dim[0] = t->rank;
    return ot_unroll_value(u, &value, v);
}

/* What output v of a node of the file is where the walk is: in a body, a new value. */
ot_status ot_unroll_define(struct unroller *u, int v, int *to) {
    *to = v;
    if (v < 0 || !u->depth) return OT_OK;
    OT_TRY(ot_unroll_value(u, &u->file->value[v], to));
    u->map[v] = *to;
    return OT_OK;
}

/* Iterations count as nodes do: one may have none. */
ot_status ot_unroll_check_room(struct unroller *u) {
    const uint64_t most = u->p->request.nodes;
    if ((uint64_t)u->g->n_nodes + u->iterations < most && u->g->n_values < INT32_MAX / 4)
        return OT_OK;
    return ot_fail(u->err, OT_ERROR_LIMIT,
                   "the model has more than %llu nodes with its loops unrolled",
                   (unsigned long long)most);
}

/* A node with these inputs and outputs, which become the graph's. */
ot_status ot_unroll_add(struct unroller *u, struct node node, int *in, int *out) {
    struct graph *g = u->g;
    OT_TRY(ot_unroll_check_room(u));
    g->node = grown(u, g->node, g->n_nodes, &u->node_room, sizeof *g->node);
    node.name = indexed(u, node.name);
    if (!g->node || !node.name) return ot_unroll_no_memory(u);
    node.in = in;
    node.out = out;
    node.body = NULL;
    for (int j = 0; j < node.n_out; j++)
        if (out[j] >= 0) g->value[out[j]].producer = g->n_nodes;
    g->node[g->n_nodes++] = node;
    return OT_OK;
}

/* A node made here: one or more inputs, one output. */
ot_status ot_unroll_made(struct unroller *u, const char *op, const char *name, const char *attr,
                         int64_t axis, const int *x, int64_t n, int y) {
    int *ends = ot_unroll_take(u, n + 1, sizeof *ends);
    struct attr *a = ot_unroll_take(u, 1, sizeof *a);
    int64_t *axes = ot_unroll_take(u, 1, sizeof *axes);
    if (!ends || !a || !axes) return ot_unroll_no_memory(u);
    *axes = axis;
    *a = (struct attr){.name = attr, .kind = OT_ATTR_INT, .i = axis};
    if (attr && !strcmp(attr, "axes"))
        *a = (struct attr){.name = attr, .kind = OT_ATTR_INTS, .n = 1, .ints = axes};
    memcpy(ends, x, (size_t)n * sizeof *ends);
    ends[n] = y;
    return ot_unroll_add(u,
                         (struct node){.name = name,
                                       .op_type = op,
                                       .domain = "",
                                       .opset = OPSET,
                                       .n_in = (int)n,
                                       .n_out = 1,
                                       .n_attr = attr != NULL,
                                       .attr = a},
                         ends, ends + n);
}
