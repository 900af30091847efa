/* move.c - between the user's tensors and the steps of a recurrent layer; samples that
 * have ended. */
#include "ops/recurrent/recurrent.h"

#include <string.h>

#include "ops/kernels/kernels.h"

enum { ADDED = 16 }; /* features that are added at a time */

/* ---- places ---- */

struct rec_places ot_rec_places_x(const struct recurrent *s) {
    const int64_t i = s->input;
    return s->batch_first ? (struct rec_places){0, i, s->steps * i, i}
                          : (struct rec_places){0, s->batch * i, i, i};
}

struct rec_places ot_rec_places_y(const struct recurrent *s, int d) {
    const int64_t h = s->hidden, all = s->directions * h;
    return s->batch_first ? (struct rec_places){d * h, all, s->steps * all, h}
                          : (struct rec_places){d * s->batch * h, s->batch * all, h, h};
}

struct rec_places ot_rec_places_state(const struct recurrent *s, int d) {
    const int64_t h = s->hidden;
    return s->batch_first ? (struct rec_places){d * h, 0, s->directions * h, h}
                          : (struct rec_places){d * s->batch * h, 0, h, h};
}

/* ---- one step ---- */

/* Samples that a unit really has. */
static int valid_in(const struct recurrent *s, int64_t unit) {
    const int64_t left = s->batch - unit * s->inner;
    return (int)(left < s->inner ? left : s->inner);
}

void ot_rec_load_part(const struct op_node *n, const struct rec_places *p, const float *from,
                      int64_t t, struct rec_part part, float *to) {
    const struct recurrent *s = n->plan;
    const int valid = valid_in(s, part.unit);
    const size_t floats = (size_t)(part.features * s->inner);
    if (!from || valid < s->inner) memset(to, 0, floats * sizeof *to);
    if (!from) return;
    from += p->at + t * p->step + part.unit * s->inner * p->sample + part.first;
    const struct transpose a = {.in = from,
                                .out = to,
                                .in_pitch = (size_t)p->sample,
                                .out_pitch = (size_t)s->inner,
                                .rows = valid,
                                .columns = (int)part.features};
    if (s->inner == 1)
        memcpy(to, from, floats * sizeof *to);
    else
        n->kernels->transpose(&a);
}

void ot_rec_load(const struct op_node *n, const struct rec_places *p, const float *from, int64_t t,
                 float *to) {
    const struct recurrent *s = n->plan;
    for (int64_t u = 0; u < s->units; u++, to += p->features * s->inner)
        ot_rec_load_part(n, p, from, t, (struct rec_part){u, 0, p->features}, to);
}

/* to += some features of some samples of [features][inner]; samples of `to` stand `pitch` apart. */
static void add_features(const struct op_node *n, const float *from, int features, int samples,
                         int64_t pitch, float *to) {
    const struct recurrent *s = n->plan;
    float turned[OT_REC_WIDEST * ADDED];
    const struct transpose a = {.in = from,
                                .out = turned,
                                .in_pitch = (size_t)s->inner,
                                .out_pitch = ADDED,
                                .rows = features,
                                .columns = samples};
    n->kernels->transpose(&a);
    for (int b = 0; b < samples; b++)
        for (int j = 0; j < features; j++) to[b * pitch + j] += turned[b * ADDED + j];
}

static void store_unit(const struct op_node *n, const struct rec_places *p, const float *from,
                       int samples, float *to, bool add) {
    const struct recurrent *s = n->plan;
    const struct transpose a = {.in = from,
                                .out = to,
                                .in_pitch = (size_t)s->inner,
                                .out_pitch = (size_t)p->sample,
                                .rows = (int)p->features,
                                .columns = samples};
    if (s->inner == 1 && add)
        for (int64_t j = 0; j < p->features; j++) to[j] += from[j];
    else if (s->inner == 1)
        memcpy(to, from, (size_t)p->features * sizeof *to);
    else if (!add)
        n->kernels->transpose(&a);
    for (int64_t j = 0; j < p->features && add && s->inner > 1; j += ADDED) {
        const int64_t left = p->features - j;
        add_features(n, from + j * s->inner, left < ADDED ? (int)left : ADDED, samples, p->sample,
                     to + j);
    }
}

void ot_rec_store(const struct op_node *n, const struct rec_places *p, const float *from, int64_t t,
                  float *to, bool add) {
    const struct recurrent *s = n->plan;
    to += p->at + t * p->step;
    for (int64_t u = 0; u < s->units; u++)
        store_unit(n, p, from + u * p->features * s->inner, valid_in(s, u),
                   to + u * s->inner * p->sample, add);
}

