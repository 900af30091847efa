/* loss.c - losses as nodes, both ways: the mean over all targets of
 *   cross entropy   SoftmaxCrossEntropyLoss, label smoothing beside it (its second output is the
 *                   logarithm of Softmax)
 *   mse, l1         of d = x - t: d d, |d|
 *   huber           q (|d| - q / 2) with q = min(|d|, delta)
 *   bce             softplus(x) - x t
 */
#include "runtime/info/training.h"
#include "runtime/model/logits.h"

#include <stdio.h>
#include <string.h>

#define CROSS          "SoftmaxCrossEntropyLoss(x, t)"
#define ABS            "Abs(Sub(x, t))"
#define BEND           "Min(" ABS ", d)"
#define SMOOTHED(loss) "Sub(Mul(" loss ", a), Mul(ReduceMean(p), s))"

enum { X, T, A, B }; /* what all expressions name first, and what follows */

static const struct form {
    ot_loss_kind kind;
    const char *text;
} forms[] = {
    {OT_LOSS_CROSS_ENTROPY, CROSS},
    {OT_LOSS_CROSS_ENTROPY, SMOOTHED(CROSS)},
    {OT_LOSS_MSE, "ReduceMean(Mul(Sub(x, t), Sub(x, t)))"},
    {OT_LOSS_MSE, "ReduceMean(Pow(Sub(x, t), n))"}, /* read, not written */
    {OT_LOSS_L1, "ReduceMean(" ABS ")"},
    {OT_LOSS_HUBER, "ReduceMean(Mul(" BEND ", Sub(" ABS ", Mul(" BEND ", h))))"},
    {OT_LOSS_BCE, "ReduceMean(Sub(Softplus(x), Mul(x, t)))"},
};
enum { PLAIN, SMOOTH, SQUARE, POWER, ABSOLUTE, BENT, LOGISTIC, FORMS };
_Static_assert(FORMS == sizeof forms / sizeof *forms, "a name each");

/* ---- reading ---- */

static bool is_target(const struct graph *g, int v) {
    for (int i = 0; i < g->algorithm->n_inputs; i++)
        if (g->algorithm->input[i] == v) return true;
    return false;
}

/* The node of this operator among the matched ones. */
static const struct node *matched(const struct graph *g, const struct match *m, const char *op) {
    for (int i = 0; i < OT_MATCH_NODES; i++)
        if (m->node[i] >= 0 && !strcmp(g->node[m->node[i]].op_type, op))
            return &g->node[m->node[i]];
    return NULL;
}

static bool accept_cross(const struct graph *g, const struct match *m, ot_loss_options *o) {
    const struct attr *ignore = ot_attr(matched(g, m, "SoftmaxCrossEntropyLoss"), "ignore_index");
    o->use_ignore_index = ignore != NULL;
    if (ignore) o->ignore_index = ignore->i;
    return true;
}

/* (1 - s) loss - s mean(log softmax), with which targets that do not count would not go. */
static bool accept_smooth(const struct graph *g, const struct match *m, ot_loss_options *o) {
    const struct node *n = matched(g, m, "SoftmaxCrossEntropyLoss");
    float rest;
    return n->n_out == 2 && n->out[1] == m->value[A + 1] && !ot_attr(n, "ignore_index") &&
           ot_training_scalar(g, m->value[A], &rest) &&
           ot_training_scalar(g, m->value[A + 2], &o->label_smoothing) &&
           rest == 1 - o->label_smoothing;
}

/* Whether the numbers of form i are those of the loss. */
static bool accept(const struct graph *g, int i, const struct match *m, ot_loss_options *o) {
    float number;
    if (i == PLAIN) return accept_cross(g, m, o);
    if (i == SMOOTH) return accept_smooth(g, m, o);
    if (i == POWER) return ot_training_scalar(g, m->value[A], &number) && number == 2;
    if (i != BENT) return true;
    return ot_training_scalar(g, m->value[A], &o->huber_delta) && o->huber_delta > 0 &&
           ot_training_scalar(g, m->value[B], &number) && number == 0.5f;
}

/* The output of the model for which the loss looks at x; -1: none. */
static int find_output(const struct graph *g, ot_loss_kind kind, int x) {
    for (int i = 0; i < g->n_outputs; i++)
        if (ot_loss_value(g, kind, i) == x) return i;
    return -1;
}

static bool ranks_differ(const struct graph *g, ot_loss_kind kind, int x, int t) {
    const int have = g->value[t].rank, of = g->value[x].rank;
    return have >= 0 && of >= 0 && have != of - (kind == OT_LOSS_CROSS_ENTROPY);
}

static ot_status accept_loss(struct reader *r, int k, ot_loss_options o, int x, int t) {
    const struct graph *g = r->g;
    ot_error why;
    const bool symmetric = o.kind != OT_LOSS_CROSS_ENTROPY && o.kind != OT_LOSS_BCE;
    if (symmetric && is_target(g, x)) {
        const int other = x;
        x = t;
        t = other;
    }
    if (!is_target(g, t))
        return ot_training_refuse(r, k, "its target is not an input of the algorithm");
    const int output = find_output(g, o.kind, x);
    if (output < 0)
        return ot_training_refuse(r, k,
                                  "the loss reads a value that is not an output of the model "
                                  "(cross entropy needs scores, not probabilities)");
    if (ranks_differ(g, o.kind, x, t))
        return ot_training_refuse(r, k, "its target differs in rank from the output");
    if (ot_loss_check(&o, &why)) return ot_training_refuse(r, k, why.message);
    o.output = g->value[g->output[output]].name;
    r->t->loss = o;
    return OT_OK;
}

