/* files.c - what one case of a suite consists of: its model, tolerances and tensors. */
#include "tools/check/check.h"
#include "tools/check/model_constants.h"
#include "tools/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind "key": in data.json; `otherwise` where it is not there. */
static double find_number(const char *json, const char *key, double otherwise) {
    const char *at = strstr(json, key);
    const char *colon = at ? strchr(at, ':') : NULL;
    return colon ? strtod(colon + 1, NULL) : otherwise;
}

static struct proto graph_of(struct proto model) {
    enum { GRAPH = 7 };
    struct proto graph = {0};
    struct proto_field f;
    while (ot_proto_next(&model, &f))
        if (f.number == GRAPH) graph = f.bytes;
    return graph;
}

/* Adds a name, in fresh memory, to the inputs. */
static int add_input(struct check_input *in, struct proto name, struct failure *f) {
    const size_t length = (size_t)(name.end - name.p);
    char **list = realloc(in->input, (size_t)(in->n_in + 1) * sizeof *list);
    char *copy = ot_take(length + 1, 1, f);
    if (list) in->input = list;
    if (!list || !copy) {
        free(copy);
        return ot_refuse(f, EXIT_MEMORY, "out of memory for a model");
    }
    if (length) memcpy(copy, name.p, length);
    list[in->n_in] = copy;
    if (ot_model_has_initializer((struct proto){in->model, in->model + in->size}, copy))
        free(copy);
    else
        in->n_in++;
    return 0;
}

static int read_names(struct check_input *in, struct failure *f) {
    enum { INPUT = 11, OUTPUT = 12, NAME = 1 };
    struct proto graph = graph_of((struct proto){in->model, in->model + in->size});
    struct proto_field field, part;
    int code = 0;
    while (!code && ot_proto_next(&graph, &field)) {
        in->n_out += field.number == OUTPUT;
        while (!code && field.number == INPUT && ot_proto_next(&field.bytes, &part))
            if (part.number == NAME) code = add_input(in, part.bytes, f);
    }
    return code;
}

void ot_check_forget(struct check_input *in) {
    for (int i = 0; i < in->n_in; i++) free(in->input[i]);
    free(in->input);
    free(in->model);
    *in = (struct check_input){0};
}

int ot_check_read(struct check_input *in, const char *folder, struct failure *f) {
    struct failure none;
    unsigned char *json = NULL;
    size_t size;
    char *path = ot_join_path(folder, "model.onnx", f);
    char *side = ot_join_path(folder, "data.json", f);
    int code = path && side ? ot_read_file(path, EXIT_DATA, &in->model, &in->size, f) : f->code;
    const bool told = !code && !ot_read_file(side, EXIT_DATA, &json, &size, &none);
    in->rtol = told ? find_number((char *)json, "\"rtol\"", 1e-3) : 1e-3;
    in->atol = told ? find_number((char *)json, "\"atol\"", 1e-7) : 1e-7;
    free(json);
    free(side);
    free(path);
    return code ? code : read_names(in, f);
}

/* The op_type of a NodeProto, with its domain; "" of a Constant, which is no operator's test. */
static void node_name(struct proto node, char *out, size_t size) {
    struct proto_field f;
    struct proto op = {0}, domain = {0};
    while (ot_proto_next(&node, &f)) {
        if (f.number == 4) op = f.bytes;
        if (f.number == 7) domain = f.bytes;
    }
    const int n = (int)(op.end - op.p), d = (int)(domain.end - domain.p);
    snprintf(out, size, "%.*s%s%.*s", d, d ? (const char *)domain.p : "", d ? "." : "", n,
             n ? (const char *)op.p : "");
}

/* An attribute that is a number; 0 where there is none. */
static uint64_t node_number(struct proto node, const char *name) {
    struct proto_field f, g;
    uint64_t value = 0;
    while (ot_proto_next(&node, &f)) {
        bool named = false;
        while (f.number == 5 && ot_proto_next(&f.bytes, &g)) {
            named = named || (g.number == 1 && ot_proto_is(g.bytes, name));
            if (named && g.number == 3) value = g.value;
        }
    }
    return value;
}

static bool casts_to_half(const char *op, struct proto node) {
    const uint64_t to = strcmp(op, "Cast") ? 0 : node_number(node, "to");
    return to == OT_FLOAT16 || to == OT_BFLOAT16;
}

void ot_check_name(struct check_case *c, struct check_input *in) {
    enum { NODE = 1 };
    struct proto graph = graph_of((struct proto){in->model, in->model + in->size});
    struct proto_field f;
    char name[sizeof c->op], constant[sizeof c->op] = "none";
    c->op[0] = '\0';
    while (ot_proto_next(&graph, &f)) {
        if (f.number != NODE) continue;
        node_name(f.bytes, name, sizeof name);
        /* BatchNormalization says so that it uses the batch's statistics. */
        in->trains = in->trains || node_number(f.bytes, "training_mode");
        in->casts = in->casts || casts_to_half(name, f.bytes);
        if (!strcmp(name, "Constant"))
            strcpy(constant, name);
        else if (!c->op[0] || !strcmp(c->op, name))
            strcpy(c->op, name);
        else
            strcpy(c->op, "several");
    }
    if (!c->op[0]) strcpy(c->op, constant);
    in->casts = in->casts && !strcmp(c->op, "several");
}

void ot_check_free(struct check_tensors *list) {
    for (int i = 0; i < list->n; i++) free(list->t[i].data);
    free(list->t);
    *list = (struct check_tensors){0};
}

static int load_file(struct proto_tensor *t, const char *path, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    code = ot_proto_tensor((struct proto){bytes, bytes + size}, path, t, f);
    free(bytes);
    return code;
}

int ot_check_load(struct check_tensors *list, const char *set, const char *prefix, int n,
                  struct failure *f) {
    *list = (struct check_tensors){.t = ot_take((size_t)n, sizeof *list->t, f)};
    int code = list->t ? 0 : f->code;
    for (int i = 0; i < n && !code; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_%d.pb", prefix, i);
        char *path = ot_join_path(set, name, f);
        code = path ? load_file(&list->t[i], path, f) : f->code;
        free(path);
        if (!code) list->n++;
    }
    if (code) ot_check_free(list);
    return code;
}

ot_tensor ot_check_view(const struct proto_tensor *t) {
    ot_tensor view = {.type = t->type, .rank = t->rank, .data = t->data};
    memcpy(view.dim, t->dim, sizeof view.dim);
    return view;
}
