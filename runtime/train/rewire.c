/* rewire.c - values and moments follow the slots of their weights. */
#include "runtime/train/rewire.h"

#include <string.h>

#include "runtime/topology/merge.h"

void ot_rewirings_free(const ot_allocator *allocator, struct rewiring *r, int n) {
    for (int i = 0; i < n; i++) {
        ot_pattern_unref(r[i].pattern);
        ot_block_free(allocator, r[i].map);
        ot_block_free(allocator, r[i].newborn);
    }
    ot_block_free(allocator, r);
}

static void set_pattern(struct model *m, struct rewiring *r) {
    ot_model_set_pattern(m, (int)(r->p - m->parameter), r->pattern);
    r->pattern = NULL;
    r->p->structure = OT_STRUCTURE_TOPOLOGY;
    r->p->gradient_is_zero = true;
}

/* ---- within their blocks ---- */

static size_t room_of(const struct rewiring *r) {
    struct parameter p = *r->p;
    p.t.pattern = r->pattern;
    return ot_parameter_room(&p);
}

static bool keep_their_room(const struct rewiring *r, int n) {
    for (int i = 0; i < n; i++)
        if (room_of(&r[i]) != ot_parameter_room(r[i].p)) return false;
    return true;
}

static void move_within(const struct rewiring *r, const float *newborn, float *value,
                        float *scratch) {
    const size_t count = (size_t)r->pattern->nnz;
    if (!value) return;
    memcpy(scratch, value, ot_bytes(&r->p->t));
    ot_map_values(r->map, r->pattern->nnz, scratch, newborn, value);
    memset(value + count, 0, (room_of(r) - count) * sizeof *value);
}

static ot_status rewire_within(struct model *m, struct rewiring *r, int n, ot_error *err) {
    size_t most = 0;
    for (int i = 0; i < n; i++)
        if (ot_bytes(&r[i].p->t) > most) most = ot_bytes(&r[i].p->t);
    float *scratch = ot_block_alloc_dirty(&m->allocator, most, 1);
    if (!scratch) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory to move weights");
    for (int i = 0; i < n; i++) {
        move_within(&r[i], r[i].newborn, r[i].p->t.data, scratch);
        for (int k = 0; k < OT_MOMENTS; k++) move_within(&r[i], NULL, r[i].p->moment[k], scratch);
        set_pattern(m, &r[i]);
    }
    ot_block_free(&m->allocator, scratch);
    return OT_OK;
}

/* ---- into new blocks ---- */

struct moves {
    const struct rewiring *r;
    int n;
    bool values; /* those of the weights: new slots have some, too */
};

static void move(void *context, const struct parameter *p, const float *from, float *to) {
    const struct moves *all = context;
    for (int i = 0; i < all->n; i++) {
        const struct rewiring *r = &all->r[i];
        if (r->p != p) continue;
        ot_map_values(r->map, p->t.pattern->nnz, from, all->values ? r->newborn : NULL, to);
        return;
    }
    ot_copy_values(NULL, p, from, to);
}

/* How many floats more they take than before. */
static ptrdiff_t growth(const struct rewiring *r, int n, bool state_only) {
    ptrdiff_t floats = 0;
    for (int i = 0; i < n; i++)
        if (!state_only || ot_is_trained(r[i].p) || r[i].p->has_state)
            floats += (ptrdiff_t)room_of(&r[i]) - (ptrdiff_t)ot_parameter_room(r[i].p);
    return floats;
}

static ot_status rewire_anew(struct model *m, struct weights **weights, struct state *s,
                             struct rewiring *r, int n, ot_error *err) {
    struct weights *old = *weights;
    struct state fresh;
    const size_t floats = (size_t)((ptrdiff_t)m->floats + growth(r, n, false));
    const size_t state = (size_t)((ptrdiff_t)ot_state_size(m) + growth(r, n, true));
    OT_TRY(ot_state_reserve(s, state, &fresh, err));
    struct weights *w = ot_weights_new(&m->allocator, floats);
    if (!w) {
        ot_state_free(&fresh);
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    }
    struct moves moves = {r, n, true};
    for (int i = 0; i < n; i++) set_pattern(m, &r[i]);
    ot_weights_move(m, w, move, &moves);
    moves.values = false;
    ot_state_move(s, m, &fresh, move, &moves);
    *weights = w;
    ot_weights_unref(old);
    return OT_OK;
}

ot_status ot_rewire(struct model *m, struct weights **weights, struct state *s, struct rewiring *r,
                    int n, ot_error *err) {
    return keep_their_room(r, n) ? rewire_within(m, r, n, err)
                                 : rewire_anew(m, weights, s, r, n, err);
}
