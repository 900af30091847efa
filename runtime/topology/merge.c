/* merge.c - rows of kept slots and grown positions, merged. */
#include "runtime/topology/merge.h"

/* The slot of `old` at this column of a row, from slot *k on, which moves there; -1: none. */
static int find_slot(const struct pattern *old, int row, int col, int *k) {
    while (*k < old->row[row + 1] && old->col[*k] < col) ++*k;
    return *k < old->row[row + 1] && old->col[*k] == col ? *k : -1;
}

/* The next row of the new pattern; returns how many grown positions are used up. */
static int merge_row(const struct pattern *old, const struct kept *kept, int row,
                     const int64_t *grown, int n_grown, int g, bool returns, int *map,
                     struct pattern *p) {
    const int64_t first = (int64_t)row * old->cols;
    int at = p->row[row], before = old->row[row];
    for (int k = kept->row[row]; k < kept->row[row + 1] || g < n_grown; at++) {
        const bool grows = g < n_grown && grown[g] - first < old->cols;
        const bool keeps = k < kept->row[row + 1];
        if (!grows && !keeps) break;
        const int col = grows ? (int)(grown[g] - first) : 0;
        if (keeps && (!grows || old->col[kept->slot[k]] < col)) {
            map[at] = kept->slot[k++];
            p->col[at] = old->col[map[at]];
        } else {
            map[at] = returns ? find_slot(old, row, col, &before) : -1;
            p->col[at] = col;
            g++;
        }
    }
    p->row[row + 1] = at;
    return g;
}

ot_status ot_pattern_merge(const struct pattern *old, const struct kept *kept, const int64_t *grown,
                           int n_grown, bool returns, int *map, struct pattern **pattern,
                           ot_error *err) {
    struct pattern *p;
    const int64_t file_rows = old->transposed ? old->cols : old->rows;
    const int64_t file_cols = old->transposed ? old->rows : old->cols;
    OT_TRY(ot_pattern_alloc(&old->allocator, file_rows, file_cols, old->transposed,
                            (int64_t)kept->n + n_grown, &p, err));
    for (int row = 0, g = 0; row < p->rows; row++)
        g = merge_row(old, kept, row, grown, n_grown, g, returns, map, p);
    const ot_status status = ot_pattern_count_live(p, err);
    if (status)
        ot_pattern_unref(p);
    else
        *pattern = p;
    return status;
}

void ot_map_values(const int *map, int n, const float *from, const float *newborn, float *to) {
    for (int k = 0; k < n; k++) to[k] = map[k] >= 0 ? from[map[k]] : newborn ? *newborn++ : 0;
}
