/* export.c - the model's skeleton, filled with present values, becomes a file. */
#include "onnx/export/export.h"

#include <limits.h>
#include <string.h>

#include "onnx/export/parts.h"
#include "onnx/export/readback.h"
#include "onnx/names.h"
#include "runtime/base/file.h"

enum { BUFFER = 64 * 1024 };

/* ---- the skeleton ---- */

static void *unpack_alloc(void *small, size_t size) { return ot_small_alloc(small, size, 1); }

static void unpack_free(void *small, void *pointer) { /* the arena frees it */
    (void)small;
    (void)pointer;
}

static ot_status open_skeleton(struct export_job *job) {
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &job->small};
    job->model = onnx__model_proto__unpack(&allocator, job->g->skeleton_bytes, job->g->skeleton);
    if (!job->model || !job->model->graph) /* import made it from a model that was fine */
        return ot_fail(job->err, OT_ERROR_NO_MEMORY, "no memory to unpack the model");
    job->graph = job->model->graph;
    return OT_OK;
}

/* ---- shapes that a new head has changed ---- */

/* What is computed from a value of another shape may have another shape. */
static void spread_reshaped(struct export_job *job) {
    const struct graph *g = job->g;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->node[i];
        bool touched = false;
        for (int k = 0; k < n->n_in; k++) touched |= n->in[k] >= 0 && job->reshaped[n->in[k]];
        for (int k = 0; touched && k < n->n_out; k++)
            if (n->out[k] >= 0) job->reshaped[n->out[k]] = true;
    }
}

static Onnx__TensorShapeProto *shape_of(const Onnx__ValueInfoProto *info) {
    const Onnx__TypeProto *t = info->type;
    if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) return NULL;
    return t->tensor_type->shape;
}

static void set_dim(Onnx__TensorShapeProto *shape, size_t i, int64_t size) {
    shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    shape->dim[i]->dim_value = size;
}

/* The classes of outputs that depend on the head; the first of them says what they were. */
static void set_outputs(struct export_job *job) {
    int64_t classes = job->request->head_classes, old = -1;
    if (classes <= 0) return;
    for (size_t i = 0; i < job->graph->n_output && i < (size_t)job->g->n_outputs; i++) {
        Onnx__TensorShapeProto *shape = shape_of(job->graph->output[i]);
        if (!job->reshaped[job->g->output[i]] || !shape || shape->n_dim < 2) continue;
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[1];
        int64_t now = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
                          ? d->dim_value
                          : -1;
        if (old < 0) old = now;
        if (now == old) set_dim(shape, 1, classes);
    }
}

/* In old files every initializer is a graph input too, with its shape. */
static void set_input(const struct export_job *job, const Onnx__ValueInfoProto *input, int v) {
    const struct tensor *t = job->request->present[v];
    Onnx__TensorShapeProto *shape = shape_of(input);
    if (!t || !shape || shape->n_dim != (size_t)t->rank) return;
    for (size_t i = 0; i < shape->n_dim; i++) set_dim(shape, i, t->dim[i]);
}

static ot_status set_shapes(struct export_job *job) {
    const struct graph *g = job->g;
    struct names names;
    spread_reshaped(job);
    ot_names_init(&names, &job->small, g->hash);
    for (int v = 0; v < g->n_values; v++)
        if (job->reshaped[v] && !ot_names_set(&names, 0, g->value[v].name, v))
            return ot_fail(job->err, OT_ERROR_NO_MEMORY, "no memory for the names of values");
    set_outputs(job);
    for (size_t i = 0; i < job->graph->n_input; i++) {
        const char *name = job->graph->input[i]->name;
        int v = name ? ot_names_get(&names, 0, name) : OT_NO_NAME;
        if (v != OT_NO_NAME && g->value[v].constant) set_input(job, job->graph->input[i], v);
    }
    size_t n = 0;
    for (size_t i = 0; i < job->graph->n_value_info; i++) {
        Onnx__ValueInfoProto *info = job->graph->value_info[i];
        if (!info->name || ot_names_get(&names, 0, info->name) == OT_NO_NAME)
            job->graph->value_info[n++] = info;
    }
    job->graph->n_value_info = n;
    return OT_OK;
}

/* ---- the files ---- */

