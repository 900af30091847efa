/* parameter.c - which initializers are weights, and their values. */
#include "runtime/model/parameter.h"

#include <string.h>

#include "ops/op.h"
#include "runtime/model/moved.h"
#include "runtime/model/trained.h"

/* Calls visit for every (weight value, node, input) of the graph. */
struct finder {
    const struct graph *g;
    struct parameter *parameter; /* NULL: only counts */
    int n;
    int *parameter_of;
    int *uses; /* of each value, by nodes and as output of the graph */
    struct evidence evidence;
};

/* Floats, and integers that a DequantizeLinear makes floats of. */
static bool is_weight(const struct finder *f, int k, int i, int v, bool statistic) {
    const struct node *node = &f->g->node[k];
    if (f->g->value[v].constant->type != OT_FLOAT &&
        !(v == node->in[0] && f->uses[v] == 1 && ot_is_integer_weight(f->g, node)))
        return false;
    return statistic || ot_is_candidate(&f->evidence, k, i, v);
}

/* A weight that was seen on its way only gets its operator now. */
static void name_operator(struct parameter *p, const struct op *op) {
    const struct op *was = ot_op_find(p->op);
    if (was && was->moves && !op->moves) p->op = op->name;
}

/* It is trained where one of its places says so. */
static void visit_again(struct finder *f, int k, int i, const struct op *op, int v) {
    struct parameter *p = &f->parameter[f->parameter_of[v]];
    name_operator(p, op);
    if (p->is_statistic || ot_is_trained(p)) return;
    if (ot_trained_at(&f->evidence, k, i, v) == OT_TRAINED) p->fixed = OT_TRAINED;
}

static void visit(struct finder *f, int k, int i, const struct op *op, int v, bool statistic) {
    const struct value *value = &f->g->value[v];
    if (f->parameter_of[v] >= 0) {
        if (f->parameter) visit_again(f, k, i, op, v);
        return;
    }
    f->parameter_of[v] = f->n++;
    if (!f->parameter) return;
    f->parameter[f->n - 1] = (struct parameter){
        .value = v,
        .name = value->name,
        .op = op->name,
        .dequantizer = value->constant->type == OT_FLOAT ? -1 : k,
        .t = *value->constant,
        .structure = value->structure,
        .mask = value->mask,
        .zeros = value->zeros,
        .is_statistic = statistic,
        .is_norm = op->statistics != 0,
        .fixed = statistic ? OT_FIXED_STATISTIC : ot_trained_at(&f->evidence, k, i, v)};
}

/* A statistic is updated where it stands: it must not be moved. */
static void find_parameters(struct finder *f) {
    struct moved m;
    for (int v = 0; v < f->g->n_values; v++) f->parameter_of[v] = -1;
    f->n = 0;
    for (int k = 0; k < f->g->all_nodes; k++) {
        const struct node *node = &f->g->node[k];
        const struct op *op = ot_op_of(node);
        for (int i = 0; op && i < node->n_in && i < 16; i++) {
            bool statistic = (op->statistics >> i) & 1;
            if (!statistic && !ot_is_weight_place(&f->evidence, k, i)) continue;
            if (!ot_moved_find(f->g, node->in[i], &m)) continue;
            for (int o = 0; o < m.n_origins && (!statistic || !m.n_nodes); o++)
                if (is_weight(f, k, i, m.origin[o], statistic))
                    visit(f, k, i, op, m.origin[o], statistic);
        }
    }
}

/* A large weight need not stand in the graph, too: export writes the present values. What export
 * cannot write it compares with the file's, so there the graph keeps them. */
static bool may_go(const struct graph *g, const struct parameter *p) {
    return g->value[p->value].exportable && ot_bytes(&p->t) >= 4096;
}

/* Keeps the nonzero ones of `dense`, all elements of p->t, as slots of a pattern; dense may be
 * p->t.data itself, for no slot stands behind its position. */
static ot_status keep_slots(struct parameter *p, const ot_allocator *allocator, const float *dense,
                            ot_error *err) {
    const int64_t count = ot_elements(&p->t), rows = p->t.dim[0];
    struct pattern *pattern = NULL;
    int64_t n = 0, *position = ot_block_alloc(allocator, (size_t)count, sizeof *position);
    if (!position) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for '%s'", p->name);
    for (int64_t i = 0; i < count; i++)
        if (dense[i] != 0) position[n++] = i;
    ot_status status =
        ot_pattern_new(allocator, rows, count / rows, false, position, n, NULL, &pattern, err);
    ot_block_free(allocator, position);
    if (status) return status;
    p->t.pattern = pattern;
    ot_pattern_gather(pattern, dense, p->t.data);
    return OT_OK;
}

/* Keeps what the masks of the graph let through, of all elements of p->t. */
static ot_status keep_open(struct parameter *p, const struct graph *g,
                           const ot_allocator *allocator, const float *dense, ot_error *err) {
    const struct value *value = &g->value[p->value];
    p->t.pattern = ot_pattern_ref(value->open);
    p->structure = OT_STRUCTURE_MASK;
    const int64_t n = ot_count(&p->t);
    float *slot = p->t.data = ot_block_alloc(allocator, (size_t)n, sizeof *slot);
    p->owns_data = true;
    if (!slot) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for '%s'", p->name);
    ot_pattern_gather(p->t.pattern, dense, slot);
    p->zeros = 0;
    for (int64_t i = 0; i < n; i++) p->zeros += slot[i] == 0;
    return OT_OK;
}

