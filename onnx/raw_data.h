/* raw_data.h - payloads stay where the file has them.
 *
 * protobuf-c copies every byte that it unpacks. It is given a copy of the file in which a reference
 * stands in place of each raw_data of at least the size of one; in the tree that comes out the
 * references are replaced by pointers into the file, whose bytes have to outlive the tree.
 */
#ifndef OT_ONNX_RAW_DATA_H
#define OT_ONNX_RAW_DATA_H

#include <stddef.h>

#include "onnx.pb-c.h"

/* Size of the copy. A file that is no model gives its own size, or one that unpacks as little. */
size_t ot_raw_data_short(const void *bytes, size_t size);

/* Writes the copy to `copy`, which has that many bytes. */
void ot_raw_data_shorten(const void *bytes, size_t size, void *copy);

/* Replaces the references in the tree of such a copy. The file is not written to, however the tree
 * is used. */
void ot_raw_data_restore(Onnx__ModelProto *model, const void *bytes);

#endif
