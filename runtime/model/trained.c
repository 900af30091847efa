/* trained.c - the one rule for what is trained. */
#include "runtime/model/trained.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "runtime/model/feature.h"
#include "runtime/model/made_up.h"
#include "runtime/model/mask.h"

/* What a node does with an input. */
enum place {
    PLACE_NONE,   /* nothing that could be learned */
    PLACE_WEIGHT, /* weight or bias of a product or recurrent layer, slope of a PRelu */
    PLACE_NORM,   /* scale or bias of a norm */
    PLACE_ROWS,   /* embedding: rows are looked up */
    PLACE_WHERE,
    PLACE_OPERAND, /* of Add, Mul, Concat and the like */
    PLACE_DATA     /* what other operators make their output of */
};

/* ---- places ---- */

static bool is_op(const struct node *node, const char *name) {
    return !*node->domain && !strcmp(node->op_type, name);
}

static bool is_product(const struct node *node) {
    return is_op(node, "MatMul") || is_op(node, "Gemm") || is_op(node, "Einsum");
}

static bool is_recurrent(const struct node *node) {
    return is_op(node, "LSTM") || is_op(node, "GRU") || is_op(node, "RNN");
}

/* May a gradient of input i be asked for, and do values of the output depend on it? */
static bool carries(const struct node *node, const struct op *op, int i) {
    if (!op->backward || op->shape_only || !ot_op_reads(op, i)) return false;
    if (i < 16 && (op->parameters >> i & 1)) return true;
    return i == 0 || op->max_in < 0 || (is_recurrent(node) && (i == 5 || i == 6)) ||
           (is_op(node, "Attention") && i < 3);
}

/* Rows of a matrix, at places that are not known beforehand. */
static bool looks_up(const struct evidence *e, const struct node *node, int i) {
    const struct value *table = &e->g->value[node->in[0]];
    return is_op(node, "Gather") && i == 0 && !ot_attr_int(node, "axis", 0) &&
           !e->constant[node->in[1]] && (!table->constant || table->constant->rank == 2);
}

static enum place input_place(const struct evidence *e, const struct node *node, int i) {
    const struct op *op = ot_op_of(node);
    if (!op || node->in[i] < 0 || !carries(node, op, i)) return PLACE_NONE;
    if (i > 15 || !(op->parameters >> i & 1)) return op->moves ? PLACE_NONE : PLACE_DATA;
    if (ot_is_norm(node)) return PLACE_NORM;
    if (is_op(node, "Where")) return PLACE_WHERE;
    if (looks_up(e, node, i)) return PLACE_ROWS;
    const bool elementwise = (op->parameters & OT_X(0)) && !op->sparse_in && !is_product(node);
    return elementwise ? PLACE_OPERAND : PLACE_WEIGHT;
}

bool ot_is_weight_place(const struct evidence *e, int k, int i) {
    return input_place(e, &e->g->node[k], i) != PLACE_NONE;
}

/* ---- what a name or a value says ---- */

/* Where a file notes its parameters, the exporter has made up what it does not note; but for names
 * of modules, whose notes other tools lose. */
static bool is_made_up(const struct evidence *e, int v) {
    const char *name = e->g->value[v].name;
    if (e->g->value[v].note != OT_NOTE_NONE) return false;
    return (e->has_notes && !strchr(name, '.')) || ot_name_is_made_up(name);
}

bool ot_is_finite(const struct tensor *t) {
    bool finite = true;
    for (int64_t i = 0, n = t->type == OT_FLOAT ? ot_count(t) : 0; i < n; i++)
        finite &= (bool)isfinite(((const float *)t->data)[i]);
    return finite;
}

static bool is_mask(const struct evidence *e, const struct node *node, int i, int v) {
    if (ot_elements(e->g->value[v].constant) == 1) return false;
    return ot_is_added_mask(e->g, e->scores, node, i, v) ||
           ((is_op(node, "Mul") || looks_up(e, node, i)) && ot_is_factor_mask(e->g, v));
}

/* Of what is not trained anyway. */
static ot_fixed_reason reason_by_content(const struct evidence *e, const struct node *node, int i,
                                         int v) {
    if (is_mask(e, node, i, v)) return OT_FIXED_MASK;
    return ot_elements(e->g->value[v].constant) > 1 ? OT_FIXED_TABLE : OT_FIXED_CONSTANT;
}

