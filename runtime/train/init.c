/* init.c - random masks and values for the layers of a model. */
#include "runtime/train/init.h"

#include <string.h>

#include "runtime/topology/draw.h"
#include "runtime/train/fresh.h"

static ot_status draw_pattern(const struct sparsity *s, int i, const struct draw *draw,
                              struct pattern **pattern, ot_error *err) {
    const struct layer *l = &s->layer[i];
    if (s->o.constraint == OT_CONSTRAIN_FAN_IN)
        return ot_draw_fan_in(&s->m->allocator, l->file_rows, l->file_cols, l->transposed,
                              ot_budget_fan_in(&s->budget[i]), draw, pattern, err);
    return ot_draw_free(&s->m->allocator, l->file_rows, l->file_cols, l->transposed,
                        s->budget[i].density, draw, pattern, err);
}

/* A layer of density 1 has no pattern, and so has one that takes no part and had nothing. */
static ot_status draw_layer(const struct sparsity *s, int i, struct fresh *f, ot_error *err) {
    const struct layer *l = &s->layer[i];
    const struct draw draw = {.seed = s->o.seed, .layer = (uint32_t)(l->p - s->m->parameter)};
    const struct start start = {.kind = s->o.start,
                                .dense_fan = s->o.dense_fan != 0,
                                .outputs = (double)l->rows * (double)l->taps};
    struct pattern *pattern = NULL;
    *f = (struct fresh){.p = l->p, .t = l->p->t, .structure = OT_STRUCTURE_TOPOLOGY};
    f->t.pattern = NULL;
    f->t.data = NULL;
    if (i < s->n && s->budget[i].density < 1) OT_TRY(draw_pattern(s, i, &draw, &pattern, err));
    if (!pattern) f->structure = OT_STRUCTURE_NONE;
    f->t.pattern = pattern;
    if (pattern && !pattern->nnz)
        return ot_fail(err, OT_ERROR_ARGUMENT, "a density of %.3g leaves it without a weight",
                       s->budget[i].density);
    float *value = ot_block_alloc_dirty(&s->m->allocator, (size_t)ot_count(&f->t), sizeof *value);
    if (!value) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    f->t.data = value;
    ot_draw_values(pattern, l->rows, l->cols, &start, &draw, value);
    return OT_OK;
}

/* ---- what goes with them ---- */

static void set_all(struct parameter *p, float to) {
    float *value = p ? p->t.data : NULL;
    for (int64_t k = 0; value && k < ot_count(&p->t); k++) value[k] = to;
}

static struct parameter *input_of(struct model *m, const struct node *node, int i) {
    const int v = i < node->n_in ? node->in[i] : -1;
    return v >= 0 && m->parameter_of[v] >= 0 ? &m->parameter[m->parameter_of[v]] : NULL;
}

/* Is this value made by a MatMul whose weight is drawn? */
static bool is_drawn_product(struct model *m, int v, const bool *drawn) {
    const int producer = v < 0 ? -1 : m->graph->value[v].producer;
    if (producer < 0 || strcmp(m->graph->node[producer].op_type, "MatMul")) return false;
    const struct parameter *weight = input_of(m, &m->graph->node[producer], 1);
    return weight && drawn[weight - m->parameter];
}

/* Clears the bias of a layer that is drawn, also where it is added behind a MatMul. */
static void reset_node(struct model *m, const struct node *node, const bool *drawn) {
    static const float identity[] = {0, 1, 0, 0, 1}; /* inputs: x, scale, bias, mean, variance */
    if (!strcmp(node->op_type, "BatchNormalization"))
        for (int i = 1; i < 5; i++) set_all(input_of(m, node, i), identity[i]);
    const struct parameter *weight = input_of(m, node, 1);
    struct parameter *bias = input_of(m, node, 2);
    if (weight && drawn[weight - m->parameter] && bias && bias->t.rank == 1) set_all(bias, 0);
    for (int i = 0; i < 2 && !strcmp(node->op_type, "Add"); i++) {
        struct parameter *added = input_of(m, node, 1 - i);
        if (added && added->t.rank == 1 && is_drawn_product(m, node->in[i], drawn))
            set_all(added, 0);
    }
}

static ot_status draw_all(struct model *m, struct weights **weights, const struct sparsity *s,
                          struct fresh *list, bool *drawn, ot_error *err) {
    const int n = s->n + s->n_empty;
    for (int i = 0; i < n; i++) {
        const ot_status status = draw_layer(s, i, &list[i], err);
        if (status) return ot_fail_in(err, status, "weight '%s'", s->layer[i].p->name);
        drawn[s->layer[i].p - m->parameter] = true;
    }
    OT_TRY(ot_fresh_commit(m, weights, list, n, err));
    for (int k = 0; k < m->graph->all_nodes; k++) reset_node(m, &m->graph->node[k], drawn);
    return OT_OK;
}

ot_status ot_weights_init(struct model *m, struct weights **weights, const struct sparsity *s,
                          ot_error *err) {
    const int n = s->n + s->n_empty;
    struct fresh *list = ot_block_alloc(&m->allocator, (size_t)n, sizeof *list);
    bool *drawn = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *drawn);
    const ot_status status =
        list && drawn ? draw_all(m, weights, s, list, drawn, err)
                      : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of layers");
    ot_fresh_free(&m->allocator, list, n);
    ot_block_free(&m->allocator, drawn);
    return status;
}
