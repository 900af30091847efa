/* topology.c - masks that change while a session trains. */
#include "runtime/api/session.h"

#include <string.h>

#include "runtime/base/options.h"
#include "runtime/base/pattern.h"
#include "runtime/model/last_layer.h"
#include "runtime/train/sparsity.h"

/* ---- the methods ---- */

ot_status ot_get_topology_method(int i, ot_topology_method *info, ot_error *err) {
    const struct method *m = ot_method_at(i);
    if (!info) return ot_fail(err, OT_ERROR_ARGUMENT, "info is NULL");
    if (!m) return ot_fail(err, OT_ERROR_ARGUMENT, "there is no method %d", i);
    *info = (ot_topology_method){.name = m->name,
                                 .drop = ot_drop_name(m->drop),
                                 .grow = ot_grow_name(m->grow),
                                 .newborn = ot_newborn_name(m->newborn),
                                 .every = m->every,
                                 .start = m->start,
                                 .end = m->end,
                                 .source = m->source,
                                 .help = m->help};
    return OT_OK;
}

int ot_topology_method_count(void) {
    int n = 0;
    while (ot_method_at(n)) n++;
    return n;
}

/* ---- who takes part ---- */

/* Slots that a method which prunes leaves; where layers are compared, they only add up. Under a
 * constraint, a layer that has fewer may still have to lose some. */
static int64_t goal_of(const struct sparsity *p, int i, int64_t first) {
    const int64_t goal = ot_budget_count(&p->budget[i]);
    if (ot_sparsity_compares(p))
        return (int64_t)(p->o.density * (double)p->layer[i].rows * (double)p->layer[i].cols);
    return goal < first || p->o.constraint != OT_CONSTRAIN_FREE ? goal : first;
}

/* A method that keeps the number of weights has no use for layers without a mask, and some leave
 * the last layer out, unless it is named. */
static bool is_left_out(const struct ot_session *s, const struct topology_rule *rule,
                        const char *names, const struct parameter *p) {
    const bool last = !rule->method->output && p == ot_last_layer(s->model, s->loss_output);
    if (!ot_topology_prunes(rule) && !p->t.pattern) return true;
    if (!last || ot_glob_list(names, p->name) > 0) return false;
    ot_log(&s->log, OT_LOG_INFO, "the mask of '%s' does not change: it is the last layer", p->name);
    return true;
}

static ot_status set_goals(const struct sparsity *p, struct topology *t, ot_error *err) {
    const struct parameter *first = p->m->parameter;
    int64_t gone = 0;
    for (int i = 0; i < p->n; i++) {
        struct topology_layer *l = &t->layer[p->layer[i].p - first];
        if (!l->matrix.p) continue;
        l->goal = goal_of(p, i, l->first);
        gone += l->first - l->goal;
        if (l->goal < 1 && !t->compares)
            return ot_fail(
                err, OT_ERROR_ARGUMENT, "'%s' has %lld x %lld elements, and none would be left",
                p->layer[i].p->name, (long long)p->layer[i].rows, (long long)p->layer[i].cols);
    }
    if (gone > 0 || p->o.constraint != OT_CONSTRAIN_FREE) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "method '%s': no layer has more weights than are to be left",
                   t->rule.method->name);
}

static ot_status take_layers(ot_session *s, const struct sparsity *p, struct topology *t,
                             ot_error *err) {
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        const struct parameter *parameter = p->layer[i].p;
        if (is_left_out(s, &t->rule, p->o.layers, parameter)) continue;
        t->layer[parameter - s->model->parameter] =
            (struct topology_layer){.matrix = p->layer[i], .first = parameter->first_slots};
        n++;
    }
    if (!n && t->rule.every)
        return ot_fail(err, OT_ERROR_ARGUMENT, "method '%s': no trained weight has a mask",
                       t->rule.method->name);
    t->compares = ot_sparsity_compares(p);
    return ot_topology_prunes(&t->rule) ? set_goals(p, t, err) : OT_OK;
}

/* Methods that grow slots have their own. */
static ot_status take_constraint(const ot_sparsity_options *o, struct topology_rule *rule,
                                 ot_error *err) {
    if (o->constraint == OT_CONSTRAIN_FREE) return OT_OK;
    if (!ot_topology_prunes(rule))
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "method '%s' takes no constraint",
                       rule->method->name);
    if (o->constraint == OT_CONSTRAIN_CHANNELS)
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "constraint channels: method '%s' keeps the shapes of the model",
                       rule->method->name);
    rule->constraint = o->constraint;
    memcpy(rule->group, o->group, sizeof rule->group);
    return OT_OK;
}