/* Positions, time steps: integers that have become floats. */
static bool is_counted(const struct graph *g, int v) {
    static const char *const counts[] = {"Shape", "Size", "Range", "ArgMax", "ArgMin", "NonZero"};
    for (int step = 0; v >= 0 && step < 16; step++) {
        const struct value *value = &g->value[v];
        if (value->type == OT_INT64 || value->type == OT_INT32) return true;
        if (value->producer < 0) return false;
        const struct node *node = &g->node[value->producer];
        const struct op *op = ot_op_of(node);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            if (is_op(node, counts[i])) return true;
        const bool goes_on = is_op(node, "Cast") || is_op(node, "Expand") ||
                             (op && op->moves == OT_X(0)) || ot_is_arithmetic(node);
        v = !goes_on                                           ? -1
            : g->value[node->in[0]].constant && node->n_in > 1 ? node->in[1]
                                                               : node->in[0];
    }
    return false;
}

/* ---- the rule, place by place ---- */

/* A product of counted positions and a constant that has no name makes angles of frequencies. */
static ot_fixed_reason at_weight(const struct evidence *e, const struct node *node, int i, int v) {
    if (is_product(node) && i < 2 && node->n_in > 1 && is_made_up(e, v) &&
        is_counted(e->g, node->in[1 - i]))
        return OT_FIXED_TABLE;
    return OT_TRAINED;
}

/* A norm that learns neither scale nor bias is written with ones and zeros. */
static ot_fixed_reason at_norm(const struct evidence *e, const struct node *node, int v) {
    return is_made_up(e, v) && ot_norm_is_plain(e->g, node) ? OT_FIXED_CONSTANT : OT_TRAINED;
}

/* What is computed from constants alone to become a weight. */
static ot_fixed_reason on_way_to_weight(const struct evidence *e, const struct node *node, int v) {
    const bool arithmetic = ot_is_arithmetic(node) || is_op(node, "Pow") || is_op(node, "Where");
    if (arithmetic && ot_elements(e->g->value[v].constant) == 1) return OT_FIXED_CONSTANT;
    return is_op(node, "Mul") && ot_is_factor_mask(e->g, v) ? OT_FIXED_MASK : OT_TRAINED;
}

static ot_fixed_reason at_operand(const struct evidence *e, int k, int i, int v) {
    const struct node *node = &e->g->node[k];
    const struct tensor *t = e->g->value[v].constant;
    bool taken = false;
    if (is_mask(e, node, i, v)) return OT_FIXED_MASK;
    const bool moved = node->in[i] != v;
    const bool vector =
        !moved && (ot_feature_is_vector(e->g, k, i, &taken) || ot_feature_is_token(e->g, k, i));
    const bool made_up = is_made_up(e, v);
    if (ot_elements(t) == 1)
        return vector && !made_up && is_op(node, "Add") ? OT_TRAINED : OT_FIXED_CONSTANT;
    return vector || !made_up ? OT_TRAINED : OT_FIXED_TABLE;
}

static ot_fixed_reason at_data(const struct evidence *e, const struct node *node, int i, int v) {
    const bool reaches = node->n_out && node->out[0] >= 0 && e->reaches[node->out[0]];
    if (ot_elements(e->g->value[v].constant) == 1 || !reaches || is_mask(e, node, i, v) ||
        is_made_up(e, v))
        return reason_by_content(e, node, i, v);
    return OT_TRAINED;
}

static bool is_on_way_to_weight(const struct evidence *e, const struct node *node) {
    const int y = node->n_out ? node->out[0] : -1;
    return y >= 0 && e->weight[y] && e->constant[y];
}

ot_fixed_reason ot_trained_at(const struct evidence *e, int k, int i, int v) {
    const struct value *value = &e->g->value[v];
    const struct node *node = &e->g->node[k];
    const enum place place = input_place(e, node, i);
    if (value->is_mask) return OT_FIXED_MASK;
    if (!value->exportable || place == PLACE_NONE) return OT_FIXED_CONSTANT;
    if (!ot_is_finite(value->constant))
        return is_mask(e, node, i, v) ? OT_FIXED_MASK : OT_FIXED_CONSTANT;
    if (e->updated[v] || value->note == OT_NOTE_PARAMETER) return OT_TRAINED;
    if (value->note == OT_NOTE_FIXED) return reason_by_content(e, node, i, v);
    if (place == PLACE_WEIGHT) return at_weight(e, node, i, v);
    if (place == PLACE_NORM) return at_norm(e, node, v);
    if (is_on_way_to_weight(e, node)) return on_way_to_weight(e, node, v);
    if (place == PLACE_ROWS) return is_mask(e, node, i, v) ? OT_FIXED_MASK : OT_TRAINED;
    if (place == PLACE_WHERE) return OT_FIXED_CONSTANT;
    return place == PLACE_OPERAND ? at_operand(e, k, i, v) : at_data(e, node, i, v);
}

