/* exporter_notes.c - what PyTorch's exporter notes of an initializer: whether it was a parameter of
 * the module, or a buffer or a constant, which PyTorch does not train either. */
#include <string.h>

#include "onnx/unknown_fields.h"
#include "onnx/model.h"

enum { TAG_METADATA = 4, MOST_NOTES = 16 };

static const struct {
    const char *name;
    enum value_note note;
} kinds[] = {{"PARAMETER", OT_NOTE_PARAMETER},
             {"BUFFER", OT_NOTE_FIXED},
             {"CONSTANT_TENSOR", OT_NOTE_FIXED}};

static void read_entry(struct value *v, const Onnx__StringStringEntryProto *e) {
    if (!e->key || !e->value) return;
    if (strcmp(e->key, "pkg.torch.export.graph_signature.InputSpec.kind") != 0) return;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(e->value, kinds[k].name)) v->note = kinds[k].note;
}

void ot_note_read(struct import *im, const Onnx__ValueInfoProto *p) {
    const int v = p->name ? ot_names_get(&im->names, SCOPE_GRAPH, p->name) : OT_NO_NAME;
    if (v < 0 || im->g->value[v].kind != OT_VALUE_INITIALIZER) return;
    const size_t n = ot_unknown_count(&p->base, TAG_METADATA);
    for (size_t i = 0; i < n && i < MOST_NOTES; i++) {
        const ProtobufCMessage *m = ot_unknown_message(
            &p->base, TAG_METADATA, i, &onnx__string_string_entry_proto__descriptor, &im->tree);
        if (m) read_entry(&im->g->value[v], (const Onnx__StringStringEntryProto *)(const void *)m);
    }
}
