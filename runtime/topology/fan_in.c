/* fan_in.c - which rows are ablated, and k slots for each of the others. */
#include "runtime/topology/fan_in.h"

#include <math.h>
#include <string.h>

#include "runtime/topology/keep.h"
#include "runtime/topology/select.h"

/* An update while it is computed. */
struct work {
    const struct fan_in_update *u;
    bool *keep;
    int *worth;  /* of each row: slots worth having */
    int *sorted; /* counts of rows by their worth, then: kept slots of each row */
    bool *gone;  /* of each row: it is ablated */
    int rows_left, k;
    float *score; /* of a row's candidates, or of all slots */
    int64_t *position;
};

/* ---- rows that are ablated ---- */

static int slot_at(const struct pattern *p, int64_t position) {
    const int row = (int)(position / p->cols), col = (int)(position % p->cols);
    const int from = ot_pattern_first_slot(p, row, col);
    return from < p->row[row + 1] && p->col[from] == col ? from : -1;
}

static void count_worth(const struct work *w) {
    const struct pattern *p = w->u->old;
    const struct best_list *list = &w->u->whole->list[0];
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) w->worth[r] += w->keep[k];
    for (int i = 0; i < list->n; i++) {
        const int slot = slot_at(p, list->position[i]);
        w->worth[list->position[i] / p->cols] += slot < 0 || !w->keep[slot];
    }
}

/* The number in place `at` of the rows' worth, from the largest down. */
static int worth_at(const struct work *w, int at) {
    const int rows = w->u->old->rows, cols = w->u->old->cols;
    memset(w->sorted, 0, ((size_t)cols + 1) * sizeof *w->sorted);
    for (int r = 0; r < rows; r++) w->sorted[w->worth[r] < cols ? w->worth[r] : cols]++;
    int worth = cols;
    for (int seen = w->sorted[worth]; seen <= at && worth > 0;) seen += w->sorted[--worth];
    return worth;
}

/* A row without slots stays so: what it is worth does not count. */
static bool stays_empty(const struct fan_in_update *u, int row) {
    return u->ablation > 0 && !u->revive && u->old->row[row] == u->old->row[row + 1];
}

/* The most slots that every row could have: those that it has, and what the lists hold for it. */
static int room_of_rows(const struct fan_in_update *u) {
    int room = u->old->cols;
    for (int r = 0; r < u->old->rows; r++) {
        const int most = u->old->row[r + 1] - u->old->row[r] + u->rows->row_n[r];
        if (!stays_empty(u, r) && most < room) room = most;
    }
    return room > 0 ? room : 1;
}

/* Enough rows stay to have room for the budget, whatever they are worth. */
static void ablate(struct work *w) {
    const struct fan_in_update *u = w->u;
    const int rows = u->old->rows, mean = (int)(u->budget / rows);
    const int64_t least = u->budget / room_of_rows(u);
    int threshold = u->ablation >= 1 ? (int)u->ablation : (int)(u->ablation * mean);
    if (u->ablation > 0 && threshold < 1) threshold = 1;
    for (int r = 0; r < rows; r++)
        if (stays_empty(u, r)) w->worth[r] = 0;
    if (least < rows && worth_at(w, (int)least) < threshold) threshold = worth_at(w, (int)least);
    for (int r = 0; r < rows; r++) {
        w->gone[r] = w->worth[r] < threshold || stays_empty(u, r);
        w->rows_left += !w->gone[r];
    }
}

/* ---- slots that stay ---- */

/* By their scores, of the rows that are left; then at most k of each row. */
static void keep_slots(struct work *w) {
    const struct fan_in_update *u = w->u;
    const struct pattern *p = u->old;
    int there = 0;
    for (int r = 0; r < p->rows; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++) {
            w->score[k] = w->gone[r] ? -1 : u->score[k];
            there += !w->gone[r];
        }
    ot_keep_best(w->score, p->nnz, u->stay < there ? u->stay : there, w->keep);
}

static void cut_rows(struct work *w) {
    const struct pattern *p = w->u->old;
    for (int r = 0; r < p->rows; r++) {
        const int from = p->row[r], n = p->row[r + 1] - from;
        int kept = 0;
        for (int k = from; k < from + n; k++) kept += w->keep[k];
        if (kept > w->k) {
            for (int k = from; k < from + n; k++) w->score[k] = w->keep[k] ? w->u->score[k] : -1;
            ot_keep_best(w->score + from, n, w->k, w->keep + from);
            kept = w->k;
        }
        w->sorted[r] = kept;
    }
}

