/* run.c - losses with PyTorch's definitions, reduced to their mean, and their gradients. */
#include <math.h>
#include <string.h>

#include "runtime/base/error.h"
#include "runtime/base/pool.h"
#include "runtime/loss/loss.h"

enum { MOST_TASKS = 64, GRAIN = 16384 }; /* elements of the output that are worth a task */

struct part {
    double loss;
    int64_t count, correct;
};

/* positions = outer x inner; position i has its class k at ((i / inner) classes + k) inner + i %
 * inner. */
struct work {
    const struct loss_run *run;
    const struct kernels *kernels;
    const float *x;
    float *g;                       /* NULL: not wanted */
    int64_t classes, inner, length; /* length: positions of a sequence, of next_token */
    int64_t units, per_task;        /* strips of positions, or elements */
    int64_t strips;                 /* strips of each of the outer positions */
    double scale;
    struct part part[MOST_TASKS];
};

/* ---- labels ---- */

static void find_extents(const struct loss_run *run, struct work *w) {
    const struct tensor *x = run->output;
    const int axis = run->loss->axis;
    w->run = run;
    w->classes = x->dim[axis];
    w->inner = ot_dims_product(x, axis + 1, x->rank);
    w->length = run->target->rank ? run->target->dim[run->target->rank - 1] : 1;
}

static bool is_masked(const ot_tensor *mask, int64_t i) {
    return mask && ot_target_value(mask, i) == 0;
}

/* The label of position i; *counts: whether it has one that counts. */
static int64_t label_of(const struct work *w, int64_t i, bool *counts) {
    const struct loss_run *run = w->run;
    *counts = false;
    if (run->loss->kind == OT_LOSS_NEXT_TOKEN) {
        if (i % w->length == w->length - 1) return 0;
        if (is_masked(run->mask, i) || is_masked(run->mask, i + 1)) return 0;
        i++;
    }
    const int64_t label = ot_target_integer(run->target, i);
    *counts = label != run->loss->ignored;
    return label;
}

ot_status ot_loss_count(const struct loss_run *run, int64_t *count, ot_error *err) {
    struct work w = {0};
    int64_t n = ot_elements(run->output);
    *count = n;
    if (!run->loss->axis) return OT_OK;
    find_extents(run, &w);
    n = w.classes ? n / w.classes : 0;
    *count = run->loss->soft ? n : 0;
    for (int64_t i = 0; i < n && !run->loss->soft; i++) {
        bool counts;
        const int64_t label = label_of(&w, i, &counts);
        if (counts && (label < 0 || label >= w.classes))
            return ot_fail(err, OT_ERROR_NUMERIC,
                           "sample %lld: class %lld is out of range, expected 0 to less than %lld",
                           (long long)(i / (n / run->output->dim[0])), (long long)label,
                           (long long)w.classes);
        *count += counts;
    }
    return OT_OK;
}

/* ---- cross entropy ---- */

/* What a strip of positions needs between its sums and its gradient. */
struct strip {
    struct loss_strip a;
    int64_t at; /* of the first position's first class */
    double log_sum[OT_LOSS_STRIP], total[OT_LOSS_STRIP];
    int32_t best[OT_LOSS_STRIP];
    int64_t label[OT_LOSS_STRIP];
    bool counts[OT_LOSS_STRIP];
};

/* The loss of column j with the label; smoothing spreads over all classes. */
static double hard_loss(const struct work *w, struct strip *s, int64_t j) {
    const double smooth = w->run->loss->smoothing;
    const float *x = s->a.x + j;
    const double loss = s->log_sum[j] - (1 - smooth) * (double)x[s->label[j] * s->a.stride];
    double sum = 0;
    s->total[j] = 1;
    if (!(smooth > 0)) return loss; /* 0 * -inf is no number */
    for (int64_t k = 0; k < w->classes; k++) sum += (double)x[k * s->a.stride];
    return loss - s->a.share * sum;
}

