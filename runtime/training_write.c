/* training_write.c - an algorithm made of a session's loss and optimizer, for export.
 *
 * The gradient of a weight with a pattern goes through a mask, for whoever runs the algorithm with
 * dense weights. Moments and masks are spelled as their weight is.
 */
#include "runtime/training.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 64, TRAINING_OPSET = 12 };

/* ---- values and nodes ---- */

void ot_write_fail(struct writer *w, ot_status status, const char *format, ...) {
    char text[400];
    va_list list;
    if (w->status) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    w->status = ot_fail(w->err, status, "training_info cannot be written: %s", text);
}

static void *take(struct writer *w, size_t n, size_t size) {
    void *memory = w->status ? NULL : ot_arena_alloc(w->arena, n, size);
    if (!memory) ot_write_fail(w, OT_ERROR_NO_MEMORY, "out of memory");
    return memory;
}

/* list with room for one more than n. */
static bool grow(struct writer *w, void *list, int n, int *room, size_t size) {
    if (n < *room) return true;
    void *bigger = take(w, 2 * (size_t)n + 64, size), *old;
    if (!bigger) return false;
    memcpy(&old, list, sizeof old);
    if (n) memcpy(bigger, old, (size_t)n * size);
    memcpy(list, &bigger, sizeof bigger);
    *room = 2 * n + 64;
    return true;
}

int ot_write_value(struct writer *w, const char *name, enum value_kind kind) {
    struct graph *g = w->g;
    const size_t size = strlen(w->prefix) + strlen(name) + 1;
    char *whole = take(w, size, 1);
    if (!whole || !grow(w, &g->value, g->n_values, &w->value_room, sizeof *g->value)) return -1;
    snprintf(whole, size, "%s%s", w->prefix, name);
    g->value[g->n_values] = (struct value){.name = whole, .kind = kind, .producer = -1, .rank = -1};
    return g->n_values++;
}

static void set_shape(struct value *v, ot_type type, int rank, const int64_t *dim) {
    v->type = type;
    v->rank = rank;
    if (rank > 0) memcpy(v->dim, dim, (size_t)rank * sizeof *dim);
}

int ot_write_tensor(struct writer *w, const char *name, struct tensor t, const struct value *like) {
    struct tensor *kept = take(w, 1, sizeof *kept);
    const int v = ot_write_value(w, name, OT_VALUE_INITIALIZER);
    if (!kept || v < 0) return -1;
    *kept = t;
    struct value *value = &w->g->value[v];
    set_shape(value, t.type, t.rank, t.dim);
    value->constant = kept;
    if (like) value->spelling = like->spelling;
    return v;
}

int ot_write_number(struct writer *w, const char *name, float number) {
    float *data = take(w, 1, sizeof *data);
    if (!data) return -1;
    *data = number;
    return ot_write_tensor(w, name, (struct tensor){.type = OT_FLOAT, .data = data}, NULL);
}

struct node *ot_write_node(struct writer *w, const char *op, const char *domain, int n_in,
                           int n_out, int n_attr) {
    struct graph *g = w->g;
    int *ends = take(w, (size_t)n_in + (size_t)n_out, sizeof *ends);
    struct attr *attr = take(w, (size_t)n_attr + 1, sizeof *attr);
    if (!ends || !attr || !grow(w, &g->node, g->n_nodes, &w->node_room, sizeof *g->node))
        return NULL;
    struct node *n = &g->node[g->n_nodes++];
    *n = (struct node){.name = "",
                       .op_type = op,
                       .domain = domain,
                       .n_in = n_in,
                       .n_out = n_out,
                       .n_attr = n_attr,
                       .in = ends,
                       .out = ends + n_in,
                       .attr = attr};
    return n;
}

/* ---- expressions ---- */

/* What an operator needs beside its inputs to do what readers expect. */
static struct attr attribute_of(const char *op) {
    if (!strcmp(op, "Cast")) return (struct attr){.name = "to", .kind = OT_ATTR_INT, .i = OT_FLOAT};
    if (!strcmp(op, "ReduceMean"))
        return (struct attr){.name = "keepdims", .kind = OT_ATTR_INT, .i = 0};
    return (struct attr){0};
}

