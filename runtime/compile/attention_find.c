/* attention_find.c - the nodes of an attention, by walks from its Softmax. */
#include <string.h>

#include "runtime/compile/attention.h"

enum { BETWEEN = 2, TRIES = 64 /* nodes that are looked at on the way to a product */ };

static bool is_op(const struct node *node, const char *op_type) {
    return !*node->domain && !strcmp(node->op_type, op_type);
}

static bool is_one_of(const struct node *node, const char *const *names) {
    for (; *names; names++)
        if (is_op(node, *names)) return true;
    return false;
}

static const struct node *producer(const struct graph *g, int v) {
    const int k = v < 0 ? -1 : g->value[v].producer;
    return k < 0 ? NULL : &g->node[k];
}

static int index_of(const struct graph *g, const struct node *node) {
    return (int)(node - g->node);
}

/* The only needed node that reads v, -1: none or several. */
static int reader(const struct readers *r, int v) { return r->uses[v] == 1 ? r->last[v] : -1; }

static bool add_member(struct attention *a, int k) {
    for (int i = 0; i < a->n; i++)
        if (a->member[i] == k) return true;
    if (a->n == OT_ATTENTION_NODES) return false;
    a->member[a->n++] = k;
    return true;
}

static bool add_link(struct attention *a, struct path *p, enum link_kind kind, int node,
                     int value) {
    if (p->n == OT_ATTENTION_LINKS || !add_member(a, node)) return false;
    p->link[p->n++] = (struct link){kind, node, value};
    return true;
}

static bool is_known(const struct readers *r, int v) { return v < 0 || r->known[v]; }

/* A node whose output is its first input with its elements elsewhere. */
static bool is_move(const struct readers *r, const struct node *node) {
    static const char *const moves[] = {"Transpose", "Reshape", "Flatten",  "Squeeze",
                                        "Unsqueeze", "Slice",   "Split",    "Gather",
                                        "Expand",    "Cast",    "Identity", NULL};
    if (!is_one_of(node, moves)) return false;
    if (is_op(node, "Cast") && ot_attr_int(node, "to", 0) != OT_FLOAT) return false; /* it rounds */
    for (int i = 1; i < node->n_in; i++)
        if (!is_known(r, node->in[i])) return false;
    return true;
}

/* Moves that keep every element. */
static bool is_rearrangement(const struct readers *r, const struct node *node) {
    static const char *const lossy[] = {"Slice", "Split", "Gather", "Expand", NULL};
    return is_move(r, node) && !is_one_of(node, lossy);
}

/* Is it x times, or over, something known? Then *x and *factor are inputs. */
static bool is_factor(const struct readers *r, const struct node *node, int *x, int *factor) {
    const bool mul = is_op(node, "Mul");
    if (!(mul || is_op(node, "Div")) || node->n_attr || node->n_in != 2) return false;
    for (int i = 0; i < (mul ? 2 : 1); i++) {
        *x = node->in[i];
        *factor = node->in[1 - i];
        if (is_known(r, *factor) && !is_known(r, *x)) return true;
    }
    return false;
}

/* ---- rotary embedding ---- */

/* The input that a Slice or Split takes value v from, or -1. */
static int part_of(const struct graph *g, int v) {
    const struct node *node = producer(g, v);
    return node && (is_op(node, "Slice") || is_op(node, "Split")) ? node->in[0] : -1;
}

/* Is v made of the halves of something: Concat(Neg(upper), lower)? */
static bool is_turned(const struct graph *g, int v, struct rotary *r) {
    const struct node *concat = producer(g, v), *neg;
    if (!concat || !is_op(concat, "Concat") || concat->n_in != 2) return false;
    neg = producer(g, concat->in[0]);
    if (!neg || !is_op(neg, "Neg")) return false;
    r->upper = neg->in[0];
    r->lower = concat->in[1];
    r->x = part_of(g, r->lower);
    if (r->x < 0 || part_of(g, r->upper) != r->x) return false;
    const int nodes[] = {index_of(g, concat), index_of(g, neg), g->value[r->lower].producer,
                         g->value[r->upper].producer};
    for (int i = 0; i < 4; i++) r->node[r->n++] = nodes[i];
    return true;
}

