/* lower.c - the nodes of the graph become op_nodes of the plan, for concrete shapes.
 *
 * Nodes are taken in order, some as one operator with others (fuse.c), not those that only move a
 * sparse weight (moved.c); layout.c chooses between rows and lanes, values.c brings their inputs
 * there, node.c makes steps of them.
 */
#include "runtime/compile/lower.h"

#include <string.h>

#include "runtime/compile/fuse.h"
#include "runtime/compile/missed.h"
#include "runtime/compile/tail.h"
#include "runtime/compile/moved.h"

/* ---- one node ---- */

static ot_status find_inputs(struct plan *p, struct op_node *n, ot_error *err) {
    for (int i = 0; i < n->n_in; i++) {
        struct entry *e;
        if (n->node->in[i] < 0) continue;
        OT_TRY(ot_lower_value(p, n->node->in[i], &e, err));
        n->x[i] = &e->t;
    }
    return OT_OK;
}

/* For those who ask what became of the weights that value v is, or is made of. */
static void note_sparse(struct plan *p, int v, bool sparse) {
    const struct moved *m = p->moved[v] ? &p->moved[v]->from : NULL;
    for (int i = 0; i < (m ? m->n_origins : 1); i++) {
        const int k = p->parameter_of[m ? m->origin[i] : v];
        if (k >= 0) p->seen[k] = sparse ? OT_SEEN_SPARSE : OT_SEEN_DENSE;
    }
}

static ot_status choose_inputs(struct plan *p, struct op_node *n, struct lanes *lanes,
                               ot_error *err) {
    const struct node *node = n->node;
    struct entry *e;
    if (n->op->shape_only) return OT_OK;
    ot_layout_count_rows(p, n);
    ot_layout_choose_form(p, n);
    const struct lanes sparse = ot_layout_sparse_lanes(p, n);
    for (int i = 0; i < node->n_in; i++) {
        if (!n->x[i] || !n->x[i]->pattern || !ot_op_reads(n->op, i)) continue;
        const bool rows = ot_layout_sparse_rows(p, n, i);
        note_sparse(p, node->in[i], sparse.rank > 0 || rows);
        const bool live = i == 1 && n->form != OT_FORM_SPARSE;
        if (rows || live || (sparse.rank && ((n->op->sparse_in >> i) & 1))) continue;
        OT_TRY(ot_lower_densified(p, node->in[i], &e, err));
        n->x[i] = &e->t;
    }
    *lanes = ot_layout_of(p, n, sparse);
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] < 0 || !ot_op_reads(n->op, i)) continue;
        if (ot_is_fixed(n->x[i]) || ot_entry(n->x[i])->weight) continue;
        const bool rows = !lanes->rank || (i < 32 && n->op->rows_in >> i & 1);
        OT_TRY(rows ? ot_lower_rows(p, node->in[i], &e, err)
                    : ot_lower_lanes(p, node->in[i], *lanes, &e, err));
        n->x[i] = &e->t;
    }
    return OT_OK;
}

static ot_status add_outputs(struct plan *p, struct op_node *n, struct lanes lanes, ot_error *err) {
    const struct node *node = n->node;
    for (int j = 0; j < node->n_out; j++) {
        if (node->out[j] < 0) continue;
        const struct value *value = &p->graph->value[node->out[j]];
        struct entry *y = ot_plan_entry(p, value->name);
        if (!y) return ot_plan_no_memory(err);
        y->t.half = ot_half_of(value->type);
        /* statistics are vectors over channels, not over samples */
        const bool rows = !lanes.rank || (j > 0 && n->op->statistics);
        y->t.lanes = rows ? 0 : lanes.count;
        y->t.lane_rank = rows ? 0 : lanes.rank;
        (rows ? p->rows : p->lanes)[node->out[j]] = y;
        n->y[j] = &y->t;
    }
    return OT_OK;
}

/* taken: NULL for a node of the graph, the one with this index; else node stands for it and others,
 * and *taken tells whether its operator does not decline. */
