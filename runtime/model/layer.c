/* layer.c - weights of products as matrices. */
#include "runtime/model/layer.h"

#include <string.h>

#include "onnx/import.h"

enum { NO_WEIGHT = -1 }; /* in place of taps: a bias, or a state of a recurrent layer */

/* Of an operator that multiplies by a matrix; embeddings look rows up. */
static bool is_product(const char *op) {
    static const char *const all[] = {"Gemm", "MatMul", "Conv", "ConvTranspose",
                                      "LSTM", "GRU",    "RNN"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(op, all[i])) return true;
    return false;
}

static void set_matrix(struct layer *l, enum weight_use use) {
    const struct tensor *t = &l->p->t;
    const int stacked = use == USE_STACKED ? 2 : 1;
    l->transposed = t->pattern ? t->pattern->transposed : use == USE_COLUMNS;
    l->file_rows = ot_dims_product(t, 0, stacked);
    l->file_cols = ot_dims_product(t, stacked, t->rank);
    if (t->pattern) {
        l->file_rows = t->pattern->transposed ? t->pattern->cols : t->pattern->rows;
        l->file_cols = t->pattern->transposed ? t->pattern->rows : t->pattern->cols;
    }
    l->rows = l->transposed ? l->file_cols : l->file_rows;
    l->cols = l->transposed ? l->file_rows : l->file_cols;
}

/* The first node that takes it says what it is. One that is moved on its way has its rows in
 * dimension 0, as import has it. */
static void set_use(struct layer *l, const struct node *node, enum weight_use use) {
    const struct tensor *t = &l->p->t;
    set_matrix(l, use);
    if (strcmp(node->op_type, "Conv") && strcmp(node->op_type, "ConvTranspose")) return;
    l->taps = ot_dims_product(t, 2, t->rank);
    l->is_depthwise = ot_attr_int(node, "group", 1) > 1 && t->dim[1] == 1;
}

static void find_uses(const struct model *m, struct layer *layer) {
    const struct graph *g = m->graph;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *node = &g->node[k];
        for (int i = 0; i < node->n_in; i++) {
            const int v = node->in[i], parameter = v < 0 ? -1 : m->parameter_of[v];
            struct layer *l = parameter < 0 ? NULL : &layer[parameter];
            if (!l || !l->p || l->taps > 0) continue;
            const enum weight_use use = i < 3 ? ot_weight_use(node, i, l->p->t.rank) : USE_NONE;
            if (is_product(node->op_type)) l->taps = use ? 1 : NO_WEIGHT;
            if (use) set_use(l, node, use);
        }
    }
}

ot_status ot_layers_find(const struct model *m, struct layer **layer, ot_error *err) {
    struct layer *l = ot_block_alloc(&m->allocator, (size_t)m->n_parameters, sizeof *l);
    if (!l) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the list of layers");
    for (int i = 0; i < m->n_parameters; i++) {
        struct parameter *p = &m->parameter[i];
        if (p->t.rank > 1 && ot_elements(&p->t) > 0 && is_product(p->op)) l[i].p = p;
    }
    find_uses(m, l);
    for (int i = 0; i < m->n_parameters; i++) {
        if (l[i].taps == NO_WEIGHT) l[i] = (struct layer){0};
        if (!l[i].p || l[i].taps) continue;
        l[i].taps = 1;
        set_matrix(&l[i], USE_ROWS);
    }
    *layer = l;
    return OT_OK;
}
