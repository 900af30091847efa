/* unroll.c - the graph of a plan: the session's with every loop unrolled.
 *
 * Nodes are copied in their order; where a Loop or Scan stands, those of its body once an
 * iteration, with values of their own. What no iteration changes is computed in the first. Values
 * of the session's graph keep their numbers, so weights, inputs and outputs stay what they were.
 * How often a loop runs is asked of shapes and constants (known.h) when it is reached.
 */
#include <stdio.h>
#include <string.h>

#include "runtime/known.h"
#include "runtime/loop.h"
#include "runtime/session.h"

enum { MOST_NESTED = 16, NAME = 256 };
enum { OPSET = 11 }; /* of the nodes made here: axes and lengths are attributes */

/* A loop under way. */
struct level {
    const struct node *loop;
    struct loop_form form;
    int next;           /* node of the body */
    int64_t i, count;   /* iteration; how many there are at most */
    bool goes_on;       /* what the condition said last */
    int yes;            /* a constant: true */
    int *state, *after; /* carried values, before and after the iteration */
    int *slice;         /* of each sliced input, one an iteration */
    int *stack;         /* results of the iterations so far, form.stacked each */
    int64_t stack_room; /* iterations */
};

struct unroller {
    struct plan *p;
    const struct graph *file;
    struct graph *g;
    struct known known;
    int value_room, node_room;
    int *map;     /* what a value of the file is now */
    bool *varies; /* values in bodies: another one in each iteration */
    struct level level[MOST_NESTED];
    int depth;
    uint64_t iterations;
    ot_error *err;
};

/* ---- growing ---- */

static void *take(struct unroller *u, int64_t n, size_t size) {
    return ot_arena_alloc(&u->p->arena, (size_t)n, size);
}

static ot_status no_memory(struct unroller *u) { return ot_plan_no_memory(u->err); }

/* The array of n elements, or one with more room. */
static void *room(struct unroller *u, void *array, int64_t n, int *capacity, size_t size) {
    if (n < *capacity) return array;
    void *more = take(u, 2 * (int64_t)*capacity + 64, size);
    if (!more) return NULL;
    if (n) memcpy(more, array, (size_t)n * size);
    *capacity = 2 * *capacity + 64;
    return more;
}

static ot_status fail(struct unroller *u, const struct node *n, ot_status status, const char *why) {
    return ot_fail(u->err, status, "node '%.100s' (%.40s): %s", n->name, n->op_type, why);
}

/* A name with the iterations in which it stands, or the name itself. */
static const char *indexed(struct unroller *u, const char *name) {
    char text[NAME];
    if (!u->depth) return name;
    int n = snprintf(text, sizeof text, "%.120s", name);
    for (int l = 0; l < u->depth && n < NAME - 24; l++)
        n += snprintf(text + n, sizeof text - (size_t)n, "[%lld]", (long long)u->level[l].i);
    char *kept = take(u, n + 1, 1);
    if (kept) memcpy(kept, text, (size_t)n + 1);
    return kept;
}

/* ---- values and nodes ---- */

static ot_status new_value(struct unroller *u, const struct value *like, int *v) {
    struct graph *g = u->g;
    g->value = room(u, g->value, g->n_values, &u->value_room, sizeof *g->value);
    const char *name = indexed(u, like->name);
    if (!g->value || !name) return no_memory(u);
    *v = g->n_values++;
    g->value[*v] = *like;
    g->value[*v].name = name;
    return OT_OK;
}

/* A constant of one element, a scalar or, where `formal` has rank 1, a vector. */
static ot_status new_number(struct unroller *u, const struct value *formal, ot_type type,
                            int64_t number, int *v) {
    struct tensor *t = take(u, 1, sizeof *t);
    int64_t *data = take(u, 1, sizeof *data);
    if (!t || !data) return no_memory(u);
    *t = (struct tensor){.type = type, .role = OT_ROLE_CONST, .data = data};
    t->rank = formal && formal->rank == 1;
    t->dim[0] = t->rank;
    if (type == OT_BOOL)
        *(uint8_t *)(void *)data = number != 0;
    else
        *data = number;
    struct value value = {.name = formal ? formal->name : "",
                          .kind = OT_VALUE_CONSTANT,
                          .producer = -1,
                          .type = type,
                          .rank = t->rank,
                          .constant = t};
    value.dim[0] = t->rank;
    return new_value(u, &value, v);
}

/* What output v of a node of the file is where the walk is: in a body, a new value. */
static ot_status define(struct unroller *u, int v, int *to) {
    *to = v;
    if (v < 0 || !u->depth) return OT_OK;
    OT_TRY(new_value(u, &u->file->value[v], to));
    u->map[v] = *to;
    return OT_OK;
}

