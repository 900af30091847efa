/* unknown_fields.c - looks for a field in the struct, then among the unknown ones. */
#include "onnx/unknown_fields.h"

#include <string.h>

static const void *member(const ProtobufCMessage *m, unsigned offset) {
    return (const char *)m + offset;
}

/* The i-th unknown field of this number, without its length. */
static const uint8_t *unknown(const ProtobufCMessage *m, unsigned tag, size_t i, size_t *size) {
    for (unsigned u = 0; u < m->n_unknown_fields; u++) {
        const ProtobufCMessageUnknownField *f = &m->unknown_fields[u];
        size_t head = 0; /* the length, a varint */
        if (f->tag != tag || f->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED || i--) continue;
        while (head < f->len && f->data[head] & 0x80) head++;
        if (head++ >= f->len) return NULL;
        *size = f->len - head;
        return f->data + head;
    }
    return NULL;
}

const char *ot_unknown_string(const ProtobufCMessage *m, unsigned tag, size_t *size) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m->descriptor, tag);
    *size = 0;
    if (!f) return (const char *)unknown(m, tag, 0, size);
    const char *s = *(char *const *)member(m, f->offset);
    if (s) *size = strlen(s);
    return s;
}

size_t ot_unknown_count(const ProtobufCMessage *m, unsigned tag) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m->descriptor, tag);
    size_t n = 0;
    if (f) return *(const size_t *)member(m, f->quantifier_offset);
    for (unsigned u = 0; u < m->n_unknown_fields; u++) n += m->unknown_fields[u].tag == tag;
    return n;
}

ProtobufCMessage *ot_unknown_message(const ProtobufCMessage *m, unsigned tag, size_t i,
                                     const ProtobufCMessageDescriptor *type,
                                     ProtobufCAllocator *a) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m->descriptor, tag);
    size_t size;
    if (f) return (*(ProtobufCMessage * *const *)member(m, f->offset))[i];
    const uint8_t *p = unknown(m, tag, i, &size);
    return p ? protobuf_c_message_unpack(type, a, size, p) : NULL;
}
