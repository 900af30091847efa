/* unroll.h - what the files of unroll*.c share: the walk that makes a plan's graph. */
#ifndef OT_COMPILE_UNROLL_H
#define OT_COMPILE_UNROLL_H

#include "runtime/compile/known.h"
#include "runtime/model/loop.h"

enum { OT_MOST_NESTED = 16 };

/* A value that is taken apart along an axis, for those who read a part in each iteration. */
struct parts {
    int v; /* of the plan's graph */
    int64_t axis;
    int64_t n;
    int *part; /* values, without that axis */
};

/* A loop under way. */
struct level {
    const struct node *loop;
    struct loop_form form;
    int next;            /* node of the body */
    int64_t i, count;    /* iteration; how many there are at most */
    bool goes_on;        /* last value of the condition */
    int yes;             /* a constant: true */
    int *state, *after;  /* carried values, before and after the iteration */
    int *slice;          /* of each sliced input, one an iteration */
    int *stack;          /* results of the iterations so far, form.stacked each */
    int64_t stack_room;  /* iterations */
    struct parts *parts; /* of values that no iteration changes */
    int n_parts, parts_room;
};

struct unroller {
    struct plan *p;
    const struct graph *file;
    struct graph *g;
    struct known known;
    int value_room, node_room;
    int *map;     /* new index of each value of the file */
    bool *varies; /* values in bodies: another one in each iteration */
    struct level level[OT_MOST_NESTED];
    int depth;
    uint64_t iterations;
    ot_error *err;
};

/* ---- unroll_graph.c: the graph grows ---- */

/* n zeroed elements in the plan's arena; NULL: out of memory. */
void *ot_unroll_take(struct unroller *u, int64_t n, size_t size);
ot_status ot_unroll_no_memory(struct unroller *u);
ot_status ot_unroll_fail(struct unroller *u, const struct node *n, ot_status status,
                         const char *why);
/* Fails where nodes and iterations are as many as the limit. */
ot_status ot_unroll_check_room(struct unroller *u);
/* A new value like this one, named with the iterations in which it stands. */
ot_status ot_unroll_value(struct unroller *u, const struct value *like, int *v);
/* A constant of one element, a scalar or, where `formal` has rank 1, a vector. */
ot_status ot_unroll_number(struct unroller *u, const struct value *formal, ot_type type,
                           int64_t number, int *v);
/* What output v of a node of the file is where the walk is: in a body, a new value. */
ot_status ot_unroll_define(struct unroller *u, int v, int *to);
/* A node with these inputs and outputs, which become the graph's. */
ot_status ot_unroll_add(struct unroller *u, struct node node, int *in, int *out);
/* A node that the file does not have: one or more inputs, one output. */
ot_status ot_unroll_made(struct unroller *u, const char *op, const char *name, const char *attr,
                         int64_t axis, const int *x, int64_t n, int y);

/* ---- unroll_parts.c: slices and stacks ---- */

/* Takes the inputs of a Scan apart; their length is the number of iterations. */
ot_status ot_unroll_scan(struct unroller *u, struct level *l, const int *x);
/* A Gather of one place, which is known, from what no iteration changes: its output becomes one of
 * the parts that all iterations share, so that their gradients are written once. *taken is false
 * where the node is none, and nothing was done. */
ot_status ot_unroll_gather(struct unroller *u, const struct node *n, bool *taken);
/* Output v of a loop: what its iterations gave, along a new axis. */
ot_status ot_unroll_stack(struct unroller *u, const struct level *l, int k, int v);

#endif
