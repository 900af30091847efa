/* node.c - an op_node from its making to its step in the plan. A node whose inputs are all constant
 * runs at once and becomes a constant: that is how Shape, Gather, Concat and the like disappear. */
#include "runtime/compile/lower.h"

#include <string.h>

struct plan_node *ot_node_new(struct plan *p, struct arena *arena, const struct op *op,
                              const struct node *node, int index) {
    struct plan_node *pn = ot_arena_alloc(arena, 1, sizeof *pn);
    if (!pn) return NULL;
    struct op_node *n = &pn->n;
    size_t in = (size_t)node->n_in, out = (size_t)node->n_out;
    struct tensor **pointers = ot_arena_alloc(arena, 2 * (in + out), sizeof *pointers);
    void *plan = ot_arena_alloc(arena, 1, op->plan_size);
    if (!pointers || !plan) return NULL;
    *n = (struct op_node){.op = op,
                          .node = node,
                          .index = index,
                          .n_in = node->n_in,
                          .n_out = node->n_out,
                          .x = pointers,
                          .y = pointers + in,
                          .dx = pointers + in + out,
                          .dy = pointers + 2 * in + out,
                          .training = ot_plan_trains(p->request.kind),
                          .patterns_change = p->request.patterns_change,
                          .bn = p->request.bn,
                          .batch_from = p->batch_from,
                          .batch_to = p->batch_to,
                          .plan = plan,
                          .kernels = p->request.kernels,
                          .pool = p->compiler.pool,
                          .workers = p->request.workers,
                          .arena = arena};
    pn->save = pn->forward_scratch = pn->backward_scratch = pn->probe_scratch = -1;
    return pn;
}

static ot_status add_node(struct plan *p, struct plan_node *pn, ot_error *err) {
    if (p->n_nodes == p->node_capacity) {
        int capacity = p->node_capacity ? 2 * p->node_capacity : 64;
        struct plan_node **grown = ot_arena_alloc(&p->arena, (size_t)capacity, sizeof *grown);
        if (!grown) return ot_plan_no_memory(err);
        if (p->n_nodes) memcpy(grown, p->node, (size_t)p->n_nodes * sizeof *grown);
        p->node = grown;
        p->node_capacity = capacity;
    }
    p->node[p->n_nodes++] = pn;
    return OT_OK;
}

void ot_node_find_wants(struct op_node *n) {
    for (int i = 0; i < n->n_in; i++) {
        bool wants = n->x[i] && ot_op_carries(n->op, n->x[i]) && ot_entry(n->x[i])->wants;
        if (wants && ot_op_reads(n->op, i)) n->want |= 1u << (i < 31 ? i : 31);
    }
}

/* ---- folding ---- */

static bool is_constant(const struct op_node *n) {
    if (n->op->shape_only) return true;
    if (n->op->random) return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->role != OT_ROLE_CONST && ot_op_reads(n->op, i)) return false;
    return n->n_in > 0;
}

static ot_status no_room(const struct op_node *n, size_t bytes, ot_error *err) {
    if (bytes < n->arena->budget - n->arena->used) return ot_plan_no_memory(err);
    return ot_op_fail(n, err, OT_ERROR_LIMIT,
                      "the constant needs %zu bytes, but the memory limit is %zu", bytes,
                      n->arena->budget);
}

ot_status ot_node_fold(struct op_node *n, ot_error *err) {
    bool derived = n->op->shape_only && n->x[0]->role != OT_ROLE_CONST;
    for (int i = 0; i < n->n_in; i++) derived |= n->x[i] && n->x[i]->derived;
    for (int j = 0; j < n->n_out; j++) {
        if (!n->y[j]) continue;
        n->y[j]->role = OT_ROLE_CONST;
        n->y[j]->derived = derived;
        n->y[j]->data =
            n->op->view ? n->x[0]->data : ot_arena_alloc(n->arena, 1, ot_bytes(n->y[j]));
        if (!n->y[j]->data) return no_room(n, ot_bytes(n->y[j]), err);
    }
    n->save = ot_arena_alloc(n->arena, 1, n->save_size);
    n->scratch = ot_arena_alloc(n->arena, 1, n->forward_scratch_size);
    if (!n->save || !n->scratch) return ot_plan_no_memory(err);
    if (n->op->view) return OT_OK;
    ot_status status = ot_op_open(n, n->arena, err);
    if (!status) n->op->forward(n);
    ot_op_close(n);
    return status ? status : ot_op_fault(n, err);
}

/* ---- from a prepared node to a step ---- */

static ot_status place_outputs(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    pn->is_view = n->op->view;
    for (int j = 0; j < n->n_out; j++) {
        if (!n->y[j]) continue;
        struct entry *y = ot_entry(n->y[j]);
        bool leads = n->want && n->op->backward && ot_op_leads(n, j);
        y->wants = leads && (j == 0 || n->op->max_out < 0 || n->op->all_outputs);
        y->no_gradient = leads && !y->wants;
        if (pn->is_view) {
            struct entry *x = ot_entry(n->x[0]);
            y->view = x->view ? x->view : x;
            y->t.role = x->t.role == OT_ROLE_PARAM ? OT_ROLE_PARAM : OT_ROLE_ACTIVATION;
            y->t.data = x->t.data;
        } else if ((y->buffer = ot_plan_buffer(p, ot_bytes(&y->t))) < 0) {
            return ot_plan_no_memory(err);
        }
    }
    if ((n->save_size && (pn->save = ot_plan_buffer(p, n->save_size)) < 0) ||
        (n->forward_scratch_size &&
         (pn->forward_scratch = ot_plan_buffer(p, n->forward_scratch_size)) < 0) ||
        (n->want && n->backward_scratch_size &&
         (pn->backward_scratch = ot_plan_buffer(p, n->backward_scratch_size)) < 0))
        return ot_plan_no_memory(err);
    return OT_OK;
}

ot_status ot_node_prepare(struct plan *p, struct plan_node *pn, ot_error *err) {
    ot_node_find_wants(&pn->n);
    OT_TRY(pn->n.op->prepare(&pn->n, err));
    return place_outputs(p, pn, err);
}

ot_status ot_node_finish(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    OT_TRY(add_node(p, pn, err)); /* from here on the plan releases it */
    OT_TRY(n->op->prepare(n, err));
    if (is_constant(n)) return ot_node_fold(n, err);
    OT_TRY(place_outputs(p, pn, err));
    if (pn->is_view) return OT_OK;
    return ot_plan_step(p, (struct step){.kind = OT_STEP_FORWARD, .node = n}, err);
}
