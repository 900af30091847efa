/* place.c - offline storage allocation: intervals of time with sizes, packed into few bytes.
 *
 * Two ways, and the better result is taken. Filling gaps: buffers in falling order of size, or of
 * lifetime, each in the smallest gap between those placed before that live at the same time; then
 * again and again with what stood highest before all others. It looks at all pairs, so only plans
 * of ordinary length can afford it. Ground and top: what lives
 * long is stacked in falling order of lifetime, which packs the nested lifetimes of a training
 * step without a gap; what is short is placed above it in the order of time, into gaps between the
 * few others alive at that moment.
 */
#include "runtime/compile/place.h"

#include <stdlib.h>

enum { MOST_PAIRWISE = 8192, SHORT = 8, PAIRS = 1 << 26, MOST_ROUNDS = 64 };

struct placing {
    struct buffer *buffer;
    struct buffer **order, **placed; /* placed: by offset */
    size_t *top;                     /* of what is placed, over steps: a tree of maxima */
    size_t *raised;                  /* lower bounds of whole subtrees, not yet handed down */
    size_t *best;                    /* offsets of the best result so far */
    int n, live, leaves;
    size_t block, least;
};

/* The longer of its lives. */
static int longest_life(const struct buffer *b) {
    const int one = b->rest - b->first, two = b->last - b->again;
    return one > two ? one : two;
}

static bool is_short(const struct buffer *b) {
    return b->again == b->first && longest_life(b) <= SHORT;
}

/* ---- orders: total ones, so that a plan is the same every time ---- */

static int by_size(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1;
}

static int by_span(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    if (longest_life(x) != longest_life(y)) return longest_life(x) < longest_life(y) ? 1 : -1;
    return by_size(a, b);
}

/* What is long first, by lifetime; then what is short, by time. */
static int ground_first(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    const bool long_x = !is_short(x), long_y = !is_short(y);
    if (long_x != long_y) return long_x ? -1 : 1;
    if (long_x) return by_span(a, b);
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return by_size(a, b);
}

/* ---- filling gaps ---- */

static bool overlap(const struct buffer *a, const struct buffer *b) {
    return (a->first <= b->rest && b->first <= a->rest) ||
           (a->first <= b->last && b->again <= a->rest) ||
           (a->again <= b->rest && b->first <= a->last) ||
           (a->again <= b->last && b->again <= a->last);
}

/* The smallest gap above `floor` between the `n` placed buffers that b meets. */
static size_t find_gap(const struct buffer *b, struct buffer **placed, int n, size_t floor) {
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = floor;
    for (int i = 0; i < n; i++) {
        const struct buffer *o = placed[i];
        if (!overlap(o, b)) continue;
        if (o->offset > end && o->offset - end >= b->bytes && o->offset - end < best_gap) {
            best = end;
            best_gap = o->offset - end;
        }
        if (o->offset + o->bytes > end) end = o->offset + o->bytes;
    }
    return best != SIZE_MAX ? best : end;
}

static void place_at(struct placing *p, struct buffer *b, size_t offset) {
    b->offset = offset;
    if (offset + b->bytes > p->block) p->block = offset + b->bytes;
}

static void keep_sorted(struct buffer *b, struct buffer **placed, int n) {
    for (; n > 0 && placed[n - 1]->offset > b->offset; n--) placed[n] = placed[n - 1];
    placed[n] = b;
}

static void fill_gaps(struct placing *p) {
    for (int i = 0; i < p->live; i++) {
        place_at(p, p->order[i], find_gap(p->order[i], p->placed, i, 0));
        keep_sorted(p->order[i], p->placed, i);
    }
}

/* ---- ground and top ---- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* The highest top over steps [from, to] of the subtree `node` over [low, high]. */
static size_t highest(const struct placing *p, int node, int low, int high, int from, int to) {
    if (to < low || high < from) return 0;
    if (from <= low && high <= to) return p->top[node];
    const int middle = (low + high) / 2;
    return larger(p->raised[node], larger(highest(p, 2 * node, low, middle, from, to),
                                          highest(p, 2 * node + 1, middle + 1, high, from, to)));
}

/* Tops over [from, to] become at least `top`. */
static void raise(struct placing *p, int node, int low, int high, int from, int to, size_t top) {
    if (to < low || high < from) return;
    p->top[node] = larger(p->top[node], top);
    if (from <= low && high <= to) {
        p->raised[node] = larger(p->raised[node], top);
        return;
    }
    const int middle = (low + high) / 2;
    raise(p, 2 * node, low, middle, from, to, top);
    raise(p, 2 * node + 1, middle + 1, high, from, to, top);
}

/* Drops those that ended before this step. */
static int drop_ended(struct buffer **placed, int n, int step) {
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (placed[i]->last >= step) placed[kept++] = placed[i];
    return kept;
}

