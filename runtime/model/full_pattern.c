/* full_pattern.c - the pattern of all places of a matrix. */
#include "runtime/model/full_pattern.h"

ot_status ot_full_pattern_new(const struct layer *l, const ot_allocator *allocator,
                              struct pattern **full, ot_error *err) {
    struct pattern *f;
    OT_TRY(ot_pattern_alloc(allocator, l->file_rows, l->file_cols, l->transposed,
                            l->file_rows * l->file_cols, &f, err));
    for (int r = 0; r < f->rows; r++) {
        f->row[r + 1] = f->row[r] + f->cols;
        for (int c = 0; c < f->cols; c++) f->col[f->row[r] + c] = c;
    }
    f->live_rows = f->cols ? f->rows : 0;
    f->live_cols = f->rows ? f->cols : 0;
    *full = f;
    return OT_OK;
}
