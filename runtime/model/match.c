/* match.c - finds nodes of a graph that make up an expression. */
#include "runtime/model/match.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading a pattern ---- */

static const char *blanks(const char *s) { return s + strspn(s, " "); }

/* -1: the pattern has too many values. */
static int value_index(struct expression *e, const struct term *t) {
    for (const struct term *o = e->term; o < t; o++)
        if (o->kind == OT_TERM_VALUE && o->length == t->length &&
            !strncmp(o->text, t->text, (size_t)t->length))
            return o->index;
    return e->values < OT_MATCH_VALUES ? e->values++ : -1;
}

/* Each function returns where its part of the pattern ends; NULL: the pattern is wrong. */
static const char *read_term(struct expression *e, const char *s, int *index);

static const char *read_args(struct expression *e, struct term *t, const char *s,
                             const char *marks) {
    do {
        if (t->n_args == OT_MATCH_ARGS) return NULL;
        s = read_term(e, s + 1, &t->arg[t->n_args++]);
        if (!s) return NULL;
        s = blanks(s);
    } while (*s == marks[0]);
    return *s == marks[1] ? s + 1 : NULL;
}

static const char *read_number(struct term *t, const char *s) {
    char *end;
    t->kind = OT_TERM_NUMBER;
    t->number = strtof(s, &end);
    return end > s ? end : NULL;
}

/* An operator with its arguments; s stands behind the name. */
static const char *read_node(struct expression *e, struct term *t, const char *s) {
    t->kind = *s == '*' ? OT_TERM_PRODUCT : OT_TERM_NODE;
    t->index = e->nodes;
    t->optional = *s == '?';
    s += t->optional || t->kind == OT_TERM_PRODUCT;
    if (*s != '(') return NULL;
    if (t->kind == OT_TERM_NODE) e->nodes++;
    s = read_args(e, t, s, ",)");
    if (t->kind == OT_TERM_PRODUCT) { /* its nodes come behind those of its factors */
        t->index = e->nodes;
        e->nodes += t->n_args - 1;
    }
    return e->nodes <= OT_MATCH_NODES ? s : NULL;
}

static const char *read_term(struct expression *e, const char *s, int *index) {
    if (e->n == OT_MATCH_TERMS) return NULL;
    s = blanks(s);
    *index = e->n;
    struct term *t = &e->term[e->n++];
    *t = (struct term){.text = s};
    if (*s == '{') {
        t->kind = OT_TERM_CHOICE;
        return read_args(e, t, s, ";}");
    }
    while (isalnum((unsigned char)s[t->length]) || s[t->length] == '|') t->length++;
    if (islower((unsigned char)*s)) {
        t->kind = OT_TERM_VALUE;
        t->index = value_index(e, t);
        return t->index < 0 ? NULL : s + t->length;
    }
    if (!isupper((unsigned char)*s)) return read_number(t, s);
    return read_node(e, t, s + t->length);
}

bool ot_expression(struct expression *e, const char *pattern) {
    int whole = 0;
    e->n = e->values = e->nodes = 0;
    const char *end = read_term(e, pattern, &whole);
    const bool good = end && !*blanks(end) && e->term[whole].kind >= OT_TERM_NODE;
    if (!good) e->n = 0;
    return good;
}

/* ---- matching ---- */

struct search {
    const struct expression *e;
    const struct graph *g;
};

static bool match_value(const struct search *s, const struct term *t, int v, struct match *m);

static bool is_operator(const struct term *t, const char *op_type) {
    const size_t n = strlen(op_type);
    for (const char *at = t->text, *end = t->text + t->length; at < end;) {
        const char *bar = memchr(at, '|', (size_t)(end - at));
        const char *stop = bar ? bar : end;
        if ((size_t)(stop - at) == n && !memcmp(at, op_type, n)) return true;
        at = stop + 1;
    }
    return false;
}

static bool is_number(const struct graph *g, int v, float number) {
    const struct tensor *c = g->value[v].constant;
    if (!c || g->value[v].varies || c->type != OT_FLOAT || c->pattern || ot_elements(c) != 1)
        return false;
    return fabsf(*(const float *)c->data - number) <= 1e-4f * fabsf(number);
}

/* The arguments in this order, or with the first two swapped; m is as it was where they do not. */
static bool match_args(const struct search *s, const struct term *t, const struct node *node,
                       bool swap, struct match *m) {
    const struct match before = *m;
    for (int i = 0; i < t->n_args; i++) {
        const int v = node->in[swap && i < 2 ? 1 - i : i];
        if (v >= 0 && match_value(s, &s->e->term[t->arg[i]], v, m)) continue;
        *m = before;
        return false;
    }
    return true;
}

