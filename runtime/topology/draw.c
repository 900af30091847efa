/* draw.c - random patterns: how many slots a row has, then where; and their first values. */
#include "runtime/topology/draw.h"

#include <limits.h>
#include <math.h>

#include "runtime/base/rng.h"
#include "runtime/topology/binomial.h"

/* What a number is for: no two kinds of draws share one. */
enum purpose { COUNTS = 1, POSITIONS, VALUES };

static uint64_t stream_of(const struct draw *d, enum purpose purpose) {
    return (uint64_t)purpose << 56 | (uint64_t)d->update << 24 | d->layer;
}

/* ---- positions ---- */

/* The columns of one row, while they are drawn: a table twice as long as there are columns in which
 * entries are in ascending order, each at or behind the place that its size suggests. Random
 * columns stand close to that place, so that finding and inserting take few steps, and reading the
 * table from the left gives them sorted. */
struct table {
    int *entry; /* column, or -1 */
    int64_t size;
    int64_t cols;
};

static int64_t place_of(const struct table *t, int col) {
    return (int64_t)col * (t->size / 3 * 2) / t->cols;
}

/* Inserts the column; false if it was there. */
static bool insert(struct table *t, int col) {
    int64_t i = place_of(t, col);
    while (t->entry[i] >= 0 && t->entry[i] < col) i++;
    if (t->entry[i] == col) return false;
    for (int carry = col; carry >= 0; i++) {
        const int was = t->entry[i];
        t->entry[i] = carry;
        carry = was;
    }
    return true;
}

/* The `bound`-th draw of a row: a number below bound. */
static int below(uint64_t seed, uint64_t stream, int row, uint32_t bound) {
    const uint64_t random = ot_random_u64(seed, stream, (uint64_t)row << 32 | bound);
    const uint64_t high = (random >> 32) * bound, low = (random & UINT32_MAX) * bound;
    return (int)((high + (low >> 32)) >> 32);
}

/* n of t->cols columns (Bentley and Floyd, CACM 1987), ascending, to col. */
static void choose(struct table *t, int n, uint64_t seed, uint64_t stream, int row, int *col) {
    t->size = 3 * (int64_t)n;
    for (int64_t i = 0; i < t->size; i++) t->entry[i] = -1;
    for (int64_t last = t->cols - n; last < t->cols; last++) {
        const int drawn = below(seed, stream, row, (uint32_t)last + 1);
        if (!insert(t, drawn)) insert(t, (int)last);
    }
    for (int64_t i = 0; i < t->size; i++)
        if (t->entry[i] >= 0) *col++ = t->entry[i];
}

/* The columns that the table's row does not have are those that were drawn. */
static void complement(int cols, const int *absent, int n_absent, int *col) {
    for (int c = 0, k = 0; c < cols; c++) {
        if (k < n_absent && absent[k] == c)
            k++;
        else
            *col++ = c;
    }
}

static void choose_row(struct pattern *p, int row, struct table *t, int *absent, uint64_t seed,
                       uint64_t stream) {
    const int n = p->row[row + 1] - p->row[row];
    int *col = p->col + p->row[row];
    if (n <= p->cols / 2) {
        choose(t, n, seed, stream, row, col);
        return;
    }
    choose(t, p->cols - n, seed, stream, row, absent);
    complement(p->cols, absent, p->cols - n, col);
}

/* Fills the rows of a pattern whose row[] says how many slots each has. */
static ot_status choose_all(struct pattern *p, const struct draw *d, ot_error *err) {
    int most = 0;
    for (int r = 0; r < p->rows; r++) {
        const int n = p->row[r + 1] - p->row[r], drawn = n <= p->cols / 2 ? n : p->cols - n;
        if (drawn > most) most = drawn;
    }
    int *room = ot_block_alloc_dirty(&p->allocator, 4 * (size_t)most, sizeof *room);
    if (!room) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a random pattern");
    struct table t = {.entry = room, .cols = p->cols};
    for (int r = 0; r < p->rows; r++)
        choose_row(p, r, &t, room + 3 * (size_t)most, d->seed, stream_of(d, POSITIONS));
    ot_block_free(&p->allocator, room);
    return ot_pattern_count_live(p, err);
}

/* ---- patterns ---- */

