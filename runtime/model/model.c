/* model.c - what a model holds goes with it. */
#include "runtime/model/model.h"

void ot_model_free(struct model *m) {
    if (!m) return;
    const ot_allocator al = m->allocator;
    ot_parameters_free(&al, m->parameter, m->n_parameters);
    ot_block_free(&al, m->parameter_of);
    ot_graph_free(m->graph);
    ot_block_free(&al, m);
}
