/* masked.h - masks that a graph holds as tensors become patterns of the weights that they mask.
 *
 * Pruning tools that do not write their zeros into the weight leave W * mask, or Where(mask, W, 0),
 * in the graph: torch.nn.utils.prune without `remove`, NNCF. A mask of zeros and ones says with
 * certainty what is structure: the ones are slots, and a zero of W under a one is a value. The mask
 * may cover elements, rows or channels, stand on either side, be a Constant or an initializer of
 * any type, come by Cast, Not, a comparison, Unsqueeze, Expand and their like, mask a weight that
 * was moved or that other masks have masked, and be moved behind it.
 *
 * Where nothing of W is seen but through masks, W gets the pattern of what they let through, and
 * those who read the product read W: the product is gone from the plan, while the file keeps it,
 * the mask, and what W holds where the mask is closed. A mask that lets less through than another
 * use of W stays an operator, whose gradient is masked by itself. No mask is trained.
 */
#ifndef OT_COMPILE_MASKED_H
#define OT_COMPILE_MASKED_H

#include "runtime/compile/plan.h"

/* For a graph that was just imported, before its parameters are found: sets open, mask and is_mask
 * of its values. */
ot_status ot_masks_fold(const struct compiler *c, const struct kernels *kernels,
                        size_t memory_bytes, ot_error *err);

#endif
