/* fresh.h - parameters get new contents, perhaps of another shape or with another pattern, that
 * have nothing to do with the old ones: a new head, weights that are drawn anew. */
#ifndef OT_TRAIN_FRESH_H
#define OT_TRAIN_FRESH_H

#include "runtime/model/weights.h"

/* What a parameter becomes. */
struct fresh {
    struct parameter *p;
    struct tensor t; /* t.pattern is owned, and t.data is a block of the model's allocator */
    ot_structure structure;
};

/* Frees the contents of a list, and the list itself. */
void ot_fresh_free(const ot_allocator *allocator, struct fresh *list, int n);

/* All parameters of the list, or none of them: *weights is replaced. What they had in the state of
 * training is gone. The list gives its contents away. */
ot_status ot_fresh_commit(struct model *m, struct weights **weights, struct fresh *list, int n,
                          ot_error *err);

#endif
