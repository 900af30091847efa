/* export_case.c - what tests of export do with models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/export_case.h"

#include <cmocka.h>

#include "onnx/import.h"

struct bytes pack(const Onnx__ModelProto *m) {
    struct bytes b = {.size = onnx__model_proto__get_packed_size(m)};
    b.data = zeroed(b.size, 1);
    onnx__model_proto__pack(m, b.data);
    return b;
}

/* Of a model that was built here, all of it from malloc. */
struct bytes pack_built(Onnx__ModelProto *m) {
    struct bytes b = pack(m);
    onnx__model_proto__free_unpacked(m, NULL);
    return b;
}

struct bytes slurp(const char *path) {
    struct bytes b = {0};
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is not there", path);
    assert_int_equal(fstat(fileno(f), &st), 0);
    b.size = (size_t)st.st_size;
    b.data = zeroed(b.size, 1);
    assert_int_equal(fread(b.data, 1, b.size, f), b.size);
    fclose(f);
    return b;
}

Onnx__ModelProto *unpack(struct bytes b) {
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, b.size, b.data);
    assert_non_null(m);
    return m;
}

static void silent(void *context, ot_log_level level, const char *line) {
    (void)context;
    (void)level;
    (void)line;
}

struct graph *import_with(struct bytes b, ot_allocator allocator) {
    struct import_options o = {.allocator = allocator, .log = {silent, NULL}};
    o.limits = (ot_limits){INT32_MAX, 1000000, (uint64_t)1 << 40, (uint64_t)1 << 34};
    struct graph *g = NULL;
    ot_error err = {0};
    if (ot_import_buffer(b.data, b.size, &o, &g, &err)) fail_msg("import: %s", err.message);
    return g;
}

struct graph *import_bytes(struct bytes b) {
    return import_with(b, ot_allocator_or_default(NULL));
}

static char folder[64];

const char *test_folder(void) { return folder; }

const char *target(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/out.onnx", folder);
    return path;
}

int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/export-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* Fails when a test left something behind. */
int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

struct bytes export_graph(const struct graph *g, const struct export_request *r) {
    ot_error err = {0};
    if (ot_export_file(g, r, target(), &err)) fail_msg("export: %s", err.message);
    struct bytes b = slurp(target());
    unlink(target());
    return b;
}

struct bytes export_bytes(struct bytes in, ot_export_sparse sparse, ot_export_form form) {
    struct graph *g = import_bytes(in);
    struct export_request r = {.options = {.sparse = sparse, .form = form}};
    struct bytes out = export_graph(g, &r);
    ot_graph_free(g);
    return out;
}

int value_named(const struct graph *g, const char *name) {
    for (int v = 0; v < g->n_values; v++)
        if (!strcmp(g->value[v].name, name)) return v;
    fail_msg("no value %s", name);
    return -1;
}

const Onnx__TensorProto *initializer(const Onnx__ModelProto *m, const char *name) {
    for (size_t i = 0; i < m->graph->n_initializer; i++)
        if (!strcmp(m->graph->initializer[i]->name, name)) return m->graph->initializer[i];
    return NULL;
}

const Onnx__SparseTensorProto *sparse_initializer(const Onnx__ModelProto *m, const char *name) {
    for (size_t i = 0; i < m->graph->n_sparse_initializer; i++)
        if (!strcmp(m->graph->sparse_initializer[i]->values->name, name))
            return m->graph->sparse_initializer[i];
    return NULL;
}

void assert_same(struct bytes a, struct bytes b, const char *what) {
    if (a.size != b.size) fail_msg("%s: %zu bytes, expected %zu", what, a.size, b.size);
    for (size_t i = 0; i < a.size; i++)
        if (a.data[i] != b.data[i]) fail_msg("%s: byte %zu differs", what, i);
}

ot_status try_export(struct bytes in, const struct export_request *r, const char *path,
                     ot_error *err) {
    struct graph *g = import_bytes(in);
    ot_status status = ot_export_file(g, r, path, err);
    ot_graph_free(g);
    return status;
}
