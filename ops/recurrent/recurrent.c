/* recurrent.c - prepares LSTM, GRU and RNN: attributes, shapes, memory (ONNX LSTM-1, 7, 14). */
#include "ops/recurrent/recurrent.h"

#include <string.h>

#include "runtime/base/pattern.h"

static ot_status read_direction(const struct op_node *n, struct recurrent *s, ot_error *err) {
    const char *name = ot_attr_string(n->node, "direction", "forward");
    s->directions = strcmp(name, "bidirectional") ? 1 : 2;
    s->reverse[0] = !strcmp(name, "reverse");
    s->reverse[1] = true;
    if (s->directions == 1 && !s->reverse[0] && strcmp(name, "forward") != 0)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'direction' is '%.40s', expected 'forward', 'reverse' or 'bidirectional'",
            name);
    return OT_OK;
}

/* Input i, where it is there, must have this shape. */
static ot_status check_shape(const struct op_node *n, int i, int rank, const int64_t *dim,
                             ot_error *err) {
    struct tensor expected = {.rank = rank};
    char s[128], t[128];
    if (i >= n->n_in || !n->x[i]) return OT_OK;
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    memcpy(expected.dim, dim, (size_t)rank * sizeof *dim);
    if (ot_same_shape(n->x[i], &expected)) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d has shape %s, expected %s", i,
                      ot_shape_text(n->x[i], s, sizeof s), ot_shape_text(&expected, t, sizeof t));
}

static ot_status check_lengths(const struct op_node *n, const struct recurrent *s, ot_error *err) {
    const struct tensor *t = n->n_in > OT_REC_LENGTHS ? n->x[OT_REC_LENGTHS] : NULL;
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, OT_REC_LENGTHS, OT_INT32, err));
    if (t->rank != 1 || t->dim[0] != s->batch)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "input 4 (sequence_lens) is not a list of %lld lengths, one for each sample",
            (long long)s->batch);
    for (int64_t i = 0; t->role == OT_ROLE_CONST && i < s->batch; i++) {
        const int32_t length = ((const int32_t *)t->data)[i];
        if (length < 0 || length > s->steps)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 4 (sequence_lens) contains %d, expected 0 to %lld", length,
                              (long long)s->steps);
    }
    return OT_OK;
}

static ot_status check_shapes(const struct op_node *n, struct recurrent *s, ot_error *err) {
    const struct tensor *x = n->x[OT_REC_X], *w = n->x[OT_REC_W], *r = n->x[OT_REC_R];
    const struct rec_cell *cell = s->cell;
    const int64_t gates = cell->gates[0] + cell->gates[1], d = s->directions;
    if (x->rank != 3 || w->rank != 3 || r->rank != 3 || ot_elements(x) < 1 || r->dim[2] < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "X, W and R have ranks %d, %d and %d, expected three tensors of rank 3 "
                          "that are not empty",
                          x->rank, w->rank, r->rank);
    s->batch_first = ot_attr_int(n->node, "layout", 0) != 0;
    s->steps = x->dim[s->batch_first];
    s->batch = x->dim[!s->batch_first];
    s->input = x->dim[2];
    const int64_t h = s->hidden = r->dim[2];
    if (ot_attr_int(n->node, "hidden_size", h) != h)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'hidden_size' is %lld, but R has %lld columns",
                          (long long)ot_attr_int(n->node, "hidden_size", h), (long long)h);
    const int64_t state[] = {s->batch_first ? s->batch : d, s->batch_first ? d : s->batch, h};
    OT_TRY(check_shape(n, OT_REC_X, 3, x->dim, err));
    OT_TRY(check_shape(n, OT_REC_W, 3, (int64_t[]){d, gates * h, s->input}, err));
    OT_TRY(check_shape(n, OT_REC_R, 3, (int64_t[]){d, gates * h, h}, err));
    OT_TRY(check_shape(n, OT_REC_B, 2, (int64_t[]){d, 2 * gates * h}, err));
    OT_TRY(check_shape(n, OT_REC_H, 3, state, err));
    OT_TRY(check_shape(n, OT_REC_C, 3, state, err));
    OT_TRY(check_shape(n, OT_REC_P, 2, (int64_t[]){d, 3 * h}, err));
    return check_lengths(n, s, err);
}

static ot_status set_outputs(struct op_node *n, const struct recurrent *s, ot_error *err) {
    const int64_t t = s->steps, b = s->batch, d = s->directions, h = s->hidden;
    const int64_t all[] = {s->batch_first ? b : t, s->batch_first ? t : d, s->batch_first ? d : b,
                           h};
    const int64_t last[] = {s->batch_first ? b : d, s->batch_first ? d : b, h};
    if (n->y[0]) OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, all, err));
    for (int i = 1; i < n->n_out; i++)
        if (n->y[i]) OT_TRY(ot_op_set(n, n->y[i], OT_FLOAT, 3, last, err));
    return OT_OK;
}

