/* pattern.h - where a sparse weight may differ from zero: CSR, rows = output features.
 *
 * The matrix is always [rows = output features][cols = inputs of one output feature]: for a Conv
 * weight [M, C/g, kh, kw] rows = M and cols = C/g*kh*kw; for Gemm transB=1 [N, K] rows = N; for
 * Gemm transB=0 and MatMul [K, N] the file holds the transposed matrix and `transposed` is set.
 * Values (of the weight, its gradient, its moments) stand in CSR order.
 *
 * Immutable and reference-counted. An explicit zero keeps its slot: structure never comes from
 * value != 0 after load.
 */
#ifndef OT_BASE_PATTERN_H
#define OT_BASE_PATTERN_H

#include <stdbool.h>

#include "runtime/base/arena.h"

struct pattern {
    int references;
    int rows, cols;
    int nnz;
    int live_rows, live_cols; /* rows and columns that have a slot */
    bool transposed;          /* the file's row-major order is [cols][rows] */
    int *row;                 /* rows + 1: first slot of each row */
    int *col;                 /* nnz, ascending within a row */
    ot_allocator allocator;
};

/* From the positions of the slots in the file's row-major order, ascending and distinct (checked).
 * Takes a copy. file_rows x file_cols is the file's shape as a matrix; with `transposed` its
 * columns are the output features. slot (NULL allowed, n entries) gets the slot of each position.
 */
ot_status ot_pattern_new(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                         bool transposed, const int64_t *position, int64_t n, int *slot,
                         struct pattern **pattern, ot_error *err);

/* For whoever fills the rest: a pattern without slots yet, row zeroed, col with any contents. */
ot_status ot_pattern_alloc(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                           bool transposed, int64_t n, struct pattern **pattern, ot_error *err);
/* Sets live_rows and live_cols of a pattern that has been filled. */
ot_status ot_pattern_count_live(struct pattern *p, ot_error *err);

struct pattern *ot_pattern_ref(const struct pattern *p);
void ot_pattern_unref(const struct pattern *p); /* NULL is fine */

/* Position of a slot in the file's row-major order. `row` is the row of the slot. */
static inline int64_t ot_pattern_position(const struct pattern *p, int row, int slot) {
    return p->transposed ? (int64_t)p->col[slot] * p->rows + row
                         : (int64_t)row * p->cols + p->col[slot];
}

/* The first slot of a row whose column is not below col; that behind the row if there is none. */
int ot_pattern_first_slot(const struct pattern *p, int row, int col);

/* dense[position] = value, zero elsewhere; and back. dense: rows * cols in the file's order. */
void ot_pattern_scatter(const struct pattern *p, const float *value, float *dense);
void ot_pattern_gather(const struct pattern *p, const float *dense, float *value);

/* FNV-1a over the words of shape, orientation and CSR arrays: equal masks, equal hashes. */
uint64_t ot_pattern_hash(const struct pattern *p);
bool ot_pattern_equal(const struct pattern *a, const struct pattern *b);
size_t ot_pattern_bytes(const struct pattern *p);

#endif
