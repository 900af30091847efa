/* fuse.c - finds the nodes that run as one operator.
 *
 * A rule is a pattern (match.h) and the operator that stands for it, whose inputs are the pattern's
 * values in order. A pattern is taken where nobody else looks at what its inner nodes compute.
 * Shapes are not known yet: the operator's `fits` decides in the end, and where it declines, the
 * nodes run as they stand.
 */
#include "runtime/compile/fuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/compile/missed.h"
#include "runtime/compile/plan.h"
#include "runtime/model/match.h"

struct rule {
    const char *op, *pattern;
    /* Tells the operator what it needs to know beyond its inputs; false: not this match. NULL:
     * nothing. */
    bool (*accept)(struct plan *p, const struct match *m, struct node *node);
};
enum { ATTRIBUTES = 5 /* room for those of a node */ };

static bool accept_norm(struct plan *p, const struct match *m, struct node *node);
static bool accept_gelu_tanh(struct plan *p, const struct match *m, struct node *node);
static bool accept_swi_glu(struct plan *p, const struct match *m, struct node *node);
static bool accept_gate(struct plan *p, const struct match *m, struct node *node);
static bool accept_ge_glu(struct plan *p, const struct match *m, struct node *node);
static bool accept_hard_swish(struct plan *p, const struct match *m, struct node *node);
static bool accept_swish(struct plan *p, const struct match *m, struct node *node);

/* Gelu with 1 + erf(x / sqrt 2), and with 1 + tanh of what comes near it; the deviation from the
 * mean. */
#define GELU      "Mul*(x, Add(Erf({Div(x, 1.4142135); Mul(x, 0.70710678)}), 1), 0.5)"
#define CUBE      "{Pow(x, 3); Mul*(x, x, x)}"
#define GELU_TANH "Mul*(x, Add(Tanh(Mul(Add(x, Mul(" CUBE ", 0.044715)), 0.7978846)), 1), 0.5)"
#define RELU_6(x) "Clip(Add(" x ", 3), 0, 6)"
#define CENTRED   "Sub(x, ReduceMean(x))"
#define SQUARE(x) "{Pow(" x ", 2); Mul(" x ", " x ")}"
/* y over the root of the mean square of d, times w. */
#define DEVIATION(d) "Sqrt(Add(ReduceMean(" SQUARE(d) "), e))"
#define SCALED(y, d)                                                                               \
    "{Mul(Div(" y                                                                                  \
    ", " DEVIATION(d) "), w); "                                                                    \
                      "Mul*(" y ", w, {Reciprocal(" DEVIATION(d) "); Div(1, " DEVIATION(d) ")})}"

static const struct rule rules[] = {
    {"Linear", "Add(MatMul(x, w), b)", NULL},
    {"LayerNormalization", "Add(" SCALED(CENTRED, CENTRED) ", b)", accept_norm},
    {"RMSNormalization", SCALED("x", "x"), accept_norm},
    {"SwiGLU", "Mul({Mul(x, Sigmoid(x)); Swish(x)}, b)", accept_swi_glu},
    {"Gate", "Mul({" GELU "; " GELU_TANH "; Gelu(x)}, b)", accept_ge_glu},
    {"Gelu", GELU, NULL},
    {"Gelu", GELU_TANH, accept_gelu_tanh},
    {"Swish", "Mul(x, Sigmoid(x))", NULL},
    {"Swish", "Mul(x, Sigmoid(Mul(x, a)))", accept_swish},
    {"HardSwish", "Mul(x, HardSigmoid(x))", accept_hard_swish},
    {"HardSwish", "Div(Mul(x, " RELU_6("x") "), 6)", NULL},
    {"HardSwish", "Mul(x, Div(" RELU_6("x") ", 6))", NULL},
    {"HardSwish", "Mul(Mul(x, " RELU_6("x") "), 0.16666667)", NULL},
    {"Gate", "Mul(x, Sigmoid(g))", accept_gate},
    {"Gate", "Mul(x, HardSigmoid(g))", accept_gate},
    {"Gate", "Mul(x, Div(" RELU_6("g") ", 6))", accept_gate},
    {"Gate", "Mul(x, Mul(" RELU_6("g") ", 0.16666667))", accept_gate},
};
enum { RULES = sizeof rules / sizeof *rules };

