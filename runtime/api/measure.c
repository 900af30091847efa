/* measure.c - slopes of each node by itself, to hold its gradients against.
 *
 * The plan keeps everything that forward computes. Then a node can run again alone: its inputs as
 * they are, but one, which moves along a direction; its outputs are combined with random numbers,
 * and those are what backward gets as their gradients. A direction moves a few elements only: with
 * many, some would cross a kink however small the step.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"

enum { MOVED = 16, DIRECTIONS = 3 };

struct direction {
    int n;
    int64_t at[MOVED];
    double by[MOVED];
    double scale; /* of the elements that move */
};

struct measure {
    struct bound *b;
    const struct plan_node *pn;
    struct op_node *n;
    float *moved;  /* the input that moves */
    float *before; /* outputs of the node, one behind the other, where nothing moves */
    uint64_t draws;
    ot_slopes_fn *write;
    void *context;
};

static double draw(struct measure *m) { return 2 * (double)ot_random_float(11, 0, m->draws++) - 1; }

/* ---- the combination of outputs ---- */

static bool output_counts(const struct op_node *n, int j) {
    return n->y[j] && n->dy[j] && n->y[j]->type == OT_FLOAT;
}

static ot_status run_node(struct measure *m, bool backward, ot_error *err) {
    struct op_node *n = m->n;
    const int scratch = backward ? m->pn->backward_scratch : m->pn->forward_scratch;
    n->scratch = scratch >= 0 ? m->b->block + m->b->plan->buffer[scratch].offset : NULL;
    (backward ? n->op->backward : n->op->forward)(n);
    return ot_op_fault(n, err);
}

/* Forward; then how far the combination is from where nothing moves, and how far rounding alone
 * may have brought it. What does not depend on the move cancels exactly. */
static ot_status combine_outputs(struct measure *m, double *sum, double *noise, ot_error *err) {
    const float *before = m->before;
    double least = 0;
    *sum = *noise = 0;
    OT_TRY(run_node(m, false, err));
    for (int j = 0; j < m->n->n_out; j++) {
        if (!output_counts(m->n, j)) continue;
        const float *y = ot_f(m->n->y[j]), *w = ot_f(m->n->dy[j]);
        for (int64_t k = 0; k < ot_count(m->n->y[j]); k++, before++) {
            if (w[k] == 0) continue; /* a spare lane */
            const double rounding = fabs((double)w[k] * (double)y[k]) * (double)FLT_EPSILON;
            least = fmax(least, rounding);
            if (y[k] == *before) continue;
            *sum += (double)w[k] * ((double)y[k] - (double)*before);
            *noise += rounding;
        }
    }
    *noise = fmax(*noise, least);
    return OT_OK;
}

/* Gradients of the node, and its outputs, where nothing moves. */
static ot_status differentiate(struct measure *m, ot_error *err) {
    float *before = m->before;
    for (int j = 0; j < m->n->n_out; j++) {
        if (!output_counts(m->n, j)) continue;
        float *w = ot_f(m->n->dy[j]);
        for (int64_t k = 0; k < ot_count(m->n->dy[j]); k++) w[k] = (float)draw(m);
        ot_op_clear_spare(m->n->dy[j]);
    }
    OT_TRY(run_node(m, false, err));
    for (int j = 0; j < m->n->n_out; j++) {
        if (!output_counts(m->n, j)) continue;
        memcpy(before, m->n->y[j]->data, ot_bytes(m->n->y[j]));
        before += ot_count(m->n->y[j]);
    }
    return run_node(m, true, err);
}

/* ---- directions ---- */

static void choose_direction(struct measure *m, const struct tensor *x, struct direction *d) {
    const int64_t count = ot_count(x);
    *d = (struct direction){.n = count < MOVED ? (int)count : MOVED, .scale = 1};
    for (int k = 0; k < d->n; k++) {
        const double where = (draw(m) + 1) / 2 * (double)count;
        d->at[k] = count <= MOVED || where >= (double)count ? k : (int64_t)where;
        d->by[k] = draw(m);
        for (int i = 0; i < k; i++)
            if (d->at[i] == d->at[k]) d->by[k] = 0;
        d->scale = fmax(d->scale, fabs((double)ot_f(x)[d->at[k]]));
    }
}

/* The gradient along the direction: of all inputs of the node that are this tensor. */
static void project(const struct op_node *n, const struct tensor *x, const struct direction *d,
                    ot_slopes *s) {
    for (int i = 0; i < n->n_in; i++) {
        if (n->x[i] != x || !n->dx[i]) continue;
        ot_op_clear_spare(n->dx[i]);
        for (int k = 0; k < d->n; k++) {
            const double part = d->by[k] * (double)ot_f(n->dx[i])[d->at[k]];
            s->gradient += part;
            s->size += fabs(part);
        }
    }
}