static bool is_rotary(const struct graph *g, const struct node *node, struct rotary *r) {
    if (!is_op(node, "Add") || node->n_attr) return false;
    for (int i = 0; i < 4; i++) {
        const struct node *plain = producer(g, node->in[i & 1]);
        const struct node *turned = producer(g, node->in[1 - (i & 1)]);
        if (!plain || !turned || !is_op(plain, "Mul") || !is_op(turned, "Mul")) return false;
        *r = (struct rotary){.n = 0};
        const int half = i >> 1;
        if (!is_turned(g, turned->in[half], r)) continue;
        r->sine = turned->in[1 - half];
        if (plain->in[0] != r->x && plain->in[1] != r->x) continue;
        r->cosine = plain->in[plain->in[0] == r->x];
        r->node[r->n++] = index_of(g, plain);
        r->node[r->n++] = index_of(g, turned);
        return true;
    }
    return false;
}

/* ---- operands ---- */

static bool follow_rotary(struct attention *a, struct path *p, int k, int *v) {
    for (int i = 0; i < p->rotary.n; i++)
        if (!add_member(a, p->rotary.node[i])) return false;
    *v = p->rotary.x;
    return add_link(a, p, OT_LINK_ROTARY, k, -1);
}

/* An Expand is followed where a Reshape makes one axis of it: heads that share one of k and v. */
static bool is_repeat(const struct graph *g, const struct path *p) {
    return p->n && is_op(&g->node[p->link[p->n - 1].node], "Reshape");
}

/* Back from value v while nodes only move, scale or turn. */
static void walk_back(const struct readers *r, struct attention *a, struct path *p, int v,
                      bool turns) {
    const struct graph *g = r->g;
    int x, factor;
    for (bool more = true; more;) {
        const struct node *node = producer(g, v);
        p->base = v;
        if (!node) return;
        const int k = index_of(g, node);
        struct rotary rotary;
        if (is_move(r, node) && (!is_op(node, "Expand") || is_repeat(g, p))) {
            more = add_link(a, p, OT_LINK_MOVE, k, v);
            v = node->in[0];
        } else if (is_factor(r, node, &x, &factor)) {
            more = add_link(a, p, OT_LINK_FACTOR, k, factor);
            v = x;
        } else if (turns && is_rotary(g, node, &rotary)) {
            p->rotary = rotary;
            more = follow_rotary(a, p, k, &v);
            turns = false;
        } else {
            return;
        }
    }
}

/* ---- scores ---- */

/* From value v back to a MatMul; the links are those on the way, last first. */
static bool find_product(const struct readers *r, struct attention *a, int v, int *broken) {
    const struct graph *g = r->g;
    const struct node *node = producer(g, v);
    const struct attention before = *a;
    int x, factor;
    if (!node || !a->tries--) return false;
    const int k = index_of(g, node);
    if (is_op(node, "MatMul")) {
        a->product = k;
        return add_member(a, k);
    }
    if (is_factor(r, node, &x, &factor))
        return add_link(a, &a->scores, OT_LINK_FACTOR, k, factor) && find_product(r, a, x, broken);
    if (is_rearrangement(r, node) && !is_op(node, "Transpose"))
        return add_link(a, &a->scores, OT_LINK_MOVE, k, node->out[0]) &&
               find_product(r, a, node->in[0], broken);
    const bool where = is_op(node, "Where");
    if (!where && !(is_op(node, "Add") && !node->n_attr)) {
        *broken = k;
        return false;
    }
    for (int i = where ? 1 : 0; i < (where ? 3 : 2); i++) {
        const int other = where ? node->in[0] : node->in[1 - i];
        if (where && !is_known(r, node->in[3 - i])) continue;
        const enum link_kind kind = !where   ? OT_LINK_MASK
                                    : i == 1 ? OT_LINK_KEEP_TRUE
                                             : OT_LINK_KEEP_FALSE;
        if (add_link(a, &a->scores, kind, k, other) && find_product(r, a, node->in[i], broken))
            return true;
        const int tries = a->tries;
        *a = before;
        a->tries = tries;
        if (tries <= 0) break;
    }
    if (*broken < 0) *broken = k;
    return false;
}

