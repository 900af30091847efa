/* check_model.c - `onnx-train check MODEL`: the gradients of the user's own model, node by node and
 * as a whole, on random inputs. */
#include "tools/check.h"
#include "tools/jsonout.h"
#include "tools/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2, WEIGHTS = 24, MOVED = 16 };
static const double NODE_TOLERANCE = 5e-3, WHOLE_TOLERANCE = 2e-2; /* of the gradient's terms */

/* What the slopes of an operator's nodes, or of the whole model, said. */
struct verdicts {
    const char *op;
    int64_t nodes, count[VERDICTS];
};

struct findings {
    struct verdicts row[256];
    int rows;
    struct verdicts all, whole;
    const char *last; /* node that was written last */
    char first[600];  /* what is off, or "" */
};

/* ---- inputs ------------------------------------------------------------------------------- */

/* Floats in [-1, 1); integers 0 and 1, which are in range nearly everywhere. */
static int fill_input(ot_tensor *x, uint64_t stream, struct failure *f) {
    const size_t n = ot_count_of(x);
    unsigned char *data = ot_take(n, 8, f);
    if (!data) return f->code;
    x->data = data;
    for (size_t k = 0; k < n; k++) {
        const float r = ot_random_unit(k * 16 + stream);
        if (x->type == OT_FLOAT)
            ((float *)data)[k] = r;
        else if (x->type == OT_INT64 || x->type == OT_UINT64)
            ((int64_t *)data)[k] = r > 0;
        else if (x->type == OT_INT32 || x->type == OT_UINT32)
            ((int32_t *)data)[k] = r > 0;
        else if (x->type == OT_INT16 || x->type == OT_UINT16)
            ((int16_t *)data)[k] = r > 0;
        else
            data[k] = r > 0;
    }
    return 0;
}

static int make_inputs(const struct model *m, const struct settings *s, ot_tensor *inputs,
                       struct failure *f) {
    int code = ot_model_shapes(m, s, inputs, f);
    for (int i = 0; i < m->n_inputs && !code; i++) {
        if (inputs[i].rank && !ot_is_given(s, OPTION_batch))
            inputs[i].dim[0] = m->input[i].dim[0] > 0 ? m->input[i].dim[0] : BATCH;
        code = fill_input(&inputs[i], (uint64_t)i, f);
    }
    return code;
}

/* ---- nodes -------------------------------------------------------------------------------- */

static struct verdicts *find_row(struct findings *v, const char *op) {
    for (int i = 0; i < v->rows; i++)
        if (!strcmp(v->row[i].op, op)) return &v->row[i];
    if (v->rows == (int)(sizeof v->row / sizeof *v->row)) v->rows--;
    v->row[v->rows] = (struct verdicts){.op = op};
    return &v->row[v->rows++];
}

static void note(void *context, const ot_slopes *s) {
    struct findings *v = context;
    double difference;
    const enum verdict verdict = ot_judge_slopes(s, NODE_TOLERANCE, &difference);
    struct verdicts *row = find_row(v, s->op);
    row->nodes += v->last != s->node;
    v->all.nodes += v->last != s->node;
    v->last = s->node;
    row->count[verdict]++;
    v->all.count[verdict]++;
    if (verdict != DIFFERS || v->first[0]) return;
    char text[sizeof v->first];
    snprintf(text, sizeof text,
             "node '%.150s' (%.40s), input '%.150s': the gradient says %.6g, the difference %.6g",
             s->node, s->op, s->input, s->gradient, difference);
    ot_make_safe(v->first, sizeof v->first, text);
}

