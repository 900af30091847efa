/* bind.c - points the tensors of a plan at the session's block and at the caller's inputs. */
#include <string.h>

#include "runtime/session.h"

void ot_plan_bind(struct plan *p) {
    p->block = p->session->block;
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->buffer >= 0) e->t.data = p->block + p->buffer[e->buffer].offset;
    }
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->view) e->t.data = e->view->t.data;
    }
    for (int i = 0; i < p->n_nodes; i++)
        if (p->node[i]->save >= 0)
            p->node[i]->n.save = p->block + p->buffer[p->node[i]->save].offset;
}

/* Inputs are read where the caller has them; views of them follow. */
static void bind_inputs(struct plan *p, const ot_tensor *inputs) {
    for (int i = 0; i < p->n_inputs; i++) p->input_entry[i]->t.data = (void *)inputs[i].data;
    for (int i = 0; i < p->n_entries; i++) {
        struct entry *e = p->entries[i];
        if (e->view && e->view->input >= 0) e->t.data = e->view->t.data;
    }
}

void ot_plan_set_inputs(struct plan *p, const ot_tensor *inputs) {
    if (p->block != p->session->block) ot_plan_bind(p);
    bind_inputs(p, inputs);
}

ot_status ot_plan_check(const struct plan *p, const ot_tensor *inputs, ot_error *err) {
    const struct graph *g = p->session->graph;
    for (int i = 0; i < p->n_inputs; i++) {
        const size_t align = ot_type_size(inputs[i].type);
        if (!inputs[i].data || (uintptr_t)inputs[i].data % (align ? align : 1))
            return ot_fail(err, OT_ERROR_ARGUMENT, "input '%s' has %s data",
                           g->value[g->input[i]].name, inputs[i].data ? "misaligned" : "no");
    }
    return OT_OK;
}

void ot_plan_results(const struct plan *p, ot_tensor *outputs, int n) {
    for (int i = 0; i < n; i++) {
        const struct tensor *t = &p->output[i]->t;
        outputs[i] = (ot_tensor){.type = t->type, .rank = t->rank, .data = t->data};
        memcpy(outputs[i].dim, t->dim, sizeof outputs[i].dim);
    }
}
