/* test_fan_in.c - updates with a constant fan-in against plain dense code (SRigL, arXiv 2305.02299,
 * section 3): random and tied scores, empty rows, all thresholds of ablation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/topology/fan_in.h"
#include "runtime/topology/merge.h"

enum { ROWS = 14, COLS = 20, CELLS = ROWS * COLS };

/* A layer in dense form: everything by position. */
struct problem {
    int rows, cols, slots;
    bool mask[CELLS];
    float value[CELLS], gradient[CELLS];
    int stay, moves, budget, listed; /* listed: positions outside the mask that each row's list has
                                      */
    double ablation;
    bool revive;
};

/* What an update makes of it. */
struct outcome {
    bool keep[CELLS], grown[CELLS];
    int k; /* slots of each row that is left; 0: there are not enough */
};

/* ---- the plain code ---- */

/* Marks the `most` largest scores of those from `from` to `to` that are not negative; of equal ones
 * the first. */
static void mark_best(const float *score, int from, int to, int most, bool *marked) {
    for (; most > 0; most--) {
        int best = -1;
        for (int i = from; i < to; i++)
            if (!marked[i] && score[i] >= 0 && (best < 0 || score[i] > score[best])) best = i;
        if (best < 0) return;
        marked[best] = true;
    }
}

static int count(const bool *marked, int n) {
    int all = 0;
    for (int i = 0; i < n; i++) all += marked[i];
    return all;
}

static int descending(const void *a, const void *b) { return *(const int *)b - *(const int *)a; }

/* Rows that have too few positions that are worth having; returns how many rows are left. */
static int plain_ablation(const struct problem *p, const float *value, bool *gone) {
    bool worth[CELLS] = {false}, large[CELLS] = {false};
    int have[ROWS], sorted[ROWS], left = 0;
    mark_best(value, 0, p->rows * p->cols, p->stay, worth);
    mark_best(p->gradient, 0, p->rows * p->cols, p->moves, large);
    for (int i = 0; i < p->rows * p->cols; i++) worth[i] |= large[i];
    for (int r = 0; r < p->rows; r++) {
        gone[r] = p->ablation > 0 && !p->revive && !count(p->mask + r * p->cols, p->cols);
        sorted[r] = have[r] = gone[r] ? 0 : count(worth + r * p->cols, p->cols);
    }
    qsort(sorted, (size_t)p->rows, sizeof *sorted, descending);
    int room = p->cols; /* of every row: its slots, and what its list holds */
    for (int r = 0; r < p->rows; r++) {
        const int slots = count(p->mask + r * p->cols, p->cols);
        if (!gone[r] && slots + p->listed < room) room = slots + p->listed;
    }
    const int mean = p->budget / p->rows, least = p->budget / room;
    int threshold = p->ablation < 1 ? (int)(p->ablation * mean) : (int)p->ablation;
    if (threshold < 1 && p->ablation > 0) threshold = 1;
    if (least < p->rows && sorted[least] < threshold) threshold = sorted[least];
    for (int r = 0; r < p->rows; r++) {
        gone[r] |= have[r] < threshold;
        left += !gone[r];
    }
    return left;
}

/* Outside the mask, only the best positions of a row are known. */
static void plain_row(const struct problem *p, int r, int k, struct outcome *o) {
    const int from = r * p->cols, to = from + p->cols;
    float value[CELLS], gradient[CELLS];
    bool listed[CELLS] = {false};
    for (int i = from; i < to; i++) value[i] = o->keep[i] ? p->value[i] : -1;
    memset(o->keep + from, 0, (size_t)p->cols);
    mark_best(value, from, to, k, o->keep);
    for (int i = from; i < to; i++) gradient[i] = p->mask[i] ? -1 : p->gradient[i];
    mark_best(gradient, from, to, p->listed, listed);
    for (int i = from; i < to; i++) {
        const bool candidate = listed[i] || (p->mask[i] && !o->keep[i]);
        gradient[i] = candidate ? p->gradient[i] : -1;
    }
    mark_best(gradient, from, to, k - count(o->keep + from, p->cols), o->grown);
}

