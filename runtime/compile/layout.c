/* layout.c - the layout in which operators of a plan run: rows, or lanes of some width. A node with
 * a sparse weight wants its activations in lanes; others follow their inputs there if they can. */
#include "runtime/compile/lower.h"
#include "runtime/compile/moved.h"

#include <string.h>

/* ---- the layout of a node ---- */

/* Shapes aside: may sparse kernels be taken for this weight? */
static bool sparse_likely(const struct plan *p, const struct pattern *pattern) {
    if (p->request.sparse == OT_SPARSE_ALWAYS) return true;
    return p->request.sparse == OT_SPARSE_AUTO && ot_pattern_is_sparse(pattern);
}

/* The same for a weight of this operator: where it makes a plain product, dense kernels do without
 * rows and columns that have no slot. */
static bool sparse_ahead(const struct plan *p, const struct op *op, const struct pattern *q) {
    const struct pattern part = {.nnz = q->nnz, .rows = q->live_rows, .cols = q->live_cols};
    const bool leaves_out = op->product && !p->request.patterns_change;
    return sparse_likely(p, leaves_out ? &part : q);
}

/* What does not change stays in rows. */
static bool is_computed(const struct op_node *n) {
    return n->n_in && n->x[0] &&
           (n->x[0]->role == OT_ROLE_ACTIVATION || n->x[0]->role == OT_ROLE_INPUT);
}

/* Are sparse kernels taken for x[i]? */
static bool sparse_pays(const struct plan *p, const struct op_node *n, int i) {
    return i == 1 && n->op->product ? n->form == OT_FORM_SPARSE
                                    : sparse_likely(p, n->x[i]->pattern);
}

bool ot_layout_sparse_rows(const struct plan *p, const struct op_node *n, int i) {
    if (!n->op->sparse_rows || p->request.sparse == OT_SPARSE_NEVER) return false;
    return (n->op->any_density || sparse_pays(p, n, i)) && n->op->sparse_rows(n, i);
}

/* Do so few samples stay in rows? */
static bool rows_pay(const struct plan *p, const struct op_node *n) {
    return p->few_samples || ot_op_few_pay(n);
}

/* The rank of lanes of samples that the node can run in; 0: none. */
static int sample_rank(const struct plan *p, const struct op_node *n) {
    for (int rank = 1; is_computed(n) && rank < n->x[0]->rank; rank++)
        if (ot_op_lanes(n, p->lane_count, rank)) return rank;
    return 0;
}

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Wide blocks, as few as there can be, and of them those that leave the fewest lanes spare. */
static int width_for(int64_t samples) {
    const int64_t most = 128 / OT_CONV_LANES, units = divide_up(samples, OT_CONV_LANES);
    const int64_t width = units ? divide_up(units, divide_up(units, most)) : 1;
    return OT_CONV_LANES * (int)width;
}

/* The lanes in which a product runs: in a network of convolutions, wider ones where samples and
 * tokens are merged. */
static struct lanes lanes_of(const struct plan *p, const struct op_node *n, int rank) {
    const int64_t batch =
        p->request.n_inputs && p->request.input[0].rank ? p->request.input[0].dim[0] : 1;
    const int64_t samples = ot_dims_product(n->x[0], 0, rank);
    const bool tokens =
        p->convolves && n->op->product && strncmp(n->op->name, "Conv", 4) != 0 && samples > batch;
    return (struct lanes){tokens ? width_for(samples) : p->lane_count, rank};
}

struct lanes ot_layout_sparse_lanes(const struct plan *p, const struct op_node *n) {
    const int rank = sample_rank(p, n);
    for (int i = 0; rank && i < n->n_in; i++) {
        if (!n->x[i] || !n->x[i]->pattern || !((n->op->sparse_in >> i) & 1)) continue;
        if (!sparse_pays(p, n, i)) continue;
        const struct lanes lanes = lanes_of(p, n, rank);
        const bool rows = lanes.count == p->lane_count && rows_pay(p, n);
        if (rows && ot_layout_sparse_rows(p, n, i)) continue;
        return lanes;
    }
    return OT_ROWS;
}

/* The lanes of inputs that are there already, if the node can stay there; the widest, which are
 * those of tokens. */
static struct lanes inherited_lanes(const struct op_node *n) {
    struct lanes widest = OT_ROWS;
    for (int i = 0; i < n->n_in; i++) {
        const struct tensor *x = n->x[i];
        if (i < 32 && n->op->rows_in >> i & 1) continue;
        if (x && x->lanes > widest.count && ot_op_reads(n->op, i) &&
            ot_op_lanes(n, x->lanes, x->lane_rank))
            widest = (struct lanes){x->lanes, x->lane_rank};
    }
    return widest;
}

/* In a network of convolutions a node before the first sparse one goes into lanes ahead of it; in
 * one of linear layers, too, unless those stay in rows. */
static struct lanes lanes_ahead(const struct plan *p, const struct op_node *n) {
    if (p->lane_count != OT_CONV_LANES || p->few_samples) return OT_ROWS;
    if (!p->convolves && is_computed(n) && ot_dims_product(n->x[0], 0, 1) <= OT_FEW_SAMPLES)
        return OT_ROWS;
    if (n->index < 0 || !p->leads_to_lanes[n->index]) return OT_ROWS;
    if (!is_computed(n) || !ot_op_lanes(n, p->lane_count, 1)) return OT_ROWS;
    return (struct lanes){p->lane_count, 1};
}

