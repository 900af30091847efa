/* model_constants.c - copies a model field by field, with initializers in place of some of its
 * inputs or initializers. Numbers of fields are those of onnx.proto. */
#include "tools/check/model_constants.h"

#include <stdlib.h>

enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, VALUE_NAME = 1 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };

static void put_tensor(struct message *graph, const char *name, const struct proto_tensor *t) {
    struct message m = {0};
    for (int i = 0; i < t->rank; i++) ot_put_int(&m, TENSOR_DIMS, t->dim[i]);
    ot_put_int(&m, TENSOR_TYPE, t->count ? t->type : t->file_type);
    ot_put_text(&m, TENSOR_NAME, name);
    ot_put_bytes(&m, TENSOR_RAW, t->data, t->count * (size_t)t->size);
    ot_put_message(graph, GRAPH_INITIALIZER, &m);
}

/* Whether this ValueInfoProto or TensorProto, whose name is in this field, has one of the names. */
static bool is_fixed(struct proto value, uint64_t field, int n, const char *const *name) {
    struct proto_field f;
    while (ot_proto_next(&value, &f))
        for (int i = 0; f.number == field && i < n; i++)
            if (name[i] && ot_proto_is(f.bytes, name[i])) return true;
    return false;
}

static void put_graph(struct message *model, struct proto graph, int n, const char *const *name,
                      const struct proto_tensor *t) {
    struct message m = {0};
    struct proto_field f;
    while (ot_proto_next(&graph, &f))
        if (!(f.number == GRAPH_INPUT && is_fixed(f.bytes, VALUE_NAME, n, name)) &&
            !(f.number == GRAPH_INITIALIZER && is_fixed(f.bytes, TENSOR_NAME, n, name)))
            ot_put_field(&m, &f);
    for (int i = 0; i < n; i++)
        if (name[i]) put_tensor(&m, name[i], &t[i]);
    ot_put_message(model, MODEL_GRAPH, &m);
}

bool ot_model_has_initializer(struct proto model, const char *name) {
    struct proto_field f, inner;
    while (ot_proto_next(&model, &f)) {
        struct proto graph = f.bytes;
        while (f.number == MODEL_GRAPH && ot_proto_next(&graph, &inner))
            if (inner.number == GRAPH_INITIALIZER && is_fixed(inner.bytes, TENSOR_NAME, 1, &name))
                return true;
    }
    return false;
}

int ot_model_fix_inputs(struct proto model, int n, const char *const *name,
                        const struct proto_tensor *t, unsigned char **out, size_t *size,
                        struct failure *f) {
    struct message m = {0};
    struct proto_field field;
    while (ot_proto_next(&model, &field))
        if (field.number == MODEL_GRAPH)
            put_graph(&m, field.bytes, n, name, t);
        else
            ot_put_field(&m, &field);
    if (m.failed) {
        free(m.bytes);
        return ot_refuse(f, EXIT_MEMORY, "out of memory for a model");
    }
    *out = m.bytes;
    *size = m.size;
    return 0;
}
