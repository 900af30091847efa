/* best.c - the best of many candidates: bounded lists, and how they are selected from. */
#include "runtime/topology/best.h"

#include <string.h>

/* A list has room for FACTOR times the candidates that are asked for. A key is read in digits: the
 * gradient's come first, then those of the position. Those of a list of less than FEW candidates
 * are narrow: counts of all values of a digit would take longer than the candidates. */
enum {
    FACTOR = 4,
    FEW = 2048,
    NARROW = 8,
    WIDE = 11,
    VALUES = 1 << WIDE,
    GRADIENT_BITS = 31,
    POSITION_BITS = 63,
    STEP = 16,
    PIECE = 1024,
    SLOT = -1
};

static const uint32_t MAGNITUDE = 0x7fffffffu;

/* ---- memory ---- */

/* With a step behind a list that is full. */
static size_t room_of(int capacity) { return (size_t)FACTOR * (size_t)capacity + STEP; }

size_t ot_best_bytes(int rows, int capacity, int workers) {
    const size_t entry = sizeof(float) + sizeof(int64_t);
    return (size_t)workers * (sizeof(struct best_list) + room_of(capacity) * entry) +
           (size_t)rows * (sizeof(int) + (size_t)capacity * entry);
}

static ot_status make_lists(struct best *b, ot_error *err) {
    const ot_allocator *al = &b->allocator;
    const size_t room = room_of(b->capacity), kept = (size_t)b->rows * (size_t)b->capacity;
    b->list = ot_block_alloc(al, (size_t)b->workers, sizeof *b->list);
    bool made = b->list != NULL;
    for (int i = 0; made && i < b->workers; i++) {
        b->list[i].gradient = ot_block_alloc_dirty(al, room, sizeof(float));
        b->list[i].position = ot_block_alloc_dirty(al, room, sizeof(int64_t));
        made = b->list[i].gradient && b->list[i].position;
    }
    if (made && b->rows) {
        b->row_n = ot_block_alloc(al, (size_t)b->rows, sizeof *b->row_n);
        b->row_gradient = ot_block_alloc_dirty(al, kept, sizeof *b->row_gradient);
        b->row_position = ot_block_alloc_dirty(al, kept, sizeof *b->row_position);
        made = b->row_n && b->row_gradient && b->row_position;
    }
    if (made) return OT_OK;
    ot_best_free(b);
    return ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for a list of %d candidates",
                   b->capacity);
}

ot_status ot_best_new_rows(const ot_allocator *allocator, int rows, int capacity, int workers,
                           struct best *b, ot_error *err) {
    *b = (struct best){.allocator = ot_allocator_or_default(allocator),
                       .capacity = capacity,
                       .workers = workers,
                       .rows = rows};
    if (capacity < 0 || capacity > INT32_MAX / FACTOR)
        return ot_fail(err, OT_ERROR_LIMIT, "a list of %d candidates, at most %d are possible",
                       capacity, INT32_MAX / FACTOR);
    return make_lists(b, err);
}

ot_status ot_best_new(const ot_allocator *allocator, int capacity, int workers, struct best *b,
                      ot_error *err) {
    return ot_best_new_rows(allocator, 0, capacity, workers, b, err);
}

void ot_best_free(struct best *b) {
    const ot_allocator al = b->allocator;
    for (int i = 0; b->list && i < b->workers; i++) {
        ot_block_free(&al, b->list[i].gradient);
        ot_block_free(&al, b->list[i].position);
    }
    ot_block_free(&al, b->list);
    ot_block_free(&al, b->row_n);
    ot_block_free(&al, b->row_gradient);
    ot_block_free(&al, b->row_position);
    b->list = NULL;
    b->row_n = NULL;
    b->row_gradient = NULL;
    b->row_position = NULL;
}

/* ---- selection ---- */

static uint32_t magnitude(float gradient) {
    uint32_t bits;
    memcpy(&bits, &gradient, sizeof bits);
    return bits & MAGNITUDE;
}

/* Of the candidates whose higher digits are those of *least, finds the digit of that one behind
 * which `*rest` are left; the larger is better. *rest becomes their number with this digit. */
