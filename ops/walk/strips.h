/* strips.h - a tensor seen along an axis, for operators that run along it: [outer][length][inner]
 * in memory, where inner has the lanes in it. It is cut into strips of neighbouring columns. */
#ifndef OT_OPS_WALK_STRIPS_H
#define OT_OPS_WALK_STRIPS_H

#include "ops/op.h"

enum { OT_STRIP = 64 }; /* most columns in a strip */

struct strips {
    int64_t outer, length, inner;
    int64_t per_line; /* strips in inner */
};

/* Axes from .. to-1 of x, taken as one, are the length; in lanes from >= x->lane_rank. */
void ot_strips_of(const struct tensor *x, int from, int to, struct strips *s);

/* The number of the column that starts at element `at`, of outer * inner. */
static inline int64_t ot_strips_column(const struct strips *s, int64_t at) {
    const int64_t line = s->length * s->inner;
    return at / line * s->inner + at % line;
}

/* Calls fn for every strip, in parallel: its first column starts at element `at` and has `columns`
 * neighbours with it, 1 <= columns <= OT_STRIP. Elements of a column are `inner` apart. */
typedef void ot_strip_fn(void *arg, int64_t at, int64_t columns);
void ot_strips_each(struct pool *pool, const struct strips *s, ot_strip_fn *fn, void *arg);

#endif
