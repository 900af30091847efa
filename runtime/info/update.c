/* update.c - the nodes of a session's optimizer. */
#include <stdio.h>
#include <string.h>

#include "runtime/info/training.h"
#include "runtime/train/optimizer.h"

enum { NAME = 64 };

struct update {
    struct writer *w;
    const ot_optimizer_options *o;
    const int *weight, *gradient; /* of each parameter; -1: not trained */
    int count, next;              /* steps before and after this one */
    int rate, decay;
    int b1, b2, rest1, rest2, first, second, eps; /* Adam's numbers */
    const float *zeros;
};

static const struct value *weight_value(const struct update *u, int i) {
    return &u->w->g->value[u->weight[i]];
}

/* The count of steps, which grows. */
static void write_count(struct update *u) {
    struct writer *w = u->w;
    int64_t *number = ot_write_take(w, 2, sizeof *number);
    if (!number) return;
    number[0] = u->o->steps_before + w->s->steps;
    number[1] = 1;
    const struct tensor t = {.type = OT_INT64, .data = number},
                        one = {.type = OT_INT64, .data = number + 1};
    u->count = ot_write_tensor(w, "steps", t, NULL);
    const int by = ot_write_tensor(w, "one_step", one, NULL);
    u->next = ot_write_expression(w, "steps_after", OT_FORM_COUNT, (int[]){u->count, by});
    ot_write_binding(w, u->count, u->next);
}

/* What moment k of parameter i holds now. */
static int write_moment(struct update *u, int i, int k) {
    const struct parameter *p = &u->w->s->model->parameter[i];
    char name[NAME];
    struct tensor t = p->t;
    t.data = p->moment[k] ? p->moment[k] : (float *)u->zeros;
    snprintf(name, sizeof name, "moment%d_%d", k, i);
    return ot_write_tensor(u->w, name, t, weight_value(u, i));
}

/* ---- one operator for all weights ---- */

static struct attr float_attribute(const char *name, float f) {
    return (struct attr){.name = name, .kind = OT_ATTR_FLOAT, .f = f};
}

static int operator_attributes(const ot_optimizer_options *o, struct attr *a) {
    int n = 0;
    a[n++] = float_attribute("norm_coefficient", o->weight_decay);
    if (o->kind == OT_SGD) {
        const char *mode = o->nesterov ? "nesterov" : "standard";
        a[n++] = float_attribute("alpha", o->momentum);
        a[n++] = float_attribute("beta", 1 - o->dampening);
        a[n++] = (struct attr){.name = "mode", .kind = OT_ATTR_STRING, .n = 8, .s = mode};
        return n;
    }
    a[n++] = float_attribute("epsilon", o->eps);
    if (o->kind == OT_ADAGRAD) {
        a[n++] = float_attribute("decay_factor", o->lr_decay);
        return n;
    }
    a[n++] = float_attribute("alpha", o->beta1);
    a[n++] = float_attribute("beta", o->beta2);
    a[n++] = float_attribute("norm_coefficient_post", o->post_decay);
    return n;
}

static void write_operator(struct update *u, const char *op) {
    struct writer *w = u->w;
    const int moments = ot_optimizer_moments(u->o), n = w->s->model->n_parameters;
    struct attr attr[8];
    const int n_attr = operator_attributes(u->o, attr);
    int many = 0, j = 0;
    for (int i = 0; i < n; i++) many += u->weight[i] >= 0;
    struct node *node = ot_write_node(w, op, OT_TRAINING_DOMAIN, 2 + (2 + moments) * many,
                                      (1 + moments) * many, n_attr);
    if (!node) return;
    int *in = node->in, *out = node->out;
    memcpy(node->attr, attr, (size_t)n_attr * sizeof *attr);
    in[0] = u->rate;
    in[1] = u->count;
    for (int i = 0; i < n; i++) {
        char name[NAME];
        if (u->weight[i] < 0) continue;
        in[2 + j] = u->weight[i];
        in[2 + many + j] = u->gradient[i];
        snprintf(name, sizeof name, "weight%d", i);
        ot_write_binding(w, in[2 + j], out[j] = ot_write_value(w, name, OT_VALUE_NODE));
        for (int k = 0; k < moments; k++) {
            const int m = in[2 + (2 + k) * many + j] = write_moment(u, i, k);
            snprintf(name, sizeof name, "moment%d_%d_after", k, i);
            out[(1 + k) * many + j] = ot_write_value(w, name, OT_VALUE_NODE);
            ot_write_binding(w, m, out[(1 + k) * many + j]);
        }
        j++;
    }
}