static int write_term(struct writer *w, const struct expression *e, int index, const char *name,
                      const int *values) {
    const struct term *t = &e->term[index];
    if (t->kind == OT_TERM_VALUE) return values[t->index];
    assert(t->kind == OT_TERM_NODE);
    char *op = take(w, (size_t)t->length + 1, 1), inner[NAME];
    int in[OT_MATCH_ARGS];
    if (!op) return -1;
    memcpy(op, t->text, (size_t)t->length);
    for (int i = 0; i < t->n_args; i++) {
        snprintf(inner, sizeof inner, "t%d", w->inner++);
        in[i] = write_term(w, e, t->arg[i], inner, values);
    }
    const struct attr a = attribute_of(op);
    struct node *n = ot_write_node(w, op, "", t->n_args, 1, a.name != NULL);
    const int out = ot_write_value(w, name, OT_VALUE_NODE);
    if (!n || out < 0) return -1;
    memcpy(n->in, in, (size_t)t->n_args * sizeof *in);
    n->out[0] = out;
    if (a.name) n->attr[0] = a;
    return out;
}

int ot_write_expression(struct writer *w, const char *name, const char *expression,
                        const int *values) {
    struct expression e;
    ot_expression(&e, expression);
    for (int i = 0; i < e.values; i++)
        if (values[i] < 0) return -1; /* a failure before this call */
    return w->status ? -1 : write_term(w, &e, 0, name, values);
}

void ot_write_binding(struct writer *w, int key, int from) {
    struct algorithm *a = w->g->algorithm;
    if (w->status || key < 0 || from < 0) return;
    const struct value *k = &w->g->value[key];
    set_shape(&w->g->value[from], k->constant->type, k->rank, k->dim);
    a->binding[a->n_bindings++] = (struct binding){key, from};
}

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

static bool is_trained(const struct ot_session *s, const struct parameter *p) {
    return p->trainable && !p->is_statistic && !(p->is_norm && s->options.bn == OT_BN_FROZEN);
}

/* weight[i]: the value of parameter i, -1 where it is not trained; returns how many are. */
static int find_weights(struct writer *w, int *weight) {
    const struct ot_session *s = w->s;
    const struct graph *g = s->graph;
    int n = 0;
    bool *leads = take(w, (size_t)g->n_values, sizeof *leads);
    if (leads) find_ways(g, ot_loss_value(g, s->loss.kind, s->loss_output), leads);
    for (int i = 0; leads && i < s->n_parameters; i++) {
        const struct parameter *p = &s->parameter[i];
        weight[i] = is_trained(s, p) && leads[p->value] ? p->value : -1;
        n += weight[i] >= 0;
        if (weight[i] >= 0 && p->dequantizer >= 0)
            ot_write_fail(w, OT_ERROR_UNSUPPORTED, "the weight '%.80s' is of integers", p->name);
    }
    if (!n) ot_write_fail(w, OT_ERROR_STATE, "no trainable weight leads to the loss");
    return n;
}

static void tell_names(struct writer *w, struct attr *a, const char *name, const int *v, int n) {
    const char **list = take(w, (size_t)n, sizeof *list);
    if (!list) return;
    for (int i = 0; i < n; i++) list[i] = w->g->value[v[i]].name;
    *a = (struct attr){.name = name, .kind = OT_ATTR_STRINGS, .n = n, .strings = list};
}

