/* state.h - what is being learnt: gradients and moments of all weights that are trained.
 *
 * One block each, with the same places: the weights that are trained, in the order of the
 * parameters. Where other weights are trained, the blocks are made anew, and what is still trained
 * moves with them.
 */
#ifndef OT_TRAIN_STATE_H
#define OT_TRAIN_STATE_H

#include "runtime/model/weights.h"

struct state {
    ot_allocator allocator;
    size_t floats;             /* of each block */
    float *gradient;           /* NULL until a plan trains */
    float *moment[OT_MOMENTS]; /* NULL until an optimizer keeps it */
};

/* Which of its blocks: the gradient, a moment, or the score. */
enum state_part {
    OT_STATE_GRADIENT = -1,
    OT_STATE_MOMENT_0,
    OT_STATE_MOMENT_1,
    OT_STATE_SCORE = OT_SCORE
};

/* The parameter has this part from here on: zeros, where it had none. */
ot_status ot_state_need(struct state *s, struct model *m, struct parameter *p, enum state_part part,
                        ot_error *err);
/* It has none of them any more. */
void ot_state_forget(struct parameter *p);
/* After other weights are trained, or some are not: gives back what nobody needs. Where there is no
 * memory to move the rest, all stays as it is. */
void ot_state_settle(struct state *s, struct model *m);
/* Nobody has this moment any more. */
void ot_state_drop_moment(struct state *s, struct model *m, int k);
void ot_state_free(struct state *s); /* zeroed is fine */

/* Floats of each block, as parameters are now. */
size_t ot_state_size(const struct model *m);
/* Makes blocks of so many floats for the parts that have a block. */
ot_status ot_state_reserve(const struct state *s, size_t floats, struct state *fresh,
                           ot_error *err);
/* Moves everything into such blocks, as parameters are now: they may just have got other patterns.
 */
void ot_state_move(struct state *s, struct model *m, const struct state *fresh, ot_move_fn *move,
                   void *context);

/* Bytes of all blocks; and of those that training with so many moments would add. */
size_t ot_state_bytes(const struct state *s);
size_t ot_state_missing(const struct state *s, const struct model *m, int moments);

#endif
