/* step.c - running one step of a plan, with a clock or without. */
#include <math.h>
#include <string.h>

#include "runtime/run/context.h"

enum { GRAIN = 32768 };

struct sum {
    float *to;
    const float *from;
    int64_t n;
};

static void add_task(void *arg, int task, int worker) {
    const struct sum *s = arg;
    (void)worker;
    int64_t from, to;
    ot_task_range(s->n, GRAIN, task, &from, &to);
    for (int64_t i = from; i < to; i++) s->to[i] += s->from[i];
}

static void add_floats(struct pool *pool, float *to, const float *from, int64_t n) {
    struct sum s = {to, from, n};
    ot_parallel_for(pool, ot_task_count(n, GRAIN), add_task, &s);
}

/* A gradient that is zero is not added to: the operator writes it where it belongs. */
static void aim_gradients(struct bound *b, struct op_node *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (!n->dx[i] || ot_entry(n->x[i])->parameter < 0) continue;
        struct parameter *w = &b->context->parameter[ot_entry(n->x[i])->parameter];
        struct entry *g = ot_entry(n->dx[i]);
        if (g->buffer < 0) continue;
        g->t.data = w->gradient_is_zero ? (char *)w->gradient
                                        : b->block + b->plan->buffer[g->buffer].offset;
        w->gradient_is_zero = false;
    }
}

/* The parameter's gradient += b. */
static void accumulate(struct bound *b, const struct step *step) {
    struct parameter *w = &b->context->parameter[step->a->parameter];
    const struct tensor *g = &step->b->t;
    if (w->gradient_is_zero)
        memcpy(w->gradient, g->data, ot_bytes(g));
    else
        add_floats(b->context->pool, w->gradient, ot_f(g), ot_count(g));
    w->gradient_is_zero = false;
}

/* Who takes what this probe tells; NULL: nobody in this run. */
static const struct probe_sink *sink_of(const struct step *step, const struct loss_io *io) {
    if (!io || !io->probe) return NULL;
    const struct probe_sink *sink = &io->probe[step->a->parameter];
    return sink->pattern || (sink->take && !io->earlier) ? sink : NULL;
}

static bool is_done(const struct bound *b, const struct step *step, const struct loss_io *io) {
    if (step->kind == OT_STEP_PROBE) return !sink_of(step, io);
    return step->kind == OT_STEP_ACCUMULATE &&
           step->b->t.data == b->context->parameter[step->a->parameter].gradient;
}

static ot_status run_node(struct bound *b, const struct step *step, ot_error *err) {
    struct op_node *n = step->node;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    const bool backward = step->kind == OT_STEP_BACKWARD;
    int scratch = backward ? pn->backward_scratch : pn->forward_scratch;
    n->scratch = scratch >= 0 ? b->block + b->plan->buffer[scratch].offset : NULL;
    if (backward) aim_gradients(b, n);
    (backward ? n->op->backward : step->kind == OT_STEP_AGAIN ? n->op->again : n->op->forward)(n);
    return ot_op_fault(n, err);
}

static ot_status run_probe(struct bound *b, const struct step *step, const struct loss_io *io,
                           ot_error *err) {
    struct op_node *n = step->node;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    n->scratch =
        pn->probe_scratch >= 0 ? b->block + b->plan->buffer[pn->probe_scratch].offset : NULL;
    ot_op_probe(n, sink_of(step, io));
    return ot_op_fault(n, err);
}

static ot_status run_loss(struct bound *b, const struct step *step, const struct loss_io *io,
                          ot_error *err) {
    float *gradient = step->b ? ot_f(&step->b->t) : NULL;
    const struct loss_run run = {io->loss, &step->a->t, io->target, io->mask, io->unit};
    ot_result r;
    ot_loss_run(&run, gradient, b->context->pool, b->plan->request.kernels, &r);
    if (io->unit != io->total && io->total) r.loss *= (double)io->unit / (double)io->total;
    if (!isfinite(r.loss) && (gradient || !b->context->allow_nonfinite))
        return ot_fail(err, OT_ERROR_NUMERIC, "the loss is %g",
                       isnan(r.loss) ? (double)NAN : r.loss); /* no "-nan" */
    io->result->loss += r.loss;
    io->result->count += r.count;
    io->result->correct += r.correct;
    return OT_OK;
}

ot_status ot_run_step(struct bound *b, struct step *step, const struct loss_io *io, ot_error *err) {
    switch (step->kind) {
    case OT_STEP_LOSS: return run_loss(b, step, io, err);
    case OT_STEP_ADD:
        add_floats(b->context->pool, ot_f(&step->a->t), ot_f(&step->b->t), ot_count(&step->a->t));
        return OT_OK;
    case OT_STEP_ONE: *ot_f(&step->a->t) = 1; return OT_OK;
    case OT_STEP_ZERO: memset(step->a->t.data, 0, ot_bytes(&step->a->t)); return OT_OK;
    case OT_STEP_ACCUMULATE:
        if (!is_done(b, step, io)) accumulate(b, step);
        return OT_OK;
    case OT_STEP_PROBE: return is_done(b, step, io) ? OT_OK : run_probe(b, step, io, err);
    default: return run_node(b, step, err);
    }
}

/* A node with clocks, for a pass that makes both gradients of a product. */
static ot_status run_joint(struct bound *b, struct step *step, ot_error *err) {
    double weight = 0, start = ot_clock();
    step->node->weight_share = &weight;
    const ot_status status = run_node(b, step, err);
    step->node->weight_share = NULL;
    const double part = weight * (ot_clock() - start);
    ot_timing_add(&step->time, start + part);
    ot_timing_add(&step->weight_time, ot_clock() - part);
    return status;
}

/* For others, one gradient is asked for after the other. */
static ot_status run_in_turn(struct bound *b, struct step *step, ot_error *err) {
    struct op_node *n = step->node;
    double start = ot_clock();
    struct tensor *dx[OT_PRODUCT_INPUTS] = {0};
    const size_t size = (size_t)n->n_in * sizeof *dx;
    memcpy(dx, n->dx, size);
    ot_status status = OT_OK;
    if (dx[0]) {
        memset(n->dx + 1, 0, size - sizeof *dx);
        status = run_node(b, step, err);
        ot_timing_add(&step->time, start);
    }
    memcpy(n->dx, dx, size);
    n->dx[0] = NULL;
    start = ot_clock();
    if (!status) status = run_node(b, step, err);
    ot_timing_add(&step->weight_time, start);
    n->dx[0] = dx[0];
    return status;
}

ot_status ot_run_step_timed(struct bound *b, struct step *step, const struct loss_io *io,
                            ot_error *err) {
    if (is_done(b, step, io)) return OT_OK; /* nothing to time */
    if (ot_step_weight(step)) {
        const bool joint = step->node->joint && step->node->dx[0];
        return (joint ? run_joint : run_in_turn)(b, step, err);
    }
    const double start = ot_clock();
    OT_TRY(ot_run_step(b, step, io, err));
    ot_timing_add(&step->time, start);
    return OT_OK;
}
