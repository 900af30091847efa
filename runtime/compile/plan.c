/* plan.c - the lists that make a plan grow, and its end. */
#include "runtime/compile/plan.h"

#include <string.h>

static bool make_room(struct plan *p, void *array, int n, int *capacity, size_t size) {
    if (n < *capacity) return true;
    int grown = *capacity ? 2 * *capacity : 64;
    void *bigger = ot_arena_alloc(&p->arena, (size_t)grown, size), *old;
    if (!bigger) return false;
    memcpy(&old, array, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(array, &bigger, sizeof bigger);
    *capacity = grown;
    return true;
}

struct entry *ot_plan_entry(struct plan *p, const char *name) {
    struct entry *e = ot_arena_alloc(&p->arena, 1, sizeof *e);
    if (!e || !make_room(p, &p->entries, p->n_entries, &p->entry_capacity, sizeof *p->entries))
        return NULL;
    e->name = name;
    e->number = p->n_entries;
    e->buffer = e->parameter = e->input = -1;
    p->entries[p->n_entries++] = e;
    return e;
}

int ot_plan_buffer(struct plan *p, size_t bytes) {
    if (!make_room(p, &p->buffer, p->n_buffers, &p->buffer_capacity, sizeof *p->buffer)) return -1;
    p->buffer[p->n_buffers] = (struct buffer){.bytes = bytes};
    return p->n_buffers++;
}

ot_status ot_plan_no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}

ot_status ot_plan_step(struct plan *p, struct step step, ot_error *err) {
    if (!make_room(p, &p->step, p->n_steps, &p->step_capacity, sizeof *p->step))
        return ot_plan_no_memory(err);
    p->step[p->n_steps++] = step;
    return OT_OK;
}

/* ---- life ---- */

struct plan *ot_plan_alloc(const struct compiler *c, const struct request *r) {
    struct plan *p = ot_block_alloc(&c->model->allocator, 1, sizeof *p);
    if (!p) return NULL;
    atomic_init(&p->references, 1);
    p->request = *r;
    p->compiler = *c;
    p->model = c->model;
    p->graph = c->model->graph;
    p->parameter_of = c->model->parameter_of;
    p->patterns = c->model->patterns;
    ot_arena_init(&p->arena, &c->model->allocator, r->memory_bytes);
    return p;
}

struct plan *ot_plan_ref(struct plan *p) {
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void ot_plan_unref(struct plan *p) {
    if (!p || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) > 1) return;
    const ot_allocator al = p->model->allocator;
    for (int k = 0; k < 2; k++) ot_plan_unref(p->part[k]);
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->n.op->release) p->node[i]->n.op->release(&p->node[i]->n);
    ot_arena_free(&p->arena);
    ot_block_free(&al, p);
}

size_t ot_plan_bytes(const struct plan *p) {
    size_t bytes = p->arena.held;
    for (int k = 0; k < 2; k++)
        if (p->part[k]) bytes += ot_plan_bytes(p->part[k]);
    return bytes;
}
