/* join.c - neighbours that one pass over memory can compute become one node.
 *
 * fuse.c looks for patterns in the graph, before shapes are known; here they are, and layouts too.
 * The second of two nodes takes the first one in, if nobody else reads what the first one makes and
 * all that they touch has one shape and layout. The graph stays as it is: only this plan's steps
 * are fewer. Names of both remain in that of the new node.
 */
#include <stdio.h>
#include <string.h>

#include "runtime/compile/plan.h"

static const struct rule {
    const char *first, *second;
} rules[] = {
    {"BatchNormalization", "Relu"},      {"BatchNormalization", "Swish"},
    {"BatchNormalization", "HardSwish"}, {"BatchNormalization", "Add"},
    {"BatchNormalization+Add", "Relu"},  {"Add", "Relu"},
};

/* The operator that does both, or NULL. */
static const struct op *both(const struct op *first, const struct op *second) {
    char name[64];
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rules[i].first, first->name) || strcmp(rules[i].second, second->name)) continue;
        snprintf(name, sizeof name, "%s+%s", first->name, second->name);
        return ot_op_find(name);
    }
    return NULL;
}

static void count_uses(struct plan *p) {
    for (int i = 0; i < p->n_entries; i++) p->entries[i]->maker = -1;
    for (int i = 0; i < p->n_nodes; i++) {
        const struct op_node *n = &p->node[i]->n;
        for (int k = 0; k < n->n_in && !n->op->shape_only; k++)
            if (n->x[k]) ot_entry(n->x[k])->uses++;
    }
    for (int i = 0; i < p->n_outputs; i++) p->output[i]->uses++;
    if (p->logits) p->logits->uses++;
    for (int s = 0; s < p->n_steps; s++)
        for (int j = 0; j < p->step[s].node->n_out; j++)
            if (p->step[s].node->y[j]) ot_entry(p->step[s].node->y[j])->maker = s;
}

/* Does anybody read what the node makes, or is it there for something else? */
static bool is_read(const struct op_node *n) {
    bool read = n->op->statistics != 0;
    for (int j = 0; j < n->n_out; j++)
        read |= n->y[j] && (ot_entry(n->y[j])->uses || n->y[j]->role == OT_ROLE_CONST);
    return read || !n->n_out;
}

/* Nodes whose shape alone was asked for, or that an operator reads through, do not run. */
static void drop_unread(struct plan *p) {
    for (int i = p->n_nodes - 1; i >= 0; i--) {
        struct plan_node *pn = p->node[i];
        struct op_node *n = &pn->n;
        if (is_read(n)) continue;
        for (int k = 0; k < n->n_in; k++)
            if (n->x[k]) ot_entry(n->x[k])->uses--;
        for (int j = 0; j < n->n_out; j++) {
            const int s = n->y[j] ? ot_entry(n->y[j])->maker : -1;
            if (s >= 0 && p->step[s].node == n) p->step[s].node = NULL;
        }
        if (n->op->release) n->op->release(n);
        pn->merged = true;
    }
}

static bool alike(const struct tensor *a, const struct tensor *b) {
    return a->type == OT_FLOAT && b->type == OT_FLOAT && ot_same_shape(a, b) &&
           a->lanes == b->lanes && a->lane_rank == b->lane_rank;
}

static bool is_computed(const struct tensor *t) {
    return t->role == OT_ROLE_ACTIVATION || t->role == OT_ROLE_INPUT;
}

/* Whether `second`, whose input i is made by `first`, may take it in. */
static bool may_join(const struct op_node *first, const struct op_node *second, int i) {
    if (second->x[i] != first->y[0] || ot_entry(first->y[0])->uses != 1) return false;
    for (int j = 1; j < first->n_out; j++)
        if (first->y[j] && ot_entry(first->y[j])->uses) return false;
    for (int k = 0; k < second->n_in; k++)
        if (!second->x[k] || !is_computed(second->x[k]) || !alike(second->x[k], second->y[0]))
            return false;
    for (int k = 0; k < first->n_in; k++) /* an Add that broadcasts */
        if (first->x[k] && !strcmp(first->op->name, "Add") &&
            !(is_computed(first->x[k]) && alike(first->x[k], first->y[0])))
            return false;
    return true;
}

