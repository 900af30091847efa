/* schema.h - the messages of onnx.proto, IR versions 1 to 13, as the scan needs them. */
#ifndef OT_ONNX_SCHEMA_H
#define OT_ONNX_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

enum message {
    MESSAGE_NONE = 0,
    MODEL,
    GRAPH,
    NODE,
    ATTRIBUTE,
    TENSOR,
    SPARSE_TENSOR,
    VALUE_INFO,
    TYPE,
    TYPE_TENSOR,
    TYPE_SEQUENCE,
    TYPE_MAP,
    SHAPE,
    DIMENSION,
    ENTRY,
    SEGMENT,
    OPSET,
    FUNCTION,
    TRAINING,
    ANNOTATION,
    MESSAGES
};

enum field_kind {
    FIELD_NONE = 0,
    FIELD_VARINT,
    FIELD_VARINTS, /* repeated, packed or not */
    FIELD_FLOAT,
    FIELD_FLOATS,
    FIELD_DOUBLES,
    FIELD_BYTES,
    FIELD_NAME,  /* UTF-8 without NUL, short */
    FIELD_VALUE, /* a string without NUL */
    FIELD_TEXT,  /* nobody reads it */
    FIELD_ONE,   /* a message, at most once */
    FIELD_MANY   /* messages */
};

struct field {
    const char *name;
    uint8_t number, kind, message;
};

/* The fields of a message, ended by FIELD_NONE. */
const struct field *ot_schema(enum message m);

#endif
