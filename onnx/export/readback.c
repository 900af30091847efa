/* readback.c - a file that was written is imported before it gets its name: it must be a model, and
 * every constant must hold what was meant. Values are compared in pieces; nothing is kept. */
#include "onnx/export/readback.h"

#include <string.h>

#include "runtime/base/half.h"
#include "onnx/model.h"
#include "onnx/slot_value.h"
#include "runtime/base/pattern.h"

enum { PIECE = 1 << 20 }; /* floats read at a time */

struct readback {
    const struct graph *g;
    const struct export_request *request;
    struct small_alloc *small; /* of the export */
    struct names names;        /* of constants -> their number in g or in the algorithm */
    bool *seen;                /* of each of them */
    const char *problem;       /* a constant that differs */
    float *piece;
};

/* ---- what was meant ---- */

static const struct graph *graph_of(const struct readback *r, int v) {
    return v < r->g->n_values ? r->g : r->request->algorithm;
}

static int count_values(const struct readback *r) {
    const struct graph *a = r->request->algorithm;
    return a ? a->n_values : r->g->n_values;
}

static const struct tensor *meant(const struct readback *r, int v) {
    const struct tensor *const *present = r->request->present;
    if (v < r->g->n_values && present && present[v]) return present[v];
    return graph_of(r, v)->value[v].constant;
}

/* What a float is once a file has held it as this type. */
static float through_file(ot_type type, float f) {
    if (type == OT_FLOAT16) return ot_float16_to_float(ot_float16_of_float(f));
    if (type == OT_BFLOAT16) return ot_bfloat16_to_float(ot_bfloat16_of_float(f));
    return f;
}

static bool same_float(float a, float b) {
    return ot_bits_of_float(a) == ot_bits_of_float(b) || (a != a && b != b);
}

/* ---- one constant ---- */

/* Compares a constant of the file, element by element in ascending order. */
struct comparison {
    struct import *im;
    const struct tensor *t; /* the tensor that was written */
    const uint8_t *negative_zeros;
    ot_type type; /* in the file */
    int64_t cols; /* of the pattern's matrix in the file */
    int *next;    /* of each row of the pattern: the first slot not yet met */
    float *piece;
};

static ot_status differs(struct comparison *c, int64_t at, double found, double expected) {
    return ot_import_fail(c->im, OT_ERROR_IO,
                          "element %lld reads back as %.9g, but %.9g was written", (long long)at,
                          found, expected);
}

static ot_status same_shape(struct comparison *c, const struct tensor *found) {
    char have[128], want[128];
    if (ot_same_shape(found, c->t)) return OT_OK;
    return ot_import_fail(c->im, OT_ERROR_IO, "it reads back with shape %s, but %s was written",
                          ot_shape_text(found, have, sizeof have),
                          ot_shape_text(c->t, want, sizeof want));
}

/* What stands at a place where the pattern has no slot. */
static float off_pattern(const struct comparison *c, int64_t at) {
    const bool negative = c->negative_zeros && c->negative_zeros[at / 8] >> at % 8 & 1;
    return negative ? -0.0f : 0.0f;
}

/* The element `at` of a tensor with a pattern; those between two calls read as zero. */
static ot_status compare_slot(struct comparison *c, int64_t at, float found, bool *is_slot) {
    const struct pattern *p = c->t->pattern;
    const int64_t row = at / c->cols, col = at % c->cols;
    const int r = (int)(p->transposed ? col : row), k = (int)(p->transposed ? row : col);
    const float *value = c->t->data;
    int *next = &c->next[r];
    for (; *next < p->row[r + 1] && p->col[*next] < k; ++*next)
        if (through_file(c->type, value[*next]) != 0)
            return differs(c, ot_pattern_position(p, r, *next), 0, value[*next]);
    *is_slot = *next < p->row[r + 1] && p->col[*next] == k;
    const float expected = *is_slot ? through_file(c->type, value[(*next)++]) : off_pattern(c, at);
    return same_float(found, expected) ? OT_OK : differs(c, at, found, expected);
}

/* The slots of a row in elements [first, first + n). What is as it was meant becomes +0. */
static ot_status compare_row(struct comparison *c, int r, int64_t first, int64_t n, float *found) {
    const struct pattern *p = c->t->pattern;
    const float *value = c->t->data;
    for (; c->next[r] < p->row[r + 1]; c->next[r]++) {
        const int64_t at = ot_pattern_position(p, r, c->next[r]) - first;
        if (at >= n) break;
        const float kept = ot_slot_value(value[c->next[r]], ot_slot_least(c->type));
        const float expected = through_file(c->type, kept);
        if (!same_float(found[at], expected)) return differs(c, first + at, found[at], expected);
        found[at] = 0;
    }
    return OT_OK;
}

/* Elements [first, first + n) of a dense tensor whose weight has a pattern: rows of the file's
 * matrix, or a part of one row. */
