/* blame.c - finds the node at which a result stopped being finite.
 *
 * Infinities may be wanted: masks of attention hold -inf, and a Softmax takes them away again. So
 * the first infinity of a run explains nothing. The search goes backwards instead, from the result
 * that is not finite to a value that made it so, until all inputs of a node are as they should be.
 */
#include "runtime/run/blame.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/finite.h"

/* The step that makes an entry, before step `until`; -1: none does. */
static int maker_of(const struct bound *b, const struct entry *e, int until) {
    for (int s = until - 1; s >= 0; s--) {
        const struct op_node *n = b->step[s].node;
        if (!n || b->step[s].kind != OT_STEP_FORWARD) continue;
        for (int j = 0; j < n->n_out; j++)
            if (n->y[j] == &e->t) return s;
    }
    return -1;
}

/* A value, and where it comes from. */
struct origin {
    const struct entry *entry;
    int step; /* step that makes the entry; -1: a weight, a constant or an input */
    struct survey survey;
};

/* Of a value that step `until` reads. Weights, constants and inputs stand still: they are looked at
 * now. */
static struct origin origin_of(const struct bound *b, const struct entry *e, int until) {
    int step = maker_of(b, e, until);
    while (step < 0 && e->view) {
        e = e->view;
        step = maker_of(b, e, until);
    }
    return (struct origin){e, step, step >= 0 ? e->survey : ot_survey(&e->t)};
}

/* An input of the step's node that has the flaw. */
static bool follow_inputs(const struct bound *b, int step, enum flaw flaw, struct origin *o) {
    const struct op_node *n = b->step[step].node;
    for (int i = 0; i < n->n_in; i++) {
        if (!n->x[i]) continue;
        *o = origin_of(b, ot_entry(n->x[i]), step);
        if (o->survey.flaw == flaw) return true;
    }
    return false;
}

/* From a value backwards. An infinity that leads back to a constant is a mask: then the node that
 * made NaN of it is the one. */
static struct origin trace(const struct bound *b, struct origin o) {
    struct origin nan = {0};
    for (struct origin next; o.step >= 0; o = next) {
        if (follow_inputs(b, o.step, o.survey.flaw, &next)) continue;
        if (o.survey.flaw != OT_FLAW_NAN || !follow_inputs(b, o.step, OT_FLAW_INFINITY, &next))
            break;
        nan = o;
    }
    const bool fixed =
        o.entry->parameter < 0 || !ot_is_trained(&b->plan->model->parameter[o.entry->parameter]);
    const bool mask =
        o.step < 0 && o.survey.flaw == OT_FLAW_INFINITY && fixed && o.entry->input < 0;
    return mask && nan.entry ? nan : o;
}

/* The largest finite value that the steps before have made. */
static const struct entry *find_largest(const struct bound *b, int until) {
    const struct entry *largest = NULL;
    for (int s = 0; s < until; s++) {
        const struct op_node *n = b->step[s].node;
        if (!n || b->step[s].kind != OT_STEP_FORWARD || !n->y[0]) continue;
        const struct entry *e = ot_entry(n->y[0]);
        if (!largest || e->survey.largest > largest->survey.largest) largest = e;
    }
    return largest;
}

static void describe_origin(const struct bound *b, const struct origin *o, char *text,
                            size_t size) {
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
    const struct op_node *n = b->step[o->step].node;
    const struct entry *largest = find_largest(b, o->step);
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
static ot_status survey_forward(struct bound *b, const ot_tensor *inputs, int *steps,
                                ot_error *err) {
    ot_bound_aim(b, inputs);
    int s = 0;
    for (; s < b->plan->n_steps && b->step[s].kind == OT_STEP_FORWARD; s++) {
        OT_TRY(ot_run_step(b, &b->step[s], NULL, err));
        const struct op_node *n = b->step[s].node;
        for (int j = 0; j < n->n_out; j++)
            if (n->y[j]) ot_entry(n->y[j])->survey = ot_survey(n->y[j]);
    }
    *steps = s;
    return OT_OK;
}

/* The first result with a flaw. */
static bool find_first_output(const struct bound *b, int steps, struct origin *o) {
    const int n = ot_plan_has_outputs(b->plan->request.kind) ? b->plan->n_outputs : 1;
    for (int i = 0; i < n; i++) {
        const struct entry *e =
            ot_plan_has_outputs(b->plan->request.kind) ? b->output[i] : b->logits;
        if (!e) continue;
        *o = origin_of(b, e, steps);
        if (o->survey.flaw) return true;
    }
    return false;
}

ot_status ot_blame(struct bound *b, const ot_tensor *inputs, ot_error *err) {
    ot_error again = {OT_OK, ""};
    struct origin o;
    int steps;
    if (!err) return OT_ERROR_NUMERIC;
    const ot_status status = survey_forward(b, inputs, &steps, &again);
    if (status) {
        *err = again;
        return status;
    }
    if (!find_first_output(b, steps, &o)) return OT_ERROR_NUMERIC;
    o = trace(b, o);
    char text[420], why[sizeof err->message];
    describe_origin(b, &o, text, sizeof text);
    snprintf(why, sizeof why, "%s", err->message);
    return ot_fail(err, OT_ERROR_NUMERIC, "%s: %s", why, text);
}

ot_status ot_bound_check_outputs(struct bound *b, const ot_tensor *inputs, int n, ot_error *err) {
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &b->output[i]->t;
        if (t->type != OT_FLOAT || ot_all_finite(b->context->pool, t->data, ot_count(t))) continue;
        ot_fail(err, OT_ERROR_NUMERIC, "output '%s' is not finite",
                b->plan->graph->value[b->plan->graph->output[i]].name);
        return ot_blame(b, inputs, err);
    }
    return OT_OK;
}
