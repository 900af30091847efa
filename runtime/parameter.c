/* parameter.c - which initializers are weights, and their values. */
#include "runtime/parameter.h"

#include <string.h>

#include "ops/op.h"

/* Through views, Transpose and Cast back to the constant that feeds value v; -1 if none does. */
static int origin(const struct graph *g, int v) {
    while (v >= 0 && !g->value[v].constant) {
        int k = g->value[v].producer;
        if (k < 0) return -1;
        const struct op *op = ot_op_find(g->node[k].op_type);
        if (!op || !(op->view || !strcmp(op->name, "Transpose"))) return -1;
        v = g->node[k].in[0];
    }
    return v;
}

/* Operands of elementwise operators are weights only if they look like it: an initializer of more
 * than one element. Scalars and Constant nodes are fixed numbers of the formula. */
static bool is_weight(const struct graph *g, const struct op *op, int v) {
    const struct tensor *t = g->value[v].constant;
    if (t->type != OT_FLOAT) return false;
    bool elementwise = (op->parameters & OT_X(0)) && !op->sparse_in;
    return !elementwise || (g->value[v].kind == OT_VALUE_INITIALIZER && ot_elements(t) > 1);
}

/* Calls visit for every (weight value, node, input) of the graph. */
struct finder {
    const struct graph *g;
    struct parameter *parameter; /* NULL: only counts */
    int n;
    int *parameter_of;
};

static void visit(struct finder *f, const struct op *op, int v, bool statistic) {
    const struct value *value = &f->g->value[v];
    if (f->parameter_of[v] >= 0) return;
    f->parameter_of[v] = f->n++;
    if (!f->parameter) return;
    f->parameter[f->n - 1] = (struct parameter){.value = v,
                                                .name = value->name,
                                                .op = op->name,
                                                .t = *value->constant,
                                                .is_statistic = statistic,
                                                .is_norm = op->statistics != 0,
                                                .trainable = !statistic && value->exportable};
}

static void walk(struct finder *f) {
    for (int v = 0; v < f->g->n_values; v++) f->parameter_of[v] = -1;
    f->n = 0;
    for (int k = 0; k < f->g->n_nodes; k++) {
        const struct node *node = &f->g->node[k];
        const struct op *op = ot_op_find(node->op_type);
        for (int i = 0; op && i < node->n_in && i < 16; i++) {
            bool statistic = (op->statistics >> i) & 1;
            if (!statistic && !((op->parameters >> i) & 1)) continue;
            int v = origin(f->g, node->in[i]);
            if (v >= 0 && is_weight(f->g, op, v)) visit(f, op, v, statistic);
        }
    }
}

/* A large weight is trained where the graph has it: export writes the present values. What export
 * cannot write it compares with the file's, so there the graph keeps them, and with small ones,
 * which may not be aligned. */
static bool may_stay(const struct graph *g, const struct parameter *p) {
    return g->value[p->value].exportable && (uintptr_t)p->t.data % 64 == 0 &&
           ot_bytes(&p->t) >= 4096;
}

static ot_status own_values(struct parameter *p, const struct graph *g,
                            const ot_allocator *allocator, ot_error *err) {
    const struct tensor from = p->t;
    p->t.role = OT_ROLE_PARAM;
    p->t.pattern = ot_pattern_ref(from.pattern);
    p->in_graph = may_stay(g, p);
    if (p->in_graph) return OT_OK;
    p->t.data = ot_block_alloc(allocator, (size_t)ot_count(&from), sizeof(float));
    if (!p->t.data)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weight '%s'", p->name);
    memcpy(p->t.data, from.data, ot_bytes(&from));
    return OT_OK;
}

ot_status ot_parameters_find(const struct graph *g, const ot_allocator *allocator,
                             struct parameter **parameter, int *n, int *parameter_of,
                             ot_error *err) {
    struct finder f = {.g = g, .parameter_of = parameter_of};
    walk(&f);
    int found = f.n;
    f.parameter = ot_block_alloc(allocator, (size_t)found, sizeof *f.parameter);
    if (!f.parameter) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    walk(&f);
    for (int i = 0; i < found; i++) {
        ot_status status = own_values(&f.parameter[i], g, allocator, err);
        if (!status) continue;
        for (int k = i + 1; k < found; k++) f.parameter[k].t.data = NULL;
        for (int k = i + 1; k < found; k++) f.parameter[k].t.pattern = NULL;
        ot_parameters_free(allocator, f.parameter, found);
        return status;
    }
    *parameter = f.parameter;
    *n = found;
    return OT_OK;
}

void ot_parameters_free(const ot_allocator *allocator, struct parameter *parameter, int n) {
    if (!parameter) return;
    for (int i = 0; i < n; i++) {
        struct parameter *p = &parameter[i];
        if (!p->in_graph) ot_block_free(allocator, p->t.data);
        ot_pattern_unref(p->t.pattern);
        ot_block_free(allocator, p->gradient);
        for (int k = 0; k < OT_MOMENTS; k++) ot_block_free(allocator, p->moment[k]);
    }
    ot_block_free(allocator, parameter);
}

ot_status ot_parameter_need(const ot_allocator *allocator, const struct parameter *p, float **block,
                            ot_error *err) {
    if (*block) return OT_OK;
    *block = ot_block_alloc(allocator, (size_t)ot_count(&p->t), sizeof(float));
    return *block ? OT_OK
                  : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the gradient of '%s'",
                            p->name);
}

/* One [..] class at *p against c; moves *p behind it. An unclosed one matches '[' itself. */
static bool class_matches(const char **p, char c) {
    const char *q = *p + 1;
    bool negate = *q == '!' || *q == '^', found = false;
    if (negate) q++;
    const char *first = q;
    for (; *q && (*q != ']' || q == first); q++) {
        char from = *q, to = *q;
        if (q[1] == '-' && q[2] && q[2] != ']') {
            to = q[2];
            q += 2;
        }
        if (c >= from && c <= to) found = true;
    }
    if (!*q) {
        (*p)++;
        return c == '[';
    }
    *p = q + 1;
    return found != negate;
}

bool ot_glob(const char *p, const char *text) {
    const char *star = NULL, *resume = NULL; /* where to go on after the last '*' */
    while (*text) {
        const char *next = p;
        bool match;
        if (*p == '*') {
            star = ++p;
            resume = text;
            continue;
        }
        if (*p == '[') {
            match = class_matches(&next, *text);
        } else {
            match = *p && (*p == '?' || *p == *text);
            next = p + 1;
        }
        if (match) {
            p = next;
            text++;
        } else if (star) {
            p = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*p == '*') p++;
    return !*p;
}