/* Iterations count as nodes do: one may have none. */
static ot_status check_room(struct unroller *u) {
    const uint64_t most = u->p->session->options.limits.nodes;
    if ((uint64_t)u->g->n_nodes + u->iterations < most && u->g->n_values < INT32_MAX / 4)
        return OT_OK;
    return ot_fail(u->err, OT_ERROR_LIMIT, "more than %llu nodes, those of loops unrolled",
                   (unsigned long long)most);
}

/* A node with these inputs and outputs, which become the graph's. */
static ot_status add(struct unroller *u, struct node node, int *in, int *out) {
    struct graph *g = u->g;
    OT_TRY(check_room(u));
    g->node = room(u, g->node, g->n_nodes, &u->node_room, sizeof *g->node);
    node.name = indexed(u, node.name);
    if (!g->node || !node.name) return no_memory(u);
    node.in = in;
    node.out = out;
    node.body = NULL;
    for (int j = 0; j < node.n_out; j++)
        if (out[j] >= 0) g->value[out[j]].producer = g->n_nodes;
    g->node[g->n_nodes++] = node;
    return OT_OK;
}

/* A node made here: one or more inputs, one output. */
static ot_status add_made(struct unroller *u, const char *op, const char *name, const char *attr,
                          int64_t axis, const int *x, int64_t n, int y) {
    int *ends = take(u, n + 1, sizeof *ends);
    struct attr *a = take(u, 1, sizeof *a);
    int64_t *axes = take(u, 1, sizeof *axes);
    if (!ends || !a || !axes) return no_memory(u);
    *axes = axis;
    *a = (struct attr){.name = attr, .kind = OT_ATTR_INT, .i = axis};
    if (attr && !strcmp(attr, "axes"))
        *a = (struct attr){.name = attr, .kind = OT_ATTR_INTS, .n = 1, .ints = axes};
    memcpy(ends, x, (size_t)n * sizeof *ends);
    ends[n] = y;
    return add(u,
               (struct node){.name = name,
                             .op_type = op,
                             .domain = "",
                             .opset = OPSET,
                             .n_in = (int)n,
                             .n_out = 1,
                             .n_attr = attr != NULL,
                             .attr = a},
               ends, ends + n);
}

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

static bool is_done(const struct unroller *u, const struct node *n) {
    bool varies = !n->n_out;
    for (int j = 0; j < n->n_out; j++) varies |= n->out[j] >= 0 && u->varies[n->out[j]];
    return u->depth && u->level[u->depth - 1].i > 0 && !varies;
}

/* ---- nodes of the file ---- */

static ot_status copy_node(struct unroller *u, const struct node *n) {
    if (!u->depth) return add(u, *n, n->in, n->out); /* all its values are the graph's own */
    if (is_done(u, n)) return OT_OK;
    int *in = take(u, n->n_in + n->n_out, sizeof *in), *out = in + n->n_in;
    if (!in) return no_memory(u);
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] < 0 ? -1 : u->map[n->in[i]];
    for (int j = 0; j < n->n_out; j++) OT_TRY(define(u, n->out[j], &out[j]));
    return add(u, *n, in, out);
}

/* ---- a Scan's inputs ---- */

/* All slices of an input: one Split, whose gradient is written once, and a Squeeze each. */
static ot_status slice_input(struct unroller *u, const struct level *l, int x, int64_t axis,
                             bool reversed, int *slice) {
    const int64_t n = l->count;
    struct attr *a = take(u, 1, sizeof *a);
    int *in = take(u, n + 1, sizeof *in), *out = in + 1;
    if (!in || !a) return no_memory(u);
    const struct value *like = &u->g->value[x];
    const struct value part = {.name = like->name, .producer = -1, .type = like->type, .rank = -1};
    *a = (struct attr){.name = "axis", .kind = OT_ATTR_INT, .i = axis};
    *in = x;
    for (int64_t i = 0; i < n; i++) OT_TRY(new_value(u, &part, &out[i]));
    OT_TRY(add(u,
               (struct node){.name = l->loop->name,
                             .op_type = "Split",
                             .domain = "",
                             .opset = OPSET,
                             .n_in = 1,
                             .n_out = (int)n,
                             .n_attr = 1,
                             .attr = a},
               in, out));
    for (int64_t i = 0; i < n; i++) {
        int *y = &slice[reversed ? n - 1 - i : i];
        OT_TRY(new_value(u, &part, y));
        OT_TRY(add_made(u, "Squeeze", l->loop->name, "axes", axis, &out[i], 1, *y));
    }
    return OT_OK;
}

