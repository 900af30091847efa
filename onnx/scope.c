/* scope.c - what a name means in the graph, in a call of a function, or in a branch. */
#include "onnx/walk.h"

#include <stdio.h>
#include <string.h>

/* What a name in the top frame is called in the graph, *prefix before it: formal outputs have the
 * name that the caller gives them, everything else in a function a name of its own. What a branch
 * makes of constants keeps the name of its place, for export to find it. */
static const char *name_in_graph(const struct walker *w, const char *name, enum value_kind kind,
                                 const char **prefix, char *buffer, size_t size) {
    *prefix = "";
    for (int level = w->top; level > 0; level--) {
        const struct frame *f = &w->frame[level];
        int k = ot_names_get(&w->im->names, f->scope + 1, name);
        const bool formal = k >= 0 && (size_t)k < f->call->n_output && *f->call->output[k];
        if (f->branch && !f->function && (!formal || kind == OT_VALUE_CONSTANT)) {
            *prefix = f->prefix;
            return name;
        }
        if (!formal) {
            int number = w->im->g->n_values;
            do {
                snprintf(buffer, size, "%.*s/%.*s#%d", OT_SHORT_NAME, f->function->proto->name,
                         OT_SHORT_NAME, name, number++);
            } while (ot_names_get(&w->im->names, SCOPE_GRAPH, buffer) != OT_NO_NAME);
            return buffer;
        }
        name = f->call->output[k];
    }
    return name;
}

ot_status ot_walk_output(struct walker *w, const char *name, enum value_kind kind, int *v) {
    struct import *im = w->im;
    const uint64_t scope = w->frame[w->top].scope;
    char buffer[2 * OT_SHORT_NAME + 16];
    const char *prefix;
    if (ot_names_get(&im->names, scope, name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "output '%.80s' has a name that is already used", name);
    const char *own = name_in_graph(w, name, kind, &prefix, buffer, sizeof buffer);
    return ot_values_add(im, scope, name, prefix, own, kind, v);
}

ot_status ot_walk_alias(struct walker *w, uint64_t scope, const char *name, int v) {
    struct import *im = w->im;
    if (ot_names_get(&im->names, scope, name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "output '%.80s' has a name that is already used", name);
    return ot_names_set(&im->names, scope, name, v) ? OT_OK
                                                    : ot_import_no_room(im, &im->scratch, 0);
}

void ot_walk_faulty(struct walker *w, const Onnx__NodeProto *p, int first) {
    const uint64_t scope = w->frame[w->top].scope;
    for (size_t k = 0; k < p->n_output; k++) {
        const int v = ot_names_get(&w->im->names, scope, p->output[k]);
        if (v == OT_NO_NAME || v >= first)
            (void)ot_names_set(&w->im->names, scope, p->output[k], VALUE_FAULTY);
    }
}

static ot_status undefined(struct walker *w, const char *name) {
    const struct frame *f = &w->frame[w->top];
    bool later = false;
    for (size_t i = f->i - 1; i < f->n && !later; i++)
        for (size_t k = 0; k < f->node[i]->n_output && !later; k++)
            later = !strcmp(f->node[i]->output[k], name);
    return ot_import_fail(w->im, OT_ERROR_INVALID,
                          later ? "input '%.80s' comes from this node or a later one: nodes must "
                                  "be in topological order, without cycles"
                                : "input '%.80s' is not defined",
                          name);
}

ot_status ot_walk_input(struct walker *w, const char *name, int *v) {
    *v = VALUE_ABSENT;
    if (!*name) return OT_OK;
    int level = w->top;
    *v = ot_names_get(&w->im->names, w->frame[level].scope, name);
    while (*v == OT_NO_NAME && w->frame[level].branch)
        *v = ot_names_get(&w->im->names, w->frame[--level].scope, name);
    return *v == OT_NO_NAME ? undefined(w, name) : OT_OK;
}