static ot_status lower_node(struct plan *p, const struct node *node, int k, bool *taken,
                            ot_error *err) {
    struct plan_node *pn = ot_node_new(p, &p->arena, ot_op_of(node), node, k);
    if (!pn) return ot_plan_no_memory(err);
    struct op_node *n = &pn->n;
    struct lanes lanes = OT_ROWS;
    OT_TRY(find_inputs(p, n, err));
    ot_node_find_wants(n);
    if (taken) *taken = !n->op->fits || n->op->fits(n);
    if (taken && !*taken) return OT_OK;
    OT_TRY(choose_inputs(p, n, &lanes, err));
    OT_TRY(add_outputs(p, n, lanes, err));
    return ot_node_finish(p, pn, err);
}

/* A node that hands on its input: an activation that the loss skips, and what casts its result. */
static ot_status pass(struct plan *p, const struct node *node, ot_error *err) {
    struct entry *e;
    const int from = node->in[0], to = node->out[0];
    OT_TRY(ot_lower_value(p, from, &e, err));
    p->rows[to] = p->rows[from];
    p->lanes[to] = p->lanes[from];
    p->dense[to] = p->dense[from];
    return OT_OK;
}

/* Nodes that are fused run at the place of the last of them. */
static ot_status lower_nodes(struct plan *p, int k, bool *passed, ot_error *err) {
    const struct graph *g = p->graph;
    struct fusion *f = p->fused[k];
    bool taken = false;
    int broken = -1;
    if (passed[k] && !strcmp(g->node[k].op_type, "Softmax") && !ot_softmax_has_axis(p, k)) {
        memset(passed, 0, (size_t)g->n_nodes * sizeof *passed); /* the loss takes probabilities */
        p->is_skipped = false;
    }
    if (passed[k]) return pass(p, &g->node[k], err);
    if (f && f->member[f->n - 1] != k) return OT_OK;
    if (f && f->attention) OT_TRY(ot_attention_place(p, f->attention, &f->node, &broken, err));
    if (f && broken < 0) OT_TRY(lower_node(p, &f->node, k, &taken, err));
    if (taken) return OT_OK;
    if (f && f->attention)
        OT_TRY(ot_missed_attention(p, f->attention->softmax, broken,
                                   broken < 0 ? "has operands that do not fit"
                                              : "moves or masks elements in another way",
                                   err));
    if (!f) return lower_node(p, &g->node[k], k, NULL, err);
    for (int i = 0; i < f->n; i++) p->fused[f->member[i]] = f->instead ? f->instead[i] : NULL;
    for (int i = 0; i < f->n; i++) OT_TRY(lower_nodes(p, f->member[i], passed, err));
    return OT_OK;
}

/* ---- which nodes ---- */

/* needed[k]: node k computes something that leads to value v. Nodes stand in topological order. */
static void need(const struct plan *p, int v, bool *needed) {
    const int k = p->graph->value[v].producer;
    if (k >= 0 && !p->moved[v]) needed[k] = true;
}

static void close_needs(const struct plan *p, bool *needed) {
    const struct graph *g = p->graph;
    for (int k = g->n_nodes - 1; k >= 0; k--)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) need(p, g->node[k].in[i], needed);
}

static int loss_value(const struct plan *p) { return p->graph->output[p->request.loss_output]; }

static ot_status result(struct plan *p, int v, struct entry **e, ot_error *err) {
    return (ot_gradient_makes(p, v) ? ot_gradient_result : ot_lower_dense)(p, v, e, err);
}

