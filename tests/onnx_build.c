/* onnx_build.c - models made of protobuf-c messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/onnx_build.h"

#include <cmocka.h>

#include "runtime/onnxtrain.h"

void *zeroed(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    assert_non_null(p);
    return p;
}

char *text(const char *s) {
    char *p = strdup(s);
    assert_non_null(p);
    return p;
}

/* list[n++] = a fresh message; list grows by one. */
#define ADD(type, init, n, list) ((type *)add(&(n), (void ***)(void *)&(list), sizeof(type), init))
static void *add(size_t *n, void ***list, size_t size, void (*init)(void *)) {
    void *m = zeroed(1, size);
    init(m);
    *list = realloc(*list, (*n + 1) * sizeof **list);
    assert_non_null(*list);
    return (*list)[(*n)++] = m;
}

static void init_node(void *m) { onnx__node_proto__init(m); }
static void init_attribute(void *m) { onnx__attribute_proto__init(m); }
static void init_tensor(void *m) { onnx__tensor_proto__init(m); }
static void init_sparse(void *m) { onnx__sparse_tensor_proto__init(m); }
static void init_info(void *m) { onnx__value_info_proto__init(m); }
static void init_dimension(void *m) { onnx__tensor_shape_proto__dimension__init(m); }
static void init_opset(void *m) { onnx__operator_set_id_proto__init(m); }
static void init_entry(void *m) { onnx__string_string_entry_proto__init(m); }

Onnx__ModelProto *new_model(int64_t ir, int64_t opset) {
    Onnx__ModelProto *m = zeroed(1, sizeof *m);
    onnx__model_proto__init(m);
    m->has_ir_version = 1;
    m->ir_version = ir;
    Onnx__OperatorSetIdProto *o =
        ADD(Onnx__OperatorSetIdProto, init_opset, m->n_opset_import, m->opset_import);
    o->domain = text("");
    o->has_version = 1;
    o->version = opset;
    m->graph = zeroed(1, sizeof *m->graph);
    onnx__graph_proto__init(m->graph);
    m->graph->name = text("g");
    return m;
}

static void add_name(size_t *n, char ***list, const char *name) {
    *list = realloc(*list, (*n + 1) * sizeof **list);
    assert_non_null(*list);
    (*list)[(*n)++] = text(name);
}

Onnx__NodeProto *add_node(Onnx__ModelProto *m, const char *op, const char *inputs,
                          const char *outputs) {
    Onnx__NodeProto *node = ADD(Onnx__NodeProto, init_node, m->graph->n_node, m->graph->node);
    char buffer[256];
    node->op_type = text(op);
    node->name = text(outputs);
    snprintf(buffer, sizeof buffer, "%s", inputs);
    for (char *p = strtok(buffer, " "); p; p = strtok(NULL, " "))
        add_name(&node->n_input, &node->input, *p == '-' ? "" : p);
    snprintf(buffer, sizeof buffer, "%s", outputs);
    for (char *p = strtok(buffer, " "); p; p = strtok(NULL, " "))
        add_name(&node->n_output, &node->output, *p == '-' ? "" : p);
    return node;
}

Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name, int type) {
    Onnx__AttributeProto *a =
        ADD(Onnx__AttributeProto, init_attribute, node->n_attribute, node->attribute);
    a->name = text(name);
    a->has_type = 1;
    a->type = (Onnx__AttributeProto__AttributeType)type;
    return a;
}

void add_int(Onnx__NodeProto *node, const char *name, int64_t i) {
    Onnx__AttributeProto *a = add_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = i;
}

void set_dims(Onnx__TensorProto *t, int64_t a, int64_t b) {
    t->n_dims = b ? 2 : 1;
    t->dims = zeroed(2, sizeof *t->dims);
    t->dims[0] = a;
    t->dims[1] = b;
}

void set_raw(Onnx__TensorProto *t, int type, const void *bytes, size_t size) {
    t->has_data_type = t->has_raw_data = 1;
    t->data_type = type;
    t->raw_data.len = size;
    t->raw_data.data = zeroed(size, 1);
    if (size) memcpy(t->raw_data.data, bytes, size);
}

Onnx__TensorProto *add_raw(Onnx__ModelProto *m, const char *name, int type, int64_t a, int64_t b,
                           const void *bytes, size_t size) {
    Onnx__TensorProto *t = add_initializer(m, name);
    set_dims(t, a, b);
    set_raw(t, type, bytes, size);
    return t;
}