/* protobuf-c hands out many pieces of a few bytes and some of many. */
struct stream {
    ProtobufCBuffer base;
    struct export_job *job;
    struct file_writer file;
    ot_status status;
    size_t n;
    uint8_t *buffer;
};

static void flush_stream(struct stream *s) {
    if (!s->status && s->n) s->status = ot_file_write(&s->file, s->buffer, s->n, s->job->err);
    s->n = 0;
}

static ot_status write_piece(void *stream, const void *bytes, size_t n) {
    struct stream *s = stream;
    return ot_file_write(&s->file, bytes, n, s->job->err);
}

static void append_bytes(ProtobufCBuffer *base, size_t n, const uint8_t *bytes) {
    struct stream *s = (struct stream *)base; /* base is the first member */
    const bool is_lazy = ot_export_is_lazy(s->job, bytes);
    if (n > BUFFER - s->n || is_lazy) flush_stream(s);
    if (n > BUFFER || is_lazy) {
        if (!s->status) s->status = ot_export_bytes(s->job, bytes, n, write_piece, s);
        return;
    }
    if (n) memcpy(s->buffer + s->n, bytes, n);
    s->n += n;
}

/* The last component of a path. */
static const char *name_in(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Both files, whole, under temporary names. */
static ot_status write_pair(struct export_job *job, const char *path, struct stream *s,
                            struct file_writer *data) {
    void *buffer;
    OT_TRY(ot_export_alloc(job, BUFFER, 1, &buffer));
    s->buffer = buffer;
    if (job->placed) OT_TRY(ot_export_write_data(job, path, data));
    OT_TRY(ot_file_begin(&s->file, path, job->err));
    onnx__model_proto__pack_to_buffer(job->model, &s->base);
    flush_stream(s);
    OT_TRY(s->status);
    return ot_readback(job->g, job->request, s->file.temporary, job->placed ? job->location : NULL,
                       name_in(data->temporary), &job->small, job->err);
}

static ot_status write_model(struct export_job *job, const char *path) {
    struct stream s = {.base = {append_bytes}, .job = job, .file.fd = -1};
    struct file_writer data = {.fd = -1};
    const ot_status status = write_pair(job, path, &s, &data);
    if (!status) return ot_export_commit(job, &data, &s.file);
    ot_file_abort(&s.file);
    ot_file_abort(&data);
    return status;
}

static ot_status check_options(const ot_export_options *o, ot_error *err) {
    if ((unsigned)o->sparse > OT_EXPORT_SPARSE_AUTO)
        return ot_fail(err, OT_ERROR_ARGUMENT, "export option sparse is %d, which is unknown",
                       (int)o->sparse);
    if ((unsigned)o->form > OT_EXPORT_FORM_TRAINING)
        return ot_fail(err, OT_ERROR_ARGUMENT, "export option form is %d, which is unknown",
                       (int)o->form);
    if (o->reserved)
        return ot_fail(err, OT_ERROR_ARGUMENT, "export option reserved is %d, expected 0",
                       o->reserved);
    return OT_OK;
}

/* The tree of messages, complete. */
static ot_status make_model(struct export_job *job, const char *path) {
    void *memory;
    OT_TRY(ot_export_alloc(job, (size_t)job->g->n_values, sizeof *job->reshaped, &memory));
    job->reshaped = memory;
    OT_TRY(open_skeleton(job));
    OT_TRY(ot_export_values(job));
    OT_TRY(set_shapes(job));
    OT_TRY(ot_export_set_form(job));
    OT_TRY(ot_export_training(job));
    return ot_export_place(job, path);
}

/* path NULL: nothing is written. */
static ot_status export_model(const struct graph *g, const struct export_request *request,
                              const char *path, ot_error *err) {
    struct export_job job = {.g = g, .request = request, .err = err};
    OT_TRY(check_options(&request->options, err));
    ot_arena_init(&job.arena, &g->arena.allocator, 0);
    job.small.arena = &job.arena;
    ot_status status = make_model(&job, path);
    if (!status && path) status = write_model(&job, path);
    ot_arena_free(&job.arena);
    return status;
}

ot_status ot_export_file(const struct graph *g, const struct export_request *request,
                         const char *path, ot_error *err) {
    if (!path || !*path) return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL");
    return export_model(g, request, path, err);
}

ot_status ot_export_check(const struct graph *g, const struct export_request *request,
                          ot_error *err) {
    return export_model(g, request, NULL, err);
}
