/* layer_growth.c - where a weight grows slots, and their values. */
#include "runtime/train/layer_growth.h"

#include <math.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/topology/fan_in.h"
#include "runtime/topology/grow.h"

/* Slots that go compete with the positions that probes have found, and under a constant fan-in all
 * slots do: rows are worth what they have. */
static void compete(const struct staged *l) {
    const struct layer_change *c = l->c;
    const float *gradient = c->layer->p->gradient;
    struct best *best = &c->probes->whole;
    if (*c->competed) return;
    for (int r = 0; gradient && r < l->old->rows; r++)
        for (int k = l->old->row[r]; k < l->old->row[r + 1]; k++)
            if (ot_layer_grows_by_row(c) || !l->keep[k])
                ot_best_add(best, ot_position(l->old, r, k), gradient[k] * c->scale);
    ot_probe_lists_finish(c->probes);
    *c->competed = true;
}

static int grow_found(struct staged *l) {
    const struct best_list *found = &l->c->probes->whole.list[0];
    const int n = found->n < l->n_grown ? found->n : l->n_grown;
    memcpy(l->grown, found->position, (size_t)n * sizeof *l->grown);
    return n;
}

ot_status ot_layer_grow(struct staged *l, const struct model *m, ot_error *err) {
    const struct layer_change *c = l->c;
    l->n_grown = c->grow == OT_SAME ? l->old->nnz - l->kept.n : (int)c->grow;
    l->grown = ot_block_alloc_dirty(&m->allocator, (size_t)l->n_grown, sizeof *l->grown);
    if (!l->grown) return ot_no_memory_for_mask(err);
    if (c->probes) {
        compete(l);
        l->n_grown = grow_found(l);
        return OT_OK;
    }
    return ot_grow_random(l->old, &l->kept, l->n_grown, c->seed, c->stream + OT_DRAW_PLACE,
                          l->grown, err);
}

ot_status ot_layer_fill_rows(struct staged *l, const struct model *m, ot_error *err) {
    const struct layer_change *c = l->c;
    const size_t n = (size_t)l->old->nnz;
    float *gradient = ot_block_alloc_dirty(&m->allocator, n, sizeof *gradient);
    l->grown = ot_block_alloc_dirty(&m->allocator, (size_t)c->budget, sizeof *l->grown);
    ot_status status = gradient && l->grown ? OT_OK : ot_no_memory_for_mask(err);
    if (!status) {
        const float *from = c->layer->p->gradient;
        for (size_t k = 0; k < n; k++) gradient[k] = from ? from[k] * c->scale : 0;
        compete(l);
        const struct fan_in_update u = {.old = l->old,
                                        .score = l->score,
                                        .gradient = gradient,
                                        .whole = &c->probes->whole,
                                        .rows = &c->probes->rows,
                                        .stay = (int)c->stay,
                                        .budget = c->budget,
                                        .ablation = c->ablation,
                                        .revive = c->revive};
        status = ot_fan_in_change(&u, l->keep, l->grown, &l->n_grown, err);
    }
    ot_block_free(&m->allocator, gradient);
    return status;
}

/* The value of a slot that has grown, in a row of so many slots. (ot_draw_values, for the first
 * values of a file, rounds once and counts positions in the file's order: either function with the
 * other's numbers would change what seeds have given so far.) */
static float newborn(const struct staged *l, int64_t position, int slots) {
    const uint64_t stream = l->c->stream + OT_DRAW_VALUE;
    if (l->c->newborn == OT_NEWBORN_HE)
        return sqrtf(2 / (float)slots) * ot_random_normal(l->c->seed, stream, (uint64_t)position);
    const float bound = sqrtf(6 / (float)l->old->cols);
    return bound * (2 * ot_random_float(l->c->seed, stream, (uint64_t)position) - 1);
}

ot_status ot_layer_set_newborns(const struct staged *l, struct rewiring *r, ot_error *err) {
    const struct pattern *p = r->pattern;
    if (l->c->newborn == OT_NEWBORN_ZERO || !l->n_grown) return OT_OK;
    float *value = r->newborn =
        ot_block_alloc_dirty(&p->allocator, (size_t)l->n_grown, sizeof *value);
    if (!value) return ot_no_memory_for_mask(err);
    for (int row = 0; row < p->rows; row++)
        for (int k = p->row[row]; k < p->row[row + 1]; k++)
            if (r->map[k] < 0)
                *value++ = newborn(l, ot_position(p, row, k), p->row[row + 1] - p->row[row]);
    return OT_OK;
}