static ot_status compare_slots(struct comparison *c, int64_t first, int64_t n, float *found) {
    const struct pattern *p = c->t->pattern;
    int64_t row = first / c->cols, end = (first + n - 1) / c->cols + 1;
    if (p->transposed) { /* rows of the pattern are columns */
        row = n < c->cols ? first % c->cols : 0;
        end = n < c->cols ? row + n : p->rows;
    }
    for (int64_t r = row; r < end; r++) OT_TRY(compare_row(c, (int)r, first, n, found));
    for (int64_t i = 0; i < n; i++)
        if (ot_bits_of_float(found[i]) && !same_float(found[i], off_pattern(c, first + i)))
            return differs(c, first + i, found[i], off_pattern(c, first + i));
    return OT_OK;
}

/* The same of a dense tensor for a dense one. */
static ot_status compare_floats(struct comparison *c, int64_t first, int64_t n,
                                const float *found) {
    const float *expected = (const float *)c->t->data + first;
    if (!memcmp(found, expected, (size_t)n * sizeof *found)) return OT_OK;
    for (int64_t i = 0; i < n; i++)
        if (!same_float(found[i], through_file(c->type, expected[i])))
            return differs(c, first + i, found[i], expected[i]);
    return OT_OK;
}

static float float_of(ot_type type, const void *data, int64_t i) {
    switch (type) {
    case OT_UINT8: return ((const uint8_t *)data)[i];
    case OT_INT8: return ((const int8_t *)data)[i];
    case OT_UINT16: return ((const uint16_t *)data)[i];
    case OT_INT16: return ((const int16_t *)data)[i];
    default: return (float)((const int32_t *)data)[i];
    }
}

/* The same of integers: they were written from floats that had been rounded, or stand as they did.
 */
static ot_status compare_integers(struct comparison *c, int64_t first, int64_t n,
                                  const void *found) {
    const size_t size = ot_type_size(c->type);
    if (c->t->type != OT_FLOAT) {
        const char *expected = (const char *)c->t->data + (size_t)first * size;
        return memcmp(found, expected, (size_t)n * size) == 0
                   ? OT_OK
                   : ot_import_fail(c->im, OT_ERROR_IO,
                                    "elements %lld to %lld do not read back as they were written",
                                    (long long)first, (long long)(first + n - 1));
    }
    for (int64_t i = 0; i < n; i++) {
        const float expected = ((const float *)c->t->data)[first + i];
        const float is = float_of(c->type, found, i);
        if (is != expected) return differs(c, first + i, is, expected);
    }
    return OT_OK;
}

/* Elements of the piece that begins here. */
static int64_t piece_size(const struct comparison *c, int64_t first, int64_t count, int64_t most) {
    const int64_t cols = c->t->pattern ? c->cols : 1, rest = cols - first % cols;
    if (cols > most)
        most = rest < most ? rest : most;
    else
        most -= most % cols;
    return count - first < most ? count - first : most;
}

static ot_status compare_dense(struct comparison *c, const Onnx__TensorProto *p) {
    struct tensor shape;
    struct payload payload;
    OT_TRY(ot_payload_check(c->im, p, &shape, &c->type));
    OT_TRY(same_shape(c, &shape));
    const size_t size = ot_type_size(shape.type);
    const int64_t count = ot_elements(&shape), most = (int64_t)(PIECE * sizeof(float) / size);
    OT_TRY(ot_payload_open(c->im, p, &shape, &payload));
    ot_status status = OT_OK;
    for (int64_t i = 0, n; i < count && !status; i += n) {
        n = piece_size(c, i, count, most);
        status = ot_payload_part(&payload, (size_t)i, (size_t)n, c->piece, &c->im->last);
        if (!status)
            status = shape.type != OT_FLOAT ? compare_integers(c, i, n, c->piece)
                     : c->t->pattern        ? compare_slots(c, i, n, c->piece)
                                            : compare_floats(c, i, n, c->piece);
    }
    ot_payload_close(&payload);
    return status;
}

/* Entries of a sparse tensor of the file: those of the pattern, or all that are not +0. */
static ot_status compare_entries(struct comparison *c, int64_t n, const int64_t *position,
                                 const float *value) {
    const float *dense = c->t->data;
    int64_t at = 0;
    bool is_slot = true;
    for (int64_t i = 0; i < n; i++) {
        if (c->t->pattern) {
            OT_TRY(compare_slot(c, position[i], value[i], &is_slot));
            if (!is_slot) return differs(c, position[i], value[i], 0);
            continue;
        }
        for (; at < position[i]; at++)
            if (dense[at] != 0) return differs(c, at, 0, dense[at]);
        if (!same_float(value[i], through_file(c->type, dense[at])))
            return differs(c, at, value[i], dense[at]);
        at++;
    }
    if (c->t->pattern && n != c->t->pattern->nnz)
        return ot_import_fail(c->im, OT_ERROR_IO, "%lld entries read back, but %d were written",
                              (long long)n, c->t->pattern->nnz);
    for (const int64_t count = ot_elements(c->t); !c->t->pattern && at < count; at++)
        if (dense[at] != 0) return differs(c, at, 0, dense[at]);
    return OT_OK;
}

