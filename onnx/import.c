/* import.c - the stages of an import, one after the other. */
#include "onnx/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "onnx/model.h"
#include "onnx/pieces.h"
#include "onnx/raw_data.h"
#include "onnx/scan.h"
#include "runtime/base/file.h"
#include "runtime/base/sha256.h"

enum { MOST_METADATA = 4096 };

/* ---- protobuf-c allocates from scratch ---- */

static void *tree_alloc(void *context, size_t size) { return ot_small_alloc(context, size, 1); }

static void tree_free(void *context, void *pointer) {
    (void)context;
    (void)pointer; /* all at once, with the arena */
}

/* Where most of the file is raw_data, that is not copied into the tree, which refers to it. */
static ot_status unpack_model(struct import *im, const void *bytes, size_t size) {
    const size_t rest = ot_raw_data_short(bytes, size);
    void *copy = NULL;
    if (rest <= size / 2) {
        copy = ot_arena_alloc_dirty(&im->scratch, rest, 1);
        if (!copy) return ot_import_no_room(im, &im->scratch, rest);
        ot_raw_data_shorten(bytes, size, copy);
    }
    im->tree = (ProtobufCAllocator){tree_alloc, tree_free, &im->temporary};
    im->model = onnx__model_proto__unpack(&im->tree, copy ? rest : size, copy ? copy : bytes);
    if (im->model && copy) ot_raw_data_restore(im->model, bytes);
    if (im->model) return OT_OK;
    if (im->temporary.refused) return ot_import_no_room(im, &im->scratch, 0);
    return ot_import_fail(im, OT_ERROR_PARSE, "the file is not an ONNX model");
}

struct reading {
    struct import *im;
    const void *bytes;
    size_t size;
    ot_status status;
};

static void read_part(void *arg, int task, int worker) {
    struct reading *r = arg;
    (void)worker;
    if (!task)
        r->status = unpack_model(r->im, r->bytes, r->size);
    else
        ot_sha256(r->bytes, r->size, r->im->g->hash);
}

static ot_status unpack_and_hash(struct import *im, const void *bytes, size_t size) {
    struct reading r = {im, bytes, size, OT_OK};
    if (im->visit) memcpy(im->g->hash, im->visit->seed, sizeof im->g->hash);
    ot_import_parallel(im, im->visit ? 1 : 2, read_part, &r);
    ot_names_init(&im->names, &im->temporary, im->g->hash);
    return r.status;
}

/* ---- the header of the model ---- */

static ot_status check_versions(struct import *im) {
    const Onnx__ModelProto *m = im->model;
    struct graph *g = im->g;
    if (!m->has_ir_version || m->ir_version < 1)
        return ot_import_fail(im, OT_ERROR_INVALID, "ir_version is %lld, expected at least 1",
                              m->has_ir_version ? (long long)m->ir_version : 0);
    if (m->ir_version > OT_NEWEST_IR)
        return ot_import_fail(im, OT_ERROR_UNSUPPORTED,
                              "ir_version %lld is newer than %d, the newest supported",
                              (long long)m->ir_version, OT_NEWEST_IR);
    g->ir_version = m->ir_version;
    if (!m->n_opset_import) {
        if (m->ir_version >= 3)
            return ot_import_fail(im, OT_ERROR_INVALID, "opset_import is missing");
        if (!ot_names_set(&im->names, SCOPE_OPSET(-1), "", 1)) /* older files mean opset 1 */
            return ot_import_no_room(im, &im->scratch, 0);
    }
    OT_TRY(ot_opsets_read(im, m->opset_import, m->n_opset_import, -1));
    int opset = ot_names_get(&im->names, SCOPE_OPSET(-1), "");
    g->opset = opset > 0 ? opset : 0;
    return OT_OK;
}

static ot_status check_metadata(struct import *im) {
    const Onnx__ModelProto *m = im->model;
    if (m->n_metadata_props > MOST_METADATA)
        return ot_import_fail(im, OT_ERROR_LIMIT,
                              "the model has %zu metadata_props, at most %d are allowed",
                              m->n_metadata_props, MOST_METADATA);
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        const char *key = m->metadata_props[i]->key ? m->metadata_props[i]->key : "";
        if (ot_names_get(&im->names, SCOPE_METADATA, key) != OT_NO_NAME)
            return ot_import_fail(im, OT_ERROR_INVALID, "metadata_props: key '%.80s' occurs twice",
                                  key);
        if (!ot_names_set(&im->names, SCOPE_METADATA, key, 0))
            return ot_import_no_room(im, &im->scratch, 0);
    }
    return OT_OK;
}

static ot_status check_header(struct import *im) {
    const Onnx__ModelProto *m = im->model;
    const char *producer = m->producer_name ? m->producer_name : "";
    if (!m->graph) return ot_import_fail(im, OT_ERROR_INVALID, "the graph is missing");
    OT_TRY(check_versions(im));
    OT_TRY(check_metadata(im));
    if (!m->graph->name || !*m->graph->name)
        return ot_import_fail(im, OT_ERROR_INVALID, "the graph has no name");
    if (!m->graph->n_output)
        return ot_import_fail(im, OT_ERROR_INVALID, "the graph has no outputs");
    if (im->options->fix) {
        im->g->fix = ot_small_strndup(&im->kept, im->options->fix, strlen(im->options->fix));
        if (!im->g->fix) return ot_import_no_room(im, &im->g->arena, strlen(im->options->fix));
    }
    im->g->producer = ot_small_strndup(&im->kept, producer, strlen(producer));
    im->g->file_nodes = (int64_t)m->graph->n_node;
    return im->g->producer ? OT_OK : ot_import_no_room(im, &im->g->arena, strlen(producer));
}

