/* onnx_build.h - models made of protobuf-c messages, all from malloc, for tests of export. */
#ifndef OT_TESTS_ONNX_BUILD_H
#define OT_TESTS_ONNX_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onnx.pb-c.h"

void *zeroed(size_t n, size_t size); /* calloc that fails the test */
char *text(const char *s);           /* strdup that fails the test */

Onnx__ModelProto *new_model(int64_t ir, int64_t opset);
/* inputs and outputs: names with blanks between them; "-" is an absent one. The node's name is
 * that of its outputs. */
Onnx__NodeProto *add_node(Onnx__ModelProto *m, const char *op, const char *inputs,
                          const char *outputs);
Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name, int type);
void add_int(Onnx__NodeProto *node, const char *name, int64_t i);
Onnx__StringStringEntryProto *add_metadata(Onnx__ModelProto *m, const char *key, const char *value);

/* Shape [a, b], or [a] where b is 0. */
void set_dims(Onnx__TensorProto *t, int64_t a, int64_t b);
void set_raw(Onnx__TensorProto *t, int type, const void *bytes, size_t size);
Onnx__TensorProto *add_initializer(Onnx__ModelProto *m, const char *name);
Onnx__TensorProto *add_raw(Onnx__ModelProto *m, const char *name, int type, int64_t a, int64_t b,
                           const void *bytes, size_t size);
/* A sparse tensor of n floats, shape [a, b]; coo: indices hold two numbers an entry. */
void set_sparse(Onnx__SparseTensorProto *s, int64_t a, int64_t b, const float *value,
                const int64_t *index, size_t n, bool coo);
Onnx__SparseTensorProto *add_sparse(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b,
                                    const float *value, const int64_t *index, size_t n, bool coo);

/* Float tensors of shape [a, b]; -1 is a free dimension. */
Onnx__ValueInfoProto *add_input(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b);
Onnx__ValueInfoProto *add_output(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b);
Onnx__ValueInfoProto *add_hint(Onnx__ModelProto *m, const char *name, int64_t a, int64_t b);

/* Field 1000, as newer versions of the format might have it. */
void add_unknown(ProtobufCMessage *m);

#endif
