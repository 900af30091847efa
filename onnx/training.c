/* training.c - the algorithm of training_info. Its initializers, inputs and nodes follow those of
 * the graph and see its names, as the standard says; the graph keeps them apart. */
#include "onnx/walk.h"

#include <string.h>

#define PLACE "training_info/algorithm"

ot_status ot_training_find(struct import *im) {
    const Onnx__ModelProto *m = im->model;
    im->g->training_steps = (int)m->n_training_info;
    if (!im->options->training || !m->n_training_info) return OT_OK;
    if (m->n_training_info > 1)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "training_info has %zu steps, expected one",
                              m->n_training_info);
    const Onnx__GraphProto *p = m->training_info[0]->algorithm;
    if (p && p->n_node) im->algorithm = p; /* an empty one updates nothing */
    return OT_OK;
}

/* A dense moment of a sparse weight has its zeros, and so have masks. */
static void compress_zeros(struct import *im, int from) {
    for (int v = from; v < im->g->n_values; v++)
        if (im->g->value[v].kind == OT_VALUE_INITIALIZER && im->g->value[v].rank > 1)
            im->source[v].use = USE_ROWS;
}

static ot_status note_names(struct import *im, uint64_t scope, const Onnx__GraphProto *p) {
    for (size_t i = 0; p && i < p->n_output; i++)
        if (p->output[i]->name && !ot_names_set(&im->names, scope, p->output[i]->name, 0))
            return ot_import_no_room(im, &im->scratch, 0);
    return OT_OK;
}

/* ---- bindings ---- */

static ot_status fail_binding(struct import *im, const char *list, const char *key,
                              const char *why) {
    return ot_import_fail(im, OT_ERROR_INVALID, "training_info/%s '%.80s': %s", list, key, why);
}

/* The initializer that an entry changes. */
static ot_status find_key(struct import *im, const char *list, uint64_t scope, const char *key,
                          int *v) {
    *v = ot_names_get(&im->names, SCOPE_GRAPH, key);
    if (*v < 0 || im->g->value[*v].kind != OT_VALUE_INITIALIZER)
        return fail_binding(im, list, key, "there is no such initializer");
    if (ot_names_get(&im->names, scope, key) != OT_NO_NAME)
        return fail_binding(im, list, key, "it occurs twice");
    return ot_names_set(&im->names, scope, key, 0) ? OT_OK : ot_import_no_room(im, &im->scratch, 0);
}

static ot_status read_updates(struct import *im, const Onnx__TrainingInfoProto *p,
                              struct algorithm *a) {
    static const char list[] = "update_binding";
    a->binding = ot_small_alloc(&im->kept, p->n_update_binding, sizeof *a->binding);
    if (!a->binding)
        return ot_import_no_room(im, &im->g->arena, p->n_update_binding * sizeof *a->binding);
    OT_TRY(note_names(im, SCOPE_UPDATE, p->algorithm));
    OT_TRY(note_names(im, SCOPE_UPDATE, im->model->graph));
    for (size_t i = 0; i < p->n_update_binding; i++) {
        const Onnx__StringStringEntryProto *e = p->update_binding[i];
        const char *key = e->key ? e->key : "", *from = e->value ? e->value : "";
        struct binding *b = &a->binding[a->n_bindings++];
        OT_TRY(find_key(im, list, SCOPE_UPDATE_KEY, key, &b->key));
        b->from = ot_names_get(&im->names, SCOPE_GRAPH, from);
        if (b->from < 0 || ot_names_get(&im->names, SCOPE_UPDATE, from) == OT_NO_NAME)
            return fail_binding(im, list, key, "its value is not an output of algorithm or graph");
    }
    return OT_OK;
}

/* Initialization is not run: training goes on from what the initializers hold. */
static ot_status check_initialization(struct import *im, const Onnx__TrainingInfoProto *p) {
    static const char list[] = "initialization_binding";
    int v;
    OT_TRY(note_names(im, SCOPE_INITIALIZATION, p->initialization));
    for (size_t i = 0; i < p->n_initialization_binding; i++) {
        const Onnx__StringStringEntryProto *e = p->initialization_binding[i];
        const char *key = e->key ? e->key : "";
        OT_TRY(find_key(im, list, SCOPE_INITIALIZATION_KEY, key, &v));
        if (ot_names_get(&im->names, SCOPE_INITIALIZATION, e->value ? e->value : "") == OT_NO_NAME)
            return fail_binding(im, list, key, "its value is not an output of initialization");
    }
    return OT_OK;
}

ot_status ot_training_read(struct import *im) {
    struct graph *g = im->g;
    const Onnx__GraphProto *p = im->algorithm;
    const int values = g->n_values, nodes = g->n_nodes;
    if (!p) return OT_OK;
    struct algorithm *a = ot_small_alloc(&im->kept, 1, sizeof *a);
    if (!a) return ot_import_no_room(im, &g->arena, sizeof *a);
    a->input = ot_small_alloc(&im->kept, p->n_input, sizeof *a->input);
    if (!a->input) return ot_import_no_room(im, &g->arena, p->n_input * sizeof *a->input);
    OT_TRY(ot_values_lists(im, p, PLACE, false, a->input, &a->n_inputs));
    compress_zeros(im, values);
    g->n_nodes = g->all_nodes;
    OT_TRY(ot_nodes_walk_graph(im, p, PLACE));
    a->end = g->n_nodes;
    a->first_value = values;
    g->n_nodes = nodes;
    g->algorithm = a;
    OT_TRY(read_updates(im, im->model->training_info[0], a));
    return check_initialization(im, im->model->training_info[0]);
}
