/* run.c - a recurrent layer through all steps, and back. */
#include "ops/recurrent/recurrent.h"

#include <string.h>

#include "ops/kernels/kernels.h"

enum { RUN = 512, ROWS = 64 }; /* floats of a run of cells; rows that are summed up at a time */

static const struct tensor *input(const struct op_node *n, int i) {
    return i < n->n_in ? n->x[i] : NULL;
}

static float *output(struct tensor *const *t, int count, int i) {
    return i < count && t[i] ? ot_f(t[i]) : NULL;
}

/* ---- runs of cells ---- */

struct runs {
    const struct rec_step *t;
    ot_rec_fn *fn;
    int64_t plane, run, per_unit;
};

static void run_cells(void *arg, int task, int worker) {
    (void)worker;
    const struct runs *r = arg;
    const int64_t from = task % r->per_unit * r->run, left = r->plane - from;
    r->fn(r->t, task / r->per_unit, from, left < r->run ? left : r->run);
}

void ot_rec_each(const struct rec_step *t, ot_rec_fn *fn) {
    const int64_t inner = t->s->inner, plane = t->s->hidden * inner, run = RUN / inner * inner;
    struct runs r = {t, fn, plane, run, (plane + run - 1) / run};
    ot_parallel_for(t->n->pool, (int)(t->s->units * r.per_unit), run_cells, &r);
}

/* ---- loops over steps ---- */

