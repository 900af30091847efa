/* recompute.c - less memory for more time: cheap activations are not kept for the backward half.
 *
 * Where an operator says how to do it again (op->again), its result is dropped after the last
 * forward step that reads it, and a further forward step computes it again just before the backward
 * step that first needs it. Its buffer has two lives then, in one place (lifetimes.c). It is made
 * from values that are kept for other reasons, or that are made again themselves, through a few
 * operators at most: that bounds the time, and keeps chains of residual blocks from unwinding.
 *
 * Where memory is not short, this happens only to what is a bargain: it saves a share of the kept
 * activations that is many times the share of the step's time that it is predicted to take, as is
 * the case between large dense products.
 */
#include "runtime/compile/plan.h"

/* Operators in a chain that is computed again; and how many times the share of time that it takes
 * the share of memory that it saves must be. */
enum { MAX_RECOMPUTE_DEPTH = 3, MIN_GAIN_RATIO = 16 };

/* Bytes per nanosecond that operators with op->again move. */
static const double RECOMPUTE_BANDWIDTH = 10;

/* What is known of a buffer. Steps are those of the plan as it was. */
struct buffer_info {
    struct op_node *maker; /* node that can make the buffer again, or NULL */
    int writers;
    int first_need, last_need; /* backward steps that read it; first > last: none */
    bool dropped, made;
};

struct recompute {
    struct plan *p;
    struct buffer_info *info; /* of each buffer */
    bool frugal;              /* memory is short */
    double kept, time;        /* bytes of what the backward half reads; predicted milliseconds */
    int forward;              /* steps before the loss, or what stands for it */
    const struct step *old;
    int n_old;
};

static int buffer_of(struct tensor *t) {
    const struct entry *e = ot_entry(t);
    return e->view ? e->view->buffer : e->buffer;
}

/* ---- who makes what, and when it is needed ---- */

static void note_forward(struct recompute *r, struct op_node *n) {
    for (int j = 0; j < n->n_out; j++) {
        if (!n->y[j] || buffer_of(n->y[j]) < 0) continue;
        struct buffer_info *f = &r->info[buffer_of(n->y[j])];
        f->writers++;
        f->maker = j == 0 && n->op->again ? n : NULL;
    }
}

static void need_buffers(struct recompute *r, struct tensor **t, int n, uint32_t mask, int step) {
    for (int i = 0; i < n; i++) {
        if (!t[i] || !(mask >> (i < 15 ? i : 15) & 1) || buffer_of(t[i]) < 0) continue;
        struct buffer_info *f = &r->info[buffer_of(t[i])];
        if (f->first_need > step) f->first_need = step;
        f->last_need = step;
    }
}

static void find_infos(struct recompute *r) {
    for (int b = 0; b < r->p->n_buffers; b++)
        r->info[b] = (struct buffer_info){.first_need = r->n_old, .last_need = -1};
    for (int s = 0; s < r->n_old; s++) {
        struct op_node *n = r->old[s].node;
        if (r->old[s].kind == OT_STEP_LOSS) r->forward = s;
        if (r->old[s].kind == OT_STEP_FORWARD) note_forward(r, n);
        if (r->old[s].kind == OT_STEP_PROBE) need_buffers(r, n->x, 1, OT_X(0), s);
        if (r->old[s].kind != OT_STEP_BACKWARD) continue;
        need_buffers(r, n->x, n->n_in, n->op->needs & 0xffff, s);
        need_buffers(r, n->y, n->n_out, n->op->needs >> 16, s);
    }
    for (int i = 0; i < r->p->n_outputs; i++) /* the host looks at them between the halves */
        if (buffer_of(&r->p->output[i]->t) >= 0)
            r->info[buffer_of(&r->p->output[i]->t)].maker = NULL;
}

/* ---- the choice ---- */

static void sum_up(struct recompute *r) {
    for (int b = 0; b < r->p->n_buffers; b++)
        if (r->info[b].writers && r->info[b].last_need >= 0)
            r->kept += (double)r->p->buffer[b].bytes;
    for (int s = 0; s < r->n_old; s++)
        if (r->old[s].kind == OT_STEP_FORWARD)
            r->time += r->old[s].node->predicted[0] + r->old[s].node->predicted[1];
}

static bool is_bargain(const struct recompute *r, const struct op_node *n) {
    const double saved = (double)ot_bytes(n->y[0]);
    double moved = saved;
    for (int i = 0; i < n->n_in; i++) moved += n->x[i] ? (double)ot_bytes(n->x[i]) : 0;
    return saved / r->kept >= MIN_GAIN_RATIO * 1e-6 * moved / RECOMPUTE_BANDWIDTH / r->time;
}

