/* unroll.c - the graph of a plan: the model's with every loop unrolled.
 *
 * Nodes are copied in their order; where a Loop or Scan stands, those of its body once an
 * iteration, with values of their own. What no iteration changes is computed in the first. Values
 * of the model's graph keep their numbers, so weights, inputs and outputs stay what they were.
 * How often a loop runs is asked of shapes and constants (known.h) when it is reached.
 */
#include "runtime/compile/unroll.h"

#include <string.h>

/* ---- what varies ---- */

static void find_variation(struct unroller *u) {
    const struct graph *g = u->file;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *n = &g->node[k];
        for (int i = 0; n->body && i < n->body->n_in; i++) u->varies[n->body->in[i]] = true;
    }
    for (int k = g->n_nodes; k < g->all_nodes; k++) {
        const struct node *n = &g->node[k];
        const struct op *op = ot_op_of(n);
        bool varies = n->body || !op || op->random;
        for (int i = 0; i < n->n_in; i++) {
            const int v = n->in[i], from = v < 0 ? -1 : g->value[v].producer;
            if (v < 0 || !u->varies[v]) continue;
            /* formal inputs, and what nodes of the same body make of them */
            varies |= from < 0 || g->node[from].in_body == n->in_body;
        }
        for (int j = 0; j < n->n_out; j++)
            if (n->out[j] >= 0) u->varies[n->out[j]] = varies;
    }
}

static bool is_invariant(const struct unroller *u, const struct node *n) {
    bool varies = !n->n_out;
    for (int j = 0; j < n->n_out; j++) varies |= n->out[j] >= 0 && u->varies[n->out[j]];
    return u->depth && u->level[u->depth - 1].i > 0 && !varies;
}

/* ---- nodes of the file ---- */

static ot_status copy_node(struct unroller *u, const struct node *n) {
    if (!u->depth)
        return ot_unroll_add(u, *n, n->in, n->out); /* all its values are the graph's own */
    bool taken;
    if (is_invariant(u, n)) return OT_OK;
    OT_TRY(ot_unroll_gather(u, n, &taken));
    if (taken) return OT_OK;
    int *in = ot_unroll_take(u, n->n_in + n->n_out, sizeof *in), *out = in + n->n_in;
    if (!in) return ot_unroll_no_memory(u);
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] < 0 ? -1 : u->map[n->in[i]];
    for (int j = 0; j < n->n_out; j++) OT_TRY(ot_unroll_define(u, n->out[j], &out[j]));
    return ot_unroll_add(u, *n, in, out);
}

/* ---- a Loop's trip count ---- */

static ot_status ask_condition(struct unroller *u, struct level *l, int v) {
    int64_t number = 1;
    bool known = true;
    if (v >= 0 && v != l->yes) OT_TRY(ot_known_number(&u->known, v, &number, &known, u->err));
    if (!known)
        return ot_unroll_fail(u, l->loop, OT_ERROR_UNSUPPORTED, "the condition depends on data");
    l->goes_on = number != 0;
    return OT_OK;
}

static ot_status begin_loop(struct unroller *u, struct level *l, const int *in) {
    bool known = true;
    l->count = INT64_MAX;
    if (in[0] >= 0) OT_TRY(ot_known_number(&u->known, in[0], &l->count, &known, u->err));
    if (!known)
        return ot_unroll_fail(u, l->loop, OT_ERROR_UNSUPPORTED, "the trip count depends on data");
    OT_TRY(ot_unroll_number(u, &u->file->value[l->loop->body->in[1]], OT_BOOL, 1, &l->yes));
    return ask_condition(u, l, in[1]);
}

/* ---- iterations ---- */

static ot_status begin_iteration(struct unroller *u, struct level *l) {
    const struct body *b = l->loop->body;
    const struct loop_form *f = &l->form;
    l->next = b->first_node;
    u->iterations++;
    OT_TRY(ot_unroll_check_room(u));
    if (!f->scan) {
        OT_TRY(ot_unroll_number(u, &u->file->value[b->in[0]], OT_INT64, l->i, &u->map[b->in[0]]));
        u->map[b->in[1]] = l->yes;
    }
    for (int k = 0; k < f->carried; k++) u->map[b->in[f->first_formal + k]] = l->state[k];
    for (int k = 0; k < f->sliced; k++)
        u->map[b->in[f->carried + k]] = l->slice[k * l->count + l->i];
    return OT_OK;
}

/* Room for the results of one more iteration. */
static ot_status need_stack(struct unroller *u, struct level *l) {
    const int width = l->form.stacked;
    if (l->i < l->stack_room || !width) return OT_OK;
    const int64_t more = 2 * l->stack_room + 16;
    int *stack = ot_unroll_take(u, more * width, sizeof *stack);
    if (!stack) return ot_unroll_no_memory(u);
    if (l->i) memcpy(stack, l->stack, (size_t)l->i * (size_t)width * sizeof *stack);
    l->stack = stack;
    l->stack_room = more;
    return OT_OK;
}

static ot_status end_iteration(struct unroller *u, struct level *l) {
    const struct loop_form *f = &l->form;
    const int *out = l->loop->body->out;
    OT_TRY(need_stack(u, l));
    for (int k = 0; k < f->carried; k++) l->after[k] = u->map[out[f->first_result + k]];
    for (int k = 0; k < f->stacked; k++)
        l->stack[l->i * f->stacked + k] = u->map[out[f->first_result + f->carried + k]];
    if (!f->scan) OT_TRY(ask_condition(u, l, u->map[out[0]]));
    memcpy(l->state, l->after, (size_t)f->carried * sizeof *l->state);
    l->i++;
    return OT_OK;
}