static void plain_update(const struct problem *p, struct outcome *o) {
    bool gone[ROWS];
    float value[CELLS];
    memset(o, 0, sizeof *o);
    for (int i = 0; i < p->rows * p->cols; i++) value[i] = p->mask[i] ? p->value[i] : -1;
    const int left = plain_ablation(p, value, gone);
    o->k = left ? p->budget / left : 0;
    if (o->k > p->cols) o->k = p->cols;
    for (int r = 0; r < p->rows; r++) {
        const int most = count(p->mask + r * p->cols, p->cols) + p->listed;
        if (!gone[r] && most < o->k) o->k = most;
        for (int i = r * p->cols; gone[r] && i < (r + 1) * p->cols; i++) value[i] = -1;
    }
    if (!o->k) return;
    mark_best(value, 0, p->rows * p->cols, p->stay, o->keep);
    for (int r = 0; r < p->rows; r++)
        if (!gone[r]) plain_row(p, r, o->k, o);
}

/* ---- the same by the library ---- */

static struct pattern *pattern_of(const struct problem *p) {
    int64_t position[CELLS];
    int n = 0;
    struct pattern *q;
    for (int i = 0; i < p->rows * p->cols; i++)
        if (p->mask[i]) position[n++] = i;
    assert_int_equal(ot_pattern_new(NULL, p->rows, p->cols, false, position, n, NULL, &q, NULL),
                     OT_OK);
    return q;
}

static void look(const struct problem *p, const struct pattern *q, struct best *b, int most) {
    ot_best_start(b, q, most);
    for (int r = 0; r < p->rows; r++)
        ot_best_take(b, r % b->workers, r, 0, p->gradient + r * p->cols, p->cols);
}

static ot_status update(const struct problem *p, const struct pattern *q, struct outcome *o) {
    struct best whole, rows;
    float score[CELLS], gradient[CELLS];
    bool keep[CELLS];
    int64_t grown[CELLS];
    int n = 0;
    assert_int_equal(ot_best_new(NULL, p->moves, 3, &whole, NULL), OT_OK);
    assert_int_equal(ot_best_new_rows(NULL, p->rows, p->listed, 3, &rows, NULL), OT_OK);
    look(p, q, &whole, p->moves);
    look(p, q, &rows, p->listed);
    for (int r = 0; r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++) {
            const int64_t at = ot_position(q, r, k);
            score[k] = p->value[at];
            gradient[k] = at % 2 ? -p->gradient[at] : p->gradient[at];
            ot_best_add(&whole, at, gradient[k]);
        }
    ot_best_finish(&whole);
    const struct fan_in_update u = {q,       score,     gradient,    &whole,   &rows,
                                    p->stay, p->budget, p->ablation, p->revive};
    const ot_status status = ot_fan_in_change(&u, keep, grown, &n, NULL);
    memset(o, 0, sizeof *o);
    for (int r = 0; !status && r < q->rows; r++)
        for (int k = q->row[r]; k < q->row[r + 1]; k++) o->keep[ot_position(q, r, k)] = keep[k];
    for (int i = 0; !status && i < n; i++) {
        assert_true(!i || grown[i] > grown[i - 1]);
        o->grown[grown[i]] = true;
    }
    ot_best_free(&whole);
    ot_best_free(&rows);
    return status;
}

/* ---- comparison ---- */

