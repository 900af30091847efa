/* onnx.c - ONNX test-data folders: input_K.pb and output_0.pb, each a TensorProto of
 * onnx.proto, beside each other or in test_data_set_K/. Sets are put one behind the other. */
#include "tools/data/data.h"
#include "tools/data/proto.h"
#include "tools/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct element element_of(ot_type type, int size) {
    const bool whole = type == OT_INT8 || type == OT_INT16 || type == OT_INT32 || type == OT_INT64;
    const char kind = type == OT_FLOAT ? 'f' : type == OT_BOOL ? 'b' : whole ? 'i' : 'u';
    return (struct element){kind, size, false};
}

static int parse(const unsigned char *bytes, size_t size, const char *name, struct array *a,
                 struct failure *f) {
    struct proto_tensor t;
    struct array fresh = {0};
    int code = ot_proto_tensor((struct proto){bytes, bytes + size}, name, &t, f);
    if (code) return code;
    fresh.rank = t.rank;
    memcpy(fresh.dim, t.dim, sizeof fresh.dim);
    if (t.rank == 0)
        code = ot_refuse(f, EXIT_DATA, "'%s' is a single number, not a batch of samples", name);
    else
        code = ot_array_fill(&fresh, element_of(t.type, t.size), t.data, name, f);
    free(t.data);
    if (code)
        free(fresh.data);
    else
        *a = fresh;
    return code;
}

static size_t width_of(ot_type type) { return type == OT_FLOAT ? 4 : type == OT_UINT8 ? 1 : 8; }

/* Puts b behind a along the first dimension; b's data are freed. */
static int concatenate(struct array *a, struct array *b, const char *name, struct failure *f) {
    size_t n, m;
    int code = 0;
    if (!a->rank) {
        *a = *b;
        return 0;
    }
    if (a->type != b->type || a->rank != b->rank ||
        memcmp(a->dim + 1, b->dim + 1, (size_t)(a->rank - 1) * sizeof *a->dim))
        code = ot_refuse(f, EXIT_DATA,
                         "'%s' differs in shape or type from the test_data_set before it", name);
    if (!code) code = ot_array_count(a, name, &n, f);
    if (!code) code = ot_array_count(b, name, &m, f);
    const size_t size = width_of(a->type);
    char *data = code ? NULL : realloc(a->data, (n + m) * size + 1);
    if (data) {
        memcpy(data + n * size, b->data, m * size);
        a->data = data;
        a->dim[0] += b->dim[0];
    } else if (!code) {
        code = ot_refuse(f, EXIT_MEMORY, "cannot allocate %zu bytes", (n + m) * size);
    }
    free(b->data);
    return code;
}

static int append_file(struct array *a, const char *path, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    struct array fresh = {0};
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    code = parse(bytes, size, path, &fresh, f);
    free(bytes);
    return code ? code : concatenate(a, &fresh, path, f);
}

/* The files of one set. Without output_0.pb there are no targets. */
static int append_set(struct data_source *d, const char *folder, int n_inputs, struct failure *f) {
    int code = 0;
    for (int i = 0; i <= n_inputs && !code; i++) {
        char name[32];
        const bool target = i == n_inputs;
        snprintf(name, sizeof name, target ? "output_0.pb" : "input_%d.pb", i);
        char *path = ot_join_path(folder, name, f);
        if (!path) return f->code;
        if (!target || access(path, F_OK) == 0)
            code = append_file(target ? &d->target : &d->input[i], path, f);
        free(path);
    }
    return code;
}

int ot_onnx_open(struct data_source *d, const char *path, enum split split,
                 const struct data_request *request, struct failure *f) {
    char **names;
    int64_t n, sets = 0;
    (void)split;
    d->kind = "ONNX test data";
    d->n_inputs = request->n_inputs;
    int code = ot_names_read(path, &names, &n, f);
    for (int64_t i = 0; i < n && !code; i++) {
        if (strncmp(names[i], "test_data_set", 13)) continue;
        char *folder = ot_join_path(path, names[i], f);
        code = folder ? append_set(d, folder, request->n_inputs, f) : f->code;
        free(folder);
        sets++;
    }
    ot_names_free(names, n);
    if (!code && !sets) code = append_set(d, path, request->n_inputs, f);
    return code;
}
