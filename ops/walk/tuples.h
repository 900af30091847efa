/* tuples.h - index tensors [..., r] whose last axis holds r indices: each tuple names a slice.
 *
 * GatherND reads slices, ScatterND writes them.
 */
#ifndef OT_OPS_WALK_TUPLES_H
#define OT_OPS_WALK_TUPLES_H

#include "ops/walk/indices.h"

struct tuples {
    struct ranges ranges;       /* r columns */
    int64_t step[OT_MAX_RANK];  /* elements of data from one index to the next, by column */
    int64_t batches, per_batch; /* tuples are [batches][per_batch] */
    int64_t batch_size, inner;  /* elements of data in a batch; of a slice */
    int64_t pieces;             /* of a slice, see ot_tuples_run */
};

/* For prepare: x[1] picks from x[0] behind the first batch_dims axes, which they share. */
ot_status ot_tuples_of(const struct op_node *n, int64_t batch_dims, struct tuples *t,
                       ot_error *err);

/* First element of the slice that tuple k names. */
int64_t ot_tuples_at(const struct op_node *n, const struct tuples *t, int64_t k);

/* Calls fn for pieces [from, to) of all slices of a batch, in parallel: nobody else works on that
 * piece of these slices. */
typedef void ot_piece_fn(const struct op_node *n, int64_t batch, int64_t from, int64_t to);
void ot_tuples_run(struct op_node *n, const struct tuples *t, ot_piece_fn *fn);

#endif
