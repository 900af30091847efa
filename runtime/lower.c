/* lower.c - the nodes of the graph become op_nodes of the plan, for concrete shapes.
 *
 * Nodes are taken in order, some as one operator with others (fuse.c). A node whose inputs are all
 * constant runs at once and becomes a constant: that is how Shape, Gather, Concat and the like
 * disappear. A node with a sparse weight wants its activations in lanes; others follow their inputs
 * there if they can. Where layouts meet, an internal operator stands between: Reorder (rows <->
 * lanes) and Densify (a weight with a pattern, for a dense kernel). Both have gradients like any
 * operator.
 */
#include <string.h>

#include "runtime/base/pattern.h"
#include "runtime/fuse.h"
#include "runtime/session.h"

/* As many samples as convolutions take in rows: from there on 16 lanes cost less, though some of
 * them are spare. Measured on ResNet-18 and -50: a sample in rows costs 1/15 of 16 lanes. */
enum { FEW = 14 };

static ot_status no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}

/* ---- op_nodes ---- */

struct plan_node *ot_node_new(struct plan *p, const struct op *op, const struct node *node,
                              int index) {
    struct plan_node *pn = ot_arena_alloc(&p->arena, 1, sizeof *pn);
    if (!pn) return NULL;
    struct op_node *n = &pn->n;
    size_t in = (size_t)node->n_in, out = (size_t)node->n_out;
    struct tensor **pointers = ot_arena_alloc(&p->arena, 2 * (in + out), sizeof *pointers);
    void *state = ot_arena_alloc(&p->arena, 1, op->state_size);
    if (!pointers || !state) return NULL;
    *n = (struct op_node){.op = op,
                          .node = node,
                          .index = index,
                          .n_in = node->n_in,
                          .n_out = node->n_out,
                          .x = pointers,
                          .y = pointers + in,
                          .dx = pointers + in + out,
                          .dy = pointers + 2 * in + out,
                          .training = ot_plan_trains(p->kind),
                          .bn = p->session->options.bn,
                          .batch_from = p->batch_from,
                          .batch_to = p->batch_to,
                          .state = state,
                          .kernels = p->session->kernels,
                          .pool = p->session->pool,
                          .arena = &p->arena,
                          .context = &p->session->context};
    pn->save = pn->forward_scratch = pn->backward_scratch = -1;
    return pn;
}

static ot_status add_node(struct plan *p, struct plan_node *pn, ot_error *err) {
    if (p->n_nodes == p->node_capacity) {
        int capacity = p->node_capacity ? 2 * p->node_capacity : 64;
        struct plan_node **grown = ot_arena_alloc(&p->arena, (size_t)capacity, sizeof *grown);
        if (!grown) return no_memory(err);
        if (p->n_nodes) memcpy(grown, p->node, (size_t)p->n_nodes * sizeof *grown);
        p->node = grown;
        p->node_capacity = capacity;
    }
    p->node[p->n_nodes++] = pn;
    return OT_OK;
}

/* Gradients are wanted of inputs that lead to a trainable parameter. */
static void find_wants(struct op_node *n) {
    for (int i = 0; i < n->n_in; i++) {
        bool wants = n->x[i] && ot_op_carries(n->op, n->x[i]) && ot_entry(n->x[i])->wants;
        if (wants) n->want |= 1u << (i < 31 ? i : 31);
    }
}

/* ---- folding ---- */

static bool is_constant(const struct op_node *n) {
    if (n->op->shape_only) return true;
    if (n->op->random) return false;
    for (int i = 0; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->role != OT_ROLE_CONST) return false;
    return n->n_in > 0;
}

static ot_status no_room(const struct plan *p, const struct op_node *n, size_t bytes,
                         ot_error *err) {
    if (bytes < p->arena.budget - p->arena.used) return no_memory(err);
    return ot_op_fail(n, err, OT_ERROR_LIMIT, "a constant of %zu bytes; the memory limit is %zu",
                      bytes, p->arena.budget);
}

