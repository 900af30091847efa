/* mask.c - tells masks of attention by their elements and by where they go. */
#include "runtime/model/mask.h"

#include <string.h>

#include "ops/op.h"

static const float closed = -100; /* and less: what is written for minus infinity */

/* Nodes stand in topological order: from the last one back, all consumers have been seen. */
void ot_mask_find_scores(const struct graph *g, bool *scores) {
    for (int k = g->all_nodes - 1; k >= 0; k--) {
        const struct node *node = &g->node[k];
        const struct op *op = ot_op_of(node);
        if (!op || *node->domain) continue;
        bool leads = !strcmp(op->name, "Softmax");
        if (op->moves || !strcmp(op->name, "Add") || !strcmp(op->name, "Sub") ||
            !strcmp(op->name, "Where"))
            for (int j = 0; j < node->n_out; j++)
                leads |= node->out[j] >= 0 && scores[node->out[j]];
        for (int i = 0; leads && i < node->n_in; i++)
            if (node->in[i] >= 0) scores[node->in[i]] = true;
    }
}

bool ot_is_added_mask(const struct graph *g, const bool *scores, const struct node *node, int i,
                      int v) {
    const struct tensor *t = g->value[v].constant;
    const float sign = !strcmp(node->op_type, "Sub") && i == 1 ? -1 : 1;
    int64_t below = 0;
    if (t->type != OT_FLOAT) return false;
    for (int64_t k = 0, n = ot_count(t); k < n; k++) {
        const float x = sign * ((const float *)t->data)[k];
        if (!(x == 0 || x <= closed)) return false;
        below += x != 0;
    }
    return below || (scores[v] && t->rank > 2);
}

bool ot_is_factor_mask(const struct graph *g, int v) {
    const struct tensor *t = g->value[v].constant;
    int64_t ones = 0;
    if (t->type != OT_FLOAT) return false;
    for (int64_t k = 0, n = ot_count(t); k < n; k++) {
        const float x = ((const float *)t->data)[k];
        if (x != 0 && x != 1) return false;
        ones += x != 0;
    }
    return ones && ones < ot_elements(t);
}
