/* training.c - the algorithm of a session becomes the model's training_info, in place of
 * what the file had. Its values with a number below the graph's own are the model's. */
#include <string.h>

#include "onnx/export/parts.h"

enum { TRAINING_IR = 7 };
#define DOMAIN "ai.onnx.preview.training"

static const struct value *value_of(const struct export_job *job, int v) {
    return &job->request->algorithm->value[v];
}

/* list, n of them, in memory of the job, with entries of `size` bytes in one block behind it. */
static ot_status make_list(struct export_job *job, size_t n, size_t size, void *list) {
    void *pointers, *block;
    OT_TRY(ot_export_alloc(job, n, sizeof(void *), &pointers));
    OT_TRY(ot_export_alloc(job, n, size, &block));
    for (size_t i = 0; i < n; i++) ((void **)pointers)[i] = (char *)block + i * size;
    memcpy(list, &pointers, sizeof pointers);
    return OT_OK;
}

/* ---- types ---- */

static ot_status put_shape(struct export_job *job, const struct value *v,
                           Onnx__TensorShapeProto *shape) {
    onnx__tensor_shape_proto__init(shape);
    shape->n_dim = (size_t)v->rank;
    OT_TRY(make_list(job, shape->n_dim, sizeof **shape->dim, &shape->dim));
    for (int i = 0; i < v->rank; i++) {
        onnx__tensor_shape_proto__dimension__init(shape->dim[i]);
        if (v->dim[i] < 0) continue;
        shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        shape->dim[i]->dim_value = v->dim[i];
    }
    return OT_OK;
}

static ot_status put_info(struct export_job *job, int number, Onnx__ValueInfoProto *info) {
    const struct value *v = value_of(job, number);
    struct {
        Onnx__TypeProto type;
        Onnx__TypeProto__Tensor tensor;
        Onnx__TensorShapeProto shape;
    } * memory;
    void *block;
    OT_TRY(ot_export_alloc(job, 1, sizeof *memory, &block));
    memory = block;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(&memory->type);
    onnx__type_proto__tensor__init(&memory->tensor);
    info->name = (char *)v->name;
    info->type = &memory->type;
    memory->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    memory->type.tensor_type = &memory->tensor;
    memory->tensor.has_elem_type = 1;
    memory->tensor.elem_type = v->type;
    if (v->rank < 0) return OT_OK;
    memory->tensor.shape = &memory->shape;
    return put_shape(job, v, &memory->shape);
}

/* ---- initializers ---- */

static bool is_sparse(const struct export_job *job, const struct value *v) {
    const ot_export_sparse sparse = job->request->options.sparse;
    return v->constant->pattern && sparse != OT_EXPORT_SPARSE_DENSE &&
           (sparse == OT_EXPORT_SPARSE_INITIALIZER || v->spelling != OT_SPELL_DENSE);
}

static ot_status put_integer(struct export_job *job, const struct tensor *t, Onnx__TensorProto *p) {
    void *data;
    OT_TRY(ot_export_alloc(job, 1, sizeof(int64_t), &data));
    memcpy(data, t->data, sizeof(int64_t));
    p->raw_data.data = data;
    p->raw_data.len = sizeof(int64_t);
    return OT_OK;
}

/* A tensor of floats, or one integer. */
static ot_status put_initializer(struct export_job *job, const struct value *v,
                                 Onnx__GraphProto *graph) {
    void *memory;
    OT_TRY(ot_export_alloc(job, 1, sizeof(Onnx__TensorProto), &memory));
    Onnx__TensorProto *p = memory;
    onnx__tensor_proto__init(p);
    p->name = (char *)v->name;
    p->has_data_type = p->has_raw_data = 1;
    p->data_type = v->type;
    if (!is_sparse(job, v)) {
        graph->initializer[graph->n_initializer++] = p;
        return v->type == OT_INT64 ? put_integer(job, v->constant, p)
                                   : ot_export_put_dense(job, p, v->constant, NULL);
    }
    OT_TRY(ot_export_alloc(job, 1, sizeof(Onnx__SparseTensorProto), &memory));
    Onnx__SparseTensorProto *s = memory;
    onnx__sparse_tensor_proto__init(s);
    s->values = p;
    graph->sparse_initializer[graph->n_sparse_initializer++] = s;
    return ot_export_put_sparse(job, s, v->constant, v->spelling == OT_SPELL_SPARSE_COO);
}