static ot_status fold(struct plan *p, struct op_node *n, ot_error *err) {
    bool derived = n->op->shape_only && n->x[0]->role != OT_ROLE_CONST;
    for (int i = 0; i < n->n_in; i++) derived |= n->x[i] && n->x[i]->derived;
    for (int j = 0; j < n->n_out; j++) {
        if (!n->y[j]) continue;
        n->y[j]->role = OT_ROLE_CONST;
        n->y[j]->derived = derived;
        n->y[j]->data =
            n->op->view ? n->x[0]->data : ot_arena_alloc(&p->arena, 1, ot_bytes(n->y[j]));
        if (!n->y[j]->data) return no_room(p, n, ot_bytes(n->y[j]), err);
    }
    n->save = ot_arena_alloc(&p->arena, 1, n->save_size);
    n->scratch = ot_arena_alloc(&p->arena, 1, n->forward_scratch_size);
    if (!n->save || !n->scratch) return no_memory(err);
    if (n->op->view) return OT_OK;
    n->op->forward(n);
    return ot_op_fault(n, err);
}

/* ---- from a prepared node to a step ---- */

static ot_status place_outputs(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    pn->is_view = n->op->view;
    for (int j = 0; j < n->n_out; j++) {
        if (!n->y[j]) continue;
        struct entry *y = ot_entry(n->y[j]);
        bool leads = n->want && n->op->backward && ot_op_carries(n->op, &y->t);
        y->wants = leads && (j == 0 || n->op->max_out < 0 || n->op->all_outputs);
        y->cut = leads && !y->wants;
        if (pn->is_view) {
            struct entry *x = ot_entry(n->x[0]);
            y->view = x->view ? x->view : x;
            y->t.role = x->t.role == OT_ROLE_PARAM ? OT_ROLE_PARAM : OT_ROLE_ACTIVATION;
            y->t.data = x->t.data;
        } else if ((y->buffer = ot_plan_buffer(p, ot_bytes(&y->t))) < 0) {
            return no_memory(err);
        }
    }
    if ((n->save_size && (pn->save = ot_plan_buffer(p, n->save_size)) < 0) ||
        (n->forward_scratch_size &&
         (pn->forward_scratch = ot_plan_buffer(p, n->forward_scratch_size)) < 0) ||
        (n->want && n->backward_scratch_size &&
         (pn->backward_scratch = ot_plan_buffer(p, n->backward_scratch_size)) < 0))
        return no_memory(err);
    return OT_OK;
}

ot_status ot_node_prepare(struct plan *p, struct plan_node *pn, ot_error *err) {
    find_wants(&pn->n);
    OT_TRY(pn->n.op->prepare(&pn->n, err));
    return place_outputs(p, pn, err);
}

static ot_status finish_node(struct plan *p, struct plan_node *pn, ot_error *err) {
    struct op_node *n = &pn->n;
    OT_TRY(add_node(p, pn, err)); /* from here on the plan releases it */
    OT_TRY(n->op->prepare(n, err));
    if (is_constant(n)) return fold(p, n, err);
    OT_TRY(place_outputs(p, pn, err));
    if (pn->is_view) return OT_OK;
    return ot_plan_step(p, (struct step){.kind = OT_STEP_FORWARD, .node = n}, err);
}

/* ---- what a value is in each layout ---- */

/* rank 0: rows */
struct lanes {
    int count, rank;
};

static const struct lanes ROWS = {0, 0};

static bool same_lanes(const struct tensor *t, struct lanes lanes) {
    return t->lanes == lanes.count && t->lane_rank == lanes.rank;
}

/* An internal operator with one input and one output. */
static ot_status insert(struct plan *p, const char *op_type, struct entry *from,
                        struct lanes lanes, struct entry **to, ot_error *err) {
    struct node *node = ot_arena_alloc(&p->arena, 1, sizeof *node);
    struct entry *y = ot_plan_entry(p, from->name);
    if (!node || !y) return no_memory(err);
    *node =
        (struct node){.name = from->name, .op_type = op_type, .domain = "", .n_in = 1, .n_out = 1};
    struct plan_node *pn = ot_node_new(p, ot_op_find(op_type), node, -1);
    if (!pn) return no_memory(err);
    y->weight = from->weight;
    y->t.lanes = lanes.count;
    y->t.lane_rank = lanes.rank;
    pn->n.x[0] = &from->t;
    pn->n.y[0] = &y->t;
    find_wants(&pn->n);
    *to = y;
    return finish_node(p, pn, err);
}

