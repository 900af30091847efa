/* fuse.c - finds the nodes that run as one operator.
 *
 * A rule is a pattern (match.h) and the operator that stands for it, whose inputs are the pattern's
 * values in order. A pattern is taken where nobody else looks at what its inner nodes compute.
 * Shapes are not known yet: the operator's `fits` decides in the end, and where it declines, the
 * nodes run as they stand.
 */
#include "runtime/fuse.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/match.h"
#include "runtime/session.h"

struct rule {
    const char *op, *pattern;
    /* Adds what the operator needs to know beyond its inputs; false: not this match. NULL: nothing.
     */
    bool (*accept)(const struct graph *g, const struct match *m, struct node *node);
};

static const struct rule rules[] = {
    {"Linear", "Add(MatMul(x, w), b)", NULL},
};
enum { RULES = sizeof rules / sizeof *rules, ATTRIBUTES = 4 /* room for those of a node */ };

struct fuser {
    struct plan *p;
    const struct graph *g;
    int *uses; /* of each value: inputs of needed nodes that read it, and 1 for a result */
    struct expression e[RULES];
};

static ot_status no_memory(ot_error *err) {
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}

static void count_uses(const struct fuser *f, const bool *needed, int result) {
    const struct graph *g = f->g;
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) f->uses[g->node[k].in[i]]++;
    if (result >= 0) f->uses[result]++;
    for (int i = 0; f->p->kind == OT_PLAN_RUN && i < g->n_outputs; i++) f->uses[g->output[i]]++;
}

static int ascending(const void *a, const void *b) {
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The nodes of a match, ascending, each once. */
static int list_members(const struct match *m, int *member) {
    int n = 0, unique = 0;
    for (int i = 0; i < OT_MATCH_NODES; i++)
        if (m->node[i] >= 0) member[n++] = m->node[i];
    qsort(member, (size_t)n, sizeof *member, ascending);
    for (int i = 0; i < n; i++)
        if (!i || member[i] != member[i - 1]) member[unique++] = member[i];
    return unique;
}

/* How often members read value v. */
static int uses_among(const struct graph *g, const int *member, int n, int v) {
    int uses = 0;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < g->node[member[k]].n_in; i++) uses += g->node[member[k]].in[i] == v;
    return uses;
}

/* Does anybody else need value v, which a member computes? */
static bool is_seen(const struct fuser *f, const struct match *m, const int *member, int n, int v) {
    for (int i = 0; i < OT_MATCH_VALUES; i++)
        if (m->value[i] == v) return true; /* the fused node itself */
    return f->uses[v] != uses_among(f->g, member, n, v);
}

/* No member belongs to another fusion, and only members need what all but the last compute. */
static bool is_closed(const struct fuser *f, const struct match *m, const int *member, int n) {
    for (int k = 0; k < n; k++) {
        const struct node *node = &f->g->node[member[k]];
        if (f->p->fused[member[k]]) return false;
        for (int j = 0; k < n - 1 && j < node->n_out; j++)
            if (node->out[j] >= 0 && is_seen(f, m, member, n, node->out[j])) return false;
    }
    return true;
}

static ot_status add(struct fuser *f, int rule, const struct match *m, const int *member, int n,
                     ot_error *err) {
    struct plan *p = f->p;
    const struct node *last = &f->g->node[member[n - 1]];
    const int values = f->e[rule].values;
    struct fusion *fusion = ot_arena_alloc(&p->arena, 1, sizeof *fusion + (size_t)n * sizeof(int));
    int *in = ot_arena_alloc(&p->arena, (size_t)values, sizeof *in);
    struct attr *attr = ot_arena_alloc(&p->arena, ATTRIBUTES, sizeof *attr);
    if (!fusion || !in || !attr) return no_memory(err);
    memcpy(in, m->value, (size_t)values * sizeof *in);
    memcpy(fusion->member, member, (size_t)n * sizeof *member);
    fusion->n = n;
    fusion->node = (struct node){.name = last->name, .op_type = rules[rule].op, .domain = "",
                                 .opset = last->opset, .n_in = values, .n_out = last->n_out,
                                 .in = in, .out = last->out, .attr = attr};
    if (rules[rule].accept && !rules[rule].accept(f->g, m, &fusion->node)) return OT_OK;
    for (int i = 0; i < n; i++) p->fused[member[i]] = fusion;
    return OT_OK;
}

static ot_status try_rules(struct fuser *f, int k, ot_error *err) {
    struct match m;
    int member[OT_MATCH_NODES];
    for (int i = 0; i < RULES && !f->p->fused[k]; i++) {
        if (!ot_match(&f->e[i], f->g, k, &m)) continue;
        const int n = list_members(&m, member);
        if (is_closed(f, &m, member, n)) OT_TRY(add(f, i, &m, member, n, err));
    }
    return OT_OK;
}

ot_status ot_fuse(struct plan *p, const bool *needed, int result, ot_error *err) {
    const struct graph *g = p->session->graph;
    struct fuser *f = ot_arena_alloc(&p->arena, 1, sizeof *f);
    p->fused = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof *p->fused);
    if (!f || !p->fused) return no_memory(err);
    *f = (struct fuser){.p = p, .g = g,
                        .uses = ot_arena_alloc(&p->arena, (size_t)g->n_values, sizeof *f->uses)};
    if (!f->uses) return no_memory(err);
    for (int i = 0; i < RULES; i++) ot_expression(&f->e[i], rules[i].pattern);
    count_uses(f, needed, result);
    for (int k = g->n_nodes - 1; k >= 0; k--)
        if (needed[k]) OT_TRY(try_rules(f, k, err));
    return OT_OK;
}
