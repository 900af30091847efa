/* product.c - products of a recurrent layer with rows of W or R: sparse, or dense on
 * oneDNN. */
#include "ops/kernels/kernels.h"
#include "ops/product/dnnl.h"
#include "ops/recurrent/recurrent.h"
#include "runtime/base/pattern.h"

static ot_status no_memory(const struct op_node *n, ot_error *err) {
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
}

/* ---- making ---- */

/* Rows [from, from + part->rows) of a pattern. */
static void set_rows(struct pattern *part, const struct pattern *p, int64_t from) {
    const int first = p->row[from];
    for (int64_t i = 0; i <= part->rows; i++) part->row[i] = p->row[from + i] - first;
    part->nnz = part->row[part->rows];
    part->col = p->col + first;
}

static ot_status pattern_rows(struct op_node *n, const struct pattern *p, int64_t from,
                              int64_t rows, struct pattern **part, ot_error *err) {
    struct pattern *q = *part = ot_arena_alloc(n->arena, 1, sizeof *q);
    int *row = ot_arena_alloc(n->arena, (size_t)rows + 1, sizeof *row);
    if (!q || !row) return no_memory(n, err);
    *q = (struct pattern){.references = 1, .rows = (int)rows, .cols = p->cols, .row = row};
    set_rows(q, p, from);
    return OT_OK;
}

/* Of all slots of a weight so many are expected in a part of its rows; any part may get them all,
 * if it has the places. */
static struct sparse_room part_room(const struct pattern *whole, const struct pattern *part) {
    const int64_t places = (int64_t)part->rows * part->cols;
    const int64_t share = (int64_t)whole->nnz * part->rows / (whole->rows ? whole->rows : 1);
    return (struct sparse_room){(int)share, whole->nnz < places ? whole->nnz : (int)places};
}

/* One sparse product over one step, or over all: then steps are lines of an image, so that tiles
 * reach over two of them. Raises *scratch to what it needs. */
static ot_status make_sparse(struct op_node *n, const struct recurrent *s, const struct pattern *p,
                             struct sparse_room room, bool all, uint32_t want,
                             const struct sparse_product **product, size_t *scratch,
                             ot_error *err) {
    const int64_t lines = all ? s->steps * s->units : 1, wide = all ? s->inner / OT_UNIT : 1;
    const int lanes = all ? OT_UNIT : (int)s->inner;
    const struct conv_shape shape = {.n = all ? OT_UNIT : s->units * s->inner,
                                     .c = p->cols,
                                     .h = lines,
                                     .w = wide,
                                     .m = p->rows,
                                     .oh = lines,
                                     .ow = wide,
                                     .kh = 1,
                                     .kw = 1,
                                     .stride_h = 1,
                                     .stride_w = 1,
                                     .dilation_h = 1,
                                     .dilation_w = 1,
                                     .groups = 1,
                                     .stacked = all};
    size_t forward, backward;
    OT_TRY(
        ot_sparse_prepare_room(n, p, room, &shape, lanes, want, product, &forward, &backward, err));
    if (forward > *scratch) *scratch = forward;
    if (backward > *scratch) *scratch = backward;
    return OT_OK;
}

/* first: all units, or each by itself; same: one matrix for all of them; next: their own. */
static ot_status list_units(struct op_node *n, const struct recurrent *s, struct rec_product *p,
                            ot_error *err) {
    const size_t count = (size_t)(s->steps * s->units);
    int64_t *list = ot_arena_alloc(n->arena, 2 * count + 1, sizeof *list);
    if (!list) return no_memory(n, err);
    for (size_t i = 0; i <= count; i++) list[i] = (int64_t)i;
    p->first = p->next = list;
    p->same = list + count + 1;
    return OT_OK;
}

/* Makes *p, whose direction and rows are set; from: its first row. */
static ot_status make_product(struct op_node *n, const struct recurrent *s, int weight,
                              int64_t from, struct rec_product *p, struct rec_scratch *scratch,
                              ot_error *err) {
    const struct tensor *w = n->x[weight];
    const bool data = n->want != 0, own = ot_training_wants(n, weight);
    p->cols = w->dim[2];
    p->from = from * w->dim[2];
    p->units = s->units;
    if (!w->pattern) return s->inner > 1 ? list_units(n, s, p, err) : OT_OK;
    p->from = w->pattern->row[from];
    OT_TRY(pattern_rows(n, w->pattern, from, p->rows, &p->part, err));
    const struct sparse_room room = part_room(w->pattern, p->part);
    const uint32_t whole =
        (weight == OT_REC_W && data ? OT_SPARSE_DATA : 0) | (own ? OT_SPARSE_WEIGHT : 0);
    OT_TRY(make_sparse(n, s, p->part, room, true, whole, &p->all, &scratch->all, err));
    if (weight == OT_REC_W) return OT_OK;
    const uint32_t step = OT_SPARSE_OFTEN | (data ? OT_SPARSE_DATA : 0);
    return make_sparse(n, s, p->part, room, false, step, &p->step, &scratch->step, err);
}

