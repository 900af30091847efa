/* attention_form.h - what a plan tells ScaledAttention beyond its tensors. */
#ifndef OT_BASE_ATTENTION_FORM_H
#define OT_BASE_ATTENTION_FORM_H

/* Its inputs. k and v may be parts of the tensor that q is in: attribute `sources`. The cosines and
 * sines are those of rotary embeddings of q and of k. The product of factors, or their inverses
 * (bits of attribute `divide`), scales the scores. */
enum attention_input {
    OT_ATTENTION_Q = 0,
    OT_ATTENTION_K,
    OT_ATTENTION_V,
    OT_ATTENTION_MASK,      /* and the two behind it */
    OT_ATTENTION_ANGLE = 6, /* of q: cosines, sines; of k */
    OT_ATTENTION_FACTOR = 10,
    OT_ATTENTION_INPUTS = 16
};
enum { OT_ATTENTION_MASKS = 3, OT_ATTENTION_FACTORS = 6 };

/* How a mask changes scores: entries of attribute `masks`. Those of entry i that are replaced
 * become entry i of attribute `fills`. */
enum attention_mask { OT_MASK_ADD = 0, OT_MASK_KEEP_TRUE, OT_MASK_KEEP_FALSE };

#endif
