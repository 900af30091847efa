/* head.c - a fresh classifier for another number of classes. */
#include <math.h>
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"
#include "runtime/base/rng.h"
#include "runtime/train/fresh.h"

/* Operators that keep the classes apart: the layer that makes them stands before. */
static const char *const transparent[] = {
    "Softmax",  "LogSoftmax",        "Sigmoid",    "Relu",
    "Clip",     "Dropout",           "Flatten",    "Reshape",
    "Squeeze",  "GlobalAveragePool", "ReduceMean", "AveragePool",
    "Identity", "GlobalMaxPool",     "Transpose",  NULL};

static bool is_transparent(const char *op_type) {
    for (int i = 0; transparent[i]; i++)
        if (!strcmp(op_type, transparent[i])) return true;
    return false;
}

struct head {
    const struct node *node;
    struct parameter *weight, *bias;
    int class_axis; /* of the weight */
    bool rectified; /* a Relu or Clip cuts its values off */
};

static struct parameter *parameter_at(struct ot_session *s, const struct node *node, int i) {
    int v = i < node->n_in ? node->in[i] : -1;
    return v >= 0 && s->model->parameter_of[v] >= 0
               ? &s->model->parameter[s->model->parameter_of[v]]
               : NULL;
}

/* Add of a bias behind a MatMul: the operand that is a weight. */
static struct parameter *added_bias(struct ot_session *s, const struct node *node,
                                    int *activation) {
    for (int i = 0; i < 2; i++) {
        struct parameter *p = parameter_at(s, node, i);
        if (!p) continue;
        *activation = node->in[1 - i];
        return p;
    }
    return NULL;
}

static bool cuts_off(const char *op_type) {
    return !strcmp(op_type, "Relu") || !strcmp(op_type, "Clip");
}

static bool is_layer(struct ot_session *s, struct head *h) {
    const struct node *n = h->node;
    h->weight = parameter_at(s, n, 1);
    struct parameter *bias = parameter_at(s, n, 2);
    if (bias) h->bias = bias;
    if (!strcmp(n->op_type, "Conv"))
        h->class_axis = 0;
    else if (!strcmp(n->op_type, "Gemm"))
        h->class_axis = ot_attr_int(n, "transB", 0) ? 0 : 1;
    else if (!strcmp(n->op_type, "MatMul"))
        h->class_axis = 1;
    else
        return false;
    bool matrix =
        h->weight && (!strcmp(n->op_type, "Conv") ? h->weight->t.rank > 2 : h->weight->t.rank == 2);
    return matrix && ot_attr_int(n, "group", 1) == 1;
}

/* May its shape change: can it be written back, and does nobody else compute with it? */
static bool is_free(const struct ot_session *s, const struct parameter *p) {
    const struct graph *g = s->model->graph;
    int uses = 0;
    for (int k = 0; k < g->all_nodes; k++)
        for (int i = 0; i < g->node[k].n_in; i++) uses += g->node[k].in[i] == p->value;
    for (int i = 0; i < g->n_outputs; i++) uses += g->output[i] == p->value;
    return uses == 1 && g->value[p->value].exportable;
}

static bool find_head(struct ot_session *s, struct head *h) {
    const struct graph *g = s->model->graph;
    int v = g->output[s->loss_output];
    *h = (struct head){0};
    for (;;) {
        int k = g->value[v].producer;
        if (k < 0) return false;
        h->node = &g->node[k];
        int next = h->node->n_in ? h->node->in[0] : -1;
        if (!strcmp(h->node->op_type, "Add")) {
            if (h->bias || !(h->bias = added_bias(s, h->node, &next))) return false;
        } else if (!is_transparent(h->node->op_type)) {
            return is_layer(s, h);
        } else if (cuts_off(h->node->op_type)) {
            h->rectified = true;
        }
        if (next < 0) return false;
        v = next;
    }
}

/* Fresh weights are uniform in [low, high]. */
struct range {
    double low, high;
};

/* +-1/sqrt(fan_in), PyTorch's default for linear layers and convolutions. Where a Relu follows,
 * features that are not negative themselves project to one side of zero for nearly all samples,
 * so that half of the classes would be born dead and never get a gradient: there the weights are
 * positive, all classes begin alive and, with a tenth of the size, nearly equal. */