/* A value that no node computes: input, parameter or constant. */
static ot_status source(struct plan *p, int v, ot_error *err) {
    struct ot_session *s = p->session;
    const struct value *value = &s->graph->value[v];
    struct entry *e = ot_plan_entry(p, value->name);
    if (!e) return no_memory(err);
    int k = s->parameter_of[v];
    if (k >= 0) {
        const struct parameter *w = &s->parameter[k];
        e->t = w->t;
        e->parameter = k;
        e->weight = true;
        e->wants = ot_plan_trains(p->kind) && w->trainable && !w->is_statistic &&
                   !(w->is_norm && s->options.bn == OT_BN_FROZEN);
    } else if (value->constant) {
        e->t = *value->constant;
        e->t.role = OT_ROLE_CONST;
    } else {
        return ot_fail(err, OT_ERROR_INVALID, "value '%s' is used before it is computed",
                       value->name);
    }
    p->rows[v] = e;
    return OT_OK;
}

/* The value in whatever layout it has. */
static ot_status any_layout(struct plan *p, int v, struct entry **e, ot_error *err) {
    if (!p->rows[v] && !p->lanes[v]) OT_TRY(source(p, v, err));
    *e = p->lanes[v] ? p->lanes[v] : p->rows[v];
    return OT_OK;
}

static ot_status in_rows(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(any_layout(p, v, e, err));
    if (!p->rows[v]) OT_TRY(insert(p, "Reorder", p->lanes[v], ROWS, &p->rows[v], err));
    *e = p->rows[v];
    return OT_OK;
}

static ot_status in_lanes(struct plan *p, int v, struct lanes lanes, struct entry **e,
                          ot_error *err) {
    OT_TRY(any_layout(p, v, e, err));
    if ((*e)->t.role == OT_ROLE_CONST || (*e)->t.role == OT_ROLE_PARAM) return OT_OK;
    if (p->lanes[v] && !same_lanes(&p->lanes[v]->t, lanes)) {
        OT_TRY(in_rows(p, v, e, err));
        p->lanes[v] = NULL;
    }
    if (!p->lanes[v])
        OT_TRY(insert(p, "Reorder", p->rows[v], lanes, &p->lanes[v], err));
    *e = p->lanes[v];
    return OT_OK;
}

/* A weight with a pattern as a dense tensor. */
static ot_status densified(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(any_layout(p, v, e, err));
    if (!(*e)->t.pattern) return OT_OK;
    if (!p->dense[v]) OT_TRY(insert(p, "Densify", *e, ROWS, &p->dense[v], err));
    *e = p->dense[v];
    return OT_OK;
}

/* ---- the layout of a node ---- */

/* Shapes aside: may sparse kernels be taken for this weight? */
static bool sparse_likely(const struct ot_session *s, const struct pattern *pattern) {
    if (s->options.sparse == OT_SPARSE_ALWAYS) return true;
    return s->options.sparse == OT_SPARSE_AUTO && ot_pattern_is_sparse(pattern);
}

/* Are they taken for x[i] in these lanes (0: in rows)? */
static bool sparse_pays(const struct plan *p, const struct op_node *n, int i, int lanes) {
    const ot_sparse_mode mode = p->session->options.sparse;
    return mode == OT_SPARSE_AUTO ? ot_op_sparse_pays(n, i, lanes) : mode == OT_SPARSE_ALWAYS;
}

/* What does not change stays in rows. */
static bool moves(const struct op_node *n) {
    return n->n_in && n->x[0] &&
           (n->x[0]->role == OT_ROLE_ACTIVATION || n->x[0]->role == OT_ROLE_INPUT);
}

/* Does x[i], which has a pattern, keep it though the node runs in rows? */
static bool sparse_in_rows(const struct plan *p, const struct op_node *n, int i) {
    const struct ot_session *s = p->session;
    if (!n->op->sparse_rows || s->options.sparse == OT_SPARSE_NEVER) return false;
    return (n->op->any_density || sparse_pays(p, n, i, 0)) && n->op->sparse_rows(n, i);
}

