/* prune.c - which weights go, and the masks of those that stay. */
#include "runtime/train/prune.h"

#include "runtime/model/full_pattern.h"
#include "runtime/topology/constrain.h"
#include "runtime/topology/keep.h"
#include "runtime/topology/select.h"

/* One layer while it is pruned. */
struct pruned {
    const struct layer *l;
    struct pattern *old; /* of its weights now: its own, or one with all positions */
    float *score;        /* of each slot of old: part of the scores of all layers */
    int64_t count;       /* slots that may stay */
    bool *keep;
    struct kept kept;
};

/* ---- scores ---- */

/* Where slot k of the matrix stands in the parameter's values: a dense one has the file's order. */
static int64_t source_of(const struct layer *l, int64_t k) {
    if (l->p->t.pattern || !l->transposed) return k;
    return k % l->cols * l->rows + k / l->cols;
}

static void fill_scores(const struct sparsity *s, const struct layer *l, const float *given,
                        float *score) {
    const float *from = given ? given + l->p->offset : l->p->t.data;
    const int64_t n = ot_count(&l->p->t);
    const uint64_t stream = (uint64_t)9 << 56 | (uint64_t)(l->p - s->m->parameter);
    if (!given && s->o.by == OT_PRUNE_RANDOM) {
        ot_score_random(s->o.seed, stream, (int)n, score);
        return;
    }
    for (int64_t k = 0; k < n; k++) {
        const float value = from[source_of(l, k)];
        score[k] = value < 0 ? -value : value;
    }
}

/* ---- how many stay ---- */

/* The best of all layers: each keeps those of its slots that are among them. */
static void share_out(const struct sparsity *s, struct pruned *all, const float *score, int64_t n) {
    double elements = 0;
    for (int i = 0; i < s->n; i++) elements += (double)ot_elements(&s->layer[i].p->t);
    const int64_t most = (int64_t)(elements * s->o.density);
    struct cut cut = ot_select_best(score, n, most < n ? most : n);
    for (int i = 0; i < s->n; i++)
        for (int64_t k = 0; k < ot_count(&s->layer[i].p->t); k++)
            all[i].count += ot_cut_takes(&cut, all[i].score[k]);
}

static void count(const struct sparsity *s, struct pruned *all, const float *score, int64_t n) {
    if (s->o.budget == OT_BUDGET_GLOBAL && s->o.constraint != OT_CONSTRAIN_NM)
        share_out(s, all, score, n);
    else
        for (int i = 0; i < s->n; i++) all[i].count = ot_budget_count(&s->budget[i]);
}

/* ---- one layer ---- */

static ot_status set_old(struct pruned *q, const ot_allocator *al, ot_error *err) {
    const struct layer *l = q->l;
    q->old = ot_pattern_ref(l->p->t.pattern);
    if (q->old) return OT_OK;
    return ot_full_pattern_new(l, al, &q->old, err);
}

static ot_status mark(const struct sparsity *s, struct pruned *q, ot_error *err) {
    const int a = s->o.group[0], b = s->o.group[1];
    const int64_t n = q->old->nnz;
    switch (s->o.constraint) {
    case OT_CONSTRAIN_FAN_IN:
        ot_keep_fan_in(q->old, q->score, (int)(q->count / q->l->rows), q->keep);
        return OT_OK;
    case OT_CONSTRAIN_NM: return ot_keep_nm(q->old, q->score, (int)q->l->taps, a, b, q->keep, err);
    case OT_CONSTRAIN_BLOCK:
        return ot_keep_blocks(q->old, q->score, a, b, q->count / ((int64_t)a * b), q->keep, err);
    case OT_CONSTRAIN_CHANNELS:
    case OT_CONSTRAIN_FREE: break;
    }
    ot_keep_best(q->score, (int)n, (int)(q->count < n ? q->count : n), q->keep);
    return OT_OK;
}

static ot_status stage(const struct sparsity *s, struct pruned *q, struct rewiring *r,
                       ot_error *err) {
    const ot_allocator *al = &s->m->allocator;
    OT_TRY(set_old(q, al, err));
    const size_t n = (size_t)q->old->nnz;
    q->keep = ot_block_alloc(al, n, sizeof *q->keep);
    r->map = ot_block_alloc_dirty(al, n, sizeof *r->map);
    if (!q->keep || !r->map)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the marks of weights");
    OT_TRY(ot_kept_alloc(q->old, &q->kept, err));
    OT_TRY(mark(s, q, err));
    ot_kept_list(q->old, q->keep, &q->kept);
    if (!q->kept.n) return ot_fail(err, OT_ERROR_ARGUMENT, "the budget leaves it without a weight");
    OT_TRY(ot_pattern_merge(q->old, &q->kept, NULL, 0, false, r->map, &r->pattern, err));
    for (int k = 0; k < r->pattern->nnz; k++) r->map[k] = (int)source_of(q->l, r->map[k]);
    return OT_OK;
}

static void free_pruned(const struct sparsity *s, struct pruned *q) {
    if (q->old) ot_kept_free(q->old, &q->kept);
    ot_block_free(&s->m->allocator, q->keep);
    ot_pattern_unref(q->old);
}

/* ---- all of them ---- */

/* Layers that keep all that they have stay as they are. */
static ot_status stage_all(const struct sparsity *s, struct pruned *all, struct rewiring *r, int *n,
                           ot_error *err) {
    for (int i = 0; i < s->n; i++) {
        const int64_t has = ot_count(&s->layer[i].p->t);
        const bool counts = s->o.constraint == OT_CONSTRAIN_FREE ||
                            (!s->layer[i].p->t.pattern && s->o.constraint != OT_CONSTRAIN_NM);
        if (counts && all[i].count >= has) continue;
        r[*n].p = s->layer[i].p;
        const ot_status status = stage(s, &all[i], &r[(*n)++], err);
        free_pruned(s, &all[i]);
        if (status) return ot_fail_in(err, status, "weight '%s'", s->layer[i].p->name);
    }
    return OT_OK;
}

ot_status ot_prune_layers(struct model *m, struct weights **weights, struct state *state,
                          struct sparsity *s, const float *score, ot_error *err) {
    const ot_allocator *al = &m->allocator;
    int64_t slots = 0;
    int n = 0;
    for (int i = 0; i < s->n; i++) slots += ot_count(&s->layer[i].p->t);
    float *scores = ot_block_alloc_dirty(al, (size_t)slots, sizeof *scores), *next = scores;
    struct pruned *all = ot_block_alloc(al, (size_t)s->n, sizeof *all);
    struct rewiring *r = ot_block_alloc(al, (size_t)s->n, sizeof *r);
    ot_status status = scores && all && r ? OT_OK
                                          : ot_fail(err, OT_ERROR_NO_MEMORY,
                                                    "out of memory for the scores of weights");
    for (int i = 0; i < s->n && !status; i++) {
        all[i] = (struct pruned){.l = &s->layer[i], .score = next};
        fill_scores(s, &s->layer[i], score, next);
        next += ot_count(&s->layer[i].p->t);
    }
    if (!status) count(s, all, scores, slots);
    if (!status) status = stage_all(s, all, r, &n, err);
    ot_block_free(al, scores);
    ot_block_free(al, all);
    if (!status) status = ot_rewire(m, weights, state, r, n, err);
    ot_rewirings_free(al, r, n);
    return status;
}