static void ground_and_top(struct placing *p) {
    const int end = p->leaves - 1;
    int active = 0;
    for (int i = 0; i < 2 * p->leaves; i++) p->top[i] = p->raised[i] = 0;
    for (int i = 0; i < p->live; i++) {
        struct buffer *b = p->order[i];
        const size_t floor = larger(highest(p, 1, 0, end, b->first, b->rest),
                                    highest(p, 1, 0, end, b->again, b->last));
        if (!is_short(b)) {
            place_at(p, b, floor);
            raise(p, 1, 0, end, b->first, b->rest, floor + b->bytes);
            raise(p, 1, 0, end, b->again, b->last, floor + b->bytes);
            continue;
        }
        active = drop_ended(p->placed, active, b->first);
        place_at(p, b, find_gap(b, p->placed, active, floor));
        keep_sorted(b, p->placed, active++);
    }
}

/* ---- the choice ---- */

static void try_order(struct placing *p, void (*way)(struct placing *)) {
    p->block = 0;
    way(p);
    if (p->block >= p->least) return;
    p->least = p->block;
    for (int i = 0; i < p->n; i++) p->best[i] = p->buffer[i].offset;
}

static void try_way(struct placing *p, int (*order)(const void *, const void *),
                    void (*way)(struct placing *)) {
    qsort(p->order, (size_t)p->live, sizeof *p->order, order);
    try_order(p, way);
}

/* The buffer that ends highest goes first. */
static void promote_highest(struct placing *p) {
    int top = 0;
    for (int i = 1; i < p->live; i++)
        if (p->order[i]->offset + p->order[i]->bytes > p->order[top]->offset + p->order[top]->bytes)
            top = i;
    struct buffer *b = p->order[top];
    for (; top > 0; top--) p->order[top] = p->order[top - 1];
    p->order[0] = b;
}

/* As many rounds as are affordable, from the present order on, or until there is little to win. */
static void improve(struct placing *p, size_t bound) {
    const int64_t pairs = (int64_t)p->live * p->live;
    int rounds = pairs ? (int)(PAIRS / pairs) : 0;
    for (rounds = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
         rounds > 0 && p->least > bound + bound / 128; rounds--) {
        promote_highest(p);
        try_order(p, fill_gaps);
    }
}

/* p->top serves for what is alive, as the difference from step to step. */
static size_t lower_bound(const struct placing *p, int steps) {
    size_t *change = p->top, most = 0, alive = 0;
    for (int s = 0; s <= steps; s++) change[s] = 0;
    for (int i = 0; i < p->live; i++) {
        const struct buffer *b = p->order[i];
        change[b->first] += b->bytes;
        change[b->last + 1] -= b->bytes; /* wraps, and back in the sum */
        if (b->again == b->first) continue;
        change[b->rest + 1] -= b->bytes;
        change[b->again] += b->bytes;
    }
    for (int s = 0; s <= steps; s++) {
        alive += change[s];
        most = larger(most, alive);
    }
    return most;
}

static void place_all(struct placing *p, int steps, size_t *bound) {
    for (int i = 0; i < p->n; i++)
        if (p->buffer[i].first <= p->buffer[i].last) p->order[p->live++] = &p->buffer[i];
    *bound = lower_bound(p, steps);
    try_way(p, ground_first, ground_and_top);
    const bool affordable = p->live <= MOST_PAIRWISE;
    if (affordable && p->least > *bound) try_way(p, by_span, fill_gaps);
    if (affordable && p->least > *bound) improve(p, *bound);
    if (affordable && p->least > *bound) try_way(p, by_size, fill_gaps);
    if (affordable && p->least > *bound) improve(p, *bound);
    for (int i = 0; i < p->n; i++) p->buffer[i].offset = p->best[i];
}

ot_status ot_place(const ot_allocator *allocator, struct buffer *buffer, int n, int steps,
                   size_t *block, size_t *bound, ot_error *err) {
    struct placing p = {.buffer = buffer, .n = n, .leaves = 1, .least = SIZE_MAX};
    while (p.leaves < steps + 1) p.leaves *= 2;
    const size_t leaves = (size_t)p.leaves;
    p.order = ot_block_alloc(allocator, 2 * (size_t)n, sizeof *p.order);
    p.top = ot_block_alloc(allocator, 4 * leaves + (size_t)n, sizeof *p.top);
    if (p.order && p.top) {
        p.placed = p.order + n;
        p.raised = p.top + 2 * leaves;
        p.best = p.raised + 2 * leaves;
        place_all(&p, steps, bound);
        *block = p.least;
    }
    const bool good = p.order && p.top;
    ot_block_free(allocator, p.order);
    ot_block_free(allocator, p.top);
    return good ? OT_OK : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for the plan");
}