/* The lanes in which the node runs on its sparse weight; rows: it does not. */
static struct lanes sparse_lanes(const struct plan *p, const struct op_node *n) {
    if (!moves(n)) return ROWS;
    for (int i = 0; i < n->n_in; i++) {
        if (!n->x[i] || !n->x[i]->pattern || !((n->op->sparse_in >> i) & 1)) continue;
        if (!sparse_pays(p, n, i, p->lane_count)) continue;
        if (p->few_samples && sparse_in_rows(p, n, i)) continue;
        for (int rank = 1; rank < n->x[0]->rank; rank++)
            if (ot_op_lanes(n, p->lane_count, rank)) return (struct lanes){p->lane_count, rank};
    }
    return ROWS;
}

/* The lanes of inputs that are there already, if the node can stay there. */
static struct lanes inherited_lanes(const struct op_node *n) {
    for (int i = 0; i < n->n_in; i++) {
        const struct tensor *x = n->x[i];
        if (x && x->lanes && ot_op_lanes(n, x->lanes, x->lane_rank))
            return (struct lanes){x->lanes, x->lane_rank};
    }
    return ROWS;
}

/* In a network of convolutions a node before the first sparse one goes into lanes ahead of it. */
static struct lanes lanes_ahead(const struct plan *p, const struct op_node *n) {
    if (p->lane_count != OT_CONV_LANES || p->few_samples) return ROWS;
    if (n->index < 0 || !p->leads_to_lanes[n->index]) return ROWS;
    return moves(n) && ot_op_lanes(n, p->lane_count, 1) ? (struct lanes){p->lane_count, 1} : ROWS;
}

/* A product with a dense weight goes into lanes of channels where it can. */
static struct lanes dense_lanes(const struct op_node *n) {
    const struct lanes channels = {n->op->channel_lanes, 2};
    return moves(n) && n->op->sparse_in && channels.count && ot_op_lanes(n, channels.count, 2)
               ? channels : ROWS;
}

static struct lanes lanes_of(const struct plan *p, const struct op_node *n, struct lanes sparse) {
    if (sparse.rank) return sparse;
    struct lanes lanes = inherited_lanes(n);
    if (!lanes.rank) lanes = lanes_ahead(p, n);
    return lanes.rank ? lanes : dense_lanes(n);
}

static ot_status find_inputs(struct plan *p, struct op_node *n, ot_error *err) {
    for (int i = 0; i < n->n_in; i++) {
        struct entry *e;
        if (n->node->in[i] < 0) continue;
        OT_TRY(any_layout(p, n->node->in[i], &e, err));
        n->x[i] = &e->t;
    }
    return OT_OK;
}

static ot_status choose_inputs(struct plan *p, struct op_node *n, struct lanes *lanes,
                               ot_error *err) {
    const struct node *node = n->node;
    struct entry *e;
    if (n->op->shape_only) return OT_OK;
    const struct lanes sparse = sparse_lanes(p, n);
    for (int i = 0; i < node->n_in; i++) {
        if (!n->x[i] || !n->x[i]->pattern) continue;
        const int k = ot_entry(n->x[i])->parameter;
        const bool rows = sparse_in_rows(p, n, i);
        if (k >= 0) p->session->parameter[k].is_sparse = sparse.rank > 0 || rows;
        if (rows || (sparse.rank && ((n->op->sparse_in >> i) & 1))) continue;
        OT_TRY(densified(p, node->in[i], &e, err));
        n->x[i] = &e->t;
    }
    *lanes = lanes_of(p, n, sparse);
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] < 0 || n->x[i]->role == OT_ROLE_PARAM || n->x[i]->role == OT_ROLE_CONST)
            continue;
        if (p->dense[node->in[i]] && n->x[i] == &p->dense[node->in[i]]->t) continue;
        OT_TRY(lanes->rank ? in_lanes(p, node->in[i], *lanes, &e, err)
                           : in_rows(p, node->in[i], &e, err));
        n->x[i] = &e->t;
    }
    return OT_OK;
}