/* Can the buffer be made again at this step, through `deep` operators at most? */
static bool can_make(const struct recompute *r, int buffer, int step, int deep) {
    const struct buffer_info *f = &r->info[buffer];
    if (!f->maker || f->writers != 1 || !deep) return false;
    for (int i = 0; i < f->maker->n_in; i++) {
        if (!f->maker->x[i] || buffer_of(f->maker->x[i]) < 0) continue;
        const struct buffer_info *x = &r->info[buffer_of(f->maker->x[i])];
        const bool kept = !x->dropped && x->writers == 1 && x->last_need >= step;
        if (!kept && !can_make(r, buffer_of(f->maker->x[i]), step, deep - 1)) return false;
    }
    return true;
}

/* In the order of the forward half, so that it is known of inputs what becomes of them. */
static void choose_buffers(struct recompute *r) {
    for (int s = 0; s < r->forward; s++) {
        struct op_node *n = r->old[s].node;
        if (r->old[s].kind != OT_STEP_FORWARD || !n->y[0] || buffer_of(n->y[0]) < 0) continue;
        struct buffer_info *f = &r->info[buffer_of(n->y[0])];
        const bool needed = f->first_need <= f->last_need;
        if (!needed || !(r->frugal || is_bargain(r, n))) continue;
        f->dropped =
            can_make(r, buffer_of(n->y[0]), f->first_need, r->frugal ? MAX_RECOMPUTE_DEPTH : 1);
    }
}

/* ---- the new list ---- */

static void second_life(struct plan *p, int buffer) {
    if (buffer >= 0) p->buffer[buffer].again = p->n_steps;
}

/* Appends the step that makes a buffer again, behind those that make what it is made from. */
static ot_status make_again(struct recompute *r, int buffer, int step, ot_error *err) {
    struct buffer_info *f = &r->info[buffer];
    struct op_node *n = f->maker;
    const struct plan_node *pn = (const struct plan_node *)(const void *)n;
    f->made = true;
    for (int i = 0; i < n->n_in; i++) {
        const int b = n->x[i] ? buffer_of(n->x[i]) : -1;
        if (b < 0 || r->info[b].made || (!r->info[b].dropped && r->info[b].last_need >= step))
            continue;
        OT_TRY(make_again(r, b, step, err));
    }
    second_life(r->p, buffer);
    second_life(r->p, pn->forward_scratch);
    r->p->n_again++;
    return ot_plan_step(r->p, (struct step){.kind = OT_STEP_AGAIN, .node = n}, err);
}

static ot_status make_needed(struct recompute *r, struct tensor **t, int n, uint32_t mask, int step,
                             ot_error *err) {
    for (int i = 0; i < n; i++) {
        if (!t[i] || !(mask >> (i < 15 ? i : 15) & 1) || buffer_of(t[i]) < 0) continue;
        const struct buffer_info *f = &r->info[buffer_of(t[i])];
        if (f->dropped && !f->made) OT_TRY(make_again(r, buffer_of(t[i]), step, err));
    }
    return OT_OK;
}

static ot_status write_steps(struct recompute *r, ot_error *err) {
    struct plan *p = r->p;
    p->step = NULL;
    p->n_steps = p->step_capacity = 0;
    for (int s = 0; s < r->n_old; s++) {
        struct op_node *n = r->old[s].node;
        if (r->old[s].kind == OT_STEP_PROBE) OT_TRY(make_needed(r, n->x, 1, OT_X(0), s, err));
        if (r->old[s].kind == OT_STEP_BACKWARD) {
            OT_TRY(make_needed(r, n->x, n->n_in, n->op->needs & 0xffff, s, err));
            OT_TRY(make_needed(r, n->y, n->n_out, n->op->needs >> 16, s, err));
        }
        OT_TRY(ot_plan_step(p, r->old[s], err));
    }
    return OT_OK;
}

ot_status ot_recompute(struct plan *p, ot_error *err) {
    const ot_allocator *al = &p->model->allocator;
    struct recompute r = {.p = p,
                          .old = p->step,
                          .n_old = p->n_steps,
                          .forward = p->n_forward,
                          .frugal = p->request.frugal};
    r.info = ot_block_alloc(al, (size_t)p->n_buffers, sizeof *r.info);
    if (!r.info) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
    find_infos(&r);
    sum_up(&r);
    choose_buffers(&r);
    const ot_status status = write_steps(&r, err);
    ot_block_free(al, r.info);
    return status;
}
