/* tree.c - every tensor of a model, wherever its message stands. */
#include "onnx/tree.h"

static void *member(const ProtobufCMessage *m, unsigned offset) { return (char *)m + offset; }

/* The scan that let the model in has bounded how deep messages nest. */
ot_status ot_tree_tensors(ProtobufCMessage *m, ot_tensor_fn *visit, void *context) {
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (d == &onnx__tensor_proto__descriptor) return visit(context, (Onnx__TensorProto *)m);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            const size_t n = *(const size_t *)member(m, f->quantifier_offset);
            ProtobufCMessage **list = *(ProtobufCMessage ***)member(m, f->offset);
            for (size_t k = 0; k < n; k++) OT_TRY(ot_tree_tensors(list[k], visit, context));
            continue;
        }
        const bool is_case = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
        if (is_case && *(const uint32_t *)member(m, f->quantifier_offset) != f->id) continue;
        ProtobufCMessage *one = *(ProtobufCMessage **)member(m, f->offset);
        if (one) OT_TRY(ot_tree_tensors(one, visit, context));
    }
    return OT_OK;
}
