/* plans.c - the plan that a call runs: one that is kept, or a new one that fits into memory.
 *
 * Where a training step does not fit, it is divided into micro-batches, which cost next to nothing
 * as long as they fill the lanes of sparse kernels, with samples or tokens. Then what is cheap
 * is computed again instead of kept, then micro-batches become as small as they must. Where a
 * sample's result depends on the others of its batch, micro-batches change it, and come last.
 * Whether a plan fits depends on the model, the optimizer and the shapes alone, not on other plans:
 * a run that is resumed is divided as it was. All plans share one block of memory.
 */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"

/* A plan that is looked for. */
struct search {
    struct ot_session *s;
    struct compiler compiler;
    struct request request;
    int64_t batch; /* samples; 0: there is nothing to divide */
    size_t least;  /* bytes that the most frugal plan so far would need */
    bool mixes;    /* a sample's result depends on the others of its batch */
    bool whole;    /* parts were refused */
    int64_t rows;  /* samples that fill the lanes */
};

/* ---- how much memory ---- */

static size_t session_bytes(const struct ot_session *s) {
    const struct model *m = s->model;
    const size_t saved = m->floats - m->statistics; /* until a step is known to succeed */
    size_t bytes = m->graph->arena.held + (s->context.weights->floats + saved) * sizeof(float);
    for (int i = 0; i < m->n_parameters; i++) bytes += ot_pattern_bytes(m->parameter[i].t.pattern);
    return bytes + ot_state_bytes(&s->state) + ot_probes_bytes(&s->probes, m);
}

/* Gradients and moments that the plan asks for and nobody has asked for before. */
static size_t missing_bytes(const struct ot_session *s, const struct plan *p) {
    const int moments = s->optimizer.is_set ? ot_optimizer_moments(&s->optimizer.options) : 0;
    bool trains = false;
    for (int i = 0; p->trains && i < s->model->n_parameters; i++) trains |= p->trains[i];
    return trains ? ot_state_missing(&s->state, s->model, moments) : 0;
}

/* Beside the block. */
static size_t plan_bytes(const struct plan *p) { return ot_plan_bytes(p) + ot_bound_bytes(p); }

size_t ot_session_need(const struct ot_session *s, const struct plan *p) {
    return session_bytes(s) + missing_bytes(s, p) + plan_bytes(p) + p->block_bytes;
}

static bool fits_memory(struct search *w, const struct plan *p) {
    const size_t need = ot_session_need(w->s, p);
    if (need < w->least) w->least = need;
    return need <= w->request.memory_bytes;
}

/* ---- ways to run a step ---- */

/* Does it stand in lanes of samples, or of tokens? */
static bool in_lanes(const struct plan *p, const struct tensor *t) {
    return t->lanes && t->lanes == p->lane_count &&
           (t->lane_rank == 1 || p->lane_count != OT_CONV_LANES);
}

/* Samples of a micro-batch that fills the lanes, which hold them or their tokens. Linear layers
 * with 64 lanes have nine tenths of the speed that they have with 128, with 32 two thirds, with 16
 * less than half. */
static int64_t rows_to_fill(const struct plan *p, int64_t batch) {
    const int64_t full = p->lane_count < 64 ? p->lane_count : 64;
    int64_t most = 0;
    bool lanes = false;
    for (int i = 0; i < p->n_entries; i++) {
        const struct tensor *t = &p->entries[i]->t;
        if (!in_lanes(p, t)) continue;
        lanes = true;
        if (batch && ot_lane_samples(t) / batch > most) most = ot_lane_samples(t) / batch;
    }
    return !lanes ? 1 : most < 1 ? full : (full + most - 1) / most;
}

/* A plan of so many micro-batches (1: the whole batch); *plan stays NULL where it does not fit. */
static ot_status try_parts(struct search *w, int64_t parts, bool frugal, struct plan **plan,
                           ot_error *err) {
    const struct compiler *c = &w->compiler;
    struct plan *p = NULL;
    w->request.frugal = frugal;
    const ot_status status = parts > 1 ? ot_plan_new_divided(c, &w->request, parts, &p, err)
                                       : ot_plan_new(c, &w->request, &p, err);
    if (status == OT_ERROR_LIMIT && parts > 1) w->whole = true;
    if (status) return status == OT_ERROR_LIMIT ? OT_OK : status;
    w->mixes = p->mixes;
    if (parts == 1) w->rows = rows_to_fill(p, w->batch);
    if (fits_memory(w, p))
        *plan = p;
    else
        ot_plan_unref(p);
    return OT_OK;
}

