/* grow.h - positions that a weight grows at: random ones. (Those of the largest gradients come from
 * a probe, which looks for them while gradients are computed.) */
#ifndef OT_TOPOLOGY_GROW_H
#define OT_TOPOLOGY_GROW_H

#include "runtime/topology/merge.h"

/* Positions of the matrix that no kept slot has. */
static inline int64_t ot_free_positions(const struct pattern *p, const struct kept *kept) {
    return (int64_t)p->rows * p->cols - kept->n;
}

/* n different positions, ascending, each free one as likely as any other; at most half of the free
 * ones. They depend on the two numbers and the kept slots alone. */
ot_status ot_grow_random(const struct pattern *p, const struct kept *kept, int n, uint64_t seed,
                         uint64_t stream, int64_t *position, ot_error *err);

#endif
