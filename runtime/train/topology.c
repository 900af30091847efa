/* topology.c - one update of the masks: how many slots of each layer stay and grow. */
#include "runtime/train/topology.h"

#include <string.h>

#include "runtime/base/clock.h"

/* Candidates that are kept of each row, for a constant fan-in: times its mean slots, and at least.
 */
enum { ROW_LISTS = 3, LEAST_ROW = 16 };

/* An update while it is staged. */
struct update {
    struct topology *t;
    struct model *m;
    struct probes *probes;
    int64_t step;
    struct layer_change *change; /* of each parameter; layer NULL: none */
    struct rewiring *rewiring;
    int n;
    ot_topology_report report;
};

/* Of so many slots at first, on the way to the goal. */
static int64_t slots_left(const struct topology_rule *r, int64_t first, int64_t goal,
                          int64_t step) {
    if (first <= goal) return goal;
    return goal + (int64_t)((double)(first - goal) * ot_topology_left(r, step));
}

/* What a method that prunes leaves; of groups of M, ever fewer slots on the way to N. */
static void set_left(const struct update *u, const struct topology_layer *l,
                     struct layer_change *c) {
    const struct topology_rule *r = &u->t->rule;
    c->grow = 0;
    c->stay = slots_left(r, l->first, l->goal, u->step);
    c->constraint = r->constraint;
    memcpy(c->group, r->group, sizeof c->group);
    if (r->constraint == OT_CONSTRAIN_NM)
        c->group[0] = (int)slots_left(r, r->group[1], r->group[0], u->step);
}

static struct layer_change change_of(const struct update *u, int i) {
    struct topology *t = u->t;
    struct topology_layer *l = &t->layer[i];
    const int64_t slots = ot_layer_slots(l->matrix.p);
    struct layer_change c = {.layer = &l->matrix,
                             .drop = t->rule.drop,
                             .grow = OT_SAME,
                             .newborn = t->rule.newborn,
                             .seed = t->seed,
                             .stream = ((uint64_t)(t->updates + 1) << 32) + (uint64_t)i * OT_DRAWS};
    if (ot_topology_prunes(&t->rule)) {
        set_left(u, l, &c);
    } else {
        c.share = ot_topology_share(&t->rule, u->step);
        c.stay = slots - (int64_t)(c.share * (double)slots);
    }
    if (!ot_topology_probes(&t->rule)) return c;
    c.probes = ot_probes_of(u->probes, i);
    c.competed = &l->competed;
    c.scale = t->rule.grow == OT_GROW_GRADIENT ? 1 / (float)t->batches : 1;
    c.constraint = t->rule.constraint;
    c.ablation = i == t->last_layer ? 0 : t->rule.ablation;
    c.revive = t->rule.revive;
    c.budget = l->first;
    return c;
}

/* What stays of each layer is what it has among the best of all. */
static ot_status compare_layers(struct update *u, ot_error *err) {
    int64_t first = 0, goal = 0;
    for (int i = 0; i < u->m->n_parameters; i++) {
        if (!u->change[i].layer) continue;
        first += u->t->layer[i].first;
        goal += u->t->layer[i].goal;
    }
    return ot_layers_share(u->m, u->change, u->m->n_parameters,
                           slots_left(&u->t->rule, first, goal, u->step), err);
}

/* ---- all layers ---- */

static ot_status stage(struct update *u, ot_error *err) {
    const struct topology_rule *rule = &u->t->rule;
    for (int i = 0; i < u->m->n_parameters; i++)
        if (u->t->layer[i].matrix.p) u->change[i] = change_of(u, i);
    if (ot_topology_prunes(rule) && u->t->compares) OT_TRY(compare_layers(u, err));
    for (int i = 0; i < u->m->n_parameters; i++) {
        const struct layer_change *c = &u->change[i];
        int64_t grown;
        if (!c->layer || ot_layer_stays(c)) continue;
        struct rewiring *r = &u->rewiring[u->n++];
        OT_TRY(ot_layer_stage(u->m, c, r, &grown, err));
        u->report.layers++;
        u->report.grown += grown;
        u->report.dropped += ot_layer_slots(c->layer->p) + grown - r->pattern->nnz;
    }
    return OT_OK;
}

/* ---- growth by gradient ---- */

