/* walk.h - what nodes.c, node.c, scope.c, function_calls.c, branch.c, body.c and sequence.c share
 * of the walk over nodes. */
#ifndef OT_ONNX_WALK_H
#define OT_ONNX_WALK_H

#include "onnx/model.h"

/* The graph, one call of a function, a branch that an If takes, or the body of a loop. Its names
 * live in `scope`; scope + 1 holds the numbers of a function's or branch's formal outputs. */
struct frame {
    struct function *function; /* NULL: the graph; a branch has that of its If */
    int number;                /* of the function; -1 */
    Onnx__NodeProto *const *node;
    size_t n, i;
    uint64_t scope;
    const Onnx__NodeProto *call; /* the node that called, the If */
    struct attr *attr;           /* of the call */
    int n_attr;
    const Onnx__GraphProto *branch; /* a branch or body: names of outer frames hold in it, too */
    const char *prefix;             /* of names in a branch or body outside of functions */
    const struct node *loop;        /* the Loop or Scan whose body this is; NULL: none */
    int outer_body;                 /* import.body around this body */
};

struct walker {
    struct import *im;
    struct frame *frame;
    int top;
};

enum { OT_MOST_FRAMES = 128 };
enum { OT_SHORT_NAME = 64 }; /* as much of a name becomes part of another */

/* ---- scope.c ---- */

/* The value of an input, or VALUE_ABSENT. */
ot_status ot_walk_input(struct walker *w, const char *name, int *v);
/* A new value for output `name` of a node in the top frame. */
ot_status ot_walk_output(struct walker *w, const char *name, enum value_kind kind, int *v);
/* Another name for value v. */
ot_status ot_walk_alias(struct walker *w, uint64_t scope, const char *name, int v);
/* After a node failed its outputs are not missed, so that each fault is told once, and those that
 * it has made, values from `first` on, are used by nobody: they have no node, or no contents. */
void ot_walk_faulty(struct walker *w, const Onnx__NodeProto *p, int first);

/* ---- function_calls.c: calls of local functions ---- */

/* Goes into the body of function `number`, called by p with these attributes. */
ot_status ot_call_enter(struct walker *w, const Onnx__NodeProto *p, int number,
                        const struct template *t, struct attr *attr);
/* Leaves the top frame, a call or a branch: its results get their names outside. */
ot_status ot_call_leave(struct walker *w);

/* ---- branch.c: If with a constant condition ---- */

bool ot_branch_is_if(const Onnx__NodeProto *p);
/* Enters the branch that the condition takes; *taken is false where the condition is no constant,
 * and nothing was done. */
ot_status ot_branch_enter(struct walker *w, const Onnx__NodeProto *p, bool *taken);

/* The graph that attribute `name` of a node is; NULL: there is none. */
const Onnx__GraphProto *ot_branch_find(const Onnx__NodeProto *p, const char *name);
/* Prefix of the names in that graph: no two are the same. */
ot_status ot_branch_prefix(struct walker *w, const Onnx__NodeProto *p, const char *branch,
                           const char **prefix);
/* Enters a frame and declares the initializers of its graph. */
ot_status ot_branch_push(struct walker *w, struct frame frame);

/* ---- body.c: Loop and Scan ---- */

bool ot_body_is_loop(const struct node *node);
/* Enters the body of the node, whose type and attributes these are. */
ot_status ot_body_enter(struct walker *w, const Onnx__NodeProto *p, const struct node *node);
/* Leaves the body that is the top frame, and adds its node. */
ot_status ot_body_leave(struct walker *w);

/* ---- node.c ---- */

/* Adds a node of this type, with these attributes, to the graph. */
ot_status ot_walk_add(struct walker *w, const Onnx__NodeProto *p, const struct node *node);

/* ---- sequence.c: sequences of known length ---- */

/* A node that takes or makes a sequence; *taken is false where this is none, and nothing was
 * done. node: its type and attributes. */
ot_status ot_sequence_node(struct walker *w, const Onnx__NodeProto *p, const struct node *node,
                           bool *taken);

#endif
