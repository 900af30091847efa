/* layer_change.c - the new mask of one weight, staged beside the one that it has. */
#include "runtime/train/layer_change.h"

#include <math.h>
#include <string.h>

#include "runtime/base/rng.h"
#include "runtime/model/full_pattern.h"
#include "runtime/topology/fan_in.h"
#include "runtime/topology/grow.h"

/* A weight while its change is staged: lists of the size of its slots. */
struct staged {
    const struct layer_change *c;
    struct pattern *old; /* a dense weight's: all places */
    const float *value;  /* in the order of old's slots */
    float *copy;         /* of the values of a dense weight, in that order */
    float *score;
    bool *keep;
    struct kept kept;
    int n_grown;
    int64_t *grown;
};

int64_t ot_layer_slots(const struct parameter *p) {
    return p->t.pattern ? p->t.pattern->nnz : ot_elements(&p->t);
}

static ot_status no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a new mask");
}

/* ---- the weight as it is ---- */

static ot_status open_layer(struct staged *l, const struct model *m, ot_error *err) {
    const struct parameter *p = l->c->layer->p;
    l->value = p->t.data;
    if (p->t.pattern) {
        l->old = ot_pattern_ref(p->t.pattern);
        return OT_OK;
    }
    OT_TRY(ot_full_pattern_new(l->c->layer, &m->allocator, &l->old, err));
    if (!l->old->transposed) return OT_OK;
    l->copy = ot_block_alloc_dirty(&m->allocator, (size_t)l->old->nnz, sizeof *l->copy);
    if (!l->copy) return no_memory(err);
    ot_pattern_gather(l->old, p->t.data, l->copy);
    l->value = l->copy;
    return OT_OK;
}

static void close_layer(struct staged *l, const struct model *m) {
    ot_block_free(&m->allocator, l->copy);
    ot_block_free(&m->allocator, l->score);
    ot_block_free(&m->allocator, l->keep);
    ot_block_free(&m->allocator, l->grown);
    if (l->old) ot_kept_free(l->old, &l->kept);
    ot_pattern_unref(l->old);
}

/* ---- what stays ---- */

/* In the order of slots; NULL stands for zeros. */
static void gather(const struct staged *l, const float *from, float *to) {
    if (!from)
        memset(to, 0, (size_t)l->old->nnz * sizeof *to);
    else if (l->c->layer->p->t.pattern)
        memcpy(to, from, (size_t)l->old->nnz * sizeof *to);
    else
        ot_pattern_gather(l->old, from, to);
}

static void score(const struct staged *l, float *to) {
    const int n = l->old->nnz;
    const float *movement = l->c->layer->p->moment[OT_SCORE];
    if (l->c->drop == OT_DROP_MOVEMENT)
        gather(l, movement, to);
    else if (l->c->drop == OT_DROP_RANDOM)
        ot_score_random(l->c->seed, l->c->stream + OT_DRAW_DROP, n, to);
    else
        ot_score_magnitude(l->value, n, to);
}

ot_status ot_layer_scores(const struct model *m, const struct layer_change *c, float *to,
                          ot_error *err) {
    struct staged l = {.c = c};
    const ot_status status = open_layer(&l, m, err);
    if (!status) score(&l, to);
    close_layer(&l, m);
    return status;
}

static ot_status mark(struct staged *l, const struct model *m, ot_error *err) {
    const size_t n = (size_t)l->old->nnz;
    l->score = ot_block_alloc_dirty(&m->allocator, n, sizeof *l->score);
    l->keep = ot_block_alloc_dirty(&m->allocator, n, sizeof *l->keep);
    if (!l->score || !l->keep) return no_memory(err);
    if (l->c->drop == OT_DROP_SIGNED) {
        ot_keep_by_sign(l->value, (int)n, l->c->share, l->score, l->keep);
        return OT_OK;
    }
    score(l, l->score);
    ot_keep_best(l->score, (int)n, (int)l->c->stay, l->keep);
    return OT_OK;
}

/* As many as can grow may go: random positions are found fast only while half of them are free. */
static void spare(struct staged *l) {
    const int n = l->old->nnz;
    const int64_t free = (int64_t)l->old->rows * l->old->cols - n; /* before any slot goes */
    int gone = 0;
    for (int k = 0; k < n; k++) {
        if (l->keep[k]) continue;
        l->keep[k] = ++gone > free;
    }
}

/* ---- what grows ---- */

/* Slots that go compete with the positions that probes have found, and under a constant fan-in all
 * slots do: rows are worth what they have. */
