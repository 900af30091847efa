/* grow.c - random positions among those that are free. */
#include "runtime/topology/grow.h"

#include <string.h>

#include "runtime/base/rng.h"

/* Numbers a bucket: few enough for an insertion sort. */
enum { BUCKET = 8 };

/* Numbers in [0, most), sorted, without repetition. */
struct sample {
    int64_t most;
    int64_t *number, *spare; /* room for all that are wanted */
    int *count;              /* buckets + 1 */
    int64_t buckets;
    double scale; /* buckets a number */
    uint64_t seed, stream, drawn;
};

/* bits * most / 2^64: each number in [0, most) is as likely as any other. */
static int64_t below(uint64_t bits, uint64_t most) {
    const uint64_t low = (bits & UINT32_MAX) * (most & UINT32_MAX) >> 32;
    const uint64_t a = (bits >> 32) * (most & UINT32_MAX), b = (bits & UINT32_MAX) * (most >> 32);
    const uint64_t middle = low + (a & UINT32_MAX) + (b & UINT32_MAX);
    return (int64_t)((bits >> 32) * (most >> 32) + (a >> 32) + (b >> 32) + (middle >> 32));
}

/* Draws numbers [from, to). Two of them come from four words of the generator. */
static void draw(struct sample *s, int from, int to) {
    for (int i = from; i < to; i += 2) {
        const uint32_t counter[4] = {(uint32_t)s->drawn, (uint32_t)(s->drawn >> 32),
                                     (uint32_t)s->stream, (uint32_t)(s->stream >> 32)};
        const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
        uint32_t word[4];
        ot_philox(counter, key, word);
        s->drawn++;
        for (int k = 0; k < 2 && i + k < to; k++) {
            const uint64_t bits = (uint64_t)word[2 * k] << 32 | word[2 * k + 1];
            s->spare[i + k] = below(bits, (uint64_t)s->most);
        }
    }
}

/* Does not fall where numbers rise. */
static int64_t bucket_of(const struct sample *s, int64_t number) {
    const int64_t bucket = (int64_t)((double)number * s->scale);
    return bucket < s->buckets ? bucket : s->buckets - 1;
}

static void insert_sorted(int64_t *number, int n) {
    for (int i = 1; i < n; i++) {
        const int64_t x = number[i];
        int k = i;
        for (; k > 0 && number[k - 1] > x; k--) number[k] = number[k - 1];
        number[k] = x;
    }
}

/* spare[0..n) goes to number[0..n), sorted: counted into buckets of equal width first. */
static void sort(struct sample *s, int n) {
    memset(s->count, 0, ((size_t)s->buckets + 1) * sizeof *s->count);
    for (int i = 0; i < n; i++) s->count[bucket_of(s, s->spare[i]) + 1]++;
    for (int64_t b = 0; b < s->buckets; b++) s->count[b + 1] += s->count[b];
    for (int i = 0; i < n; i++) s->number[s->count[bucket_of(s, s->spare[i])]++] = s->spare[i];
    for (int64_t b = 0, from = 0; b < s->buckets; from = s->count[b++])
        insert_sorted(s->number + from, s->count[b] - (int)from);
}

/* Leaves one of equal numbers; returns how many there are. */
static int unique(int64_t *number, int n) {
    int left = 0;
    for (int i = 0; i < n; i++)
        if (!left || number[i] != number[left - 1]) number[left++] = number[i];
    return left;
}

/* What was drawn twice is drawn again until all are different: so every set is as likely. */
static void sample(struct sample *s, int n) {
    for (int have = 0; have < n;) {
        memcpy(s->spare, s->number, (size_t)have * sizeof *s->spare);
        draw(s, have, n);
        sort(s, n);
        have = unique(s->number, n);
    }
}

/* The numbers of free positions, ascending, become the positions. */
static void place(const struct pattern *p, const struct kept *kept, int64_t *number, int n) {
    int64_t before = 0; /* free positions of the rows before */
    int at = 0;
    for (int row = 0; row < p->rows && at < n; row++) {
        const int from = kept->row[row], to = kept->row[row + 1];
        const int64_t free = p->cols - (to - from);
        int k = from;
        for (; at < n && number[at] - before < free; at++) {
            int64_t col = number[at] - before + (k - from);
            for (; k < to && p->col[kept->slot[k]] <= col; k++) col++;
            number[at] = (int64_t)row * p->cols + col;
        }
        before += free;
    }
}

ot_status ot_grow_random(const struct pattern *p, const struct kept *kept, int n, uint64_t seed,
                         uint64_t stream, int64_t *position, ot_error *err) {
    if (!n) return OT_OK;
    struct sample s = {.most = ot_free_positions(p, kept),
                       .number = position,
                       .buckets = n / BUCKET + 1,
                       .seed = seed,
                       .stream = stream};
    s.scale = (double)s.buckets / (double)s.most;
    s.spare = ot_block_alloc_dirty(&p->allocator, (size_t)n, sizeof *s.spare);
    s.count = ot_block_alloc_dirty(&p->allocator, (size_t)s.buckets + 1, sizeof *s.count);
    const bool good = s.spare && s.count;
    if (good) {
        sample(&s, n);
        place(p, kept, position, n);
    }
    ot_block_free(&p->allocator, s.spare);
    ot_block_free(&p->allocator, s.count);
    return good ? OT_OK
                : ot_fail(err, OT_ERROR_NO_MEMORY, "out of memory for positions to grow at");
}
