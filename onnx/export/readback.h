/* readback.h - what export has written is what it was asked to write. */
#ifndef OT_ONNX_EXPORT_READBACK_H
#define OT_ONNX_EXPORT_READBACK_H

#include "onnx/small_alloc.h"
#include "onnx/export/export.h"

/* Imports the file and compares its constants with the request's values; on failure the message
 * names the first that differs. small: for what it needs itself.
 * data_name: what the model calls its data file, which is called data_file yet; or NULL. */
ot_status ot_readback(const struct graph *g, const struct export_request *request, const char *path,
                      const char *data_name, const char *data_file, struct small_alloc *small,
                      ot_error *err);

#endif
