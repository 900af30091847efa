/* model.c - what a model holds goes with it. */
#include "runtime/model/model.h"

void ot_model_set_pattern(struct model *m, int k, struct pattern *pattern) {
    struct parameter *p = &m->parameter[k];
    struct tensor *constant = m->graph->value[p->value].constant;
    if (p->in_graph) { /* the graph's constant has the same values */
        ot_pattern_unref(constant->pattern);
        constant->pattern = ot_pattern_ref(pattern);
    }
    ot_pattern_unref(p->t.pattern);
    p->t.pattern = pattern;
    p->pattern_number = ++m->patterns;
}

void ot_model_free(struct model *m) {
    if (!m) return;
    const ot_allocator al = m->allocator;
    ot_parameters_free(&al, m->parameter, m->n_parameters);
    ot_block_free(&al, m->parameter_of);
    ot_graph_free(m->graph);
    ot_block_free(&al, m);
}