/* ---- what operators are told ---- */

static void tell_op(struct node *node, struct attr a) { node->attr[node->n_attr++] = a; }

static bool accept_gelu_tanh(struct plan *p, const struct match *m, struct node *node) {
    (void)p;
    (void)m;
    tell_op(node,
            (struct attr){.name = "approximate", .kind = OT_ATTR_STRING, .n = 4, .s = "tanh"});
    return true;
}

/* HardSigmoid with the slope and the height that HardSwish has. */
static bool is_sixth(const struct node *sigmoid) {
    return fabsf(ot_attr_float(sigmoid, "alpha", 0.2f) - 1.0f / 6) < 1e-5f &&
           fabsf(ot_attr_float(sigmoid, "beta", 0.5f) - 0.5f) < 1e-5f;
}

static bool accept_hard_swish(struct plan *p, const struct match *m, struct node *node) {
    (void)node;
    return is_sixth(&p->graph->node[m->node[1]]);
}

/* With the factor that a Swish has within. */
static bool accept_swi_glu(struct plan *p, const struct match *m, struct node *node) {
    const int swish = m->node[3]; /* -1: it is spelled out */
    const float alpha = swish < 0 ? 1 : ot_attr_float(&p->graph->node[swish], "alpha", 1);
    tell_op(node, (struct attr){.name = "alpha", .kind = OT_ATTR_FLOAT, .f = alpha});
    return true;
}

static void tell_function(struct node *node, const char *name) {
    tell_op(node,
            (struct attr){
                .name = "function", .kind = OT_ATTR_STRING, .n = (int)strlen(name), .s = name});
}

/* GeGLU (Shazeer, arXiv 2002.05202): x, the argument of Gelu, and what it holds back. */
static bool accept_ge_glu(struct plan *p, const struct match *m, struct node *node) {
    bool tanh = false;
    for (int i = 0; i < OT_MATCH_NODES; i++) {
        const struct node *f = m->node[i] < 0 ? NULL : &p->graph->node[m->node[i]];
        tanh |= f && (!strcmp(f->op_type, "Tanh") ||
                      (!strcmp(f->op_type, "Gelu") &&
                       !strcmp(ot_attr_string(f, "approximate", "none"), "tanh")));
    }
    memcpy(node->in, (int[]){m->value[1], m->value[0]}, 2 * sizeof *node->in);
    tell_function(node, tanh ? "GeluTanh" : "Gelu");
    return true;
}

/* The function of the gate: a node, or max(0, min(6, g + 3)) / 6, which is a HardSigmoid. */
static bool accept_gate(struct plan *p, const struct match *m, struct node *node) {
    const struct node *f = &p->graph->node[m->node[1]];
    const bool sigmoid = !strcmp(f->op_type, "Sigmoid"), hard = !strcmp(f->op_type, "HardSigmoid");
    tell_function(node, sigmoid ? "Sigmoid" : "HardSigmoid");
    if (sigmoid) return true;
    const float alpha = hard ? ot_attr_float(f, "alpha", 0.2f) : 1.0f / 6;
    const float beta = hard ? ot_attr_float(f, "beta", 0.5f) : 0.5f;
    tell_op(node, (struct attr){.name = "alpha", .kind = OT_ATTR_FLOAT, .f = alpha});
    tell_op(node, (struct attr){.name = "beta", .kind = OT_ATTR_FLOAT, .f = beta});
    return true;
}

/* Values: x, alpha. */
static bool accept_swish(struct plan *p, const struct match *m, struct node *node) {
    const struct tensor *a = p->graph->value[m->value[1]].constant;
    if (!a || a->type != OT_FLOAT || a->pattern || ot_elements(a) != 1) return false;
    tell_op(node, (struct attr){.name = "alpha", .kind = OT_ATTR_FLOAT, .f = *(float *)a->data});
    node->n_in = 1;
    return true;
}