ot_status ot_training_read_loss(struct reader *r, int y) {
    const int k = r->g->value[y].producer;
    struct match m;
    for (int i = 0; i < FORMS; i++) {
        ot_loss_options o = {.kind = forms[i].kind};
        if (ot_training_match(r->g, forms[i].text, y, &m) && accept(r->g, i, &m, &o))
            return accept_loss(r, k, o, m.value[X], m.value[T]);
    }
    return ot_training_refuse(r, k, "it is not a loss that this library knows");
}

/* ---- writing ---- */

/* The target is the algorithm's input, of the type and shape that the loss wants. */
static int write_target(struct writer *w) {
    const struct graph *m = w->s->model->graph;
    const struct value *output = &m->value[m->output[w->s->loss_output]];
    const bool classes = w->s->loss_kind == OT_LOSS_CROSS_ENTROPY;
    const int v = ot_write_value(w, "target", OT_VALUE_INPUT);
    if (v < 0) return -1;
    struct value *t = &w->g->value[v];
    t->type = classes ? OT_INT64 : OT_FLOAT;
    for (int i = 0; i < output->rank; i++) /* [N, C, ...] becomes [N, ...] */
        if (!classes || i != 1) t->dim[i - (classes && i > 1)] = output->dim[i];
    t->rank = output->rank - (classes && output->rank > 1);
    w->g->algorithm->input[w->g->algorithm->n_inputs++] = v;
    return v;
}

/* SoftmaxCrossEntropyLoss; *p: its second output. */
static int write_cross(struct writer *w, const int *values, bool smooth, int *p) {
    const ot_loss_options *o = &w->s->loss;
    struct node *n =
        ot_write_node(w, "SoftmaxCrossEntropyLoss", "", 2, 1 + smooth, o->use_ignore_index != 0);
    if (!n) return -1;
    memcpy(n->in, values, 2 * sizeof *values);
    if (o->use_ignore_index)
        n->attr[0] =
            (struct attr){.name = "ignore_index", .kind = OT_ATTR_INT, .i = o->ignore_index};
    n->out[0] = ot_write_value(w, smooth ? "cross_entropy" : "loss", OT_VALUE_NODE);
    if (smooth) n->out[1] = *p = ot_write_value(w, "log_softmax", OT_VALUE_NODE);
    return w->status ? -1 : n->out[0];
}

static int write_cross_entropy(struct writer *w, const int *values) {
    const float smoothing = w->s->loss.label_smoothing;
    int p = -1;
    const int loss = write_cross(w, values, smoothing > 0, &p);
    if (smoothing == 0) return loss;
    if (w->s->loss.use_ignore_index)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED,
                      "label smoothing together with targets that are ignored");
    const int share = ot_write_number(w, "smoothing", smoothing);
    const int rest = ot_write_number(w, "rest", 1 - smoothing);
    return ot_write_expression(w, "loss", SMOOTHED("l"), (int[]){loss, rest, p, share});
}

/* SoftmaxCrossEntropyLoss takes scores and labels, its classes are the second axis. */
static bool is_expressible(struct writer *w) {
    const struct recipe *s = w->s;
    const int axis = s->loss.class_axis ? s->loss.class_axis : s->loss_axis;
    const int rank = s->model->graph->value[s->model->graph->output[s->loss_output]].rank;
    struct tail tail;
    ot_tail_find(s->model->graph, s->loss_output, &tail);
    const bool skipped = ot_tail_is_skipped(s->model->graph, &tail, s->loss_kind, true);
    const bool second = !axis || (axis < 0 ? axis + rank : axis) == 1;
    if (s->loss_kind == OT_LOSS_NEXT_TOKEN || (s->loss_kind == OT_LOSS_CROSS_ENTROPY && !second))
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "training_info has no %s with classes along axis %d",
                      ot_loss_name(s->loss_kind), axis ? axis : -1);
    if (skipped && tail.moves)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED,
                      "training_info: the output changes the shape of its %s",
                      ot_tail_activation(s->model->graph, &tail));
    return !w->status;
}

int ot_training_write_loss(struct writer *w) {
    const ot_loss_options *o = &w->s->loss;
    const ot_loss_kind kind = w->s->loss_kind;
    const int x = ot_loss_value(w->s->model->graph, kind, w->s->loss_output);
    if (!is_expressible(w)) return -1;
    int values[4] = {x, write_target(w)}, i = SQUARE, loss;
    while (i < FORMS - 1 && forms[i].kind != kind) i++;
    if (kind == OT_LOSS_HUBER) {
        values[A] = ot_write_number(w, "delta", o->huber_delta > 0 ? o->huber_delta : 1);
        values[B] = ot_write_number(w, "half", 0.5f);
    }
    loss = kind == OT_LOSS_CROSS_ENTROPY ? write_cross_entropy(w, values)
                                         : ot_write_expression(w, "loss", forms[i].text, values);
    if (loss >= 0) {
        w->g->value[loss].type = OT_FLOAT;
        w->g->value[loss].rank = 0;
    }
    return loss;
}