static struct range fresh_range(const struct head *h, double fan_in) {
    const double bound = 1 / sqrt(fan_in);
    return h->rectified ? (struct range){0, 0.1 * bound} : (struct range){-bound, bound};
}

static ot_status fresh_values(struct ot_session *s, struct parameter *p, int axis, int64_t classes,
                              struct range r, struct fresh *fresh, ot_error *err) {
    struct tensor *t = &fresh->t;
    *fresh = (struct fresh){.p = p, .t = p->t, .structure = OT_STRUCTURE_NONE};
    t->dim[axis] = classes;
    t->pattern = NULL;
    t->data = NULL;
    float *values = ot_block_alloc(&s->allocator, (size_t)ot_elements(t), sizeof *values);
    if (!values) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the new head");
    uint64_t stream = 0x68656164u + (uint64_t)p->value;
    for (int64_t i = 0; i < ot_elements(t); i++)
        values[i] = (float)(r.low + (r.high - r.low) *
                                        ot_random_float(s->options.seed, stream, (uint64_t)i));
    t->data = values;
    return OT_OK;
}

/* The output's axis that had the old classes: a MatMul makes the last one, others the second. */
static void set_classes(struct value *output, int64_t old, int64_t classes, bool is_last) {
    const int last = output->rank - 1, axes[] = {is_last ? last : 1, is_last ? 1 : last};
    for (int i = 0; i < 2 && output->rank > 1; i++) {
        if (output->dim[axes[i]] != old && output->rank > 2) continue;
        output->dim[axes[i]] = classes;
        return;
    }
}

ot_status ot_new_head(ot_session *s, int64_t classes, const char **name, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    struct head h;
    if (classes < 1 || classes > 1 << 20)
        return ot_fail(err, OT_ERROR_ARGUMENT, "the number of classes is %lld, expected 1 to 2^20",
                       (long long)classes);
    if (!find_head(s, &h))
        return ot_fail(
            err, OT_ERROR_UNSUPPORTED,
            "output '%s' does not come from a Gemm, MatMul or Conv with a weight of its own",
            s->model->graph->value[s->model->graph->output[s->loss_output]].name);
    if (h.weight->mask)
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "the mask '%s' of the weight '%s' does not fit another number of classes",
                       h.weight->mask, h.weight->name);
    if (!is_free(s, h.weight) || (h.bias && !is_free(s, h.bias)))
        return ot_fail(err, OT_ERROR_UNSUPPORTED,
                       "the weight '%s' or its bias is used elsewhere too, or in a function",
                       h.weight->name);
    struct value *output = &s->model->graph->value[s->model->graph->output[s->loss_output]];
    int64_t old = h.weight->t.dim[h.class_axis];
    const struct range range =
        fresh_range(&h, (double)(ot_elements(&h.weight->t) / (old ? old : 1)));
    int bias_axis = h.bias ? h.bias->t.rank - 1 : 0;
    if (h.bias && (h.bias->t.rank < 1 || h.bias->t.dim[bias_axis] != old))
        return ot_fail(err, OT_ERROR_UNSUPPORTED, "the bias '%s' does not fit a new head",
                       h.bias->name);
    const int n = h.bias ? 2 : 1;
    struct fresh *fresh = ot_block_alloc(&s->allocator, (size_t)n, sizeof *fresh);
    ot_status status =
        fresh ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the new head");
    if (!status) status = fresh_values(s, h.weight, h.class_axis, classes, range, &fresh[0], err);
    if (!status && h.bias)
        status = fresh_values(s, h.bias, bias_axis, classes, range, &fresh[1], err);
    if (!status) status = ot_fresh_commit(s->model, &s->context.weights, fresh, n, err);
    ot_fresh_free(&s->allocator, fresh, n);
    if (status) return status;
    set_classes(output, old, classes, !strcmp(h.node->op_type, "MatMul"));
    s->head_classes = classes;
    ot_session_reset_loss(s);
    ot_session_forget_scores(s);
    s->optimizer.bound = 0;
    ot_session_drop_plans(s);
    if (name) *name = h.weight->name;
    return OT_OK;
}
