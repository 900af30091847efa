/* unknown_fields.h - fields that came into onnx.proto after IR version 8.
 *
 * The sources are built against the onnx.proto of the system. Where it is old, protobuf-c keeps
 * newer fields as unknown bytes; where it is new they are members of the struct. These functions
 * find them either way.
 */
#ifndef OT_ONNX_UNKNOWN_FIELDS_H
#define OT_ONNX_UNKNOWN_FIELDS_H

#include "onnx.pb-c.h"

/* Bytes of a singular string, not terminated; NULL and 0: it is absent. */
const char *ot_unknown_string(const ProtobufCMessage *m, unsigned tag, size_t *size);

/* How many messages a repeated field has. */
size_t ot_unknown_count(const ProtobufCMessage *m, unsigned tag);

/* The i-th, unpacked with this allocator if need be; NULL: malformed, or out of memory. */
ProtobufCMessage *ot_unknown_message(const ProtobufCMessage *m, unsigned tag, size_t i,
                                     const ProtobufCMessageDescriptor *type, ProtobufCAllocator *a);

#endif
