/* constrain.c - slots that stay under a constraint. */
#include "runtime/topology/constrain.h"

#include <math.h>

#include "runtime/topology/keep.h"
#include "runtime/topology/select.h"

void ot_keep_fan_in(const struct pattern *p, const float *score, int most, bool *keep) {
    for (int r = 0; r < p->rows; r++) {
        const int first = p->row[r], n = p->row[r + 1] - first;
        ot_keep_best(score + first, n, most < n ? most : n, keep + first);
    }
}

/* ---- N of M ---- */

/* Of the slots of a group (-1: the column has none), in the order of columns: is the i-th one of
 * the n best? */
static bool is_among(const int *slot, int m, int i, int n, const float *score) {
    int better = 0;
    for (int j = 0; j < m; j++)
        better += slot[j] >= 0 &&
                  (score[slot[j]] > score[slot[i]] || (score[slot[j]] == score[slot[i]] && j < i));
    return better < n;
}

ot_status ot_keep_nm(const struct pattern *p, const float *score, int taps, int n, int m,
                     bool *keep, ot_error *err) {
    int *slot = ot_block_alloc_dirty(&p->allocator, (size_t)p->cols, sizeof *slot);
    if (!slot) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for groups of weights");
    /* Slots of a row, each group in one piece: channel c, tap t stands at (c/m) m taps + t m + c%m.
     */
    for (int r = 0; r < p->rows; r++) {
        for (int c = 0; c < p->cols; c++) slot[c] = -1;
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            const int channel = p->col[k] / taps, tap = p->col[k] % taps;
            slot[channel / m * m * taps + tap * m + channel % m] = k;
        }
        for (int g = 0; g < p->cols; g += m)
            for (int i = 0; i < m; i++)
                if (slot[g + i] >= 0) keep[slot[g + i]] = is_among(slot + g, m, i, n, score);
    }
    ot_block_free(&p->allocator, slot);
    return OT_OK;
}

/* ---- blocks ---- */

static int64_t block_of(const struct pattern *p, int row, int slot, int rows, int cols) {
    return (int64_t)(row / rows) * (p->cols / cols) + p->col[slot] / cols;
}

/* The square of a score, with its sign. */
static float signed_square(float score) { return score * fabsf(score); }

/* A block without slots is worth less than any other: nobody loses a place to it. */
static void keep_best_blocks(const struct pattern *p, const float *score, int rows, int cols,
                             int64_t most, float *norm, int64_t blocks, bool *keep) {
    for (int64_t b = 0; b < blocks; b++) norm[b] = -INFINITY;
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) norm[block_of(p, r, k, rows, cols)] = 0;
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            norm[block_of(p, r, k, rows, cols)] += signed_square(score[k]);
    struct cut cut = ot_select_best(norm, blocks, most);
    for (int64_t b = 0; b < blocks; b++) norm[b] = ot_cut_takes(&cut, norm[b]);
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            keep[k] = norm[block_of(p, r, k, rows, cols)] != 0;
}

ot_status ot_keep_blocks(const struct pattern *p, const float *score, int rows, int cols,
                         int64_t most, bool *keep, ot_error *err) {
    const int64_t blocks = (int64_t)(p->rows / rows) * (p->cols / cols);
    float *norm = ot_block_alloc_dirty(&p->allocator, (size_t)blocks, sizeof *norm);
    if (!norm) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for blocks of weights");
    keep_best_blocks(p, score, rows, cols, most, norm, blocks, keep);
    ot_block_free(&p->allocator, norm);
    return OT_OK;
}
