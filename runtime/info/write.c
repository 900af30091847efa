/* write.c - an algorithm made of a session's loss and optimizer, for export.
 *
 * The gradient of a weight with a pattern goes through a mask, for whoever runs the algorithm with
 * dense weights. Moments and masks are spelled as their weight is.
 */
#include "runtime/info/training.h"
#include "runtime/model/logits.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 64, TRAINING_OPSET = 12 };

/* ---- the weights and their gradients ---- */

/* Values that lead to the loss. */
static void find_ways(const struct graph *g, int loss, bool *leads) {
    leads[loss] = true;
    for (int k = g->n_nodes - 1; k >= 0; k--) {
        const struct node *n = &g->node[k];
        bool on = false;
        for (int j = 0; j < n->n_out; j++) on |= n->out[j] >= 0 && leads[n->out[j]];
        for (int i = 0; on && i < n->n_in; i++)
            if (n->in[i] >= 0) leads[n->in[i]] = true;
    }
}

static bool is_trained(const struct recipe *s, const struct parameter *p) {
    return ot_is_trained(p) && !(p->is_norm && s->bn == OT_BN_FROZEN);
}

/* weight[i]: the value of parameter i, -1 where it is not trained; returns how many are. */
static int find_weights(struct writer *w, int *weight) {
    const struct recipe *s = w->s;
    const struct graph *g = s->model->graph;
    int n = 0;
    bool *leads = ot_write_take(w, (size_t)g->n_values, sizeof *leads);
    if (leads) find_ways(g, ot_loss_value(g, s->loss_kind, s->loss_output), leads);
    for (int i = 0; leads && i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        weight[i] = is_trained(s, p) && leads[p->value] ? p->value : -1;
        n += weight[i] >= 0;
        if (weight[i] >= 0 && p->dequantizer >= 0)
            ot_write_fail(w, OT_ERROR_UNSUPPORTED, "the weight '%.80s' is of integers", p->name);
    }
    if (!n) ot_write_fail(w, OT_ERROR_STATE, "no trainable weight leads to the loss");
    return n;
}

static void tell_names(struct writer *w, struct attr *a, const char *name, const int *v, int n) {
    const char **list = ot_write_take(w, (size_t)n, sizeof *list);
    if (!list) return;
    for (int i = 0; i < n; i++) list[i] = w->g->value[v[i]].name;
    *a = (struct attr){.name = name, .kind = OT_ATTR_STRINGS, .n = n, .strings = list};
}

/* Where a pattern has no slot, the weight stays zero. */
static int write_mask(struct writer *w, const struct parameter *p, int number, int gradient) {
    char name[NAME];
    struct tensor t = p->t;
    float *ones = ot_write_take(w, (size_t)ot_count(&t), sizeof *ones);
    if (!ones) return -1;
    for (int64_t i = 0; i < ot_count(&t); i++) ones[i] = 1;
    t.data = ones;
    snprintf(name, sizeof name, "mask%d", number);
    const int mask = ot_write_tensor(w, name, t, &w->g->value[p->value]);
    snprintf(name, sizeof name, "masked%d", number);
    return ot_write_expression(w, name, OT_FORM_MASK, (int[]){gradient, mask});
}

/* gradient[i]: of each weight. */
static void write_gradients(struct writer *w, int loss, const int *weight, int n, int *gradient) {
    const struct graph *m = w->s->model->graph;
    const int zs = m->n_inputs + w->g->algorithm->n_inputs;
    struct node *node = ot_write_node(w, "Gradient", OT_TRAINING_DOMAIN, n + zs, n, 3);
    if (!node) return;
    int j = 0, *in = node->in, *out = node->out;
    struct attr *attr = node->attr;
    for (int i = 0; i < w->s->model->n_parameters; i++) {
        char name[NAME];
        if ((gradient[i] = weight[i]) < 0) continue;
        in[j] = weight[i];
        snprintf(name, sizeof name, "gradient%d", i);
        out[j++] = gradient[i] = ot_write_value(w, name, OT_VALUE_NODE);
    }
    for (int i = 0; i < m->n_inputs; i++) in[n + i] = m->input[i];
    for (int i = m->n_inputs; i < zs; i++) in[n + i] = w->g->algorithm->input[i - m->n_inputs];
    tell_names(w, &attr[0], "xs", in, n);
    const char *y = loss < 0 ? "" : w->g->value[loss].name;
    attr[1] = (struct attr){.name = "y", .kind = OT_ATTR_STRING, .n = (int64_t)strlen(y), .s = y};
    tell_names(w, &attr[2], "zs", in + n, zs);
    for (int i = 0; i < w->s->model->n_parameters; i++)
        if (gradient[i] >= 0 && w->s->model->parameter[i].t.pattern)
            gradient[i] = write_mask(w, &w->s->model->parameter[i], i, gradient[i]);
}

