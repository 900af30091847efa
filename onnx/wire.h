/* wire.h - protobuf's wire format, as far as a walk over it needs to know. */
#ifndef OT_ONNX_WIRE_H
#define OT_ONNX_WIRE_H

#include <stdbool.h>
#include <stdint.h>

enum { OT_WIRE_VARINT = 0, OT_WIRE_64 = 1, OT_WIRE_BYTES = 2, OT_WIRE_32 = 5 }; /* 3, 4: groups */

/* A varint of at most `most` bytes; false: it is longer, or the data ends. */
static inline bool ot_read_varint(const uint8_t **p, const uint8_t *end, int most,
                                  uint64_t *value) {
    uint64_t v = 0;
    for (int i = 0; i < most && *p + i < end; i++) {
        const uint8_t b = (*p)[i];
        if (i == 9 && b > 1) return false;
        v |= (uint64_t)(b & 0x7f) << 7 * i;
        if (b & 0x80) continue;
        *p += i + 1;
        *value = v;
        return true;
    }
    return false;
}

#endif
