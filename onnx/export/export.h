/* export.h - the graph goes back to the ONNX file it came from, with new values. */
#ifndef OT_ONNX_EXPORT_EXPORT_H
#define OT_ONNX_EXPORT_EXPORT_H

#include "runtime/base/graph.h"

struct import_options;

/* present[v]: what value v holds now, g->n_values entries; NULL: the constant of the graph. A
 * present tensor may have another shape than the file's (a new head, a new bias). */
struct export_request {
    const struct tensor *const *present;
    int64_t head_classes; /* > 0: a new head; dimension 1 of outputs behind it gets this size */
    ot_export_options options;
    const struct graph *algorithm; /* to be written as training_info: its values are the graph's,
                                    * then its own; nodes and g->algorithm its own. NULL: none */
    const struct import_options *import; /* with which the model was opened; NULL: plain ones */
    struct log log;
};

/* Writes path atomically: temporary file beside it, fsync, readback.h, rename, fsync of the folder.
 */
ot_status ot_export_file(const struct graph *g, const struct export_request *request,
                         const char *path, ot_error *err);

/* Does everything but write: whatever of the model or the request cannot be written is said. */
ot_status ot_export_check(const struct graph *g, const struct export_request *request,
                          ot_error *err);

#endif
