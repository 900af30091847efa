/* weights.c - constants get their data. A float weight of Conv, Gemm, Gather or the like whose
 * zeros are structure (runtime/base/structure.h), or that came in as a sparse tensor, gets a
 * pattern and holds the values of its slots only.
 *
 * Where zeros are structure, -0.0 is no slot either: a mask that multiplies negative weights leaves
 * it behind. */
#include "onnx/model.h"

#include <string.h>

#include "onnx/pieces.h"
#include "onnx/slots.h"
#include "runtime/base/pattern.h"

static bool is_recurrent(const struct node *n) {
    return !strcmp(n->op_type, "LSTM") || !strcmp(n->op_type, "GRU") || !strcmp(n->op_type, "RNN");
}

/* Inputs that are a matrix to multiply by, or a table to look up rows in. A ConvTranspose is the
 * data gradient of a Conv with its weight. */
enum weight_use ot_weight_use(const struct node *n, int input, int rank) {
    if (*n->domain || rank < 2) return USE_NONE;
    if (input == 0)
        return !strcmp(n->op_type, "Gather") && rank == 2 && !ot_attr_int(n, "axis", 0) ? USE_ROWS
                                                                                        : USE_NONE;
    if (is_recurrent(n)) return rank == 3 ? USE_STACKED : USE_NONE;
    if (input != 1) return USE_NONE;
    if (!strcmp(n->op_type, "Conv") || !strcmp(n->op_type, "ConvTranspose") ||
        !strcmp(n->op_type, "DeformConv"))
        return USE_ROWS;
    if (rank != 2) return USE_NONE;
    if (!strcmp(n->op_type, "Gemm")) return ot_attr_int(n, "transB", 0) ? USE_ROWS : USE_COLUMNS;
    return !strcmp(n->op_type, "MatMul") ? USE_COLUMNS : USE_NONE;
}

/* What QuantizeLinear and DequantizeLinear round on its way to an input, or that itself. */
static int unquantized_weight(const struct graph *g, int input) {
    static const char *const way[] = {"DequantizeLinear", "QuantizeLinear"};
    int v = input;
    for (int i = 0; i < 2 && v >= 0 && g->value[v].kind == OT_VALUE_NODE; i++) {
        const struct node *from = &g->node[g->value[v].producer];
        if (*from->domain || strcmp(from->op_type, way[i]) || !from->n_in) return input;
        v = from->in[0];
    }
    return v;
}

enum { MOST_MOVED = 64 };

/* How many of its inputs an operator that only moves elements takes them from. */
static int moved_inputs(const struct node *n) {
    static const char *const movers[] = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
                                         "Identity",  "Slice",   "Split",   "Concat"};
    const size_t count = sizeof movers / sizeof *movers;
    size_t i = 0;
    while (i < count && strcmp(n->op_type, movers[i])) i++;
    return i == count || *n->domain ? 0 : i == count - 1 || !n->n_in ? n->n_in : 1;
}

static bool is_product(const struct node *n, int input) {
    static const char *const products[] = {"Gemm", "MatMul", "Gather", "Conv", "ConvTranspose"};
    if (*n->domain) return false;
    if (is_recurrent(n)) return input == 1 || input == 2;
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (!strcmp(n->op_type, products[i])) return input == 0 ? i < 3 : input == 1 && i != 2;
    return false;
}

/* Weights that are moved first keep their mask: it is moved with them. */
static void note_moved_uses(struct import *im, int moved) {
    int pending[MOST_MOVED] = {moved};
    for (int k = 0, n = 1; k < n; k++) {
        const struct value *v = &im->g->value[pending[k]];
        const struct node *from = v->kind == OT_VALUE_NODE ? &im->g->node[v->producer] : NULL;
        if (!from && v->kind != OT_VALUE_INPUT && v->rank > 1 && !im->source[pending[k]].use)
            im->source[pending[k]].use = USE_ROWS;
        for (int i = 0; from && i < moved_inputs(from) && n < MOST_MOVED; i++)
            if (from->in[i] >= 0) pending[n++] = from->in[i];
    }
}

