/* raw_data.c - copies a file without the contents of raw_data, field by field. */
#include "onnx/raw_data.h"

#include <string.h>

#include "onnx/tree.h"
#include "onnx/wire.h"
#include "runtime/base/range.h"

enum { RAW_DATA = 9, MOST_DEPTH = 64 };

/* Every raw_data of this size or more is replaced, so that one of exactly this size is a reference:
 * shorter ones stay as they are. */
struct reference {
    uint64_t at, size; /* in the file */
};

struct copy {
    const uint8_t *begin;
    uint8_t *to; /* NULL: the copy is only measured */
    size_t n;
};

struct field {
    uint32_t number, type;
    const uint8_t *length, *body, *end; /* OT_WIRE_BYTES: its length is at [length, body) */
};

static void put_bytes(struct copy *c, const void *bytes, size_t n) {
    if (c->to) memcpy(c->to + c->n, bytes, n);
    c->n += n;
}

/* A length in as many bytes as the one had that it replaces: what follows does not move. */
static void put_length(struct copy *c, size_t at, size_t bytes, size_t length) {
    for (size_t i = 0; c->to && i < bytes; i++, length >>= 7)
        c->to[at + i] = (uint8_t)((length & 0x7f) | (i + 1 < bytes ? 0x80 : 0));
}

static bool read_field(const uint8_t *p, const uint8_t *end, struct field *f) {
    uint64_t tag, n;
    if (!ot_read_varint(&p, end, 5, &tag)) return false;
    *f = (struct field){.number = (uint32_t)(tag >> 3), .type = tag & 7, .length = p};
    switch (f->type) {
    case OT_WIRE_VARINT:
        if (!ot_read_varint(&p, end, 10, &n)) return false;
        n = 0;
        break;
    case OT_WIRE_BYTES:
        if (!ot_read_varint(&p, end, 5, &n)) return false;
        break;
    case OT_WIRE_64: n = 8; break;
    case OT_WIRE_32: n = 4; break;
    default: return false;
    }
    if (!ot_is_inside(0, n, (uint64_t)(end - p))) return false;
    f->body = p;
    f->end = p + n;
    return true;
}

static bool is_raw_data(const ProtobufCMessageDescriptor *d, const struct field *f) {
    return d == &onnx__tensor_proto__descriptor && f->number == RAW_DATA &&
           f->type == OT_WIRE_BYTES && (size_t)(f->end - f->body) >= sizeof(struct reference);
}

/* The message that the field holds, as protobuf-c will know it; NULL: it is copied as it is. */
static const ProtobufCMessageDescriptor *message(const ProtobufCMessageDescriptor *d,
                                                 const struct field *f) {
    if (f->type != OT_WIRE_BYTES) return NULL;
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(d, f->number);
    return known && known->type == PROTOBUF_C_TYPE_MESSAGE ? known->descriptor : NULL;
}

static bool copy_message(struct copy *c, const ProtobufCMessageDescriptor *d, const uint8_t *p,
                         const uint8_t *end, int depth) {
    if (depth > MOST_DEPTH) return false;
    for (struct field f; p < end; p = f.end) {
        if (!read_field(p, end, &f)) return false;
        const ProtobufCMessageDescriptor *inner = message(d, &f);
        const bool is_raw = is_raw_data(d, &f);
        put_bytes(c, p, (size_t)((is_raw || inner ? f.body : f.end) - p));
        const size_t begin = c->n, bytes = (size_t)(f.body - f.length);
        if (is_raw) {
            const struct reference r = {(uint64_t)(f.body - c->begin), (uint64_t)(f.end - f.body)};
            put_bytes(c, &r, sizeof r);
        } else if (!inner) {
            continue;
        } else if (!copy_message(c, inner, f.body, f.end, depth + 1)) {
            return false;
        }
        put_length(c, begin - bytes, bytes, c->n - begin);
    }
    return true;
}

static size_t copy_model(const void *bytes, size_t size, void *to) {
    struct copy c = {.begin = bytes, .to = to};
    const bool is_model =
        copy_message(&c, &onnx__model_proto__descriptor, c.begin, c.begin + size, 0);
    return is_model ? c.n : size;
}

size_t ot_raw_data_short(const void *bytes, size_t size) { return copy_model(bytes, size, NULL); }

void ot_raw_data_shorten(const void *bytes, size_t size, void *copy) {
    copy_model(bytes, size, copy);
}

static ot_status restore(void *context, Onnx__TensorProto *t) {
    const uint8_t *bytes = context;
    struct reference r;
    if (!t->has_raw_data || t->raw_data.len != sizeof r) return OT_OK;
    memcpy(&r, t->raw_data.data, sizeof r);
    t->raw_data = (ProtobufCBinaryData){(size_t)r.size, (uint8_t *)bytes + r.at};
    return OT_OK;
}

void ot_raw_data_restore(Onnx__ModelProto *model, const void *bytes) {
    ot_tree_tensors(&model->base, restore, (void *)bytes);
}
