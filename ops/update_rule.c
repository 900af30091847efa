/* update_rule.c - Adagrad, Adam and Momentum of the domain ai.onnx.preview.training: one step of an
 * optimizer on any number of tensors. Inputs: the rate, the number of steps so far, then the
 * tensors, their gradients, and one or two lists of moments; outputs: new tensors, new moments. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

enum { GRAIN = 16384 };

/* What a run of elements of one tensor is made of. */
struct run {
    const struct op_node *n;
    int64_t count;
    const float *x, *g, *v, *h; /* v, h: the moments, as many as the rule has */
    float *new_x, *new_v, *new_h;
    float rate, first; /* of this step: see Momentum's beta */
};

struct update_rule_plan {
    int tensors, moments;
    void (*rule)(const struct update_rule_plan *plan, const struct run *r, int64_t from,
                 int64_t to);
    float alpha, beta, epsilon, decay, norm, norm_post;
    bool nesterov;
};

static void adagrad(const struct update_rule_plan *plan, const struct run *r, int64_t from,
                    int64_t to) {
    for (int64_t i = from; i < to; i++) {
        const float g = plan->norm * r->x[i] + r->g[i], v = r->v[i] + g * g;
        r->new_v[i] = v;
        r->new_x[i] = r->x[i] - r->rate * g / (sqrtf(v) + plan->epsilon);
    }
}

static void adam(const struct update_rule_plan *plan, const struct run *r, int64_t from,
                 int64_t to) {
    for (int64_t i = from; i < to; i++) {
        const float g = plan->norm * r->x[i] + r->g[i];
        const float v = plan->alpha * r->v[i] + (1 - plan->alpha) * g;
        const float h = plan->beta * r->h[i] + (1 - plan->beta) * g * g;
        r->new_v[i] = v;
        r->new_h[i] = h;
        r->new_x[i] = (1 - plan->norm_post) * (r->x[i] - r->rate * v / (sqrtf(h) + plan->epsilon));
    }
}

static void momentum(const struct update_rule_plan *plan, const struct run *r, int64_t from,
                     int64_t to) {
    for (int64_t i = from; i < to; i++) {
        const float g = plan->norm * r->x[i] + r->g[i], v = plan->alpha * r->v[i] + r->first * g;
        r->new_v[i] = v;
        r->new_x[i] = r->x[i] - r->rate * (plan->nesterov ? g + plan->alpha * v : v);
    }
}

static ot_status read_momentum(struct op_node *n, struct update_rule_plan *plan, ot_error *err) {
    static const char *const required[] = {"alpha", "beta", "mode", "norm_coefficient"};
    for (int i = 0; i < 4; i++)
        if (!ot_attr(n->node, required[i]))
            return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute '%s' is missing", required[i]);
    const char *mode = ot_attr_string(n->node, "mode", "");
    plan->nesterov = !strcmp(mode, "nesterov");
    if (!plan->nesterov && strcmp(mode, "standard") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'standard' or 'nesterov'", mode);
    plan->rule = momentum;
    return OT_OK;
}

static ot_status read_attributes(struct op_node *n, ot_error *err) {
    struct update_rule_plan *plan = ot_op_plan(n);
    const bool is_adam = !strcmp(n->op->name, "Adam");
    plan->alpha = ot_attr_float(n->node, "alpha", 0.9f);
    plan->beta = ot_attr_float(n->node, "beta", 0.999f);
    plan->epsilon = ot_attr_float(n->node, "epsilon", 1e-6f);
    plan->decay = ot_attr_float(n->node, "decay_factor", 0);
    plan->norm = ot_attr_float(n->node, "norm_coefficient", 0);
    plan->norm_post = ot_attr_float(n->node, "norm_coefficient_post", 0);
    plan->moments = is_adam ? 2 : 1;
    plan->rule = is_adam ? adam : adagrad;
    return !strcmp(n->op->name, "Momentum") ? read_momentum(n, plan, err) : OT_OK;
}

static ot_status one_number(const struct op_node *n, int i, ot_type type, ot_error *err) {
    OT_TRY(ot_op_type(n, i, type, err));
    if (ot_elements(n->x[i]) == 1) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a single number", i);
}

/* Input i, of a shape with its tensor. */
static ot_status same_shape(const struct op_node *n, int i, const struct tensor *x, ot_error *err) {
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (ot_same_shape(n->x[i], x)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d does not have the shape of its tensor",
                      i);
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct update_rule_plan *plan = ot_op_plan(n);
    OT_TRY(read_attributes(n, err));
    const int lists = 2 + plan->moments, tensors = (n->n_in - 2) / lists;
    if (n->n_in != 2 + lists * tensors || n->n_out != (lists - 1) * tensors)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d inputs and %d outputs, which do not fit each other",
                          n->n_in, n->n_out);
    plan->tensors = tensors;
    OT_TRY(one_number(n, 0, OT_FLOAT, err));
    OT_TRY(one_number(n, 1, OT_INT64, err));
    for (int i = 2; i < n->n_in; i++) OT_TRY(same_shape(n, i, n->x[2 + (i - 2) % tensors], err));
    for (int i = 0; i < n->n_out; i++)
        if (n->y[i])
            ot_op_like(n->y[i], n->x[2 + i % tensors]);
        else
            return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "output %d is missing", i);
    n->mixes = true;
    return OT_OK;
}

