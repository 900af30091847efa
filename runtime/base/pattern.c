/* pattern.c - building, reading and comparing patterns. */
#include "runtime/base/pattern.h"

#include <limits.h>
#include <string.h>

static ot_status check_positions(const int64_t *position, int64_t n, int64_t most, ot_error *err) {
    for (int64_t i = 0; i < n; i++) {
        if (position[i] < 0 || position[i] >= most)
            return ot_fail(err, OT_ERROR_INVALID,
                           "sparse index %lld is out of range, expected 0 to less than %lld",
                           (long long)position[i], (long long)most);
        if (i && position[i] <= position[i - 1])
            return ot_fail(err, OT_ERROR_INVALID, "sparse index %lld does not ascend",
                           (long long)position[i]);
    }
    return OT_OK;
}

/* Slots in the order of the file: rows are contiguous, or every column is a row (counting sort). */
static void fill_rows(struct pattern *p, int64_t file_cols, const int64_t *position, int64_t n,
                      int *slot) {
    for (int64_t i = 0; i < n; i++) {
        int64_t r = p->transposed ? position[i] % file_cols : position[i] / file_cols;
        p->row[r + 1]++;
    }
    for (int r = 0; r < p->rows; r++) p->row[r + 1] += p->row[r];
    for (int64_t i = 0; i < n; i++) {
        int64_t a = position[i] / file_cols, b = position[i] % file_cols;
        int r = (int)(p->transposed ? b : a), c = (int)(p->transposed ? a : b);
        int s = p->row[r]++; /* the start of row r moves to its end ... */
        p->col[s] = c;
        if (slot) slot[i] = s;
    }
    for (int r = p->rows; r > 0; r--) p->row[r] = p->row[r - 1]; /* ... and back */
    p->row[0] = 0;
}

ot_status ot_pattern_count_live(struct pattern *p, ot_error *err) {
    bool *seen = ot_block_alloc(&p->allocator, (size_t)p->cols, sizeof *seen);
    if (!seen) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a sparse pattern");
    for (int r = 0; r < p->rows; r++) p->live_rows += p->row[r + 1] > p->row[r];
    for (int k = 0; k < p->nnz; k++) {
        p->live_cols += !seen[p->col[k]];
        seen[p->col[k]] = true;
    }
    ot_block_free(&p->allocator, seen);
    return OT_OK;
}

ot_status ot_pattern_alloc(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                           bool transposed, int64_t n, struct pattern **pattern, ot_error *err) {
    int64_t most;
    if (file_rows < 0 || file_cols < 0 || file_rows >= INT_MAX || file_cols >= INT_MAX ||
        n > INT_MAX || __builtin_mul_overflow(file_rows, file_cols, &most))
        return ot_fail(err, OT_ERROR_LIMIT,
                       "the sparse matrix %lld x %lld with %lld nonzeros is too large",
                       (long long)file_rows, (long long)file_cols, (long long)n);
    ot_allocator al = ot_allocator_or_default(allocator);
    struct pattern *p = ot_block_alloc(&al, 1, sizeof *p);
    if (!p) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a sparse pattern");
    p->allocator = al;
    p->references = 1;
    p->transposed = transposed;
    p->rows = (int)(transposed ? file_cols : file_rows);
    p->cols = (int)(transposed ? file_rows : file_cols);
    p->nnz = (int)n;
    p->row = ot_block_alloc(&al, (size_t)p->rows + 1, sizeof *p->row);
    p->col = ot_block_alloc_dirty(&al, (size_t)n, sizeof *p->col);
    if (!p->row || !p->col) {
        ot_pattern_unref(p);
        return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a sparse pattern");
    }
    *pattern = p;
    return OT_OK;
}

ot_status ot_pattern_new(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                         bool transposed, const int64_t *position, int64_t n, int *slot,
                         struct pattern **pattern, ot_error *err) {
    struct pattern *p;
    OT_TRY(ot_pattern_alloc(allocator, file_rows, file_cols, transposed, n, &p, err));
    ot_status status = check_positions(position, n, file_rows * file_cols, err);
    if (!status && n) fill_rows(p, file_cols, position, n, slot);
    if (!status) status = ot_pattern_count_live(p, err);
    if (status) {
        ot_pattern_unref(p);
        return status;
    }
    *pattern = p;
    return OT_OK;
}

struct pattern *ot_pattern_ref(const struct pattern *p) {
    struct pattern *q = (struct pattern *)p;
    if (q) q->references++;
    return q;
}

void ot_pattern_unref(const struct pattern *p) {
    struct pattern *q = (struct pattern *)p;
    if (!q || --q->references) return;
    ot_allocator al = q->allocator;
    ot_block_free(&al, q->row);
    ot_block_free(&al, q->col);
    ot_block_free(&al, q);
}

int ot_pattern_first_slot(const struct pattern *p, int row, int col) {
    int from = p->row[row], to = p->row[row + 1];
    while (from < to) {
        const int middle = from + (to - from) / 2;
        if (p->col[middle] < col)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void ot_pattern_scatter(const struct pattern *p, const float *value, float *dense) {
    memset(dense, 0, (size_t)p->rows * (size_t)p->cols * sizeof *dense);
    for (int r = 0; r < p->rows; r++)
        for (int s = p->row[r]; s < p->row[r + 1]; s++)
            dense[ot_pattern_position(p, r, s)] = value[s];
}

void ot_pattern_gather(const struct pattern *p, const float *dense, float *value) {
    for (int r = 0; r < p->rows; r++)
        for (int s = p->row[r]; s < p->row[r + 1]; s++)
            value[s] = dense[ot_pattern_position(p, r, s)];
}

static uint64_t fnv(uint64_t h, const int *word, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (uint32_t)word[i]) * 0x100000001b3u;
    return h;
}

uint64_t ot_pattern_hash(const struct pattern *p) {
    const int head[3] = {p->rows, p->cols, p->transposed};
    uint64_t h = fnv(0xcbf29ce484222325u, head, 3);
    h = fnv(h, p->row, (size_t)p->rows + 1);
    return fnv(h, p->col, (size_t)p->nnz);
}

bool ot_pattern_equal(const struct pattern *a, const struct pattern *b) {
    if (a == b) return true;
    return a && b && a->rows == b->rows && a->cols == b->cols && a->nnz == b->nnz &&
           a->transposed == b->transposed &&
           !memcmp(a->row, b->row, ((size_t)a->rows + 1) * sizeof *a->row) &&
           !memcmp(a->col, b->col, (size_t)a->nnz * sizeof *a->col);
}

size_t ot_pattern_bytes(const struct pattern *p) {
    return p ? sizeof *p + ((size_t)p->rows + 1 + (size_t)p->nnz) * sizeof(int) : 0;
}
