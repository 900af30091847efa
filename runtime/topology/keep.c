/* keep.c - scores of slots, and the marks of those that stay. */
#include "runtime/topology/keep.h"

#include <math.h>

#include "runtime/base/rng.h"
#include "runtime/topology/select.h"

void ot_score_magnitude(const float *value, int n, float *score) {
    for (int k = 0; k < n; k++) score[k] = fabsf(value[k]);
}

void ot_score_random(uint64_t seed, uint64_t stream, int n, float *score) {
    for (int k = 0; k < n; k++) score[k] = ot_random_float(seed, stream, (uint64_t)k);
}

void ot_keep_best(const float *score, int n, int most, bool *keep) {
    struct cut cut = ot_select_best(score, n, most);
    for (int k = 0; k < n; k++) keep[k] = ot_cut_takes(&cut, score[k]);
}

/* Adds to keep what stays of one sign: slots of the other one, whose scores are negative, or 0 for
 * zeros beside negative ones, are never among so few. */
static int keep_sign(const float *value, int n, bool negative, double share, float *score,
                     bool *keep) {
    int count = 0;
    for (int k = 0; k < n; k++) count += (value[k] < 0) == negative;
    for (int k = 0; k < n; k++) score[k] = negative ? -value[k] : value[k];
    const int most = count - (int)(share * count);
    struct cut cut = ot_select_best(score, n, most);
    for (int k = 0; k < n; k++) keep[k] |= ot_cut_takes(&cut, score[k]);
    return most;
}

int ot_keep_by_sign(const float *value, int n, double share, float *score, bool *keep) {
    for (int k = 0; k < n; k++) keep[k] = false;
    const int positive = keep_sign(value, n, false, share, score, keep);
    return positive + keep_sign(value, n, true, share, score, keep);
}

ot_status ot_kept_alloc(const struct pattern *p, struct kept *kept, ot_error *err) {
    kept->n = 0;
    kept->row = ot_block_alloc_dirty(&p->allocator, (size_t)p->rows + 1, sizeof *kept->row);
    kept->slot = ot_block_alloc_dirty(&p->allocator, (size_t)p->nnz, sizeof *kept->slot);
    if (kept->row && kept->slot) return OT_OK;
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the slots that stay");
}

void ot_kept_free(const struct pattern *p, struct kept *kept) {
    ot_block_free(&p->allocator, kept->row);
    ot_block_free(&p->allocator, kept->slot);
    *kept = (struct kept){0};
}

void ot_kept_list(const struct pattern *p, const bool *keep, struct kept *kept) {
    int n = 0;
    for (int row = 0; row < p->rows; row++) {
        kept->row[row] = n;
        for (int k = p->row[row]; k < p->row[row + 1]; k++)
            if (keep[k]) kept->slot[n++] = k;
    }
    kept->row[p->rows] = kept->n = n;
}
