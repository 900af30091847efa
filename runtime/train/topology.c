/* topology.c - one update of the masks: what stays, what grows, the new patterns and values. */
#include "runtime/train/topology.h"

#include <math.h>

#include "runtime/base/clock.h"
#include "runtime/base/rng.h"
#include "runtime/topology/grow.h"

/* Random numbers of one update and layer are drawn for: */
enum purpose { FOR_DROP, FOR_GROW, FOR_NEWBORN, PURPOSES };

/* One layer while it is updated. */
struct layer {
    const struct topology *t;
    const struct parameter *p;
    const struct pattern *old;
    uint64_t stream; /* of random numbers, for the first purpose */
    double share;    /* of slots that go */
    float *score;    /* of each slot */
    bool *keep;
    struct kept kept;
    int n_grown;
    int64_t *grown;
};

/* ---- what stays ---- */

/* Marks slots that stay; returns how many. */
static int mark(struct layer *l) {
    const int n = l->old->nnz, most = n - (int)(l->share * n);
    const float *value = l->p->t.data;
    switch (l->t->rule.drop) {
    case OT_DROP_SIGNED: return ot_keep_by_sign(value, n, l->share, l->score, l->keep);
    case OT_DROP_RANDOM: ot_score_random(l->t->seed, l->stream + FOR_DROP, n, l->score); break;
    default: ot_score_magnitude(value, n, l->score); break;
    }
    ot_keep_best(l->score, n, most, l->keep);
    return most;
}

/* As many as can grow may go: random positions are found fast only while half of them are free. */
static void spare(struct layer *l, int kept) {
    const int n = l->old->nnz;
    const int64_t free = (int64_t)l->old->rows * l->old->cols - n; /* before any slot goes */
    for (int k = 0; k < n && n - kept > free; k++) {
        kept += !l->keep[k];
        l->keep[k] = true;
    }
}

/* ---- what grows ---- */

static ot_status grow(struct layer *l, ot_error *err) {
    l->n_grown = l->old->nnz - l->kept.n;
    l->grown = ot_block_alloc_dirty(&l->old->allocator, (size_t)l->n_grown, sizeof *l->grown);
    if (!l->grown) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for new positions");
    return ot_grow_random(l->old, &l->kept, l->n_grown, l->t->seed, l->stream + FOR_GROW, l->grown,
                          err);
}

/* The value of a slot that has grown, in a row of so many slots. */
static float newborn(const struct layer *l, int64_t position, int slots) {
    const uint64_t stream = l->stream + FOR_NEWBORN;
    if (l->t->rule.newborn == OT_NEWBORN_HE)
        return sqrtf(2 / (float)slots) * ot_random_normal(l->t->seed, stream, (uint64_t)position);
    const float bound = sqrtf(6 / (float)l->old->cols);
    return bound * (2 * ot_random_float(l->t->seed, stream, (uint64_t)position) - 1);
}

static ot_status set_newborns(const struct layer *l, struct rewiring *r, ot_error *err) {
    const struct pattern *p = r->pattern;
    if (l->t->rule.newborn == OT_NEWBORN_ZERO) return OT_OK;
    float *value = r->newborn =
        ot_block_alloc_dirty(&p->allocator, (size_t)l->n_grown, sizeof *value);
    if (!value) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for new weights");
    for (int row = 0; row < p->rows; row++)
        for (int k = p->row[row]; k < p->row[row + 1]; k++)
            if (r->map[k] < 0)
                *value++ = newborn(l, ot_position(p, row, k), p->row[row + 1] - p->row[row]);
    return OT_OK;
}

/* ---- a layer, and all of them ---- */

static ot_status stage(struct layer *l, struct rewiring *r, ot_error *err) {
    const ot_allocator *al = &l->old->allocator;
    const size_t n = (size_t)l->old->nnz;
    l->score = ot_block_alloc_dirty(al, n, sizeof *l->score);
    l->keep = ot_block_alloc_dirty(al, n, sizeof *l->keep);
    r->map = ot_block_alloc_dirty(al, n, sizeof *r->map);
    if (!l->score || !l->keep || !r->map)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the scores of weights");
    OT_TRY(ot_kept_alloc(l->old, &l->kept, err));
    spare(l, mark(l));
    ot_kept_list(l->old, l->keep, &l->kept);
    OT_TRY(grow(l, err));
    OT_TRY(
        ot_pattern_merge(l->old, &l->kept, l->grown, l->n_grown, false, r->map, &r->pattern, err));
    return set_newborns(l, r, err);
}

static ot_status stage_layer(const struct topology *t, struct model *m, int i, int64_t step,
                             struct rewiring *r, ot_topology_report *report, ot_error *err) {
    struct parameter *p = r->p = &m->parameter[i];
    struct layer l = {.t = t,
                      .p = p,
                      .old = p->t.pattern,
                      .stream = ((uint64_t)(t->updates + 1) << 32) + (uint64_t)i * PURPOSES,
                      .share = ot_topology_share(&t->rule, step)};
    ot_status status = stage(&l, r, err);
    if (status) status = ot_fail_in(err, status, "weight '%s'", p->name);
    report->dropped += l.n_grown;
    report->grown += l.n_grown;
    report->layers++;
    ot_block_free(&l.old->allocator, l.score);
    ot_block_free(&l.old->allocator, l.keep);
    ot_block_free(&l.old->allocator, l.grown);
    ot_kept_free(l.old, &l.kept);
    return status;
}

static void count_slots(const struct model *m, ot_topology_report *report) {
    for (int i = 0; i < m->n_parameters; i++) {
        const struct pattern *p = m->parameter[i].t.pattern;
        if (!p) continue;
        report->nonzeros += p->nnz;
        report->rows += p->rows;
        report->live_rows += p->live_rows;
    }
}

ot_status ot_topology_update(struct topology *t, struct model *m, struct weights **weights,
                             struct state *s, int64_t step, ot_error *err) {
    const double start = ot_clock();
    ot_topology_report report = {.updated = 1, .update = t->updates + 1, .step = step};
    struct rewiring *r = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *r);
    if (!r) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of weights");
    ot_status status = OT_OK;
    int n = 0;
    for (int i = 0; i < m->n_parameters && !status; i++)
        if (t->part[i]) status = stage_layer(t, m, i, step, &r[n++], &report, err);
    if (!status) status = ot_rewire(m, weights, s, r, n, err);
    ot_rewirings_free(&m->allocator, r, n);
    if (status) return status;
    count_slots(m, &report);
    report.seconds = ot_clock() - start;
    t->report = report;
    t->updates++;
    t->last = step;
    return OT_OK;
}
