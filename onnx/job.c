/* job.c - what all stages of an import stand on: its failures, its memory and its threads. */
#include "onnx/job.h"

#include <string.h>

#include "runtime/base/pool.h"

static const uint64_t free_bytes = (uint64_t)64 << 20; /* memory that any file may take */

ot_status ot_import_problem(struct import *im, ot_status status) {
    if (!status) return OT_OK;
    ot_log(&im->options->log, OT_LOG_WARNING, "%s", im->last.message);
    if (!im->problems++) im->first = im->last;
    const bool fatal = status == OT_ERROR_NO_MEMORY || status == OT_ERROR_LIMIT ||
                       im->problems >= OT_MOST_PROBLEMS;
    return fatal ? status : OT_OK;
}

ot_status ot_import_no_room(struct import *im, const struct arena *a, size_t bytes) {
    const struct small_alloc *b = a == &im->scratch ? &im->temporary : &im->kept;
    if (bytes < b->refused) bytes = b->refused;
    if (ot_arena_refuses(a, bytes))
        return ot_import_fail(im, OT_ERROR_LIMIT, "the model needs more than %zu bytes",
                              a->total && a->total < a->budget ? a->total : a->budget);
    return ot_import_fail(im, OT_ERROR_NO_MEMORY, "out of memory for %zu bytes", bytes);
}

ot_status ot_import_keep(struct import *im, const char *s, const char **kept) {
    const size_t n = s ? strlen(s) : 0;
    *kept = ot_small_strndup(&im->kept, s, n);
    return *kept ? OT_OK : ot_import_no_room(im, &im->g->arena, n);
}

ot_status ot_import_expand(struct import *im, uint64_t bytes, const char *what) {
    const uint64_t most = free_bytes + 8 * im->file_bytes;
    if (bytes > most || im->expanded > most - bytes)
        return ot_import_fail(
            im, OT_ERROR_LIMIT,
            "the import makes %llu bytes of %s from a file of %llu bytes, at most %llu are allowed",
            (unsigned long long)bytes, what, (unsigned long long)im->file_bytes,
            (unsigned long long)most);
    im->expanded += bytes;
    return OT_OK;
}

void ot_import_parallel(const struct import *im, int tasks, ot_task_fn *fn, void *arg) {
    if (im->options->pool) {
        ot_parallel_for(im->options->pool, tasks, fn, arg);
        return;
    }
    for (int i = 0; i < tasks; i++) fn(arg, i, 0);
}

int ot_import_workers(const struct import *im) {
    return im->options->pool ? ot_pool_workers(im->options->pool) : 1;
}
