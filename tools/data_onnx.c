/* data_onnx.c - ONNX test-data folders: input_K.pb and output_0.pb, each a TensorProto of
 * onnx.proto, beside each other or in test_data_set_K/. Sets are put one behind the other. */
#include "tools/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- TensorProto on the wire -------------------------------------------------------------- */

struct wire {
    const unsigned char *p, *end;
};

/* The fields of TensorProto that carry a tensor, by number. */
enum field {
    DIMS = 1,
    DATA_TYPE = 2,
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    INT64_DATA = 7,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11
};

static bool take_varint(struct wire *w, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        *value |= (uint64_t)(*w->p & 0x7f) << shift;
        if (!(*w->p++ & 0x80)) return true;
    }
    return false;
}

/* A field's number, wire type, and its value or the bytes it covers. */
static bool take_field(struct wire *w, uint64_t *number, int *type, uint64_t *value,
                       struct wire *bytes) {
    uint64_t key, n = 0;
    if (!take_varint(w, &key)) return false;
    *number = key >> 3;
    *type = (int)(key & 7);
    if (*type == 0) return take_varint(w, value);
    if (*type == 2 && !take_varint(w, &n)) return false;
    if (*type == 1 || *type == 5) n = *type == 1 ? 8 : 4;
    if ((*type != 1 && *type != 2 && *type != 5) || n > (uint64_t)(w->end - w->p)) return false;
    *bytes = (struct wire){w->p, w->p + n};
    w->p += n;
    return true;
}

/* ONNX element types as they stand in raw_data. */
static const struct {
    int type;
    struct element element;
    enum field field; /* where they stand otherwise */
} types[] = {{OT_FLOAT, {'f', 4, false}, FLOAT_DATA},   {OT_UINT8, {'u', 1, false}, INT32_DATA},
             {OT_INT8, {'i', 1, false}, INT32_DATA},    {OT_UINT16, {'u', 2, false}, INT32_DATA},
             {OT_INT16, {'i', 2, false}, INT32_DATA},   {OT_INT32, {'i', 4, false}, INT32_DATA},
             {OT_INT64, {'i', 8, false}, INT64_DATA},   {OT_BOOL, {'b', 1, false}, INT32_DATA},
             {OT_FLOAT16, {'f', 2, false}, INT32_DATA}, {OT_DOUBLE, {'f', 8, false}, DOUBLE_DATA},
             {OT_UINT32, {'u', 4, false}, UINT64_DATA}, {OT_UINT64, {'u', 8, false}, UINT64_DATA}};

struct proto {
    struct array array;
    int type;                        /* row of types, -1: not seen */
    struct wire raw, fixed, varints; /* the payload, by its field family; p NULL: none */
    enum field field;                /* of fixed or varints */
};

static bool take_dims(struct proto *t, int wire_type, uint64_t value, struct wire bytes) {
    if (wire_type == 0) {
        if (t->array.rank == OT_MAX_RANK) return false;
        t->array.dim[t->array.rank++] = (int64_t)value;
        return true;
    }
    while (bytes.p < bytes.end) {
        uint64_t dim;
        if (!take_varint(&bytes, &dim) || t->array.rank == OT_MAX_RANK) return false;
        t->array.dim[t->array.rank++] = (int64_t)dim;
    }
    return true;
}

static bool scan(struct wire w, struct proto *t) {
    t->type = -1;
    while (w.p < w.end) {
        uint64_t number, value = 0;
        int wire_type;
        struct wire bytes = {0};
        if (!take_field(&w, &number, &wire_type, &value, &bytes)) return false;
        if (number == DIMS && !take_dims(t, wire_type, value, bytes)) return false;
        for (int k = 0; number == DATA_TYPE && k < (int)(sizeof types / sizeof *types); k++)
            t->type = types[k].type == (int)value ? k : t->type;
        if (wire_type != 2) continue;
        if (number == RAW_DATA)
            t->raw = bytes;
        else if (number == FLOAT_DATA || number == DOUBLE_DATA)
            t->fixed = bytes;
        else if (number == INT32_DATA || number == INT64_DATA || number == UINT64_DATA)
            t->varints = bytes;
        else
            continue;
        t->field = (enum field)number;
    }
    return true;
}

/* Elements that stand as packed varints, each cut to the element's size. */
static int fill_varints(struct proto *t, struct element e, size_t n, const char *name,
                        struct failure *f) {
    unsigned char *raw = ot_take(n, (size_t)e.size, f);
    if (!raw) return f->code;
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) {
        uint64_t value;
        if (!take_varint(&t->varints, &value))
            code = ot_refuse(f, EXIT_DATA, "'%s': fewer elements than its shape", name);
        for (int k = 0; k < e.size && !code; k++)
            raw[i * (size_t)e.size + (size_t)k] = (unsigned char)(value >> (8 * k));
    }
    if (!code && t->varints.p != t->varints.end)
        code = ot_refuse(f, EXIT_DATA, "'%s': more elements than its shape", name);
    if (!code) code = ot_array_fill(&t->array, e, raw, name, f);
    free(raw);
    return code;
}

static int parse(const unsigned char *bytes, size_t size, const char *name, struct array *a,
                 struct failure *f) {
    struct proto t = {0};
    size_t n;
    if (!scan((struct wire){bytes, bytes + size}, &t) || t.type < 0)
        return ot_refuse(f, EXIT_DATA, "'%s' is no TensorProto of numbers", name);
    if (t.array.rank == 0)
        return ot_refuse(f, EXIT_DATA, "'%s' is a single number, not a batch of samples", name);
    int code = ot_array_count(&t.array, name, &n, f);
    if (code) return code;
    const struct element e = types[t.type].element;
    const struct wire payload = t.field == RAW_DATA ? t.raw : t.fixed;
    if (n && t.field != RAW_DATA && t.field != types[t.type].field)
        code = ot_refuse(f, EXIT_DATA, "'%s': its elements are missing", name);
    else if (n && t.field != RAW_DATA && t.varints.p)
        code = fill_varints(&t, e, n, name, f);
    else if ((size_t)(payload.end - payload.p) != n * (size_t)e.size)
        code = ot_refuse(f, EXIT_DATA, "'%s': %zu bytes for %zu elements of %d", name,
                         (size_t)(payload.end - payload.p), n, e.size);
    else
        code = ot_array_fill(&t.array, e, payload.p, name, f);
    if (code)
        free(t.array.data);
    else
        *a = t.array;
    return code;
}

/* ---- folders ------------------------------------------------------------------------------ */

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
        code = ot_refuse(f, EXIT_DATA, "'%s' has another shape or type than the set before", name);
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
    int code = ot_read_file(path, &bytes, &size, f);
    if (code) return code;
    code = parse(bytes, size, path, &fresh, f);
    free(bytes);
    return code ? code : concatenate(a, &fresh, path, f);
}

static bool exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
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
        if (!target || exists(path))
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
