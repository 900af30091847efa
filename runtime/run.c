/* run.c - executing a plan: one loop over its steps; where a batch is divided, over those of its
 * micro-batches. */
#include "runtime/blame.h"
#include "runtime/session.h"

/* Steps [from, to). */
static ot_status run_range(struct plan *p, int from, int to, const struct goal *goal,
                           ot_error *err) {
    const bool profile = p->session->profile.on;
    for (int s = from; s < to; s++)
        OT_TRY((profile ? ot_run_step_timed : ot_run_step)(p, &p->step[s], goal, err));
    return OT_OK;
}

static ot_status run_steps(struct plan *p, const ot_tensor *inputs, const struct goal *goal,
                           ot_error *err) {
    ot_plan_set_inputs(p, inputs);
    const ot_status status = run_range(p, 0, p->n_steps, goal, err);
    return status == OT_ERROR_NUMERIC ? ot_plan_blame(p, inputs, err) : status;
}

/* Rows [from, from + rows) of t. */
static ot_tensor slice(const ot_tensor *t, int64_t from, int64_t rows) {
    ot_tensor part = *t;
    size_t bytes = ot_type_size(t->type);
    for (int i = 1; i < t->rank; i++) bytes *= (size_t)t->dim[i];
    part.dim[0] = rows;
    part.data = (const char *)t->data + (size_t)from * bytes;
    return part;
}

static ot_status run_parts(struct plan *d, const ot_tensor *inputs, const struct goal *goal,
                           ot_error *err) {
    struct step_context *context = &d->session->context;
    const int64_t rows = d->batch / d->parts, longer = d->batch % d->parts;
    ot_status status = OT_OK;
    int64_t from = 0;
    for (d->done = 0; d->done < d->parts && !status;) {
        const int64_t n = rows + (d->done < longer);
        const ot_tensor target = slice(goal->target, from, n);
        const ot_tensor mask = goal->mask ? slice(goal->mask, from, n) : target;
        const struct goal part = {goal->loss, &target, goal->mask ? &mask : NULL, goal->total,
                                  goal->unit, goal->result};
        for (int i = 0; i < d->n_inputs; i++)
            d->slice[i] = d->divided[i] ? slice(&inputs[i], from, n) : inputs[i];
        context->first = from;
        context->samples = n;
        status = run_steps(d->part[longer && d->done >= longer], d->slice, &part, err);
        d->done += !status;
        from += n;
    }
    context->first = context->samples = 0;
    return status;
}

ot_status ot_plan_run(struct plan *p, const ot_tensor *inputs, const struct goal *goal,
                      ot_error *err) {
    return (p->parts ? run_parts : run_steps)(p, inputs, goal, err);
}

ot_status ot_plan_forward(struct plan *p, const ot_tensor *inputs, ot_error *err) {
    ot_plan_set_inputs(p, inputs);
    return run_range(p, 0, p->n_forward, NULL, err);
}

ot_status ot_plan_backward(struct plan *p, ot_error *err) {
    return run_range(p, p->n_forward, p->n_steps, NULL, err);
}