/* ---- results ---- */

/* The walk goes on behind the loop. */
static ot_status leave_loop(struct unroller *u) {
    const struct level l = u->level[--u->depth];
    u->p->ordered |= l.i == ot_batch_of(u->p->request.input, u->p->request.n_inputs);
    for (int k = 0; k < l.loop->n_out; k++) {
        const int v = l.loop->out[k];
        int y;
        if (v < 0) continue;
        if (k >= l.form.carried) {
            OT_TRY(ot_unroll_stack(u, &l, k - l.form.carried, v));
            continue;
        }
        OT_TRY(ot_unroll_define(u, v, &y));
        OT_TRY(ot_unroll_made(u, "Identity", l.loop->name, NULL, 0, &l.state[k], 1, y));
    }
    return OT_OK;
}

/* ---- the walk ---- */

static ot_status enter_loop(struct unroller *u, const struct node *n) {
    struct level l = {.loop = n, .yes = -1};
    if (u->depth == OT_MOST_NESTED)
        return ot_unroll_fail(u, n, OT_ERROR_LIMIT, "the loops are nested too deeply");
    OT_TRY(ot_loop_form(n, &l.form, u->err));
    int *in = ot_unroll_take(u, n->n_in, sizeof *in);
    l.state = ot_unroll_take(u, l.form.carried, sizeof *l.state);
    l.after = ot_unroll_take(u, l.form.carried, sizeof *l.after);
    if (!in || !l.state || !l.after) return ot_unroll_no_memory(u);
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] < 0 ? -1 : u->map[n->in[i]];
    for (int k = 0; k < l.form.carried; k++) l.state[k] = in[l.form.first_input + k];
    if (l.form.scan)
        OT_TRY(ot_unroll_scan(u, &l, in + l.form.carried));
    else
        OT_TRY(begin_loop(u, &l, in));
    l.next = n->body->end;
    l.i = -1; /* its first iteration begins as the others do, behind one that is done */
    u->level[u->depth++] = l;
    return OT_OK;
}

/* At the end of a body: on to the next iteration, or behind the loop. */
static ot_status end_of_body(struct unroller *u) {
    struct level *l = &u->level[u->depth - 1];
    if (l->i < 0)
        l->i = 0;
    else
        OT_TRY(end_iteration(u, l));
    return l->goes_on && l->i < l->count ? begin_iteration(u, l) : leave_loop(u);
}

static ot_status unroll_nodes(struct unroller *u) {
    for (int k = 0; k < u->file->n_nodes || u->depth;) {
        struct level *l = u->depth ? &u->level[u->depth - 1] : NULL;
        if (l && l->next == l->loop->body->end) {
            OT_TRY(end_of_body(u));
            continue;
        }
        const struct node *n = &u->file->node[l ? l->next++ : k++];
        OT_TRY(n->body ? enter_loop(u, n) : copy_node(u, n));
    }
    return OT_OK;
}

/* ---- the plan's graph ---- */

static ot_status begin_graph(struct unroller *u) {
    const struct graph *file = u->file;
    const size_t values = (size_t)file->n_values;
    struct graph *g = u->g = ot_unroll_take(u, 1, sizeof *g);
    u->value_room = file->n_values + 64;
    u->node_room = file->all_nodes + 64;
    u->map = ot_unroll_take(u, file->n_values, sizeof *u->map);
    u->varies = ot_unroll_take(u, file->n_values, sizeof *u->varies);
    if (!g || !u->map || !u->varies) return ot_unroll_no_memory(u);
    *g = *file;
    g->n_nodes = g->all_nodes = 0;
    g->value = ot_unroll_take(u, u->value_room, sizeof *g->value);
    g->node = ot_unroll_take(u, u->node_room, sizeof *g->node);
    if (!g->value || !g->node) return ot_unroll_no_memory(u);
    memcpy(g->value, file->value, values * sizeof *g->value);
    for (int v = 0; v < file->n_values; v++) {
        u->map[v] = v;
        g->value[v].producer = -1;
    }
    find_variation(u);
    return OT_OK;
}

/* Values made here are no parameters. */
static ot_status finish_graph(struct unroller *u) {
    struct plan *p = u->p;
    const int n = u->g->n_values, own = u->file->n_values;
    int *parameter_of = ot_unroll_take(u, n, sizeof *parameter_of);
    if (!parameter_of) return ot_unroll_no_memory(u);
    memcpy(parameter_of, p->model->parameter_of, (size_t)own * sizeof *parameter_of);
    for (int v = own; v < n; v++) parameter_of[v] = -1;
    u->g->all_nodes = u->g->n_nodes;
    p->graph = u->g;
    p->parameter_of = parameter_of;
    return OT_OK;
}

ot_status ot_unroll(struct plan *p, ot_error *err) {
    const struct graph *file = p->model->graph;
    if (file->all_nodes == file->n_nodes) {
        int loops = 0; /* whose bodies have no nodes */
        for (int k = 0; k < file->n_nodes; k++) loops += ot_is_loop(&file->node[k]);
        if (!loops) return OT_OK;
    }
    struct unroller *u = ot_block_alloc(&p->model->allocator, 1, sizeof *u);
    if (!u) return ot_plan_no_memory(err);
    *u = (struct unroller){.p = p, .file = file, .err = err};
    ot_status status = begin_graph(u);
    if (!status) status = ot_known_open(&u->known, p, u->g, err);
    if (!status) status = unroll_nodes(u);
    if (!status) status = finish_graph(u);
    ot_known_close(&u->known);
    ot_block_free(&p->model->allocator, u);
    return status;
}