static Onnx__ValueInfoProto *add_info(size_t *n, Onnx__ValueInfoProto ***list, const char *name,
                                      int64_t a, int64_t b) {
    Onnx__ValueInfoProto *v = ADD(Onnx__ValueInfoProto, init_info, *n, *list);
    int64_t dim[2] = {a, b};
    v->name = text(name);
    v->type = zeroed(1, sizeof *v->type);
    onnx__type_proto__init(v->type);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    v->type->tensor_type = zeroed(1, sizeof *v->type->tensor_type);
    onnx__type_proto__tensor__init(v->type->tensor_type);
    v->type->tensor_type->has_elem_type = 1;
    v->type->tensor_type->elem_type = OT_FLOAT;
    Onnx__TensorShapeProto *shape = v->type->tensor_type->shape =
        zeroed(1, sizeof *v->type->tensor_type->shape);
    onnx__tensor_shape_proto__init(shape);
    for (int i = 0; i < 2; i++) {
        Onnx__TensorShapeProto__Dimension *d =
            ADD(Onnx__TensorShapeProto__Dimension, init_dimension, shape->n_dim, shape->dim);
        d->value_case = dim[i] < 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                   : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (dim[i] < 0)
            d->dim_param = text("N");
        else
            d->dim_value = dim[i];
    }
    return v;
}

Onnx__ValueInfoProto *add_input(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b) {
    return add_info(&m->graph->n_input, &m->graph->input, name, a, b);
}

Onnx__ValueInfoProto *add_output(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b) {
    return add_info(&m->graph->n_output, &m->graph->output, name, a, b);
}

void set_sparse(Onnx__SparseTensorProto *s, int64_t a, int64_t b, const float *value,
                const int64_t *index, size_t n, bool coo) {
    s->values = zeroed(1, sizeof *s->values);
    onnx__tensor_proto__init(s->values);
    set_dims(s->values, (int64_t)n, 0);
    set_raw(s->values, OT_FLOAT, value, n * sizeof *value);
    s->indices = zeroed(1, sizeof *s->indices);
    onnx__tensor_proto__init(s->indices);
    set_dims(s->indices, (int64_t)n, coo ? 2 : 0);
    set_raw(s->indices, OT_INT64, index, n * (coo ? 2 : 1) * sizeof *index);
    s->n_dims = 2;
    s->dims = zeroed(2, sizeof *s->dims);
    s->dims[0] = a;
    s->dims[1] = b;
}

Onnx__ValueInfoProto *add_hint(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b) {
    return add_info(&m->graph->n_value_info, &m->graph->value_info, name, a, b);
}

Onnx__TensorProto *add_initializer(Onnx__ModelProto *m, const char *name) {
    Onnx__TensorProto *t =
        ADD(Onnx__TensorProto, init_tensor, m->graph->n_initializer, m->graph->initializer);
    t->name = text(name);
    return t;
}

Onnx__SparseTensorProto *add_sparse(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b,
                                    const float *value, const int64_t *index, size_t n, bool coo) {
    Onnx__SparseTensorProto *s = ADD(Onnx__SparseTensorProto, init_sparse,
                                     m->graph->n_sparse_initializer, m->graph->sparse_initializer);
    set_sparse(s, a, b, value, index, n, coo);
    s->values->name = text(name);
    return s;
}

Onnx__StringStringEntryProto *add_metadata(Onnx__ModelProto *m, const char *key,
                                           const char *value) {
    Onnx__StringStringEntryProto *e =
        ADD(Onnx__StringStringEntryProto, init_entry, m->n_metadata_props, m->metadata_props);
    e->key = text(key);
    e->value = text(value);
    return e;
}

void add_unknown(ProtobufCMessage *m) {
    static const uint8_t more[] = {4, 'm', 'o', 'r', 'e'};
    uint8_t *data = zeroed(sizeof more, 1);
    memcpy(data, more, sizeof more);
    ProtobufCMessageUnknownField *f = zeroed(1, sizeof *f);
    *f = (ProtobufCMessageUnknownField){1000, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, sizeof more,
                                        data};
    m->n_unknown_fields = 1;
    m->unknown_fields = f;
}