/* No row can have more slots than it keeps and candidates that the lists hold for it. */
static void limit(struct work *w) {
    const struct pattern *p = w->u->old;
    for (int r = 0; r < p->rows; r++) {
        const int most = p->row[r + 1] - p->row[r] + w->u->rows->row_n[r];
        if (!w->gone[r] && most < w->k) w->k = most;
    }
}

/* ---- slots that grow ---- */

/* Slots of the row that go, and the best positions outside its mask, by their columns. */
static int list_candidates(const struct work *w, int row) {
    const struct fan_in_update *u = w->u;
    const struct best *b = u->rows;
    const int64_t first = (int64_t)row * u->old->cols;
    const int64_t from = (int64_t)row * b->count;
    int n = 0, i = 0;
    for (int k = u->old->row[row]; k < u->old->row[row + 1] || i < b->row_n[row];) {
        const bool slot =
            k < u->old->row[row + 1] &&
            (i >= b->row_n[row] || first + u->old->col[k] < b->row_position[from + i]);
        if (slot && w->keep[k]) {
            k++;
            continue;
        }
        w->position[n] = slot ? first + u->old->col[k] : b->row_position[from + i];
        w->score[n++] = fabsf(!slot ? b->row_gradient[from + i] : u->gradient ? u->gradient[k] : 0);
        k += slot;
        i += !slot;
    }
    return n;
}

static int grow_rows(const struct work *w, int64_t *grown) {
    int n_grown = 0;
    for (int r = 0; r < w->u->old->rows; r++) {
        if (w->gone[r]) continue;
        const int n = list_candidates(w, r), wanted = w->k - w->sorted[r];
        struct cut cut = ot_select_best(w->score, n, wanted < n ? wanted : n);
        for (int i = 0; i < n; i++)
            if (ot_cut_takes(&cut, w->score[i])) grown[n_grown++] = w->position[i];
    }
    return n_grown;
}

/* ---- all of it ---- */

static ot_status change(struct work *w, int64_t *grown, int *n_grown, ot_error *err) {
    const struct fan_in_update *u = w->u;
    const struct pattern *p = u->old;
    ot_keep_best(u->score, p->nnz, u->stay, w->keep);
    count_worth(w);
    ablate(w);
    w->k = w->rows_left ? (int)(u->budget / w->rows_left) : 0;
    if (w->k > p->cols) w->k = p->cols;
    limit(w);
    if (w->k < 1)
        return ot_fail(err, OT_ERROR_ARGUMENT,
                       "%lld slots are less than one for each of %d rows: a constant fan-in needs "
                       "more",
                       (long long)u->budget, p->rows);
    keep_slots(w);
    cut_rows(w);
    *n_grown = grow_rows(w, grown);
    return OT_OK;
}

ot_status ot_fan_in_change(const struct fan_in_update *u, bool *keep, int64_t *grown, int *n_grown,
                           ot_error *err) {
    const ot_allocator *al = &u->old->allocator;
    const size_t rows = (size_t)u->old->rows, cols = (size_t)u->old->cols;
    const size_t slots = (size_t)u->old->nnz, most = slots > cols ? slots : cols;
    struct work w = {.u = u, .keep = keep};
    w.worth = ot_block_alloc(al, rows, sizeof *w.worth);
    w.sorted = ot_block_alloc(al, (rows > cols ? rows : cols) + 1, sizeof *w.sorted);
    w.gone = ot_block_alloc(al, rows, sizeof *w.gone);
    w.score = ot_block_alloc_dirty(al, most, sizeof *w.score);
    w.position = ot_block_alloc_dirty(al, cols, sizeof *w.position);
    const ot_status status =
        w.worth && w.sorted && w.gone && w.score && w.position
            ? change(&w, grown, n_grown, err)
            : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the rows of a mask");
    ot_block_free(al, w.worth);
    ot_block_free(al, w.sorted);
    ot_block_free(al, w.gone);
    ot_block_free(al, w.score);
    ot_block_free(al, w.position);
    return status;
}
