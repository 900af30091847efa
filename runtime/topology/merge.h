/* merge.h - a new pattern from slots that stay and positions that grow, and the map between them.
 *
 * A position is row * cols + col: ascending positions are in the order of slots. The map tells what
 * each new slot was before: everything of the size of the nonzeros moves through it.
 */
#ifndef OT_TOPOLOGY_MERGE_H
#define OT_TOPOLOGY_MERGE_H

#include "runtime/base/pattern.h"

/* Slots of a pattern that stay, ascending. */
struct kept {
    int n;
    int *row;  /* rows + 1: first of each row, as in a pattern */
    int *slot; /* n */
};

static inline int64_t ot_position(const struct pattern *p, int row, int slot) {
    return (int64_t)row * p->cols + p->col[slot];
}

/* Those slots of `old` that are kept, and the `grown` positions, which are ascending, distinct, and
 * in none of them. map gets, for each new slot, the old one, or -1 where it has grown: n_grown +
 * kept->n entries. A grown position that is a slot of `old` counts as the old slot where `returns`
 * is set. */
ot_status ot_pattern_merge(const struct pattern *old, const struct kept *kept, const int64_t *grown,
                           int n_grown, bool returns, int *map, struct pattern **pattern,
                           ot_error *err);

/* to[k] = from[map[k]], or newborn[i] for the i-th slot that has grown; newborn NULL: zeros. */
void ot_map_values(const int *map, int n, const float *from, const float *newborn, float *to);

#endif