ot_status ot_rec_products(struct op_node *n, struct recurrent *s, struct rec_scratch *scratch,
                          ot_error *err) {
    const struct rec_cell *cell = s->cell;
    int64_t from = 0;
    *scratch = (struct rec_scratch){0, 0};
    for (int d = 0; d < s->directions; d++)
        for (int g = 0; g < cell->groups; g++) {
            const int64_t rows = cell->gates[g] * s->hidden;
            s->w[d][g] = s->r[d][g] = (struct rec_product){.direction = d, .rows = rows};
            OT_TRY(make_product(n, s, OT_REC_W, from, &s->w[d][g], scratch, err));
            OT_TRY(make_product(n, s, OT_REC_R, from, &s->r[d][g], scratch, err));
            from += rows;
        }
    return OT_OK;
}

/* Rows of a weight whose pattern has changed. */
static void follow_product(struct rec_product *p, const struct pattern *w, int64_t from) {
    p->from = w->row[from];
    set_rows(p->part, w, from);
    ot_sparse_follow(p->all, p->part);
    if (p->step) ot_sparse_follow(p->step, p->part);
}

void ot_rec_follow(struct op_node *n, int i) {
    struct recurrent *s = ot_op_plan(n);
    int64_t from = 0;
    for (int d = 0; d < s->directions; d++)
        for (int g = 0; g < s->cell->groups; g++) {
            struct rec_product *p = i == OT_REC_W ? &s->w[d][g] : &s->r[d][g];
            follow_product(p, n->x[i]->pattern, from);
            from += p->rows;
        }
}

/* ---- running ---- */

void ot_rec_hold(struct op_node *n, int direction, bool on) {
    const struct recurrent *s = n->plan;
    for (int g = 0; g < s->cell->groups; g++)
        if (s->r[direction][g].step) ot_sparse_hold(n, s->r[direction][g].step, on);
}

static void *sparse_scratch(const struct op_node *n, const struct rec_product *p, bool all) {
    const struct recurrent *s = n->plan;
    return (float *)n->scratch + (all ? s->all_at : s->step_at[p->direction]);
}

/* y = the bias in every column, or row. */
static void fill_bias(const struct recurrent *s, const struct rec_product *p, int64_t units,
                      const float *bias, float *y) {
    for (int64_t u = 0; u < units; u++)
        for (int64_t j = 0; j < p->rows; j++)
            for (int64_t l = 0; l < s->inner; l++) *y++ = bias[j];
}

void ot_rec_multiply(struct op_node *n, const struct rec_product *p, int weight, bool all,
                     const float *x, const float *bias, float *y) {
    const struct recurrent *s = n->plan;
    const float *w = ot_f(n->x[weight]) + p->from;
    const int64_t units = all ? s->steps * p->units : p->units;
    if (p->all) {
        ot_sparse_forward(n, all ? p->all : p->step, x, w, bias, y, sparse_scratch(n, p, all));
        return;
    }
    if (bias) fill_bias(s, p, units, bias, y);
    struct dense_gemm g = {.tb = true,
                           .m = units,
                           .n = p->rows,
                           .k = p->cols,
                           .alpha = 1.0f,
                           .accumulate = bias != NULL};
    if (s->inner == 1) {
        ot_dense_gemm(n, &g, x, w, y);
        return;
    }
    g = (struct dense_gemm){.m = p->rows,
                            .n = s->inner,
                            .k = p->cols,
                            .alpha = 1.0f,
                            .accumulate = bias != NULL,
                            .outputs = units,
                            .first = p->first,
                            .a = p->same,
                            .b = p->next};
    ot_dense_gemm(n, &g, w, x, y);
}

void ot_rec_multiply_data(struct op_node *n, const struct rec_product *p, int weight, bool all,
                          const float *dy, float *dx) {
    const struct recurrent *s = n->plan;
    const float *w = ot_f(n->x[weight]) + p->from;
    const int64_t units = all ? s->steps * p->units : p->units;
    if (p->all) {
        ot_sparse_backward(n, all ? p->all : p->step, NULL, w, dy, dx, NULL, NULL,
                           sparse_scratch(n, p, all));
        return;
    }
    struct dense_gemm g = {.m = units, .n = p->cols, .k = p->rows, .alpha = 1.0f};
    if (s->inner == 1) {
        ot_dense_gemm(n, &g, dy, w, dx);
        return;
    }
    g = (struct dense_gemm){.ta = true,
                            .m = p->cols,
                            .n = s->inner,
                            .k = p->rows,
                            .alpha = 1.0f,
                            .outputs = units,
                            .first = p->first,
                            .a = p->same,
                            .b = p->next};
    ot_dense_gemm(n, &g, w, dy, dx);
}

void ot_rec_multiply_weight(struct op_node *n, const struct rec_product *p, int weight,
                            const float *dy, const float *x) {
    const struct recurrent *s = n->plan;
    float *dw = ot_f(n->dx[weight]) + p->from;
    if (p->all) {
        ot_sparse_backward(n, p->all, x, ot_f(n->x[weight]) + p->from, dy, NULL, dw, NULL,
                           sparse_scratch(n, p, true));
        return;
    }
    struct dense_gemm g = {
        .ta = true, .m = p->rows, .n = p->cols, .k = s->steps * p->units, .alpha = 1.0f};
    const int64_t whole[2] = {0, s->steps * p->units};
    if (s->inner > 1)
        g = (struct dense_gemm){.tb = true,
                                .m = p->rows,
                                .n = p->cols,
                                .k = s->inner,
                                .alpha = 1.0f,
                                .outputs = 1,
                                .first = whole,
                                .a = p->next,
                                .b = p->next};
    ot_dense_gemm(n, &g, dy, x, dw);
}