static ot_status add_outputs(struct plan *p, struct op_node *n, struct lanes lanes,
                             ot_error *err) {
    const struct node *node = n->node;
    for (int j = 0; j < node->n_out; j++) {
        if (node->out[j] < 0) continue;
        struct entry *y = ot_plan_entry(p, p->session->graph->value[node->out[j]].name);
        if (!y) return no_memory(err);
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
    struct plan_node *pn = ot_node_new(p, ot_op_of(node), node, k);
    if (!pn) return no_memory(err);
    struct op_node *n = &pn->n;
    struct lanes lanes = ROWS;
    OT_TRY(find_inputs(p, n, err));
    find_wants(n);
    if (taken) *taken = !n->op->fits || n->op->fits(n);
    if (taken && !*taken) return OT_OK;
    OT_TRY(choose_inputs(p, n, &lanes, err));
    OT_TRY(add_outputs(p, n, lanes, err));
    return finish_node(p, pn, err);
}

/* Nodes that are fused run at the place of the last of them. */
static ot_status lower_nodes(struct plan *p, int k, ot_error *err) {
    const struct graph *g = p->session->graph;
    const struct fusion *f = p->fused[k];
    bool taken = false;
    if (f && f->member[f->n - 1] != k) return OT_OK;
    if (f) OT_TRY(lower_node(p, &f->node, k, &taken, err));
    if (taken) return OT_OK;
    if (!f) return lower_node(p, &g->node[k], k, NULL, err);
    for (int i = 0; i < f->n; i++)
        OT_TRY(lower_node(p, &g->node[f->member[i]], f->member[i], NULL, err));
    return OT_OK;
}

/* ---- which nodes ---- */

/* needed[k]: node k computes something that leads to value v. Nodes stand in topological order. */
static void need(const struct graph *g, int v, bool *needed) {
    if (g->value[v].producer >= 0) needed[g->value[v].producer] = true;
}

static void close_needs(const struct graph *g, bool *needed) {
    for (int k = g->n_nodes - 1; k >= 0; k--)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) need(g, g->node[k].in[i], needed);
}

/* leads_to_lanes[k]: what node k computes reaches a sparse weight through operators that know
 * lanes. Shapes are not known yet, so this is a wish; the node itself decides. */
static void find_ways_to_lanes(struct plan *p) {
    const struct graph *g = p->session->graph;
    for (int k = g->n_nodes - 1; k >= 0; k--) {
        const struct node *node = &g->node[k];
        const struct op *op = ot_op_of(node);
        bool sparse = false;
        for (int i = 0; i < node->n_in && i < 32; i++) {
            int w = node->in[i] < 0 ? -1 : p->session->parameter_of[node->in[i]];
            const struct pattern *pattern = w < 0 ? NULL : p->session->parameter[w].t.pattern;
            sparse |= pattern && (op->sparse_in >> i & 1) && sparse_likely(p->session, pattern);
        }
        if (!sparse && !(op->lanes && p->leads_to_lanes[k])) continue;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] >= 0 && g->value[node->in[i]].producer >= 0)
                p->leads_to_lanes[g->value[node->in[i]].producer] = true;
    }
}

/* The value that the loss looks at: cross entropy wants what goes into a final Softmax. */
static int loss_value(const struct ot_session *s) {
    const struct graph *g = s->graph;
    int v = g->output[s->loss_output], k = g->value[v].producer;
    bool softmax = k >= 0 && !strcmp(g->node[k].op_type, "Softmax");
    return s->loss.kind == OT_LOSS_CROSS_ENTROPY && softmax ? g->node[k].in[0] : v;
}

static bool has_sparse(const struct ot_session *s, const char *op) {
    for (int i = 0; i < s->n_parameters; i++)
        if (s->parameter[i].t.pattern && !strcmp(s->parameter[i].op, op)) return true;
    return false;
}

/* Convolutions take one vector of samples a pixel, or with few samples vectors of pixels, in rows;
 * a network of linear layers takes wide blocks. A MatMul works on tokens: of numbers
 * [batch, tokens] or of vectors [batch, tokens, features]. */