/* The first node as the file has it, with the attributes and under the name of both. */
static struct node *joint_node(struct plan *p, const struct op *op, const struct op_node *first,
                               const struct op_node *second) {
    struct node *node = ot_arena_alloc(&p->arena, 1, sizeof *node);
    const size_t size = strlen(first->node->name) + strlen(second->node->name) + 2;
    const int own = first->node->n_attr, added = second->node->n_attr;
    char *name = ot_arena_alloc(&p->arena, size, 1);
    struct attr *attr = ot_arena_alloc(&p->arena, (size_t)(own + added), sizeof *attr);
    if (!node || !name || !attr) return NULL;
    if (own) memcpy(attr, first->node->attr, (size_t)own * sizeof *attr);
    if (added) memcpy(attr + own, second->node->attr, (size_t)added * sizeof *attr);
    snprintf(name, size, "%s+%s", first->node->name, second->node->name);
    *node = *first->node;
    node->name = name;
    node->op_type = op->name;
    node->attr = attr;
    node->n_attr = own + added;
    node->n_in = first->n_in + second->n_in - 1;
    return node;
}

/* Input i of step s comes from the node of step `from`: step s does both. */
static ot_status join_steps(struct plan *p, const struct op *op, int from, int s, int i,
                            ot_error *err) {
    struct op_node *first = p->step[from].node, *second = p->step[s].node;
    struct node *node = joint_node(p, op, first, second);
    struct plan_node *pn = node ? ot_node_new(p, &p->arena, op, node, first->index) : NULL;
    if (!pn) return ot_plan_no_memory(err);
    struct op_node *n = &pn->n;
    for (int k = 0; k < first->n_in; k++) n->x[k] = first->x[k];
    for (int k = 0, at = first->n_in; k < second->n_in; k++)
        if (k != i) n->x[at++] = second->x[k];
    for (int j = 0; j < first->n_out; j++) {
        n->y[j] = j ? first->y[j] : second->y[0];
        if (n->y[j]) ot_entry(n->y[j])->maker = s;
    }
    OT_TRY(ot_node_prepare(p, pn, err));
    ((struct plan_node *)(void *)first)->merged = true;
    *(struct plan_node *)(void *)second = *pn;
    p->step[from].node = NULL;
    return OT_OK;
}

static ot_status join_step(struct plan *p, int s, ot_error *err) {
    const struct op_node *second = p->step[s].node;
    for (int i = 0; i < second->n_in; i++) {
        const int from = second->x[i] ? ot_entry(second->x[i])->maker : -1;
        if (from < 0 || !p->step[from].node) continue;
        const struct op_node *first = p->step[from].node;
        const struct op *op = both(first->op, second->op);
        if (op && may_join(first, second, i)) return join_steps(p, op, from, s, i, err);
    }
    return OT_OK;
}

/* Lists without what went into others. */
static void close_gaps(struct plan *p) {
    int n = 0;
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].node) p->step[n++] = p->step[s];
    p->n_steps = n;
    n = 0;
    for (int i = 0; i < p->n_nodes; i++)
        if (!p->node[i]->merged) p->node[n++] = p->node[i];
    p->n_nodes = n;
}

ot_status ot_join(struct plan *p, ot_error *err) {
    if (p->request.apart) return OT_OK;
    count_uses(p);
    drop_unread(p);
    for (int s = 0; s < p->n_steps; s++)
        if (p->step[s].node) OT_TRY(join_step(p, s, err));
    close_gaps(p);
    return OT_OK;
}