/* ---- statistics ---- */

/* A BatchNormalization that trains moves its statistics; the file has to say so itself. */
static void write_statistics(struct writer *w) {
    const struct graph *m = w->s->model->graph;
    const ot_bn_mode bn = w->s->bn;
    for (int k = 0; k < m->n_nodes; k++) {
        const struct node *n = &m->node[k];
        const struct op *op = ot_op_of(n);
        if (!op || !op->statistics) continue;
        const bool says = ot_node_trains(n), does = bn == OT_BN_AUTO ? says : bn == OT_BN_TRAIN;
        if (says != does || (does && (n->n_out < 3 || n->out[1] < 0 || n->out[2] < 0)))
            ot_write_fail(w, OT_ERROR_UNSUPPORTED,
                          "node '%.80s' (%.40s) is trained in another form than the file has",
                          n->name, n->op_type);
        for (int i = 3; does && i < 5 && !w->status; i++) {
            char name[NAME];
            snprintf(name, sizeof name, "statistic%d_%d", k, i);
            ot_write_binding(w, n->in[i],
                             ot_write_expression(w, name, "Identity(x)", &n->out[i - 2]));
        }
    }
}

/* ---- all of it ---- */

static void check_recipe(struct writer *w) {
    const ot_optimizer_options *o = &w->s->optimizer;
    if (!w->s->has_optimizer) ot_write_fail(w, OT_ERROR_STATE, "there is no optimizer");
    if (w->s->model->graph->opset < TRAINING_OPSET)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "training_info needs opset %d, but the model has %d",
                      TRAINING_OPSET, (int)w->s->model->graph->opset);
    for (int k = 0; k < w->s->model->graph->n_nodes; k++)
        if (w->s->model->graph->node[k].body)
            ot_write_fail(w, OT_ERROR_UNSUPPORTED, "the model has loops: '%.80s'",
                          w->s->model->graph->node[k].name);
    if (o->schedule != OT_SCHEDULE_CONSTANT || w->s->steps < o->warmup_steps)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "the learning rate changes: schedule or warm-up");
    if (o->clip_norm > 0)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "gradients are clipped: clip_norm");
}

/* A beginning of names that no value of the model has. Its old algorithm is not written again. */
static const char *find_prefix(struct writer *w) {
    const struct graph *m = w->s->model->graph;
    const int n = m->algorithm ? m->algorithm->first_value : m->n_values;
    char *prefix = ot_write_take(w, NAME, 1);
    bool taken = prefix != NULL;
    for (int i = 0; taken; i++) {
        snprintf(prefix, NAME, i ? "training%d/" : "training/", i);
        taken = false;
        for (int v = 0; v < n && !taken; v++)
            taken = !strncmp(m->value[v].name, prefix, strlen(prefix));
    }
    return prefix;
}

static void begin_graph(struct writer *w) {
    const struct recipe *s = w->s;
    const size_t n = (size_t)s->model->graph->n_values;
    w->prefix = find_prefix(w);
    w->g = ot_write_take(w, 1, sizeof *w->g);
    struct algorithm *a = ot_write_take(w, 1, sizeof *a);
    if (!w->g || !a) return;
    w->g->algorithm = a;
    w->g->value = ot_write_take(w, n + 64, sizeof *w->g->value);
    a->input = ot_write_take(w, 1, sizeof *a->input);
    const size_t bindings = (1 + OT_OPTIMIZER_MOMENTS) * (size_t)s->model->n_parameters + 1;
    a->binding = ot_write_take(w, bindings, sizeof *a->binding);
    if (w->status) return;
    memcpy(w->g->value, s->model->graph->value, n * sizeof *w->g->value);
    w->g->n_values = (int)n;
    w->value_room = (int)n + 64;
}

ot_status ot_training_write(const struct recipe *s, struct arena *arena,
                            const struct graph **algorithm, ot_error *err) {
    struct writer w = {.s = s, .arena = arena, .err = err};
    check_recipe(&w);
    begin_graph(&w);
    int *weight = ot_write_take(&w, (size_t)s->model->n_parameters, sizeof *weight);
    int *gradient = ot_write_take(&w, (size_t)s->model->n_parameters, sizeof *gradient);
    const int n = weight ? find_weights(&w, weight) : 0;
    const int loss = w.status ? -1 : ot_training_write_loss(&w);
    if (!w.status) write_gradients(&w, loss, weight, n, gradient);
    if (!w.status) ot_training_write_rules(&w, weight, gradient);
    if (!w.status) write_statistics(&w);
    if (w.status) return w.status;
    w.g->n_outputs = 1;
    w.g->output = ot_write_take(&w, 1, sizeof *w.g->output);
    if (!w.g->output) return w.status;
    w.g->output[0] = loss;
    *algorithm = w.g;
    return OT_OK;
}
