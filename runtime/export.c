/* export.c - a session's model with its present weights goes to the ONNX writer. */
#include "onnx/export.h"

#include <string.h>

#include "runtime/training.h"

/* What the file shall hold of a weight of integers: floats, rounded; from the allocator. */
static ot_status rounded(const ot_session *s, const struct parameter *p, struct tensor *t,
                         ot_error *err) {
    float *values = ot_block_alloc(&s->allocator, (size_t)ot_elements(&p->t), sizeof *values);
    if (!values) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for '%s'", p->name);
    *t = p->t;
    t->pattern = NULL;
    t->data = values;
    if (p->t.pattern) ot_pattern_scatter(p->t.pattern, p->t.data, values);
    else memcpy(values, p->t.data, ot_bytes(&p->t));
    ot_integer_weight_round(s->graph, &s->graph->node[p->dequantizer], values);
    return OT_OK;
}

/* path NULL: all is done but writing. */
static ot_status export_session(const ot_session *s, const char *path,
                                const ot_export_options *options, ot_error *err) {
    const struct graph *g = s->graph;
    const struct tensor **present =
        ot_block_alloc(&s->allocator, (size_t)g->n_values, sizeof *present);
    struct tensor *whole = ot_block_alloc(&s->allocator, (size_t)s->n_parameters, sizeof *whole);
    ot_status status = present && whole ? OT_OK
                                        : ot_fail(err, OT_ERROR_NO_MEMORY,
                                                  "out of memory for the list of weights");
    for (int i = 0; !status && i < s->n_parameters; i++) {
        const struct parameter *p = &s->parameter[i];
        if (p->is_number) continue;
        present[p->value] = p->dequantizer < 0 ? &p->t : &whole[i];
        if (p->dequantizer >= 0) status = rounded(s, p, &whole[i], err);
    }
    const struct import_options import = ot_session_import(s);
    struct export_request request = {.present = present,
                                     .head_classes = s->head_classes,
                                     .import = &import,
                                     .log = s->log};
    struct arena arena;
    ot_arena_init(&arena, &s->allocator, 0);
    if (options) request.options = *options;
    if (!status && request.options.training_info)
        status = ot_training_write(s, &arena, &request.algorithm, err);
    if (!status)
        status = path ? ot_export_file(g, &request, path, err) : ot_export_check(g, &request, err);
    ot_arena_free(&arena);
    for (int i = 0; whole && i < s->n_parameters; i++)
        ot_block_free(&s->allocator, whole[i].data);
    ot_block_free(&s->allocator, whole);
    ot_block_free(&s->allocator, present);
    return status;
}

ot_status ot_export_onnx(const ot_session *s, const char *path, const ot_export_options *options,
                         ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!path) return ot_fail(err, OT_ERROR_ARGUMENT, "no path to write the model to");
    return export_session(s, path, options, err);
}

ot_status ot_check_export(const ot_session *s, const ot_export_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    return export_session(s, NULL, options, err);
}