/* ---- all of it ---- */

static ot_status stages(struct import *im, const void *bytes, size_t size) {
    static ot_status (*const stage[])(struct import *) = {
        check_header,  ot_activation_set, ot_training_find, ot_functions_prepare, ot_values_declare,
        ot_nodes_walk, ot_values_outputs, ot_bodies_gather, ot_training_read,     ot_weights_read};
    OT_TRY(ot_scan(bytes, size, &im->options->limits, &im->last));
    OT_TRY(unpack_and_hash(im, bytes, size));
    im->scratch.budget = (size_t)im->options->limits.memory_bytes;
    for (size_t i = 0; i < sizeof stage / sizeof *stage; i++) OT_TRY(stage[i](im));
    if (!im->visit) ot_values_hints(im);
    if (im->problems) return im->first.status;
    return im->visit ? OT_OK : ot_skeleton_make(im);
}

/* All that is held while a file of `size` bytes is read counts against the memory limit: the file,
 * the tree, and the graph. */
static void share_limit(struct import *im, size_t size) {
    struct arena *const arenas[] = {&im->scratch, &im->g->arena};
    for (int i = 0; i < 2; i++) {
        arenas[i]->total = (size_t)im->options->limits.memory_bytes;
        arenas[i]->apart = size;
        arenas[i]->beside = arenas[!i];
    }
}

/* The graph remains alone. */
static void end_limit(struct graph *g) {
    g->arena.total = g->arena.apart = 0;
    g->arena.beside = NULL;
}

/* A graph that lives in its own arena. */
static struct graph *new_graph(const struct import_options *options) {
    struct arena arena;
    ot_arena_init(&arena, &options->allocator, (size_t)options->limits.memory_bytes);
    struct graph *g = ot_arena_alloc(&arena, 1, sizeof *g);
    if (g)
        g->arena = arena;
    else
        ot_arena_free(&arena);
    return g;
}

static ot_status import(const void *bytes, size_t size, int folder,
                        const struct import_options *options, const struct import_visit *visit,
                        struct graph **graph, ot_error *err) {
    struct import im = {.options = options, .file_bytes = size, .folder = folder, .visit = visit};
    im.allocator = ot_allocator_or_default(&options->allocator);
    im.g = new_graph(options);
    if (!im.g) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a model");
    im.g->structure = options->structure;
    ot_arena_init(&im.scratch, &options->allocator, ((size_t)32 << 20) + 8 * size);
    share_limit(&im, size);
    im.temporary.arena = &im.scratch;
    im.kept.arena = &im.g->arena;
    ot_status status = stages(&im, bytes, size);
    end_limit(im.g);
    ot_arena_free(&im.scratch);
    ot_allocator_trim(&im.allocator); /* the tree was larger than what is kept of it */
    if (!status && graph) {
        *graph = im.g;
        return OT_OK;
    }
    if (status && !im.problems) {
        ot_log(&options->log, OT_LOG_WARNING, "%s", im.last.message);
        im.first = im.last;
    }
    if (status && err) *err = im.first;
    ot_graph_free(im.g);
    return status ? im.first.status : OT_OK;
}

/* protobuf-c counts in 32 bits and overflows behind 4 GiB; protobuf itself ends at 2 GiB. */
static uint64_t most_bytes(const struct import_options *options) {
    return options->limits.file_bytes < INT32_MAX ? options->limits.file_bytes : INT32_MAX;
}

ot_status ot_import_buffer(const void *bytes, size_t size, const struct import_options *options,
                           struct graph **graph, ot_error *err) {
    const uint64_t most = most_bytes(options);
    if (size > most)
        return ot_fail(err, OT_ERROR_LIMIT, "the model has %zu bytes, at most %llu are allowed",
                       size, (unsigned long long)most);
    return import(bytes, size, -1, options, NULL, graph, err);
}

/* The folder of a file, to open others beneath it. */
static int open_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder) return -1;
    memcpy(folder, path, n);
    folder[n] = 0;
    return open(n ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static ot_status import_file(const char *path, const struct import_options *options,
                             const struct import_visit *visit, struct graph **graph,
                             ot_error *err) {
    void *bytes;
    size_t size;
    const ot_allocator al = ot_allocator_or_default(&options->allocator);
    const uint64_t limit = options->limits.memory_bytes, most = most_bytes(options);
    OT_TRY(ot_file_read(&al, options->pool, path, limit && limit < most ? limit : most, &bytes,
                        &size, err));
    int folder = open_folder(path);
    ot_status status = import(bytes, size, folder, options, visit, graph, err);
    if (folder >= 0) close(folder);
    ot_block_free(&al, bytes);
    return status;
}

ot_status ot_import_file(const char *path, const struct import_options *options,
                         struct graph **graph, ot_error *err) {
    return import_file(path, options, NULL, graph, err);
}

ot_status ot_import_visit(const char *path, const struct import_options *options,
                          const struct import_visit *visit, ot_error *err) {
    return import_file(path, options, visit, NULL, err);
}
