/* run.c - executing a plan: one loop over its steps; where a batch is divided, over those of its
 * micro-batches. */
#include "runtime/run/blame.h"
#include "runtime/run/context.h"

/* Steps [from, to). */
static ot_status run_range(struct bound *b, int from, int to, const struct loss_io *io,
                           ot_error *err) {
    const bool profile = b->context->profile.on;
    for (int s = from; s < to; s++)
        OT_TRY((profile ? ot_run_step_timed : ot_run_step)(b, &b->step[s], io, err));
    return OT_OK;
}

static ot_status run_steps(struct bound *b, const ot_tensor *inputs, const struct loss_io *io,
                           ot_error *err) {
    ot_bound_aim(b, inputs);
    const ot_status status = run_range(b, 0, b->plan->n_steps, io, err);
    return status == OT_ERROR_NUMERIC ? ot_blame(b, inputs, err) : status;
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

static ot_status run_parts(struct bound *b, const ot_tensor *inputs, const struct loss_io *io,
                           ot_error *err) {
    const struct plan *p = b->plan;
    struct step_context *random = &b->context->random;
    const int64_t rows = p->batch / p->parts, longer = p->batch % p->parts;
    ot_status status = OT_OK;
    int64_t from = 0;
    for (b->done = 0; b->done < p->parts && !status;) {
        const int64_t n = rows + (b->done < longer);
        const ot_tensor target = slice(io->target, from, n);
        const ot_tensor mask = io->mask ? slice(io->mask, from, n) : target;
        struct loss_io part = *io;
        part.target = &target;
        part.mask = io->mask ? &mask : NULL;
        part.earlier = io->earlier || b->done + 1 < p->parts;
        for (int i = 0; i < p->request.n_inputs; i++)
            b->slice[i] = p->divided[i] ? slice(&inputs[i], from, n) : inputs[i];
        random->first = from;
        random->samples = n;
        status = run_steps(b->part[longer && b->done >= longer], b->slice, &part, err);
        b->done += !status;
        from += n;
    }
    random->first = random->samples = 0;
    return status;
}

ot_status ot_bound_run(struct bound *b, const ot_tensor *inputs, const struct loss_io *io,
                       ot_error *err) {
    return (b->plan->parts ? run_parts : run_steps)(b, inputs, io, err);
}

ot_status ot_bound_forward(struct bound *b, const ot_tensor *inputs, ot_error *err) {
    ot_bound_aim(b, inputs);
    return run_range(b, 0, b->plan->n_forward, NULL, err);
}

ot_status ot_bound_backward(struct bound *b, ot_error *err) {
    return run_range(b, b->plan->n_forward, b->plan->n_steps, NULL, err);
}
