/* autodiff.c - the loss, then the backward steps in reverse order of the nodes.
 *
 * Only what leads from the loss to a trainable parameter, or to an input whose gradient is asked
 * for, is computed. A value with several consumers gets one gradient from each; the plan adds them
 * in the order of their steps, and the last two only where the operator that made the value does
 * not take them apart.
 */
#include "runtime/compile/plan.h"

/* An entry that can hold the gradient of e; without a buffer if it is a view of `of`. */
static ot_status gradient_entry(struct plan *p, const struct entry *e, struct entry *of,
                                struct entry **g, ot_error *err) {
    struct entry *d = ot_plan_entry(p, e->name);
    if (!d) return ot_plan_no_memory(err);
    d->t = e->t;
    d->t.type = OT_FLOAT;
    d->t.role = OT_ROLE_ACTIVATION;
    d->t.data = NULL;
    if (of)
        d->view = of->view ? of->view : of;
    else if ((d->buffer = ot_plan_buffer(p, ot_bytes(&d->t))) < 0)
        return ot_plan_no_memory(err);
    *g = d;
    return OT_OK;
}

static ot_status add_gradients(struct plan *p, struct entry *a, struct entry *b, ot_error *err) {
    return ot_plan_step(p, (struct step){.kind = OT_STEP_ADD, .a = a, .b = b}, err);
}

static ot_status add_more(struct plan *p, const struct entry *y, ot_error *err) {
    return y->more ? add_gradients(p, y->grad, y->more, err) : OT_OK;
}

/* Wants of inputs beyond the 31st share the last bit: the entry says it for each. */
static bool wants(const struct op_node *n, int i) {
    return n->x[i] && ot_op_reads(n->op, i) && ot_op_carries(n->op, n->x[i]) &&
           ot_entry(n->x[i])->wants;
}

/* dy of an operator with any number of alike outputs (Split) must all be there. */
static ot_status find_dy(struct plan *p, struct op_node *n, bool *any, ot_error *err) {
    *any = false;
    for (int j = 0; j < n->n_out; j++)
        if (n->y[j] && ot_entry(n->y[j])->grad) *any = true;
    for (int j = 0; *any && j < n->n_out; j++) {
        struct entry *y = n->y[j] ? ot_entry(n->y[j]) : NULL;
        if (!y) continue;
        if (!y->grad && n->op->max_out < 0) {
            OT_TRY(gradient_entry(p, y, NULL, &y->grad, err));
            OT_TRY(ot_plan_step(p, (struct step){.kind = OT_STEP_ZERO, .a = y->grad}, err));
        }
        n->dy[j] = y->grad ? &y->grad->t : NULL;
        if (j == 0 && y->more && n->op->takes_more)
            n->more = &y->more->t;
        else
            OT_TRY(add_more(p, y, err));
    }
    return OT_OK;
}

/* What happens to the gradient of input i once the node's backward has made it. */
static ot_status collect_gradient(struct plan *p, struct op_node *n, int i, ot_error *err) {
    struct entry *x = ot_entry(n->x[i]), *g = ot_entry(n->dx[i]);
    if (x->parameter >= 0 && ot_plan_trains(p->request.kind))
        return ot_plan_step(p, (struct step){.kind = OT_STEP_ACCUMULATE, .a = x, .b = g}, err);
    if (x->more) return add_gradients(p, x->more, g, err);
    *(x->grad ? &x->more : &x->grad) = g;
    return OT_OK;
}

/* Where the backward half begins: g is the gradient of e, which may be a weight itself. */
static ot_status seed(struct plan *p, struct entry *e, struct entry *g, ot_error *err) {
    e->grad = g;
    if (e->parameter < 0) return OT_OK;
    return ot_plan_step(p, (struct step){.kind = OT_STEP_ACCUMULATE, .a = e, .b = g}, err);
}