static ot_status find_layers(ot_session *s, struct topology *t, const ot_sparsity_options *given,
                             ot_error *err) {
    ot_sparsity_options o = {.size = sizeof o};
    struct sparsity p;
    if (given) OT_TRY(ot_options_read(&ot_sparsity_options_type, given, &o, err));
    OT_TRY(take_constraint(&o, &t->rule, err));
    if (!ot_topology_prunes(&t->rule)) {
        if (o.density != 0 || o.budget > OT_BUDGET_GIVEN)
            return ot_fail(err, OT_ERROR_ARGUMENT,
                           "a density or a budget is given, but method '%s' keeps the number of "
                           "weights",
                           t->rule.method->name);
        o.budget = OT_BUDGET_GIVEN;
    }
    OT_TRY(ot_sparsity_read(s->model, &o, &s->log, &p, err));
    const ot_status status = take_layers(s, &p, t, err);
    ot_sparsity_free(&p);
    return status;
}

/* ---- the calls ---- */

static ot_status read_topology(ot_session *s, const ot_topology_options *options,
                               struct topology *t, ot_error *err) {
    ot_topology_options o;
    OT_TRY(ot_options_read(&ot_topology_options_type, options, &o, err));
    OT_TRY(ot_topology_read(&o, &t->rule, err));
    t->seed = o.seed;
    const struct parameter *last = ot_last_layer(s->model, s->loss_output);
    t->last_layer = last ? (int)(last - s->model->parameter) : -1;
    t->layer = ot_block_alloc(&s->allocator, (size_t)s->model->n_parameters, sizeof *t->layer);
    if (!t->layer) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of layers");
    return t->rule.every ? find_layers(s, t, o.sparsity, err) : OT_OK;
}

ot_status ot_set_topology(ot_session *s, const ot_topology_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    /* random numbers of the session's updates so far are used up */
    struct topology t = {.is_set = true, .updates = s->topology.updates, .last = s->topology.last};
    struct probes probes = {.n = 0};
    ot_status status = read_topology(s, options, &t, err);
    if (!status)
        status =
            ot_topology_make_probes(&t, s->model, ot_pool_workers(s->context.pool), &probes, err);
    if (status) {
        ot_block_free(&s->allocator, t.layer);
        return status;
    }
    ot_session_drop_plans(s); /* they are made for what is probed */
    ot_probes_free(&s->probes);
    s->probes = probes;
    s->probes_on = false;
    ot_block_free(&s->allocator, s->topology.layer);
    s->topology = t;
    if (t.rule.drop != OT_DROP_MOVEMENT) ot_state_drop_moment(&s->state, s->model, OT_SCORE);
    return OT_OK;
}

ot_status ot_get_topology_interval(const ot_session *s, int64_t least, double share, int64_t *every,
                                   ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!every || least < 1 || !(share > 0))
        return ot_fail(err, OT_ERROR_ARGUMENT, "every is NULL, least %lld, or share %g",
                       (long long)least, share);
    if (!s->plan || !ot_plan_trains(s->plan->request.kind))
        return ot_fail(err, OT_ERROR_STATE, "there is no plan that trains: call ot_prepare");
    *every = ot_plan_probe_interval(s->plan, least, share);
    return OT_OK;
}

ot_status ot_session_probe(struct ot_session *s, ot_error *err) {
    const int64_t step = s->optimizer.steps + 1;
    if (!ot_topology_probes(&s->topology.rule)) return OT_OK;
    s->probes_on = ot_topology_waits(&s->topology, step);
    if (!s->probes_on || (s->accumulation.steps && s->topology.probing == step)) return OT_OK;
    s->topology.probed = false;
    s->topology.probing = 0;
    OT_TRY(ot_topology_start_probes(&s->topology, s->model, step, &s->probes, err));
    s->topology.probing = step;
    return OT_OK;
}

ot_status ot_topology_step(ot_session *s, ot_topology_report *report, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (report) *report = (ot_topology_report){0};
    if (!ot_topology_waits(&s->topology, s->optimizer.steps)) return OT_OK;
    if (s->accumulation.steps)
        return ot_fail(err, OT_ERROR_STATE,
                       "masks change between an optimizer step and the next training step");
    if (ot_topology_probes(&s->topology.rule) && !s->topology.probed)
        return ot_fail(err, OT_ERROR_STATE,
                       "masks grow by gradient, but the last step was not ot_train_step: there are "
                       "no gradients outside the masks");
    OT_TRY(ot_topology_update(&s->topology, s->model, &s->context.weights, &s->state, &s->probes,
                              s->optimizer.steps, err));
    ot_session_forget_scores(s);
    const ot_topology_report *r = &s->topology.report;
    if (report) *report = *r;
    if (!r->layers) return OT_OK;
    s->optimizer.bound = 0;                    /* new weights may be larger than any */
    s->last = s->forward = s->backward = NULL; /* plans follow when they run next */
    ot_log(&s->log, OT_LOG_INFO,
           "masks: update %lld after step %lld: %lld weights went, %lld came, %lld are left in "
           "%lld of "
           "%lld rows",
           (long long)r->update, (long long)r->step, (long long)r->dropped, (long long)r->grown,
           (long long)r->nonzeros, (long long)r->live_rows, (long long)r->rows);
    return OT_OK;
}
