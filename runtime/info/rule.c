/* rule.c - what optimizer updates a weight. */
#include <string.h>

#include "runtime/info/training.h"
#include "runtime/train/optimizer.h"

/* ---- reading: the parts of a rule ---- */

/* A number of the rule: one that never changes. */
static bool is_fixed_number(const struct reader *r, int v, float *number) {
    return ot_training_scalar(r->g, v, number) && r->bound[v] < 0;
}

static bool is_number(const struct reader *r, int v, float number) {
    float found;
    return is_fixed_number(r, v, &found) && found == number;
}

static bool is_one(const struct graph *g, int v) {
    const struct tensor *t = g->value[v].constant;
    return t && t->type == OT_INT64 && ot_elements(t) == 1 && *(const int64_t *)t->data == 1;
}

/* Steps taken so far: an initializer that grows by one in a step, or what it will be after it. */
static ot_status read_count(struct reader *r, int k, int v, bool needed, int64_t *steps) {
    const struct graph *g = r->g;
    struct match m;
    const bool after = ot_training_match(g, OT_FORM_COUNT, v, &m) && is_one(g, m.value[1]);
    if (after) v = m.value[0];
    const struct tensor *t = g->value[v].constant;
    if (!t || t->type != OT_INT64 || ot_elements(t) != 1 || *(const int64_t *)t->data < 0 ||
        *(const int64_t *)t->data > INT32_MAX)
        return ot_training_refuse(r, k,
                                  "its count of steps is not an initializer, or out of range");
    const int b = r->bound[v];
    *steps = 0;
    if (b < 0) return needed ? ot_training_refuse(r, k, "its count of steps never grows") : OT_OK;
    if (!ot_training_match(g, OT_FORM_COUNT, g->algorithm->binding[b].from, &m) ||
        m.value[0] != v || !is_one(g, m.value[1]))
        return ot_training_refuse(r, k, "its count of steps does not grow by 1");
    r->understood[b] = true;
    *steps = *(const int64_t *)t->data + after;
    return OT_OK;
}

/* Moment v becomes `after`. */
static ot_status read_moment(struct reader *r, int i, int k, int which, int v, int after) {
    const struct parameter *p = &r->s->model->parameter[i];
    const struct tensor *t = r->g->value[v].constant;
    const int b = r->bound[v];
    if (!t || t->type != OT_FLOAT || !ot_same_shape(t, &p->t))
        return ot_training_refuse(r, k, "a moment is not an initializer of its weight's shape");
    if (b < 0 || r->understood[b] || r->g->algorithm->binding[b].from != after)
        return ot_training_refuse(r, k, "a moment is not kept for the next step");
    r->understood[b] = true;
    r->t->moment[i * OT_OPTIMIZER_MOMENTS + which] = t;
    return OT_OK;
}

/* A mask may stop the zeros of a weight, which stay zero anyway, and nothing else. */
static ot_status read_mask(struct reader *r, int i, int k, int v) {
    const struct parameter *p = &r->s->model->parameter[i];
    const struct tensor *t = r->g->value[v].constant;
    const ot_allocator *al = &r->s->model->allocator;
    float *kept = ot_block_alloc(al, (size_t)ot_count(&p->t), sizeof *kept);
    if (!kept) return ot_fail(r->err, OT_ERROR_NO_MEMORY, "out of memory for a mask");
    ot_status status = ot_training_gather(al, p, t, kept, r->err);
    bool ones = true;
    for (int64_t j = 0; !status && ones && j < ot_count(&p->t); j++) ones = kept[j] == 1;
    ot_block_free(al, kept);
    if (status || ones) return status;
    return ot_training_refuse(r, k, "it changes gradients of nonzero weights");
}

/* v has to be the gradient of parameter i, with a mask over it or without. */
static ot_status read_gradient(struct reader *r, int i, int k, int v) {
    const struct graph *g = r->g;
    const int weight = r->s->model->parameter[i].value;
    struct match m;
    if (ot_training_match(g, OT_FORM_MASK, v, &m)) {
        const bool swapped = g->value[m.value[0]].constant != NULL;
        if (!g->value[m.value[!swapped]].constant)
            return ot_training_refuse(r, g->value[v].producer, "it is not a mask of a gradient");
        OT_TRY(read_mask(r, i, g->value[v].producer, m.value[!swapped]));
        v = m.value[swapped];
    }
    const int from = v < 0 ? -1 : g->value[v].producer;
    const struct node *n = from < 0 ? NULL : &g->node[from];
    if (!n || strcmp(n->op_type, "Gradient") || strcmp(n->domain, OT_TRAINING_DOMAIN) ||
        ot_op_check(ot_op_of(n), n, NULL))
        return ot_training_refuse(r, k, "its gradient does not come from a Gradient node");
    const struct attr *xs = ot_attr(n, "xs");
    int j = 0;
    while (j < n->n_out && n->out[j] != v) j++;
    if (!xs || j >= xs->n || j >= n->n_in || n->in[j] != weight)
        return ot_training_refuse(r, k, "it takes the gradient of another weight");
    if (r->gradient >= 0 && r->gradient != from)
        return ot_training_refuse(r, from,
                                  "it is the second Gradient node, but only one is supported");
    r->gradient = from;
    return OT_OK;
}