/* Inputs take part where every node between them and the weights has a gradient. */
static int check_nodes(struct model *m, const ot_tensor *inputs, struct findings *v,
                       struct failure *f) {
    ot_error err = {0};
    ot_status status = OT_ERROR_UNSUPPORTED;
    for (int wanted = 1; wanted >= 0 && status == OT_ERROR_UNSUPPORTED; wanted--) {
        for (int i = 0; i < m->n_inputs; i++)
            if (inputs[i].type == OT_FLOAT) ot_want_input_gradient(m->session, i, wanted, NULL);
        *v = (struct findings){.rows = 0};
        status = ot_measure_gradients(m->session, inputs, m->n_inputs, note, v, &err);
    }
    return status ? ot_refuse_status(f, EXIT_MODEL, &err) : 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

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
        const enum verdict verdict = ot_judge_slopes(&s, WHOLE_TOLERANCE, &difference);
        v->whole.nodes++;
        v->whole.count[verdict]++;
        if (verdict == DIFFERS && !v->first[0]) {
            char text[sizeof v->first];
            snprintf(text, sizeof text,
                     "no single node, but the whole: the gradient of weight '%.150s' says %.6g, "
                     "the difference %.6g",
                     w.info.name, s.gradient, difference);
            ot_make_safe(v->first, sizeof v->first, text);
        }
    }
    free_weight(&w);
    return code;
}

/* At most WEIGHTS of the trainable weights, evenly chosen, through the whole model. */
static int check_whole(struct model *m, const ot_tensor *inputs, struct findings *v,
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

/* ---- report ------------------------------------------------------------------------------- */

static void print_row(const char *name, const struct verdicts *r) {
    printf("%-28s %8lld %8lld %8lld %8lld\n", name, (long long)r->nodes,
           (long long)r->count[AGREES], (long long)r->count[DIFFERS],
           (long long)r->count[HAS_NO_GRADIENT]);
}

static void print_text(const struct findings *v) {
    printf("%-28s %8s %8s %8s %8s\n", "operator", "nodes", "right", "wrong", "kinks");
    for (int i = 0; i < v->rows; i++) print_row(v->row[i].op, &v->row[i]);
    print_row("all", &v->all);
    print_row("weights, whole model", &v->whole);
    if (v->first[0]) printf("first    %s\n", v->first);
}

static void json_row(const struct verdicts *r) {
    printf("\"nodes\":%lld,\"right\":%lld,\"wrong\":%lld,\"kinks\":%lld}", (long long)r->nodes,
           (long long)r->count[AGREES], (long long)r->count[DIFFERS],
           (long long)r->count[HAS_NO_GRADIENT]);
}

static void print_json(const struct findings *v) {
    fputs("{\"operators\":[", stdout);
    for (int i = 0; i < v->rows; i++) {
        fputs(i ? ",\n  {\"operator\":" : "\n  {\"operator\":", stdout);
        ot_print_string(stdout, v->row[i].op);
        fputs(",", stdout);
        json_row(&v->row[i]);
    }
    fputs("],\n \"all\":{", stdout);
    json_row(&v->all);
    fputs(",\n \"whole\":{", stdout);
    json_row(&v->whole);
    fputs(",\n \"first\":", stdout);
    ot_print_string(stdout, v->first);
    fputs("}\n", stdout);
}

int ot_check_model(const struct settings *s, struct failure *f) {
    struct model m;
    ot_tensor inputs[MAX_INPUTS] = {{.rank = 0}};
    struct findings *v = ot_take(1, sizeof *v, f);
    int code = v ? ot_model_open(&m, s, f) : f->code;
    if (code) goto out;
    code = make_inputs(&m, s, inputs, f);
    if (!code) code = check_nodes(&m, inputs, v, f);
    if (!code) code = check_whole(&m, inputs, v, f);
    if (!code && ot_integer(s, OPTION_json, 0))
        print_json(v);
    else if (!code)
        print_text(v);
    if (!code && v->first[0]) code = ot_refuse(f, EXIT_CHECK, "%s", v->first);
    for (int i = 0; i < m.n_inputs; i++) free((void *)inputs[i].data);
    ot_model_close(&m);
out:
    free(v);
    return code;
}