/* The one axis that a ReduceMean keeps with extent 1. */
static bool mean_axis(const struct graph *g, const struct node *mean, int64_t *axis) {
    int count;
    const int64_t *axes = ot_attr_ints(mean, "axes", &count);
    if (mean->n_in > 1 && mean->in[1] >= 0) {
        const struct tensor *t = g->value[mean->in[1]].constant;
        if (!t || t->type != OT_INT64) return false;
        axes = t->data;
        count = (int)ot_elements(t);
    }
    if (count != 1 || !ot_attr_int(mean, "keepdims", 1)) return false;
    *axis = axes[0];
    return true;
}

/* Values: x, epsilon, scale, bias. All means go along one axis; `fits` sees that it is the last. */
static bool accept_norm(struct plan *p, const struct match *m, struct node *node) {
    const struct graph *g = p->graph;
    const struct tensor *e = g->value[m->value[1]].constant;
    int64_t axis = 0, other;
    bool first = true;
    if (!e || e->type != OT_FLOAT || e->pattern || ot_elements(e) != 1) return false;
    for (int i = 0; i < OT_MATCH_NODES; i++) {
        if (m->node[i] < 0 || strcmp(g->node[m->node[i]].op_type, "ReduceMean")) continue;
        if (!mean_axis(g, &g->node[m->node[i]], &other) || !(first || other == axis)) return false;
        axis = other;
        first = false;
    }
    tell_op(node, (struct attr){.name = "axis", .kind = OT_ATTR_INT, .i = axis});
    tell_op(node, (struct attr){.name = "epsilon", .kind = OT_ATTR_FLOAT, .f = *(float *)e->data});
    const int bias = m->value[3];
    memcpy(node->in, (int[]){m->value[0], m->value[2], bias}, 3 * sizeof *node->in);
    node->n_in = bias < 0 ? 2 : 3;
    return true;
}

/* ---- finding them ---- */

struct fuser {
    struct plan *p;
    const struct graph *g;
    int *uses, *first, *last; /* of each value, as struct readers has them */
    bool *known;
    const struct fusion *within; /* whose members alone are looked at; NULL: all nodes */
    struct expression e[RULES];
};

static void count_uses(const struct fuser *f, const bool *needed, int result) {
    const struct graph *g = f->g;
    for (int k = 0; k < g->n_nodes; k++)
        for (int i = 0; needed[k] && i < g->node[k].n_in; i++) {
            const int v = g->node[k].in[i];
            if (v < 0) continue;
            if (!f->uses[v]++) f->first[v] = k;
            f->last[v] = k;
        }
    if (result >= 0) f->uses[result]++;
    for (int i = 0; ot_plan_has_outputs(f->p->request.kind) && i < g->n_outputs; i++)
        f->uses[g->output[i]]++;
}

