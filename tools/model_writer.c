/* model_writer.c - small ONNX models, field by field; numbers are those of onnx.proto. */
#include "tools/model_writer.h"

#include <stdlib.h>
#include <string.h>

/* ---- the wire format ---------------------------------------------------------------------- */

static void put(struct message *m, const void *p, size_t n) {
    if (m->failed || !n) return;
    if (m->size + n > m->room) {
        const size_t room = 2 * (m->size + n) + 64;
        unsigned char *bytes = realloc(m->bytes, room);
        m->failed = !bytes;
        if (m->failed) return;
        m->bytes = bytes;
        m->room = room;
    }
    memcpy(m->bytes + m->size, p, n);
    m->size += n;
}

static void put_varint(struct message *m, uint64_t v) {
    for (; v >= 128; v >>= 7) put(m, &(unsigned char){(unsigned char)(v | 128)}, 1);
    put(m, &(unsigned char){(unsigned char)v}, 1);
}

static void put_int(struct message *m, int field, int64_t v) {
    put_varint(m, (uint64_t)field << 3);
    put_varint(m, (uint64_t)v);
}

static void put_bytes(struct message *m, int field, const void *p, size_t n) {
    put_varint(m, (uint64_t)field << 3 | 2);
    put_varint(m, n);
    put(m, p, n);
}

static void put_text(struct message *m, int field, const char *text) {
    put_bytes(m, field, text, strlen(text));
}

/* Appends and empties `inner`. */
static void put_message(struct message *m, int field, struct message *inner) {
    m->failed = m->failed || inner->failed;
    put_bytes(m, field, inner->bytes, inner->size);
    free(inner->bytes);
    *inner = (struct message){0};
}

/* ---- models ------------------------------------------------------------------------------- */

void ot_writer_begin(struct model_writer *w) {
    *w = (struct model_writer){0};
    put_text(&w->graph, 2, "layer");
}

static void put_value(struct model_writer *w, int field, const char *name, int rank,
                      const int64_t *dim) {
    struct message value = {0}, type = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        struct message d = {0};
        put_int(&d, 1, dim[i]);
        put_message(&shape, 1, &d);
    }
    put_int(&tensor, 1, OT_FLOAT);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_text(&value, 1, name);
    put_message(&value, 2, &type);
    put_message(&w->graph, field, &value);
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
        put_int(&t, 1, dim[i]);
        bytes *= (size_t)dim[i];
    }
    put_int(&t, 2, OT_FLOAT);
    put_text(&t, 8, name);
    put_bytes(&t, 9, value, bytes);
    put_message(&w->graph, 5, &t);
}

static void put_attribute(struct message *node, const struct writer_attribute *attribute) {
    enum { INT = 2, INTS = 7 };
    struct message a = {0};
    put_text(&a, 1, attribute->name);
    for (int i = 0; i < attribute->count; i++)
        put_int(&a, attribute->list ? 8 : 3, attribute->value[i]);
    put_int(&a, 20, attribute->list ? INTS : INT);
    put_message(node, 5, &a);
}

void ot_writer_node(struct model_writer *w, const char *op, const char *a, const char *b,
                    const char *y, const struct writer_attribute *attribute) {
    struct message node = {0};
    put_text(&node, 1, a);
    put_text(&node, 1, b);
    put_text(&node, 2, y);
    put_text(&node, 3, y);
    put_text(&node, 4, op);
    for (; attribute && attribute->name; attribute++) put_attribute(&node, attribute);
    put_message(&w->graph, 1, &node);
}

int ot_writer_finish(struct model_writer *w, int opset, unsigned char **bytes, size_t *size,
                     struct failure *f) {
    struct message file = {0}, version = {0};
    put_int(&file, 1, 8); /* ir_version */
    put_text(&file, 2, "onnx-train");
    put_message(&file, 7, &w->graph);
    put_text(&version, 1, "");
    put_int(&version, 2, opset);
    put_message(&file, 8, &version);
    if (file.failed) {
        free(file.bytes);
        return ot_refuse(f, EXIT_MEMORY, "out of memory for a model");
    }
    *bytes = file.bytes;
    *size = file.size;
    return 0;
}
