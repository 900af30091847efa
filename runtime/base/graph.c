/* graph.c - attribute access. */
#include "runtime/base/graph.h"

#include "runtime/base/pattern.h"

#include <string.h>

void ot_graph_free(struct graph *g) {
    if (!g) return;
    for (int i = 0; i < g->n_values; i++) {
        if (g->value[i].constant) ot_pattern_unref(g->value[i].constant->pattern);
        ot_pattern_unref(g->value[i].open);
    }
    struct arena arena = g->arena; /* g itself lives in it */
    ot_arena_free(&arena);
}

const struct attr *ot_attr(const struct node *n, const char *name) {
    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
    return NULL;
}

int64_t ot_attr_int(const struct node *n, const char *name, int64_t otherwise) {
    const struct attr *a = ot_attr(n, name);
    return a ? a->i : otherwise;
}

float ot_attr_float(const struct node *n, const char *name, float otherwise) {
    const struct attr *a = ot_attr(n, name);
    return a ? a->f : otherwise;
}

const char *ot_attr_string(const struct node *n, const char *name, const char *otherwise) {
    const struct attr *a = ot_attr(n, name);
    return a ? a->s : otherwise;
}

const int64_t *ot_attr_ints(const struct node *n, const char *name, int *count) {
    const struct attr *a = ot_attr(n, name);
    *count = a ? (int)a->n : 0;
    return a ? a->ints : NULL;
}
