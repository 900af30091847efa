/* whole.c - gradients of weights through a whole model: a weight moves along a direction of a
 * few elements, and with it a random combination of the outputs. */
#include "tools/check/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WEIGHTS = 24, MOVED = 16 };
static const double TOLERANCE = 2e-2; /* of the gradient's terms */

/* A weight, and what becomes of its gradient in one step. */
struct weight {
    ot_parameter_info info;
    int index, n; /* n: elements that move */
    int64_t at[MOVED];
    float *value, *before, *after;
};

static void free_weight(struct weight *w) {
    free(w->value);
    free(w->before);
    free(w->after);
}

/* Moves elements that are not zero: zeros may be structure. */
static int open_weight(struct weight *w, const ot_session *session, int index, struct failure *f) {
    *w = (struct weight){.index = index};
    ot_get_parameter(session, index, &w->info, NULL);
    const size_t n = (size_t)w->info.elements;
    w->value = ot_take(n, sizeof *w->value, f);
    w->before = ot_take(n, sizeof *w->before, f);
    w->after = ot_take(n, sizeof *w->after, f);
    if (!w->value || !w->before || !w->after) return f->code;
    ot_read_parameter(session, index, w->value, NULL);
    for (int j = 0; j < MOVED; j++) {
        const double where = ((double)ot_random_unit((uint64_t)(index * MOVED + j)) + 1) / 2;
        const int64_t at = (int64_t)(where * (double)n);
        bool fresh = at < w->info.elements && w->value[at] != 0;
        for (int k = 0; k < w->n; k++) fresh = fresh && w->at[k] != at;
        if (fresh) w->at[w->n++] = at;
    }
    return 0;
}

static double direction(const struct weight *w, int j) {
    return (double)ot_random_unit((uint64_t)(w->index * MOVED + j) + 1000003);
}

static ot_status slope(struct probe *p, struct weight *w, double h, double *out, double *noise,
                       ot_error *err) {
    float kept[MOVED];
    double sum = 0;
    for (int j = 0; j < w->n; j++) {
        kept[j] = w->value[w->at[j]];
        w->value[w->at[j]] += (float)(h * direction(w, j));
    }
    ot_status status = ot_write_parameter(p->session, w->index, w->value, err);
    if (!status) status = ot_probe_loss(p, &sum, err);
    for (int j = 0; j < w->n; j++) w->value[w->at[j]] = kept[j];
    *out = sum / h;
    *noise = fmax(*noise, p->noise / fabs(h));
    return status;
}

static ot_status measure(struct probe *p, struct weight *w, ot_tensor *room, ot_slopes *s,
                         ot_error *err) {
    double largest = 0;
    for (int j = 0; j < w->n; j++) largest = fmax(largest, fabs((double)w->value[w->at[j]]));
    double h = ldexp(1, ilogb(fmax(largest, 1.0 / 16)) - 6);
    for (int k = 0; k < OT_SLOPE_LEVELS; k++, h /= 4) {
        ot_status status = slope(p, w, -h, &s->left[k], &s->noise[k], err);
        if (!status) status = slope(p, w, h, &s->right[k], &s->noise[k], err);
        if (status) return status;
    }
    ot_status status = ot_write_parameter(p->session, w->index, w->value, err);
    ot_get_gradient(p->session, w->index, w->before, NULL); /* what was added up before, or none */
    if (!status) status = ot_probe_differentiate(p, room, err);
    ot_get_gradient(p->session, w->index, w->after, NULL);
    for (int j = 0; j < w->n; j++) {
        const double g = (double)w->after[w->at[j]] - (double)w->before[w->at[j]];
        s->gradient += direction(w, j) * g;
        s->size += fabs(direction(w, j) * g);
    }
    return status;
}

static int check_weight(struct probe *p, int index, ot_tensor *room, struct findings *v,
                        struct failure *f) {
    struct weight w;
    ot_slopes s = {.op = ""};
    ot_error err = {0};
    double difference;
    int code = open_weight(&w, p->session, index, f);
    if (!code && w.n && measure(p, &w, room, &s, &err))
        code = ot_refuse_status(f, EXIT_MODEL, &err);
    if (!code && w.n) {
        const enum verdict verdict = ot_judge_slopes(&s, TOLERANCE, &difference);
        v->whole.nodes++;
        v->whole.count[verdict]++;
        if (verdict == DIFFERS && !v->first[0]) {
            char text[sizeof v->first];
            snprintf(text, sizeof text,
                     "every node is right by itself, but not the whole model: the gradient of "
                     "weight '%.150s' is %.6g, the finite difference %.6g",
                     w.info.name, s.gradient, difference);
            ot_make_safe(v->first, sizeof v->first, text);
        }
    }
    free_weight(&w);
    return code;
}

int ot_check_whole(struct model *m, const ot_tensor *inputs, struct findings *v,
                   struct failure *f) {
    struct check_case c = {.outcome = CHECK_PASSED};
    struct probe p = {0};
    const int n = ot_parameter_count(m->session);
    int code = ot_probe_open(&p, m->session, inputs, f);
    ot_tensor *room = ot_take((size_t)m->n_outputs, sizeof *room, f);
    if (!code) code = room ? ot_probe_start(&p, &c, f) : f->code;
    if (!code && c.outcome != CHECK_PASSED) code = ot_refuse(f, EXIT_MODEL, "%s", c.reason);
    for (int k = 0; k < (n < WEIGHTS ? n : WEIGHTS) && !code; k++) {
        const int index = n <= WEIGHTS ? k : (int)((int64_t)k * n / WEIGHTS);
        ot_parameter_info info;
        if (!ot_get_parameter(m->session, index, &info, NULL) && info.is_trainable)
            code = check_weight(&p, index, room, v, f);
    }
    free(room);
    ot_probe_close(&p);
    return code;
}