static void note_use(struct import *im, const struct node *node, int input) {
    const int weight = unquantized_weight(im->g, node->in[input]);
    if (weight < 0) return;
    const struct value *v = &im->g->value[weight];
    struct source *source = &im->source[weight];
    if (v->kind == OT_VALUE_NODE && is_product(node, input)) note_moved_uses(im, weight);
    if (v->kind != OT_VALUE_INITIALIZER && v->kind != OT_VALUE_CONSTANT) return;
    enum weight_use use = ot_weight_use(node, input, v->rank);
    if (!use) return;
    if (source->use && source->use != use)
        ot_log(&im->options->log, OT_LOG_WARNING,
               "weight '%.80s' is used both as it is and transposed: its pattern is that of the "
               "first use",
               v->name);
    if (!source->use) source->use = use;
}

void ot_weights_use(struct import *im, const struct node *node) {
    for (int i = 0; i < node->n_in && i < 3; i++)
        if (node->in[i] >= 0) note_use(im, node, i);
}

/* Rows of the file's matrix: what is not a column. */
static int64_t file_rows(const struct tensor *t, enum weight_use use) {
    return use == USE_STACKED ? t->dim[0] * t->dim[1] : t->dim[0];
}

/* Gives *t a pattern of the slots at these positions and its values, in their order. */
static ot_status set_pattern(struct import *im, struct tensor *t, enum weight_use use,
                             const int64_t *position, const float *value, int64_t n) {
    struct pattern *pattern = NULL;
    const int64_t rows = file_rows(t, use);
    const int64_t cols = ot_dims_product(t, use == USE_STACKED ? 2 : 1, t->rank);
    int *slot = ot_block_alloc(&im->allocator, (size_t)n, sizeof *slot);
    if (!slot) return ot_import_fail(im, OT_ERROR_NO_MEMORY, "out of memory for a weight");
    ot_status status = ot_pattern_new(&im->allocator, rows, cols, use == USE_COLUMNS, position, n,
                                      slot, &pattern, &im->last);
    if (status) goto done;
    t->pattern = pattern;
    t->data = ot_arena_alloc(&im->g->arena, (size_t)n, sizeof(float));
    if (!t->data) {
        status = ot_import_no_room(im, &im->g->arena, (size_t)n * sizeof(float));
        goto done;
    }
    for (int64_t i = 0; i < n; i++) ((float *)t->data)[slot[i]] = value[i];
done:
    ot_block_free(&im->allocator, slot);
    return status;
}

static bool is_slot(float f) { return f != 0; }

struct dense_reader {
    float *dst;
    int64_t zeros[OT_LANES];
};

static ot_status count_zeros(void *context, int lane, const struct piece *p, ot_error *err) {
    struct dense_reader *r = context;
    const float *f = r->dst + p->first;
    for (int64_t i = 0; i < p->n; i++) r->zeros[lane] += f[i] == 0;
    (void)err;
    return OT_OK;
}

/* Elements of a dense weight at dst. */
static ot_status read_elements(struct import *im, const Onnx__TensorProto *t,
                               const struct tensor *shape, float *dst, int64_t *zeros) {
    struct dense_reader r = {.dst = dst};
    struct pieces p;
    OT_TRY(ot_pieces_open(im, t, shape, dst, &p));
    ot_status status = OT_OK;
    while (p.next < p.count && !status) status = ot_pieces_round(&p, count_zeros, &r);
    for (int i = 0; i < OT_LANES; i++) *zeros += r.zeros[i];
    ot_pieces_close(&p);
    return status;
}

/* Every element is kept. */
static ot_status keep_dense(struct import *im, const Onnx__TensorProto *from, struct value *v,
                            int64_t *zeros) {
    struct tensor *t = v->constant;
    *zeros = 0;
    t->data = ot_arena_alloc_dirty(&im->g->arena, (size_t)ot_elements(t), sizeof(float));
    if (!t->data) return ot_import_no_room(im, &im->g->arena, ot_bytes(t));
    return read_elements(im, from, t, t->data, zeros);
}

/* Slots alone are kept, where zeros are structure. */
static ot_status keep_slots(struct import *im, const struct source *source, struct value *v,
                            bool *is_pruned) {
    struct slots s;
    const struct tensor shape = *v->constant;
    const int64_t count = ot_elements(&shape);
    OT_TRY(ot_slots_read(im, source->tensor, &shape, file_rows(&shape, source->use), &s));
    ot_status status = OT_OK;
    *is_pruned = ot_zeros_are_structure(&im->g->structure, v->name, false, count - s.n, count,
                                        &v->structure);
    if (*is_pruned) {
        v->negative_zeros = s.negative_zeros;
        status = ot_slots_pattern(im, &s, source->use == USE_COLUMNS, v->constant);
    }
    ot_slots_free(im, &s);
    return status;
}

