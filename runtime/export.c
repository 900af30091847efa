/* export.c - a session's model with its present weights goes to the ONNX writer. */
#include "onnx/export.h"
#include "runtime/session.h"

ot_status ot_export_onnx(const ot_session *s, const char *path, const ot_export_options *options,
                         ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    const struct graph *g = s->graph;
    const struct tensor **present =
        ot_block_alloc(&s->allocator, (size_t)g->n_values, sizeof *present);
    if (!present) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of weights");
    for (int i = 0; i < s->n_parameters; i++) present[s->parameter[i].value] = &s->parameter[i].t;
    struct export_request request = {
        .present = present, .head_classes = s->head_classes, .log = s->log};
    if (options) request.options = *options;
    ot_status status = ot_export_file(g, &request, path, err);
    ot_block_free(&s->allocator, present);
    return status;
}
