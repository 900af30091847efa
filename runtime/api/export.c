/* export.c - a session's model with its present weights goes to the ONNX writer. */
#include "onnx/export/export.h"

#include <string.h>

#include "runtime/base/options.h"
#include "runtime/base/pattern.h"
#include "runtime/api/session.h"

/* Values at the slots; elsewhere zeros, or under a mask of the graph what the file holds. */
static void fill_values(const ot_session *s, const struct parameter *p, float *values) {
    const struct tensor *file = s->model->graph->value[p->value].constant;
    const struct pattern *q = p->t.pattern;
    if (p->structure != OT_STRUCTURE_MASK) {
        if (q)
            ot_pattern_scatter(q, p->t.data, values);
        else
            memcpy(values, p->t.data, ot_bytes(&p->t));
        return;
    }
    if (p->dequantizer >= 0)
        ot_integer_weight_read(s->model->graph, &s->model->graph->node[p->dequantizer], values);
    else
        memcpy(values, file->data, ot_bytes(file));
    for (int r = 0; r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++)
            values[ot_pattern_position(q, r, k)] = ot_f(&p->t)[k];
}

/* All elements that the file shall hold of a weight of integers, as rounded floats, or of one under
 * a mask of the graph; from the allocator. */
static ot_status written(const ot_session *s, const struct parameter *p, struct tensor *t,
                         ot_error *err) {
    float *values = ot_block_alloc(&s->allocator, (size_t)ot_elements(&p->t), sizeof *values);
    if (!values) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for '%s'", p->name);
    *t = p->t;
    t->pattern = NULL;
    t->data = values;
    fill_values(s, p, values);
    if (p->dequantizer >= 0)
        ot_integer_weight_round(s->model->graph, &s->model->graph->node[p->dequantizer], values);
    return OT_OK;
}

/* path NULL: all is done but writing. */
static ot_status export_session(const ot_session *s, const char *path,
                                const ot_export_options *options, ot_error *err) {
    ot_export_options given = {0};
    if (options) OT_TRY(ot_options_read(&ot_export_options_type, options, &given, err));
    OT_TRY(ot_session_check_finite(s, err));
    const struct graph *g = s->model->graph;
    const struct tensor **present =
        ot_block_alloc(&s->allocator, (size_t)g->n_values, sizeof *present);
    struct tensor *whole =
        ot_block_alloc(&s->allocator, (size_t)s->model->n_parameters, sizeof *whole);
    ot_status status = present && whole ? OT_OK
                                        : ot_fail(err, OT_ERROR_NO_MEMORY,
                                                  "out of memory for the list of weights");
    for (int i = 0; !status && i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        if (p->is_number) continue;
        const bool as_it_is = p->dequantizer < 0 && p->structure != OT_STRUCTURE_MASK;
        present[p->value] = as_it_is ? &p->t : &whole[i];
        if (!as_it_is) status = written(s, p, &whole[i], err);
    }
    const struct import_options import = ot_session_import(s);
    struct export_request request = {.options = given,
                                     .present = present,
                                     .head_classes = s->head_classes,
                                     .import = &import,
                                     .log = s->log};
    const struct recipe recipe = ot_session_recipe(s);
    struct arena arena;
    ot_arena_init(&arena, &s->allocator, 0);
    if (!status && request.options.training_info)
        status = ot_training_write(&recipe, &arena, &request.algorithm, err);
    if (!status)
        status = path ? ot_export_file(g, &request, path, err) : ot_export_check(g, &request, err);
    ot_arena_free(&arena);
    for (int i = 0; whole && i < s->model->n_parameters; i++)
        ot_block_free(&s->allocator, whole[i].data);
    ot_block_free(&s->allocator, whole);
    ot_block_free(&s->allocator, present);
    return status;
}

ot_status ot_export_onnx(const ot_session *s, const char *path, const ot_export_options *options,
                         ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!path) return ot_fail(err, OT_ERROR_ARGUMENT, "path is NULL");
    return export_session(s, path, options, err);
}

ot_status ot_check_export(const ot_session *s, const ot_export_options *options, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    return export_session(s, NULL, options, err);
}
