/* plan.c - the lists that make a plan grow, and its end. */
#include "runtime/plan.h"

#include <string.h>

#include "runtime/session.h"

static bool room(struct plan *p, void *array, int n, int *capacity, size_t size) {
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
    if (!e || !room(p, &p->entries, p->n_entries, &p->entry_capacity, sizeof *p->entries))
        return NULL;
    e->name = name;
    e->buffer = e->parameter = e->input = -1;
    p->entries[p->n_entries++] = e;
    return e;
}

int ot_plan_buffer(struct plan *p, size_t bytes) {
    if (!room(p, &p->buffer, p->n_buffers, &p->buffer_capacity, sizeof *p->buffer)) return -1;
    p->buffer[p->n_buffers] = (struct buffer){.bytes = bytes};
    return p->n_buffers++;
}

ot_status ot_plan_no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}

ot_status ot_plan_step(struct plan *p, struct step step, ot_error *err) {
    if (!room(p, &p->step, p->n_steps, &p->step_capacity, sizeof *p->step))
        return ot_plan_no_memory(err);
    p->step[p->n_steps++] = step;
    return OT_OK;
}

static void close_nodes(struct plan *p) {
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].kind == OT_STEP_FORWARD) ot_op_close(p->step[s].node);
}

void ot_plan_free(struct plan *p) {
    if (!p) return;
    ot_allocator al = p->session->allocator;
    for (int k = 0; k < 2; k++) ot_plan_free(p->part[k]);
    close_nodes(p);
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->n.op->release) p->node[i]->n.op->release(&p->node[i]->n);
    ot_arena_free(&p->arena);
    ot_block_free(&al, p);
}
