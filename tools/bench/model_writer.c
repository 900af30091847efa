/* model_writer.c - small ONNX models, field by field; numbers are those of onnx.proto. */
#include "tools/bench/model_writer.h"

#include <stdlib.h>
#include <string.h>

void ot_writer_begin(struct model_writer *w) {
    *w = (struct model_writer){0};
    ot_put_text(&w->graph, 2, "layer");
}

static void put_value(struct model_writer *w, int field, const char *name, int rank,
                      const int64_t *dim) {
    struct message value = {0}, type = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        struct message d = {0};
        ot_put_int(&d, 1, dim[i]);
        ot_put_message(&shape, 1, &d);
    }
    ot_put_int(&tensor, 1, OT_FLOAT);
    ot_put_message(&tensor, 2, &shape);
    ot_put_message(&type, 1, &tensor);
    ot_put_text(&value, 1, name);
    ot_put_message(&value, 2, &type);
    ot_put_message(&w->graph, field, &value);
}

void ot_writer_input(struct model_writer *w, const char *name, int rank, const int64_t *dim) {
    put_value(w, 11, name, rank, dim);
}

void ot_writer_output(struct model_writer *w, const char *name, int rank, const int64_t *dim) {
    put_value(w, 12, name, rank, dim);
}

void ot_writer_floats(struct model_writer *w, const char *name, int rank, const int64_t *dim,
                      const float *value) {
    struct message t = {0};
    size_t bytes = sizeof *value;
    for (int i = 0; i < rank; i++) {
        ot_put_int(&t, 1, dim[i]);
        bytes *= (size_t)dim[i];
    }
    ot_put_int(&t, 2, OT_FLOAT);
    ot_put_text(&t, 8, name);
    ot_put_bytes(&t, 9, value, bytes);
    ot_put_message(&w->graph, 5, &t);
}

static void put_attribute(struct message *node, const struct writer_attribute *attribute) {
    enum { INT = 2, INTS = 7 };
    struct message a = {0};
    ot_put_text(&a, 1, attribute->name);
    for (int i = 0; i < attribute->count; i++)
        ot_put_int(&a, attribute->list ? 8 : 3, attribute->value[i]);
    ot_put_int(&a, 20, attribute->list ? INTS : INT);
    ot_put_message(node, 5, &a);
}

void ot_writer_node(struct model_writer *w, const char *op, const char *a, const char *b,
                    const char *y, const struct writer_attribute *attribute) {
    struct message node = {0};
    ot_put_text(&node, 1, a);
    ot_put_text(&node, 1, b);
    ot_put_text(&node, 2, y);
    ot_put_text(&node, 3, y);
    ot_put_text(&node, 4, op);
    for (; attribute && attribute->name; attribute++) put_attribute(&node, attribute);
    ot_put_message(&w->graph, 1, &node);
}

int ot_writer_finish(struct model_writer *w, int opset, unsigned char **bytes, size_t *size,
                     struct failure *f) {
    struct message file = {0}, version = {0};
    ot_put_int(&file, 1, 8); /* ir_version */
    ot_put_text(&file, 2, "onnx-train");
    ot_put_message(&file, 7, &w->graph);
    ot_put_text(&version, 1, "");
    ot_put_int(&version, 2, opset);
    ot_put_message(&file, 8, &version);
    if (file.failed) {
        free(file.bytes);
        return ot_refuse(f, EXIT_MEMORY, "out of memory for a model");
    }
    *bytes = file.bytes;
    *size = file.size;
    return 0;
}