static void find_digit(const struct best_list *l, int digit, int shift, uint32_t *least,
                       int *rest) {
    int number[VALUES];
    const unsigned values = 1u << digit;
    unsigned value = values - 1;
    memset(number, 0, values * sizeof *number);
    for (int i = 0; i < l->n; i++) {
        const uint32_t bits = magnitude(l->gradient[i]) >> shift;
        if (bits >> digit == *least) number[bits & (values - 1)]++;
    }
    while (number[value] < *rest) *rest -= number[value--];
    *least = *least << digit | value;
}

/* The same among the positions of those that tie; the smaller is better. */
static void find_position_digit(const struct best_list *l, int digit, uint32_t least, int shift,
                                int64_t *farthest, int *rest) {
    int number[VALUES];
    const unsigned values = 1u << digit;
    unsigned value = 0;
    memset(number, 0, values * sizeof *number);
    for (int i = 0; i < l->n; i++)
        if (magnitude(l->gradient[i]) == least && l->position[i] >> shift >> digit == *farthest)
            number[l->position[i] >> shift & (values - 1)]++;
    while (number[value] < *rest) *rest -= number[value++];
    *farthest = *farthest << digit | value;
}

/* The shift of the highest digit of so many bits. */
static int highest(int bits, int digit) { return (bits - 1) / digit * digit; }

static int count_ties(const struct best_list *l, uint32_t least) {
    int n = 0;
    for (int i = 0; i < l->n; i++) n += magnitude(l->gradient[i]) == least;
    return n;
}

/* Keeps the `count` best of more candidates, at least one, in their order; notes the worst of them.
 */
static void select_best(struct best_list *l, int count) {
    const int digit = l->n < FEW ? NARROW : WIDE;
    int rest = count, n = 0;
    int64_t farthest = INT64_MAX; /* all that tie are in */
    l->least = 0;
    for (int shift = highest(GRADIENT_BITS, digit); shift >= 0; shift -= digit)
        find_digit(l, digit, shift, &l->least, &rest);
    if (count_ties(l, l->least) > rest) {
        farthest = 0;
        for (int shift = highest(POSITION_BITS, digit); shift >= 0; shift -= digit)
            find_position_digit(l, digit, l->least, shift, &farthest, &rest);
    }
    for (int i = 0; i < l->n; i++) {
        const float gradient = l->gradient[i];
        const int64_t position = l->position[i];
        const uint32_t bits = magnitude(gradient);
        l->gradient[n] = gradient;
        l->position[n] = position;
        n += (bits > l->least) | ((bits == l->least) & (position <= farthest));
    }
    l->n = n;
}

/* ---- taking candidates ---- */

/* Some magnitudes side by side. */
enum { WIDTH = 4 };
typedef int32_t keys __attribute__((vector_size(WIDTH * sizeof(int32_t)), aligned(4), may_alias));

/* Magnitudes as integers, in the same order; SLOT stands for those of slots, and behind the last.
 */
static void make_keys(const struct pattern *p, int row, int col, const float *gradient, int n,
                      int32_t *key) {
    const int end = p->row[row + 1];
    int i = 0;
    for (; n - i >= WIDTH; i += WIDTH)
        *(keys *)(key + i) = *(const keys *)(gradient + i) & (int32_t)MAGNITUDE;
    for (; i < n; i++) key[i] = (int32_t)magnitude(gradient[i]);
    for (int k = 0; k < STEP; k++) key[n + k] = SLOT;
    for (int k = ot_pattern_first_slot(p, row, col); k < end && p->col[k] < col + n; k++)
        key[p->col[k] - col] = SLOT;
}

/* Is one of STEP keys not below `least`? */
static bool some_large(const int32_t *key, int32_t least) {
    keys large = {0};
    for (int k = 0; k < STEP; k += WIDTH) large |= *(const keys *)(key + k) >= least;
    int64_t any[2];
    memcpy(any, &large, sizeof any);
    return any[0] | any[1];
}

/* Takes what is large enough. Which one that is, nobody can predict: so all are written, and those
 * that are not taken are written over. */
static void take_large(struct best_list *l, const int32_t *key, const float *gradient, int n,
                       int64_t position) {
    const int32_t least = (int32_t)l->least;
    int at = l->n;
    for (int i = 0; i < n; i++) {
        l->gradient[at] = gradient[i];
        l->position[at] = position + i;
        at += key[i] >= least;
    }
    l->n = at;
}

