/* wire.h - writes ONNX models byte by byte, the wrong ones too, and imports them. */
#ifndef OT_TESTS_WIRE_H
#define OT_TESTS_WIRE_H

#include "onnx/import.h"
#include "tests/counter.h"

struct wire {
    uint8_t *p;
    size_t n, room;
    size_t open[64]; /* where the contents of the open messages begin */
    int depth;
};

void wire_free(struct wire *w);
void wire_put(struct wire *w, const void *bytes, size_t n);
void wire_varint(struct wire *w, uint64_t v);
void wire_tag(struct wire *w, unsigned field, unsigned type);
void wire_int(struct wire *w, unsigned field, int64_t v);
void wire_float(struct wire *w, unsigned field, float f);
void wire_bytes(struct wire *w, unsigned field, const void *bytes, size_t n);
void wire_string(struct wire *w, unsigned field, const char *s);
void wire_begin(struct wire *w, unsigned field); /* a message */
void wire_end(struct wire *w);                   /* shifts its contents to make room for a length */

/* Pieces of models. Lists of names are separated by blanks; "-" is an empty name. */
void wire_open_model(struct wire *w); /* IR 8, opset 13, graph "g" opened */
void wire_open_model_at(struct wire *w, int opset);
void wire_close_model(struct wire *w);
void wire_value(struct wire *w, unsigned field, const char *name, int type, int rank,
                const int64_t *dim);
void wire_open_node(struct wire *w, const char *op, const char *in, const char *out);
void wire_node(struct wire *w, const char *op, const char *in, const char *out);
void wire_open_tensor(struct wire *w, unsigned field, const char *name, int type, int rank,
                      const int64_t *dim);
void wire_floats(struct wire *w, unsigned field, const char *name, int rank, const int64_t *dim,
                 const float *value); /* FLOAT, raw_data */
void wire_attr_int(struct wire *w, const char *name, int64_t v);
void wire_entry(struct wire *w, unsigned field, const char *key, const char *value);

struct import_options import_defaults(struct counter *c);

#endif