/* Nodes stand in topological order. */
static void find_known(const struct fuser *f) {
    const struct graph *g = f->g;
    for (int v = 0; v < g->n_values; v++) f->known[v] = g->value[v].constant && !g->value[v].varies;
    for (int k = 0; k < g->n_nodes; k++) {
        const struct node *node = &g->node[k];
        const bool shape = !strcmp(node->op_type, "Shape") || !strcmp(node->op_type, "Size");
        bool known = node->n_in > 0;
        for (int i = 0; i < node->n_in && !shape; i++)
            known &= node->in[i] < 0 || f->known[node->in[i]];
        for (int j = 0; j < node->n_out; j++)
            if (node->out[j] >= 0) f->known[node->out[j]] |= known;
    }
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
    for (int i = 0; i < OT_MATCH_BETWEEN; i++)
        if (m->between[i] >= 0) member[n++] = m->between[i];
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

static bool has(const int *member, int n, int k) {
    for (int i = 0; i < n; i++)
        if (member[i] == k) return true;
    return false;
}

/* No member belongs to another fusion, and only members need what all but the last compute. */
static bool is_closed(const struct fuser *f, const struct match *m, const int *member, int n) {
    for (int k = 0; k < n; k++) {
        const struct node *node = &f->g->node[member[k]];
        if (f->p->fused[member[k]]) return false;
        if (f->within && !has(f->within->member, f->within->n, member[k])) return false;
        for (int j = 0; k < n - 1 && j < node->n_out; j++)
            if (node->out[j] >= 0 && is_seen(f, m, member, n, node->out[j])) return false;
    }
    return true;
}

static ot_status try_rules(struct fuser *f, int k, int first, ot_error *err);

/* What becomes of the members where the operator declines. */
static ot_status add_others(struct fuser *f, struct fusion *fusion, int rule, ot_error *err) {
    struct plan *p = f->p;
    const struct fusion *around = f->within;
    fusion->instead = ot_arena_alloc(&p->arena, (size_t)fusion->n, sizeof(struct fusion *));
    if (!fusion->instead) return ot_plan_no_memory(err);
    f->within = fusion;
    for (int i = fusion->n - 1; i >= 0; i--)
        OT_TRY(try_rules(f, fusion->member[i], i == fusion->n - 1 ? rule + 1 : 0, err));
    f->within = around;
    for (int i = 0; i < fusion->n; i++) {
        fusion->instead[i] = p->fused[fusion->member[i]];
        p->fused[fusion->member[i]] = fusion;
    }
    return OT_OK;
}

static ot_status add_fusion(struct fuser *f, int rule, const struct match *m, const int *member,
                            int n, ot_error *err) {
    struct plan *p = f->p;
    const struct node *last = &f->g->node[member[n - 1]];
    const int values = f->e[rule].values;
    struct fusion *fusion = ot_arena_alloc(&p->arena, 1, sizeof *fusion + (size_t)n * sizeof(int));
    int *in = ot_arena_alloc(&p->arena, (size_t)values + 1, sizeof *in);
    struct attr *attr = ot_arena_alloc(&p->arena, ATTRIBUTES, sizeof *attr);
    if (!fusion || !in || !attr) return ot_plan_no_memory(err);
    memcpy(in, m->value, (size_t)values * sizeof *in);
    memcpy(fusion->member, member, (size_t)n * sizeof *member);
    fusion->n = n;
    fusion->node = (struct node){.name = last->name,
                                 .op_type = rules[rule].op,
                                 .domain = "",
                                 .opset = last->opset,
                                 .n_in = values,
                                 .n_out = last->n_out,
                                 .in = in,
                                 .out = last->out,
                                 .attr = attr};
    if (rules[rule].accept && !rules[rule].accept(p, m, &fusion->node)) return OT_OK;
    return add_others(f, fusion, rule, err);
}

static ot_status try_rules(struct fuser *f, int k, int first, ot_error *err) {
    struct match m;
    int member[OT_MATCH_NODES + OT_MATCH_BETWEEN];
    for (int i = first; i < RULES && !f->p->fused[k]; i++) {
        if (!ot_match(&f->e[i], f->g, k, &m)) continue;
        const int n = list_members(&m, member);
        if (is_closed(f, &m, member, n)) OT_TRY(add_fusion(f, i, &m, member, n, err));
    }
    return OT_OK;
}

/* ---- attention ---- */

/* Those of the nodes whose results only such nodes read, ascending. The last one's is the result
 * of all. */
static int close_members(const struct fuser *f, const struct attention *a, int *member) {
    int all[OT_ATTENTION_NODES], n = 0;
    memcpy(all, a->member, sizeof all);
    qsort(all, (size_t)a->n, sizeof *all, ascending);
    for (int i = a->n - 1; i >= 0; i--) {
        const struct node *node = &f->g->node[all[i]];
        bool closed = true;
        for (int j = 0; j < node->n_out; j++) {
            const int v = node->out[j];
            closed &= v < 0 || v == a->y || f->uses[v] == uses_among(f->g, member, n, v);
        }
        if (closed) member[n++] = all[i];
    }
    qsort(member, (size_t)n, sizeof *member, ascending);
    return n;
}

/* Nodes around the operands may be needed by others as well, and then run too; not the scores. */
static bool is_whole(const struct fuser *f, const struct attention *a, const int *member, int n) {
    bool whole =
        has(member, n, a->product) && has(member, n, a->softmax) && has(member, n, a->weighted);
    for (int i = 0; i < a->scores.n; i++) whole &= has(member, n, a->scores.link[i].node);
    for (int i = 0; i < n; i++) whole &= !f->p->fused[member[i]];
    return whole;
}

static ot_status try_attention(struct fuser *f, int k, ot_error *err) {
    struct plan *p = f->p;
    const struct readers r = {f->g, f->uses, f->first, f->last, f->known};
    struct attention *a = ot_arena_alloc(&p->arena, 1, sizeof *a);
    int member[OT_ATTENTION_NODES], broken;
    if (!a) return ot_plan_no_memory(err);
    if (!ot_attention_find(&r, k, a, &broken))
        return ot_missed_attention(
            p, k, broken, broken < 0 ? "is also read in other ways" : "is not part of it", err);
    const int n = close_members(f, a, member);
    if (!is_whole(f, a, member, n))
        return ot_missed_attention(p, k, a->softmax, "or other nodes read a value inside it", err);
    struct fusion *fusion = ot_arena_alloc(&p->arena, 1, sizeof *fusion + (size_t)n * sizeof(int));
    int *out = ot_arena_alloc(&p->arena, 1, sizeof *out);
    if (!fusion || !out) return ot_plan_no_memory(err);
    const struct node *last = &f->g->node[member[n - 1]];
    *out = a->y;
    memcpy(fusion->member, member, (size_t)n * sizeof *member);
    fusion->n = n;
    fusion->attention = a;
    fusion->node = (struct node){.name = last->name,
                                 .op_type = "ScaledAttention",
                                 .domain = "",
                                 .opset = last->opset,
                                 .n_out = 1,
                                 .out = out};
    for (int i = 0; i < n; i++) p->fused[member[i]] = fusion;
    return OT_OK;
}

static ot_status fuse(struct fuser *f, const bool *needed, int result, ot_error *err) {
    if (!f->uses || !f->first || !f->last || !f->known) return ot_plan_no_memory(err);
    for (size_t i = 0; i < RULES; i++) ot_expression(&f->e[i], rules[i].pattern);
    count_uses(f, needed, result);
    find_known(f);
    for (int k = 0; k < f->g->n_nodes; k++)
        if (needed[k] && !*f->g->node[k].domain &&
            (!strcmp(f->g->node[k].op_type, "Softmax") ||
             !strcmp(f->g->node[k].op_type, "Attention")))
            OT_TRY(try_attention(f, k, err));
    for (int k = f->g->n_nodes - 1; k >= 0; k--)
        if (needed[k]) OT_TRY(try_rules(f, k, 0, err));
    return OT_OK;
}

ot_status ot_fuse(struct plan *p, const bool *needed, int result, ot_error *err) {
    const struct graph *g = p->graph;
    const ot_allocator *al = &p->model->allocator;
    p->fused = ot_arena_alloc(&p->arena, (size_t)g->n_nodes, sizeof *p->fused);
    if (!p->fused) return ot_plan_no_memory(err);
    if (p->request.apart) return OT_OK;
    struct fuser *f = ot_block_alloc(al, 1, sizeof *f);
    if (!f) return ot_plan_no_memory(err);
    f->p = p;
    f->g = g;
    f->uses = ot_block_alloc(al, (size_t)g->n_values, sizeof *f->uses);
    f->first = ot_block_alloc(al, (size_t)g->n_values, sizeof *f->first);
    f->last = ot_block_alloc(al, (size_t)g->n_values, sizeof *f->last);
    f->known = ot_block_alloc(al, (size_t)g->n_values, sizeof *f->known);
    const ot_status status = fuse(f, needed, result, err);
    ot_block_free(al, f->uses);
    ot_block_free(al, f->first);
    ot_block_free(al, f->last);
    ot_block_free(al, f->known);
    ot_block_free(al, f);
    return status;
}
