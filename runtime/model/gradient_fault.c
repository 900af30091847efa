/* gradient_fault.c - whether a Gradient node says what it means. */
#include "runtime/model/gradient_fault.h"

#include <string.h>

/* The i-th name of both lists; NULL behind the last. */
static const char *listed(const struct attr *xs, const struct attr *zs, int i) {
    const int n = xs ? (int)xs->n : 0;
    if (i < n) return xs->strings[i];
    return zs && i - n < zs->n ? zs->strings[i - n] : NULL;
}

const char *ot_gradient_fault(const struct graph *g, const struct node *n, int *y) {
    const struct attr *xs = ot_attr(n, "xs"), *zs = ot_attr(n, "zs");
    const char *name = ot_attr_string(n, "y", "");
    for (int i = 0; i < n->n_in; i++) {
        const char *x = listed(xs, zs, i);
        if (!x || n->in[i] < 0 || strcmp(x, g->value[n->in[i]].name) != 0)
            return "its inputs are not those of xs and zs";
    }
    if (listed(xs, zs, n->n_in)) return "it has fewer inputs than xs and zs";
    if (!xs || n->n_out > xs->n) return "it has more outputs than xs";
    *y = 0;
    while (*y < g->n_values && strcmp(g->value[*y].name, name) != 0) ++*y;
    if (*y == g->n_values) return "attribute 'y' names no value";
    return g->value[*y].producer < 0 ? "attribute 'y' names no output of a node" : NULL;
}
