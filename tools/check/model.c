/* model.c - `onnx-train check MODEL`: the gradients of the user's own model, node by node and
 * as a whole, on random inputs. */
#include "tools/check/model.h"
#include "tools/jsonout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 2 };
static const double TOLERANCE = 5e-3; /* of the gradient's terms */

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

/* Counts the directions of one input of one node. In a direction of several elements kinks may hide
 * each other, so that one that differs among others with kinks is taken for one more of these. */
static void close_input(struct findings *v) {
    struct directions *d = &v->input;
    if (d->count[DIFFERS] == 1 && d->count[HAS_NO_GRADIENT]) {
        d->count[DIFFERS]--;
        d->count[HAS_NO_GRADIENT]++;
    }
    for (int k = 0; k < VERDICTS && d->op; k++) {
        find_row(v, d->op)->count[k] += d->count[k];
        v->all.count[k] += d->count[k];
    }
    if (d->count[DIFFERS] && !v->first[0]) strcpy(v->first, d->text);
    *d = (struct directions){.op = NULL};
}

static void note(void *context, const ot_slopes *s) {
    struct findings *v = context;
    struct directions *d = &v->input;
    double difference;
    const enum verdict verdict = ot_judge_slopes(s, TOLERANCE, &difference);
    if (d->node != s->node || d->name != s->input) close_input(v);
    struct verdicts *row = find_row(v, s->op);
    row->nodes += v->last != s->node;
    v->all.nodes += v->last != s->node;
    v->last = s->node;
    d->op = s->op;
    d->node = s->node;
    d->name = s->input;
    if (d->count[verdict]++ || verdict != DIFFERS) return;
    char text[sizeof d->text];
    snprintf(
        text, sizeof text,
        "node '%.150s' (%.40s), input '%.150s': the gradient is %.6g, the finite difference %.6g",
        s->node, s->op, s->input, s->gradient, difference);
    ot_make_safe(d->text, sizeof d->text, text);
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
        close_input(v);
    }
    return status ? ot_refuse_status(f, EXIT_MODEL, &err) : 0;
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
    if (!code) code = ot_check_whole(&m, inputs, v, f);
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
