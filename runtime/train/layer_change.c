/* layer_change.c - the new mask of one weight, staged beside the one that it has. */
#include "runtime/train/layer_change.h"

#include <string.h>

#include "runtime/model/full_pattern.h"
#include "runtime/topology/constrain.h"
#include "runtime/topology/select.h"
#include "runtime/train/layer_growth.h"

int64_t ot_layer_slots(const struct parameter *p) {
    return p->t.pattern ? p->t.pattern->nnz : ot_elements(&p->t);
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
    if (!l->copy) return ot_no_memory_for_mask(err);
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
    switch (l->c->drop) {
    case OT_DROP_MOVEMENT: gather(l, l->c->layer->p->moment[OT_SCORE], to); return;
    case OT_DROP_RANDOM: ot_score_random(l->c->seed, l->c->stream + OT_DRAW_DROP, n, to); return;
    case OT_DROP_TAYLOR: gather(l, l->c->worth, to); return;
    case OT_DROP_NONE:
    case OT_DROP_MAGNITUDE:
    case OT_DROP_SIGNED: break;
    }
    ot_score_magnitude(l->value, n, to);
}

/* Marks the slots that stay. */
static ot_status constrain(struct staged *l, ot_error *err) {
    const struct layer_change *c = l->c;
    const int a = c->group[0], b = c->group[1], n = l->old->nnz;
    switch (c->grow ? OT_CONSTRAIN_FREE : c->constraint) { /* growth cuts its own rows */
    case OT_CONSTRAIN_FAN_IN:
        ot_keep_fan_in(l->old, l->score, (int)(c->stay / l->old->rows), l->keep);
        return OT_OK;
    case OT_CONSTRAIN_NM:
        return ot_keep_nm(l->old, l->score, (int)c->layer->taps, a, b, l->keep, err);
    case OT_CONSTRAIN_BLOCK:
        return ot_keep_blocks(l->old, l->score, a, b, c->stay / ((int64_t)a * b), l->keep, err);
    case OT_CONSTRAIN_CHANNELS:
    case OT_CONSTRAIN_FREE: break;
    }
    ot_keep_best(l->score, n, (int)(c->stay < n ? c->stay : n), l->keep);
    return OT_OK;
}

static ot_status mark(struct staged *l, const struct model *m, ot_error *err) {
    const size_t n = (size_t)l->old->nnz;
    l->score = ot_block_alloc_dirty(&m->allocator, n, sizeof *l->score);
    l->keep = ot_block_alloc_dirty(&m->allocator, n, sizeof *l->keep);
    if (!l->score || !l->keep) return ot_no_memory_for_mask(err);
    if (l->c->drop == OT_DROP_SIGNED) {
        ot_keep_by_sign(l->value, (int)n, l->c->share, l->score, l->keep);
        return OT_OK;
    }
    score(l, l->score);
    return constrain(l, err);
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

/* ---- one threshold for all layers ---- */

static ot_status gather_scores(const struct model *m, const struct layer_change *c, int n,
                               float *to, ot_error *err) {
    for (int i = 0; i < n; i++) {
        if (!c[i].layer) continue;
        struct staged l = {.c = &c[i]};
        const ot_status status = open_layer(&l, m, err);
        if (!status) score(&l, to);
        close_layer(&l, m);
        if (status) return status;
        to += ot_layer_slots(c[i].layer->p);
    }
    return OT_OK;
}

ot_status ot_layers_share(const struct model *m, struct layer_change *c, int n, int64_t stay,
                          ot_error *err) {
    int64_t slots = 0;
    for (int i = 0; i < n; i++) slots += c[i].layer ? ot_layer_slots(c[i].layer->p) : 0;
    float *all = ot_block_alloc_dirty(&m->allocator, (size_t)slots, sizeof *all);
    if (!all) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the scores of weights");
    const ot_status status = gather_scores(m, c, n, all, err);
    const float *at = all;
    struct cut cut = {0, 0};
    if (!status) cut = ot_select_best(all, slots, stay < slots ? stay : slots);
    for (int i = 0; i < n && !status; i++) {
        if (!c[i].layer) continue;
        const float *end = at + ot_layer_slots(c[i].layer->p);
        for (c[i].stay = 0; at < end; at++) c[i].stay += ot_cut_takes(&cut, *at);
    }
    ot_block_free(&m->allocator, all);
    return status;
}

/* ---- the whole ---- */

bool ot_layer_stays(const struct layer_change *c) {
    if (c->grow || c->stay < ot_layer_slots(c->layer->p)) return false;
    return c->constraint == OT_CONSTRAIN_FREE ||
           (!c->layer->p->t.pattern && c->constraint != OT_CONSTRAIN_NM);
}

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
    const bool by_row = ot_layer_grows_by_row(l->c);
    if (by_row) OT_TRY(ot_layer_fill_rows(l, m, err));
    OT_TRY(ot_kept_alloc(l->old, &l->kept, err));
    ot_kept_list(l->old, l->keep, &l->kept);
    if (!by_row) OT_TRY(ot_layer_grow(l, m, err));
    const size_t n = (size_t)l->kept.n + (size_t)l->n_grown;
    r->map = ot_block_alloc_dirty(&m->allocator, n, sizeof *r->map);
    if (!r->map) return ot_no_memory_for_mask(err);
    OT_TRY(ot_pattern_merge(l->old, &l->kept, l->grown, l->n_grown, l->c->probes, r->map,
                            &r->pattern, err));
    OT_TRY(ot_layer_set_newborns(l, r, err));
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
