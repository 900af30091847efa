/* finite.c - looking for infinities and NaN. */
#include "runtime/base/finite.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { GRAIN = 32768, EXPONENT = 0x7f800000 };

/* The bits of a float whose exponent is all ones are those of an infinity or a NaN: a test on
 * integers, which compilers turn into vectors whatever they think of floats. */
static bool range_is_finite(const float *x, int64_t n) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bad |= (bits & EXPONENT) == EXPONENT;
    }
    return !bad;
}

struct look {
    const float *x;
    int64_t n;
    atomic_bool bad;
};

static void look_at_range(void *arg, int task, int worker) {
    struct look *look = arg;
    int64_t from, to;
    (void)worker;
    from = (int64_t)task * GRAIN;
    to = from + GRAIN < look->n ? from + GRAIN : look->n;
    if (!range_is_finite(look->x + from, to - from))
        atomic_store_explicit(&look->bad, true, memory_order_relaxed);
}

bool ot_all_finite(struct pool *pool, const float *x, int64_t n) {
    if (n <= GRAIN) return range_is_finite(x, n);
    struct look look = {.x = x, .n = n};
    ot_parallel_for(pool, (int)((n + GRAIN - 1) / GRAIN), look_at_range, &look);
    return !atomic_load_explicit(&look.bad, memory_order_relaxed);
}

struct survey ot_survey(const struct tensor *t) {
    struct survey s = {.flaw = OT_FLAW_NONE};
    if (t->type != OT_FLOAT || !t->data) return s;
    const float *x = t->data;
    for (int64_t i = 0, n = ot_count(t); i < n; i++) {
        if (isfinite(x[i])) {
            s.largest = fabsf(x[i]) > s.largest ? fabsf(x[i]) : s.largest;
            continue;
        }
        s.bad++;
        if (isnan(x[i])) s.flaw = OT_FLAW_NAN;
        if (s.flaw == OT_FLAW_NONE) s.flaw = OT_FLAW_INFINITY;
    }
    return s;
}