/* A sample says which way is likely to be the right one at once. */
static ot_status read_dense_weight(struct import *im, struct source *source, struct value *v) {
    const double few = 0.02; /* far from any share that makes structure */
    double share;
    bool is_pruned = false;
    OT_TRY(ot_slots_sample(im, source->tensor, v->constant, &share));
    if (share > few) OT_TRY(keep_slots(im, source, v, &is_pruned));
    if (is_pruned) return OT_OK;
    OT_TRY(keep_dense(im, source->tensor, v, &v->zeros));
    if (share > few || !ot_zeros_are_structure(&im->g->structure, v->name, false, v->zeros,
                                               ot_elements(v->constant), &v->structure))
        return OT_OK;
    v->zeros = 0;
    return keep_slots(im, source, v, &is_pruned);
}

static ot_status read_sparse(struct import *im, const struct source *source, struct value *v) {
    struct tensor *t = v->constant;
    const Onnx__SparseTensorProto *s = source->sparse;
    const size_t size = ot_type_size(t->type);
    struct tensor values;
    ot_type file_type;
    int64_t *position, n;
    OT_TRY(ot_sparse_positions(im, s, t, &position, &n));
    OT_TRY(ot_payload_check(im, s->values, &values, &file_type));
    char *value = ot_arena_alloc(&im->scratch, (size_t)n, size);
    if (!value) return ot_import_no_room(im, &im->scratch, (size_t)n * size);
    OT_TRY(ot_payload_read(im, s->values, &values, value));
    const bool is_weight = t->type == OT_FLOAT && source->use;
    for (int64_t i = 0; is_weight && i < n; i++)
        v->zeros += !is_slot(((const float *)(const void *)value)[i]);
    if (is_weight && !ot_structure_is_unwanted(&im->g->structure, v->name)) {
        v->structure = OT_STRUCTURE_SPARSE;
        const bool columns = source->use == USE_COLUMNS;
        const int64_t rows = columns ? t->dim[1] : file_rows(t, source->use);
        OT_TRY(ot_import_expand(im, (uint64_t)rows * sizeof(int), "rows"));
        return set_pattern(im, t, source->use, position, (const float *)value, n);
    }
    if (is_weight) v->zeros += ot_elements(t) - n;
    OT_TRY(ot_import_expand(im, ot_bytes(t), "zeros"));
    t->data = ot_arena_alloc(&im->g->arena, ot_bytes(t), 1);
    if (!t->data) return ot_import_no_room(im, &im->g->arena, ot_bytes(t));
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)t->data + (size_t)position[i] * size, value + (size_t)i * size, size);
    return OT_OK;
}

static ot_status read_constant(struct import *im, struct value *v, struct source *source) {
    if (source->ready) {
        v->constant = source->ready;
        return OT_OK;
    }
    if (!source->tensor && !source->sparse) return OT_OK; /* its fault has been told */
    struct tensor *t = ot_small_alloc(&im->kept, 1, sizeof *t);
    if (!t) return ot_import_no_room(im, &im->g->arena, sizeof *t);
    ot_type type;
    enum value_spelling spelling;
    if (source->sparse)
        OT_TRY(ot_sparse_check(im, source->sparse, t, &type, &spelling));
    else
        OT_TRY(ot_payload_check(im, source->tensor, t, &type));
    v->constant = t; /* from here on its pattern is freed with the graph */
    if (source->sparse) return read_sparse(im, source, v);
    if (t->type == OT_FLOAT && source->use) return read_dense_weight(im, source, v);
    t->data = ot_small_alloc(&im->kept, ot_bytes(t), 1);
    if (!t->data) return ot_import_no_room(im, &im->g->arena, ot_bytes(t));
    return ot_payload_read(im, source->tensor, t, t->data);
}

ot_status ot_weights_read(struct import *im) {
    for (int i = 0; i < im->g->n_values; i++) {
        struct value *v = &im->g->value[i];
        if (v->kind != OT_VALUE_INITIALIZER && v->kind != OT_VALUE_CONSTANT) continue;
        ot_status status = im->visit ? im->visit->see(im->visit->context, im, i)
                                     : read_constant(im, v, &im->source[i]);
        if (!status) continue;
        OT_TRY(ot_import_problem(
            im, ot_fail_in(&im->last, status, "%s '%.80s'",
                           v->kind == OT_VALUE_INITIALIZER ? "initializer" : "constant", v->name)));
    }
    return OT_OK;
}
