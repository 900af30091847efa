/* fresh.c - parameters with new contents. */
#include "runtime/train/fresh.h"

#include "runtime/train/state.h"

void ot_fresh_free(const ot_allocator *allocator, struct fresh *list, int n) {
    for (int i = 0; list && i < n; i++) {
        ot_pattern_unref(list[i].t.pattern);
        ot_block_free(allocator, list[i].t.data);
    }
    ot_block_free(allocator, list);
}

static void replace(struct graph *g, struct fresh *f) {
    struct parameter *p = f->p;
    if (p->in_graph) g->value[p->value].constant->data = NULL; /* the old values go */
    ot_pattern_unref(p->t.pattern);
    ot_state_forget(p);
    p->in_graph = false;
    p->owns_data = true;
    p->t = f->t;
    p->structure = f->structure;
    p->first_slots = ot_count(&p->t);
    p->mask = NULL;
    p->zeros = 0;
    p->is_sparse = false;
    f->t.pattern = NULL;
    f->t.data = NULL;
}

ot_status ot_fresh_commit(struct model *m, struct weights **weights, struct fresh *list, int n,
                          ot_error *err) {
    struct weights *old = *weights;
    size_t floats = ot_weights_size(m);
    for (int i = 0; i < n; i++) {
        const struct parameter after = {.t = list[i].t};
        floats += ot_parameter_room(&after) - ot_parameter_room(list[i].p);
    }
    struct weights *w = ot_weights_new(&m->allocator, floats);
    if (!w) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for new weights");
    for (int i = 0; i < n; i++) replace(m->graph, &list[i]);
    ot_weights_fill(m, w);
    *weights = w;
    ot_weights_unref(old);
    return OT_OK;
}
