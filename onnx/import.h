/* import.h - an ONNX file becomes a struct graph, or a message that says why not.
 *
 * Order: open, wire scan (scan.h), budgeted unpack, structure, tensors, external data, inlining of
 * local functions, Constant and Identity folding of weights, weights with zeros to patterns.
 */
#ifndef OT_ONNX_IMPORT_H
#define OT_ONNX_IMPORT_H

#include "runtime/base/graph.h"

struct import_options {
    ot_limits limits; /* zeros were replaced by defaults */
    ot_allocator allocator;
    struct pool *pool; /* reads large weights; NULL: the caller does */
    const char *fix;   /* inputs that are constants: "NAME=VALUE,NAME=VALUE"; NULL: none */
    struct log log;    /* warnings, and every problem found */
    bool training;     /* read training_info, too; else it is kept and not looked at */
    struct structure_rule structure; /* which zeros of weights are structure */
    const char *activation;          /* member of ot_options; not read by ot_import_visit */
};

ot_status ot_import_file(const char *path, const struct import_options *options,
                         struct graph **graph, ot_error *err);
/* The bytes may be freed afterwards. External data is refused. */
ot_status ot_import_buffer(const void *bytes, size_t size, const struct import_options *options,
                           struct graph **graph, ot_error *err);

/* Looks at what a file holds without keeping it: every constant value goes to see(context, im, v)
 * of model.h's struct import, its data unread. What see returns fails the import. */
struct import;
struct import_visit {
    ot_status (*see)(void *context, struct import *im, int v);
    void *context;
    const uint8_t *seed; /* 32 bytes that whoever wrote the file did not know: for hash tables */
    const char *data_name, *data_file; /* external data of this name stand in that file yet; or
                                        * NULL */
};
ot_status ot_import_visit(const char *path, const struct import_options *options,
                          const struct import_visit *visit, ot_error *err);

/* How a node reads input i of this rank as a weight: whether its output features, the rows of a
 * pattern, are dimension 0, the last one, or the first two together. */
enum weight_use { USE_NONE = 0, USE_ROWS, USE_COLUMNS, USE_STACKED };
enum weight_use ot_weight_use(const struct node *n, int input, int rank);

#endif
