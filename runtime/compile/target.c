/* target.c - what the loss of a plan looks at, and the target that it expects. */
#include <string.h>

#include "runtime/compile/plan.h"

static bool is_named_mask(const struct plan *p, int i) {
    const struct graph *g = p->model->graph;
    return strstr(g->value[g->input[i]].name, "mask") != NULL;
}

/* The input of integers [N, T] beside an output [N, T, C]. */
static const ot_tensor *find_tokens(const struct plan *p, const struct tensor *output,
                                    const ot_tensor *inputs) {
    const struct loss_output o = {.t = output};
    for (int i = 0; i < p->request.n_inputs && output->rank > 2; i++) {
        const ot_tensor *t = &inputs[i];
        if (!ot_is_integer(t->type) || t->type == OT_BOOL || t->rank != 2 || is_named_mask(p, i))
            continue;
        const int axis = ot_loss_find_axis(&p->request.loss, &o, t);
        if (axis && output->dim[0] == t->dim[0] && output->dim[axis] > 1) return t;
    }
    return NULL;
}

const ot_tensor *ot_find_mask(const struct plan *p, const ot_tensor *tokens,
                              const ot_tensor *inputs) {
    for (int i = 0; i < p->request.n_inputs; i++) {
        const ot_tensor *t = &inputs[i];
        if (is_named_mask(p, i) && (ot_is_integer(t->type) || t->type == OT_FLOAT) &&
            t->rank == 2 && t->dim[0] == tokens->dim[0] && t->dim[1] == tokens->dim[1])
            return t;
    }
    return NULL;
}

struct loss_output ot_plan_loss_output(const struct plan *p, const ot_tensor *inputs, int loss_axis,
                                       struct tensor *t) {
    const struct plan *part = p->parts ? p->part[0] : p;
    *t = part->logits->t;
    if (p->parts) t->dim[0] = p->batch;
    const int found = loss_axis < 0 ? t->rank + loss_axis : loss_axis;
    const int axis = part->class_axis > 0 ? part->class_axis : found;
    const char *activation = ot_tail_activation(part->graph, &part->tail);
    return (struct loss_output){.t = t,
                                .hint = axis > 0 && axis < t->rank ? axis : 0,
                                .sigmoid = !strcmp(activation, "Sigmoid"),
                                .tokens = find_tokens(p, t, inputs)};
}

ot_status ot_plan_expect_target(struct plan *p, ot_error *err) {
    const struct request *r = &p->request;
    struct tensor t;
    const struct loss_output o = ot_plan_loss_output(p, r->input, r->loss_axis, &t);
    OT_TRY(ot_loss_make(&r->loss, r->loss_kind, &o, NULL, true, &p->loss, err));
    ot_loss_target(&p->loss, &t, &p->target);
    return OT_OK;
}