static void compete(const struct staged *l) {
    const struct layer_change *c = l->c;
    const float *gradient = c->layer->p->gradient;
    struct best *best = &c->probes->whole;
    if (*c->competed) return;
    for (int r = 0; gradient && r < l->old->rows; r++)
        for (int k = l->old->row[r]; k < l->old->row[r + 1]; k++)
            if (c->fan_in || !l->keep[k])
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

static ot_status grow(struct staged *l, const struct model *m, ot_error *err) {
    const struct layer_change *c = l->c;
    l->n_grown = c->grow == OT_SAME ? l->old->nnz - l->kept.n : (int)c->grow;
    l->grown = ot_block_alloc_dirty(&m->allocator, (size_t)l->n_grown, sizeof *l->grown);
    if (!l->grown) return no_memory(err);
    if (c->probes) {
        compete(l);
        l->n_grown = grow_found(l);
        return OT_OK;
    }
    return ot_grow_random(l->old, &l->kept, l->n_grown, c->seed, c->stream + OT_DRAW_PLACE,
                          l->grown, err);
}

/* Keeps and grows so many slots in each row that is left. */
static ot_status fill_rows(struct staged *l, const struct model *m, ot_error *err) {
    const struct layer_change *c = l->c;
    const size_t n = (size_t)l->old->nnz;
    float *gradient = ot_block_alloc_dirty(&m->allocator, n, sizeof *gradient);
    l->grown = ot_block_alloc_dirty(&m->allocator, (size_t)c->budget, sizeof *l->grown);
    ot_status status = gradient && l->grown ? OT_OK : no_memory(err);
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

/* The value of a slot that has grown, in a row of so many slots. */
static float newborn(const struct staged *l, int64_t position, int slots) {
    const uint64_t stream = l->c->stream + OT_DRAW_VALUE;
    if (l->c->newborn == OT_NEWBORN_HE)
        return sqrtf(2 / (float)slots) * ot_random_normal(l->c->seed, stream, (uint64_t)position);
    const float bound = sqrtf(6 / (float)l->old->cols);
    return bound * (2 * ot_random_float(l->c->seed, stream, (uint64_t)position) - 1);
}

static ot_status set_newborns(const struct staged *l, struct rewiring *r, ot_error *err) {
    const struct pattern *p = r->pattern;
    if (l->c->newborn == OT_NEWBORN_ZERO || !l->n_grown) return OT_OK;
    float *value = r->newborn =
        ot_block_alloc_dirty(&p->allocator, (size_t)l->n_grown, sizeof *value);
    if (!value) return no_memory(err);
    for (int row = 0; row < p->rows; row++)
        for (int k = p->row[row]; k < p->row[row + 1]; k++)
            if (r->map[k] < 0)
                *value++ = newborn(l, ot_position(p, row, k), p->row[row + 1] - p->row[row]);
    return OT_OK;
}

/* ---- the whole ---- */

/* A dense weight's slots were its elements, in the order of the file. */
static void map_to_file(const struct staged *l, struct rewiring *r) {
    for (int row = 0; row < r->pattern->rows; row++)
        for (int k = r->pattern->row[row]; k < r->pattern->row[row + 1]; k++)
            r->map[k] = (int)ot_pattern_position(l->old, row, r->map[k]);
}

static ot_status stage(struct staged *l, const struct model *m, struct rewiring *r, ot_error *err) {
    OT_TRY(open_layer(l, m, err));
    OT_TRY(mark(l, m, err));
    if (l->c->grow && !l->c->probes) spare(l);
    if (l->c->fan_in) OT_TRY(fill_rows(l, m, err));
    OT_TRY(ot_kept_alloc(l->old, &l->kept, err));
    ot_kept_list(l->old, l->keep, &l->kept);
    if (!l->c->fan_in) OT_TRY(grow(l, m, err));
    const size_t n = (size_t)l->kept.n + (size_t)l->n_grown;
    r->map = ot_block_alloc_dirty(&m->allocator, n, sizeof *r->map);
    if (!r->map) return no_memory(err);
    OT_TRY(ot_pattern_merge(l->old, &l->kept, l->grown, l->n_grown, l->c->probes, r->map,
                            &r->pattern, err));
    OT_TRY(set_newborns(l, r, err));
    if (!l->c->layer->p->t.pattern) map_to_file(l, r);
    return OT_OK;
}

ot_status ot_layer_stage(const struct model *m, const struct layer_change *c, struct rewiring *r,
                         int64_t *moved, ot_error *err) {
    struct staged l = {.c = c};
    r->p = c->layer->p;
    ot_status status = stage(&l, m, r, err);
    if (status) status = ot_fail_in(err, status, "weight '%s'", c->layer->p->name);
    *moved = 0;
    for (int k = 0; !status && k < r->pattern->nnz && l.n_grown; k++) *moved += r->map[k] < 0;
    close_layer(&l, m);
    return status;
}