/* The same with probabilities; *likeliest: their first largest. */
static double soft_loss(const struct work *w, struct strip *s, int64_t j, int64_t *likeliest) {
    const double rest = 1 - w->run->loss->smoothing;
    double sum = 0, product = 0, most = -INFINITY;
    for (int64_t k = 0; k < s->a.classes; k++) {
        const int64_t at = s->at + j + k * s->a.stride;
        const double t = ot_target_value(w->run->target, at), q = s->a.share + rest * t;
        sum += q;
        if (q != 0) product += q * (double)w->x[at];
        if (!(t > most)) continue;
        most = t;
        *likeliest = k;
    }
    s->total[j] = sum;
    return s->log_sum[j] * sum - product;
}

static void add_losses(const struct work *w, struct strip *s, struct part *part) {
    for (int64_t j = 0; j < s->a.columns; j++) {
        if (!s->counts[j]) continue;
        const double loss =
            w->run->loss->soft ? soft_loss(w, s, j, &s->label[j]) : hard_loss(w, s, j);
        part->loss += loss;
        part->correct += s->best[j] == s->label[j] && !isnan(loss); /* NaN is never right */
        part->count++;
    }
}

/* Element `at` of the gradient, whose class has probability q. */
static void set_slope(const struct work *w, struct strip *s, int64_t j, int64_t at, double q) {
    const double p = exp((double)w->x[at] - s->log_sum[j]);
    w->g[at] = (float)((p * s->total[j] - q) * w->scale);
}

/* The kernel knows no integers: the elements where they are not 0 are done again. */
static void finish_column(const struct work *w, struct strip *s, int64_t j) {
    const struct loss_run *run = w->run;
    const double rest = 1 - run->loss->smoothing;
    const int64_t at = s->at + j, stride = s->a.stride;
    if (!run->loss->soft) {
        set_slope(w, s, j, at + s->label[j] * stride, s->a.share + rest);
        return;
    }
    for (int64_t k = 0; k < w->classes; k++) {
        const double t = ot_target_value(run->target, at + k * stride);
        if (t != 0) set_slope(w, s, j, at + k * stride, s->a.share + rest * t);
    }
}

static void finish_gradient(const struct work *w, struct strip *s) {
    for (int64_t j = 0; j < s->a.columns; j++) {
        float *g = s->a.g + j;
        for (int64_t k = 0; !s->counts[j] && k < w->classes; k++) g[k * s->a.stride] = 0;
        if (s->counts[j] && !s->a.t) finish_column(w, s, j);
    }
}

/* The strip's place and sizes. */
static void place_strip(const struct work *w, int64_t unit, struct strip *s) {
    const struct loss *loss = w->run->loss;
    const int64_t outer = unit / w->strips, first = unit % w->strips * OT_LOSS_STRIP;
    const int64_t rest = w->inner - first;
    const bool floats = loss->soft && w->run->target->type == OT_FLOAT;
    s->at = outer * w->classes * w->inner + first;
    s->a = (struct loss_strip){.classes = w->classes,
                               .stride = w->inner,
                               .columns = rest < OT_LOSS_STRIP ? rest : OT_LOSS_STRIP,
                               .x = w->x + s->at,
                               .t = floats ? (const float *)w->run->target->data + s->at : NULL,
                               .g = w->g ? w->g + s->at : NULL,
                               .log_sum = s->log_sum,
                               .best = s->best,
                               .total = s->total,
                               .share = loss->smoothing / (double)w->classes,
                               .rest = 1 - loss->smoothing,
                               .scale = w->scale};
    for (int64_t j = 0; j < s->a.columns; j++) {
        s->counts[j] = true;
        s->total[j] = 1;
        if (!loss->soft) s->label[j] = label_of(w, outer * w->inner + first + j, &s->counts[j]);
    }
}

