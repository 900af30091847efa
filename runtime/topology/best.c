/* best.c - the best of many candidates: bounded lists, and how they are selected from. */
#include "runtime/topology/best.h"

#include <string.h>

/* A list has room for FACTOR times the candidates that are asked for. A key is read in digits of
 * DIGIT bits: the gradient's come first, then those of the position. */
enum { FACTOR = 4, DIGIT = 11, VALUES = 1 << DIGIT, GRADIENT_DIGITS = 3, DIGITS = 9, STEP = 16 };

static const uint32_t MAGNITUDE = 0x7fffffffu;

/* ---- memory ---- */

static size_t room_of(int capacity) { return (size_t)FACTOR * (size_t)capacity; }

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

/* Digit d of a candidate's key; the smaller key is better. */
static unsigned digit(const struct best_list *l, int i, int d) {
    if (d < GRADIENT_DIGITS)
        return (~magnitude(l->gradient[i]) & MAGNITUDE) >> (DIGIT * (GRADIENT_DIGITS - 1 - d)) &
               (VALUES - 1);
    return (unsigned)(l->position[i] >> (DIGIT * (DIGITS - 1 - d)) & (VALUES - 1));
}

static void swap(struct best_list *l, int i, int j) {
    const float gradient = l->gradient[i];
    const int64_t position = l->position[i];
    l->gradient[i] = l->gradient[j];
    l->position[i] = l->position[j];
    l->gradient[j] = gradient;
    l->position[j] = position;
}

/* Sorts [*from, *to) into three parts by digit d: smaller than `value`, equal, larger; the equal
 * part becomes [*from, *to). */
static void split(struct best_list *l, int d, unsigned value, int *from, int *to) {
    int below = *from, above = *to;
    for (int i = below; i < above;) {
        const unsigned v = digit(l, i, d);
        if (v < value)
            swap(l, i++, below++);
        else if (v > value)
            swap(l, i, --above);
        else
            i++;
    }
    *from = below;
    *to = above;
}

/* Moves the `count` best to the front, and forgets the others. */
static void select_best(struct best_list *l, int count) {
    int from = 0, to = l->n; /* candidates before `from` are in, those from `to` on are out */
    for (int d = 0; d < DIGITS && from < count && count < to; d++) {
        int number[VALUES] = {0}, below = from;
        unsigned value = 0;
        for (int i = from; i < to; i++) number[digit(l, i, d)]++;
        while (below + number[value] < count) below += number[value++];
        split(l, d, value, &from, &to);
    }
    if (l->n > count) l->n = count;
}

static void note_worst(struct best_list *l) {
    l->full = true;
    l->least = MAGNITUDE;
    l->farthest = 0;
    for (int i = 0; i < l->n; i++) {
        const uint32_t bits = magnitude(l->gradient[i]);
        if (bits > l->least || (bits == l->least && l->position[i] <= l->farthest)) continue;
        l->least = bits;
        l->farthest = l->position[i];
    }
}

static void compact(struct best_list *l, int count) {
    select_best(l, count);
    note_worst(l);
}

/* ---- taking candidates ---- */

/* The first gradient from i on whose magnitude is not below `least`; n: there is none. */
static int next_large(const float *gradient, int n, int i, uint32_t least) {
    for (; n - i >= STEP; i += STEP) {
        int32_t bits[STEP], any = 0;
        memcpy(bits, gradient + i, sizeof bits);
        for (int k = 0; k < STEP; k++) any |= (bits[k] & (int32_t)MAGNITUDE) >= (int32_t)least;
        if (any) break;
    }
    while (i < n && magnitude(gradient[i]) < least) i++;
    return i;
}

/* The first slot of a row whose column is not below col. */
static int first_slot(const struct pattern *p, int row, int col) {
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

static void take(struct best_list *l, const struct pattern *p, int count, int row, int col,
                 const float *gradient, int n) {
    const int64_t base = (int64_t)row * p->cols + col;
    const int end = p->row[row + 1];
    int slot = first_slot(p, row, col);
    for (int i = 0; i < n; i++) {
        if (l->full) i = next_large(gradient, n, i, l->least);
        while (slot < end && p->col[slot] < col + i) slot++;
        if (i == n || (slot < end && p->col[slot] == col + i)) continue;
        if (l->full && magnitude(gradient[i]) == l->least && base + i > l->farthest) continue;
        l->gradient[l->n] = gradient[i];
        l->position[l->n++] = base + i;
        if (l->n == l->room) compact(l, count);
    }
}

static void reset(struct best_list *l, int count) {
    l->n = 0;
    l->room = FACTOR * count;
    l->full = false;
}

/* ---- order ---- */

/* Sorts by position, digit by digit, with room for as many candidates again behind them. */
static void order(struct best_list *l, int64_t positions) {
    struct best_list from = *l, to = *l;
    to.gradient += l->n;
    to.position += l->n;
    for (int d = DIGITS - 1; d >= GRADIENT_DIGITS && l->n > 1; d--) {
        if (positions >> (DIGIT * (DIGITS - 1 - d)) == 0) break;
        int at[VALUES] = {0};
        for (int i = 0; i < l->n; i++) at[digit(&from, i, d)]++;
        for (int v = 0, sum = 0; v < VALUES; v++) {
            const int number = at[v];
            at[v] = sum;
            sum += number;
        }
        for (int i = 0; i < l->n; i++) {
            const int k = at[digit(&from, i, d)]++;
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

/* A row is complete: what is best of it moves where the row's candidates stand. */
static void keep_row(struct best *b, struct best_list *l, int row) {
    const size_t at = (size_t)row * (size_t)b->count;
    if (l->n > b->count) select_best(l, b->count);
    order(l, positions_of(b->pattern));
    memcpy(b->row_gradient + at, l->gradient, (size_t)l->n * sizeof *l->gradient);
    memcpy(b->row_position + at, l->position, (size_t)l->n * sizeof *l->position);
    b->row_n[row] = l->n;
}

void ot_best_take(struct best *b, int worker, int row, int col, const float *gradient, int n) {
    struct best_list *l = &b->list[worker];
    if (!b->count) return;
    if (b->rows && !col) reset(l, b->count);
    take(l, b->pattern, b->count, row, col, gradient, n);
    if (b->rows && col + n == b->pattern->cols) keep_row(b, l, row);
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