/* The fewest micro-batches, at most `most`, that fit, by bisection. */
static ot_status fewest(struct search *w, int64_t most, bool frugal, struct plan **plan,
                        ot_error *err) {
    int64_t low = 1, parts = most;
    if (most < 2) return OT_OK;
    OT_TRY(try_parts(w, parts, frugal, plan, err));
    if (!*plan) return OT_OK;
    while (parts - low > 1) {
        const int64_t middle = low + (parts - low) / 2;
        ot_plan_unref(*plan);
        *plan = NULL;
        OT_TRY(try_parts(w, middle, frugal, plan, err));
        *(*plan ? &parts : &low) = middle;
    }
    return *plan ? OT_OK : try_parts(w, parts, frugal, plan, err);
}

/* Losses and gradients of weights add up. What the host looks at itself stays whole. */
static bool is_divisible(const struct search *w) {
    const struct request *r = &w->request;
    for (int i = 0; i < r->n_inputs && r->wants_input; i++)
        if (r->wants_input[i]) return false;
    return !ot_plan_has_outputs(r->kind);
}

static ot_status refuse_memory(const struct search *w, ot_error *err) {
    const size_t limit = w->request.memory_bytes;
    if (w->least == SIZE_MAX) return OT_ERROR_LIMIT; /* err says what was too large */
    return ot_fail(err, OT_ERROR_LIMIT,
                   "the step needs %zu bytes (%.1f MiB) at least%s, the memory limit is %zu bytes "
                   "(%.1f MiB)",
                   w->least, (double)w->least / (1 << 20),
                   w->whole || !is_divisible(w) ? "" : ", in micro-batches of any size", limit,
                   (double)limit / (1 << 20));
}

static ot_status choose_plan(struct search *w, struct plan **plan, ot_error *err) {
    const bool trains = ot_plan_trains(w->request.kind), divides = is_divisible(w);
    OT_TRY(try_parts(w, 1, false, plan, err));
    if (!*plan && divides && !w->mixes)
        OT_TRY(fewest(w, trains ? w->batch / w->rows : w->batch, false, plan, err));
    if (!*plan && trains && w->request.kind != OT_PLAN_MEASURE)
        OT_TRY(try_parts(w, 1, true, plan, err));
    if (!*plan && trains && divides) OT_TRY(fewest(w, w->batch, true, plan, err));
    return *plan ? OT_OK : refuse_memory(w, err);
}

static void log_division(const struct ot_session *s, const struct plan *p) {
    const double limit = (double)s->options.limits.memory_bytes / (1 << 20);
    if (p->request.frugal)
        ot_log(&s->log, OT_LOG_INFO,
               "%d activations are recomputed in the backward pass, to fit the memory limit of "
               "%.1f MiB",
               p->n_again, limit);
    if (p->parts < 2) return;
    ot_log(&s->log, OT_LOG_INFO,
           "a batch of %lld samples runs as %lld micro-batches of up to %lld, to fit the memory "
           "limit of %.1f MiB",
           (long long)p->batch, (long long)p->parts, (long long)ot_part_rows(p->batch, p->parts),
           limit);
    if (p->mixes)
        ot_log(&s->log, OT_LOG_WARNING,
               "memory limit: BatchNormalization takes statistics of micro-batches of up to %lld "
               "samples, not of batches of %lld",
               (long long)ot_part_rows(p->batch, p->parts), (long long)p->batch);
}

/* What a plan has found out about the weights, for those who ask. */
static void note_forms(const struct plan *p) {
    for (int i = 0; i < p->model->n_parameters; i++)
        if (p->seen[i]) p->model->parameter[i].is_sparse = p->seen[i] == OT_SEEN_SPARSE;
}

/* ---- keeping plans ---- */

/* Moves the plan that fits to the front; NULL if there is none. */
static struct plan *recall(struct ot_session *s, const struct request *r) {
    for (struct plan **link = &s->plan; *link; link = &(*link)->next) {
        struct plan *p = *link;
        if (!ot_plan_fits(p, r)) continue;
        *link = p->next;
        p->next = s->plan;
        s->plan = p;
        return p;
    }
    return NULL;
}

