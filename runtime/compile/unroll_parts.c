/* unroll_parts.c - tensors of steps: what a Scan, or a Gather in a Loop, takes apart, and what a
 * loop puts together. */
#include <string.h>

#include "runtime/compile/unroll.h"

enum { OPSET = 11, MOST_PARTS = 4096 };

/* ---- parts of a value ---- */

/* All parts along an axis: one Split, whose gradient is written once, and a Squeeze each. */
static ot_status take_apart(struct unroller *u, const char *name, struct parts *p) {
    struct attr *a = ot_unroll_take(u, 1, sizeof *a);
    int *in = ot_unroll_take(u, p->n + 1, sizeof *in), *out = in + 1;
    p->part = ot_unroll_take(u, p->n, sizeof *p->part);
    if (!in || !a || !p->part) return ot_unroll_no_memory(u);
    const struct value *x = &u->g->value[p->v];
    const struct value part = {.name = x->name, .producer = -1, .type = x->type, .rank = -1};
    *a = (struct attr){.name = "axis", .kind = OT_ATTR_INT, .i = p->axis};
    *in = p->v;
    for (int64_t i = 0; i < p->n; i++) OT_TRY(ot_unroll_value(u, &part, &out[i]));
    OT_TRY(ot_unroll_add(u,
                         (struct node){.name = name,
                                       .op_type = "Split",
                                       .domain = "",
                                       .opset = OPSET,
                                       .n_in = 1,
                                       .n_out = (int)p->n,
                                       .n_attr = 1,
                                       .attr = a},
                         in, out));
    for (int64_t i = 0; i < p->n; i++) {
        OT_TRY(ot_unroll_value(u, &part, &p->part[i]));
        OT_TRY(ot_unroll_made(u, "Squeeze", name, "axes", p->axis, &out[i], 1, p->part[i]));
    }
    return OT_OK;
}

/* ---- a Scan's inputs ---- */

/* The one length of all sliced inputs. */
static ot_status count_slices(struct unroller *u, struct level *l, const int *x) {
    l->count = -1;
    for (int k = 0; k < l->form.sliced; k++) {
        const struct tensor *t;
        int64_t axis = l->form.slice_axis ? l->form.slice_axis[k] : 0;
        OT_TRY(ot_known_look(&u->known, x[k], &t, u->err));
        if (axis < 0) axis += t->rank;
        if (axis < 0 || axis >= t->rank)
            return ot_unroll_fail(u, l->loop, OT_ERROR_INVALID,
                                  "the loop names an axis that its input does not have");
        if (l->count >= 0 && l->count != t->dim[axis])
            return ot_unroll_fail(u, l->loop, OT_ERROR_INVALID,
                                  "the inputs that the loop takes apart have different lengths");
        l->count = t->dim[axis];
    }
    if (l->count > (int64_t)u->p->request.nodes)
        return ot_unroll_fail(u, l->loop, OT_ERROR_LIMIT,
                              "the loop has more iterations than nodes are allowed");
    return OT_OK;
}

ot_status ot_unroll_scan(struct unroller *u, struct level *l, const int *x) {
    const struct loop_form *f = &l->form;
    OT_TRY(count_slices(u, l, x));
    l->goes_on = true;
    l->slice = ot_unroll_take(u, f->sliced * l->count, sizeof *l->slice);
    if (!l->slice) return ot_unroll_no_memory(u);
    for (int k = 0; k < f->sliced && l->count; k++) {
        struct parts p = {.v = x[k], .n = l->count};
        if (f->slice_axis) p.axis = f->slice_axis[k];
        OT_TRY(take_apart(u, l->loop->name, &p));
        const bool reversed = f->slice_reversed && f->slice_reversed[k];
        for (int64_t i = 0; i < p.n; i++)
            l->slice[k * p.n + i] = p.part[reversed ? p.n - 1 - i : i];
    }
    return OT_OK;
}

/* ---- a Gather in a body ---- */

/* Lengths that are taken apart: no table of many rows of which few are read. */
static bool is_sequence(const struct level *l, int64_t length) {
    return length <= (l->count < MOST_PARTS / 2 ? 2 * l->count : MOST_PARTS);
}