/* A pattern whose rows have count[r] slots, or fan_in each where count is NULL. */
static ot_status draw_rows(const ot_allocator *al, int64_t file_rows, int64_t file_cols,
                           bool transposed, const int *count, int64_t fan_in, const struct draw *d,
                           struct pattern **pattern, ot_error *err) {
    const int64_t rows = transposed ? file_cols : file_rows;
    int64_t total = 0;
    for (int64_t r = 0; r < rows; r++) total += count ? count[r] : fan_in;
    struct pattern *p = NULL;
    OT_TRY(ot_pattern_alloc(al, file_rows, file_cols, transposed, total, &p, err));
    for (int r = 0; r < p->rows; r++) p->row[r + 1] = p->row[r] + (count ? count[r] : (int)fan_in);
    const ot_status status = choose_all(p, d, err);
    if (status)
        ot_pattern_unref(p);
    else
        *pattern = p;
    return status;
}

ot_status ot_draw_free(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                       bool transposed, double density, const struct draw *draw,
                       struct pattern **pattern, ot_error *err) {
    const int64_t rows = transposed ? file_cols : file_rows;
    const int64_t cols = transposed ? file_rows : file_cols;
    if (!(density >= 0 && density <= 1))
        return ot_fail(err, OT_ERROR_ARGUMENT, "density is %g, not in [0, 1]", density);
    if (rows < 0 || cols < 0 || rows >= INT_MAX || cols >= INT_MAX)
        return ot_fail(err, OT_ERROR_LIMIT, "sparse matrix %lld x %lld is too large",
                       (long long)file_rows, (long long)file_cols);
    const ot_allocator al = ot_allocator_or_default(allocator);
    int *count = ot_block_alloc_dirty(&al, (size_t)rows, sizeof *count);
    if (!count) return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a random pattern");
    const struct binomial b = ot_binomial(cols, density);
    for (int64_t r = 0; r < rows; r++)
        count[r] = (int)ot_binomial_draw(
            &b, ot_random_u64(draw->seed, stream_of(draw, COUNTS), (uint64_t)r));
    const ot_status status =
        draw_rows(&al, file_rows, file_cols, transposed, count, 0, draw, pattern, err);
    ot_block_free(&al, count);
    return status;
}

ot_status ot_draw_fan_in(const ot_allocator *allocator, int64_t file_rows, int64_t file_cols,
                         bool transposed, int64_t fan_in, const struct draw *draw,
                         struct pattern **pattern, ot_error *err) {
    const int64_t cols = transposed ? file_rows : file_cols;
    if (fan_in < 0 || fan_in > cols)
        return ot_fail(err, OT_ERROR_ARGUMENT, "a fan-in of %lld of %lld inputs", (long long)fan_in,
                       (long long)cols);
    return draw_rows(allocator, file_rows, file_cols, transposed, NULL, fan_in, draw, pattern, err);
}

/* ---- values ---- */

/* Of one row: normal with this deviation, or uniform in +-bound. */
static float value_at(const struct start *s, double size, uint64_t seed, uint64_t stream,
                      int64_t position) {
    if (!s->dense_fan)
        return (float)(size * (double)ot_random_normal(seed, stream, (uint64_t)position));
    const double u = ot_random_float(seed, stream, (uint64_t)position);
    return (float)(size * (2 * u - 1));
}

/* Standard deviation, or the bound of the uniform distribution of that variance. */
static double size_of(const struct start *s, double fan_in, double fan_out) {
    const double fans = s->kind == OT_START_XAVIER ? fan_in + fan_out : fan_in;
    if (!(fans > 0)) return 0;
    return sqrt((s->dense_fan ? 6 : 2) / fans);
}

void ot_draw_values(const struct pattern *p, int64_t rows, int64_t cols, const struct start *start,
                    const struct draw *draw, float *value) {
    const uint64_t stream = stream_of(draw, VALUES);
    const double dense = size_of(start, (double)cols, start->outputs);
    if (!p) {
        for (int64_t i = 0; i < rows * cols; i++)
            value[i] = value_at(start, dense, draw->seed, stream, i);
        return;
    }
    const double fan_out = p->cols ? (double)p->nnz / p->cols : 0;
    for (int r = 0; r < p->rows; r++) {
        const double own = size_of(start, p->row[r + 1] - p->row[r], fan_out);
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            value[k] = value_at(start, start->dense_fan ? dense : own, draw->seed, stream,
                                ot_pattern_position(p, r, k));
    }
}