/* The one length of all sliced inputs. */
static ot_status count_slices(struct unroller *u, struct level *l, const int *x) {
    l->count = -1;
    for (int k = 0; k < l->form.sliced; k++) {
        const struct tensor *t;
        int64_t axis = l->form.slice_axis ? l->form.slice_axis[k] : 0;
        OT_TRY(ot_known_look(&u->known, x[k], &t, u->err));
        if (axis < 0) axis += t->rank;
        if (axis < 0 || axis >= t->rank)
            return fail(u, l->loop, OT_ERROR_INVALID, "an axis that its input does not have");
        if (l->count >= 0 && l->count != t->dim[axis])
            return fail(u, l->loop, OT_ERROR_INVALID, "its inputs have different lengths");
        l->count = t->dim[axis];
    }
    if (l->count > (int64_t)u->p->session->options.limits.nodes)
        return fail(u, l->loop, OT_ERROR_LIMIT, "more iterations than nodes are allowed");
    return OT_OK;
}

static ot_status begin_scan(struct unroller *u, struct level *l, const int *x) {
    const struct loop_form *f = &l->form;
    OT_TRY(count_slices(u, l, x));
    l->goes_on = true;
    l->slice = take(u, f->sliced * l->count, sizeof *l->slice);
    if (!l->slice) return no_memory(u);
    for (int k = 0; k < f->sliced && l->count; k++)
        OT_TRY(slice_input(u, l, x[k], f->slice_axis ? f->slice_axis[k] : 0,
                           f->slice_reversed && f->slice_reversed[k], l->slice + k * l->count));
    return OT_OK;
}

/* ---- a Loop's trip count ---- */

static ot_status ask_condition(struct unroller *u, struct level *l, int v) {
    int64_t number = 1;
    bool known = true;
    if (v >= 0 && v != l->yes) OT_TRY(ot_known_number(&u->known, v, &number, &known, u->err));
    if (!known) return fail(u, l->loop, OT_ERROR_UNSUPPORTED, "its condition depends on data");
    l->goes_on = number != 0;
    return OT_OK;
}

static ot_status begin_loop(struct unroller *u, struct level *l, const int *in) {
    bool known = true;
    l->count = INT64_MAX;
    if (in[0] >= 0) OT_TRY(ot_known_number(&u->known, in[0], &l->count, &known, u->err));
    if (!known) return fail(u, l->loop, OT_ERROR_UNSUPPORTED, "its trip count depends on data");
    OT_TRY(new_number(u, &u->file->value[l->loop->body->in[1]], OT_BOOL, 1, &l->yes));
    return ask_condition(u, l, in[1]);
}

/* ---- iterations ---- */

