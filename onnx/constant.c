/* constant.c - Constant nodes: one attribute of eight says where the value is. */
#include "onnx/model.h"

#include <string.h>

/* A small tensor of the graph from the value of an attribute. */
static ot_status make_tensor(struct import *im, ot_type type, int rank, int64_t n, const void *data,
                             struct tensor **tensor) {
    const size_t bytes = (size_t)n * ot_type_size(type);
    struct tensor *t = ot_small_alloc(&im->kept, 1, sizeof *t);
    void *p = ot_small_alloc(&im->kept, bytes, 1);
    if (!t || !p) return ot_import_no_room(im, &im->g->arena, bytes);
    *t = (struct tensor){.type = type, .role = OT_ROLE_CONST, .rank = rank, .data = p};
    if (rank) t->dim[0] = n;
    if (bytes) memcpy(p, data, bytes);
    *tensor = t;
    return OT_OK;
}

/* From an attribute that is read already, as for a reference inside of a function. */
static ot_status from_attr(struct import *im, const struct attr *a, struct source *source) {
    switch (a->kind) {
    case OT_ATTR_TENSOR:
        source->ready = ot_small_alloc(&im->kept, 1, sizeof *source->ready);
        if (!source->ready) return ot_import_no_room(im, &im->g->arena, sizeof *source->ready);
        *source->ready = *a->t;
        return OT_OK;
    case OT_ATTR_FLOAT: return make_tensor(im, OT_FLOAT, 0, 1, &a->f, &source->ready);
    case OT_ATTR_INT: return make_tensor(im, OT_INT64, 0, 1, &a->i, &source->ready);
    case OT_ATTR_FLOATS: return make_tensor(im, OT_FLOAT, 1, a->n, a->floats, &source->ready);
    case OT_ATTR_INTS: return make_tensor(im, OT_INT64, 1, a->n, a->ints, &source->ready);
    default:
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED, "attribute '%.40s' is not supported",
                              a->name);
    }
}

static bool is_value_name(const char *name, enum attr_kind kind) {
    static const struct {
        const char *name;
        enum attr_kind kind;
    } forms[] = {{"value", OT_ATTR_TENSOR},        {"sparse_value", OT_ATTR_OTHER},
                 {"value_float", OT_ATTR_FLOAT},   {"value_floats", OT_ATTR_FLOATS},
                 {"value_int", OT_ATTR_INT},       {"value_ints", OT_ATTR_INTS},
                 {"value_string", OT_ATTR_STRING}, {"value_strings", OT_ATTR_STRINGS}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].name, name)) return forms[i].kind == kind;
    return false;
}

ot_status ot_constant_source(struct import *im, const Onnx__NodeProto *node,
                             const struct attr *attr, int n_attr, struct source *source) {
    const size_t n = attr ? (size_t)n_attr : node->n_attribute;
    if (n != 1)
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "the node has %zu attributes, exactly one is expected", n);
    const Onnx__AttributeProto *p = node->attribute[0];
    if (!attr && p->name && !strcmp(p->name, "value") && p->t) {
        source->tensor = p->t;
        return OT_OK;
    }
    if (!attr && p->name && p->sparse_tensor && /* some writers call it "value" as well */
        (!strcmp(p->name, "sparse_value") || !strcmp(p->name, "value"))) {
        source->sparse = p->sparse_tensor;
        return OT_OK;
    }
    struct attr *read = NULL;
    if (!attr) OT_TRY(ot_attributes_read(im, node->attribute, n, &read, NULL));
    const struct attr *a = attr ? attr : read;
    if (!is_value_name(a->name, a->kind))
        return ot_import_fail(im, OT_ERROR_INVALID,
                              "attribute '%.40s' is not supported, or has the wrong type", a->name);
    return from_attr(im, a, source);
}

const struct tensor *ot_constant_read(struct import *im, int v, int64_t most) {
    const struct source *s = &im->source[v];
    struct tensor *t = s->ready;
    struct tensor shape;
    ot_type type;
    if (s->tensor && (ot_payload_check(im, s->tensor, &shape, &type) ||
                      ot_elements(&shape) > most || ot_payload_tensor(im, s->tensor, &t, &type)))
        return NULL;
    return t && ot_elements(t) <= most ? t : NULL;
}