/* A product with a dense weight goes into lanes of channels where it can. */
static struct lanes dense_lanes(const struct op_node *n) {
    const struct lanes channels = {n->op->channel_lanes, 2};
    return is_computed(n) && n->op->sparse_in && channels.count && ot_op_lanes(n, channels.count, 2)
               ? channels
               : OT_ROWS;
}

void ot_layout_choose_form(const struct plan *p, struct op_node *n) {
    static const enum ot_form forced[] = {[OT_SPARSE_ALWAYS] = OT_FORM_SPARSE,
                                          [OT_SPARSE_NEVER] = OT_FORM_DENSE,
                                          [OT_SPARSE_LIVE] = OT_FORM_LIVE};
    const ot_sparse_mode mode = p->request.sparse;
    const int rank = sample_rank(p, n);
    if (!rank || !ot_op_has_forms(n)) return;
    const bool rows = rows_pay(p, n) && n->op->sparse_rows && n->op->sparse_rows(n, 1);
    n->form = OT_FORM_DENSE;
    const struct lanes dense = dense_lanes(n);
    ot_op_choose_form(n, rows ? OT_ROWS : lanes_of(p, n, rank), dense);
    if (mode != OT_SPARSE_AUTO) n->form = forced[mode];
}

struct lanes ot_layout_of(const struct plan *p, const struct op_node *n, struct lanes sparse) {
    if (sparse.rank) return sparse;
    struct lanes lanes = inherited_lanes(n);
    if (!lanes.rank) lanes = lanes_ahead(p, n);
    return lanes.rank ? lanes : dense_lanes(n);
}

/* ---- the lanes of a plan ---- */

/* Of a weight, or of the first that has one among those that it is made of. */
static const struct pattern *pattern_of(const struct plan *p, int v) {
    const struct model *model = p->model;
    const struct moved *m = p->moved[v] ? &p->moved[v]->from : NULL;
    const struct pattern *pattern = NULL;
    for (int i = 0; i < (m ? m->n_origins : 1) && !pattern; i++) {
        const int k = p->parameter_of[m ? m->origin[i] : v];
        if (k >= 0) pattern = model->parameter[k].t.pattern;
    }
    return pattern;
}

void ot_layout_find_ways(struct plan *p) {
    const struct graph *g = p->graph;
    for (int k = g->n_nodes - 1; k >= 0; k--) {
        const struct node *node = &g->node[k];
        const struct op *op = ot_op_of(node);
        bool sparse = false;
        for (int i = 0; i < node->n_in && i < 32; i++) {
            const struct pattern *pattern = node->in[i] < 0 ? NULL : pattern_of(p, node->in[i]);
            sparse |= pattern && (op->sparse_in >> i & 1) && sparse_ahead(p, op, pattern);
        }
        if (!sparse && !(op->lanes && p->leads_to_lanes[k])) continue;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] >= 0 && g->value[node->in[i]].producer >= 0)
                p->leads_to_lanes[g->value[node->in[i]].producer] = true;
    }
}

static bool has_sparse(const struct model *model, const char *op) {
    for (int i = 0; i < model->n_parameters; i++)
        if (model->parameter[i].t.pattern && !strcmp(model->parameter[i].op, op)) return true;
    return false;
}

/* Convolutions take one vector of samples a pixel, or with few samples vectors of pixels, in rows;
 * a network of linear layers takes wide blocks. A MatMul works on tokens: of numbers
 * [batch, tokens] or of vectors [batch, tokens, features]. */
void ot_layout_choose_lanes(struct plan *p) {
    const struct model *model = p->model;
    const ot_tensor *in = p->request.n_inputs ? &p->request.input[0] : NULL;
    int64_t samples = in && in->rank ? in->dim[0] : 1;
    if (has_sparse(model, "Conv") || has_sparse(model, "ConvTranspose")) {
        p->lane_count = OT_CONV_LANES;
        p->convolves = true;
        p->few_samples = ot_op_rows_pay(samples, OT_CONV_LANES);
        return;
    }
    const bool tokens = in && has_sparse(model, "MatMul");
    if (tokens && in->rank == (in->type == OT_FLOAT ? 3 : 2)) samples *= in->dim[1];
    p->lane_count = width_for(samples);
}

/* A Gemm that is the first product with a sparse weight says how many rows there really are: of
 * tokens that were merged with samples, more than the batch has. */
void ot_layout_count_rows(struct plan *p, const struct op_node *n) {
    const struct model *model = p->model;
    const struct tensor *x = n->n_in > 1 ? n->x[0] : NULL, *w = x ? n->x[1] : NULL;
    if (p->has_product || !w || !w->pattern || !(n->op->sparse_in >> 1 & 1)) return;
    p->has_product = true;
    if (has_sparse(model, "Conv") || has_sparse(model, "ConvTranspose")) return;
    if (!strcmp(n->op->name, "Gemm") && x->rank == 2 && !ot_attr_int(n->node, "transA", 0))
        p->lane_count = width_for(x->dim[0]);
}
