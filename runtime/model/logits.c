/* logits.c - finds what makes probabilities of scores at a model's end, and what moves them. */
#include "runtime/model/logits.h"

#include <string.h>

#include "runtime/loss/loss.h"

enum { FIRST_WITH_MODE = 12 }; /* opset: Dropout's input training_mode */

static bool is_op(const struct node *n, const char *op_type) {
    return !strcmp(n->op_type, op_type);
}

bool ot_tail_keeps_place(const struct node *n) {
    if (is_op(n, "Identity")) return true;
    const int64_t to = is_op(n, "Cast") ? ot_attr_int(n, "to", 0) : OT_UNDEFINED;
    return to == OT_FLOAT || to == OT_FLOAT16 || to == OT_BFLOAT16 || to == OT_DOUBLE;
}

static bool is_rearrangement(const struct node *n) {
    return is_op(n, "Reshape") || is_op(n, "Transpose") || is_op(n, "Squeeze") ||
           is_op(n, "Unsqueeze") || is_op(n, "Flatten");
}

static bool makes_probabilities(const struct node *n) {
    return is_op(n, "Softmax") || is_op(n, "LogSoftmax") || is_op(n, "Sigmoid");
}

/* May this Dropout drop something in a training step? */
static bool may_drop(const struct graph *g, const struct node *n) {
    if (n->opset < FIRST_WITH_MODE) return n->opset >= 7 || !ot_attr_int(n, "is_test", 0);
    const struct tensor *mode = n->n_in > 2 && n->in[2] >= 0 ? g->value[n->in[2]].constant : NULL;
    if (n->n_in < 3 || n->in[2] < 0) return false;
    return !mode || mode->type != OT_BOOL || *(const uint8_t *)mode->data;
}

/* Notes what kind of node this is; false: no such tail goes through it. */
static bool note_node(const struct graph *g, const struct node *n, struct tail *t) {
    if (is_op(n, "Log") && !t->logarithm)
        t->logarithm = true;
    else if (is_op(n, "Dropout"))
        t->drops |= may_drop(g, n);
    else if (is_rearrangement(n))
        t->moves = true;
    else
        return ot_tail_keeps_place(n);
    return true;
}

void ot_tail_find(const struct graph *g, int output, struct tail *t) {
    *t = (struct tail){0};
    int v = g->output[output];
    while (t->n < OT_TAIL_NODES) {
        const int k = g->value[v].producer;
        const struct node *n = k < 0 ? NULL : &g->node[k];
        if (!n || *n->domain || n->n_in < 1 || n->in[0] < 0 || n->out[0] != v) break;
        t->node[t->n++] = k;
        if (makes_probabilities(n)) {
            if (t->logarithm && !is_op(n, "Softmax")) break;
            return;
        }
        if (!note_node(g, n, t)) break;
        v = n->in[0];
    }
    *t = (struct tail){0};
}

const char *ot_tail_activation(const struct graph *g, const struct tail *t) {
    return t->n ? g->node[t->node[t->n - 1]].op_type : "";
}

bool ot_tail_is_skipped(const struct graph *g, const struct tail *t, ot_loss_kind kind,
                        bool trains) {
    const char *activation = ot_tail_activation(g, t);
    if (t->drops && trains) return false;
    return (ot_loss_has_classes(kind) && !strcmp(activation, "Softmax")) ||
           (kind == OT_LOSS_BCE && !strcmp(activation, "Sigmoid"));
}

int ot_loss_value(const struct graph *g, ot_loss_kind kind, int output) {
    struct tail t;
    ot_tail_find(g, output, &t);
    const bool skipped = ot_tail_is_skipped(g, &t, kind, true) && !t.moves;
    return skipped ? g->node[t.node[t.n - 1]].in[0] : g->output[output];
}
