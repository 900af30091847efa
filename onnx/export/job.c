/* job.c - what all stages of an export stand on: memory, and the version of the model. */
#include "onnx/export/job.h"

ot_status ot_export_alloc(struct export_job *job, size_t count, size_t size, void **memory) {
    *memory = ot_small_alloc(&job->small, count, size);
    if (*memory) return OT_OK;
    return ot_fail(job->err, OT_ERROR_NO_MEMORY, "no memory to write the model: %zu x %zu bytes",
                   count, size);
}

int64_t ot_export_opset(const struct export_job *job) { return job->g->opset; }
