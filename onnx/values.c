/* values.c - initializers, inputs and outputs of the graph become values. */
#include "onnx/model.h"

#include <string.h>

ot_status ot_values_add(struct import *im, uint64_t scope, const char *known_as, const char *prefix,
                        const char *name, enum value_kind kind, int *value) {
    struct graph *g = im->g;
    const size_t n = strlen(prefix), m = strlen(name);
    char *kept = ot_small_alloc(&im->kept, n + m + 1, 1);
    if (!kept) return ot_import_no_room(im, &g->arena, n + m + 1);
    memcpy(kept, prefix, n);
    memcpy(kept + n, name, m);
    if (n && ot_names_get(&im->names, SCOPE_GRAPH, kept) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "the name '%.160s' is already used", kept);
    if (!ot_names_set(&im->names, scope, known_as, g->n_values) ||
        (n && !ot_names_set(&im->names, SCOPE_GRAPH, kept, g->n_values)))
        return ot_import_no_room(im, &im->scratch, 0);
    if ((size_t)g->n_values >= im->max_values)
        return ot_import_fail(im, OT_ERROR_LIMIT, "internal error: more values than were counted");
    *value = g->n_values++;
    g->value[*value] = (struct value){.name = kept, .kind = kind, .producer = -1, .rank = -1};
    return OT_OK;
}