/* ---- arithmetic ---- */

/* The gradient with weight decay. */
static int write_decayed(struct update *u, int i) {
    char name[NAME];
    if (u->o->weight_decay == 0) return u->gradient[i];
    snprintf(name, sizeof name, "decayed%d", i);
    return ot_write_expression(u->w, name, OT_FORM_DECAY,
                               (int[]){u->gradient[i], u->decay, u->weight[i]});
}

static int write_sgd(struct update *u, int i, const char *name) {
    const int g = write_decayed(u, i);
    return ot_write_expression(u->w, name, OT_FORM_SGD, (int[]){u->weight[i], u->rate, g});
}

/* The numbers that all weights share. */
static void write_adam_numbers(struct update *u) {
    struct writer *w = u->w;
    const ot_optimizer_options *o = u->o;
    u->b1 = ot_write_number(w, "beta1", o->beta1);
    u->b2 = ot_write_number(w, "beta2", o->beta2);
    u->rest1 = ot_write_number(w, "rest1", 1 - o->beta1);
    u->rest2 = ot_write_number(w, "rest2", 1 - o->beta2);
    u->eps = ot_write_number(w, "epsilon", o->eps);
    const int one = ot_write_number(w, "one", 1);
    const int time = ot_write_expression(w, "time", OT_FORM_TIME, &u->next);
    u->first = ot_write_expression(w, "correction1", OT_FORM_FIRST, (int[]){one, u->b1, time});
    u->second = ot_write_expression(w, "correction2", OT_FORM_SECOND, (int[]){one, u->b2, time});
}

static int write_average(struct update *u, int i, int k, int gradient) {
    char name[NAME];
    const int m = write_moment(u, i, k);
    const int values[] = {m, k ? u->b2 : u->b1, gradient, k ? u->rest2 : u->rest1};
    snprintf(name, sizeof name, "moment%d_%d_after", k, i);
    const int after = ot_write_expression(u->w, name, k ? OT_FORM_V : OT_FORM_M, values);
    ot_write_binding(u->w, m, after);
    return after;
}

static int write_adam(struct update *u, int i, const char *name) {
    const bool decoupled = u->o->kind == OT_ADAMW && u->o->weight_decay != 0;
    const int g = decoupled ? u->gradient[i] : write_decayed(u, i);
    const int m = write_average(u, i, 0, g), v = write_average(u, i, 1, g);
    int x = u->weight[i];
    if (decoupled) {
        char shrunk[NAME];
        snprintf(shrunk, sizeof shrunk, "shrunk%d", i);
        x = ot_write_expression(u->w, shrunk, OT_FORM_SHRINK, (int[]){x, u->rate, u->decay});
    }
    return ot_write_expression(u->w, name, OT_FORM_ADAM,
                               (int[]){x, u->rate, u->first, m, v, u->second, u->eps});
}

static void write_each(struct update *u) {
    const bool adam = u->o->kind != OT_SGD;
    if (adam) write_adam_numbers(u);
    for (int i = 0; i < u->w->s->model->n_parameters; i++) {
        char name[NAME];
        if (u->weight[i] < 0) continue;
        snprintf(name, sizeof name, "weight%d", i);
        ot_write_binding(u->w, u->weight[i], (adam ? write_adam : write_sgd)(u, i, name));
    }
}

/* ---- all of it ---- */

/* As many zeros as the largest weight has slots. */
static const float *zeros(struct writer *w) {
    int64_t most = 1;
    for (int i = 0; i < w->s->model->n_parameters; i++)
        if (ot_count(&w->s->model->parameter[i].t) > most)
            most = ot_count(&w->s->model->parameter[i].t);
    return ot_write_take(w, (size_t)most, sizeof(float));
}

void ot_training_write_rules(struct writer *w, const int *weight, const int *gradient) {
    const ot_optimizer_options *o = &w->s->optimizer;
    struct update u = {.w = w, .o = o, .weight = weight, .gradient = gradient};
    const bool plain = o->kind == OT_SGD && o->momentum == 0;
    u.zeros = zeros(w);
    u.rate = ot_write_number(w, "rate", o->lr);
    if (o->weight_decay != 0) u.decay = ot_write_number(w, "weight_decay", o->weight_decay);
    if (!plain) write_count(&u);
    if (plain || o->kind == OT_ADAM || o->kind == OT_ADAMW)
        write_each(&u);
    else
        write_operator(&u, o->kind == OT_SGD       ? "Momentum"
                           : o->kind == OT_ADAGRAD ? "Adagrad"
                                                   : "Adam");
}
