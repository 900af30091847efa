/* uses.c - how often the graph that is written reads each name. Subgraphs share the names of
 * the graph around them; local functions have their own. */
#include <stdio.h>
#include <string.h>

#include "onnx/export/uses.h"

static ot_status note_name(struct uses *u, const char *name, int uses) {
    if (!name || !*name) return OT_OK;
    const int before = ot_names_get(&u->names, u->scope, name);
    if (before != OT_NO_NAME) uses += before;
    if (ot_names_set(&u->names, u->scope, name, uses)) return OT_OK;
    return ot_fail(u->job->err, OT_ERROR_NO_MEMORY, "no memory for the names of the graph");
}

static ot_status note_graph(struct uses *u, const Onnx__GraphProto *g);

/* The scan that let the model in has bounded how deep graphs nest. */
static ot_status note_nodes(struct uses *u, Onnx__NodeProto *const *node, size_t n) {
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < node[k]->n_input; i++) OT_TRY(note_name(u, node[k]->input[i], 1));
        for (size_t i = 0; i < node[k]->n_output; i++) OT_TRY(note_name(u, node[k]->output[i], 0));
        for (size_t i = 0; i < node[k]->n_attribute; i++) {
            const Onnx__AttributeProto *a = node[k]->attribute[i];
            if (a->g) OT_TRY(note_graph(u, a->g));
            for (size_t j = 0; j < a->n_graphs; j++) OT_TRY(note_graph(u, a->graphs[j]));
        }
    }
    return OT_OK;
}

static ot_status note_graph(struct uses *u, const Onnx__GraphProto *g) {
    OT_TRY(note_nodes(u, g->node, g->n_node));
    for (size_t i = 0; i < g->n_input; i++) OT_TRY(note_name(u, g->input[i]->name, 0));
    for (size_t i = 0; i < g->n_output; i++) OT_TRY(note_name(u, g->output[i]->name, 1));
    for (size_t i = 0; i < g->n_initializer; i++) OT_TRY(note_name(u, g->initializer[i]->name, 0));
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        if (g->sparse_initializer[i]->values)
            OT_TRY(note_name(u, g->sparse_initializer[i]->values->name, 0));
    for (size_t i = 0; i < g->n_value_info; i++) OT_TRY(note_name(u, g->value_info[i]->name, 0));
    return OT_OK;
}

static ot_status note_function(struct uses *u, const Onnx__FunctionProto *p) {
    for (size_t i = 0; i < p->n_input; i++) OT_TRY(note_name(u, p->input[i], 0));
    for (size_t i = 0; i < p->n_output; i++) OT_TRY(note_name(u, p->output[i], 1));
    return note_nodes(u, p->node, p->n_node);
}

ot_status ot_uses_find(struct uses *u, struct export_job *job) {
    *u = (struct uses){.job = job};
    ot_names_init(&u->names, &job->small, job->g->hash);
    for (size_t i = 0; i < job->model->n_functions; i++) {
        u->scope = i + 1;
        OT_TRY(note_function(u, job->model->functions[i]));
    }
    u->scope = 0;
    return note_graph(u, job->graph);
}

int ot_uses_of(const struct uses *u, const char *name) {
    const int uses = *name ? ot_names_get(&u->names, u->scope, name) : OT_NO_NAME;
    return uses == OT_NO_NAME ? 0 : uses;
}

void ot_uses_drop(struct uses *u, const char *name) {
    const int uses = ot_uses_of(u, name);
    if (*name) ot_names_set(&u->names, u->scope, name, uses > 1 ? uses - 1 : OT_DROPPED);
}

bool ot_uses_is_dropped(const struct uses *u, const char *name) {
    return name && *name && ot_uses_of(u, name) == OT_DROPPED;
}

ot_status ot_uses_fresh(struct uses *u, const char *stem, const char *word, char **name) {
    void *memory;
    size_t size = strlen(stem) + strlen(word) + 24;
    OT_TRY(ot_export_alloc(u->job, size, 1, &memory));
    *name = memory;
    snprintf(*name, size, "%s%s%s", stem, *stem ? "_" : "", word);
    for (int i = 1; ot_names_get(&u->names, u->scope, *name) != OT_NO_NAME; i++)
        snprintf(*name, size, "%s%s%s_%d", stem, *stem ? "_" : "", word, i);
    return note_name(u, *name, 0);
}
