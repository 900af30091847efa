/* recurrent_run.c - a recurrent layer through all steps, and back. */
#include "ops/recurrent.h"

#include <string.h>

enum { RUN = 1024 }; /* floats of a run of cells */

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}

static float *output(struct tensor *const *t, int count, int i) {
    return i < count && t[i] ? ot_f(t[i]) : NULL;
}

/* ---- between user's tensors and steps ---- */

/* Where sample b of step t of a direction stands, in floats: at + t * step + b * sample. */
struct places {
    int64_t at, step, sample, features;
};

static struct places places_of_x(const struct recurrent *s) {
    const int64_t i = s->input;
    return s->batch_first ? (struct places){0, i, s->steps * i, i}
                          : (struct places){0, s->batch * i, i, i};
}

static struct places places_of_y(const struct recurrent *s, int d) {
    const int64_t h = s->hidden, all = s->directions * h;
    return s->batch_first ? (struct places){d * h, all, s->steps * all, h}
                          : (struct places){d * s->batch * h, s->batch * all, h, h};
}

static struct places places_of_state(const struct recurrent *s, int d) {
    const int64_t h = s->hidden;
    return s->batch_first ? (struct places){d * h, 0, s->directions * h, h}
                          : (struct places){d * s->batch * h, 0, h, h};
}

/* One step into [units][features][inner]; NULL gives zeros, and so do spare lanes. */
static void load(const struct recurrent *s, const struct places *p, const float *from, int64_t t,
                 float *to) {
    for (int64_t u = 0; u < s->units; u++)
        for (int64_t j = 0; j < p->features; j++)
            for (int64_t l = 0; l < s->inner; l++) {
                const int64_t b = u * s->inner + l;
                *to++ = from && b < s->batch
                            ? from[p->at + t * p->step + b * p->sample + j] : 0;
            }
}

/* And back; add: to what is there. */
static void store(const struct recurrent *s, const struct places *p, const float *from, int64_t t,
                  float *to, bool add) {
    for (int64_t b = 0; b < s->batch; b++) {
        const float *x = from + b / s->inner * p->features * s->inner + b % s->inner;
        float *y = to + p->at + t * p->step + b * p->sample;
        for (int64_t j = 0; j < p->features; j++) y[j] = (add ? y[j] : 0) + x[j * s->inner];
    }
}

/* ---- samples that have ended ---- */

static int32_t *lengths(const struct op_node *n) {
    const struct recurrent *s = n->state;
    return (int32_t *)n->save + s->lengths_at;
}

/* Steps that each sample has; spare lanes have none. */
static void find_lengths(struct op_node *n) {
    const struct recurrent *s = n->state;
    const struct tensor *given = input(n, OT_REC_LENGTHS);
    for (int64_t b = 0; b < s->units * s->inner; b++) {
        int64_t length = given && b < s->batch ? ((const int32_t *)given->data)[b] : s->steps;
        if (length < 0 || length > s->steps) {
            ot_op_bad_index(n, b);
            length = length < 0 ? 0 : s->steps;
        }
        lengths(n)[b] = b < s->batch ? (int32_t)length : 0;
    }
}

static int64_t time_of(const struct recurrent *s, int direction, int64_t step) {
    return s->reverse[direction] ? s->steps - 1 - step : step;
}

/* Calls for every element of an array of h whose sample has ended at time t: to = from, or 0; and,
 * with `rest`, for those that have not: rest = 0. */
static void replace_ended(const struct op_node *n, int64_t t, const float *from, float *to,
                          float *rest) {
    const struct recurrent *s = n->state;
    const int64_t plane = s->hidden * s->inner;
    for (int64_t b = 0; b < s->units * s->inner; b++) {
        const int64_t at = b / s->inner * plane + b % s->inner;
        const bool ended = t >= lengths(n)[b];
        for (int64_t j = at; j < at + plane && ended; j += s->inner) to[j] = from ? from[j] : 0;
        for (int64_t j = at; j < at + plane && !ended && rest; j += s->inner) rest[j] = 0;
    }
}

/* ---- runs of cells ---- */

struct runs {
    const struct rec_step *t;
    ot_rec_fn *fn;
    int64_t plane, per_unit;
};