/* ---- all steps ---- */

struct steps {
    struct op_node *n;
    struct rec_places places;
    int direction;
    const float *from;
    float *to;
    bool add, ends; /* ends: samples that have ended give 0 */
};

static void load_task(void *arg, int step, int worker) {
    (void)worker;
    const struct steps *a = arg;
    const struct recurrent *s = a->n->plan;
    const int64_t size = s->units * s->inner * a->places.features;
    ot_rec_load(a->n, &a->places, a->from, ot_rec_time(s, a->direction, step), a->to + step * size);
}

static void store_task(void *arg, int step, int worker) {
    (void)worker;
    const struct steps *a = arg;
    const struct recurrent *s = a->n->plan;
    const int64_t size = s->units * s->inner * a->places.features, h = s->hidden;
    const int64_t t = ot_rec_time(s, a->direction, step);
    ot_rec_store(a->n, &a->places, a->from + step * size, t, a->to, a->add);
    for (int64_t b = 0; a->ends && b < s->batch; b++)
        if (t >= ot_rec_lengths(a->n)[b])
            memset(a->to + a->places.at + t * a->places.step + b * a->places.sample, 0,
                   (size_t)h * sizeof *a->to);
}

float *ot_rec_load_x(struct op_node *n, int direction) {
    const struct recurrent *s = n->plan;
    float *xs = (float *)n->scratch + s->xs_at;
    struct steps a = {n, ot_rec_places_x(s), direction, ot_f(n->x[OT_REC_X]), xs, false, false};
    ot_parallel_for(n->pool, (int)s->steps, load_task, &a);
    return xs;
}

void ot_rec_store_y(struct op_node *n, int direction, const float *h, float *y) {
    const struct recurrent *s = n->plan;
    struct steps a = {n, ot_rec_places_y(s, direction), direction, h, y, false, true};
    ot_parallel_for(n->pool, (int)s->steps, store_task, &a);
}

void ot_rec_add_dx(struct op_node *n, int direction, const float *xs, float *dx) {
    const struct recurrent *s = n->plan;
    struct steps a = {n, ot_rec_places_x(s), direction, xs, dx, true, false};
    ot_parallel_for(n->pool, (int)s->steps, store_task, &a);
}

/* ---- samples that have ended ---- */

void ot_rec_find_lengths(struct op_node *n) {
    const struct recurrent *s = n->plan;
    const struct tensor *given = n->n_in > OT_REC_LENGTHS ? n->x[OT_REC_LENGTHS] : NULL;
    for (int64_t b = 0; b < s->units * s->inner; b++) {
        int64_t length = given && b < s->batch ? ((const int32_t *)given->data)[b] : s->steps;
        if (length < 0 || length > s->steps) {
            ot_op_bad_index(n, b);
            length = length < 0 ? 0 : s->steps;
        }
        ot_rec_lengths(n)[b] = b < s->batch ? (int32_t)length : 0;
    }
}

void ot_rec_ended(const struct op_node *n, int64_t time, enum rec_ended what, const float *from,
                  float *to) {
    const struct recurrent *s = n->plan;
    const int64_t plane = s->hidden * s->inner;
    for (int64_t b = 0; b < s->units * s->inner; b++) {
        if (time < ot_rec_lengths(n)[b]) continue;
        const int64_t at = b / s->inner * plane + b % s->inner;
        for (int64_t j = at; j < at + plane; j += s->inner)
            to[j] = what == OT_REC_CLEAR ? 0 : from[j] + (what == OT_REC_ADD ? to[j] : 0);
    }
}

const float *ot_rec_dy(const struct rec_step *t, int64_t unit, int64_t from, int64_t count) {
    const struct recurrent *s = t->s;
    if (!t->dy) return NULL;
    const struct rec_places p = ot_rec_places_y(s, t->direction);
    const struct rec_part part = {unit, from / s->inner, count / s->inner};
    float *to = t->part + ot_rec_h(t, unit, from);
    ot_rec_load_part(t->n, &p, t->dy, t->time, part, to);
    for (int64_t l = 0; l < s->inner; l++)
        for (int64_t j = l; t->time >= ot_rec_lengths(t->n)[unit * s->inner + l] && j < count;
             j += s->inner)
            to[j] = 0;
    return to;
}
