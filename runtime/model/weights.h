/* weights.h - the values of all parameters of a model, in one block.
 *
 * Parameter k stands at model->parameter[k].offset. Weights are shared by reference: those that
 * somebody else may read are not written any more; a trainer writes its own.
 */
#ifndef OT_MODEL_WEIGHTS_H
#define OT_MODEL_WEIGHTS_H

#include <stdatomic.h>

#include "runtime/model/model.h"

struct weights {
    atomic_int references;
    uint64_t number; /* a host's number for these values; 0: none */
    ot_allocator allocator;
    size_t floats;
    float *value; /* 64-byte aligned; zeros between parameters */
};

/* With any contents; NULL: out of memory. Pages that nobody has written are not there yet, so that
 * values can move in while those that they replace go. */
struct weights *ot_weights_new(const ot_allocator *allocator, size_t floats);
/* Their values with a reference of their own; NULL: out of memory. */
struct weights *ot_weights_copy(const struct weights *w);
struct weights *ot_weights_ref(struct weights *w);
void ot_weights_unref(struct weights *w); /* NULL is fine; the last one frees them */

/* Floats that all parameters take. */
size_t ot_weights_size(const struct model *m);
/* Lays all parameters out, weights first, running statistics behind them, and moves their values
 * into w, which has room for them. What the graph held of large ones goes. */
void ot_weights_fill(struct model *m, struct weights *w);

/* Brings the numbers of one parameter to the place where they stand from here on: values, or what
 * else there is one of for each slot. */
typedef void ot_move_fn(void *context, const struct parameter *p, const float *from, float *to);
ot_move_fn ot_copy_values; /* as they are; context is not used */
/* ot_weights_fill with another way to move them: for parameters whose pattern has just changed. */
void ot_weights_move(struct model *m, struct weights *w, ot_move_fn *move, void *context);

/* Where parameter k stands, in floats. */
static inline float *ot_weights_at(const struct weights *w, const struct parameter *p) {
    return w->value + p->offset;
}

#endif
