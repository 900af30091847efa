/* data.c - payloads that stood in other files go to one data file beside the model.
 *
 * Its name ends in a digest of its contents: "m.onnx" names "m.onnx.0123456789abcdef.data". So the
 * two of them need not be renamed at once. The data file comes first and takes nothing away from
 * the model that is there; then the model is renamed, and whichever of the two stands under the
 * path names data that are whole. The data file of the old model goes last. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/export/parts.h"
#include "onnx/tree.h"
#include "runtime/base/file.h"

enum { LARGE = 1024, DIGITS = 16, ROOM = DIGITS + 8 };
/* Readers map pages; what is smaller than one only has to be aligned for vectors. */
enum { PAGE = 4096, LINE = 64 };

struct placed {
    const void *data; /* of ot_export_bytes */
    size_t size;
    uint64_t offset;
    struct placed *next;
};

/* ---- places ---- */

static ot_status add_entry(struct export_job *job, Onnx__TensorProto *p, const char *key,
                           char *value) {
    void *memory;
    OT_TRY(ot_export_alloc(job, 1, sizeof **p->external_data, &memory));
    Onnx__StringStringEntryProto *e = p->external_data[p->n_external_data++] = memory;
    onnx__string_string_entry_proto__init(e);
    e->key = (char *)key;
    e->value = value;
    return OT_OK;
}

static ot_status add_number(struct export_job *job, Onnx__TensorProto *p, const char *key,
                            uint64_t n) {
    void *memory;
    OT_TRY(ot_export_alloc(job, 24, 1, &memory));
    snprintf(memory, 24, "%" PRIu64, n);
    return add_entry(job, p, key, memory);
}

static ot_status place_tensor(void *context, Onnx__TensorProto *p) {
    struct export_job *job = context;
    const size_t size = p->raw_data.len, align = size < PAGE ? LINE : PAGE;
    void *memory;
    if (p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return p->n_external_data && p->external_data[0]->value == job->location
                   ? OT_OK
                   : ot_fail(job->err, OT_ERROR_UNSUPPORTED,
                             "tensor '%s': its external data could not be read",
                             p->name ? p->name : "");
    if (!ot_export_is_external(p)) return OT_OK;
    p->n_external_data = 0;
    if (!size) return OT_OK; /* nothing to hold */
    OT_TRY(ot_export_alloc(job, 1, sizeof *job->placed, &memory));
    struct placed *at = memory;
    *at = (struct placed){.data = p->raw_data.data, .size = size};
    at->offset = (job->data_bytes + align - 1) / align * align;
    job->data_bytes = at->offset + size;
    *job->last_placed = at;
    job->last_placed = &at->next;
    OT_TRY(ot_export_alloc(job, 3, sizeof *p->external_data, &memory));
    p->external_data = memory;
    OT_TRY(add_entry(job, p, "location", job->location));
    OT_TRY(add_number(job, p, "offset", at->offset));
    OT_TRY(add_number(job, p, "length", size));
    p->has_data_location = 1;
    p->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    p->has_raw_data = 0;
    p->raw_data = (ProtobufCBinaryData){0};
    return OT_OK;
}

static ot_status mark_large(struct export_job *job) {
    const Onnx__GraphProto *g = job->graph;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (g->initializer[i]->has_raw_data && g->initializer[i]->raw_data.len >= LARGE)
            OT_TRY(ot_export_set_external(job, g->initializer[i], true));
    return OT_OK;
}

ot_status ot_export_place(struct export_job *job, const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    const char *name = slash ? slash + 1 : path ? path : "model.onnx";
    ProtobufCMessage *model = &job->model->base;
    void *memory;
    OT_TRY(ot_export_alloc(job, strlen(name) + ROOM, 1, &memory));
    job->location = memory;
    snprintf(job->location, strlen(name) + ROOM, "%s.%0*d.data", name, DIGITS, 0);
    job->last_placed = &job->placed;
    OT_TRY(ot_tree_tensors(model, place_tensor, job));
    if (onnx__model_proto__get_packed_size(job->model) > INT32_MAX) {
        OT_TRY(mark_large(job));
        OT_TRY(ot_tree_tensors(model, place_tensor, job));
    }
    const size_t size = onnx__model_proto__get_packed_size(job->model);
    return size <= INT32_MAX ? OT_OK
                             : ot_fail(job->err, OT_ERROR_LIMIT,
                                       "the model takes %zu bytes without its data file, but an "
                                       "ONNX file has at most 2 GiB - 1",
                                       size);
}

/* ---- writing ---- */

struct data_sink {
    struct file_writer *w;
    ot_error *err;
};

static ot_status write_piece(void *context, const void *bytes, size_t size) {
    struct data_sink *sink = context;
    return ot_file_write(sink->w, bytes, size, sink->err);
}

static ot_status write_all(struct export_job *job, struct file_writer *w) {
    static const char zeros[PAGE];
    struct data_sink sink = {w, job->err};
    uint64_t at = 0;
    for (const struct placed *p = job->placed; p; p = p->next) {
        OT_TRY(ot_file_write(w, zeros, (size_t)(p->offset - at), job->err));
        OT_TRY(ot_export_bytes(job, p->data, p->size, write_piece, &sink));
        at = p->offset + p->size;
    }
    return OT_OK;
}

ot_status ot_export_write_data(struct export_job *job, const char *path, struct file_writer *w) {
    const size_t room = strlen(path) + ROOM;
    void *memory;
    char digits[DIGITS + 1];
    OT_TRY(ot_export_alloc(job, room, 1, &memory));
    char *data_path = memory;
    snprintf(data_path, room, "%s.%0*d.data", path, DIGITS, 0); /* until it is known */
    OT_TRY(ot_file_begin(w, data_path, job->err));
    const ot_status status = write_all(job, w);
    if (status) {
        ot_file_abort(w);
        return status;
    }
    snprintf(digits, sizeof digits, "%016" PRIx64, ot_digest_value(&w->digest));
    memcpy(job->location + strlen(job->location) - DIGITS - strlen(".data"), digits, DIGITS);
    snprintf(data_path, room, "%s.%s.data", path, digits);
    return OT_OK;
}

/* ---- the old data file ---- */

/* Does the file at this path hold this text? The file may be large. */
static bool holds(const char *path, const char *text) {
    char buffer[4096 + NAME_MAX];
    const size_t keep = strlen(text) - 1;
    size_t n = 0;
    bool found = false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    while (fd >= 0 && !found) {
        const ssize_t r = read(fd, buffer + n, 4096);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) break;
        n += (size_t)r;
        found = memmem(buffer, n, text, strlen(text)) != NULL;
        if (n <= keep) continue;
        memmove(buffer, buffer + n - keep, keep);
        n = keep;
    }
    if (fd >= 0) close(fd);
    return found;
}