/* Where a pattern has no slot, the weight stays zero. */
static int write_mask(struct writer *w, const struct parameter *p, int number, int gradient) {
    char name[NAME];
    struct tensor t = p->t;
    float *ones = take(w, (size_t)ot_count(&t), sizeof *ones);
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
    const struct graph *m = w->s->graph;
    const int zs = m->n_inputs + w->g->algorithm->n_inputs;
    struct node *node = ot_write_node(w, "Gradient", OT_TRAINING_DOMAIN, n + zs, n, 3);
    if (!node) return;
    int j = 0, *in = node->in, *out = node->out;
    struct attr *attr = node->attr;
    for (int i = 0; i < w->s->n_parameters; i++) {
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
    attr[1] = (struct attr){
        .name = "y", .kind = OT_ATTR_STRING, .n = (int64_t)strlen(y), .s = y};
    tell_names(w, &attr[2], "zs", in + n, zs);
    for (int i = 0; i < w->s->n_parameters; i++)
        if (gradient[i] >= 0 && w->s->parameter[i].t.pattern)
            gradient[i] = write_mask(w, &w->s->parameter[i], i, gradient[i]);
}

/* ---- statistics ---- */

/* A BatchNormalization that trains moves its statistics; the file has to say so itself. */
static void write_statistics(struct writer *w) {
    const struct graph *m = w->s->graph;
    const ot_bn_mode bn = w->s->options.bn;
    for (int k = 0; k < m->n_nodes; k++) {
        const struct node *n = &m->node[k];
        const struct op *op = ot_op_of(n);
        if (!op || !op->statistics) continue;
        const bool says = ot_node_trains(n), does = bn == OT_BN_AUTO ? says : bn == OT_BN_TRAIN;
        if (says != does || (does && (n->n_out < 3 || n->out[1] < 0 || n->out[2] < 0)))
            ot_write_fail(w, OT_ERROR_UNSUPPORTED,
                          "node '%.80s' (%.40s) trains in another form than the file has it in",
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

static void check_session(struct writer *w) {
    const struct optimizer *o = &w->s->optimizer;
    if (!o->is_set) ot_write_fail(w, OT_ERROR_STATE, "there is no optimizer");
    if (w->s->graph->opset < TRAINING_OPSET)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "it needs opset %d, the model has %d",
                      TRAINING_OPSET, (int)w->s->graph->opset);
    if (o->options.schedule != OT_SCHEDULE_CONSTANT || o->steps < o->options.warmup_steps)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "the learning rate changes: schedule or warm-up");
    if (o->options.clip_norm > 0)
        ot_write_fail(w, OT_ERROR_UNSUPPORTED, "gradients are clipped: clip_norm");
}

/* A beginning of names that no value of the model has. Its old algorithm is not written again. */
static const char *find_prefix(struct writer *w) {
    const struct graph *m = w->s->graph;
    const int n = m->algorithm ? m->algorithm->first_value : m->n_values;
    char *prefix = take(w, NAME, 1);
    bool taken = prefix != NULL;
    for (int i = 0; taken; i++) {
        snprintf(prefix, NAME, i ? "training%d/" : "training/", i);
        taken = false;
        for (int v = 0; v < n && !taken; v++)
            taken = !strncmp(m->value[v].name, prefix, strlen(prefix));
    }
    return prefix;
}

static void begin(struct writer *w) {
    const struct ot_session *s = w->s;
    const size_t n = (size_t)s->graph->n_values;
    w->prefix = find_prefix(w);
    w->g = take(w, 1, sizeof *w->g);
    struct algorithm *a = take(w, 1, sizeof *a);
    if (!w->g || !a) return;
    w->g->algorithm = a;
    w->g->value = take(w, n + 64, sizeof *w->g->value);
    a->input = take(w, 1, sizeof *a->input);
    a->binding = take(w, (1 + OT_MOMENTS) * (size_t)s->n_parameters + 1, sizeof *a->binding);
    if (w->status) return;
    memcpy(w->g->value, s->graph->value, n * sizeof *w->g->value);
    w->g->n_values = (int)n;
    w->value_room = (int)n + 64;
}

ot_status ot_training_write(const struct ot_session *s, struct arena *arena,
                            const struct graph **algorithm, ot_error *err) {
    struct writer w = {.s = s, .arena = arena, .err = err};
    check_session(&w);
    begin(&w);
    int *weight = take(&w, (size_t)s->n_parameters, sizeof *weight);
    int *gradient = take(&w, (size_t)s->n_parameters, sizeof *gradient);
    const int n = weight ? find_weights(&w, weight) : 0;
    const int loss = w.status ? -1 : ot_training_write_loss(&w);
    if (!w.status) write_gradients(&w, loss, weight, n, gradient);
    if (!w.status) ot_training_write_rules(&w, weight, gradient);
    if (!w.status) write_statistics(&w);
    if (w.status) return w.status;
    w.g->n_outputs = 1;
    w.g->output = take(&w, 1, sizeof *w.g->output);
    if (!w.g->output) return w.status;
    w.g->output[0] = loss;
    *algorithm = w.g;
    return OT_OK;
}