static bool match_node(const struct search *s, const struct term *t, int k, struct match *m) {
    const struct node *node = &s->g->node[k];
    const bool commutes = !strcmp(node->op_type, "Add") || !strcmp(node->op_type, "Mul");
    if (*node->domain || !is_operator(t, node->op_type) || node->n_in < t->n_args) return false;
    if (commutes && node->n_attr) return false; /* the broadcasting of old opsets */
    if (!match_args(s, t, node, false, m) &&
        !(commutes && t->n_args == 2 && match_args(s, t, node, true, m)))
        return false;
    m->node[t->index] = k;
    return true;
}

/* Does the node hand on floats as they are? */
static bool hands_on(const struct node *node) {
    const bool cast = !strcmp(node->op_type, "Cast") && ot_attr_int(node, "to", 0) == OT_FLOAT;
    return !*node->domain && (cast || !strcmp(node->op_type, "Identity"));
}

/* Takes such a node into the match. */
static bool passes(const struct search *s, int k, struct match *m) {
    for (int i = 0; hands_on(&s->g->node[k]) && i < OT_MATCH_BETWEEN; i++) {
        if (m->between[i] >= 0) continue;
        m->between[i] = k;
        return true;
    }
    return false;
}

/* What is handed on to v. */
static int origin(const struct graph *g, int v) {
    for (int k = g->value[v].producer; k >= 0 && hands_on(&g->node[k]); k = g->value[v].producer)
        v = g->node[k].in[0];
    return v;
}

/* Do the factors of this set make up v? */
static bool match_product(const struct search *s, const struct term *t, unsigned set, int v,
                          struct match *m) {
    if (!(set & (set - 1))) return match_value(s, &s->e->term[t->arg[__builtin_ctz(set)]], v, m);
    const struct match before = *m;
    const int k = s->g->value[v].producer;
    const struct node *node = k < 0 ? NULL : &s->g->node[k];
    int slot = t->index;
    if (node && passes(s, k, m)) return match_product(s, t, set, node->in[0], m);
    if (!node || *node->domain || strcmp(node->op_type, "Mul") || node->n_attr) return false;
    while (m->node[slot] >= 0) slot++;
    for (unsigned left = (set - 1) & set; left; left = (left - 1) & set) {
        m->node[slot] = k;
        if (match_product(s, t, left, node->in[0], m) &&
            match_product(s, t, set & ~left, node->in[1], m))
            return true;
        *m = before;
    }
    return false;
}

static bool match_kind(const struct search *s, const struct term *t, int v, struct match *m) {
    const struct match before = *m;
    const int k = s->g->value[v].producer;
    if (t->kind == OT_TERM_PRODUCT) return match_product(s, t, (1u << t->n_args) - 1, v, m);
    for (int i = 0; t->kind == OT_TERM_CHOICE && i < t->n_args; i++) {
        if (match_value(s, &s->e->term[t->arg[i]], v, m)) return true;
        *m = before;
    }
    return t->kind == OT_TERM_NODE && k >= 0 && s->g->node[k].out[0] == v && match_node(s, t, k, m);
}

static bool match_value(const struct search *s, const struct term *t, int v, struct match *m) {
    if (t->kind == OT_TERM_NUMBER) return is_number(s->g, v, t->number);
    if (t->kind == OT_TERM_VALUE) {
        const int known = m->value[t->index];
        if (known >= 0) return known == v || origin(s->g, known) == origin(s->g, v);
        m->value[t->index] = v;
        return true;
    }
    const struct match before = *m;
    const int k = s->g->value[v].producer;
    if (match_kind(s, t, v, m)) return true;
    *m = before;
    if (k >= 0 && passes(s, k, m) && match_value(s, t, s->g->node[k].in[0], m)) return true;
    *m = before;
    return t->optional && match_value(s, &s->e->term[t->arg[0]], v, m);
}

bool ot_match(const struct expression *e, const struct graph *g, int k, struct match *m) {
    const struct search s = {e, g};
    memset(m, -1, sizeof *m);
    if (!e->n) return false;
    const struct term *t = &e->term[0];
    while (t->optional && !is_operator(t, g->node[k].op_type)) t = &e->term[t->arg[0]];
    return match_kind(&s, t, g->node[k].out[0], m);
}