static ot_status measure_slope(struct measure *m, struct tensor *x, const struct direction *d,
                               double h, double *out, double *noise, ot_error *err) {
    void *const kept = x->data;
    double sum, rounding;
    memcpy(m->moved, kept, ot_bytes(x));
    for (int k = 0; k < d->n; k++)
        if (d->by[k] != 0) m->moved[d->at[k]] += (float)(h * d->by[k]);
    x->data = m->moved;
    ot_status status = combine_outputs(m, &sum, &rounding, err);
    x->data = kept;
    *out = sum / h;
    *noise = fmax(*noise, rounding / fabs(h));
    return status;
}

static ot_status measure(struct measure *m, int i, ot_error *err) {
    struct tensor *x = m->n->x[i];
    struct direction d;
    for (int k = 0; k < DIRECTIONS; k++) {
        ot_slopes s = {.op = m->n->op->name, .node = m->n->node->name, .input = ot_entry(x)->name};
        choose_direction(m, x, &d);
        project(m->n, x, &d, &s);
        double h = ldexp(1, ilogb(d.scale) - 6);
        for (int level = 0; level < OT_SLOPE_LEVELS; level++, h /= 4) {
            OT_TRY(measure_slope(m, x, &d, -h, &s.left[level], &s.noise[level], err));
            OT_TRY(measure_slope(m, x, &d, h, &s.right[level], &s.noise[level], err));
        }
        m->write(m->context, &s);
    }
    return OT_OK;
}

/* ---- nodes ---- */

static bool is_first(const struct op_node *n, int i) {
    for (int k = 0; k < i; k++)
        if (n->x[k] == n->x[i] && n->dx[k]) return false;
    return true;
}

/* Integers between a QuantizeLinear and its DequantizeLinear have a gradient, but no slope. */
static bool has_slope(const struct op_node *n, int i) {
    return n->dx[i] && n->x[i]->type == OT_FLOAT;
}

/* Afterwards the node's outputs are what they were: later nodes read them. */
static ot_status measure_node(struct measure *m, struct plan_node *pn, ot_error *err) {
    bool any = false;
    m->pn = pn;
    m->n = &pn->n;
    for (int i = 0; i < pn->n.n_in; i++) any |= has_slope(&pn->n, i);
    if (!any || pn->is_view || pn->n.rounds) return OT_OK;
    OT_TRY(differentiate(m, err));
    for (int i = 0; i < pn->n.n_in; i++)
        if (has_slope(&pn->n, i) && is_first(&pn->n, i)) OT_TRY(measure(m, i, err));
    return run_node(m, false, err);
}

/* Room for any input, and for all outputs of any node. */
static ot_status make_room(struct measure *m, const ot_allocator *al, ot_error *err) {
    int64_t in = 1, out = 1;
    for (int k = 0; k < m->b->plan->n_nodes; k++) {
        const struct op_node *n = &m->b->node[k].n;
        int64_t sum = 0;
        for (int i = 0; i < n->n_in; i++)
            if (n->dx[i] && ot_count(n->x[i]) > in) in = ot_count(n->x[i]);
        for (int j = 0; j < n->n_out; j++) sum += output_counts(n, j) ? ot_count(n->y[j]) : 0;
        if (sum > out) out = sum;
    }
    m->moved = ot_block_alloc(al, (size_t)in, sizeof *m->moved);
    m->before = ot_block_alloc(al, (size_t)out, sizeof *m->before);
    return m->moved && m->before ? OT_OK
                                 : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory to measure");
}

ot_status ot_measure_gradients(ot_session *s, const ot_tensor *inputs, int n, ot_slopes_fn *write,
                               void *context, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct measure m = {.write = write, .context = context};
    if ((!inputs && n) || !write) return ot_fail(err, OT_ERROR_ARGUMENT, "inputs or write is NULL");
    OT_TRY(ot_session_plan(s, OT_PLAN_MEASURE, inputs, n, &m.b, err));
    OT_TRY(ot_bound_check(m.b, inputs, err));
    OT_TRY(ot_session_save_statistics(s, err));
    ot_status status = make_room(&m, &s->allocator, err);
    if (!status) status = ot_bound_forward(m.b, inputs, err);
    for (int k = 0; k < m.b->plan->n_nodes && !status; k++)
        status = measure_node(&m, &m.b->node[k], err);
    ot_session_restore_statistics(s);
    ot_block_free(&s->allocator, m.moved);
    ot_block_free(&s->allocator, m.before);
    return status;
}
