/* parts.h - what the files of export share; included by no others. */
#ifndef OT_ONNX_EXPORT_PARTS_H
#define OT_ONNX_EXPORT_PARTS_H

#include "onnx/export/job.h"

/* ---- tensor.c: one tensor ---- */

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

/* Shall p's payload stand in the data file? */
bool ot_export_is_external(const Onnx__TensorProto *p);
/* Says so, or that it shall not. */
ot_status ot_export_set_external(struct export_job *job, Onnx__TensorProto *p, bool external);

/* ---- lazy.c: bytes that are made when they are written ---- */

/* A weight in an element type of the file; with a pattern, zeros where it has no slot. */
struct lazy {
    const struct tensor *t;
    const uint8_t *negative_zeros; /* of the value, or NULL */
    size_t size;                   /* of an element */
    float least;                   /* see slot_value.h */
    void (*put)(void *to, float v);
};

/* *marker stands for the bytes in a message; nothing but ot_export_bytes may read it. */
ot_status ot_export_add_lazy(struct export_job *job, const struct lazy *l, void **marker);
bool ot_export_is_lazy(const struct export_job *job, const void *data);

/* Hands out the bytes that data is or stands for, in order, in pieces. */
typedef ot_status ot_sink_fn(void *context, const void *bytes, size_t size);
ot_status ot_export_bytes(struct export_job *job, const void *data, size_t size, ot_sink_fn *sink,
                          void *context);

/* ---- data.c: the data file ---- */

struct file_writer;

/* Gives payloads that shall stand in the data file a place there, and where the model would be too
 * large for one file, all large ones. path: of the model, or NULL where nothing is written. */
ot_status ot_export_place(struct export_job *job, const char *path);
/* Writes the data file of this model to a temporary file, and puts its name into the model. */
ot_status ot_export_write_data(struct export_job *job, const char *path, struct file_writer *w);
/* Renames both, the data file first, and removes the one that the old model had. */
ot_status ot_export_commit(struct export_job *job, struct file_writer *data,
                           struct file_writer *model);

/* ---- values.c, form.c ---- */

/* Puts the present values of all weights back and sets job->reshaped. */
ot_status ot_export_values(struct export_job *job);
/* BatchNormalization and Dropout take the form that the options ask for. */
ot_status ot_export_set_form(struct export_job *job);
/* training.c: the algorithm asked for becomes training_info. */
ot_status ot_export_training(struct export_job *job);

#endif
