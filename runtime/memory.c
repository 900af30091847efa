/* memory.c - one block for all buffers of a plan.
 *
 * A buffer lives from the first step that touches it to the last, forward and backward together.
 * Buffers are placed by falling size, each in the smallest gap that is free over its lifetime.
 */
#include <stdlib.h>

#include "runtime/session.h"

enum { ALIGN = 64 };

/* ---- lifetimes ---- */

static void touch_buffer(struct plan *p, int buffer, int step) {
    if (buffer < 0) return;
    struct buffer *b = &p->buffer[buffer];
    if (b->first > step) b->first = step;
    if (b->last < step) b->last = step;
}

static void touch(struct plan *p, const struct entry *e, int step) {
    if (!e) return;
    touch_buffer(p, e->view ? e->view->buffer : e->buffer, step);
}

static void touch_all(struct plan *p, struct tensor **t, int n, uint32_t mask, int step) {
    for (int i = 0; i < n; i++)
        if (t[i] && (mask >> (i < 15 ? i : 15) & 1)) touch(p, ot_entry(t[i]), step);
}

static void touch_step(struct plan *p, int s) {
    const struct step *step = &p->step[s];
    touch(p, step->a, s);
    touch(p, step->b, s);
    if (!step->node) return;
    struct op_node *n = step->node;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    bool forward = step->kind == OT_STEP_FORWARD;
    touch_all(p, n->x, n->n_in, forward ? ~0u : n->op->needs & 0xffff, s);
    touch_all(p, n->y, n->n_out, forward ? ~0u : n->op->needs >> 16, s);
    touch_buffer(p, pn->save, s);
    touch_buffer(p, forward ? pn->forward_scratch : pn->backward_scratch, s);
    if (forward) return;
    touch_all(p, n->dx, n->n_in, ~0u, s);
    touch_all(p, n->dy, n->n_out, ~0u, s);
}

static void find_lifetimes(struct plan *p) {
    for (int i = 0; i < p->n_buffers; i++) {
        p->buffer[i].first = p->n_steps + 1;
        p->buffer[i].last = -1;
    }
    for (int s = 0; s < p->n_steps; s++) touch_step(p, s);
    for (int i = 0; i < p->n_outputs; i++) touch(p, p->output[i], p->n_steps);
}

/* ---- placing ---- */

static int larger_first(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1; /* a total order: the same plan every time */
}

/* Into the smallest gap between the `n` placed buffers (by offset) that live at the same time. */
static void place(struct buffer *b, struct buffer **placed, int n) {
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = 0;
    for (int i = 0; i < n; i++) {
        const struct buffer *o = placed[i];
        if (o->last < b->first || o->first > b->last) continue;
        if (o->offset >= end) {
            size_t gap = o->offset - end;
            if (gap >= b->bytes && gap < best_gap) {
                best = end;
                best_gap = gap;
            }
        }
        if (o->offset + o->bytes > end) end = o->offset + o->bytes;
    }
    b->offset = best != SIZE_MAX ? best : end;
}

static void keep_sorted(struct buffer *b, struct buffer **placed, int n) {
    while (n > 0 && placed[n - 1]->offset > b->offset) {
        placed[n] = placed[n - 1];
        n--;
    }
    placed[n] = b;
}

static void place_all(struct plan *p, struct buffer **order, struct buffer **placed) {
    int live = 0, n = 0;
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffer[i].first <= p->buffer[i].last) order[live++] = &p->buffer[i];
    qsort(order, (size_t)live, sizeof *order, larger_first);
    for (int i = 0; i < live; i++) {
        place(order[i], placed, n);
        keep_sorted(order[i], placed, n++);
        size_t end = order[i]->offset + order[i]->bytes;
        if (end > p->block_bytes) p->block_bytes = end;
    }
}

/* ---- pointers ---- */

static void set_pointers(struct plan *p) {
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->buffer >= 0) e->t.data = p->block + p->buffer[e->buffer].offset;
    }
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->view) e->t.data = e->view->t.data;
    }
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->save >= 0)
            p->node[i]->n.save = p->block + p->buffer[p->node[i]->save].offset;
}

ot_status ot_plan_memory(struct plan *p, ot_error *err) {
    struct ot_session *s = p->session;
    size_t sum = 0; /* if it fits, so does every offset */
    for (int i = 0; i < p->n_buffers; i++) {
        size_t bytes;
        if (!ot_add(p->buffer[i].bytes, ALIGN - 1, &bytes) || !ot_add(sum, bytes, &sum))
            return ot_fail(err, OT_ERROR_LIMIT, "the tensors of the plan are too large");
        p->buffer[i].bytes = bytes & ~(size_t)(ALIGN - 1);
    }
    find_lifetimes(p);
    struct buffer **order = ot_arena_alloc(&p->arena, 2 * (size_t)p->n_buffers, sizeof *order);
    if (!order) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
    place_all(p, order, order + p->n_buffers);
    const size_t limit = (size_t)s->options.limits.memory_bytes;
    if (p->block_bytes > limit || p->arena.used > limit - p->block_bytes)
        return ot_fail(err, OT_ERROR_LIMIT, "the step needs %llu MiB, the memory limit is %llu MiB",
                       (unsigned long long)(p->block_bytes >> 20) + 1,
                       (unsigned long long)(s->options.limits.memory_bytes >> 20));
    p->block = ot_block_alloc(&s->allocator, 1, p->block_bytes);
    if (!p->block)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory: the step needs %llu MiB",
                       (unsigned long long)(p->block_bytes >> 20) + 1);
    set_pointers(p);
    return OT_OK;
}
