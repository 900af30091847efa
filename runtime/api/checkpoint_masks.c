/* checkpoint_masks.c - masks of a checkpoint that are not those of the session. */
#include <stdio.h>
#include <string.h>

#include "runtime/api/checkpoint.h"
#include "runtime/base/pattern.h"

/* CSR arrays of a weight in the file; NULL where there are none. */
struct lists {
    const struct safetensor *row, *col;
};

static ot_status find_lists(const struct safetensors *file, struct arena *arena,
                            const struct parameter *p, struct lists *lists, ot_error *err) {
    const struct part parts[2] = {{.prefix = "row"}, {.prefix = "col"}};
    const struct safetensor **to[2] = {&lists->row, &lists->col};
    for (int i = 0; i < 2; i++) {
        struct safetensor t;
        OT_TRY(ot_checkpoint_describe(arena, p, &parts[i], &t, err));
        *to[i] = ot_safetensors_find(file, t.name);
    }
    return OT_OK;
}

static bool is_list(const struct safetensor *t, int64_t least) {
    return t && t->type == OT_INT32 && t->rank == 1 && t->dim[0] >= least;
}

/* Rows begin where those before them end, and columns ascend within a row. */
static bool are_slots(const struct pattern *p, const int32_t *row, const int32_t *col, int64_t n) {
    if (row[0] != 0 || row[p->rows] != n) return false;
    for (int r = 0; r < p->rows; r++) {
        if (row[r + 1] < row[r] || row[r + 1] > n) return false;
        for (int32_t k = row[r]; k < row[r + 1]; k++)
            if (col[k] < 0 || col[k] >= p->cols || (k > row[r] && col[k] <= col[k - 1]))
                return false;
    }
    return true;
}

/* The pattern of the file, and a map that says that all its slots are new. */
static ot_status read_pattern(const struct pattern *old, const struct lists *l, const char *name,
                              struct rewiring *r, ot_error *err) {
    if (!is_list(l->row, 1) || !is_list(l->col, 0) || l->row->dim[0] != (int64_t)old->rows + 1 ||
        l->col->dim[0] > INT32_MAX || !are_slots(old, l->row->data, l->col->data, l->col->dim[0]))
        return ot_fail(err, OT_ERROR_INVALID,
                       "'row:%s' and 'col:%s' are not the slots of a matrix of %d x %d", name, name,
                       old->rows, old->cols);
    const size_t n = (size_t)l->col->dim[0];
    const int64_t file_rows = old->transposed ? old->cols : old->rows;
    const int64_t file_cols = old->transposed ? old->rows : old->cols;
    OT_TRY(ot_pattern_alloc(&old->allocator, file_rows, file_cols, old->transposed, (int64_t)n,
                            &r->pattern, err));
    memcpy(r->pattern->row, l->row->data, ((size_t)old->rows + 1) * sizeof *r->pattern->row);
    memcpy(r->pattern->col, l->col->data, n * sizeof *r->pattern->col);
    r->map = ot_block_alloc_dirty(&old->allocator, n, sizeof *r->map);
    if (!r->map)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the mask of '%s'", name);
    for (size_t k = 0; k < n; k++) r->map[k] = -1;
    return ot_pattern_count_live(r->pattern, err);
}

static bool is_same(const struct pattern *p, const struct lists *l) {
    return is_list(l->row, 1) && is_list(l->col, 0) && l->row->dim[0] == (int64_t)p->rows + 1 &&
           l->col->dim[0] == p->nnz &&
           !memcmp(l->row->data, p->row, ((size_t)p->rows + 1) * sizeof *p->row) &&
           !memcmp(l->col->data, p->col, (size_t)p->nnz * sizeof *p->col);
}

ot_status ot_checkpoint_masks(const struct ot_session *s, const struct safetensors *file,
                              struct arena *arena, struct rewiring *r, int *n, ot_error *err) {
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        const struct pattern *old = p->t.pattern;
        struct lists lists;
        if (!old || p->structure == OT_STRUCTURE_MASK) continue;
        OT_TRY(find_lists(file, arena, p, &lists, err));
        if (!lists.row && !lists.col) continue; /* refused with the other tensors of the weight */
        if (is_same(old, &lists)) continue;
        r[*n].p = p;
        OT_TRY(read_pattern(old, &lists, p->name, &r[(*n)++], err));
    }
    return OT_OK;
}
