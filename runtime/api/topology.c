/* topology.c - masks that change while a session trains. */
#include "runtime/api/session.h"

#include <string.h>

#include "runtime/base/options.h"
#include "runtime/base/pattern.h"
#include "runtime/model/last_layer.h"

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

/* Weights of products: the slots of others are not theirs to choose. */
static bool is_product(const char *op) {
    static const char *const all[] = {"Gemm", "MatMul", "Conv", "ConvTranspose",
                                      "LSTM", "GRU",    "RNN"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(op, all[i])) return true;
    return false;
}

/* A convolution with one input channel a group has few inputs to choose from. */
static bool is_depthwise(const struct tensor *t, const char *op) {
    return !strcmp(op, "Conv") && t->rank > 2 && t->dim[1] == 1;
}

/* Does the list name weights, not only those that are left out? */
static bool names_some(const char *layers) {
    char glob[OT_GLOB_SIZE];
    bool negated;
    while (layers && ot_glob_next(&layers, glob, &negated))
        if (!negated) return true;
    return false;
}

/* Why a weight that could take part does not; NULL: it does. */
static const char *left_out(const struct ot_session *s, const struct topology_rule *rule,
                            const char *layers, int i) {
    const struct parameter *p = &s->model->parameter[i];
    const int named = ot_glob_list(layers, p->name);
    if (p->structure == OT_STRUCTURE_MASK) return "its mask is a tensor of the model";
    if (named > 0) return NULL;
    if (named < 0 || names_some(layers)) return "the list of layers leaves it out";
    if (is_depthwise(&p->t, p->op)) return "it is a depthwise convolution";
    if (!rule->method->output && p == ot_last_layer(s->model, s->loss_output))
        return "it is the last layer";
    return NULL;
}

static bool can_take_part(const struct parameter *p) {
    return p->t.pattern && ot_is_trained(p) && p->dequantizer < 0 && is_product(p->op);
}

static ot_status find_layers(ot_session *s, const struct topology_rule *rule, const char *layers,
                             bool *part, ot_error *err) {
    int n = 0;
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        if (!can_take_part(p)) continue;
        const char *reason = left_out(s, rule, layers, i);
        part[i] = !reason;
        n += part[i];
        if (reason)
            ot_log(&s->log, OT_LOG_INFO, "the mask of '%s' does not change: %s", p->name, reason);
    }
    if (n || !rule->every) return OT_OK;
    return ot_fail(err, OT_ERROR_ARGUMENT,
                   "method '%s': no trained weight with a mask can change it", rule->method->name);
}

/* ---- the calls ---- */

ot_status ot_set_topology(ot_session *s, const ot_topology_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    ot_topology_options o;
    struct topology t = {.is_set = true};
    if (!options) return ot_fail(err, OT_ERROR_ARGUMENT, "options is NULL");
    OT_TRY(ot_options_read(&ot_topology_options_type, options, &o, err));
    OT_TRY(ot_topology_read(&o, &t.rule, err));
    t.seed = o.seed;
    t.part = ot_block_alloc(&s->allocator, (size_t)s->model->n_parameters, sizeof *t.part);
    if (!t.part) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of layers");
    const ot_status status = find_layers(s, &t.rule, o.layers, t.part, err);
    if (status) {
        ot_block_free(&s->allocator, t.part);
        return status;
    }
    t.updates = s->topology.updates; /* of this session: their random numbers are used up */
    t.last = s->topology.last;
    ot_block_free(&s->allocator, s->topology.part);
    s->topology = t;
    return OT_OK;
}

ot_status ot_topology_step(ot_session *s, ot_topology_report *report, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (report) *report = (ot_topology_report){0};
    if (!ot_topology_waits(&s->topology, s->optimizer.steps)) return OT_OK;
    if (s->accumulation.steps)
        return ot_fail(err, OT_ERROR_STATE,
                       "masks change between an optimizer step and the next training step");
    OT_TRY(ot_topology_update(&s->topology, s->model, &s->context.weights, &s->state,
                              s->optimizer.steps, err));
    s->optimizer.bound = 0;                    /* new weights may be larger than any */
    s->last = s->forward = s->backward = NULL; /* plans follow when they run next */
    const ot_topology_report *r = &s->topology.report;
    ot_log(&s->log, OT_LOG_INFO,
           "masks: update %lld after step %lld moved %lld of %lld weights; %lld of %lld rows have "
           "some",
           (long long)r->update, (long long)r->step, (long long)r->grown, (long long)r->nonzeros,
           (long long)r->live_rows, (long long)r->rows);
    if (report) *report = *r;
    return OT_OK;
}
