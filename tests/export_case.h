/* export_case.h - what tests of export do with models; everything fails the test that fails. */
#ifndef OT_TESTS_EXPORT_CASE_H
#define OT_TESTS_EXPORT_CASE_H

#include "onnx/export/export.h"
#include "tests/onnx_build.h"

struct bytes {
    uint8_t *data; /* free() it */
    size_t size;
};

struct bytes pack(const Onnx__ModelProto *m);
struct bytes pack_built(Onnx__ModelProto *m); /* and frees a model made by onnx_build.h */
Onnx__ModelProto *unpack(struct bytes b);
struct bytes slurp(const char *path);
void assert_same(struct bytes a, struct bytes b, const char *what);

struct graph *import_bytes(struct bytes b);
struct graph *import_with(struct bytes b, ot_allocator allocator);
int value_named(const struct graph *g, const char *name);

/* Group setup and teardown: a folder for target(), which must be empty again at the end. */
int make_folder(void **state);
int remove_folder(void **state);
const char *test_folder(void);
const char *target(void);

/* The bytes that export writes. */
struct bytes export_graph(const struct graph *g, const struct export_request *r);
struct bytes export_bytes(struct bytes in, ot_export_sparse sparse, ot_export_form form);
ot_status try_export(struct bytes in, const struct export_request *r, const char *path,
                     ot_error *err);

/* NULL: there is none of that name. */
const Onnx__TensorProto *initializer(const Onnx__ModelProto *m, const char *name);
const Onnx__SparseTensorProto *sparse_initializer(const Onnx__ModelProto *m, const char *name);

#endif
