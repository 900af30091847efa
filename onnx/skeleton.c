/* skeleton.c - the tree without the payload of its weights is packed again. */
#include "onnx/skeleton.h"

#include "onnx/model.h"
#include "onnx/tree.h"

static bool is_external(const Onnx__TensorProto *t) {
    return t->has_data_location && t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* In place of the payload, the field that is to hold it again. */
static ot_status note_field(struct import *im, Onnx__TensorProto *t, const char *field) {
    Onnx__StringStringEntryProto *e = ot_small_alloc(&im->temporary, 1, sizeof *e);
    Onnx__StringStringEntryProto **list = ot_small_alloc(&im->temporary, 1, sizeof *list);
    if (!e || !list) return ot_import_no_room(im, &im->scratch, sizeof *e);
    onnx__string_string_entry_proto__init(e);
    e->key = (char *)OT_CUT_KEY;
    e->value = (char *)field;
    *list = e;
    t->external_data = list;
    t->n_external_data = 1;
    t->has_data_location = 0;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    return OT_OK;
}

/* Takes the payload out. */
static ot_status cut_payload(struct import *im, Onnx__TensorProto *t) {
    const bool raw = t->has_raw_data && t->raw_data.len;
    const char *field = is_external(t)    ? OT_CUT_EXTERNAL
                        : t->n_float_data ? "float_data"
                        : t->n_int32_data ? "int32_data"
                                          : "raw_data";
    if (!raw && !t->n_float_data && !t->n_int32_data && !t->n_external_data) return OT_OK;
    OT_TRY(note_field(im, t, field));
    t->has_raw_data = 0;
    t->raw_data = (ProtobufCBinaryData){0};
    t->n_float_data = t->n_int32_data = 0;
    return OT_OK;
}

/* What stands in another file and is not kept as a weight comes into the skeleton: export must not
 * need that file. One that cannot be read is nobody's: export says so, if it comes to that. */
static ot_status take_in(void *context, Onnx__TensorProto *t) {
    struct import *im = context;
    void *bytes;
    size_t size;
    if (!is_external(t)) return OT_OK;
    const ot_status status = ot_external_take(im, t, &bytes, &size);
    if (status == OT_ERROR_NO_MEMORY || status == OT_ERROR_LIMIT) return status;
    if (status) return OT_OK;
    OT_TRY(note_field(im, t, OT_CUT_EXTERNAL));
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){size, bytes};
    return OT_OK;
}

static bool is_cut(const struct value *v) {
    return v->exportable && v->constant && ot_elements(v->constant) > 0 &&
           (v->type == OT_FLOAT || v->type == OT_FLOAT16 || v->type == OT_BFLOAT16);
}

ot_status ot_skeleton_make(struct import *im) {
    struct graph *g = im->g;
    for (int i = 0; i < g->n_values; i++) {
        const struct source *s = &im->source[i];
        if (!is_cut(&g->value[i])) continue;
        if (s->tensor) OT_TRY(cut_payload(im, s->tensor));
        if (s->sparse) OT_TRY(cut_payload(im, s->sparse->values));
    }
    OT_TRY(ot_tree_tensors(&im->model->base, take_in, im));
    g->skeleton_bytes = protobuf_c_message_get_packed_size(&im->model->base);
    g->skeleton = ot_arena_alloc(&g->arena, g->skeleton_bytes, 1);
    if (!g->skeleton) return ot_import_no_room(im, &g->arena, g->skeleton_bytes);
    protobuf_c_message_pack(&im->model->base, g->skeleton);
    return OT_OK;
}
