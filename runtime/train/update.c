/* update.c - looks whether an update stays in range before anything is written.
 *
 * A bound on weights and moments is kept from step to step, and nearly always it is enough. Where
 * it is not, the rule runs once on copies.
 */
#include "runtime/train/update.h"

#include <math.h>
#include <string.h>

#include "runtime/base/finite.h"

enum { GRAIN = 16384, CHUNK = 256 };

/* Weights beyond have squares, and products with their like, that are no floats. */
static const float largest_weight = 0x1p64f;

/* All terms of all rules are below these: m is a first moment or SGD's momentum, v a second one. */
bool ot_update_may_overflow(const struct update *u, double norm, double bound) {
    const ot_optimizer_options *o = u->o;
    const double g = norm + o->weight_decay * bound, m = bound + g, v = bound + g * g;
    const double divisor = o->kind == OT_SGD ? 0.5 : (double)u->correction1 * o->eps;
    const double w = bound + u->lr * (m / divisor + o->weight_decay * bound);
    const double limit = 1e37;
    return !(bound > 0 && v < limit && m / divisor < limit && w < (double)largest_weight);
}

struct rehearsal {
    const struct update *u;
    update_rule *rule;
    atomic_bool bad;
};

static void copy_if_given(float *to, const float *from, int64_t n) {
    if (from) memcpy(to, from, (size_t)n * sizeof *to);
}

/* None is beyond the largest, but those that were and have not grown. */
static bool weights_are_good(const float *now, const float *before, int64_t n) {
    bool good = true;
    for (int64_t i = 0; i < n; i++)
        good &= fabsf(now[i]) <= largest_weight || fabsf(now[i]) <= fabsf(before[i]);
    return good;
}

static bool chunk_is_good(const struct rehearsal *r, int64_t from, int64_t n) {
    float w[CHUNK], m[CHUNK], v[CHUNK];
    struct update u = *r->u;
    copy_if_given(w, u.w + from, n);
    copy_if_given(m, u.m ? u.m + from : NULL, n);
    copy_if_given(v, u.v ? u.v + from : NULL, n);
    u.w = w;
    u.m = u.m ? m : NULL;
    u.v = u.v ? v : NULL;
    u.g += from;
    r->rule(u, 0, n);
    return weights_are_good(w, r->u->w + from, n) && (!u.m || ot_all_finite(NULL, m, n)) &&
           (!u.v || ot_all_finite(NULL, v, n));
}

static void rehearse(void *arg, int task, int worker) {
    struct rehearsal *r = arg;
    (void)worker;
    int64_t from = (int64_t)task * GRAIN, to = from + GRAIN < r->u->n ? from + GRAIN : r->u->n;
    for (; from < to; from += CHUNK)
        if (!chunk_is_good(r, from, to - from < CHUNK ? to - from : CHUNK))
            atomic_store_explicit(&r->bad, true, memory_order_relaxed);
}

bool ot_update_is_good(const struct update *u, struct pool *pool) {
    struct rehearsal r = {.u = u, .rule = ot_update_rule(u->o->kind)};
    ot_parallel_for(pool, (int)((u->n + GRAIN - 1) / GRAIN), rehearse, &r);
    return !atomic_load_explicit(&r.bad, memory_order_relaxed);
}
