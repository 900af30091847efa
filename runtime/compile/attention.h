/* attention.h - attention in a graph, however it is spelled: the nodes that make it up, found
 * before shapes are known; then where its operands are, as views of what they were moved from.
 *
 *     MatMul(p, v) with p = Softmax of the scores; between the Softmax and the product of q and k:
 *     factors, masks that are added or chosen by Where, Cast, Reshape of the axes in front;
 *     behind the Softmax: Where(IsNaN(p), 0, p), Cast, Reshape; around q, k, v and the result:
 *     whatever only moves elements, and on q and k factors and rotary embeddings.
 */
#ifndef OT_COMPILE_ATTENTION_H
#define OT_COMPILE_ATTENTION_H

#include "runtime/compile/plan.h"

enum { OT_ATTENTION_LINKS = 16, OT_ATTENTION_NODES = 96 };

enum link_kind {
    OT_LINK_MOVE = 0,
    OT_LINK_FACTOR,     /* value: the constant */
    OT_LINK_MASK,       /* added; value: the mask */
    OT_LINK_KEEP_TRUE,  /* Where(value, scores, constant) */
    OT_LINK_KEEP_FALSE, /* Where(value, constant, scores) */
    OT_LINK_ROTARY
};

/* One node on the way of an operand, or the last of those of a rotary embedding. */
struct link {
    enum link_kind kind;
    int node, value;
};

/* x cos + (-x[half:], x[:half]) sin */
struct rotary {
    int x, cosine, sine; /* values */
    int lower, upper;    /* values: the halves of x */
    int node[8], n;
};

struct path {
    int n, base; /* base: the value that it begins with */
    struct link link[OT_ATTENTION_LINKS];
    struct rotary rotary;
};

struct attention {
    struct path operand[3];         /* q, k, v: from the MatMul back */
    struct path scores;             /* from the MatMul on */
    struct path result;             /* from the second MatMul on: moves */
    int product, softmax, weighted; /* nodes */
    int y;                          /* the value that comes out */
    bool whole; /* one node, an Attention, which product, softmax and weighted all are */
    int tries;  /* steps left to the search for the product */
    bool guard; /* rows of NaN become 0 */
    int n, member[OT_ATTENTION_NODES]; /* all nodes that take part, in no order, each once */
};

/* What the finder asks of a plan, of each value. */
struct readers {
    const struct graph *g;
    const int *uses;         /* how many inputs of needed nodes read it, and 1 a result */
    const int *first, *last; /* needed nodes that read it; -1: none */
    const bool *known;       /* of each value: it depends on constants and shapes alone */
};

/* The attention around node k, a Softmax or an Attention. False: there is none; then *broken is the
 * node that broke the pattern, or -1 where there is nothing like attention. */
bool ot_attention_find(const struct readers *r, int k, struct attention *a, int *broken);

/* Gives `node`, a ScaledAttention, the inputs and attributes for the shapes of this plan; *broken:
 * the node that does not let it, or -1. */
ot_status ot_attention_place(struct plan *p, const struct attention *a, struct node *node,
                             int *broken, ot_error *err);

#endif
