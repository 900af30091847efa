/* model.h - what the stages of an import give each other. */
#ifndef OT_ONNX_MODEL_H
#define OT_ONNX_MODEL_H

#include "onnx/job.h"

/* ---- payload.c: the contents of tensors ---------------------------------------------------------
 */

/* Rank, dims, type, element count; sizes of the payload are exact and there is only one. */
ot_status ot_payload_check(struct import *im, const Onnx__TensorProto *t, struct tensor *shape,
                           ot_type *file_type);
/* Converts a checked payload to shape->type: ot_bytes(shape) at dst. */
ot_status ot_payload_read(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          void *dst);
/* Both, into a new dense tensor of the graph. */
ot_status ot_payload_tensor(struct import *im, const Onnx__TensorProto *t, struct tensor **tensor,
                            ot_type *file_type);

/* ---- external.c: payloads in other files ---- */

struct external {
    int fd;
    uint64_t offset;
    const char *path;
};

/* Checks location, offset and length against `size` bytes, the file's size included. */
ot_status ot_external_open(struct import *im, const Onnx__TensorProto *t, size_t size,
                           struct external *e);
/* Bytes [first, first + size) of the tensor. */
ot_status ot_external_read(const struct external *e, size_t first, size_t size, void *dst,
                           ot_error *err);
void ot_external_close(struct external *e);
/* All bytes of a tensor that may be of any type, in scratch memory. */
ot_status ot_external_take(struct import *im, const Onnx__TensorProto *t, void **bytes,
                           size_t *size);

/* A checked payload that is read in parts. */
struct payload {
    const Onnx__TensorProto *t;
    bool is_external;
    struct external external;
};

ot_status ot_payload_open(struct import *im, const Onnx__TensorProto *t, const struct tensor *shape,
                          struct payload *p);
/* Converts elements [first, first + n). Several threads may read different parts. */
ot_status ot_payload_part(const struct payload *p, size_t first, size_t n, void *dst,
                          ot_error *err);
/* Floats from `first` on where they stand in memory as they are, not aligned; else NULL. */
const void *ot_payload_in_place(const struct payload *p, size_t first);
void ot_payload_close(struct payload *p);

/* ---- sparse.c ---- */

/* Checks everything but the indices' values. shape: the dense shape. */
ot_status ot_sparse_check(struct import *im, const Onnx__SparseTensorProto *s, struct tensor *shape,
                          ot_type *file_type, enum value_spelling *spelling);
/* The row-major positions of the values in the dense tensor, checked, in scratch memory. */
ot_status ot_sparse_positions(struct import *im, const Onnx__SparseTensorProto *s,
                              const struct tensor *shape, int64_t **position, int64_t *n);

/* ---- attributes.c ---- */

/* Attributes of a node, or presets of a function. ref == NULL: references are refused. */
ot_status ot_attributes_read(struct import *im, Onnx__AttributeProto *const *list, size_t n,
                             struct attr **attr, const char *const **ref);

/* ---- functions.c: local functions ---- */

/* Finds functions, refuses cycles, counts what inlining makes of them. */
ot_status ot_functions_prepare(struct import *im);
int ot_functions_find(const struct import *im, const Onnx__NodeProto *node); /* -1: none */
/* Versions of an opset_import list into SCOPE_OPSET(function). */
ot_status ot_opsets_read(struct import *im, Onnx__OperatorSetIdProto *const *list, size_t n,
                         int function);
const char *ot_domain(const char *domain); /* "" for NULL and "ai.onnx" */

/* ---- values.c: inputs, initializers, outputs ---- */

ot_status ot_values_declare(struct import *im);
/* Initializers and inputs of a graph at this place of the file; adds what is fed to input[*n]. */
ot_status ot_values_lists(struct import *im, const Onnx__GraphProto *p, const char *place,
                          bool exportable, int *input, int *n);
/* A new value named `prefix` and `name` (copied), known as known_as in a scope. With a prefix the
 * whole name is taken in SCOPE_GRAPH, too. */
ot_status ot_values_add(struct import *im, uint64_t scope, const char *known_as, const char *prefix,
                        const char *name, enum value_kind kind, int *value);
/* Initializers, of branches too. */
ot_status ot_values_initializer(struct import *im, uint64_t scope, const char *prefix,
                                Onnx__TensorProto *t, bool exportable);
ot_status ot_values_sparse_initializer(struct import *im, uint64_t scope, const char *prefix,
                                       Onnx__SparseTensorProto *s, bool exportable);
/* Types and shapes that the file tells of the outputs of nodes, and its notes of initializers. */
void ot_values_hints(struct import *im);
/* Of value v alone, ahead of the others. */
void ot_values_hint(struct import *im, int v);
ot_status ot_values_outputs(struct import *im);

/* ---- fix.c: inputs that are constants ---- */

/* Does the list of options name this input? */
bool ot_fix_names(const struct import *im, const char *name);
/* Makes a constant of input v, which has a name alone, of the declared type and shape. */
ot_status ot_fix_input(struct import *im, const struct value *declared, int v);
/* Every entry of the list must name an input. */
ot_status ot_fix_check(struct import *im);

/* An input of a body. */
ot_status ot_values_formal(struct import *im, uint64_t scope, const char *prefix,
                           const Onnx__ValueInfoProto *p, int *value);

/* ---- activation.c ---- */

/* Replaces Relus as the options say. */
ot_status ot_activation_set(struct import *im);

/* ---- exporter_notes.c: what exporters note of initializers ---- */

void ot_note_read(struct import *im, const Onnx__ValueInfoProto *p);

/* ---- nodes.c: nodes in order, functions inlined ---- */
ot_status ot_nodes_walk(struct import *im);
/* Nodes of a graph at this place of the file, which see the names of the model's. */
ot_status ot_nodes_walk_graph(struct import *im, const Onnx__GraphProto *p, const char *place);

/* ---- body.c: bodies of loops ---- */

/* Moves the nodes of bodies behind those of the graph. */
ot_status ot_bodies_gather(struct import *im);

/* ---- training.c: training_info ---- */

ot_status ot_training_find(struct import *im);
ot_status ot_training_read(struct import *im);

/* ---- constant.c: Constant nodes ---- */

/* Where the data of a Constant node with these attributes comes from. attr: of its references. */
ot_status ot_constant_source(struct import *im, const Onnx__NodeProto *node,
                             const struct attr *attr, int n_attr, struct source *source);

/* The tensor of a constant of at most so many elements; NULL: not a constant, or faulty. */
const struct tensor *ot_constant_read(struct import *im, int v, int64_t most);

/* ---- weights.c: constants get their data, weights with zeros their pattern ---- */
/* Notes how a node uses its weight, once its inputs are known. */
void ot_weights_use(struct import *im, const struct node *node);
ot_status ot_weights_read(struct import *im);

/* ---- skeleton.c ---- */
ot_status ot_skeleton_make(struct import *im);

#endif