static ot_status finish_results(struct plan *p, ot_error *err) {
    const struct graph *g = p->graph;
    if (!ot_plan_has_outputs(p->request.kind)) {
        OT_TRY(ot_lower_dense(p, loss_value(p), &p->logits, err));
        p->class_axis = ot_tail_axis(p);
        return ot_plan_expect_target(p, err);
    }
    p->n_outputs = g->n_outputs;
    p->output = ot_arena_alloc(&p->arena, (size_t)g->n_outputs, sizeof *p->output);
    p->output_gradient =
        ot_arena_alloc(&p->arena, (size_t)g->n_outputs, sizeof *p->output_gradient);
    if (!p->output || !p->output_gradient) return ot_plan_no_memory(err);
    for (int i = 0; i < g->n_outputs; i++) OT_TRY(result(p, g->output[i], &p->output[i], err));
    return OT_OK;
}

static bool stops_gradient(const struct op_node *n) {
    bool floats = false;
    for (int j = 0; j < n->n_out; j++) floats |= n->y[j] && n->y[j]->type == OT_FLOAT;
    for (int i = 0; i < n->n_in && !n->op->shape_only; i++) {
        struct entry *x = n->x[i] ? ot_entry(n->x[i]) : NULL;
        if (x && (x->no_gradient || (x->wants && !ot_op_carries(n->op, &x->t)))) return true;
    }
    return n->want && !n->op->backward && !n->op->view && floats;
}

/* Every node that stops a wanted gradient is logged; the first one is the error. */
static ot_status check_differentiable(const struct plan *p, ot_error *err) {
    int stops = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *n = &p->node[i]->n;
        if (!stops_gradient(n)) continue;
        ot_log(p->compiler.log, OT_LOG_WARNING,
               "node %d '%s' (%s) has no gradient: freeze the weights before it", n->index,
               n->node->name, n->op->name);
        if (!stops++)
            ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                       "the operator has no gradient; freeze the weights before it");
    }
    return stops ? OT_ERROR_UNSUPPORTED : OT_OK;
}

ot_status ot_lower(struct plan *p, ot_error *err) {
    const struct graph *g = p->graph;
    bool *needed = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof *needed);
    bool *passed = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof *passed);
    p->rows = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->rows);
    p->lanes = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->lanes);
    p->dense = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->dense);
    p->leads_to_lanes = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof(bool));
    if (!needed || !passed || !p->rows || !p->lanes || !p->dense || !p->leads_to_lanes)
        return ot_plan_no_memory(err);
    OT_TRY(ot_moved_choose(p, err));
    ot_layout_choose_lanes(p);
    ot_layout_find_ways(p);
    for (int i = 0; i < p->request.n_inputs; i++) p->rows[g->input[i]] = p->input_entry[i];
    if (ot_plan_has_outputs(p->request.kind))
        for (int i = 0; i < g->n_outputs; i++) need(p, g->output[i], needed);
    else
        need(p, loss_value(p), needed);
    close_needs(p, needed);
    int y; /* value that is differentiated: it has to exist */
    OT_TRY(ot_gradient_find(p, needed, &y, err));
    if (p->gradient) {
        need(p, y, needed);
        close_needs(p, needed);
    }
    OT_TRY(ot_gradient_sources(p, needed, err));
    if (!ot_plan_has_outputs(p->request.kind)) ot_tail_find(g, p->request.loss_output, &p->tail);
    p->skips = ot_plan_skips(p, p->request.loss_kind);
    if (p->skips) ot_tail_choose(p, needed, passed);
    p->is_skipped = p->skips && passed[p->tail.node[p->tail.n - 1]];
    OT_TRY(ot_fuse(p, needed, p->request.kind == OT_PLAN_RUN ? y : loss_value(p), err));
    for (int k = 0; k < g->n_nodes; k++)
        if (needed[k] && &g->node[k] != p->gradient) OT_TRY(lower_nodes(p, k, passed, err));
    if (!p->request.apart) OT_TRY(ot_missed_norms(p, needed, err));
    OT_TRY(finish_results(p, err));
    if (p->gradient) {
        OT_TRY(ot_lower_dense(p, y, &p->logits, err));
        OT_TRY(ot_gradient_check_y(p, err));
    }
    return check_differentiable(p, err);
}