/* All rules have to be the same. */
static ot_status adopt(struct reader *r, int k, const ot_optimizer_options *o) {
    ot_optimizer_options f;
    ot_error why;
    if (ot_optimizer_check(o, &f, &why)) return ot_training_refuse(r, k, why.message);
    const ot_optimizer_options *a = &r->t->optimizer;
    const bool same = a->kind == f.kind && a->lr == f.lr && a->momentum == f.momentum &&
                      a->dampening == f.dampening && a->nesterov == f.nesterov &&
                      a->beta1 == f.beta1 && a->beta2 == f.beta2 && a->eps == f.eps &&
                      a->lr_decay == f.lr_decay && a->weight_decay == f.weight_decay &&
                      a->post_decay == f.post_decay && a->steps_before == f.steps_before;
    if (r->has_rule && !same)
        return ot_training_refuse(r, k,
                                  "it differs from other updates: all weights need the same rule");
    r->t->optimizer = f;
    r->has_rule = true;
    return OT_OK;
}

/* ---- reading: operators ---- */

static ot_status read_momentum(struct reader *r, int k, ot_optimizer_options *o) {
    static const char *const required[] = {"alpha", "beta", "mode", "norm_coefficient"};
    const struct node *n = &r->g->node[k];
    for (int i = 0; i < 4; i++)
        if (!ot_attr(n, required[i])) return ot_training_refuse(r, k, "an attribute is missing");
    const char *mode = ot_attr_string(n, "mode", "");
    o->kind = OT_SGD;
    o->momentum = ot_attr_float(n, "alpha", 0);
    o->dampening = 1 - ot_attr_float(n, "beta", 1);
    o->nesterov = !strcmp(mode, "nesterov");
    if (!o->nesterov && strcmp(mode, "standard") != 0)
        return ot_training_refuse(r, k, "attribute 'mode' is unknown");
    return o->momentum > 0 ? OT_OK : ot_training_refuse(r, k, "attribute 'alpha' is not positive");
}

static ot_status read_settings(struct reader *r, int k, ot_optimizer_options *o) {
    const struct node *n = &r->g->node[k];
    o->weight_decay = ot_attr_float(n, "norm_coefficient", 0);
    if (!strcmp(n->op_type, "Momentum")) return read_momentum(r, k, o);
    o->eps = ot_attr_float(n, "epsilon", 1e-6f);
    if (!strcmp(n->op_type, "Adagrad")) {
        o->kind = OT_ADAGRAD;
        o->lr_decay = ot_attr_float(n, "decay_factor", 0);
        return OT_OK;
    }
    o->kind = OT_ADAM_ONNX;
    o->beta1 = ot_attr_float(n, "alpha", 0.9f);
    o->beta2 = ot_attr_float(n, "beta", 0.999f);
    o->post_decay = ot_attr_float(n, "norm_coefficient_post", 0);
    return OT_OK;
}

static bool counts(const ot_optimizer_options *o) {
    return o->kind == OT_ADAM_ONNX || o->dampening != 0 || o->lr_decay != 0;
}

/* Inputs: rate, count, then weights, gradients and moments, each as often as weights; outputs:
 * weights and moments. */
static ot_status read_operator(struct reader *r, int i, int k, int from) {
    const struct node *n = &r->g->node[k];
    const struct op *op = ot_op_of(n);
    ot_optimizer_options o = ot_optimizer_usual(OT_SGD);
    const int moments = strcmp(n->op_type, "Adam") ? 1 : 2, many = (n->n_in - 2) / (2 + moments);
    int j = 0;
    if (!op || ot_op_check(op, n, NULL) || n->n_in != 2 + (2 + moments) * many ||
        n->n_out != (1 + moments) * many)
        return ot_training_refuse(r, k, "the node does not follow the standard");
    for (int m = 0; m < n->n_in; m++)
        if (n->in[m] < 0) return ot_training_refuse(r, k, "an input is missing");
    while (j < many && n->out[j] != from) j++;
    if (j == many || n->in[2 + j] != r->s->model->parameter[i].value)
        return ot_training_refuse(r, k, "it updates another weight");
    OT_TRY(read_gradient(r, i, k, n->in[2 + many + j]));
    for (int m = 0; m < moments; m++)
        OT_TRY(read_moment(r, i, k, m, n->in[2 + (2 + m) * many + j], n->out[(1 + m) * many + j]));
    OT_TRY(read_settings(r, k, &o));
    if (!is_fixed_number(r, n->in[0], &o.lr))
        return ot_training_refuse(r, k, "its learning rate is not a constant");
    OT_TRY(read_count(r, k, n->in[1], counts(&o), &o.steps_before));
    return adopt(r, k, &o);
}

/* ---- reading: arithmetic ---- */