/* kind 0: random numbers; 1: few different ones; 2: values alone, all gradients are zero. */
static void make(struct problem *p, int kind, uint64_t seed) {
    const double ablation[] = {0, .3, .95, 3}, share[] = {0, .15, .3, .5, .9};
    const uint32_t shape = ot_random_u32(seed, 1, 0), how = ot_random_u32(seed, 1, 1);
    const double density = .1 + .8 * ot_random_float(seed, 1, 2);
    memset(p, 0, sizeof *p);
    p->rows = 1 + (int)(shape % ROWS);
    p->cols = 1 + (int)(shape / ROWS % COLS);
    for (int i = 0; i < p->rows * p->cols; i++) {
        const bool empty = ot_random_u32(seed, 2, (uint64_t)(i / p->cols)) % 4 == 0;
        const float v = ot_random_float(seed, 3, (uint64_t)i);
        const float g = ot_random_float(seed, 4, (uint64_t)i);
        p->mask[i] = !empty && ot_random_float(seed, 5, (uint64_t)i) < density;
        p->value[i] = kind == 1 ? floorf(v * 4) : v;
        p->gradient[i] = kind == 0 ? g : kind == 1 ? floorf(g * 4) : 0;
    }
    p->slots = count(p->mask, p->rows * p->cols);
    p->moves = (int)(share[how % 5] * p->slots);
    p->stay = p->slots - p->moves;
    p->budget = p->slots;
    p->listed = how / 5 % 3 ? p->cols : 1 + p->cols / 4;
    p->ablation = ablation[how / 15 % 4];
    p->revive = how / 60 % 2;
}

/* Every row that has slots has k of them, and all together are no more than before. */
static void check_rows(const struct problem *p, const struct outcome *o) {
    int all = 0;
    for (int r = 0; r < p->rows; r++) {
        const int has =
            count(o->keep + r * p->cols, p->cols) + count(o->grown + r * p->cols, p->cols);
        assert_true(has == 0 || has == o->k);
        all += has;
    }
    assert_in_range(all, 1, p->budget);
    for (int i = 0; i < p->rows * p->cols; i++)
        assert_true(!(o->keep[i] && (o->grown[i] || !p->mask[i])));
}

static void equals_plain_code(void **state) {
    (void)state;
    int updated = 0, ablated = 0, revived = 0;
    for (uint64_t seed = 0; seed < 900; seed++) {
        struct problem p;
        struct outcome right, o;
        make(&p, (int)(seed % 3), seed);
        plain_update(&p, &right);
        struct pattern *q = pattern_of(&p);
        const ot_status status = update(&p, q, &o);
        ot_pattern_unref(q);
        assert_int_equal(status, right.k ? OT_OK : OT_ERROR_ARGUMENT);
        if (status) continue;
        assert_memory_equal(o.keep, right.keep, sizeof o.keep);
        assert_memory_equal(o.grown, right.grown, sizeof o.grown);
        check_rows(&p, &right);
        updated++;
        for (int r = 0; r < p.rows; r++) {
            const bool was = count(p.mask + r * p.cols, p.cols);
            const bool is =
                count(o.keep + r * p.cols, p.cols) + count(o.grown + r * p.cols, p.cols);
            ablated += was && !is;
            revived += !was && is;
        }
    }
    assert_true(updated > 500 && ablated > 100 &&
                revived > 100); /* the cases are no trivial ones */
}

/* Rows that stay empty take no place from others: the two of five rows that have slots keep the
 * whole budget, although gradients are largest elsewhere. */
static void enough_rows_stay(void **state) {
    (void)state;
    struct problem p = {.rows = 5,
                        .cols = 4,
                        .slots = 8,
                        .stay = 2,
                        .moves = 6,
                        .budget = 8,
                        .listed = 4,
                        .ablation = 3};
    struct outcome o;
    for (int i = 0; i < 20; i++) {
        p.mask[i] = i < 8;
        p.value[i] = i < 8 ? (float)(i % 4 + 1) : 0;
        p.gradient[i] = i >= 8 && i % 4 < 2;
    }
    struct pattern *q = pattern_of(&p);
    assert_int_equal(update(&p, q, &o), OT_OK);
    ot_pattern_unref(q);
    for (int i = 0; i < 20; i++) assert_int_equal(o.keep[i] || o.grown[i], i < 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_plain_code),
                                       cmocka_unit_test(enough_rows_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
