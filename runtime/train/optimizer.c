/* optimizer.c - the update of the weights, one pass over values, gradients and moments. */
#include "runtime/train/update.h"

#include <math.h>
#include <string.h>

#include "runtime/base/finite.h"
#include "runtime/train/score.h"

enum { GRAIN = 16384, NORM_GRAIN = 16384, PARTS = 64, LANES = 16 };

/* The bits of a positive float grow with it. */
static int32_t largest_bits(const float *x, int64_t from, int64_t to) {
    int32_t largest = 0;
    for (int64_t i = from; x && i < to; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static void raise_to(atomic_int *largest, int32_t bits) {
    int have = atomic_load_explicit(largest, memory_order_relaxed);
    while (bits > have && !atomic_compare_exchange_weak_explicit(
                              largest, &have, bits, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void update_task(void *arg, int task, int worker) {
    const struct update *u = arg;
    (void)worker;
    int64_t from = (int64_t)task * GRAIN, to = from + GRAIN < u->n ? from + GRAIN : u->n;
    ot_update_rule(u->o->kind)(*u, from, to);
    raise_to(u->largest, largest_bits(u->w, from, to));
    raise_to(u->largest, largest_bits(u->m, from, to));
    raise_to(u->largest, largest_bits(u->v, from, to));
}

/* Sums of squares in double, of at most PARTS pieces, each in one fixed order. */
struct norm {
    const float *g;
    int64_t n, grain;
    double part[PARTS];
};

static void norm_task(void *arg, int task, int worker) {
    struct norm *norm = arg;
    (void)worker;
    const int64_t from = task * norm->grain;
    const int64_t n = norm->n - from < norm->grain ? norm->n - from : norm->grain;
    const float *g = norm->g + from;
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) sum[k] += (double)g[i + k] * g[i + k];
    for (; i < n; i++) sum[0] += (double)g[i] * g[i];
    for (int k = 1; k < LANES; k++) sum[0] += sum[k];
    norm->part[task] = sum[0];
}

static double squared_norm(struct pool *pool, const float *g, int64_t n) {
    struct norm norm = {.g = g, .n = n, .grain = (n + PARTS - 1) / PARTS};
    if (norm.grain < NORM_GRAIN) norm.grain = NORM_GRAIN;
    const int parts = (int)((n + norm.grain - 1) / norm.grain);
    double sum = 0;
    ot_parallel_for(pool, parts, norm_task, &norm);
    for (int k = 0; k < parts; k++) sum += norm.part[k];
    return sum;
}

static ot_status fail_gradient(const struct parameter *p, int others, ot_error *err) {
    struct tensor g = p->t;
    g.data = p->gradient;
    const struct survey s = ot_survey(&g);
    return ot_fail(err, OT_ERROR_NUMERIC,
                   "the gradient of '%s' (%s) is not finite: %s in %lld of %lld values, the "
                   "largest other is %.4g; %d other gradients are not finite either",
                   p->name, p->op, s.flaw == OT_FLAW_NAN ? "NaN" : "infinity", (long long)s.bad,
                   (long long)ot_count(&g), (double)s.largest, others);
}

/* Of gradients that are not finite, the one of the last weight is the first that a step makes. */
static ot_status global_norm(const struct parameter *parameter, int n, double scale,
                             struct pool *pool, double *norm, ot_error *err) {
    const struct parameter *bad = NULL;
    double sum = 0;
    int faults = 0;
    for (int i = 0; i < n; i++) {
        const struct parameter *p = &parameter[i];
        if (!ot_is_trained(p) || !p->gradient || p->gradient_is_zero) continue;
        double part = squared_norm(pool, p->gradient, ot_count(&p->t));
        sum += part;
        if (isfinite(part)) continue;
        bad = p;
        faults++;
    }
    if (bad) return fail_gradient(bad, faults - 1, err);
    *norm = sqrt(sum) * scale;
    return OT_OK;
}

/* The parameter's part of the step; false: it is not trained. */
static bool aim(struct update *u, struct parameter *p) {
    if (!ot_is_trained(p) || !p->gradient) return false;
    u->w = p->t.data;
    u->g = ot_parameter_gradient(p);
    u->m = p->moment[0];
    u->v = p->moment[1];
    u->n = ot_count(&p->t);
    return true;
}

static bool follows(const struct update *u, const struct update *next) {
    const ptrdiff_t step = next->w - u->w;
    return step >= u->n && step < u->n + OT_PARAMETER_ALIGN && next->g == u->g + step &&
           (u->m ? next->m == u->m + step : !next->m) && (u->v ? next->v == u->v + step : !next->v);
}

/* Parameters from i on whose values and state stand side by side, as one update: mostly all of
 * them. Between them are zeros, which stay zeros. The first that is not among them. */
static int aim_run(struct update *u, struct parameter *parameter, int i, int n) {
    const bool keeps_zeros = u->o->kind == OT_SGD || u->o->eps > 0; /* else 0 / 0 between them */
    u->n = 0;
    for (; i < n; i++) {
        struct update next = *u;
        if (!aim(&next, &parameter[i])) continue;
        if (!u->n) {
            *u = next;
        } else if (keeps_zeros && follows(u, &next)) {
            u->n = next.w - u->w + next.n;
        } else {
            return i;
        }
    }
    return i;
}

/* Nothing has been written yet. */
static ot_status check_update(struct update u, struct parameter *parameter, int n, double norm,
                              struct pool *pool, ot_error *err) {
    for (int i = 0; i < n; i++) {
        if (!aim(&u, &parameter[i]) || ot_update_is_good(&u, pool)) continue;
        return ot_fail(err, OT_ERROR_NUMERIC,
                       "the update of '%s' is out of range (learning rate %g, gradient norm %g)",
                       parameter[i].name, (double)u.lr, norm);
    }
    return OT_OK;
}

/* What optimizers make of their learning rate after so many steps. */
static double rate(const ot_optimizer_options *o, double steps) {
    if (o->kind == OT_ADAGRAD) return 1 / (1 + steps * o->lr_decay);
    if (o->kind != OT_ADAM_ONNX || steps == 0) return 1;
    return sqrt(1 - pow(o->beta2, steps)) / (1 - pow(o->beta1, steps));
}

ot_status ot_optimizer_run(struct optimizer *o, struct parameter *parameter, int n, double scale,
                           struct pool *pool, double *norm, ot_error *err) {
    const ot_optimizer_options *options = &o->options;
    atomic_int largest = 0;
    OT_TRY(global_norm(parameter, n, scale, pool, norm, err));
    if (options->clip_norm > 0 && *norm > options->clip_norm)
        scale *= options->clip_norm / (*norm + 1e-6); /* PyTorch's clip_grad_norm_ */
    const double before = (double)(options->steps_before + o->steps), t = before + 1;
    struct update u = {.o = options,
                       .scale = (float)scale,
                       .lr = (float)(ot_schedule_lr(options, o->steps) * rate(options, before)),
                       .correction1 = (float)(1 - pow(options->beta1, t)),
                       .correction2 = (float)sqrt(1 - pow(options->beta2, t)),
                       .share = before > 0 ? 1 - options->dampening : 1,
                       .largest = &largest};
    if (ot_update_may_overflow(&u, *norm, o->bound))
        OT_TRY(check_update(u, parameter, n, *norm, pool, err));
    ot_score_add(parameter, n, u.lr, u.scale, pool);
    for (int i = 0; i < n;) {
        i = aim_run(&u, parameter, i, n);
        ot_parallel_for(pool, (int)((u.n + GRAIN - 1) / GRAIN), update_task, &u);
    }
    for (int i = 0; i < n; i++)
        if (ot_is_trained(&parameter[i])) parameter[i].gradient_is_zero = true;
    const int bits = atomic_load(&largest);
    memcpy(&o->bound, &bits, sizeof o->bound);
    o->steps++;
    return OT_OK;
}