static ot_status begin_iteration(struct unroller *u, struct level *l) {
    const struct body *b = l->loop->body;
    const struct loop_form *f = &l->form;
    l->next = b->first_node;
    u->iterations++;
    OT_TRY(check_room(u));
    if (!f->scan) {
        OT_TRY(new_number(u, &u->file->value[b->in[0]], OT_INT64, l->i, &u->map[b->in[0]]));
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
    int *stack = take(u, more * width, sizeof *stack);
    if (!stack) return no_memory(u);
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

/* Output v: what iterations gave, along a new axis. */
static ot_status stack_output(struct unroller *u, const struct level *l, int k, int v) {
    const struct loop_form *f = &l->form;
    const int64_t axis = f->stack_axis ? f->stack_axis[k] : 0, n = l->i;
    const bool reversed = f->stack_reversed && f->stack_reversed[k];
    const struct value part = {.name = u->file->value[v].name, .producer = -1, .rank = -1};
    int *piece = take(u, n, sizeof *piece), y;
    if (!piece) return no_memory(u);
    if (!n)
        return fail(u, l->loop, OT_ERROR_UNSUPPORTED,
                    "it runs no iteration, so that an output is empty");
    for (int64_t i = 0; i < n; i++) {
        int *to = &piece[reversed ? n - 1 - i : i];
        OT_TRY(new_value(u, &part, to));
        OT_TRY(add_made(u, "Unsqueeze", l->loop->name, "axes", axis, &l->stack[i * f->stacked + k],
                        1, *to));
    }
    OT_TRY(define(u, v, &y));
    return add_made(u, "Concat", l->loop->name, "axis", axis, piece, n, y);
}

/* The walk goes on behind the loop. */
static ot_status leave(struct unroller *u) {
    const struct level l = u->level[--u->depth];
    for (int k = 0; k < l.loop->n_out; k++) {
        const int v = l.loop->out[k];
        int y;
        if (v < 0) continue;
        if (k >= l.form.carried) {
            OT_TRY(stack_output(u, &l, k - l.form.carried, v));
            continue;
        }
        OT_TRY(define(u, v, &y));
        OT_TRY(add_made(u, "Identity", l.loop->name, NULL, 0, &l.state[k], 1, y));
    }
    return OT_OK;
}

/* ---- the walk ---- */

static ot_status enter(struct unroller *u, const struct node *n) {
    struct level l = {.loop = n, .yes = -1};
    if (u->depth == MOST_NESTED) return fail(u, n, OT_ERROR_LIMIT, "loops are nested too deep");
    OT_TRY(ot_loop_form(n, &l.form, u->err));
    int *in = take(u, n->n_in, sizeof *in);
    l.state = take(u, l.form.carried, sizeof *l.state);
    l.after = take(u, l.form.carried, sizeof *l.after);
    if (!in || !l.state || !l.after) return no_memory(u);
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i] < 0 ? -1 : u->map[n->in[i]];
    for (int k = 0; k < l.form.carried; k++) l.state[k] = in[l.form.first_input + k];
    if (l.form.scan)
        OT_TRY(begin_scan(u, &l, in + l.form.carried));
    else
        OT_TRY(begin_loop(u, &l, in));
    l.next = n->body->end;
    l.i = -1; /* its first iteration begins as the others do, behind one that is done */
    u->level[u->depth++] = l;
    return OT_OK;
}

/* At the end of a body: on to the next iteration, or behind the loop. */
static ot_status turn(struct unroller *u) {
    struct level *l = &u->level[u->depth - 1];
    if (l->i < 0)
        l->i = 0;
    else
        OT_TRY(end_iteration(u, l));
    return l->goes_on && l->i < l->count ? begin_iteration(u, l) : leave(u);
}

static ot_status walk(struct unroller *u) {
    for (int k = 0; k < u->file->n_nodes || u->depth;) {
        struct level *l = u->depth ? &u->level[u->depth - 1] : NULL;
        if (l && l->next == l->loop->body->end) {
            OT_TRY(turn(u));
            continue;
        }
        const struct node *n = &u->file->node[l ? l->next++ : k++];
        OT_TRY(n->body ? enter(u, n) : copy_node(u, n));
    }
    return OT_OK;
}

/* ---- the plan's graph ---- */

static ot_status begin(struct unroller *u) {
    const struct graph *file = u->file;
    const size_t values = (size_t)file->n_values;
    struct graph *g = u->g = take(u, 1, sizeof *g);
    u->value_room = file->n_values + 64;
    u->node_room = file->all_nodes + 64;
    u->map = take(u, file->n_values, sizeof *u->map);
    u->varies = take(u, file->n_values, sizeof *u->varies);
    if (!g || !u->map || !u->varies) return no_memory(u);
    *g = *file;
    g->n_nodes = g->all_nodes = 0;
    g->value = take(u, u->value_room, sizeof *g->value);
    g->node = take(u, u->node_room, sizeof *g->node);
    if (!g->value || !g->node) return no_memory(u);
    memcpy(g->value, file->value, values * sizeof *g->value);
    for (int v = 0; v < file->n_values; v++) {
        u->map[v] = v;
        g->value[v].producer = -1;
    }
    find_variation(u);
    return OT_OK;
}

/* Values made here are no parameters. */
static ot_status finish(struct unroller *u) {
    struct plan *p = u->p;
    const int n = u->g->n_values, own = u->file->n_values;
    int *parameter_of = take(u, n, sizeof *parameter_of);
    if (!parameter_of) return no_memory(u);
    memcpy(parameter_of, p->session->parameter_of, (size_t)own * sizeof *parameter_of);
    for (int v = own; v < n; v++) parameter_of[v] = -1;
    u->g->all_nodes = u->g->n_nodes;
    p->graph = u->g;
    p->parameter_of = parameter_of;
    return OT_OK;
}

ot_status ot_unroll(struct plan *p, ot_error *err) {
    const struct graph *file = p->session->graph;
    if (file->all_nodes == file->n_nodes) {
        int loops = 0; /* whose bodies have no nodes */
        for (int k = 0; k < file->n_nodes; k++) loops += ot_is_loop(&file->node[k]);
        if (!loops) return OT_OK;
    }
    struct unroller *u = ot_block_alloc(&p->session->allocator, 1, sizeof *u);
    if (!u) return ot_plan_no_memory(err);
    *u = (struct unroller){.p = p, .file = file, .err = err};
    ot_status status = begin(u);
    if (!status) status = ot_known_open(&u->known, p, u->g, err);
    if (!status) status = walk(u);
    if (!status) status = finish(u);
    ot_known_close(&u->known);
    ot_block_free(&p->session->allocator, u);
    return status;
}
