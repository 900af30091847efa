/* match.h - finds nodes of a graph that make up an expression.
 *
 * A pattern is such an expression as text, "Add(MatMul(x, w), b)":
 *   Name(args)   a node of this operator, or of one of several (Mul|Div), whose first inputs match
 *   Name?(args)  the same; or no such node: then the first argument is matched in its place
 *   Mul*(a,b,c)  a product of all of these, in any order and grouping
 *   {a; b}       the one or the other, tried in this order
 *   0.5          a constant of one element with this value, to 1e-4
 *   x            any value, the same one wherever the name stands
 * Add and Mul take their arguments in either order. Names of values are lower case. Identity, and a
 * Cast of floats to float, may stand before any node.
 */
#ifndef OT_MODEL_MATCH_H
#define OT_MODEL_MATCH_H

#include "runtime/base/graph.h"

enum {
    OT_MATCH_TERMS = 192,
    OT_MATCH_ARGS = 6,
    OT_MATCH_VALUES = 10,
    OT_MATCH_NODES = 96,
    OT_MATCH_BETWEEN = 8
};

enum term_kind { OT_TERM_VALUE, OT_TERM_NUMBER, OT_TERM_NODE, OT_TERM_PRODUCT, OT_TERM_CHOICE };

struct term {
    enum term_kind kind;
    bool optional;
    const char *text; /* name or operators, not terminated */
    int length;
    int index; /* of the value or the node in struct match */
    float number;
    int n_args, arg[OT_MATCH_ARGS]; /* terms */
};

/* A pattern ready for use; term 0 is the whole. */
struct expression {
    struct term term[OT_MATCH_TERMS];
    int n, values, nodes;
};

/* Values and nodes in the order in which the pattern names them first; -1: not there. The nodes of
 * a product count one less than its factors. between: those that the pattern does not name. */
struct match {
    int value[OT_MATCH_VALUES], node[OT_MATCH_NODES], between[OT_MATCH_BETWEEN];
};

/* Reads a pattern. False: the pattern is wrong, or has too many parts; then it matches nothing. */
bool ot_expression(struct expression *e, const char *pattern);

/* Does the pattern match with node k as its outermost operator? */
bool ot_match(const struct expression *e, const struct graph *g, int k, struct match *m);

#endif
