/* scan.h - a look over the bytes of a model before protobuf-c sees them.
 *
 * Walks the wire format of ONNX with a table of its messages: no recursion, no allocation, linear
 * time. What passes can be unpacked with little stack and bounded memory, holds no name that a C
 * string cannot, and no field twice that would be merged.
 */
#ifndef OT_ONNX_SCAN_H
#define OT_ONNX_SCAN_H

#include <stddef.h>

#include "runtime/base/error.h"

/* Levels of nesting. protobuf-c takes about 1 KB of stack a level, and threads of hosts may have 64
 * KiB. Only If has subgraphs that this library runs; models without need 8 levels. */
enum { OT_SCAN_LEVELS = 32, OT_SCAN_SUBGRAPHS = 8, OT_SCAN_TYPES = 8 };
/* Bytes of a name, and of a text or a field that nobody reads. */
enum { OT_SCAN_NAME = 4096, OT_SCAN_TEXT = 16 << 20, OT_SCAN_ATTRIBUTES = 256 };

/* size: at most 2^31 - 1. limits: those of an import, defaults filled in. Of a scalar that is there
 * twice the last counts, as protobuf has it. */
ot_status ot_scan(const void *bytes, size_t size, const ot_limits *limits, ot_error *err);

#endif
