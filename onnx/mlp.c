/* mlp.c - the ONNX model of a multi-layer perceptron. */
#include "onnx/mlp.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "onnx.pb-c.h"

enum { IR = 8, OPSET = 17, MOST_UNITS = INT32_MAX - 1, NAME_SIZE = 24 };

struct builder {
    struct arena arena;
    Onnx__GraphProto graph;
    bool failed; /* out of memory: what is made from there on is thrown away */
};

static void *take(struct builder *b, size_t count, size_t size) {
    void *p = ot_arena_alloc(&b->arena, count, size);
    b->failed |= !p;
    return p;
}

/* "fc3.weight", say. */
static char *name_of(struct builder *b, const char *format, int layer) {
    char *name = take(b, NAME_SIZE, 1);
    if (name) snprintf(name, NAME_SIZE, format, layer);
    return name;
}

/* ---- inputs and outputs ---- */

static Onnx__ValueInfoProto *add_value(struct builder *b, const char *name, int64_t features) {
    struct {
        Onnx__ValueInfoProto info;
        Onnx__TypeProto type;
        Onnx__TypeProto__Tensor tensor;
        Onnx__TensorShapeProto shape;
        Onnx__TensorShapeProto__Dimension dim[2], *list[2];
    } *all = take(b, 1, sizeof *all);
    if (!all) return NULL;
    onnx__value_info_proto__init(&all->info);
    onnx__type_proto__init(&all->type);
    onnx__type_proto__tensor__init(&all->tensor);
    onnx__tensor_shape_proto__init(&all->shape);
    for (int i = 0; i < 2; i++) {
        onnx__tensor_shape_proto__dimension__init(&all->dim[i]);
        all->list[i] = &all->dim[i];
    }
    all->dim[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    all->dim[0].dim_param = (char *)"batch";
    all->dim[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    all->dim[1].dim_value = features;
    all->shape.n_dim = 2;
    all->shape.dim = all->list;
    all->tensor.has_elem_type = 1;
    all->tensor.elem_type = OT_FLOAT;
    all->tensor.shape = &all->shape;
    all->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    all->type.tensor_type = &all->tensor;
    all->info.name = (char *)name;
    all->info.type = &all->type;
    return &all->info;
}

/* ---- weights ---- */

static void set_tensor(Onnx__TensorProto *t, ot_type type, int64_t *count, void *data,
                       size_t bytes) {
    onnx__tensor_proto__init(t);
    t->has_data_type = t->has_raw_data = 1;
    t->data_type = type;
    t->n_dims = 1;
    t->dims = count;
    t->raw_data.data = data;
    t->raw_data.len = bytes;
}

static void add_weight(struct builder *b, int layer, int64_t outputs, int64_t inputs) {
    struct {
        Onnx__SparseTensorProto sparse;
        Onnx__TensorProto values, indices;
        int64_t none, dim[2];
    } *w = take(b, 1, sizeof *w);
    if (!w) return;
    onnx__sparse_tensor_proto__init(&w->sparse);
    set_tensor(&w->values, OT_FLOAT, &w->none, w, 0);
    set_tensor(&w->indices, OT_INT64, &w->none, w, 0);
    w->values.name = name_of(b, "fc%d.weight", layer);
    w->dim[0] = outputs;
    w->dim[1] = inputs;
    w->sparse.values = &w->values;
    w->sparse.indices = &w->indices;
    w->sparse.n_dims = 2;
    w->sparse.dims = w->dim;
    b->graph.sparse_initializer[b->graph.n_sparse_initializer++] = &w->sparse;
}

static void add_bias(struct builder *b, int layer, int64_t outputs) {
    struct {
        Onnx__TensorProto tensor;
        int64_t count;
    } *bias = take(b, 1, sizeof *bias);
    float *zeros = take(b, (size_t)outputs, sizeof *zeros);
    if (!bias || !zeros) return;
    bias->count = outputs;
    set_tensor(&bias->tensor, OT_FLOAT, &bias->count, zeros, (size_t)outputs * sizeof *zeros);
    bias->tensor.name = name_of(b, "fc%d.bias", layer);
    b->graph.initializer[b->graph.n_initializer++] = &bias->tensor;
}

/* ---- nodes ---- */

static Onnx__NodeProto *add_node(struct builder *b, const char *op, char *name, size_t inputs) {
    Onnx__NodeProto *node = take(b, 1, sizeof *node);
    char **list = take(b, inputs + 1, sizeof *list);
    if (!node || !list) return NULL;
    onnx__node_proto__init(node);
    node->op_type = (char *)op;
    node->name = name;
    node->n_input = inputs;
    node->input = list;
    node->n_output = 1;
    node->output = list + inputs;
    b->graph.node[b->graph.n_node++] = node;
    return node;
}

/* y = x w' + b; returns the name of y. */
static char *add_gemm(struct builder *b, int layer, char *x, char *y) {
    Onnx__NodeProto *node = add_node(b, "Gemm", name_of(b, "fc%d", layer), 3);
    Onnx__AttributeProto *a = take(b, 1, sizeof *a), **list = take(b, 1, sizeof *list);
    if (!node || !a || !list) return y;
    onnx__attribute_proto__init(a);
    a->name = (char *)"transB";
    a->has_type = a->has_i = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = 1;
    list[0] = a;
    node->n_attribute = 1;
    node->attribute = list;
    node->input[0] = x;
    node->input[1] = name_of(b, "fc%d.weight", layer);
    node->input[2] = name_of(b, "fc%d.bias", layer);
    node->output[0] = y;
    return y;
}

static char *add_relu(struct builder *b, int layer, char *x) {
    char *y = name_of(b, "relu%d.y", layer);
    Onnx__NodeProto *node = add_node(b, "Relu", name_of(b, "relu%d", layer), 1);
    if (!node) return y;
    node->input[0] = x;
    node->output[0] = y;
    return y;
}

/* ---- the model ---- */

static void build(struct builder *b, const int64_t *units, int layers) {
    Onnx__GraphProto *g = &b->graph;
    onnx__graph_proto__init(g);
    g->name = (char *)"mlp";
    g->node = take(b, 2 * (size_t)layers, sizeof *g->node);
    g->initializer = take(b, (size_t)layers, sizeof *g->initializer);
    g->sparse_initializer = take(b, (size_t)layers, sizeof *g->sparse_initializer);
    g->input = take(b, 1, sizeof *g->input);
    g->output = take(b, 1, sizeof *g->output);
    if (b->failed) return;
    g->input[g->n_input++] = add_value(b, "input", units[0]);
    g->output[g->n_output++] = add_value(b, "output", units[layers]);
    char *x = (char *)"input";
    for (int i = 1; i <= layers; i++) {
        add_weight(b, i, units[i], units[i - 1]);
        add_bias(b, i, units[i]);
        x = add_gemm(b, i, x, i < layers ? name_of(b, "fc%d.y", i) : (char *)"output");
        if (i < layers) x = add_relu(b, i, x);
    }
}

static void *pack(struct builder *b, const ot_allocator *allocator, size_t *size) {
    Onnx__OperatorSetIdProto opset, *opsets = &opset;
    Onnx__ModelProto model;
    onnx__model_proto__init(&model);
    onnx__operator_set_id_proto__init(&opset);
    opset.domain = (char *)"";
    opset.has_version = model.has_ir_version = 1;
    opset.version = OPSET;
    model.ir_version = IR;
    model.producer_name = (char *)"onnx-train";
    model.n_opset_import = 1;
    model.opset_import = &opsets;
    model.graph = &b->graph;
    *size = onnx__model_proto__get_packed_size(&model);
    void *bytes = ot_block_alloc_dirty(allocator, *size, 1);
    if (bytes) onnx__model_proto__pack(&model, bytes);
    return bytes;
}

ot_status ot_mlp_write(const ot_allocator *allocator, const int64_t *units, int n, void **bytes,
                       size_t *size, ot_error *err) {
    struct builder b = {.failed = false};
    uint64_t biases = 0;
    if (n < 2) return ot_fail(err, OT_ERROR_ARGUMENT, "an MLP needs inputs and outputs");
    for (int i = 0; i < n; i++) {
        if (units[i] < 1 || units[i] > MOST_UNITS)
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "layer %d of the MLP has %lld units, not 1 to %d", i,
                           (long long)units[i], MOST_UNITS);
        biases += i ? (uint64_t)units[i] * sizeof(float) : 0;
    }
    if (biases > (uint64_t)1 << 30)
        return ot_fail(err, OT_ERROR_LIMIT, "the biases of the MLP have more than 2^30 bytes");
    ot_arena_init(&b.arena, allocator, 0);
    build(&b, units, n - 1);
    *bytes = b.failed ? NULL : pack(&b, allocator, size);
    ot_arena_free(&b.arena);
    return *bytes ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for an MLP");
}