/* At most PIECE gradients of a row. */
static void take(struct best_list *l, const struct pattern *p, int count, int row, int col,
                 const float *gradient, int n) {
    const int64_t position = (int64_t)row * p->cols + col;
    int32_t key[PIECE + STEP];
    make_keys(p, row, col, gradient, n, key);
    for (int i = 0; i < n; i += STEP) {
        if (!some_large(key + i, (int32_t)l->least)) continue;
        take_large(l, key + i, gradient + i, n - i < STEP ? n - i : STEP, position + i);
        if (l->n >= l->room) select_best(l, count);
    }
}

static void reset(struct best_list *l, int count) {
    l->n = 0;
    l->room = FACTOR * count;
    l->least = 0;
}

/* ---- order ---- */

/* Sorts by position, digit by digit, with room for as many candidates again behind them. */
static void order(struct best_list *l, int64_t positions) {
    struct best_list from = *l, to = *l;
    to.gradient += l->n;
    to.position += l->n;
    for (int shift = 0; l->n > 1 && shift < 63 && positions >> shift; shift += WIDE) {
        int at[VALUES] = {0};
        for (int i = 0; i < l->n; i++) at[from.position[i] >> shift & (VALUES - 1)]++;
        for (int v = 0, sum = 0; v < VALUES; v++) {
            const int number = at[v];
            at[v] = sum;
            sum += number;
        }
        for (int i = 0; i < l->n; i++) {
            const int k = at[from.position[i] >> shift & (VALUES - 1)]++;
            to.gradient[k] = from.gradient[i];
            to.position[k] = from.position[i];
        }
        const struct best_list other = from;
        from = to;
        to = other;
    }
    if (from.gradient == l->gradient) return;
    memcpy(l->gradient, from.gradient, (size_t)l->n * sizeof *l->gradient);
    memcpy(l->position, from.position, (size_t)l->n * sizeof *l->position);
}

static int64_t positions_of(const struct pattern *p) { return (int64_t)p->rows * p->cols; }

/* ---- the calls ---- */

void ot_best_start(struct best *b, const struct pattern *pattern, int count) {
    b->pattern = pattern;
    b->count = count;
    for (int i = 0; i < b->workers; i++) reset(&b->list[i], count);
    if (b->rows) memset(b->row_n, 0, (size_t)b->rows * sizeof *b->row_n);
}

/* A row is complete: what is best of it moves to where the row's candidates stand. They came in
 * order, and a selection keeps that. */
static void keep_row(struct best *b, struct best_list *l, int row) {
    const size_t at = (size_t)row * (size_t)b->count;
    if (l->n > b->count) select_best(l, b->count);
    memcpy(b->row_gradient + at, l->gradient, (size_t)l->n * sizeof *l->gradient);
    memcpy(b->row_position + at, l->position, (size_t)l->n * sizeof *l->position);
    b->row_n[row] = l->n;
}

void ot_best_take(struct best *b, int worker, int row, int col, const float *gradient, int n) {
    struct best_list *l = &b->list[worker];
    if (!b->count) return;
    if (b->rows && !col) reset(l, b->count);
    for (int i = 0; i < n; i += PIECE)
        take(l, b->pattern, b->count, row, col + i, gradient + i, n - i < PIECE ? n - i : PIECE);
    if (b->rows && col + n == b->pattern->cols) keep_row(b, l, row);
}

void ot_best_add(struct best *b, int64_t position, float gradient) {
    struct best_list *l = &b->list[0];
    if (!b->count || magnitude(gradient) < l->least) return;
    l->gradient[l->n] = gradient;
    l->position[l->n++] = position;
    if (l->n >= l->room) select_best(l, b->count);
}

int ot_best_finish(struct best *b) {
    struct best_list *all = &b->list[0];
    if (b->rows || !b->count) return 0;
    for (int i = 0; i < b->workers; i++) {
        struct best_list *l = &b->list[i];
        if (l->n > b->count) select_best(l, b->count);
        if (!i) continue;
        memcpy(all->gradient + all->n, l->gradient, (size_t)l->n * sizeof *l->gradient);
        memcpy(all->position + all->n, l->position, (size_t)l->n * sizeof *l->position);
        all->n += l->n;
        if (all->n > b->count) select_best(all, b->count);
    }
    order(all, positions_of(b->pattern));
    return all->n;
}