/* Samples side by side as wide as the batch, where a weight is sparse. */
static void choose_form(const struct op_node *n, struct recurrent *s) {
    const bool sparse = n->x[OT_REC_W]->pattern || n->x[OT_REC_R]->pattern;
    const int64_t wide = (s->batch + 15) / 16 * 16;
    s->inner = !sparse ? 1 : wide < OT_REC_WIDEST ? wide : OT_REC_WIDEST;
    s->units = (s->batch + s->inner - 1) / s->inner;
    s->h_size = s->units * s->inner * s->hidden;
    s->x_size = s->units * s->inner * s->input;
    for (int g = 0; g < OT_REC_GROUPS; g++) s->g_size[g] = s->h_size * s->cell->gates[g];
}

/* The next `floats` of a memory, from a multiple of 16 on. */
static size_t reserve(size_t *end, int64_t floats) {
    const size_t at = *end;
    *end += ((size_t)floats + 15) / 16 * 16;
    return at;
}

static void lay_out_memory(struct op_node *n, struct recurrent *s,
                           const struct rec_scratch *sparse) {
    size_t save = 0, scratch = 0;
    const int64_t widest = s->g_size[0] > s->g_size[1] ? s->g_size[0] : s->g_size[1];
    s->h_at = reserve(&save, (s->steps + 1) * s->h_size);
    s->c_at = reserve(&save, s->cell->has_c ? (s->steps + 1) * s->h_size : 0);
    for (int g = 0; g < OT_REC_GROUPS; g++) s->g_at[g] = reserve(&save, s->steps * s->g_size[g]);
    s->extra_at = reserve(&save, s->inside ? s->steps * s->h_size : 0);
    s->direction_size = save;
    save *= (size_t)s->directions;
    s->lengths_at = reserve(&save, s->units * s->inner);
    s->xs_at = reserve(&scratch, s->steps * s->x_size);
    s->all_at = reserve(&scratch, (int64_t)(sparse->all / sizeof(float)) + 1);
    for (int d = 0; d < s->directions; d++) {
        s->bias_at[d] = reserve(&scratch, (s->cell->gates[0] + s->cell->gates[1] + 1) * s->hidden);
        s->part_at[d][0] = reserve(&scratch, widest);
        for (int i = 1; i < 6; i++) s->part_at[d][i] = reserve(&scratch, s->h_size);
        s->step_at[d] = reserve(&scratch, (int64_t)(sparse->step / sizeof(float)) + 1);
    }
    n->forward_scratch_size = scratch * sizeof(float);
    for (int d = 0; d < s->directions; d++)
        s->aux_at[d] = reserve(&scratch, s->cell->groups > 1 ? s->steps * s->h_size : 0);
    n->backward_scratch_size = scratch * sizeof(float);
    n->save_size = save * sizeof(float);
}

/* Keeps every size above far from overflow. */
static ot_status check_size(const struct op_node *n, const struct recurrent *s, ot_error *err) {
    int64_t count;
    const int64_t widest = s->input > s->hidden ? s->input : s->hidden;
    if (ot_shape_count((int64_t[]){s->steps + 1, s->batch + OT_REC_WIDEST, widest, 16}, 4,
                       (int64_t)1 << 40, &count) &&
        ot_elements(n->x[OT_REC_W]) < INT32_MAX && ot_elements(n->x[OT_REC_R]) < INT32_MAX)
        return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_LIMIT,
                      "the input has %lld steps of %lld samples, which is too many",
                      (long long)s->steps, (long long)s->batch);
}

ot_status ot_rec_prepare(struct op_node *n, const struct rec_cell *cell, ot_error *err) {
    struct recurrent *s = ot_op_plan(n);
    const char *names[2 * OT_REC_FUNCTIONS];
    struct rec_scratch sparse;
    s->cell = cell;
    OT_TRY(read_direction(n, s, err));
    OT_TRY(check_shapes(n, s, err));
    n->ordered = !s->batch_first;
    OT_TRY(check_size(n, s, err));
    for (int i = 0; i < 2 * cell->functions; i++) names[i] = cell->names[i % cell->functions];
    OT_TRY(ot_gate_functions_read(n, names, s->directions * cell->functions, s->f, err));
    s->inside = ot_attr_int(n->node, "linear_before_reset", 0) != 0;
    s->coupled = ot_attr_int(n->node, "input_forget", 0) != 0;
    OT_TRY(set_outputs(n, s, err));
    choose_form(n, s);
    n->kernel = s->inner > 1 ? "spmm, by step" : "dnnl gemm, by step";
    n->flops = 2.0 * (double)(s->steps * s->batch) *
               (double)(ot_count(n->x[OT_REC_W]) + ot_count(n->x[OT_REC_R]));
    OT_TRY(ot_rec_products(n, s, &sparse, err));
    lay_out_memory(n, s, &sparse);
    return OT_OK;
}

bool ot_rec_sparse_rows(const struct op_node *n, int i) {
    const struct tensor *w = n->x[i];
    if ((i != OT_REC_W && i != OT_REC_R) || w->rank != 3) return false;
    return !w->pattern->transposed && w->pattern->rows == w->dim[0] * w->dim[1] &&
           w->pattern->cols == w->dim[2];
}
