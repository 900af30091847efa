/* proto.h - protobuf's wire format, read and written, and the TensorProto of onnx.proto. */
#ifndef OT_TOOLS_DATA_PROTO_H
#define OT_TOOLS_DATA_PROTO_H

#include "tools/tool.h"

struct proto {
    const unsigned char *p, *end;
};

struct proto_field {
    uint64_t number;
    int type;           /* 0: varint, 1: 8 bytes, 2: length and bytes, 5: 4 bytes */
    uint64_t value;     /* of a varint */
    struct proto bytes; /* what all others cover */
};

/* False at the end and where the bytes are broken; only then p != end. */
bool ot_proto_varint(struct proto *m, uint64_t *value);
bool ot_proto_next(struct proto *m, struct proto_field *field);

/* Whether these bytes are this text. */
bool ot_proto_is(struct proto bytes, const char *text);

/* A tensor of numbers. All floating-point types come as OT_FLOAT. */
struct proto_tensor {
    ot_type type;
    ot_type file_type; /* as it was written; halves and doubles have become floats */
    int size;          /* bytes of an element */
    int rank;
    int64_t dim[OT_MAX_RANK];
    size_t count;
    void *data; /* malloc'ed, row-major, in the machine's order */
};

/* `name` is for messages. */
int ot_proto_tensor(struct proto bytes, const char *name, struct proto_tensor *t,
                    struct failure *f);

/* Bytes that grow. Where memory ends, `failed` is set and further calls do nothing. */
struct message {
    unsigned char *bytes;
    size_t size, room;
    bool failed;
};

void ot_put_varint(struct message *m, uint64_t v);
void ot_put_int(struct message *m, int field, int64_t v);
void ot_put_bytes(struct message *m, int field, const void *p, size_t n);
void ot_put_text(struct message *m, int field, const char *text);
void ot_put_message(struct message *m, int field, struct message *inner); /* empties `inner` */
/* A field as it was read. */
void ot_put_field(struct message *m, const struct proto_field *field);

#endif
