/* checkpoint_masks.c - masks of a checkpoint that are not those of the session. */
#include <stdio.h>
#include <string.h>

#include "runtime/api/checkpoint.h"
#include "runtime/base/pattern.h"
#include "runtime/model/layer.h"

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
static ot_status read_pattern(const struct layer *m, const struct lists *l, const ot_allocator *al,
                              struct rewiring *r, ot_error *err) {
    const char *name = r->p->name;
    const int64_t n = is_list(l->col, 0) ? l->col->dim[0] : 0;
    struct pattern *p;
    OT_TRY(ot_pattern_alloc(al, m->file_rows, m->file_cols, m->transposed, n, &p, err));
    r->pattern = p;
    if (!is_list(l->row, 1) || !is_list(l->col, 0) || l->row->dim[0] != (int64_t)p->rows + 1 ||
        !are_slots(p, l->row->data, l->col->data, n))
        return ot_fail(err, OT_ERROR_INVALID,
                       "'row:%s' and 'col:%s' are not the slots of a matrix of %d x %d", name, name,
                       p->rows, p->cols);
    memcpy(p->row, l->row->data, ((size_t)p->rows + 1) * sizeof *p->row);
    memcpy(p->col, l->col->data, (size_t)n * sizeof *p->col);
    r->map = ot_block_alloc_dirty(al, (size_t)n, sizeof *r->map);
    if (!r->map)
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the mask of '%s'", name);
    for (int64_t k = 0; k < n; k++) r->map[k] = -1;
    return ot_pattern_count_live(p, err);
}

static bool is_same(const struct pattern *p, const struct lists *l) {
    return is_list(l->row, 1) && is_list(l->col, 0) && l->row->dim[0] == (int64_t)p->rows + 1 &&
           l->col->dim[0] == p->nnz &&
           !memcmp(l->row->data, p->row, ((size_t)p->rows + 1) * sizeof *p->row) &&
           !memcmp(l->col->data, p->col, (size_t)p->nnz * sizeof *p->col);
}

static ot_status read_masks(const struct ot_session *s, const struct layer *layer,
                            const struct safetensors *file, struct arena *arena, struct rewiring *r,
                            int *n, ot_error *err) {
    for (int i = 0; i < s->model->n_parameters; i++) {
        struct parameter *p = &s->model->parameter[i];
        struct lists lists;
        if (p->is_number || p->structure == OT_STRUCTURE_MASK || !layer[i].p) continue;
        OT_TRY(find_lists(file, arena, p, &lists, err));
        if (!lists.row && !lists.col) continue; /* refused with the other tensors of the weight */
        if (p->t.pattern && is_same(p->t.pattern, &lists)) continue;
        r[*n].p = p;
        OT_TRY(read_pattern(&layer[i], &lists, &s->allocator, &r[(*n)++], err));
    }
    return OT_OK;
}

ot_status ot_checkpoint_masks(const struct ot_session *s, const struct safetensors *file,
                              struct arena *arena, struct rewiring *r, int *n, ot_error *err) {
    struct layer *layer;
    OT_TRY(ot_layers_find(s->model, &layer, err));
    const ot_status status = read_masks(s, layer, file, arena, r, n, err);
    ot_block_free(&s->allocator, layer);
    return status;
}
