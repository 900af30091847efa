/* finite.h - looking for infinities and NaN. */
#ifndef OT_BASE_FINITE_H
#define OT_BASE_FINITE_H

#include "runtime/base/pool.h"
#include "runtime/base/tensor.h"

/* What an array holds that is not finite; the worse one counts. */
enum flaw { OT_FLAW_NONE = 0, OT_FLAW_INFINITY, OT_FLAW_NAN };

struct survey {
    enum flaw flaw;
    int64_t bad;   /* elements that are not finite */
    float largest; /* largest absolute value of the finite elements; 0 where all are not finite */
};

/* Whether all n values are finite. */
bool ot_all_finite(struct pool *pool, const float *x, int64_t n);

/* Looks at all elements of a float tensor; others are without flaw. */
struct survey ot_survey(const struct tensor *t);

#endif
