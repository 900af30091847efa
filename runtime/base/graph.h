/* graph.h - an imported model: values and nodes, indices instead of pointers, no protobuf.
 *
 * Nodes stand in topological order. Everything is owned by the graph's arena. Weights with zeros
 * come with a pattern and nnz values (see pattern.h); all floating-point data is OT_FLOAT here,
 * whatever the file held.
 */
#ifndef OT_BASE_GRAPH_H
#define OT_BASE_GRAPH_H

#include "runtime/base/arena.h"
#include "runtime/base/structure.h"
#include "runtime/base/tensor.h"

struct view;

enum attr_kind {
    OT_ATTR_INT = 1,
    OT_ATTR_FLOAT,
    OT_ATTR_STRING,
    OT_ATTR_TENSOR,
    OT_ATTR_INTS,
    OT_ATTR_FLOATS,
    OT_ATTR_STRINGS,
    OT_ATTR_VIEW, /* of a plan's own nodes alone */
    OT_ATTR_OTHER /* graphs, types, ...: kept by name, so that an operator can refuse it */
};

struct attr {
    const char *name;
    enum attr_kind kind;
    int64_t n; /* entries of a list; length of a string, which is NUL-terminated too */
    int64_t i;
    float f;
    const char *s;
    const struct tensor *t;
    const int64_t *ints;
    const float *floats;
    const char *const *strings;
    const struct view *view;
};

/* What a Loop or Scan repeats: the nodes of the graph from first_node to end, in topological order,
 * which also read values from around the node. */
struct body {
    int first_node, end;
    int n_in, n_out;
    int *in, *out; /* values: formal inputs; what an iteration gives */
    int number;    /* from 1 on; of an inner body larger than of an outer one */
};

struct node {
    const char *name; /* never NULL; "" where the file has none */
    const char *op_type;
    const char *domain; /* "" for the default domain, "ai.onnx" included */
    int opset;          /* version of its domain that holds for it */
    int n_in, n_out, n_attr;
    int *in, *out; /* values; -1: an optional one that is absent */
    struct attr *attr;
    struct body *body; /* of a Loop or Scan; NULL elsewhere */
    int in_body;       /* number of the body that the node stands in; 0: none */
};

enum value_kind {
    OT_VALUE_NODE = 0,    /* output of a node */
    OT_VALUE_INPUT,       /* graph input without initializer */
    OT_VALUE_INITIALIZER, /* initializer or sparse_initializer */
    OT_VALUE_CONSTANT,    /* output of a Constant node; the node itself is gone */
    OT_VALUE_FORMAL,      /* input of a body: another value in each iteration */
    OT_VALUE_SEQUENCE     /* a list of values while a file is read: no node knows it */
};

/* What the file says of an initializer beyond its contents. */
enum value_note {
    OT_NOTE_NONE = 0,
    OT_NOTE_PARAMETER, /* a parameter of the exported module */
    OT_NOTE_FIXED      /* a buffer or a constant of the exported module: never trained */
};

/* How the file spells a constant value; export writes the same. */
enum value_spelling { OT_SPELL_DENSE = 0, OT_SPELL_SPARSE_LINEAR, OT_SPELL_SPARSE_COO };

struct value {
    const char *name;
    enum value_kind kind;
    int producer;             /* node, or -1 */
    ot_type type;             /* type in the file; OT_UNDEFINED where the file has none */
    int rank;                 /* -1: unknown */
    int64_t dim[OT_MAX_RANK]; /* -1: free. Of inputs and initializers; a hint elsewhere */
    struct tensor *constant;  /* of initializers and constants; NULL elsewhere */
    enum value_spelling spelling;
    enum value_note note;
    bool varies;     /* a constant that is trained or written: nobody may read its value in plans */
    bool exportable; /* a new value can be written back (not inside a local function) */
    ot_structure structure;     /* of a weight: why its constant has a pattern */
    int64_t zeros;              /* of a weight: slots that hold zero */
    const struct pattern *open; /* of a weight that the graph masks by tensors: the slots that they
                                 * let through. Owned; NULL: all, or none masks it */
    const char *mask;           /* name of one of these tensors; NULL: none */
    bool is_mask;               /* the value is a mask of a weight: never trained */
    const uint8_t *negative_zeros; /* a bit an element, in row-major order: -0.0 where the pattern
                                    * of the constant has no slot. NULL: there are none */
};

/* After a step, what `from` holds becomes the content of initializer `key`. */
struct binding {
    int key, from; /* values */
};

/* What the file's training_info does in a step. */
struct algorithm {
    int end;         /* the body's nodes are those of the graph from all_nodes up to this one */
    int first_value; /* number of its first value */
    int n_inputs, n_bindings;
    int *input; /* values that it takes beside the graph's inputs */
    struct binding *binding;
};

struct graph {
    struct arena arena;
    int n_values, n_nodes, n_inputs, n_outputs;
    int all_nodes; /* n_nodes, then the nodes of bodies, body by body */
    struct value *value;
    struct node *node;
    int *input, *output; /* values; inputs without those that have initializers */
    int64_t ir_version, opset;
    const char *producer;
    int64_t file_nodes;              /* before inlining */
    struct structure_rule structure; /* by which zeros of weights were judged */
    int training_steps;              /* entries of training_info */
    struct algorithm *algorithm;     /* NULL: there is none, or it was not asked for */
    uint8_t hash[32];                /* SHA-256 of the file */
    const char *fix; /* inputs that were made constants, as import_options has it; or NULL */
    void *skeleton;  /* the serialized model without the payload of its large weights: for export */
    size_t skeleton_bytes; /* bytes of the skeleton */
};

void ot_graph_free(struct graph *g); /* NULL is fine; frees g and its arena */

/* Attributes. A missing one gives the default. Kinds were checked against the operator's list. */
const struct attr *ot_attr(const struct node *n, const char *name); /* NULL: absent */
int64_t ot_attr_int(const struct node *n, const char *name, int64_t otherwise);
float ot_attr_float(const struct node *n, const char *name, float otherwise);
const char *ot_attr_string(const struct node *n, const char *name, const char *otherwise);
/* The list and its length; NULL and 0 where it is absent. */
const int64_t *ot_attr_ints(const struct node *n, const char *name, int *count);

#endif
