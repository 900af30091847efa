/* model.c - small ONNX models, written field by field. */
#include "tests/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct bytes *b, const void *p, size_t n) {
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n) + 64;
        b->at = realloc(b->at, b->capacity);
        if (!b->at) abort();
    }
    if (n) memcpy(b->at + b->n, p, n);
    b->n += n;
}

void bytes_varint(struct bytes *b, uint64_t v) {
    for (; v >= 128; v >>= 7) put(b, &(unsigned char){(unsigned char)(v | 128)}, 1);
    put(b, &(unsigned char){(unsigned char)v}, 1);
}

static void tag(struct bytes *b, int field, int wire) {
    bytes_varint(b, (uint64_t)field << 3 | (uint64_t)wire);
}

void bytes_int(struct bytes *b, int field, int64_t v) {
    tag(b, field, 0);
    bytes_varint(b, (uint64_t)v);
}

void bytes_float(struct bytes *b, int field, float v) {
    tag(b, field, 5);
    put(b, &v, sizeof v);
}

void bytes_blob(struct bytes *b, int field, const void *p, size_t n) {
    tag(b, field, 2);
    bytes_varint(b, n);
    put(b, p, n);
}

void bytes_text(struct bytes *b, int field, const char *s) { bytes_blob(b, field, s, strlen(s)); }

void bytes_message(struct bytes *b, int field, struct bytes *inner) {
    bytes_blob(b, field, inner->at, inner->n);
    free(inner->at);
    *inner = (struct bytes){0};
}

void model_begin(struct model *m, int opset) {
    *m = (struct model){.opset = opset};
    bytes_text(&m->graph, 2, "test");
}

static void value_info(struct model *m, int field, const char *name, int type, int rank,
                       const int64_t *dim) {
    struct bytes info = {0}, outer = {0}, tensor = {0}, shape = {0};
    for (int i = 0; i < rank; i++) {
        struct bytes d = {0};
        if (dim[i] < 0)
            bytes_text(&d, 2, "N");
        else
            bytes_int(&d, 1, dim[i]);
        bytes_message(&shape, 1, &d);
    }
    bytes_int(&tensor, 1, type);
    bytes_message(&tensor, 2, &shape);
    bytes_message(&outer, 1, &tensor);
    bytes_text(&info, 1, name);
    bytes_message(&info, 2, &outer);
    bytes_message(&m->graph, field, &info);
}

void model_input(struct model *m, const char *name, int type, int rank, const int64_t *dim) {
    value_info(m, 11, name, type, rank, dim);
}

void model_output(struct model *m, const char *name, int type, int rank, const int64_t *dim) {
    value_info(m, 12, name, type, rank, dim);
}

static void initializer(struct model *m, const char *name, int type, int rank, const int64_t *dim,
                        const void *data, size_t size) {
    struct bytes t = {0};
    for (int i = 0; i < rank; i++) {
        bytes_int(&t, 1, dim[i]);
        size *= (size_t)dim[i];
    }
    bytes_int(&t, 2, type);
    bytes_text(&t, 8, name);
    bytes_blob(&t, 9, data, size);
    bytes_message(&m->graph, 5, &t);
}

void model_floats(struct model *m, const char *name, int rank, const int64_t *dim, const float *v) {
    initializer(m, name, 1, rank, dim, v, sizeof *v);
}

void model_ints(struct model *m, const char *name, int n, const int64_t *v) {
    initializer(m, name, 7, 1, (const int64_t[]){n}, v, sizeof *v);
}

static void names(struct bytes *node, int field, const char *list) {
    char copy[512], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *s = strtok_r(copy, " ", &rest); s; s = strtok_r(NULL, " ", &rest))
        bytes_text(node, field, strcmp(s, "-") ? s : "");
}

enum { INT = 2, FLOAT = 1, STRING = 3, INTS = 7 }; /* AttributeProto.AttributeType */

static void attribute(struct bytes *node, char *text) {
    struct bytes a = {0};
    char *value = strchr(text, '=');
    *value++ = 0;
    bytes_text(&a, 1, text);
    if (strchr(value, ',')) {
        for (char *s = value; *s; s += strcspn(s, ","), s += *s == ',')
            bytes_int(&a, 8, strtoll(s, NULL, 10));
        bytes_int(&a, 20, INTS);
    } else if (strspn(value, "0123456789-") == strlen(value)) {
        bytes_int(&a, 3, strtoll(value, NULL, 10));
        bytes_int(&a, 20, INT);
    } else if (strspn(value, "0123456789-.e") == strlen(value)) {
        bytes_float(&a, 2, strtof(value, NULL));
        bytes_int(&a, 20, FLOAT);
    } else {
        bytes_text(&a, 4, value);
        bytes_int(&a, 20, STRING);
    }
    bytes_message(node, 5, &a);
}

void model_node(struct model *m, const char *op, const char *inputs, const char *outputs,
                const char *attributes) {
    struct bytes node = {0};
    char copy[512], *rest = NULL;
    names(&node, 1, inputs);
    names(&node, 2, outputs);
    snprintf(copy, sizeof copy, "%.*s", (int)strcspn(outputs, " "), outputs);
    bytes_text(&node, 3, copy);
    bytes_text(&node, 4, op);
    snprintf(copy, sizeof copy, "%s", attributes ? attributes : "");
    for (char *s = strtok_r(copy, " ", &rest); s; s = strtok_r(NULL, " ", &rest))
        attribute(&node, s);
    bytes_message(&m->graph, 1, &node);
}

unsigned char *model_finish(struct model *m, size_t *size) {
    struct bytes file = {0}, opset = {0};
    bytes_int(&file, 1, 8); /* ir_version */
    bytes_text(&file, 2, "onnx-train tests");
    bytes_message(&file, 7, &m->graph);
    bytes_text(&opset, 1, "");
    bytes_int(&opset, 2, m->opset);
    bytes_message(&file, 8, &opset);
    *size = file.n;
    return file.at;
}
