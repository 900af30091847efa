/* divide.c - a batch in micro-batches: plans of parts, whose gradients and losses add up to those
 * of the whole. Sizes differ by one sample at most, so there are two plans, or one. */
#include <string.h>

#include "runtime/session.h"

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

ot_status ot_plan_new_part(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                           int n, int64_t rows, bool frugal, struct plan **plan, ot_error *err) {
    if (n != s->graph->n_inputs)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the model has %d inputs, given %d",
                       s->graph->n_inputs, n);
    ot_tensor *part = ot_block_alloc(&s->allocator, (size_t)n, sizeof *part);
    bool *divided = ot_block_alloc(&s->allocator, (size_t)n, sizeof *divided);
    ot_status status = part && divided ? OT_OK : ot_plan_no_memory(err);
    struct plan *p = NULL;
    if (!status) {
        find_divided(s->graph, inputs, n, divided);
        for (int i = 0; i < n; i++) {
            part[i] = inputs[i];
            if (divided[i]) part[i].dim[0] = rows;
        }
        status = ot_plan_new(s, kind, part, n, frugal, &p, err);
    }
    if (!status && !is_by_sample(p, rows))
        status = ot_fail(err, OT_ERROR_LIMIT,
                         "the step does not fit into memory, and cannot be divided: its output "
                         "does not have one row per sample");
    ot_block_free(&s->allocator, part);
    ot_block_free(&s->allocator, divided);
    if (status)
        ot_plan_free(p);
    else
        *plan = p;
    return status;
}

static ot_status make_parts(struct plan *d, const ot_tensor *inputs, int n, bool frugal,
                            ot_error *err) {
    const int64_t rows = ot_part_rows(d->batch, d->parts);
    struct ot_session *s = d->session;
    OT_TRY(ot_plan_new_part(s, d->kind, inputs, n, rows, frugal, &d->part[0], err));
    if (d->batch % d->parts)
        OT_TRY(ot_plan_new_part(s, d->kind, inputs, n, rows - 1, frugal, &d->part[1], err));
    for (int k = 0; k < 2 && d->part[k]; k++)
        if (d->part[k]->block_bytes > d->block_bytes) d->block_bytes = d->part[k]->block_bytes;
    d->target = d->part[0]->target;
    d->target.dim[0] = d->batch;
    d->skips = d->part[0]->skips;
    d->n_again = d->part[0]->n_again;
    d->mixes = d->part[0]->mixes;
    d->trains = d->part[0]->trains;
    return OT_OK;
}

/* In the arena of the first part, which lives as long. */
static ot_status keep_inputs(struct plan *d, const ot_tensor *inputs, ot_error *err) {
    struct arena *arena = &d->part[0]->arena;
    const size_t n = (size_t)d->n_inputs;
    d->input = ot_arena_alloc(arena, n, sizeof *d->input);
    d->slice = ot_arena_alloc(arena, n, sizeof *d->slice);
    d->divided = ot_arena_alloc(arena, n, sizeof *d->divided);
    if (!d->input || !d->slice || !d->divided) return ot_plan_no_memory(err);
    memcpy(d->input, inputs, n * sizeof *inputs);
    find_divided(d->session->graph, inputs, d->n_inputs, d->divided);
    return OT_OK;
}

ot_status ot_plan_new_divided(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs,
                              int n, int64_t parts, bool frugal, struct plan **plan,
                              ot_error *err) {
    struct plan *d = ot_block_alloc(&s->allocator, 1, sizeof *d);
    if (!d) return ot_plan_no_memory(err);
    *d = (struct plan){.kind = kind,
                       .session = s,
                       .parts = parts,
                       .batch = ot_batch_of(inputs, n),
                       .frugal = frugal,
                       .n_inputs = n};
    ot_status status = make_parts(d, inputs, n, frugal, err);
    if (!status) status = keep_inputs(d, inputs, err);
    if (status)
        ot_plan_free(d);
    else
        *plan = d;
    return status;
}