/* "m.onnx.0123456789abcdef.data", of model "m.onnx"? */
static bool is_data_name(const char *name, const char *location) {
    const size_t n = strlen(location), stem = n - DIGITS - strlen(".data");
    return strlen(name) == n && n <= NAME_MAX && !memcmp(name, location, stem) &&
           strspn(name + stem, "0123456789abcdef") == DIGITS &&
           !strcmp(name + stem + DIGITS, ".data");
}

/* A data file that the model at this path names, other than the new one; "" where there is none.
 * Whatever fails, an old file stays: that does no harm. */
static void find_old(const struct export_job *job, const char *path, char old[NAME_MAX + 1]) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    old[0] = 0;
    if (n >= sizeof folder) return;
    memcpy(folder, path, n);
    folder[n] = 0;
    DIR *d = opendir(n ? folder : ".");
    for (const struct dirent *e = NULL; d && !*old && (e = readdir(d));)
        if (is_data_name(e->d_name, job->location) && strcmp(e->d_name, job->location) &&
            holds(path, e->d_name))
            snprintf(old, NAME_MAX + 1, "%s", e->d_name);
    if (d) closedir(d);
}

static void remove_old(const char *path, const char *old) {
    char full[PATH_MAX + NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    if (!*old) return;
    snprintf(full, sizeof full, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, old);
    unlink(full);
}

ot_status ot_export_commit(struct export_job *job, struct file_writer *data,
                           struct file_writer *model) {
    char old[NAME_MAX + 1];
    const char *path = model->path, *data_path = data->path;
    const bool was_there = data_path && access(data_path, F_OK) == 0;
    find_old(job, path, old);
    if (data_path) {
        const ot_status status = ot_file_commit(data, job->err);
        if (status) {
            ot_file_abort(model);
            return status;
        }
    }
    const ot_status status = ot_file_commit(model, job->err);
    if (!status)
        remove_old(path, old);
    else if (data_path && !was_there)
        unlink(data_path);
    return status;
}
