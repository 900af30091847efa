/* prune.c - which weights go, once and for all. */
#include "runtime/train/prune.h"

#include "runtime/train/layer_change.h"

static enum ot_drop drop_of(ot_prune_by by) {
    switch (by) {
    case OT_PRUNE_TAYLOR: return OT_DROP_TAYLOR;
    case OT_PRUNE_RANDOM: return OT_DROP_RANDOM;
    case OT_PRUNE_MAGNITUDE: break;
    }
    return OT_DROP_MAGNITUDE;
}

static struct layer_change change_of(const struct sparsity *s, int i, const float *score) {
    const struct parameter *p = s->layer[i].p;
    return (struct layer_change){.layer = &s->layer[i],
                                 .drop = drop_of(s->o.by),
                                 .stay = ot_budget_count(&s->budget[i]),
                                 .constraint = s->o.constraint,
                                 .group = {s->o.group[0], s->o.group[1]},
                                 .worth = score ? score + p->offset : NULL,
                                 .seed = s->o.seed,
                                 .stream = (uint64_t)9 << 56 | (uint64_t)(p - s->m->parameter)};
}

/* Slots of all layers together, where they are compared. */
static int64_t count(const struct sparsity *s) {
    double elements = 0;
    for (int i = 0; i < s->n; i++) elements += (double)ot_elements(&s->layer[i].p->t);
    return (int64_t)(elements * s->o.density);
}

static ot_status stage(const struct sparsity *s, const struct layer_change *c, struct rewiring *r,
                       ot_error *err) {
    int64_t grown;
    OT_TRY(ot_layer_stage(s->m, c, r, &grown, err));
    if (r->pattern->nnz) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT, "weight '%s': the budget leaves it without a weight",
                   r->p->name);
}

/* Layers that keep all that they have stay as they are. */
static ot_status stage_all(const struct sparsity *s, struct layer_change *c, struct rewiring *r,
                           int *n, const float *score, ot_error *err) {
    for (int i = 0; i < s->n; i++) c[i] = change_of(s, i, score);
    if (ot_sparsity_compares(s)) OT_TRY(ot_layers_share(s->m, c, s->n, count(s), err));
    for (int i = 0; i < s->n; i++)
        if (!ot_layer_stays(&c[i])) OT_TRY(stage(s, &c[i], &r[(*n)++], err));
    return OT_OK;
}

ot_status ot_prune_layers(struct model *m, struct weights **weights, struct state *state,
                          struct sparsity *s, const float *score, ot_error *err) {
    const ot_allocator *al = &m->allocator;
    int n = 0;
    struct layer_change *c = ot_block_alloc(al, (size_t)s->n, sizeof *c);
    struct rewiring *r = ot_block_alloc(al, (size_t)s->n, sizeof *r);
    ot_status status =
        c && r ? stage_all(s, c, r, &n, score, err)
               : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of weights");
    if (!status) status = ot_rewire(m, weights, state, r, n, err);
    if (r) ot_rewirings_free(al, r, n);
    ot_block_free(al, c);
    return status;
}