static ot_status compare_sparse(struct comparison *c, const Onnx__SparseTensorProto *s) {
    struct tensor shape, values;
    enum value_spelling spelling;
    int64_t *position, n;
    ot_type type;
    OT_TRY(ot_sparse_check(c->im, s, &shape, &c->type, &spelling));
    OT_TRY(same_shape(c, &shape));
    if (shape.type != OT_FLOAT || c->t->type != OT_FLOAT) return OT_OK; /* bytes of the file */
    OT_TRY(ot_sparse_positions(c->im, s, &shape, &position, &n));
    OT_TRY(ot_payload_check(c->im, s->values, &values, &type));
    float *value = ot_arena_alloc(&c->im->scratch, (size_t)n, sizeof *value);
    if (!value) return ot_import_no_room(c->im, &c->im->scratch, (size_t)n * sizeof *value);
    OT_TRY(ot_payload_read(c->im, s->values, &values, value));
    return compare_entries(c, n, position, value);
}

static ot_status compare_ready(struct comparison *c, const struct tensor *found) {
    c->type = found->type;
    OT_TRY(same_shape(c, found));
    if (found->type != c->t->type || found->pattern || c->t->pattern) return OT_OK;
    return found->type == OT_FLOAT ? compare_floats(c, 0, ot_elements(found), found->data)
                                   : compare_integers(c, 0, ot_elements(found), found->data);
}

/* ---- all of them ---- */

static ot_status see(void *context, struct import *im, int v) {
    struct readback *r = context;
    const struct source *source = &im->source[v];
    const int known = ot_names_get(&r->names, 0, im->g->value[v].name);
    if (known == OT_NO_NAME) return OT_OK; /* a switch of Dropout that the form asks for */
    const struct tensor *t = meant(r, known);
    struct comparison c = {.im = im, .t = t, .piece = r->piece};
    r->seen[known] = true;
    if (t->pattern) {
        const struct pattern *p = t->pattern;
        c.cols = p->transposed ? p->rows : p->cols;
        c.next = ot_arena_alloc(&im->scratch, (size_t)p->rows, sizeof *c.next);
        if (!c.next) return ot_import_no_room(im, &im->scratch, (size_t)p->rows * sizeof *c.next);
        memcpy(c.next, p->row, (size_t)p->rows * sizeof *c.next);
        if (ot_same_shape(t, graph_of(r, known)->value[known].constant))
            c.negative_zeros = graph_of(r, known)->value[known].negative_zeros;
    }
    return source->tensor   ? compare_dense(&c, source->tensor)
           : source->sparse ? compare_sparse(&c, source->sparse)
           : source->ready  ? compare_ready(&c, source->ready)
                            : OT_OK;
}

static ot_status find_names(struct readback *r, ot_error *err) {
    const int n = count_values(r);
    ot_names_init(&r->names, r->small, r->g->hash);
    r->seen = ot_small_alloc(r->small, (size_t)n, sizeof *r->seen);
    r->piece = ot_small_alloc(r->small, PIECE, sizeof *r->piece);
    bool good = r->seen && r->piece;
    for (int v = 0; good && v < n; v++) {
        const struct value *value = &graph_of(r, v)->value[v];
        if (value->constant) good = ot_names_set(&r->names, 0, value->name, v);
    }
    return good ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "no memory to read the model back");
}

/* Weights that were to be written and do not stand in the file. */
static ot_status find_missing(const struct readback *r, ot_error *err) {
    for (int v = 0; v < r->g->n_values; v++) {
        const struct value *value = &r->g->value[v];
        if (r->seen[v] || !value->constant || !value->exportable ||
            value->constant->type != OT_FLOAT)
            continue;
        return ot_fail(err, OT_ERROR_IO, "weight '%s' is missing", value->name);
    }
    return OT_OK;
}

ot_status ot_readback(const struct graph *g, const struct export_request *request, const char *path,
                      const char *data_name, const char *data_file, struct small_alloc *small,
                      ot_error *err) {
    struct readback r = {.g = g, .request = request, .small = small};
    const struct import_options plain = {
        .limits = {INT32_MAX, INT32_MAX, (uint64_t)1 << 40, INT64_MAX},
        .allocator = g->arena.allocator};
    struct import_options options = request->import ? *request->import : plain;
    const struct import_visit visit = {see, &r, g->hash, data_name, data_file};
    options.log = (struct log){0}; /* the warnings came when the model was opened */
    options.training = request->algorithm != NULL;
    options.fix = g->fix;
    OT_TRY(find_names(&r, err));
    ot_status status = ot_import_visit(path, &options, &visit, err);
    if (!status) status = find_missing(&r, err);
    return status ? ot_fail_in(err, status, "the model that was written does not read back")
                  : OT_OK;
}