/* Positions of a layer that an update may ask for, where this share of its slots moves. (It never
 * has more slots than at first.) */
static struct probe_count count_of(const struct topology *t, int i, double share, bool at_most) {
    const struct topology_layer *l = &t->layer[i];
    if (!l->matrix.p) return (struct probe_count){0};
    const int64_t slots = at_most ? l->first : ot_layer_slots(l->matrix.p);
    const int64_t moves = (int64_t)(share * (double)slots);
    struct probe_count c = {.whole = (int)moves};
    if (t->rule.grow == OT_GROW_SAMPLED) {
        const int64_t n = moves * t->rule.candidates, free = l->matrix.rows * l->matrix.cols / 2;
        const int64_t most = free < INT32_MAX / 4 ? free : INT32_MAX / 4;
        c.candidates = (int)(n < most ? n : most);
    }
    if (t->rule.constraint == OT_CONSTRAIN_FAN_IN) {
        const int64_t row = ROW_LISTS * (l->first / l->matrix.rows);
        c.row = (int)(row < LEAST_ROW ? LEAST_ROW : row);
        if (c.row > l->matrix.cols) c.row = (int)l->matrix.cols;
    }
    return c;
}

static ot_status count_all(const struct topology *t, const struct model *m, double share,
                           bool at_most, struct probe_count **count, ot_error *err) {
    *count = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof **count);
    if (!*count) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for probes");
    for (int i = 0; i < m->n_parameters; i++) (*count)[i] = count_of(t, i, share, at_most);
    return OT_OK;
}

ot_status ot_topology_make_probes(const struct topology *t, const struct model *m, int workers,
                                  struct probes *probes, ot_error *err) {
    struct probe_count *count;
    *probes = (struct probes){.n = 0};
    if (!ot_topology_probes(&t->rule)) return OT_OK;
    OT_TRY(count_all(t, m, t->rule.drop_fraction, true, &count, err));
    const ot_status status = ot_probes_new(m, count, workers, probes, err);
    ot_block_free(&m->allocator, count);
    return status;
}

ot_status ot_topology_start_probes(struct topology *t, const struct model *m, int64_t step,
                                   struct probes *probes, ot_error *err) {
    struct probe_count *count;
    const struct probe_draw draw = {t->seed, (uint64_t)(t->updates + 1) << 32 | UINT32_C(1) << 31};
    OT_TRY(count_all(t, m, ot_topology_share(&t->rule, step), false, &count, err));
    const ot_status status = ot_probes_start(probes, m, count, &draw, err);
    ot_block_free(&m->allocator, count);
    for (int i = 0; i < m->n_parameters; i++) t->layer[i].competed = false;
    return status;
}

/* ---- the update ---- */

static void count_slots(const struct model *m, ot_topology_report *report) {
    for (int i = 0; i < m->n_parameters; i++) {
        const struct pattern *p = m->parameter[i].t.pattern;
        if (!p) continue;
        report->nonzeros += p->nnz;
        report->rows += p->rows;
        report->live_rows += p->live_rows;
    }
}

ot_status ot_topology_update(struct topology *t, struct model *m, struct weights **weights,
                             struct state *s, struct probes *probes, int64_t step, ot_error *err) {
    const double start = ot_clock();
    const size_t n = (size_t)m->n_parameters;
    struct update u = {.t = t,
                       .m = m,
                       .probes = probes,
                       .step = step,
                       .report = {.updated = 1, .update = t->updates + 1, .step = step}};
    u.change = ot_block_alloc(&m->allocator, n, sizeof *u.change);
    u.rewiring = ot_block_alloc(&m->allocator, n, sizeof *u.rewiring);
    ot_status status = u.change && u.rewiring ? stage(&u, err)
                                              : ot_fail(err, OT_ERROR_NO_MEMORY,
                                                        "out of memory for the list of weights");
    if (!status && u.n) status = ot_rewire(m, weights, s, u.rewiring, u.n, err);
    if (u.rewiring) ot_rewirings_free(&m->allocator, u.rewiring, u.n);
    ot_block_free(&m->allocator, u.change);
    if (status) return status;
    count_slots(m, &u.report);
    u.report.seconds = ot_clock() - start;
    t->report = u.report;
    t->updates++;
    t->last = step;
    t->probed = false;
    return OT_OK;
}
