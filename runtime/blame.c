/* blame.c - finds the node at which a result stopped being finite.
 *
 * Infinities may be wanted: masks of attention hold -inf, and a Softmax takes them away again. So
 * the first infinity of a run explains nothing. The search goes backwards instead, from the result
 * that is not finite to a value that made it so, until all inputs of a node are as they should be.
 */
#include "runtime/blame.h"

#include <stdio.h>
#include <string.h>

#include "runtime/finite.h"
#include "runtime/session.h"

/* The step that makes an entry, before step `until`; -1: none does. */
static int maker_of(const struct plan *p, const struct entry *e, int until) {
    for (int s = until - 1; s >= 0; s--) {
        const struct op_node *n = p->step[s].node;
        if (!n || p->step[s].kind != OT_STEP_FORWARD) continue;
        for (int j = 0; j < n->n_out; j++)
            if (n->y[j] == &e->t) return s;
    }
    return -1;
}

/* A value, and where it comes from. */
struct origin {
    const struct entry *entry;
    int step; /* that makes it; -1: it is a weight, a constant or an input */
    struct survey survey;
};

/* Of a value that step `until` reads. Weights, constants and inputs stand still: they are looked at
 * now. */
static struct origin origin_of(const struct plan *p, const struct entry *e, int until) {
    int step = maker_of(p, e, until);
    while (step < 0 && e->view) {
        e = e->view;
        step = maker_of(p, e, until);
    }
    return (struct origin){e, step, step >= 0 ? e->survey : ot_survey(&e->t)};
}

/* An input of the step's node that has the flaw. */
static bool follow(const struct plan *p, int step, enum flaw flaw, struct origin *o) {
    const struct op_node *n = p->step[step].node;
    for (int i = 0; i < n->n_in; i++) {
        if (!n->x[i]) continue;
        *o = origin_of(p, ot_entry(n->x[i]), step);
        if (o->survey.flaw == flaw) return true;
    }
    return false;
}

/* From a value backwards. An infinity that leads back to a constant is a mask: then the node that
 * made NaN of it is the one. */
static struct origin trace(const struct plan *p, struct origin o) {
    struct origin nan = {0};
    for (struct origin next; o.step >= 0; o = next) {
        if (follow(p, o.step, o.survey.flaw, &next)) continue;
        if (o.survey.flaw != OT_FLAW_NAN || !follow(p, o.step, OT_FLAW_INFINITY, &next)) break;
        nan = o;
    }
    const bool fixed =
        o.entry->parameter < 0 || !ot_is_trained(&p->session->parameter[o.entry->parameter]);
    const bool mask =
        o.step < 0 && o.survey.flaw == OT_FLAW_INFINITY && fixed && o.entry->input < 0;
    return mask && nan.entry ? nan : o;
}

/* The largest finite value that the steps before have made. */
static const struct entry *find_largest(const struct plan *p, int until) {
    const struct entry *largest = NULL;
    for (int s = 0; s < until; s++) {
        const struct op_node *n = p->step[s].node;
        if (!n || p->step[s].kind != OT_STEP_FORWARD || !n->y[0]) continue;
        const struct entry *e = ot_entry(n->y[0]);
        if (!largest || e->survey.largest > largest->survey.largest) largest = e;
    }
    return largest;
}

static void describe(const struct plan *p, const struct origin *o, char *text, size_t size) {
    const char *name = o->entry->name ? o->entry->name : "";
    const char *flaw = o->survey.flaw == OT_FLAW_NAN ? "NaN" : "infinity";
    const long long bad = (long long)o->survey.bad, all = (long long)ot_count(&o->entry->t);
    if (o->step < 0) {
        snprintf(text, size, "%s '%.80s' holds %s (%lld of %lld values)",
                 o->entry->parameter >= 0 ? "the weight"
                 : o->entry->input >= 0   ? "the input"
                                          : "the constant",
                 name, flaw, bad, all);
        return;
    }
    const struct op_node *n = p->step[o->step].node;
    const struct entry *largest = find_largest(p, o->step);
    int length = snprintf(text, size,
                          "the first value that is not finite is '%.80s', computed by node '%.80s' "
                          "(%s): %s in %lld of %lld",
                          name, n->node->name, n->op->name, flaw, bad, all);
    if (!largest || length < 0 || (size_t)length >= size) return;
    snprintf(text + length, size - (size_t)length,
             "; the largest absolute value before it is %.4g, in '%.60s'",
             (double)largest->survey.largest, largest->name ? largest->name : "");
}

/* Forward once more; every value is looked at while it is there. */
static ot_status survey_forward(struct plan *p, const ot_tensor *inputs, int *steps,
                                ot_error *err) {
    ot_plan_set_inputs(p, inputs);
    int s = 0;
    for (; s < p->n_steps && p->step[s].kind == OT_STEP_FORWARD; s++) {
        OT_TRY(ot_run_step(p, &p->step[s], NULL, err));
        const struct op_node *n = p->step[s].node;
        for (int j = 0; j < n->n_out; j++)
            if (n->y[j]) ot_entry(n->y[j])->survey = ot_survey(n->y[j]);
    }
    *steps = s;
    return OT_OK;
}

/* The first result with a flaw. */
static bool find_result(const struct plan *p, int steps, struct origin *o) {
    const int n = ot_plan_has_outputs(p->kind) ? p->n_outputs : 1;
    for (int i = 0; i < n; i++) {
        const struct entry *e = ot_plan_has_outputs(p->kind) ? p->output[i] : p->logits;
        if (!e) continue;
        *o = origin_of(p, e, steps);
        if (o->survey.flaw) return true;
    }
    return false;
}

ot_status ot_plan_blame(struct plan *p, const ot_tensor *inputs, ot_error *err) {
    ot_error again = {OT_OK, ""};
    struct origin o;
    int steps;
    if (!err) return OT_ERROR_NUMERIC;
    const ot_status status = survey_forward(p, inputs, &steps, &again);
    if (status) {
        *err = again;
        return status;
    }
    if (!find_result(p, steps, &o)) return OT_ERROR_NUMERIC;
    o = trace(p, o);
    char text[420], why[sizeof err->message];
    describe(p, &o, text, sizeof text);
    snprintf(why, sizeof why, "%s", err->message);
    return ot_fail(err, OT_ERROR_NUMERIC, "%s: %s", why, text);
}

ot_status ot_plan_check_outputs(struct plan *p, const ot_tensor *inputs, int n, ot_error *err) {
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &p->output[i]->t;
        if (t->type != OT_FLOAT || ot_all_finite(p->session->pool, t->data, ot_count(t))) continue;
        ot_fail(err, OT_ERROR_NUMERIC, "output '%s' is not finite",
                p->session->graph->value[p->session->graph->output[i]].name);
        return ot_plan_blame(p, inputs, err);
    }
    return OT_OK;
}
