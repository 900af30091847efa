/* lifetimes.c - one block for all buffers of a plan.
 *
 * A buffer lives from the first step that touches it to the last, forward and backward together;
 * where it is computed again, not between its two lives. Where the operator allows it, a result
 * takes over the buffer of an input that is read for the last time. place.c says where they stand.
 */
#include "runtime/compile/place.h"

enum { ALIGN = 64 };

/* ---- lifetimes ---- */

static void touch_buffer(struct plan *p, int buffer, int step) {
    if (buffer < 0) return;
    struct buffer *b = &p->buffer[buffer];
    if (b->first > step) b->first = step;
    if (b->last < step) b->last = step;
    if (b->rest < step && (!b->again || step < b->again)) b->rest = step;
}

static void touch_entry(struct plan *p, const struct entry *e, int step) {
    if (!e) return;
    touch_buffer(p, e->view ? e->view->buffer : e->buffer, step);
}

static void touch_all(struct plan *p, struct tensor **t, int n, uint32_t mask, int step) {
    for (int i = 0; i < n; i++)
        if (t[i] && (mask >> (i < 15 ? i : 15) & 1)) touch_entry(p, ot_entry(t[i]), step);
}

static void touch_step(struct plan *p, int s) {
    const struct step *step = &p->step[s];
    touch_entry(p, step->a, s);
    touch_entry(p, step->b, s);
    if (!step->node) return;
    struct op_node *n = step->node;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    if (step->kind == OT_STEP_PROBE) {
        touch_entry(p, ot_entry(n->x[0]), s);
        touch_entry(p, ot_entry(n->dy[0]), s);
        touch_buffer(p, pn->probe_scratch, s);
        return;
    }
    const bool forward = step->kind != OT_STEP_BACKWARD;
    touch_all(p, n->x, n->n_in, forward ? ~0u : n->op->needs & 0xffff, s);
    touch_all(p, n->y, n->n_out, forward ? ~0u : n->op->needs >> 16, s);
    touch_buffer(p, pn->save, s);
    touch_buffer(p, forward ? pn->forward_scratch : pn->backward_scratch, s);
    if (forward) return;
    touch_all(p, n->dx, n->n_in, ~0u, s);
    touch_all(p, n->dy, n->n_out, ~0u, s);
    if (n->more) touch_entry(p, (const struct entry *)(const void *)n->more, s);
}

static void find_lifetimes(struct plan *p) {
    for (int i = 0; i < p->n_buffers; i++) {
        p->buffer[i].first = p->n_steps + 1;
        p->buffer[i].last = p->buffer[i].rest = -1;
    }
    for (int s = 0; s < p->n_steps; s++) touch_step(p, s);
    /* the host reads outputs when all steps have run, or those of forward; what it writes then is
     * there when backward begins. Gradients of inputs it reads at the end. */
    const bool halves = p->request.kind >= OT_PLAN_OUTPUTS;
    for (int i = 0; i < p->n_outputs; i++) {
        touch_entry(p, p->output[i], halves ? p->n_forward : p->n_steps);
        touch_entry(p, p->output_gradient[i], p->n_forward);
    }
    for (int i = 0; i < p->request.n_inputs; i++)
        touch_entry(p, p->input_entry[i]->grad, p->n_steps);
    for (int i = 0; i < p->n_buffers; i++)
        if (!p->buffer[i].again) p->buffer[i].again = p->buffer[i].first;
    for (int i = 0; i < p->n_buffers && p->request.kind == OT_PLAN_MEASURE; i++) {
        p->buffer[i].first = p->buffer[i].again = 0;
        p->buffer[i].last = p->buffer[i].rest = p->n_steps;
    }
}

/* ---- taking over ---- */

/* `to`, which step s makes, moves into the buffer of `from` if step s is its last. */
static void take_over(struct plan *p, struct tensor *to, struct tensor *from, int s) {
    struct entry *made = to ? ot_entry(to) : NULL, *old = from ? ot_entry(from) : NULL;
    if (!made || !old || made->view || made->buffer < 0) return;
    const int buffer = old->view ? old->view->buffer : old->buffer;
    struct buffer *a = &p->buffer[made->buffer], *b = &p->buffer[buffer < 0 ? 0 : buffer];
    if (buffer < 0 || a->bytes != b->bytes) return;
    if (a->first != s || a->again != s || a->last == s || b->last != s) return;
    made->buffer = buffer;
    b->last = a->last;
    if (b->again == b->first) b->rest = b->last;
    *a = (struct buffer){.bytes = a->bytes, .first = p->n_steps + 1, .last = -1, .rest = -1};
}

static void share_buffers(struct plan *p) {
    for (int s = 0; s < p->n_steps; s++) {
        const struct step *step = &p->step[s];
        struct op_node *n = step->node;
        if (!n || step->kind == OT_STEP_AGAIN || step->kind == OT_STEP_PROBE) continue;
        const bool forward = step->kind == OT_STEP_FORWARD;
        for (int i = n->n_in < 16 ? n->n_in - 1 : 15; i >= 0; i--) {
            if (forward && (n->op->y_over_x >> i & 1)) take_over(p, n->y[0], n->x[i], s);
            if (!forward && (n->op->dx_over_x >> i & 1)) take_over(p, n->dx[i], n->x[i], s);
            if (!forward && (n->op->dx_over_dy >> i & 1)) take_over(p, n->dx[i], n->dy[0], s);
        }
    }
}

ot_status ot_plan_memory(struct plan *p, ot_error *err) {
    size_t sum = 0; /* if it fits, so does every offset */
    for (int i = 0; i < p->n_buffers; i++) {
        size_t bytes;
        if (!ot_add(p->buffer[i].bytes, ALIGN - 1, &bytes) || !ot_add(sum, bytes, &sum))
            return ot_fail(err, OT_ERROR_LIMIT, "the tensors of the plan are too large");
        p->buffer[i].bytes = bytes & ~(size_t)(ALIGN - 1);
    }
    find_lifetimes(p);
    share_buffers(p);
    return ot_place(&p->model->allocator, p->buffer, p->n_buffers, p->n_steps + 1, &p->block_bytes,
                    &p->bound, err);
}
