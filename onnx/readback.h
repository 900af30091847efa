/* readback.h - what export has written is what it was asked to write. */
#ifndef OT_ONNX_READBACK_H
#define OT_ONNX_READBACK_H

#include "onnx/bump.h"
#include "onnx/export.h"

/* Imports the file and compares its constants with the request's values; on failure the message
 * names the first that differs. bump: for what it needs itself. */
ot_status ot_readback(const struct graph *g, const struct export_request *request, const char *path,
                      struct bump *bump, ot_error *err);

#endif