/* Of a weight that the file holds as integers. */
static ot_status own_integers(struct parameter *p, const struct graph *g,
                              const ot_allocator *allocator, ot_error *err) {
    const int64_t count = ot_elements(&p->t);
    int64_t zeros = 0;
    p->t.type = OT_FLOAT;
    p->t.role = OT_ROLE_PARAM;
    float *values = ot_block_alloc(allocator, (size_t)count, sizeof *values);
    p->t.data = values;
    p->owns_data = true;
    if (!values) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for '%s'", p->name);
    ot_integer_weight_read(g, &g->node[p->dequantizer], values);
    for (int64_t i = 0; i < count && p->t.rank > 1; i++) zeros += values[i] == 0;
    if (g->value[p->value].open) {
        const ot_status status = keep_open(p, g, allocator, values, err);
        ot_block_free(allocator, values);
        return status;
    }
    if (ot_zeros_are_structure(&g->structure, p->name, true, zeros, count, &p->structure))
        return keep_slots(p, allocator, values, err);
    p->zeros = zeros;
    return OT_OK;
}

static ot_status own_values(struct parameter *p, const struct graph *g,
                            const ot_allocator *allocator, ot_error *err) {
    const struct tensor from = p->t;
    if (p->dequantizer >= 0) return own_integers(p, g, allocator, err);
    p->t.role = OT_ROLE_PARAM;
    if (g->value[p->value].open) return keep_open(p, g, allocator, from.data, err);
    p->t.pattern = ot_pattern_ref(from.pattern);
    p->in_graph = may_go(g, p);
    return OT_OK;
}

static void count_uses(const struct graph *g, int *uses) {
    for (int i = 0; i < g->n_outputs; i++) uses[g->output[i]]++;
    for (int k = 0; k < g->all_nodes; k++)
        for (int i = 0; i < g->node[k].n_in; i++)
            if (g->node[k].in[i] >= 0) uses[g->node[k].in[i]]++;
}

static ot_status own_all(struct finder *f, const ot_allocator *allocator, ot_error *err) {
    for (int i = 0; i < f->n; i++) {
        ot_status status = own_values(&f->parameter[i], f->g, allocator, err);
        if (!status) continue;
        for (int k = i + 1; k < f->n; k++) f->parameter[k].t.data = NULL;
        for (int k = i + 1; k < f->n; k++) f->parameter[k].t.pattern = NULL;
        ot_parameters_free(allocator, f->parameter, f->n);
        return status;
    }
    return OT_OK;
}

/* One element that is fixed at every place: a number of a formula. */
static void find_numbers(struct finder *f) {
    for (int i = 0; i < f->n; i++) {
        struct parameter *p = &f->parameter[i];
        p->is_number =
            !p->is_statistic && !ot_is_trained(p) && p->dequantizer < 0 && ot_elements(&p->t) == 1;
        if (p->is_number) f->parameter_of[p->value] = -1;
    }
}

void ot_parameter_wake(struct graph *g, struct parameter *parameter, int i, int *parameter_of) {
    struct parameter *p = &parameter[i];
    p->is_number = false;
    parameter_of[p->value] = i;
    g->value[p->value].varies = true;
}

ot_status ot_parameters_find(const struct graph *g, const ot_allocator *allocator,
                             struct parameter **parameter, int *n, int *parameter_of,
                             ot_error *err) {
    struct finder f = {.g = g, .parameter_of = parameter_of};
    struct parameter *found = NULL;
    OT_TRY(ot_evidence_gather(g, allocator, &f.evidence, err));
    f.uses = ot_block_alloc(allocator, (size_t)g->n_values, sizeof *f.uses);
    if (f.uses) {
        count_uses(g, f.uses);
        find_parameters(&f);
        found = f.parameter = ot_block_alloc(allocator, (size_t)f.n, sizeof *found);
        if (found) {
            find_parameters(&f);
            find_numbers(&f);
        }
    }
    ot_block_free(allocator, f.uses);
    ot_evidence_free(allocator, &f.evidence);
    if (!found) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    OT_TRY(own_all(&f, allocator, err));
    for (int i = 0; i < f.n; i++) found[i].first_slots = ot_count(&found[i].t);
    *parameter = found;
    *n = f.n;
    return OT_OK;
}

void ot_parameters_free(const ot_allocator *allocator, struct parameter *parameter, int n) {
    if (!parameter) return;
    for (int i = 0; i < n; i++) {
        struct parameter *p = &parameter[i];
        if (p->owns_data) ot_block_free(allocator, p->t.data);
        ot_pattern_unref(p->t.pattern);
    }
    ot_block_free(allocator, parameter);
}

float *ot_parameter_gradient(struct parameter *p) {
    if (p->gradient && p->gradient_is_zero) memset(p->gradient, 0, ot_bytes(&p->t));
    p->gradient_is_zero = false;
    return p->gradient;
}
