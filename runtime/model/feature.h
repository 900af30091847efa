/* feature.h - finds the product or norm whose scale or bias an operand is. */
#ifndef OT_MODEL_FEATURE_H
#define OT_MODEL_FEATURE_H

#include "runtime/base/graph.h"

/* The product or norm that a value comes from. Nodes that move elements, scales and biases may
 * stand between. */
struct feature {
    bool found;       /* there is one: a product with a weight, or a norm */
    bool has_scale;   /* the layer has a scale, as one of its inputs or as a node behind it */
    bool has_bias;    /* the layer has a bias, likewise */
    bool is_group;    /* the number of features is a multiple of `count` */
    int64_t count[2]; /* the numbers of features that are possible; -1: any */
};

void ot_feature_find(const struct graph *g, int v, struct feature *f);

/* Is input i of node k, an Add, Sub, Mul or Div, the scale or the bias of such a layer: a vector
 * with an element a feature, where the layer has none yet? taken: the layer has one already. */
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
