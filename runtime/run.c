/* run.c - executing a plan: one loop over its steps. */
#include <math.h>
#include <string.h>

#include "runtime/session.h"

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

static void add(struct pool *pool, float *to, const float *from, int64_t n) {
    struct sum s = {to, from, n};
    ot_parallel_for(pool, ot_task_count(n, GRAIN), add_task, &s);
}

static ot_status run_node(struct plan *p, const struct step *step, ot_error *err) {
    struct op_node *n = step->node;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    bool forward = step->kind == OT_STEP_FORWARD;
    int scratch = forward ? pn->forward_scratch : pn->backward_scratch;
    n->scratch = scratch >= 0 ? p->block + p->buffer[scratch].offset : NULL;
    (forward ? n->op->forward : n->op->backward)(n);
    return ot_op_fault(n, err);
}

/* Inputs are read where the caller has them; views of them follow. */
static ot_status bind_inputs(struct plan *p, const ot_tensor *inputs, ot_error *err) {
    for (int i = 0; i < p->n_inputs; i++) {
        struct entry *e = p->input_entry[i];
        size_t align = ot_type_size(e->t.type);
        if (!inputs[i].data || (uintptr_t)inputs[i].data % (align ? align : 1))
            return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' has %s data", e->name,
                           inputs[i].data ? "misaligned" : "no");
        e->t.data = (void *)inputs[i].data;
    }
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->view && e->view->input >= 0) e->t.data = e->view->t.data;
    }
    return OT_OK;
}

static ot_status check_target(const struct plan *p, const ot_tensor *target, ot_error *err) {
    char want[256], have[256];
    struct tensor given = {.rank = target->rank};
    if (target->rank < 0 || target->rank > OT_MAX_RANK)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the target has rank %d", target->rank);
    memcpy(given.dim, target->dim, sizeof given.dim);
    if ((uintptr_t)target->data % ot_type_size(p->target.type))
        return ot_fail(err, OT_ERROR_ARGUMENT, "the target has misaligned data");
    if (target->type != p->target.type || !ot_same_shape(&given, &p->target) || !target->data)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the target must be %s %s, given %s %s",
                       ot_type_name(p->target.type), ot_shape_text(&p->target, want, sizeof want),
                       ot_type_name(target->type), ot_shape_text(&given, have, sizeof have));
    return OT_OK;
}

static ot_status run_loss(struct plan *p, const struct step *step, const ot_tensor *target,
                          ot_result *result, ot_error *err) {
    float *gradient = step->b ? ot_f(&step->b->t) : NULL;
    OT_TRY(ot_loss_run(&p->session->loss, &step->a->t, target, gradient, result, err));
    if (gradient && !isfinite(result->loss))
        return ot_fail(err, OT_ERROR_NUMERIC, "the loss is %g", result->loss);
    return OT_OK;
}

static ot_status run_step(struct plan *p, struct step *step, const ot_tensor *target,
                          ot_result *result, ot_error *err) {
    switch (step->kind) {
    case OT_STEP_LOSS:
        return run_loss(p, step, target, result, err);
    case OT_STEP_ADD:
        add(p->session->pool, ot_f(&step->a->t), ot_f(&step->b->t), ot_count(&step->a->t));
        return OT_OK;
    case OT_STEP_ZERO:
        memset(step->a->t.data, 0, ot_bytes(&step->a->t));
        return OT_OK;
    case OT_STEP_ACCUMULATE:
        add(p->session->pool, p->session->parameter[step->a->parameter].gradient, ot_f(&step->b->t),
            ot_count(&step->b->t));
        return OT_OK;
    default:
        return run_node(p, step, err);
    }
}

/* The same with clocks. The two gradients of a product are asked for one after the other. */
static ot_status run_timed(struct plan *p, struct step *step, const ot_tensor *target,
                           ot_result *result, ot_error *err) {
    struct op_node *n = step->node;
    double start = ot_clock();
    if (!ot_step_weight(step)) {
        OT_TRY(run_step(p, step, target, result, err));
        ot_timing_add(&step->time, start);
        return OT_OK;
    }
    struct tensor *dx[OT_PRODUCT_INPUTS] = {0};
    const size_t size = (size_t)n->n_in * sizeof *dx;
    memcpy(dx, n->dx, size);
    ot_status status = OT_OK;
    if (dx[0]) {
        memset(n->dx + 1, 0, size - sizeof *dx);
        status = run_node(p, step, err);
        ot_timing_add(&step->time, start);
    }
    memcpy(n->dx, dx, size);
    n->dx[0] = NULL;
    start = ot_clock();
    if (!status) status = run_node(p, step, err);
    ot_timing_add(&step->weight_time, start);
    n->dx[0] = dx[0];
    return status;
}

static ot_status run_steps(struct plan *p, int from, int to, const ot_tensor *target,
                           ot_result *result, ot_error *err) {
    const bool profile = p->session->profile.on;
    for (int s = from; s < to; s++)
        OT_TRY((profile ? run_timed : run_step)(p, &p->step[s], target, result, err));
    return OT_OK;
}

ot_status ot_plan_run(struct plan *p, const ot_tensor *inputs, const ot_tensor *target,
                      ot_result *result, ot_error *err) {
    OT_TRY(bind_inputs(p, inputs, err));
    if (target) OT_TRY(check_target(p, target, err));
    return run_steps(p, 0, p->n_steps, target, result, err);
}

ot_status ot_plan_forward(struct plan *p, const ot_tensor *inputs, ot_error *err) {
    OT_TRY(bind_inputs(p, inputs, err));
    return run_steps(p, 0, p->n_forward, NULL, NULL, err);
}

ot_status ot_plan_backward(struct plan *p, ot_error *err) {
    return run_steps(p, p->n_forward, p->n_steps, NULL, NULL, err);
}

void ot_plan_results(const struct plan *p, ot_tensor *outputs, int n) {
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &p->output[i]->t;
        outputs[i] = (ot_tensor){.type = t->type, .rank = t->rank, .data = t->data};
        memcpy(outputs[i].dim, t->dim, sizeof outputs[i].dim);
    }
}
