/* wire.c - a writer of the protobuf wire format. */
#include "tests/wire.h"

#include <stdlib.h>
#include <string.h>

void wire_free(struct wire *w) {
    free(w->p);
    *w = (struct wire){0};
}

void wire_put(struct wire *w, const void *bytes, size_t n) {
    if (w->n + n > w->room) {
        w->room = 2 * (w->n + n) + 64;
        w->p = realloc(w->p, w->room);
        if (!w->p) abort();
    }
    if (n) memcpy(w->p + w->n, bytes, n);
    w->n += n;
}

static size_t encode(uint8_t *b, uint64_t v) {
    size_t n = 0;
    do {
        b[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    return n;
}

void wire_varint(struct wire *w, uint64_t v) {
    uint8_t b[10];
    wire_put(w, b, encode(b, v));
}

void wire_tag(struct wire *w, unsigned field, unsigned type) {
    wire_varint(w, (uint64_t)field << 3 | type);
}

void wire_int(struct wire *w, unsigned field, int64_t v) {
    wire_tag(w, field, 0);
    wire_varint(w, (uint64_t)v);
}

void wire_float(struct wire *w, unsigned field, float f) {
    wire_tag(w, field, 5);
    wire_put(w, &f, sizeof f);
}

void wire_bytes(struct wire *w, unsigned field, const void *bytes, size_t n) {
    wire_tag(w, field, 2);
    wire_varint(w, n);
    wire_put(w, bytes, n);
}

void wire_string(struct wire *w, unsigned field, const char *s) {
    wire_bytes(w, field, s, strlen(s));
}

void wire_begin(struct wire *w, unsigned field) {
    wire_tag(w, field, 2);
    w->open[w->depth++] = w->n;
}

void wire_end(struct wire *w) {
    uint8_t b[10];
    const size_t from = w->open[--w->depth], n = w->n - from, k = encode(b, n);
    wire_put(w, b, k);
    memmove(w->p + from + k, w->p + from, n);
    memcpy(w->p + from, b, k);
}

void wire_open_model(struct wire *w) { wire_open_model_at(w, 13); }

void wire_open_model_at(struct wire *w, int opset) {
    wire_int(w, 1, 8);
    wire_begin(w, 8);
    wire_int(w, 2, opset);
    wire_end(w);
    wire_begin(w, 7);
    wire_string(w, 2, "g");
}

void wire_close_model(struct wire *w) { wire_end(w); }

static void names(struct wire *w, unsigned field, const char *list) {
    while (*list) {
        size_t n = strcspn(list, " ");
        wire_bytes(w, field, list, n == 1 && *list == '-' ? 0 : n);
        list += n + (list[n] != 0);
    }
}

void wire_value(struct wire *w, unsigned field, const char *name, int type, int rank,
                const int64_t *dim) {
    wire_begin(w, field);
    wire_string(w, 1, name);
    wire_begin(w, 2);
    wire_begin(w, 1);
    wire_int(w, 1, type);
    wire_begin(w, 2);
    for (int i = 0; i < rank; i++) {
        wire_begin(w, 1);
        if (dim[i] >= 0) wire_int(w, 1, dim[i]);
        wire_end(w);
    }
    for (int i = 0; i < 4; i++) wire_end(w);
}

void wire_open_node(struct wire *w, const char *op, const char *in, const char *out) {
    wire_begin(w, 1);
    names(w, 1, in);
    names(w, 2, out);
    wire_string(w, 4, op);
}

void wire_node(struct wire *w, const char *op, const char *in, const char *out) {
    wire_open_node(w, op, in, out);
    wire_end(w);
}

void wire_open_tensor(struct wire *w, unsigned field, const char *name, int type, int rank,
                      const int64_t *dim) {
    wire_begin(w, field);
    for (int i = 0; i < rank; i++) wire_int(w, 1, dim[i]);
    wire_int(w, 2, type);
    if (name) wire_string(w, 8, name);
}

void wire_floats(struct wire *w, unsigned field, const char *name, int rank, const int64_t *dim,
                 const float *value) {
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dim[i];
    wire_open_tensor(w, field, name, OT_FLOAT, rank, dim);
    wire_bytes(w, 9, value, n * sizeof *value);
    wire_end(w);
}

void wire_attr_int(struct wire *w, const char *name, int64_t v) {
    wire_begin(w, 5);
    wire_string(w, 1, name);
    wire_int(w, 3, v);
    wire_int(w, 20, 2);
    wire_end(w);
}

void wire_entry(struct wire *w, unsigned field, const char *key, const char *value) {
    wire_begin(w, field);
    wire_string(w, 1, key);
    wire_string(w, 2, value);
    wire_end(w);
}

struct import_options import_defaults(struct counter *c) {
    return (struct import_options){
        .limits = {INT32_MAX, 1000000, (uint64_t)1 << 40, (uint64_t)1 << 32},
        .allocator = counting_allocator(c)};
}
