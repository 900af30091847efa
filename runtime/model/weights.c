/* weights.c - one block of values for all parameters. */
#include "runtime/model/weights.h"

#include <string.h>

struct weights *ot_weights_new(const ot_allocator *allocator, size_t floats) {
    struct weights *w = ot_block_alloc(allocator, 1, sizeof *w);
    float *value = w ? ot_block_alloc_dirty(allocator, floats, sizeof *value) : NULL;
    if (!value) {
        ot_block_free(allocator, w);
        return NULL;
    }
    atomic_init(&w->references, 1);
    w->allocator = *allocator;
    w->floats = floats;
    w->value = value;
    return w;
}

struct weights *ot_weights_ref(struct weights *w) {
    atomic_fetch_add_explicit(&w->references, 1, memory_order_relaxed);
    return w;
}

void ot_weights_unref(struct weights *w) {
    if (!w || atomic_fetch_sub_explicit(&w->references, 1, memory_order_acq_rel) > 1) return;
    const ot_allocator al = w->allocator;
    ot_block_free(&al, w->value);
    ot_block_free(&al, w);
}

struct weights *ot_weights_copy(const struct weights *w) {
    struct weights *copy = ot_weights_new(&w->allocator, w->floats);
    if (copy) memcpy(copy->value, w->value, w->floats * sizeof *w->value);
    return copy;
}

size_t ot_parameter_room(const struct parameter *p) {
    return ((size_t)ot_count(&p->t) + OT_PARAMETER_ALIGN - 1) & ~(size_t)(OT_PARAMETER_ALIGN - 1);
}

size_t ot_weights_size(const struct model *m) {
    size_t floats = 0;
    for (int i = 0; i < m->n_parameters; i++) floats += ot_parameter_room(&m->parameter[i]);
    return floats;
}

static void lay_out_weights(struct model *m) {
    size_t floats = 0;
    for (int statistics = 0; statistics < 2; statistics++) {
        if (statistics) m->statistics = floats;
        for (int i = 0; i < m->n_parameters; i++) {
            struct parameter *p = &m->parameter[i];
            if (p->is_statistic != (statistics != 0)) continue;
            p->offset = floats;
            floats += ot_parameter_room(p);
        }
    }
    m->floats = floats;
}

/* The values stand at `to` from here on. A large weight that the graph held is the parameter's
 * alone: export reads it there. */
static void adopt(struct model *m, struct parameter *p, float *to) {
    struct tensor *constant = m->graph->value[p->value].constant;
    const size_t count = (size_t)ot_count(&p->t);
    memset(to + count, 0, (ot_parameter_room(p) - count) * sizeof *to);
    if (p->owns_data) {
        ot_block_free(&m->allocator, p->t.data);
    } else if (p->in_graph) {
        constant->data = to;
        ot_arena_give_back(&m->graph->arena, p->t.data);
    }
    p->owns_data = false;
    p->t.data = to;
}

void ot_weights_fill(struct model *m, struct weights *w) {
    ot_weights_move(m, w, ot_copy_values, NULL);
}

void ot_copy_values(void *context, const struct parameter *p, const float *from, float *to) {
    (void)context;
    memcpy(to, from, ot_bytes(&p->t));
}

void ot_weights_move(struct model *m, struct weights *w, ot_move_fn *move, void *context) {
    lay_out_weights(m);
    for (int i = 0; i < m->n_parameters; i++) {
        struct parameter *p = &m->parameter[i];
        float *to = ot_weights_at(w, p);
        move(context, p, p->t.data, to);
        adopt(m, p, to);
    }
}