/* Those of value v along this axis of its shape, found or made. */
static ot_status find_parts(struct unroller *u, struct level *l, const struct node *n, int v,
                            int64_t axis, int64_t length, const struct parts **parts) {
    for (int k = 0; k < l->n_parts; k++) {
        *parts = &l->parts[k];
        if (l->parts[k].v == v && l->parts[k].axis == axis) return OT_OK;
    }
    if (l->n_parts == l->parts_room) {
        struct parts *more = ot_unroll_take(u, 2 * l->parts_room + 4, sizeof *more);
        if (!more) return ot_unroll_no_memory(u);
        if (l->n_parts) memcpy(more, l->parts, (size_t)l->n_parts * sizeof *more);
        l->parts = more;
        l->parts_room = 2 * l->parts_room + 4;
    }
    struct parts *p = &l->parts[l->n_parts];
    *p = (struct parts){.v = v, .axis = axis, .n = length};
    OT_TRY(take_apart(u, n->name, p));
    l->n_parts++;
    *parts = p;
    return OT_OK;
}

/* Is x a tensor of steps, no constant and no weight, that is the same in each iteration? */
static bool may_share(const struct unroller *u, const struct node *n) {
    const int x = n->in[0], from = u->file->value[x].producer;
    const bool inner = from < 0 ? u->file->value[x].kind == OT_VALUE_FORMAL
                                : u->file->node[from].in_body == n->in_body;
    return !u->file->value[x].constant && !(inner && u->varies[x]);
}

ot_status ot_unroll_gather(struct unroller *u, const struct node *n, bool *taken) {
    struct level *l = u->depth ? &u->level[u->depth - 1] : NULL;
    const struct tensor *x, *index;
    const struct parts *parts = NULL;
    int64_t place, axis = ot_attr_int(n, "axis", 0);
    *taken = false;
    if (!l || *n->domain || strcmp(n->op_type, "Gather") || n->n_in != 2 || n->n_out != 1 ||
        n->in[0] < 0 || n->in[1] < 0 || n->out[0] < 0 || !may_share(u, n))
        return OT_OK;
    const int v = u->map[n->in[0]];
    OT_TRY(ot_known_look(&u->known, u->map[n->in[1]], &index, u->err));
    if (index->role != OT_ROLE_CONST || index->rank || index->type != OT_INT64) return OT_OK;
    OT_TRY(ot_known_look(&u->known, v, &x, u->err));
    if (axis < 0) axis += x->rank;
    if (axis < 0 || axis >= x->rank || !is_sequence(l, x->dim[axis])) return OT_OK;
    place = *(const int64_t *)index->data;
    if (place < 0) place += x->dim[axis];
    if (place < 0 || place >= x->dim[axis]) return OT_OK;
    OT_TRY(find_parts(u, l, n, v, axis, x->dim[axis], &parts));
    u->map[n->out[0]] = parts->part[place];
    *taken = true;
    return OT_OK;
}

/* ---- results of all iterations ---- */

/* Output v: what iterations gave, along a new axis. */
ot_status ot_unroll_stack(struct unroller *u, const struct level *l, int k, int v) {
    const struct loop_form *f = &l->form;
    const int64_t axis = f->stack_axis ? f->stack_axis[k] : 0, n = l->i;
    const bool reversed = f->stack_reversed && f->stack_reversed[k];
    const struct value part = {.name = u->file->value[v].name, .producer = -1, .rank = -1};
    int *piece = ot_unroll_take(u, n, sizeof *piece), y;
    if (!piece) return ot_unroll_no_memory(u);
    if (!n)
        return ot_unroll_fail(u, l->loop, OT_ERROR_UNSUPPORTED,
                              "the loop runs no iteration, so that an output is empty");
    for (int64_t i = 0; i < n; i++) {
        int *to = &piece[reversed ? n - 1 - i : i];
        OT_TRY(ot_unroll_value(u, &part, to));
        OT_TRY(ot_unroll_made(u, "Unsqueeze", l->loop->name, "axes", axis,
                              &l->stack[i * f->stacked + k], 1, *to));
    }
    OT_TRY(ot_unroll_define(u, v, &y));
    return ot_unroll_made(u, "Concat", l->loop->name, "axis", axis, piece, n, y);
}
