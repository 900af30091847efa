/* export_parts.h - what the files of export share; included by onnx/export*.c alone. */
#ifndef OT_ONNX_EXPORT_PARTS_H
#define OT_ONNX_EXPORT_PARTS_H

#include "onnx.pb-c.h"
#include "onnx/bump.h"
#include "onnx/export.h"

/* One export under way. The unpacked messages and all that is added to them live in the arena. */
struct export_job {
    const struct graph *g;
    const struct export_request *request;
    struct arena arena;
    struct bump bump; /* small blocks of the arena */
    Onnx__ModelProto *model;
    Onnx__GraphProto *graph; /* the model's */
    bool *reshaped;          /* value: its shape is not the file's; of g->n_values */
    bool form_changed;       /* a node trains that did not, or the other way round */
    ot_error *err;
};

/* Zeroed memory of the job; fails with OT_ERROR_NO_MEMORY. */
ot_status ot_export_alloc(struct export_job *job, size_t count, size_t size, void **memory);

/* Version of the default domain. */
int64_t ot_export_opset(const struct export_job *job);

/* ---- export_tensor.c: one tensor ---- */

/* What t holds becomes p's payload, in p's data type and field family; p's dims become t's shape.
 * Elements that p holds already and that t's pattern has no slot for stay as they are.
 * negative_zeros: of the value, or NULL. */
ot_status ot_export_put_dense(struct export_job *job, Onnx__TensorProto *p, const struct tensor *t,
                              const uint8_t *negative_zeros);
/* The same into values, indices and dims of a sparse tensor; coo: indices [nnz, rank], else
 * linear ones [nnz], ascending. A tensor without pattern gives an entry for each bit pattern that
 * is not +0. */
ot_status ot_export_put_sparse(struct export_job *job, Onnx__SparseTensorProto *p,
                               const struct tensor *t, bool coo);

/* ---- export_values.c, export_form.c ---- */

/* Puts the present values of all weights back and sets job->reshaped. */
ot_status ot_export_values(struct export_job *job);
/* BatchNormalization and Dropout take the form that the options ask for. */
ot_status ot_export_set_form(struct export_job *job);
/* export_training.c: the algorithm asked for becomes training_info. */
ot_status ot_export_training(struct export_job *job);

#endif