static ot_status put_initializers(struct export_job *job, Onnx__GraphProto *graph) {
    const struct graph *a = job->request->algorithm;
    const size_t n = (size_t)(a->n_values - job->g->n_values);
    void *dense, *sparse;
    OT_TRY(ot_export_alloc(job, n, sizeof(void *), &dense));
    OT_TRY(ot_export_alloc(job, n, sizeof(void *), &sparse));
    graph->initializer = dense;
    graph->sparse_initializer = sparse;
    for (int v = job->g->n_values; v < a->n_values; v++)
        if (a->value[v].constant) OT_TRY(put_initializer(job, &a->value[v], graph));
    return OT_OK;
}

/* ---- nodes ---- */

static void put_bytes(ProtobufCBinaryData *to, const char *s) {
    to->data = (uint8_t *)(uintptr_t)s; /* nobody writes through it */
    to->len = strlen(s);
}

static ot_status put_attribute(struct export_job *job, const struct attr *a,
                               Onnx__AttributeProto *p) {
    onnx__attribute_proto__init(p);
    p->name = (char *)a->name;
    p->has_type = 1;
    if (a->kind == OT_ATTR_INT) {
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        p->has_i = 1;
        p->i = a->i;
    } else if (a->kind == OT_ATTR_FLOAT) {
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        p->has_f = 1;
        p->f = a->f;
    } else if (a->kind == OT_ATTR_STRING) {
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        p->has_s = 1;
        put_bytes(&p->s, a->s);
    } else {
        void *list;
        OT_TRY(ot_export_alloc(job, (size_t)a->n, sizeof *p->strings, &list));
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
        p->strings = list;
        p->n_strings = (size_t)a->n;
        for (int64_t i = 0; i < a->n; i++) put_bytes(&p->strings[i], a->strings[i]);
    }
    return OT_OK;
}

static ot_status put_names(struct export_job *job, const int *v, int n, size_t *count,
                           char ***names) {
    void *list;
    OT_TRY(ot_export_alloc(job, (size_t)n, sizeof(char *), &list));
    *names = list;
    *count = (size_t)n;
    for (int i = 0; i < n; i++) (*names)[i] = (char *)value_of(job, v[i])->name;
    return OT_OK;
}

static ot_status put_node(struct export_job *job, const struct node *n, Onnx__NodeProto *p) {
    onnx__node_proto__init(p);
    p->op_type = (char *)n->op_type;
    if (*n->domain) p->domain = (char *)n->domain;
    p->name = (char *)value_of(job, n->out[0])->name;
    OT_TRY(put_names(job, n->in, n->n_in, &p->n_input, &p->input));
    OT_TRY(put_names(job, n->out, n->n_out, &p->n_output, &p->output));
    p->n_attribute = (size_t)n->n_attr;
    OT_TRY(make_list(job, p->n_attribute, sizeof **p->attribute, &p->attribute));
    for (int i = 0; i < n->n_attr; i++) OT_TRY(put_attribute(job, &n->attr[i], p->attribute[i]));
    return OT_OK;
}

/* ---- the graph and its bindings ---- */