bool ot_is_candidate(const struct evidence *e, int k, int i, int v) {
    const struct value *value = &e->g->value[v];
    const enum place place = input_place(e, &e->g->node[k], i);
    if (place == PLACE_WEIGHT || place == PLACE_NORM || place == PLACE_ROWS || e->updated[v])
        return true;
    if (value->kind != OT_VALUE_INITIALIZER) return false;
    const bool number = ot_elements(value->constant) == 1;
    if (number ? value->exportable && !is_made_up(e, v) && place != PLACE_NONE
               : place == PLACE_OPERAND || place == PLACE_WHERE)
        return true;
    return ot_trained_at(e, k, i, v) == OT_TRAINED;
}

/* ---- evidence ---- */

static void find_constant(struct evidence *e) {
    const struct graph *g = e->g;
    for (int v = 0; v < g->n_values; v++) e->constant[v] = g->value[v].constant != NULL;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct node *node = &g->node[k];
        const struct op *op = ot_op_of(node);
        bool constant = op && !op->random && node->n_in > 0;
        for (int i = 0; i < node->n_in; i++)
            constant &= node->in[i] < 0 || e->constant[node->in[i]];
        for (int j = 0; constant && j < node->n_out; j++)
            if (node->out[j] >= 0) e->constant[node->out[j]] = true;
    }
}

/* From the last node back, all consumers of a value have been seen. */
static void find_weights(struct evidence *e) {
    const struct graph *g = e->g;
    for (int k = g->all_nodes - 1; k >= 0; k--) {
        const struct node *node = &g->node[k];
        bool on_way = false;
        for (int j = 0; j < node->n_out; j++) {
            const int y = node->out[j];
            on_way |= y >= 0 && e->weight[y] && e->constant[y];
        }
        for (int i = 0; i < node->n_in; i++) {
            const enum place place = input_place(e, node, i);
            if (node->in[i] >= 0 &&
                (on_way || place == PLACE_WEIGHT || place == PLACE_NORM || place == PLACE_ROWS))
                e->weight[node->in[i]] = true;
        }
    }
}

static bool is_float(int64_t type) {
    return type == OT_FLOAT || type == OT_DOUBLE || type == OT_FLOAT16 || type == OT_BFLOAT16;
}

/* Bodies of loops stand behind the nodes that they belong to: what they give is taken to reach. */
static void find_reaches(struct evidence *e) {
    const struct graph *g = e->g;
    for (int i = 0; i < g->n_outputs; i++) e->reaches[g->output[i]] = true;
    for (int k = 0; k < g->all_nodes; k++) {
        const struct body *b = g->node[k].body;
        for (int i = 0; b && i < b->n_out; i++) e->reaches[b->out[i]] = true;
    }
    for (int k = g->all_nodes - 1; k >= 0; k--) {
        const struct node *node = &g->node[k];
        const struct op *op = ot_op_of(node);
        bool reaches = false;
        for (int j = 0; j < node->n_out; j++)
            reaches |= node->out[j] >= 0 && e->reaches[node->out[j]];
        if (is_op(node, "Cast")) reaches &= is_float(ot_attr_int(node, "to", OT_FLOAT));
        for (int i = 0; reaches && i < node->n_in; i++)
            if (node->in[i] >= 0 && (node->body || (op && carries(node, op, i))))
                e->reaches[node->in[i]] = true;
    }
}

ot_status ot_evidence_gather(const struct graph *g, const ot_allocator *allocator,
                             struct evidence *e, ot_error *err) {
    const size_t n = (size_t)g->n_values;
    bool **const array[] = {&e->updated, &e->scores, &e->weight, &e->reaches, &e->constant};
    *e = (struct evidence){.g = g};
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        *array[i] = ot_block_alloc(allocator, n, sizeof(bool));
        if (*array[i]) continue;
        ot_evidence_free(allocator, e);
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the weights");
    }
    for (int b = 0; g->algorithm && b < g->algorithm->n_bindings; b++)
        e->updated[g->algorithm->binding[b].key] = true;
    for (size_t v = 0; v < n; v++) e->has_notes |= g->value[v].note == OT_NOTE_PARAMETER;
    ot_mask_find_scores(g, e->scores);
    find_constant(e);
    find_weights(e);
    find_reaches(e);
    return OT_OK;
}

void ot_evidence_free(const ot_allocator *allocator, struct evidence *e) {
    ot_block_free(allocator, e->updated);
    ot_block_free(allocator, e->scores);
    ot_block_free(allocator, e->weight);
    ot_block_free(allocator, e->reaches);
    ot_block_free(allocator, e->constant);
}
