/* operators.c - what the library knows of operators, and which of them a model uses. */
#include <string.h>

#include "runtime/api/session.h"

/* The i-th operator that files may name; NULL behind the last. */
static const struct op *named(int i) {
    for (int k = 0; ot_op_at(k); k++)
        if (!ot_op_at(k)->internal && i-- == 0) return ot_op_at(k);
    return NULL;
}

int ot_operator_count(void) {
    int n = 0;
    for (int k = 0; ot_op_at(k); k++) n += !ot_op_at(k)->internal;
    return n;
}

ot_status ot_get_operator(int i, ot_operator_info *info, ot_error *err) {
    const struct op *op = i < 0 ? NULL : named(i);
    if (!op || !info)
        return ot_fail(err, OT_ERROR_ARGUMENT, "operator %d does not exist, there are %d", i,
                       ot_operator_count());
    *info = (ot_operator_info){.name = op->name,
                               .domain = op->domain ? op->domain : "",
                               .opset = op->since,
                               .has_gradient = op->backward || op->view,
                               .is_folded = op->shape_only,
                               .takes_sparse = op->sparse_in != 0,
                               .runs_in_lanes = op->lanes != NULL,
                               .limits = op->limits ? op->limits : ""};
    return OT_OK;
}

int ot_node_count(const ot_session *s) { return s ? s->model->graph->all_nodes : 0; }

ot_status ot_get_node(const ot_session *s, int i, ot_node_info *info, ot_error *err) {
    OT_TRY(ot_session_check(s, err));
    if (i < 0 || i >= s->model->graph->all_nodes || !info)
        return ot_fail(err, OT_ERROR_ARGUMENT, "node %d does not exist, the model has %d", i,
                       s->model->graph->all_nodes);
    const struct node *n = &s->model->graph->node[i];
    *info =
        (ot_node_info){.name = n->name, .op = n->op_type, .domain = n->domain, .opset = n->opset};
    return OT_OK;
}
