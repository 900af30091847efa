/* tree.h - a walk over the tensors of a tree of messages. */
#ifndef OT_ONNX_TREE_H
#define OT_ONNX_TREE_H

#include <stdbool.h>

#include "onnx.pb-c.h"
#include "runtime/base/error.h"

/* Calls visit(context, t) for every TensorProto below m, in the order of its fields, until one
 * fails. */
typedef ot_status ot_tensor_fn(void *context, Onnx__TensorProto *t);
ot_status ot_tree_tensors(ProtobufCMessage *m, ot_tensor_fn *visit, void *context);

#endif