static ot_status check_new(struct import *im, uint64_t scope, const char *name) {
    if (!name || !*name) return ot_import_fail(im, OT_ERROR_INVALID, "the name is missing");
    if (ot_names_get(&im->names, scope, name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "the name '%s' occurs twice", name);
    return OT_OK;
}

static void set_shape(struct value *v, const struct tensor *shape, ot_type file_type) {
    v->type = file_type;
    v->rank = shape->rank;
    memcpy(v->dim, shape->dim, sizeof v->dim);
}

ot_status ot_values_initializer(struct import *im, uint64_t scope, const char *prefix,
                                Onnx__TensorProto *t, bool exportable) {
    struct tensor shape;
    ot_type type;
    int v;
    OT_TRY(check_new(im, scope, t->name));
    OT_TRY(ot_payload_check(im, t, &shape, &type));
    OT_TRY(ot_values_add(im, scope, t->name, prefix, t->name, OT_VALUE_INITIALIZER, &v));
    set_shape(&im->g->value[v], &shape, type);
    im->g->value[v].exportable = exportable;
    im->source[v].tensor = t;
    return OT_OK;
}

ot_status ot_values_sparse_initializer(struct import *im, uint64_t scope, const char *prefix,
                                       Onnx__SparseTensorProto *s, bool exportable) {
    struct tensor shape;
    ot_type type;
    enum value_spelling spelling;
    int v;
    const char *name = s->values ? s->values->name : NULL;
    OT_TRY(check_new(im, scope, name));
    OT_TRY(ot_sparse_check(im, s, &shape, &type, &spelling));
    OT_TRY(ot_values_add(im, scope, name, prefix, name, OT_VALUE_INITIALIZER, &v));
    set_shape(&im->g->value[v], &shape, type);
    im->g->value[v].exportable = exportable;
    im->g->value[v].spelling = spelling;
    im->source[v].sparse = s;
    return OT_OK;
}

/* ---- types ---- */

/* Does a dimension have a size that no tensor can have? Exporters mean a free one by it. */
static bool is_misspelt(const Onnx__TensorShapeProto__Dimension *d) {
    return d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
           d->dim_value <= 0;
}

/* A dimension of a declared shape: -1 where it is free. */
static ot_status read_dim(struct import *im, const Onnx__TensorShapeProto__Dimension *d,
                          int64_t *dim) {
    *dim = -1;
    if (d->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE || is_misspelt(d))
        return OT_OK;
    *dim = d->dim_value;
    if ((uint64_t)*dim > im->options->limits.tensor_elements)
        return ot_import_fail(im, OT_ERROR_INVALID, "a dimension is %lld, expected at least 0",
                              (long long)*dim);
    return OT_OK;
}

/* Logs that a dimension of an input or output is taken as free. */
static void note_misspelt(struct import *im, const char *what, const Onnx__ValueInfoProto *p) {
    const Onnx__TypeProto *type = p->type;
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return;
    const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
    for (size_t i = 0; shape && i < shape->n_dim; i++)
        if (is_misspelt(shape->dim[i]))
            ot_log(&im->options->log, OT_LOG_WARNING,
                   "%s '%.80s': dimension %zu is %lld, which is treated as free", what,
                   p->name ? p->name : "", i, (long long)shape->dim[i]->dim_value);
}

static ot_status read_shape(struct import *im, const Onnx__TensorShapeProto *shape,
                            struct value *v) {
    if (shape->n_dim > OT_MAX_RANK)
        return ot_import_fail(im, OT_ERROR_LIMIT, "the rank is %zu, at most %d is allowed",
                              shape->n_dim, OT_MAX_RANK);
    for (size_t i = 0; i < shape->n_dim; i++) OT_TRY(read_dim(im, shape->dim[i], &v->dim[i]));
    v->rank = (int)shape->n_dim;
    return OT_OK;
}

/* Fills type, rank and dim of *v. */
static ot_status read_type(struct import *im, const Onnx__TypeProto *type, struct value *v) {
    if (!type || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
        return ot_import_fail(im, OT_ERROR_INVALID, "the type is missing");
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED,
                              "the type is a sparse tensor, a sequence, a map or an optional, "
                              "which is not supported");
    const Onnx__TypeProto__Tensor *t = type->tensor_type;
    if (!t->has_elem_type || t->elem_type <= 0)
        return ot_import_fail(im, OT_ERROR_INVALID, "the element type is missing");
    v->type = (ot_type)t->elem_type;
    return t->shape ? read_shape(im, t->shape, v) : OT_OK;
}

ot_status ot_values_formal(struct import *im, uint64_t scope, const char *prefix,
                           const Onnx__ValueInfoProto *p, int *value) {
    struct value declared = {.rank = -1};
    OT_TRY(check_new(im, scope, p->name));
    if (p->type && p->type->value_case != ONNX__TYPE_PROTO__VALUE__NOT_SET)
        OT_TRY(read_type(im, p->type, &declared));
    OT_TRY(ot_values_add(im, scope, p->name, prefix, p->name, OT_VALUE_FORMAL, value));
    struct value *v = &im->g->value[*value];
    v->type = declared.type;
    v->rank = declared.rank;
    memcpy(v->dim, declared.dim, sizeof v->dim);
    return OT_OK;
}

/* An input that an initializer gives the default value: both must say the same. */
static ot_status check_same(struct import *im, const struct value *declared,
                            const struct value *v) {
    bool same = declared->type == v->type && (declared->rank < 0 || declared->rank == v->rank);
    for (int i = 0; same && i < declared->rank; i++)
        same = declared->dim[i] < 0 || declared->dim[i] == v->dim[i];
    return same ? OT_OK
                : ot_import_fail(im, OT_ERROR_INVALID,
                                 "its type or shape is not that of its initializer");
}

static ot_status add_input(struct import *im, const Onnx__ValueInfoProto *p, int *input, int *n) {
    struct graph *g = im->g;
    struct value declared = {.rank = -1};
    int v;
    if (!p->name || !*p->name) return ot_import_fail(im, OT_ERROR_INVALID, "the name is missing");
    int known = ot_names_get(&im->names, SCOPE_GRAPH, p->name);
    if (ot_names_get(&im->names, SCOPE_INPUT, p->name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "it occurs twice");
    if (!ot_names_set(&im->names, SCOPE_INPUT, p->name, 0))
        return ot_import_no_room(im, &im->scratch, 0);
    OT_TRY(read_type(im, p->type, &declared));
    note_misspelt(im, "input", p);
    if (known == VALUE_FAULTY) return OT_OK;
    if (known >= 0 && ot_fix_names(im, p->name)) return ot_fix_input(im, &g->value[known], known);
    if (known >= 0) return check_same(im, &declared, &g->value[known]);
    OT_TRY(ot_values_add(im, SCOPE_GRAPH, p->name, "", p->name, OT_VALUE_INPUT, &v));
    g->value[v].type = declared.type;
    g->value[v].rank = declared.rank;
    memcpy(g->value[v].dim, declared.dim, sizeof declared.dim);
    if (ot_fix_names(im, p->name)) return ot_fix_input(im, &declared, v);
    input[(*n)++] = v;
    return OT_OK;
}

/* ---- the lists of the graph ---- */

/* Room for all values, nodes, inputs and outputs. */
static ot_status make_tables(struct import *im) {
    const Onnx__GraphProto *p = im->model->graph, *a = im->algorithm;
    struct graph *g = im->g;
    const size_t more = p->n_initializer + p->n_sparse_initializer + p->n_input + p->n_output +
                        (a ? a->n_initializer + a->n_sparse_initializer + a->n_input : 0);
    if (!ot_add(im->max_values, more, &im->max_values) || im->max_values > INT32_MAX / 2)
        return ot_import_fail(im, OT_ERROR_LIMIT, "the model has more than %d values",
                              INT32_MAX / 2);
    im->max_nodes += p->n_output; /* an Identity each, where two names stand for one value */
    OT_TRY(ot_import_expand(
        im, im->max_values * sizeof *g->value + (uint64_t)im->max_nodes * sizeof *g->node,
        "values and nodes"));
    g->value = ot_arena_alloc(&g->arena, im->max_values, sizeof *g->value);
    g->node = ot_arena_alloc(&g->arena, im->max_nodes, sizeof *g->node);
    g->input = ot_arena_alloc(&g->arena, p->n_input, sizeof *g->input);
    g->output = ot_arena_alloc(&g->arena, p->n_output, sizeof *g->output);
    im->source = ot_arena_alloc(&im->scratch, im->max_values, sizeof *im->source);
    if (!g->value || !g->node || !g->input || !g->output)
        return ot_import_no_room(im, &g->arena, im->max_values * sizeof *g->value);
    if (!im->source)
        return ot_import_no_room(im, &im->scratch, im->max_values * sizeof *im->source);
    return OT_OK;
}

/* Names the list entry in the failure at hand. */
static ot_status in_list(struct import *im, ot_status status, const char *place, const char *list,
                         size_t i, const char *name) {
    if (!status) return OT_OK;
    if (name && ot_names_get(&im->names, SCOPE_GRAPH, name) == OT_NO_NAME)
        (void)ot_names_set(&im->names, SCOPE_GRAPH, name, VALUE_FAULTY);
    return ot_import_problem(
        im, ot_fail_in(&im->last, status, "%s/%s[%zu] '%.80s'", place, list, i, name ? name : ""));
}

/* Before IR 4 an initializer had to be an input too. Files that break this run everywhere. */
static void check_old_initializers(struct import *im) {
    const Onnx__GraphProto *p = im->model->graph;
    if (im->g->ir_version >= 4) return;
    for (size_t i = 0; i < p->n_initializer; i++)
        if (p->initializer[i]->name &&
            ot_names_get(&im->names, SCOPE_INPUT, p->initializer[i]->name) == OT_NO_NAME) {
            ot_log(&im->options->log, OT_LOG_WARNING,
                   "initializer '%.80s' is not a graph input, which IR version %lld requires",
                   p->initializer[i]->name, (long long)im->g->ir_version);
            return;
        }
}

ot_status ot_values_lists(struct import *im, const Onnx__GraphProto *p, const char *place,
                          bool exportable, int *input, int *n) {
    for (size_t i = 0; i < p->n_initializer; i++)
        OT_TRY(in_list(im,
                       ot_values_initializer(im, SCOPE_GRAPH, "", p->initializer[i], exportable),
                       place, "initializer", i, p->initializer[i]->name));
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        Onnx__SparseTensorProto *s = p->sparse_initializer[i];
        OT_TRY(in_list(im, ot_values_sparse_initializer(im, SCOPE_GRAPH, "", s, exportable), place,
                       "sparse_initializer", i, s->values ? s->values->name : NULL));
    }
    for (size_t i = 0; i < p->n_input; i++)
        OT_TRY(in_list(im, add_input(im, p->input[i], input, n), place, "input", i,
                       p->input[i]->name));
    return OT_OK;
}

ot_status ot_values_declare(struct import *im) {
    OT_TRY(make_tables(im));
    OT_TRY(ot_values_lists(im, im->model->graph, "graph", true, im->g->input, &im->g->n_inputs));
    check_old_initializers(im);
    return im->problems ? OT_OK : ot_fix_check(im);
}

/* A hint is taken where nothing is known yet, and never believed. */
static void hint(struct import *im, const Onnx__ValueInfoProto *p) {
    int v = p->name ? ot_names_get(&im->names, SCOPE_GRAPH, p->name) : OT_NO_NAME;
    struct value found = {.rank = -1};
    if (v < 0 || im->g->value[v].kind != OT_VALUE_NODE || im->g->value[v].type) return;
    if (read_type(im, p->type, &found)) return;
    im->g->value[v].type = found.type;
    im->g->value[v].rank = found.rank;
    memcpy(im->g->value[v].dim, found.dim, sizeof found.dim);
}

void ot_values_hint(struct import *im, int v) {
    const Onnx__GraphProto *p = im->model->graph;
    for (size_t i = 0; i < p->n_value_info && !im->hints_named; i++)
        if (p->value_info[i]->name)
            (void)ot_names_set(&im->names, SCOPE_HINT, p->value_info[i]->name, (int)i);
    im->hints_named = true;
    const int k = ot_names_get(&im->names, SCOPE_HINT, im->g->value[v].name);
    if (k >= 0) hint(im, p->value_info[k]);
}

void ot_values_hints(struct import *im) {
    const Onnx__GraphProto *p = im->model->graph;
    for (size_t i = 0; i < p->n_output; i++) hint(im, p->output[i]);
    for (size_t i = 0; i < p->n_value_info; i++) {
        hint(im, p->value_info[i]);
        ot_note_read(im, p->value_info[i]);
    }
}

/* Another name for a value, made by an Identity behind all nodes: folding took the node that gave
 * the output its name. */
static ot_status rename_output(struct import *im, const char *name, int from, int *to) {
    struct graph *g = im->g;
    struct node *n = &g->node[g->n_nodes];
    int opset = ot_names_get(&im->names, SCOPE_OPSET(-1), "");
    int *ends = ot_small_alloc(&im->kept, 2, sizeof *ends);
    if (!ends) return ot_import_no_room(im, &g->arena, sizeof *ends);
    OT_TRY(ot_values_add(im, SCOPE_GRAPH, name, "", name, OT_VALUE_NODE, to));
    ends[0] = from;
    ends[1] = *to;
    *n = (struct node){.name = "",
                       .op_type = "Identity",
                       .domain = "",
                       .opset = opset > 0 ? opset : OT_NEWEST_OPSET,
                       .n_in = 1,
                       .n_out = 1,
                       .in = ends,
                       .out = ends + 1};
    g->value[*to].producer = g->n_nodes++;
    return OT_OK;
}

static ot_status add_output(struct import *im, const char *name) {
    struct graph *g = im->g;
    if (!name || !*name) return ot_import_fail(im, OT_ERROR_INVALID, "the name is missing");
    if (ot_names_get(&im->names, SCOPE_OUTPUT, name) != OT_NO_NAME)
        return ot_import_fail(im, OT_ERROR_INVALID, "it occurs twice");
    if (!ot_names_set(&im->names, SCOPE_OUTPUT, name, 0))
        return ot_import_no_room(im, &im->scratch, 0);
    int v = ot_names_get(&im->names, SCOPE_GRAPH, name);
    if (v == VALUE_FAULTY) return OT_OK;
    if (v < 0) return ot_import_fail(im, OT_ERROR_INVALID, "no node computes it");
    if (g->value[v].kind == OT_VALUE_SEQUENCE)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "it is a sequence, which is not supported");
    if (strcmp(g->value[v].name, name) != 0) OT_TRY(rename_output(im, name, v, &v));
    g->output[g->n_outputs++] = v;
    return OT_OK;
}

ot_status ot_values_outputs(struct import *im) {
    const Onnx__GraphProto *p = im->model->graph;
    for (size_t i = 0; i < p->n_output; i++) {
        note_misspelt(im, "output", p->output[i]);
        OT_TRY(in_list(im, add_output(im, p->output[i]->name), "graph", "output", i,
                       p->output[i]->name));
    }
    return OT_OK;
}