static ot_status backward_node(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    bool any;
    if (!n->want) return OT_OK;
    OT_TRY(find_dy(p, n, &any, err));
    if (!any) return OT_OK;
    for (int i = 0; i < n->n_in; i++) {
        if (!wants(n, i)) continue;
        struct entry *g = NULL, *of = pn->is_view ? ot_entry(n->dy[0]) : NULL;
        OT_TRY(gradient_entry(p, ot_entry(n->x[i]), of, &g, err));
        n->dx[i] = &g->t;
    }
    OT_TRY(ot_plan_probe(p, pn, err));
    if (!pn->is_view)
        OT_TRY(ot_plan_step(p, (struct step){.kind = OT_STEP_BACKWARD, .node = n}, err));
    for (int i = 0; i < n->n_in; i++)
        if (n->dx[i]) OT_TRY(collect_gradient(p, n, i, err));
    return OT_OK;
}

/* The loss, and its gradient with respect to what it looks at. */
static ot_status differentiate_loss(struct plan *p, ot_error *err) {
    const bool train = p->request.kind == OT_PLAN_TRAIN;
    if (train && !p->logits->wants)
        return ot_fail(err, OT_ERROR_STATE, "no trainable weight leads to the loss");
    if (train) OT_TRY(gradient_entry(p, p->logits, NULL, &p->loss_gradient, err));
    OT_TRY(ot_plan_step(
        p, (struct step){.kind = OT_STEP_LOSS, .a = p->logits, .b = p->loss_gradient}, err));
    return train ? seed(p, p->logits, p->loss_gradient, err) : OT_OK;
}

/* The gradients that the host gives, one an output; p->n_forward marks where they come. */
static ot_status differentiate_outputs(struct plan *p, ot_error *err) {
    p->n_forward = p->n_steps;
    for (int i = 0; i < p->n_outputs; i++) {
        struct entry *e = p->output[i];
        if (!e->wants) continue;
        OT_TRY(gradient_entry(p, e, NULL, &p->output_gradient[i], err));
        OT_TRY(seed(p, e, p->output_gradient[i], err));
    }
    return OT_OK;
}

static ot_status backward_nodes(struct plan *p, ot_error *err) {
    for (int i = p->n_nodes - 1; i >= 0; i--) OT_TRY(backward_node(p, p->node[i], err));
    return OT_OK;
}

/* The results of p->gradient: what arrives at the values that its inputs are. */
static ot_status differentiate_node(struct plan *p, ot_error *err) {
    const struct node *n = p->gradient;
    const struct graph *g = p->graph;
    OT_TRY(gradient_entry(p, p->logits, NULL, &p->loss_gradient, err));
    OT_TRY(ot_plan_step(p, (struct step){.kind = OT_STEP_ONE, .a = p->loss_gradient}, err));
    p->logits->grad = p->loss_gradient;
    OT_TRY(backward_nodes(p, err));
    for (int i = 0; i < n->n_out; i++) {
        struct entry *x = n->out[i] < 0 ? NULL : p->rows[n->in[i]];
        if (!x) continue;
        OT_TRY(add_more(p, x, err));
        x->more = NULL; /* it may be named twice */
        if (!x->grad) {
            OT_TRY(gradient_entry(p, x, NULL, &x->grad, err));
            OT_TRY(ot_plan_step(p, (struct step){.kind = OT_STEP_ZERO, .a = x->grad}, err));
        }
        for (int k = 0; k < p->n_outputs; k++)
            if (g->output[k] == n->out[i])
                p->output[k]->view = x->grad->view ? x->grad->view : x->grad;
    }
    return OT_OK;
}

ot_status ot_differentiate(struct plan *p, ot_error *err) {
    if (p->gradient) return differentiate_node(p, err);
    if (p->request.kind == OT_PLAN_RUN) return OT_OK;
    OT_TRY(
        (p->request.kind >= OT_PLAN_OUTPUTS ? differentiate_outputs : differentiate_loss)(p, err));
    if (!ot_plan_trains(p->request.kind)) return OT_OK;
    OT_TRY(backward_nodes(p, err));
    OT_TRY(ot_plan_check_probes(p, err));
    for (int i = 0; i < p->request.n_inputs; i++) OT_TRY(add_more(p, p->input_entry[i], err));
    return OT_OK;
}