static void run_task(void *arg, int task, int worker) {
    (void)worker;
    const struct runs *r = arg;
    const int64_t from = task % r->per_unit * RUN, left = r->plane - from;
    r->fn(r->t, task / r->per_unit, from, left < RUN ? left : RUN);
}

void ot_rec_each(const struct rec_step *t, ot_rec_fn *fn) {
    struct runs r = {t, fn, t->s->hidden * t->s->inner, 0};
    r.per_unit = (r.plane + RUN - 1) / RUN;
    ot_parallel_for(t->n->pool, (int)(t->s->units * r.per_unit), run_task, &r);
}

/* ---- loops over steps ---- */

struct steps {
    struct op_node *n;
    const struct places *places;
    int direction;
    const float *from;
    float *to;
    bool add, ends; /* ends: samples that have ended give 0 */
};

static void load_task(void *arg, int step, int worker) {
    (void)worker;
    const struct steps *a = arg;
    const struct recurrent *s = a->n->state;
    const int64_t size = s->units * s->inner * a->places->features;
    load(s, a->places, a->from, time_of(s, a->direction, step), a->to + step * size);
}

static void store_task(void *arg, int step, int worker) {
    (void)worker;
    const struct steps *a = arg;
    const struct recurrent *s = a->n->state;
    const int64_t size = s->units * s->inner * a->places->features, h = s->hidden;
    const int64_t t = time_of(s, a->direction, step);
    store(s, a->places, a->from + step * size, t, a->to, a->add);
    for (int64_t b = 0; a->ends && b < s->batch; b++)
        if (t >= lengths(a->n)[b])
            memset(a->to + a->places->at + t * a->places->step + b * a->places->sample, 0,
                   (size_t)h * sizeof *a->to);
}

static float *load_x(struct op_node *n, int direction) {
    const struct recurrent *s = n->state;
    const struct places p = places_of_x(s);
    float *xs = (float *)n->scratch + s->xs_at;
    struct steps a = {n, &p, direction, ot_f(n->x[OT_REC_X]), xs, false, false};
    ot_parallel_for(n->pool, (int)s->steps, load_task, &a);
    return xs;
}