static void forget(struct ot_session *s, struct plan **link) {
    struct plan *p = *link;
    *link = p->next;
    ot_unbind(&s->context, p);
    ot_plan_unref(p);
}

static void forget_last(struct ot_session *s) {
    struct plan **link = &s->plan;
    while ((*link)->next) link = &(*link)->next;
    forget(s, link);
}

static size_t largest_block(const struct ot_session *s) {
    size_t most = 0;
    for (const struct plan *p = s->plan; p; p = p->next)
        if (p->block_bytes > most) most = p->block_bytes;
    return most;
}

/* Beside the block. */
static size_t kept_bytes(const struct ot_session *s) {
    size_t bytes = session_bytes(s) + missing_bytes(s, s->plan);
    for (const struct plan *p = s->plan; p; p = p->next) bytes += plan_bytes(p);
    return bytes;
}

/* Forgets plans that have no room beside the first one, and gives all the block that they share. */
static ot_status drop_plans(struct ot_session *s, ot_error *err) {
    const struct context *c = &s->context;
    const size_t limit = (size_t)s->options.limits.memory_bytes;
    int kept = 0;
    for (const struct plan *p = s->plan; p; p = p->next) kept++;
    for (; kept > 1 && (kept > s->options.plans || kept_bytes(s) + largest_block(s) > limit);
         kept--)
        forget_last(s);
    const size_t bytes = largest_block(s);
    const bool larger = c->block_bytes > bytes && kept_bytes(s) + c->block_bytes > limit;
    if (c->block && c->block_bytes >= bytes && !larger) return OT_OK;
    return ot_context_set_block(&s->context, bytes, err);
}

static struct request request_of(const struct ot_session *s, enum plan_kind kind,
                                 const ot_tensor *inputs, int n) {
    return (struct request){.kind = kind,
                            .n_inputs = n,
                            .input = inputs,
                            .wants_input = s->wants_input,
                            .loss = s->loss,
                            .loss_kind = s->loss_kind,
                            .loss_output = s->loss_output,
                            .loss_axis = s->loss_axis,
                            .bn = s->options.bn,
                            .sparse = s->options.sparse,
                            .patterns_change = ot_topology_changes(&s->topology),
                            .apart = s->options.apart != 0,
                            .kernels = s->kernels,
                            .workers = ot_pool_workers(s->context.pool),
                            .memory_bytes = (size_t)s->options.limits.memory_bytes,
                            .nodes = s->options.limits.nodes,
                            .probe = s->probes.request,
                            .n_probes = ot_plan_trains(kind) ? s->probes.n : 0};
}

static ot_status make_plan(struct ot_session *s, const struct request *r, ot_error *err) {
    struct plan *p = NULL;
    struct search w = {.s = s,
                       .compiler = {s->model, s->context.pool, &s->log},
                       .request = *r,
                       .batch = ot_batch_of(r->input, r->n_inputs),
                       .least = SIZE_MAX,
                       .rows = OT_CONV_LANES};
    OT_TRY(choose_plan(&w, &p, err));
    log_division(s, p);
    note_forms(p);
    p->next = s->plan;
    s->plan = p;
    return OT_OK;
}

ot_status ot_session_plan(struct ot_session *s, enum plan_kind kind, const ot_tensor *inputs, int n,
                          struct bound **bound, ot_error *err) {
    const struct context *c = &s->context;
    const struct request r = request_of(s, kind, inputs, n);
    s->forward = s->backward = NULL;
    struct plan *p = recall(s, &r);
    if (p && !ot_plan_follow(p, s->context.pool)) {
        s->last = NULL;
        forget(s, &s->plan);
        p = NULL;
    }
    if (!p) {
        OT_TRY(make_plan(s, &r, err));
        p = s->plan;
    }
    s->last = NULL;
    if (c->block_bytes < p->block_bytes || !c->block || p->next) OT_TRY(drop_plans(s, err));
    OT_TRY(ot_bind(&s->context, p, &s->last, err));
    *bound = s->last;
    return OT_OK;
}

void ot_session_drop_plans(struct ot_session *s) {
    s->last = s->forward = s->backward = NULL;
    while (s->plan) forget_last(s);
    ot_block_free(&s->allocator, s->context.block);
    s->context.block = NULL;
    s->context.block_bytes = 0;
}