static void choose_lanes(struct plan *p) {
    const struct ot_session *s = p->session;
    const ot_tensor *in = p->n_inputs ? &p->input[0] : NULL;
    int64_t samples = in && in->rank ? in->dim[0] : 1;
    if (has_sparse(s, "Conv") || has_sparse(s, "ConvTranspose")) {
        p->lane_count = OT_CONV_LANES;
        p->few_samples = samples <= FEW;
        return;
    }
    const bool tokens = in && has_sparse(s, "MatMul");
    if (tokens && in->rank == (in->type == OT_FLOAT ? 3 : 2)) samples *= in->dim[1];
    p->lane_count =
        samples > 112 ? 128 : 16 * (int)((samples + 15) / 16 > 0 ? (samples + 15) / 16 : 1);
}

/* In rows, a weight with its zeros. */
static ot_status result(struct plan *p, int v, struct entry **e, ot_error *err) {
    OT_TRY(in_rows(p, v, e, err));
    return (*e)->t.pattern ? densified(p, v, e, err) : OT_OK;
}

static ot_status finish_results(struct plan *p, ot_error *err) {
    const struct graph *g = p->session->graph;
    if (!ot_plan_has_outputs(p->kind)) {
        OT_TRY(result(p, loss_value(p->session), &p->logits, err));
        return ot_loss_target(&p->session->loss, &p->logits->t, &p->target, err);
    }
    p->n_outputs = g->n_outputs;
    p->output = ot_arena_alloc(&p->arena, (size_t)g->n_outputs, sizeof *p->output);
    p->output_gradient =
        ot_arena_alloc(&p->arena, (size_t)g->n_outputs, sizeof *p->output_gradient);
    if (!p->output || !p->output_gradient) return no_memory(err);
    for (int i = 0; i < g->n_outputs; i++) OT_TRY(result(p, g->output[i], &p->output[i], err));
    return OT_OK;
}

static bool stops_gradient(const struct op_node *n) {
    bool floats = false;
    for (int j = 0; j < n->n_out; j++) floats |= n->y[j] && n->y[j]->type == OT_FLOAT;
    for (int i = 0; i < n->n_in && !n->op->shape_only; i++) {
        struct entry *x = n->x[i] ? ot_entry(n->x[i]) : NULL;
        if (x && (x->cut || (x->wants && !ot_op_carries(n->op, &x->t)))) return true;
    }
    return n->want && !n->op->backward && !n->op->view && floats;
}

/* Every node that stops a wanted gradient is logged; the first one is the error. */
static ot_status check_differentiable(const struct plan *p, ot_error *err) {
    int stops = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *n = &p->node[i]->n;
        if (!stops_gradient(n)) continue;
        ot_log(&p->session->log, OT_LOG_WARNING,
               "node %d '%s' (%s) has no gradient: freeze the weights before it", n->index,
               n->node->name, n->op->name);
        if (!stops++)
            ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                       "has no gradient; freeze the weights before it");
    }
    return stops ? OT_ERROR_UNSUPPORTED : OT_OK;
}

ot_status ot_lower(struct plan *p, ot_error *err) {
    const struct graph *g = p->session->graph;
    bool *needed = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof *needed);
    p->rows = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->rows);
    p->lanes = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->lanes);
    p->dense = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *p->dense);
    p->leads_to_lanes = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof(bool));
    if (!needed || !p->rows || !p->lanes || !p->dense || !p->leads_to_lanes) return no_memory(err);
    choose_lanes(p);
    find_ways_to_lanes(p);
    for (int i = 0; i < p->n_inputs; i++) p->rows[g->input[i]] = p->input_entry[i];
    if (ot_plan_has_outputs(p->kind))
        for (int i = 0; i < g->n_outputs; i++) need(g, g->output[i], needed);
    else
        need(g, loss_value(p->session), needed);
    close_needs(g, needed);
    OT_TRY(ot_fuse(p, needed, p->kind == OT_PLAN_RUN ? -1 : loss_value(p->session), err));
    for (int k = 0; k < g->n_nodes; k++)
        if (needed[k]) OT_TRY(lower_nodes(p, k, err));
    OT_TRY(finish_results(p, err));
    return check_differentiable(p, err);
}