/* Pointers of a direction; those of one step come with at_step. */
static struct rec_step start_direction(struct op_node *n, int d) {
    const struct recurrent *s = n->plan;
    float *scratch = n->scratch;
    struct rec_step t = {.n = n, .s = s, .direction = d, .f = s->f + d * s->cell->functions};
    t.rec = scratch + s->part_at[d][0];
    t.part = scratch + s->part_at[d][1];
    t.dh = scratch + s->part_at[d][2];
    t.dc = scratch + s->part_at[d][3];
    t.rec_bias = scratch + s->bias_at[d] + (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    return t;
}

static void at_step(struct rec_step *t, int64_t step) {
    const struct recurrent *s = t->s;
    t->time = ot_rec_time(s, t->direction, step);
    float *save = (float *)t->n->save + (size_t)t->direction * s->direction_size;
    float *scratch = t->n->scratch;
    t->h_before = save + s->h_at + step * s->h_size;
    t->h = save + s->h_at + (step + 1) * s->h_size;
    t->c_before = save + s->c_at + step * s->h_size;
    t->c = save + s->c_at + (step + 1) * s->h_size;
    for (int g = 0; g < OT_REC_GROUPS; g++) t->gate[g] = save + s->g_at[g] + step * s->g_size[g];
    t->extra = save + s->extra_at + step * s->h_size;
    t->aux = scratch + s->aux_at[t->direction] + step * s->h_size;
}

/* ---- directions side by side ---- */

typedef void direction_fn(struct op_node *n, int direction);

/* Copies of the node, of which each runs one direction on the thread that takes it. */
struct directions {
    direction_fn *run;
    struct op_node node[2];
};

static void direction_task(void *arg, int d, int worker) {
    (void)worker;
    struct directions *a = arg;
    a->run(&a->node[d], d);
}

/* The steps of all directions. A step is short, so that threads that share one mostly wait for each
 * other: where there is a direction for each of them, each runs one from end to end. */
static void each_direction(struct op_node *n, direction_fn *run) {
    const int directions = ((const struct recurrent *)n->plan)->directions;
    const int workers = ot_pool_workers(n->pool);
    if (workers == 1 || workers > directions) {
        for (int d = 0; d < directions; d++) run(n, d);
        return;
    }
    struct directions a = {run, {*n, *n}};
    for (int d = 0; d < directions; d++) {
        a.node[d].pool = NULL;
        a.node[d].workers = 1;
    }
    ot_parallel_for(n->pool, directions, direction_task, &a);
    for (int d = 0; d < directions; d++) {
        const int fault = atomic_load_explicit(&a.node[d].fault, memory_order_relaxed);
        if (fault) atomic_store_explicit(&n->fault, fault, memory_order_relaxed);
    }
}

/* ---- forward ---- */

/* Biases by row, those of W and R together; but the last gate's of R apart, where it is inside. */
static const float *sum_biases(struct op_node *n, int d) {
    const struct recurrent *s = n->plan;
    const int64_t rows = (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    const int64_t apart = s->inside ? rows - s->hidden : rows;
    float *bias = (float *)n->scratch + s->bias_at[d];
    const struct tensor *b = input(n, OT_REC_B);
    const float *w = b ? ot_f(b) + d * 2 * rows : NULL, *r = w ? w + rows : NULL;
    if (!b) memset(bias, 0, (size_t)(rows + s->hidden) * sizeof *bias);
    for (int64_t i = 0; b && i < rows; i++) bias[i] = w[i] + (i < apart ? r[i] : 0);
    for (int64_t i = 0; b && i < s->hidden; i++) bias[rows + i] = r[rows - s->hidden + i];
    return bias;
}

static void load_state(struct op_node *n, int i, int d, float *to) {
    const struct recurrent *s = n->plan;
    const struct rec_places p = ot_rec_places_state(s, d);
    ot_rec_load(n, &p, input(n, i) ? ot_f(n->x[i]) : NULL, 0, to);
}

static void store_outputs(struct op_node *n, const struct rec_step *last) {
    const struct recurrent *s = n->plan;
    const int d = last->direction;
    const struct rec_places state = ot_rec_places_state(s, d);
    const float *h = last->h - (s->steps - 1) * s->h_size;
    float *y = output(n->y, n->n_out, 0), *y_h = output(n->y, n->n_out, 1);
    float *y_c = output(n->y, n->n_out, 2);
    if (y) ot_rec_store_y(n, d, h, y);
    if (y_h) ot_rec_store(n, &state, last->h, 0, y_h, false);
    if (y_c) ot_rec_store(n, &state, last->c, 0, y_c, false);
}

/* What W makes of all steps. */
static void forward_input(struct op_node *n, int d) {
    const struct recurrent *s = n->plan;
    struct rec_step t = start_direction(n, d);
    const float *bias = sum_biases(n, d), *xs = ot_rec_load_x(n, d);
    at_step(&t, 0);
    for (int g = 0; g < s->cell->groups; g++) {
        ot_rec_multiply(n, &s->w[d][g], OT_REC_W, true, xs, bias, t.gate[g]);
        bias += s->w[d][g].rows;
    }
}

static void forward_steps(struct op_node *n, int d) {
    const struct recurrent *s = n->plan;
    struct rec_step t = start_direction(n, d);
    at_step(&t, 0);
    load_state(n, OT_REC_H, d, (float *)t.h_before);
    if (s->cell->has_c) load_state(n, OT_REC_C, d, (float *)t.c_before);
    ot_rec_hold(n, d, true);
    for (int64_t step = 0; step < s->steps; step++) {
        at_step(&t, step);
        s->cell->forward(&t);
        ot_rec_ended(n, t.time, OT_REC_COPY, t.h_before, t.h);
        if (s->cell->has_c) ot_rec_ended(n, t.time, OT_REC_COPY, t.c_before, t.c);
    }
    ot_rec_hold(n, d, false);
    store_outputs(n, &t);
}

void ot_rec_forward(struct op_node *n) {
    const struct recurrent *s = n->plan;
    ot_rec_find_lengths(n);
    for (int d = 0; d < s->directions; d++) forward_input(n, d);
    each_direction(n, forward_steps);
}

/* ---- backward ---- */

/* What samples that have ended give back goes around the step. */
static void backward_step(struct rec_step *t, int64_t step) {
    const struct recurrent *s = t->s;
    struct op_node *n = t->n;
    float *scratch = n->scratch, *state[2] = {t->dh, t->dc};
    const int states = s->cell->has_c ? 2 : 1;
    at_step(t, step);
    for (int i = 0; i < states; i++) {
        ot_rec_ended(n, t->time, OT_REC_COPY, state[i], scratch + s->part_at[t->direction][4 + i]);
        ot_rec_ended(n, t->time, OT_REC_CLEAR, NULL, state[i]);
    }
    s->cell->backward(t);
    for (int i = 0; i < states; i++)
        ot_rec_ended(n, t->time, OT_REC_ADD, scratch + s->part_at[t->direction][4 + i], state[i]);
}

/* Sums over steps and samples of rows of dy, or of their products with those of c; units stand
 * `pitch` floats apart in dy. */
struct sums {
    const struct op_node *n;
    const float *dy, *c;
    int64_t rows, pitch, c_pitch;
    float *sum;
};

static void sum_task(void *arg, int task, int worker) {
    (void)worker;
    const struct sums *a = arg;
    const struct recurrent *s = a->n->plan;
    int64_t from, to;
    double sum[ROWS] = {0};
    ot_task_range(a->rows, ROWS, task, &from, &to);
    for (int64_t u = 0; u < s->steps * s->units; u++) {
        const float *c = a->c ? a->c + u * a->c_pitch + from * s->inner : NULL;
        a->n->kernels->row_sums(a->dy + u * a->pitch + from * s->inner, c, (int)(to - from),
                                (size_t)s->inner, sum);
    }
    for (int64_t j = from; j < to; j++) a->sum[j] = (float)sum[j - from];
}

static void sum_rows(const struct op_node *n, const float *dy, int64_t rows, float *sum) {
    const struct recurrent *s = n->plan;
    struct sums a = {n, dy, NULL, rows, rows * s->inner, 0, sum};
    ot_parallel_for(n->pool, ot_task_count(rows, ROWS), sum_task, &a);
}

/* dB: that of R is the same as that of W, but for a gate that is inside. */
static void backward_bias(struct op_node *n, const struct rec_step *t) {
    const struct recurrent *s = n->plan;
    const int d = t->direction;
    const int64_t rows = (s->cell->gates[0] + s->cell->gates[1]) * s->hidden;
    float *w = ot_f(n->dx[OT_REC_B]) + d * 2 * rows;
    int64_t from = 0;
    for (int g = 0; g < s->cell->groups; g++) {
        sum_rows(n, t->gate[g], s->w[d][g].rows, w + from);
        from += s->w[d][g].rows;
    }
    memcpy(w + rows, w, (size_t)rows * sizeof *w);
    if (s->inside) sum_rows(n, t->aux, s->hidden, w + 2 * rows - s->hidden);
}

/* Gradients of X, W, R and B, from those of all gates. The second group of gates (GRU) meets R
 * through aux: what R multiplies, or, inside, what comes out of it. */
static void backward_weights(struct op_node *n, struct rec_step *t) {
    const struct recurrent *s = n->plan;
    const int d = t->direction;
    float *dx = n->dx[OT_REC_X] ? ot_f(n->dx[OT_REC_X]) : NULL;
    at_step(t, 0);
    float *xs = n->dx[OT_REC_W] ? ot_rec_load_x(n, d) : NULL;
    for (int g = 0; g < s->cell->groups; g++) {
        const float *dy = t->gate[g], *h = t->h_before;
        if (n->dx[OT_REC_W]) ot_rec_multiply_weight(n, &s->w[d][g], OT_REC_W, dy, xs);
        if (!n->dx[OT_REC_R]) continue;
        if (g && s->inside)
            dy = t->aux;
        else if (g)
            h = t->aux;
        ot_rec_multiply_weight(n, &s->r[d][g], OT_REC_R, dy, h);
    }
    xs = (float *)n->scratch + s->xs_at;
    for (int g = 0; dx && g < s->cell->groups; g++) {
        ot_rec_multiply_data(n, &s->w[d][g], OT_REC_W, true, t->gate[g], xs);
        ot_rec_add_dx(n, d, xs, dx);
    }
    if (n->n_in > OT_REC_B && n->dx[OT_REC_B]) backward_bias(n, t);
}

/* dP[d] = (i, o, f), in the order of the gates: sums of their gradients times the c that they
 * saw. */
static void backward_peepholes(struct op_node *n, struct rec_step *t) {
    const struct recurrent *s = n->plan;
    const int64_t h = s->hidden, plane = h * s->inner;
    float *dp = ot_f(n->dx[OT_REC_P]) + t->direction * 3 * h;
    at_step(t, 0);
    for (int k = 0; k < 3; k++) {
        const float *c = k == OT_LSTM_O ? t->c : t->c_before;
        struct sums a = {n, t->gate[0] + k * plane, c, h, 4 * plane, plane, dp + k * h};
        ot_parallel_for(n->pool, ot_task_count(h, ROWS), sum_task, &a);
    }
}

static void backward_steps(struct op_node *n, int d) {
    const struct recurrent *s = n->plan;
    const struct rec_places state = ot_rec_places_state(s, d);
    struct rec_step t = start_direction(n, d);
    t.dy = output(n->dy, n->n_out, 0);
    ot_rec_load(n, &state, output(n->dy, n->n_out, 1), 0, t.dh);
    if (s->cell->has_c) ot_rec_load(n, &state, output(n->dy, n->n_out, 2), 0, t.dc);
    ot_rec_hold(n, d, true);
    for (int64_t step = s->steps - 1; step >= 0; step--) backward_step(&t, step);
    ot_rec_hold(n, d, false);
    float *dh = output(n->dx, n->n_in, OT_REC_H), *dc = output(n->dx, n->n_in, OT_REC_C);
    if (dh) ot_rec_store(n, &state, t.dh, 0, dh, false);
    if (dc) ot_rec_store(n, &state, t.dc, 0, dc, false);
}

void ot_rec_backward(struct op_node *n) {
    const struct recurrent *s = n->plan;
    if (n->dx[OT_REC_X]) memset(n->dx[OT_REC_X]->data, 0, ot_bytes(n->dx[OT_REC_X]));
    each_direction(n, backward_steps);
    for (int d = 0; d < s->directions; d++) {
        struct rec_step t = start_direction(n, d);
        backward_weights(n, &t);
        if (output(n->dx, n->n_in, OT_REC_P)) backward_peepholes(n, &t);
    }
}