static void run_strip(const struct work *w, int64_t unit, struct part *part) {
    struct strip s;
    bool any = false;
    place_strip(w, unit, &s);
    for (int64_t j = 0; j < s.a.columns; j++) any |= s.counts[j];
    if (any) ot_loss_log_sums(w->kernels, &s.a);
    if (any) add_losses(w, &s, part);
    if (any && w->g) ot_loss_gradient(w->kernels, &s.a);
    if (w->g) finish_gradient(w, &s);
}

/* ---- elementwise ---- */

static double mse(double x, double t, double delta, double *g) {
    (void)delta;
    *g = 2 * (x - t);
    return (x - t) * (x - t);
}

static double l1(double x, double t, double delta, double *g) {
    (void)delta;
    *g = (x > t) - (x < t);
    return fabs(x - t);
}

static double huber(double x, double t, double delta, double *g) {
    double d = x - t;
    if (fabs(d) <= delta) {
        *g = d;
        return 0.5 * d * d;
    }
    *g = d > 0 ? delta : -delta;
    return delta * (fabs(d) - 0.5 * delta);
}

static double bce(double x, double t, double delta, double *g) {
    (void)delta;
    *g = 1 / (1 + exp(-x)) - t;
    return fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
}

static double (*const elementwise[])(double, double, double, double *) = {
    [OT_LOSS_MSE] = mse, [OT_LOSS_L1] = l1, [OT_LOSS_HUBER] = huber, [OT_LOSS_BCE] = bce};

static void run_elements(const struct work *w, int64_t from, int64_t to, struct part *part) {
    const struct loss *loss = w->run->loss;
    const bool labels = loss->kind == OT_LOSS_BCE;
    for (int64_t i = from; i < to; i++) {
        double g, x = (double)w->x[i], t = ot_target_value(w->run->target, i);
        part->loss += elementwise[loss->kind](x, t, loss->delta, &g);
        if (w->g) w->g[i] = (float)(g / (double)w->run->total);
        part->correct += labels && !isnan(x) && (x > 0) == (t > 0.5);
    }
    part->count += to - from;
}

/* ---- tasks ---- */

static void run_task(void *arg, int task, int worker) {
    struct work *w = arg;
    (void)worker;
    const int64_t from = task * w->per_task, end = from + w->per_task;
    const int64_t to = end < w->units ? end : w->units;
    struct part part = {0};
    if (!w->run->loss->axis) run_elements(w, from, to, &part);
    for (int64_t i = from; w->run->loss->axis && i < to; i++) run_strip(w, i, &part);
    w->part[task] = part;
}

void ot_loss_run(const struct loss_run *run, float *gradient, struct pool *pool,
                 const struct kernels *kernels, ot_result *r) {
    const int64_t n = ot_elements(run->output);
    struct work w = {.run = run,
                     .kernels = kernels,
                     .x = run->output->data,
                     .g = gradient,
                     .units = n,
                     .scale = run->total ? 1.0 / (double)run->total : 0};
    *r = (ot_result){0};
    if (!n) return;
    if (run->loss->axis) {
        find_extents(run, &w);
        w.strips = (w.inner + OT_LOSS_STRIP - 1) / OT_LOSS_STRIP;
        w.units = n / (w.classes * w.inner) * w.strips;
    }
    int64_t tasks = (n + GRAIN - 1) / GRAIN;
    tasks = tasks > MOST_TASKS ? MOST_TASKS : tasks;
    tasks = tasks > w.units ? w.units : tasks;
    w.per_task = (w.units + tasks - 1) / tasks;
    tasks = (w.units + w.per_task - 1) / w.per_task;
    ot_parallel_for(pool, (int)tasks, run_task, &w);
    for (int64_t i = 0; i < tasks; i++) {
        r->loss += w.part[i].loss;
        r->count += w.part[i].count;
        r->correct += w.part[i].correct;
    }
    if (run->loss->axis)
        r->loss *= w.scale;
    else
        r->loss /= (double)run->total;
}