/* Pointers of a direction; those of one step come with at_step. */
static struct rec_step begin(struct op_node *n, int d) {
    const struct recurrent *s = n->state;
    float *scratch = n->scratch;
    struct rec_step t = {.n = n, .s = s, .direction = d, .f = s->f + d * s->cell->functions};
    t.rec = scratch + s->part_at[0];
    t.part = scratch + s->part_at[1];
    t.dh = scratch + s->part_at[2];
    t.dc = scratch + s->part_at[3];
    t.rec_bias = scratch + s->bias_at + (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    return t;
}

static void at_step(struct rec_step *t, int64_t step) {
    const struct recurrent *s = t->s;
    float *save = (float *)t->n->save + (size_t)t->direction * s->direction_size;
    float *scratch = t->n->scratch;
    t->h_before = save + s->h_at + step * s->h_size;
    t->h = save + s->h_at + (step + 1) * s->h_size;
    t->c_before = save + s->c_at + step * s->h_size;
    t->c = save + s->c_at + (step + 1) * s->h_size;
    for (int g = 0; g < OT_REC_GROUPS; g++) {
        t->gate[g] = save + s->g_at[g] + step * s->g_size[g];
        t->dgate[g] = scratch + s->dg_at[g] + step * s->g_size[g];
    }
    t->extra = save + s->extra_at + step * s->h_size;
    t->aux = scratch + s->aux_at + step * s->h_size;
}

/* ---- forward ---- */

/* Biases by row, those of W and R together; but the last gate's of R apart, where it is inside. */
static const float *sum_biases(struct op_node *n, int d) {
    const struct recurrent *s = n->state;
    const int64_t rows = (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    const int64_t apart = s->inside ? rows - s->hidden : rows;
    float *bias = (float *)n->scratch + s->bias_at;
    const struct tensor *b = input(n, OT_REC_B);
    const float *w = b ? ot_f(b) + d * 2 * rows : NULL, *r = w ? w + rows : NULL;
    if (!b) memset(bias, 0, (size_t)(rows + s->hidden) * sizeof *bias);
    for (int64_t i = 0; b && i < rows; i++) bias[i] = w[i] + (i < apart ? r[i] : 0);
    for (int64_t i = 0; b && i < s->hidden; i++) bias[rows + i] = r[rows - s->hidden + i];
    return bias;
}

static void load_state(struct op_node *n, int i, int d, float *to) {
    const struct recurrent *s = n->state;
    const struct places p = places_of_state(s, d);
    load(s, &p, input(n, i) ? ot_f(n->x[i]) : NULL, 0, to);
}

static void store_outputs(struct op_node *n, const struct rec_step *last) {
    const struct recurrent *s = n->state;
    const int d = last->direction;
    const struct places all = places_of_y(s, d), state = places_of_state(s, d);
    const float *h = last->h - (s->steps - 1) * s->h_size;
    float *y = output(n->y, n->n_out, 0), *y_h = output(n->y, n->n_out, 1);
    float *y_c = output(n->y, n->n_out, 2);
    struct steps a = {n, &all, d, h, y, false, true};
    if (y) ot_parallel_for(n->pool, (int)s->steps, store_task, &a);
    if (y_h) store(s, &state, last->h, 0, y_h, false);
    if (y_c) store(s, &state, last->c, 0, y_c, false);
}

static void forward_direction(struct op_node *n, int d) {
    const struct recurrent *s = n->state;
    struct rec_step t = begin(n, d);
    const float *bias = sum_biases(n, d), *xs = load_x(n, d);
    at_step(&t, 0);
    load_state(n, OT_REC_H, d, (float *)t.h_before);
    if (s->cell->has_c) load_state(n, OT_REC_C, d, (float *)t.c_before);
    for (int g = 0; g < s->cell->groups; g++) {
        ot_rec_multiply(n, &s->w[d][g], OT_REC_W, true, xs, bias, t.gate[g]);
        bias += s->w[d][g].rows;
    }
    for (int64_t step = 0; step < s->steps; step++) {
        at_step(&t, step);
        s->cell->forward(&t);
        replace_ended(n, time_of(s, d, step), t.h_before, t.h, NULL);
        if (s->cell->has_c) replace_ended(n, time_of(s, d, step), t.c_before, t.c, NULL);
    }
    store_outputs(n, &t);
}

void ot_rec_forward(struct op_node *n) {
    const struct recurrent *s = n->state;
    find_lengths(n);
    for (int d = 0; d < s->directions; d++) forward_direction(n, d);
}

/* ---- backward ---- */

static void add(float *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* What samples that have ended give back goes around the step. */
static void backward_step(struct rec_step *t, int64_t step, const float *dy) {
    const struct recurrent *s = t->s;
    struct op_node *n = t->n;
    const struct places p = places_of_y(s, t->direction);
    const int64_t time = time_of(s, t->direction, step);
    float *around_h = (float *)n->scratch + s->part_at[4];
    float *around_c = (float *)n->scratch + s->part_at[5];
    at_step(t, step);
    replace_ended(n, time, t->dh, around_h, around_h);
    if (s->cell->has_c) replace_ended(n, time, t->dc, around_c, around_c);
    if (dy) load(s, &p, dy, time, t->part);
    if (dy) add(t->dh, t->part, s->h_size);
    replace_ended(n, time, NULL, t->dh, NULL);
    if (s->cell->has_c) replace_ended(n, time, NULL, t->dc, NULL);
    s->cell->backward(t);
    add(t->dh, around_h, s->h_size);
    if (s->cell->has_c) add(t->dc, around_c, s->h_size);
}

/* Sums over steps and samples of what gates got, by row. */
static void sum_rows(const struct recurrent *s, const float *dy, int64_t rows, float *sum) {
    for (int64_t j = 0; j < rows; j++) {
        double total = 0;
        for (int64_t u = 0; u < s->steps * s->units; u++)
            for (int64_t l = 0; l < s->inner; l++)
                total += (double)dy[(u * rows + j) * s->inner + l];
        sum[j] = (float)total;
    }
}

/* dB: that of R is the same as that of W, but for a gate that is inside. */
static void backward_bias(struct op_node *n, int d) {
    const struct recurrent *s = n->state;
    const int64_t rows = (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    const float *scratch = n->scratch;
    float *w = ot_f(n->dx[OT_REC_B]) + d * 2 * rows;
    int64_t from = 0;
    for (int g = 0; g < s->cell->groups; g++) {
        sum_rows(s, scratch + s->dg_at[g], s->w[d][g].rows, w + from);
        from += s->w[d][g].rows;
    }
    memcpy(w + rows, w, (size_t)rows * sizeof *w);
    if (s->inside) sum_rows(s, scratch + s->aux_at, s->hidden, w + 2 * rows - s->hidden);
}

/* Gradients of X, W, R and B, from those of all gates. The second group of gates (GRU) meets R
 * through aux: what R multiplies, or, inside, what comes out of it. */
static void backward_weights(struct op_node *n, struct rec_step *t) {
    const struct recurrent *s = n->state;
    const int d = t->direction;
    const struct places p = places_of_x(s);
    float *dx = n->dx[OT_REC_X] ? ot_f(n->dx[OT_REC_X]) : NULL;
    at_step(t, 0);
    float *xs = n->dx[OT_REC_W] ? load_x(n, d) : NULL;
    for (int g = 0; g < s->cell->groups; g++) {
        const float *dy = t->dgate[g], *h = t->h_before;
        if (n->dx[OT_REC_W]) ot_rec_multiply_weight(n, &s->w[d][g], OT_REC_W, dy, xs);
        if (!n->dx[OT_REC_R]) continue;
        if (g && s->inside) dy = t->aux;
        else if (g) h = t->aux;
        ot_rec_multiply_weight(n, &s->r[d][g], OT_REC_R, dy, h);
    }
    xs = (float *)n->scratch + s->xs_at;
    struct steps a = {n, &p, d, xs, dx, true, false};
    for (int g = 0; dx && g < s->cell->groups; g++) {
        ot_rec_multiply_data(n, &s->w[d][g], OT_REC_W, true, t->dgate[g], xs);
        ot_parallel_for(n->pool, (int)s->steps, store_task, &a);
    }
    if (n->n_in > OT_REC_B && n->dx[OT_REC_B]) backward_bias(n, d);
}

/* dP[d] = (i, o, f): sums of the gates' gradients times the c that they saw. */
static void backward_peepholes(struct op_node *n, struct rec_step *t) {
    static const int gate_of[] = {0, 1, 2};
    const struct recurrent *s = n->state;
    float *dp = ot_f(n->dx[OT_REC_P]) + t->direction * 3 * s->hidden;
    at_step(t, 0);
    for (int k = 0; k < 3; k++)
        for (int64_t j = 0; j < s->hidden; j++) {
            const float *c = gate_of[k] == 1 ? t->c : t->c_before;
            double sum = 0;
            for (int64_t u = 0; u < s->steps * s->units; u++)
                for (int64_t l = 0; l < s->inner; l++)
                    sum += (double)t->dgate[0][((u * 4 + gate_of[k]) * s->hidden + j) * s->inner +
                                               l] *
                           (double)c[(u * s->hidden + j) * s->inner + l];
            dp[k * s->hidden + j] = (float)sum;
        }
}

static void backward_direction(struct op_node *n, int d) {
    const struct recurrent *s = n->state;
    const struct places state = places_of_state(s, d);
    struct rec_step t = begin(n, d);
    load(s, &state, output(n->dy, n->n_out, 1), 0, t.dh);
    if (s->cell->has_c) load(s, &state, output(n->dy, n->n_out, 2), 0, t.dc);
    for (int64_t step = s->steps - 1; step >= 0; step--)
        backward_step(&t, step, output(n->dy, n->n_out, 0));
    if (output(n->dx, n->n_in, OT_REC_H)) store(s, &state, t.dh, 0, ot_f(n->dx[OT_REC_H]), false);
    if (output(n->dx, n->n_in, OT_REC_C)) store(s, &state, t.dc, 0, ot_f(n->dx[OT_REC_C]), false);
    backward_weights(n, &t);
    if (output(n->dx, n->n_in, OT_REC_P)) backward_peepholes(n, &t);
}

void ot_rec_backward(struct op_node *n) {
    const struct recurrent *s = n->state;
    if (n->dx[OT_REC_X]) memset(n->dx[OT_REC_X]->data, 0, ot_bytes(n->dx[OT_REC_X]));
    for (int d = 0; d < s->directions; d++) backward_direction(n, d);
}
