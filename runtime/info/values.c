/* values.c - the values of an algorithm that is recognised: what makes them, what they
 * hold. */
#include "runtime/info/training.h"

#include <string.h>

#include "runtime/base/pattern.h"

ot_status ot_training_refuse(const struct reader *r, int k, const char *why) {
    const struct node *n = &r->g->node[k];
    const char *name = *n->name || n->out[0] < 0 ? n->name : r->g->value[n->out[0]].name;
    return ot_fail(r->err, OT_ERROR_UNSUPPORTED, "training_info: node '%.80s' (%.60s): %.200s",
                   name, n->op_type, why);
}

static bool is_absent(const struct node *n, int i) { return i >= n->n_in || n->in[i] < 0; }

/* Does the node do what its name and these inputs say, and no more? */
static bool is_unmodified(const struct node *n, int n_in) {
    const struct op *op = ot_op_of(n);
    if (!op || ot_op_check(op, n, NULL)) return false;
    if (!strcmp(n->op_type, "ReduceMean"))
        return is_absent(n, 1) && !ot_attr(n, "axes") && !ot_attr_int(n, "noop_with_empty_axes", 0);
    if (!strcmp(n->op_type, "SoftmaxCrossEntropyLoss"))
        return is_absent(n, 2) && !strcmp(ot_attr_string(n, "reduction", "mean"), "mean");
    if (!strcmp(n->op_type, "Cast")) return ot_attr_int(n, "to", 0) == OT_FLOAT;
    return n->n_in == n_in && !n->n_attr;
}

bool ot_training_match(const struct graph *g, const char *expression, int v, struct match *m) {
    struct expression e;
    const int k = v < 0 ? -1 : g->value[v].producer;
    if (k < 0 || g->node[k].out[0] != v) return false;
    ot_expression(&e, expression);
    if (!ot_match(&e, g, k, m)) return false;
    for (int i = 0; i < e.n; i++) {
        const struct term *t = &e.term[i];
        if (t->kind == OT_TERM_NODE && !is_unmodified(&g->node[m->node[t->index]], t->n_args))
            return false;
    }
    return true;
}

bool ot_training_scalar(const struct graph *g, int v, float *number) {
    const struct tensor *t = v < 0 ? NULL : g->value[v].constant;
    if (!t || t->type != OT_FLOAT || t->pattern || ot_elements(t) != 1) return false;
    *number = *(const float *)t->data;
    return true;
}

ot_status ot_training_gather(const ot_allocator *allocator, const struct parameter *p,
                             const struct tensor *from, float *to, ot_error *err) {
    float *dense = NULL;
    if (from->pattern) {
        dense = ot_block_alloc(allocator, (size_t)ot_elements(from), sizeof *dense);
        if (!dense) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a moment");
        ot_pattern_scatter(from->pattern, from->data, dense);
    }
    const float *values = dense ? dense : from->data;
    if (p->t.pattern)
        ot_pattern_gather(p->t.pattern, values, to);
    else
        memcpy(to, values, ot_bytes(&p->t));
    ot_block_free(allocator, dense);
    return OT_OK;
}
