/* parts.c - a batch in micro-batches: plans of parts, whose gradients and losses add up to those
 * of the whole. Sizes differ by one sample at most, so there are two plans, or one. parts.c runs
 * them. */
#include <string.h>

#include "runtime/compile/plan.h"

/* An input is divided if it has the batch's size where the file leaves that open, or fixes it as
 * it fixes the first input's. */
static bool is_divided(const struct graph *g, const ot_tensor *inputs, int first, int i) {
    const struct value *a = &g->value[g->input[first]], *b = &g->value[g->input[i]];
    const int64_t fixed = a->rank > 0 && a->dim[0] > 0 ? a->dim[0] : -1;
    const bool open = b->rank <= 0 || b->dim[0] < 0 || b->dim[0] == fixed;
    return open && inputs[i].rank > 0 && inputs[i].dim[0] == inputs[first].dim[0];
}

/* divided[i]: input i is cut along its first dimension. */
static void find_divided(const struct graph *g, const ot_tensor *inputs, int n, bool *divided) {
    int first = 0;
    while (first < n && inputs[first].rank < 1) first++;
    for (int i = 0; i < n; i++) divided[i] = first < n && is_divided(g, inputs, first, i);
}

/* The output has a row a sample, and nothing takes the rows for points of time. */
static bool is_by_sample(const struct plan *p, int64_t rows) {
    if (p->ordered) return false;
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->n.ordered && p->node[i]->n.x[0]->dim[0] == rows) return false;
    return p->target.rank > 0 && p->target.dim[0] == rows;
}

static ot_status make_part(const struct compiler *c, const struct request *r, int64_t rows,
                           ot_tensor *input, bool *divided, struct plan **plan, ot_error *err) {
    struct request part = *r;
    part.input = input;
    find_divided(c->model->graph, r->input, r->n_inputs, divided);
    for (int i = 0; i < r->n_inputs; i++) {
        input[i] = r->input[i];
        if (divided[i]) input[i].dim[0] = rows;
    }
    return ot_plan_new(c, &part, plan, err);
}

ot_status ot_plan_new_part(const struct compiler *c, const struct request *r, int64_t rows,
                           struct plan **plan, ot_error *err) {
    const ot_allocator *al = &c->model->allocator;
    const int n = c->model->graph->n_inputs;
    if (r->n_inputs != n)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d inputs, but %d are given", n,
                       r->n_inputs);
    ot_tensor *input = ot_block_alloc(al, (size_t)n, sizeof *input);
    bool *divided = ot_block_alloc(al, (size_t)n, sizeof *divided);
    struct plan *p = NULL;
    ot_status status =
        input && divided ? make_part(c, r, rows, input, divided, &p, err) : ot_plan_no_memory(err);
    if (!status && !is_by_sample(p, rows))
        status = ot_fail(err, OT_ERROR_LIMIT,
                         "the step does not fit into memory, and cannot be divided: its output "
                         "does not have one row per sample");
    ot_block_free(al, input);
    ot_block_free(al, divided);
    if (status)
        ot_plan_unref(p);
    else
        *plan = p;
    return status;
}

static ot_status make_parts(struct plan *d, ot_error *err) {
    const struct compiler *c = &d->compiler;
    const struct request *r = &d->request;
    const int64_t rows = ot_part_rows(d->batch, d->parts);
    OT_TRY(ot_plan_new_part(c, r, rows, &d->part[0], err));
    if (d->batch % d->parts) OT_TRY(ot_plan_new_part(c, r, rows - 1, &d->part[1], err));
    struct arena *arena = &d->part[0]->arena; /* it lives as long */
    d->divided = ot_arena_alloc(arena, (size_t)r->n_inputs, sizeof *d->divided);
    if (!d->divided) return ot_plan_no_memory(err);
    OT_TRY(ot_plan_keep_request(d, arena, err));
    find_divided(d->graph, r->input, r->n_inputs, d->divided);
    for (int k = 0; k < 2 && d->part[k]; k++)
        if (d->part[k]->block_bytes > d->block_bytes) d->block_bytes = d->part[k]->block_bytes;
    d->target = d->part[0]->target;
    d->target.dim[0] = d->batch;
    d->loss = d->part[0]->loss;
    d->skips = d->part[0]->skips;
    d->n_again = d->part[0]->n_again;
    d->mixes = d->part[0]->mixes;
    d->trains = d->part[0]->trains;
    d->seen = d->part[0]->seen;
    return OT_OK;
}

ot_status ot_plan_new_divided(const struct compiler *c, const struct request *r, int64_t parts,
                              struct plan **plan, ot_error *err) {
    struct plan *d = ot_plan_alloc(c, r);
    if (!d) return ot_plan_no_memory(err);
    d->parts = parts;
    d->batch = ot_batch_of(r->input, r->n_inputs);
    const ot_status status = make_parts(d, err);
    d->compiler = (struct compiler){0};
    if (status)
        ot_plan_unref(d);
    else
        *plan = d;
    return status;
}
