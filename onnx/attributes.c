/* attributes.c - attributes of a node: the one value that their type announces. */
#include "onnx/model.h"

#include <string.h>

enum { MOST_ATTRIBUTES = 256 };

/* By AttributeProto.AttributeType. */
static const enum attr_kind kinds[] = {
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT] = OT_ATTR_FLOAT,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT] = OT_ATTR_INT,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING] = OT_ATTR_STRING,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR] = OT_ATTR_TENSOR,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS] = OT_ATTR_FLOATS,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS] = OT_ATTR_INTS,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS] = OT_ATTR_STRINGS,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSORS] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSORS] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO] = OT_ATTR_OTHER,
    [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTOS] = OT_ATTR_OTHER,
};
enum { TYPES = sizeof kinds / sizeof *kinds };

/* The types of the fields that are present, as bits 1 << AttributeType. */
static unsigned present_types(const Onnx__AttributeProto *a) {
    const bool has[TYPES] = {
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT] = a->has_f,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT] = a->has_i,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING] = a->has_s,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR] = a->t != NULL,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH] = a->g != NULL,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS] = a->n_floats > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS] = a->n_ints > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS] = a->n_strings > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSORS] = a->n_tensors > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPHS] = a->n_graphs > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR] = a->sparse_tensor != NULL,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSORS] = a->n_sparse_tensors > 0,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO] = a->tp != NULL,
        [ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTOS] = a->n_type_protos > 0,
    };
    unsigned bits = 0;
    for (int i = 0; i < TYPES; i++) bits |= (unsigned)has[i] << i;
    return bits;
}

/* The declared type must be that of the only field that is there. Files older than IR 2 declare
 * none, and writers of proto3 leave out zeros and empty lists. */
static ot_status type_of(struct import *im, const Onnx__AttributeProto *a, int *type) {
    unsigned bits = present_types(a);
    int found = bits ? __builtin_ctz(bits) : 0;
    *type = a->has_type ? (int)a->type : 0;
    if (*type < 0 || *type >= TYPES)
        return ot_import_fail(im, OT_ERROR_INVALID, "attribute '%s' has the unknown type %d",
                              a->name, *type);
    if (bits & (bits - 1))
        return ot_import_fail(im, OT_ERROR_INVALID, "attribute '%s' has two values", a->name);
    if (!*type) *type = found;
    if (!*type || (found && *type != found))
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "attribute '%s' has type %d, but its value has type %d", a->name,
                              *type, found);
    return OT_OK;
}

static ot_status copy_bytes(struct import *im, const void *bytes, size_t n, size_t size,
                            const void **kept) {
    char *p = ot_small_strndup(&im->kept, bytes, n * size);
    if (!p) return ot_import_no_room(im, &im->g->arena, n * size);
    *kept = p;
    return OT_OK;
}

static ot_status read_strings(struct import *im, const Onnx__AttributeProto *a, struct attr *out) {
    const char **s = ot_small_alloc(&im->kept, a->n_strings, sizeof *s);
    if (!s) return ot_import_no_room(im, &im->g->arena, a->n_strings * sizeof *s);
    for (size_t i = 0; i < a->n_strings; i++) {
        const void *p = NULL;
        OT_TRY(copy_bytes(im, a->strings[i].data, a->strings[i].len, 1, &p));
        s[i] = p;
    }
    out->strings = s;
    out->n = (int64_t)a->n_strings;
    return OT_OK;
}

static ot_status read_value(struct import *im, const Onnx__AttributeProto *a, struct attr *out) {
    const void *p = NULL;
    ot_status status = OT_OK;
    ot_type type;
    struct tensor *t = NULL;
    switch (out->kind) {
    case OT_ATTR_INT: out->i = a->i; break;
    case OT_ATTR_FLOAT: out->f = a->f; break;
    case OT_ATTR_STRING:
        out->n = a->has_s ? (int64_t)a->s.len : 0;
        status = copy_bytes(im, a->s.data, (size_t)out->n, 1, &p);
        out->s = p;
        break;
    case OT_ATTR_INTS:
        out->n = (int64_t)a->n_ints;
        status = copy_bytes(im, a->ints, a->n_ints, sizeof *a->ints, &p);
        out->ints = p;
        break;
    case OT_ATTR_FLOATS:
        out->n = (int64_t)a->n_floats;
        status = copy_bytes(im, a->floats, a->n_floats, sizeof *a->floats, &p);
        out->floats = p;
        break;
    case OT_ATTR_STRINGS: status = read_strings(im, a, out); break;
    case OT_ATTR_TENSOR:
        if (!a->t) return ot_import_fail(im, OT_ERROR_INVALID, "the tensor is missing");
        status = ot_payload_tensor(im, a->t, &t, &type);
        out->t = t;
        break;
    default: break;
    }
    return status;
}

static ot_status read_one(struct import *im, const Onnx__AttributeProto *a, struct attr *out,
                          const char **ref) {
    const void *name = NULL;
    int type;
    *ref = NULL;
    if (!a->name || !*a->name)
        return ot_import_fail(im, OT_ERROR_INVALID, "an attribute has no name");
    OT_TRY(copy_bytes(im, a->name, strlen(a->name), 1, &name));
    out->name = name;
    if (a->ref_attr_name && *a->ref_attr_name) {
        if (present_types(a))
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "attribute '%s' has a value and refers to '%s'", a->name,
                                  a->ref_attr_name);
        type = a->has_type ? (int)a->type : 0;
        out->kind = type > 0 && type < TYPES ? kinds[type] : 0; /* 0: whatever the caller gives */
        *ref = a->ref_attr_name;
        return OT_OK;
    }
    OT_TRY(type_of(im, a, &type));
    out->kind = kinds[type];
    ot_status status = read_value(im, a, out);
    return status ? ot_fail_in(&im->last, status, "attribute '%s'", a->name) : OT_OK;
}

static ot_status check_distinct(struct import *im, const struct attr *list, int n) {
    for (int i = 1; i < n; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(list[i].name, list[j].name))
                return ot_import_fail(im, OT_ERROR_INVALID, "attribute '%s' occurs twice",
                                      list[i].name);
    return OT_OK;
}

ot_status ot_attributes_read(struct import *im, Onnx__AttributeProto *const *list, size_t n,
                             struct attr **attr, const char *const **ref) {
    *attr = NULL;
    if (ref) *ref = NULL;
    if (n > MOST_ATTRIBUTES)
        return ot_import_fail(im, OT_ERROR_LIMIT,
                              "the node has %zu attributes, at most %d are allowed", n,
                              MOST_ATTRIBUTES);
    if (!n) return OT_OK;
    struct attr *out = ot_small_alloc(&im->kept, n, sizeof *out);
    const char **refs = ot_small_alloc(&im->temporary, n, sizeof *refs);
    if (!out) return ot_import_no_room(im, &im->g->arena, n * sizeof *out);
    if (!refs) return ot_import_no_room(im, &im->scratch, n * sizeof *refs);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        OT_TRY(read_one(im, list[i], &out[i], &refs[i]));
        if (refs[i] && !ref)
            return ot_import_fail(im, OT_ERROR_INVALID,
                                  "attribute '%s' refers to '%s' outside of a function",
                                  out[i].name, refs[i]);
        any = any || refs[i];
    }
    *attr = out;
    if (ref && any) *ref = refs;
    return check_distinct(im, out, (int)n);
}
