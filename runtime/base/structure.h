/* structure.h - which zeros of a weight are structure, and which are values: the one rule.
 *
 * Structure stays zero: it has no slot in the weight's pattern, no gradient and no moment. A value
 * that happens to be zero is trained like any other. A file does not say which is which, so:
 *
 *   - Only weights of two or more dimensions that a product, a recurrent layer or an embedding
 *     takes have structure. Pruning tools leave vectors alone, and nothing is won there.
 *   - A weight that the file spells as a sparse tensor has its entries for slots, however many.
 *   - A weight that the graph multiplies by a tensor of zeros and ones, or selects by one, has the
 *     ones for slots; zeros of the weight under a one are values (runtime/compile/masked.h).
 *   - Else zeros are structure where they are a tenth of the weight or more, -0.0 counted: pruning
 *     for less wins neither time nor memory, while rounding to zero, padded rows of embeddings and
 *     features that were never seen leave a few in dense weights.
 *   - Of a weight that is held as integers, behind DequantizeLinear, four tenths: rounding to 8
 *     bits makes zeros of all that is smaller than half a step, a few percent of normally
 *     distributed weights with a scale a channel, up to a third with one scale and an outlier.
 *   - Never where all are zero: such a weight (a new head, the last layer of a residual branch,
 *     LoRA's second factor) is a beginning, and could not learn.
 *
 * Whoever knows better names the weight: its zeros are structure, whatever their share, or values.
 */
#ifndef OT_BASE_STRUCTURE_H
#define OT_BASE_STRUCTURE_H

#include <stdbool.h>

#include "runtime/onnxtrain.h"

/* What the rule is told: members of ot_options. Zeros are the defaults. */
struct structure_rule {
    float share;
    const char *mask;
};

/* Do this many zeros among `count` elements have no slots? *from: why they have none, or
 * OT_STRUCTURE_NONE. */
bool ot_zeros_are_structure(const struct structure_rule *rule, const char *name, bool integers,
                            int64_t zeros, int64_t count, ot_structure *from);

/* Is a structure that the file states, a sparse tensor or a mask, to be left aside for the weight
 * of this name? */
bool ot_structure_is_unwanted(const struct structure_rule *rule, const char *name);

#endif
