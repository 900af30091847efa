/* job.h - struct import, alive during one import, and what all stages stand on.
 *
 * The protobuf tree lives in `scratch` and is gone afterwards; all that the graph keeps is copied
 * into the graph's arena. Strings of the tree hold no NUL and are UTF-8: the wire scan saw to it.
 */
#ifndef OT_ONNX_JOB_H
#define OT_ONNX_JOB_H

#include "onnx.pb-c.h"

#include "onnx/small_alloc.h"
#include "onnx/import.h"
#include "onnx/names.h"

enum { OT_NEWEST_IR = 14, OT_NEWEST_OPSET = 28, OT_MOST_PROBLEMS = 100 };

/* Where the data of a constant value comes from, until it is read: one of the first three. */
struct source {
    Onnx__TensorProto *tensor;
    Onnx__SparseTensorProto *sparse;
    struct tensor *ready;
    const struct sequence *sequence; /* sequence.c */
    enum weight_use use;
};

/* A node of the file with its attributes read; `ref` names those that refer to the caller's. */
struct template {
    struct node node;       /* op_type, domain, opset, attributes */
    const char *const *ref; /* n_attr entries, NULL where it is a value; NULL: none at all */
    bool ready;
    int constant; /* the value that a Constant became; -1: none yet */
};

struct function {
    Onnx__FunctionProto *proto;
    struct template *template; /* one a node, filled when first used */
    struct attr *preset;       /* attributes with default values */
    int n_preset;
    size_t nodes, values, depth; /* when inlined, nested calls included */
    int state;                   /* of the search for cycles: 0 new, 1 open, 2 done */
};

/* What a name can stand for besides a value: an optional one that is absent, or one whose fault has
 * been told. */
enum { VALUE_ABSENT = -1, VALUE_FAULTY = -2 };

/* Scopes of names (names.h). Calls of functions get scopes from SCOPE_CALL on, two a call. */
enum {
    SCOPE_GRAPH = 0,
    SCOPE_DOMAIN,
    SCOPE_OVERLOAD,
    SCOPE_INPUT,
    SCOPE_OUTPUT,
    SCOPE_METADATA,
    SCOPE_UPDATE, /* of training_info: what update_binding may take, and its keys */
    SCOPE_UPDATE_KEY,
    SCOPE_INITIALIZATION,
    SCOPE_INITIALIZATION_KEY,
    SCOPE_SEQUENCE, /* elements of sequences, which have no names */
    SCOPE_HINT,     /* numbers in value_info */
    SCOPE_CALL = 16
};
#define SCOPE_FUNCTION(domain, overload)                                                           \
    ((uint64_t)1 << 62 | (uint64_t)(uint32_t)(domain) << 30 | (uint32_t)(overload))
/* Versions of the domains that function i (-1: the main graph) imports. */
#define SCOPE_OPSET(i) ((uint64_t)1 << 61 | (uint32_t)((i) + 1))

struct import {
    const struct import_options *options;
    ot_allocator allocator;
    struct arena scratch;
    struct small_alloc temporary, kept; /* small blocks of scratch, and of the graph's arena */
    struct graph *g;
    ProtobufCAllocator tree; /* protobuf-c's way into scratch */
    Onnx__ModelProto *model;
    const Onnx__GraphProto *algorithm; /* of training_info; NULL: none is read */
    uint64_t next_scope;               /* of the next call of a function */
    int n_bodies, body;                /* of loops; the one that the walk is in, or 0 */
    bool bodies_gathered;              /* all bodies have been gathered: what follows has none */
    struct names names;
    struct source *source; /* one a value */
    struct function *function;
    int n_functions;
    size_t max_values, max_nodes;     /* room in the graph */
    size_t spare_values, spare_nodes; /* part of that room that does not count against the limit */
    bool hints_named;
    uint64_t file_bytes, expanded;    /* bytes made from less of the file; see ot_import_expand */
    int folder;                       /* folder of external data; -1: the model is not a file */
    const struct import_visit *visit; /* NULL: constants are read */
    ot_error last, first;             /* the failure at hand, and the one that is reported */
    int problems;
};

/* im->last = this failure. */
#define ot_import_fail(im, ...) ot_fail(&(im)->last, __VA_ARGS__)

/* Logs im->last and keeps the first. OT_OK while the import can go on looking for more problems. */
ot_status ot_import_problem(struct import *im, ot_status status);

/* Fails with LIMIT or NO_MEMORY, whichever it was that refused `bytes` of this arena. */
ot_status ot_import_no_room(struct import *im, const struct arena *a, size_t bytes);

/* A copy of a string, NULL being empty, that the graph keeps. */
ot_status ot_import_keep(struct import *im, const char *s, const char **kept);

/* Counts memory that grows faster than the file (zeros of sparse tensors, nodes of functions): at
 * most 64 MiB and 8 times the file in all. */
ot_status ot_import_expand(struct import *im, uint64_t bytes, const char *what);

/* fn(arg, i, worker) for all i in [0, tasks), on the threads that the import has; see pool.h. */
void ot_import_parallel(const struct import *im, int tasks, ot_task_fn *fn, void *arg);
int ot_import_workers(const struct import *im);

#endif
