/* feature.h - finds the product or norm whose scale or bias an operand is. */
#ifndef OT_RUNTIME_FEATURE_H
#define OT_RUNTIME_FEATURE_H

#include "runtime/base/graph.h"

/* Where a value comes from, but for what moves its elements, and for scales and biases. */
struct feature {
    bool found;       /* from a product with a weight, or from a norm */
    bool has_scale;   /* which has a scale already, as one of its inputs or as a node, */
    bool has_bias;    /* and a bias */
    bool is_group;    /* it has a multiple of `count` features */
    int64_t count[2]; /* how many features it may have; -1: any number */
};

void ot_feature_find(const struct graph *g, int v, struct feature *f);

/* Is input i of node k, an Add, Sub, Mul or Div, the first vector along the features of such a
 * layer, which is to say its scale or its bias? More than one element, or one where there is one
 * feature. taken: it is such a vector, but the layer has that already. */
bool ot_feature_is_vector(const struct graph *g, int k, int i, bool *taken);

/* Is input i of node k, a Concat, one vector that is joined to what such a layer makes, as the
 * token of a class, and not all the same number? */
bool ot_feature_is_token(const struct graph *g, int k, int i);

/* Are scale and bias of this norm, its inputs 1 and 2, nothing but ones and zeros? A bias that is
 * absent is zero. */
bool ot_norm_is_plain(const struct graph *g, const struct node *node);
bool ot_is_norm(const struct node *node);

/* Is this an Add, Sub, Mul or Div? */
bool ot_is_arithmetic(const struct node *node);

#endif