/* The rate of this step. */
static float rate_of(const struct update_rule_plan *plan, double rate, int64_t steps) {
    if (plan->rule == adagrad) rate /= 1 + (double)steps * plan->decay;
    if (plan->rule == adam && steps > 0)
        rate *= sqrt(1 - pow(plan->beta, (double)steps)) / (1 - pow(plan->alpha, (double)steps));
    return (float)rate;
}

static void update_task(void *arg, int number, int worker) {
    const struct run *r = arg;
    int64_t from, to;
    (void)worker;
    ot_task_range(r->count, GRAIN, number, &from, &to);
    const struct update_rule_plan *plan = r->n->plan;
    plan->rule(plan, r, from, to);
}

static void forward(struct op_node *n) {
    const struct update_rule_plan *plan = n->plan;
    const int64_t steps = *(const int64_t *)n->x[1]->data;
    const float rate = rate_of(plan, *ot_f(n->x[0]), steps);
    for (int i = 0; i < plan->tensors; i++) {
        struct tensor **x = n->x + 2 + i, **y = n->y + i;
        const int k = plan->tensors;
        struct run r = {.n = n,
                        .count = ot_count(x[0]),
                        .x = ot_f(x[0]),
                        .g = ot_f(x[k]),
                        .v = ot_f(x[2 * k]),
                        .h = plan->moments > 1 ? ot_f(x[3 * k]) : NULL,
                        .new_x = ot_f(y[0]),
                        .new_v = ot_f(y[k]),
                        .new_h = plan->moments > 1 ? ot_f(y[2 * k]) : NULL,
                        .rate = rate,
                        .first = steps > 0 ? plan->beta : 1};
        ot_parallel_for(n->pool, ot_task_count(r.count, GRAIN), update_task, &r);
    }
}

/* The numbers were computed by hand. */
static const char *const adagrad_cases[] = {
    "f(0.5) i64(1) f{1,2}:x f{3,4}:x f{16,0}:x decay_factor=1 epsilon=0 -> f{0.85,1.75} f{25,16}",
    "f(1) i64(0) f{1}:x f{2}:x f{0}:x norm_coefficient=2 epsilon=4 -> f{0.5} f{16}",
    "f(1) i64(0) X[40000] X[40000] X[40000] range=0.5,1 -> Y[40000] Y[40000]",
    "f(1) i64(0) X[2] X[3] X[2] -> error: input 3 does not have the shape of its tensor", NULL};

static const char *const adam_cases[] = {
    "f(1) i64(0) f{1}:x f{2}:x f{4}:x f{0}:x alpha=0.5 beta=0.75 epsilon=1 -> f{-0.5} f{3} f{1}",
    "f(1) i64(2) f{1}:x f{2}:x f{4}:x f{0}:x alpha=0.5 beta=0.75 epsilon=1 "
    "norm_coefficient_post=0.5 -> f{-0.1614378} f{3} f{1}",
    "f(1) i64(0) X[2] X[2] X[2] -> error: 5 inputs",
    "f(1) i32(0) X[2] X[2] X[2] X[2] -> error: input 1", NULL};

#define MOMENTUM "alpha=0.5 beta=0.25 norm_coefficient=1.0 "
static const char *const momentum_cases[] = {
    "f(0.5) i64(1) f{1}:x f{3}:x f{4}:x " MOMENTUM "mode=standard -> f{-0.5} f{3}",
    "f(0.5) i64(0) f{1}:x f{3}:x f{4}:x " MOMENTUM "mode=standard -> f{-2} f{6}",
    "f(0.5) i64(1) f{1}:x f{3}:x f{4}:x " MOMENTUM "mode=nesterov -> f{-1.75} f{3}",
    "f(0.5) i64(1) f{1}:x f{0,1}:x f{3}:x f{0,1}:x f{4}:x f{2,2}:x " MOMENTUM "mode=standard "
    "-> f{-0.5} f{-0.5,0.25} f{3} f{1,1.5}",
    "f(1) i64(0) X[2] X[2] X[2] " MOMENTUM "mode=other -> error: attribute 'mode' is 'other'",
    "f(1) i64(0) X[2] X[2] X[2] alpha=0.5 -> error: attribute 'beta' is missing",
    NULL};

#define UPDATE_RULE(NAME, LISTS, ATTRIBUTES, CASES)                                                \
    const struct op ot_op_##NAME = {                                                               \
        .name = #NAME,                                                                             \
        .domain = OT_TRAINING_DOMAIN,                                                              \
        .since = 1,                                                                                \
        .min_in = 2 + LISTS,                                                                       \
        .max_in = -1,                                                                              \
        .min_out = LISTS - 1,                                                                      \
        .max_out = -1,                                                                             \
        .attributes = ATTRIBUTES,                                                                  \
        .plan_size = sizeof(struct update_rule_plan),                                              \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .limits = "float32 only",                                                                  \
        .cases = CASES,                                                                            \
    };

UPDATE_RULE(Adagrad, 3, "decay_factor:f epsilon:f norm_coefficient:f", adagrad_cases)
UPDATE_RULE(Adam, 4, "alpha:f beta:f epsilon:f norm_coefficient:f norm_coefficient_post:f",
            adam_cases)
UPDATE_RULE(Momentum, 3, "alpha:f beta:f mode:s norm_coefficient:f", momentum_cases)
