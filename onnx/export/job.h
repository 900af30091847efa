/* job.h - one export under way, and what all its stages stand on. */
#ifndef OT_ONNX_EXPORT_JOB_H
#define OT_ONNX_EXPORT_JOB_H

#include "onnx.pb-c.h"
#include "onnx/small_alloc.h"
#include "onnx/export/export.h"

/* The unpacked messages and all that is added to them live in the arena. */
struct export_job {
    const struct graph *g;
    const struct export_request *request;
    struct arena arena;
    struct small_alloc small; /* small blocks of the arena */
    Onnx__ModelProto *model;
    Onnx__GraphProto *graph; /* the model's */
    bool *reshaped;          /* value: its shape is not the file's; of g->n_values */
    struct lazy *lazy;       /* see lazy.c */
    size_t n_lazy;
    char *piece;
    struct placed *placed, **last_placed; /* see data.c */
    uint64_t data_bytes;
    char *location;    /* name of the data file */
    bool form_changed; /* a node trains that did not, or the other way round */
    ot_error *err;
};

/* Zeroed memory of the job; fails with OT_ERROR_NO_MEMORY. */
ot_status ot_export_alloc(struct export_job *job, size_t count, size_t size, void **memory);

/* Version of the default domain. */
int64_t ot_export_opset(const struct export_job *job);

#endif
