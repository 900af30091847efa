/* look.c - what can be asked of a session. */
#include <string.h>

#include "runtime/api/session.h"
#include "runtime/base/pattern.h"

void ot_get_model_info(const ot_session *s, ot_model_info *info) {
    if (!info) return;
    *info = (ot_model_info){.producer = ""};
    if (!s) return;
    const struct graph *g = s->model->graph;
    *info = (ot_model_info){.ir_version = g->ir_version,
                            .opset = g->opset,
                            .producer = g->producer ? g->producer : "",
                            .nodes = g->file_nodes,
                            .training_info = g->training_steps};
    memcpy(info->hash, g->hash, sizeof info->hash);
    for (int i = 0; i < s->model->n_parameters; i++) {
        if (s->model->parameter[i].is_number) continue;
        info->parameters += ot_elements(&s->model->parameter[i].t);
        info->nonzeros += ot_count(&s->model->parameter[i].t);
    }
}

int ot_input_count(const ot_session *s) { return s ? s->model->graph->n_inputs : 0; }
int ot_output_count(const ot_session *s) { return s ? s->model->graph->n_outputs : 0; }

static ot_status value_info(const ot_session *s, const int *list, int n, int i, const char *what,
                            ot_value_info *info, ot_error *err) {
    if (!info) return ot_fail(err, OT_ERROR_ARGUMENT, "info is NULL");
    if (i < 0 || i >= n)
        return ot_fail(err, OT_ERROR_ARGUMENT, "%s %d does not exist, the model has %d", what, i,
                       n);
    const struct value *v = &s->model->graph->value[list[i]];
    bool half = v->type == OT_FLOAT16 || v->type == OT_BFLOAT16 || v->type == OT_DOUBLE;
    *info = (ot_value_info){.name = v->name, .type = half ? OT_FLOAT : v->type, .rank = v->rank};
    memcpy(info->dim, v->dim, sizeof info->dim);
    return OT_OK;
}

ot_status ot_get_input(const ot_session *s, int i, ot_value_info *info, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    return value_info(s, s->model->graph->input, s->model->graph->n_inputs, i, "input", info, err);
}

ot_status ot_get_output(const ot_session *s, int i, ot_value_info *info, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    return value_info(s, s->model->graph->output, s->model->graph->n_outputs, i, "output", info,
                      err);
}

void ot_get_memory_info(const ot_session *s, ot_memory_info *info) {
    if (!info) return;
    *info = (ot_memory_info){0};
    if (!s) return;
    for (int i = 0; i < s->model->n_parameters; i++) {
        const struct parameter *p = &s->model->parameter[i];
        size_t bytes = ot_bytes(&p->t);
        info->weights += bytes + ot_pattern_bytes(p->t.pattern);
        if (p->gradient) info->gradients += bytes;
        for (int k = 0; k < OT_MOMENTS; k++)
            if (p->moment[k]) info->moments += bytes;
    }
    info->plan = s->context.block_bytes;
    info->parts = s->plan && s->plan->parts ? s->plan->parts : 1;
    info->recomputed = s->plan ? s->plan->n_again : 0;
}

ot_status ot_print_plan(const ot_session *s, ot_write_fn *write, void *context, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (!write) return ot_fail(err, OT_ERROR_ARGUMENT, "write is NULL");
    if (!s->last) return ot_fail(err, OT_ERROR_STATE, "there is no plan yet: call ot_prepare");
    ot_bound_print(s->last, write, context);
    return OT_OK;
}