/* Weight w times a fixed number? */
static bool is_share(const struct reader *r, int v, int w, float *share) {
    struct match m;
    if (!ot_training_match(r->g, "Mul(a, b)", v, &m)) return false;
    if (m.value[0] == w) return is_fixed_number(r, m.value[1], share);
    return m.value[1] == w && is_fixed_number(r, m.value[0], share);
}

/* v may be the gradient plus weight decay. */
static ot_status read_decayed(struct reader *r, int i, int k, int v, ot_optimizer_options *o) {
    struct match m;
    const int w = r->s->model->parameter[i].value;
    if (ot_training_match(r->g, "Add(a, b)", v, &m)) {
        if (is_share(r, m.value[1], w, &o->weight_decay))
            v = m.value[0];
        else if (is_share(r, m.value[0], w, &o->weight_decay))
            v = m.value[1];
    }
    return read_gradient(r, i, k, v);
}

static ot_status read_sgd(struct reader *r, int i, int k, const int *value) {
    ot_optimizer_options o = ot_optimizer_usual(OT_SGD);
    const bool swapped = !is_fixed_number(r, value[1], &o.lr);
    if (swapped && !is_fixed_number(r, value[2], &o.lr))
        return ot_training_refuse(r, k, "its learning rate is not a constant");
    if (value[0] != r->s->model->parameter[i].value)
        return ot_training_refuse(r, k, "it updates another weight");
    OT_TRY(read_decayed(r, i, k, value[swapped ? 1 : 2], &o));
    return adopt(r, k, &o);
}

/* One of Adam's moments: v = decay v + (1 - decay) of the gradient g, or its square. */
static ot_status read_average(struct reader *r, int i, int k, int which, int v, float *decay,
                              int *g) {
    struct match m;
    if (!ot_training_match(r->g, which ? OT_FORM_V : OT_FORM_M, v, &m) ||
        !is_fixed_number(r, m.value[1], decay) || !is_number(r, m.value[3], 1 - *decay))
        return ot_training_refuse(r, k, "a moment is not updated as in Adam");
    if (*g >= 0 && *g != m.value[2])
        return ot_training_refuse(r, k, "its moments come from different gradients");
    *g = m.value[2];
    return read_moment(r, i, k, which, m.value[0], v);
}

/* 1 - decay ^ t, or its square root, of the count t after the step. */
static ot_status read_correction(struct reader *r, int k, const char *form, int v, float decay,
                                 int64_t *steps) {
    struct match m, time;
    if (!ot_training_match(r->g, form, v, &m) || !is_number(r, m.value[0], 1) ||
        !is_number(r, m.value[1], decay) ||
        !ot_training_match(r->g, OT_FORM_TIME, m.value[2], &time))
        return ot_training_refuse(r, k, "a moment is not corrected as in Adam");
    OT_TRY(read_count(r, k, time.value[0], true, steps));
    *steps -= 1;
    return *steps >= 0 ? OT_OK : ot_training_refuse(r, k, "its count begins at 0");
}

static ot_status read_adam(struct reader *r, int i, int k, const int *value) {
    ot_optimizer_options o = ot_optimizer_usual(OT_ADAM);
    int64_t steps;
    int w = value[0], g = -1;
    struct match m;
    if (!is_fixed_number(r, value[1], &o.lr) || !is_fixed_number(r, value[6], &o.eps))
        return ot_training_refuse(r, k, "its learning rate or epsilon is not a constant");
    if (ot_training_match(r->g, OT_FORM_SHRINK, w, &m)) {
        o.kind = OT_ADAMW;
        if (m.value[1] != value[1] || !is_fixed_number(r, m.value[2], &o.weight_decay))
            return ot_training_refuse(
                r, k, "its weight decay is not a constant share of the learning rate");
        w = m.value[0];
    }
    if (w != r->s->model->parameter[i].value)
        return ot_training_refuse(r, k, "it updates another weight");
    OT_TRY(read_average(r, i, k, 0, value[3], &o.beta1, &g));
    OT_TRY(read_average(r, i, k, 1, value[4], &o.beta2, &g));
    OT_TRY(read_correction(r, k, OT_FORM_FIRST, value[2], o.beta1, &o.steps_before));
    OT_TRY(read_correction(r, k, OT_FORM_SECOND, value[5], o.beta2, &steps));
    if (steps != o.steps_before)
        return ot_training_refuse(r, k, "its two corrections use different counts");
    OT_TRY(o.kind == OT_ADAM ? read_decayed(r, i, k, g, &o) : read_gradient(r, i, k, g));
    return adopt(r, k, &o);
}

ot_status ot_training_read_rule(struct reader *r, int i, int k, int from) {
    const struct node *n = &r->g->node[k];
    struct match m;
    if (!strcmp(n->domain, OT_TRAINING_DOMAIN) && strcmp(n->op_type, "Gradient") != 0)
        return read_operator(r, i, k, from);
    if (ot_training_match(r->g, OT_FORM_ADAM, from, &m)) return read_adam(r, i, k, m.value);
    if (ot_training_match(r->g, OT_FORM_SGD, from, &m)) return read_sgd(r, i, k, m.value);
    return ot_training_refuse(r, k, "it is not a weight update that this library knows");
}