/* The links in order, from the product on; a factor behind a mask would scale the mask. */
static bool order_scores(struct attention *a) {
    struct path *s = &a->scores;
    bool masked = false;
    for (int i = 0; i < s->n / 2; i++) {
        const struct link swap = s->link[i];
        s->link[i] = s->link[s->n - 1 - i];
        s->link[s->n - 1 - i] = swap;
    }
    for (int i = 0; i < s->n; i++) {
        if (masked && s->link[i].kind == OT_LINK_FACTOR) return false;
        masked |= s->link[i].kind != OT_LINK_MOVE && s->link[i].kind != OT_LINK_FACTOR;
    }
    return true;
}

/* ---- behind the Softmax ---- */

/* Where(IsNaN(p), 0, p); *v becomes its output. */
static bool find_guard(const struct readers *r, struct attention *a, int *v) {
    const struct graph *g = r->g;
    const int pair[] = {r->first[*v], r->last[*v]};
    int test = -1, choice = -1;
    if (r->uses[*v] != 2) return false;
    for (int i = 0; i < 2; i++) {
        if (is_op(&g->node[pair[i]], "IsNaN")) test = pair[i];
        if (is_op(&g->node[pair[i]], "Where") && g->node[pair[i]].in[2] == *v) choice = pair[i];
    }
    if (test < 0 || choice < 0 || g->node[choice].in[0] != g->node[test].out[0]) return false;
    const struct tensor *zero = g->value[g->node[choice].in[1]].constant;
    if (!zero || zero->type != OT_FLOAT || zero->pattern || ot_elements(zero) != 1 ||
        *(const float *)zero->data != 0)
        return false;
    a->guard = true;
    *v = g->node[choice].out[0];
    return add_member(a, test) && add_member(a, choice);
}

static bool find_weighted(const struct readers *r, struct attention *a, int v, int *broken) {
    const struct graph *g = r->g;
    for (;;) {
        if (!a->guard && find_guard(r, a, &v)) continue;
        const int k = reader(r, v);
        if (k < 0) return false;
        const struct node *node = &g->node[k];
        if (is_op(node, "MatMul") && node->in[0] == v && node->in[1] != v) {
            a->weighted = k;
            return add_member(a, k);
        }
        if (!is_rearrangement(r, node) || is_op(node, "Transpose")) {
            *broken = k;
            return false;
        }
        if (!add_member(a, k)) return false;
        v = node->out[0];
    }
}

static void find_result(const struct readers *r, struct attention *a) {
    a->y = r->g->node[a->weighted].out[0];
    for (;;) {
        const int k = reader(r, a->y);
        if (k < 0 || !is_rearrangement(r, &r->g->node[k])) return;
        if (!add_link(a, &a->result, OT_LINK_MOVE, k, r->g->node[k].out[0])) return;
        a->y = r->g->node[k].out[0];
    }
}

/* Node k is an Attention: without caches, caps, windows and outputs beyond the first. */
static bool find_whole(const struct readers *r, struct attention *a, int k) {
    static const char *const others[] = {"softcap", "qk_matmul_output_mode", "left_window_size",
                                         "right_window_size"};
    const struct node *node = &r->g->node[k];
    for (int i = 4; i < node->n_in; i++)
        if (node->in[i] >= 0) return false;
    for (int j = 1; j < node->n_out; j++)
        if (node->out[j] >= 0) return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ot_attr_float(node, others[i], 0) != 0 || ot_attr_int(node, others[i], 0)) return false;
    a->product = a->softmax = a->weighted = k;
    a->whole = a->guard = true;
    if (!add_member(a, k)) return false;
    for (int i = 0; i < 3; i++) walk_back(r, a, &a->operand[i], node->in[i], i < 2);
    find_result(r, a);
    return true;
}

bool ot_attention_find(const struct readers *r, int k, struct attention *a, int *broken) {
    const struct node *softmax = &r->g->node[k];
    *a = (struct attention){.softmax = k, .tries = TRIES};
    *broken = -1;
    if (is_op(softmax, "Attention")) return find_whole(r, a, k);
    if (!find_product(r, a, softmax->in[0], broken)) return false;
    add_member(a, k);
    if (!find_weighted(r, a, softmax->out[0], broken) || !order_scores(a)) return false;
    const struct node *product = &r->g->node[a->product];
    for (int i = 0; i < BETWEEN; i++) walk_back(r, a, &a->operand[i], product->in[i], true);
    walk_back(r, a, &a->operand[2], r->g->node[a->weighted].in[1], false);
    find_result(r, a);
    return true;
}