static ot_status put_graph(struct export_job *job, Onnx__GraphProto *graph) {
    const struct graph *a = job->request->algorithm;
    const struct algorithm *of = a->algorithm;
    onnx__graph_proto__init(graph);
    graph->name = (char *)"training";
    graph->n_node = (size_t)a->n_nodes;
    graph->n_input = (size_t)of->n_inputs;
    graph->n_output = (size_t)(a->n_outputs + of->n_bindings);
    OT_TRY(make_list(job, graph->n_node, sizeof **graph->node, &graph->node));
    OT_TRY(make_list(job, graph->n_input, sizeof **graph->input, &graph->input));
    OT_TRY(make_list(job, graph->n_output, sizeof **graph->output, &graph->output));
    for (int i = 0; i < a->n_nodes; i++) OT_TRY(put_node(job, &a->node[i], graph->node[i]));
    for (int i = 0; i < of->n_inputs; i++) OT_TRY(put_info(job, of->input[i], graph->input[i]));
    for (int i = 0; i < a->n_outputs; i++) OT_TRY(put_info(job, a->output[i], graph->output[i]));
    for (int i = 0; i < of->n_bindings; i++)
        OT_TRY(put_info(job, of->binding[i].from, graph->output[a->n_outputs + i]));
    return put_initializers(job, graph);
}

static bool is_float_initializer(const Onnx__GraphProto *g, const char *name) {
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!strcmp(g->initializer[i]->name, name)) return g->initializer[i]->data_type == OT_FLOAT;
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        if (!strcmp(g->sparse_initializer[i]->values->name, name))
            return g->sparse_initializer[i]->values->data_type == OT_FLOAT;
    return false;
}

static ot_status put_bindings(struct export_job *job, Onnx__TrainingInfoProto *t) {
    const struct algorithm *a = job->request->algorithm->algorithm;
    t->n_update_binding = (size_t)a->n_bindings;
    OT_TRY(make_list(job, t->n_update_binding, sizeof **t->update_binding, &t->update_binding));
    for (int i = 0; i < a->n_bindings; i++) {
        const struct binding *b = &a->binding[i];
        Onnx__StringStringEntryProto *e = t->update_binding[i];
        onnx__string_string_entry_proto__init(e);
        e->key = (char *)value_of(job, b->key)->name;
        e->value = (char *)value_of(job, b->from)->name;
        if (b->key < job->g->n_values && !is_float_initializer(job->graph, e->key))
            return ot_fail(job->err, OT_ERROR_UNSUPPORTED,
                           "training_info cannot be written: the weight '%.80s' is not an "
                           "initializer of floats",
                           e->key);
    }
    return OT_OK;
}

static ot_status import_domain(struct export_job *job) {
    Onnx__ModelProto *m = job->model;
    void *list, *memory;
    for (size_t i = 0; i < m->n_opset_import; i++)
        if (m->opset_import[i]->domain && !strcmp(m->opset_import[i]->domain, DOMAIN)) return OT_OK;
    OT_TRY(ot_export_alloc(job, m->n_opset_import + 1, sizeof *m->opset_import, &list));
    OT_TRY(ot_export_alloc(job, 1, sizeof **m->opset_import, &memory));
    if (m->n_opset_import)
        memcpy(list, m->opset_import, m->n_opset_import * sizeof *m->opset_import);
    m->opset_import = list;
    Onnx__OperatorSetIdProto *id = m->opset_import[m->n_opset_import++] = memory;
    onnx__operator_set_id_proto__init(id);
    id->domain = (char *)DOMAIN;
    id->has_version = 1;
    id->version = 1;
    return OT_OK;
}

ot_status ot_export_training(struct export_job *job) {
    Onnx__ModelProto *m = job->model;
    Onnx__TrainingInfoProto **list;
    if (job->form_changed && !job->request->algorithm) m->n_training_info = 0; /* of the old form */
    if (!job->request->algorithm) return OT_OK;
    if (job->form_changed)
        return ot_fail(
            job->err, OT_ERROR_ARGUMENT,
            "training_info cannot be written together with another form: export the form first");
    void *graph;
    OT_TRY(ot_export_alloc(job, 1, sizeof(Onnx__GraphProto), &graph));
    OT_TRY(make_list(job, 1, sizeof **list, &list));
    onnx__training_info_proto__init(list[0]);
    list[0]->algorithm = graph;
    m->training_info = list;
    m->n_training_info = 1;
    if (m->ir_version < TRAINING_IR) m->ir_version = TRAINING_IR;
    OT_TRY(import_domain(job));
    OT_TRY(put_graph(job, list[0]->algorithm));
    return put_bindings(job, list[0]);
}
