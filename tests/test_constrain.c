/* test_constrain.c - what constraints keep, against plain loops over dense matrices that sort; with
 * random scores, and with many equal ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/topology/constrain.h"
#include "runtime/topology/draw.h"

enum { ROWS = 12, COLS = 24, SIZE = ROWS * COLS, ROUNDS = 60 };

/* Scores of a matrix, -1 where there is no slot, and what stays of it. */
struct dense {
    float score[SIZE];
    bool keep[SIZE];
};

static void make(uint64_t round, struct pattern **p, float *score, struct dense *d) {
    const struct draw draw = {.seed = 7, .update = (uint32_t)round};
    const double density = round % 3 ? 0.5 : 1;
    assert_int_equal(ot_draw_free(NULL, ROWS, COLS, false, density, &draw, p, NULL), OT_OK);
    for (int i = 0; i < SIZE; i++) d->score[i] = -1;
    memset(d->keep, 0, sizeof d->keep);
    for (int r = 0; r < ROWS; r++)
        for (int k = (*p)->row[r]; k < (*p)->row[r + 1]; k++) {
            const uint32_t random = ot_random_u32(round, 1, (uint64_t)k);
            score[k] = round % 2 ? (float)(random % 4) : (float)random;
            d->score[r * COLS + (*p)->col[k]] = score[k];
        }
}

static void compare(const struct pattern *p, const bool *keep, const struct dense *d) {
    for (int r = 0; r < ROWS; r++)
        for (int k = p->row[r]; k < p->row[r + 1]; k++)
            assert_int_equal(keep[k], d->keep[r * COLS + p->col[k]]);
}

/* Marks the n best of these positions, one after the other; of equal ones the first. */
static void mark_best(struct dense *d, const int *at, int count, int n) {
    for (int round = 0; round < n; round++) {
        int best = -1;
        for (int i = 0; i < count; i++)
            if (d->score[at[i]] >= 0 && !d->keep[at[i]] &&
                (best < 0 || d->score[at[i]] > d->score[best]))
                best = at[i];
        if (best >= 0) d->keep[best] = true;
    }
}

static void test_fan_in(void **state) {
    (void)state;
    struct dense d;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct pattern *p;
        float score[SIZE];
        bool keep[SIZE] = {false};
        const int most = (int)(round % 15);
        make(round, &p, score, &d);
        ot_keep_fan_in(p, score, most, keep);
        for (int r = 0; r < ROWS; r++) {
            int at[COLS];
            for (int c = 0; c < COLS; c++) at[c] = r * COLS + c;
            mark_best(&d, at, COLS, most);
        }
        compare(p, keep, &d);
        ot_pattern_unref(p);
    }
}

static void test_nm(void **state) {
    (void)state;
    static const struct {
        int taps, n, m;
    } items[] = {{1, 2, 4}, {1, 1, 3}, {1, 4, 8}, {3, 2, 4}, {6, 1, 2}, {2, 12, 12}, {1, 24, 24}};
    struct dense d;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct pattern *p;
        float score[SIZE];
        bool keep[SIZE] = {false};
        const int taps = items[round % 7].taps, n = items[round % 7].n, m = items[round % 7].m;
        make(round, &p, score, &d);
        assert_int_equal(ot_keep_nm(p, score, taps, n, m, keep, NULL), OT_OK);
        for (int r = 0; r < ROWS; r++)
            for (int tap = 0; tap < taps; tap++)
                for (int first = 0; first < COLS / taps; first += m) {
                    int at[COLS];
                    for (int i = 0; i < m; i++) at[i] = r * COLS + (first + i) * taps + tap;
                    mark_best(&d, at, m, n);
                }
        compare(p, keep, &d);
        ot_pattern_unref(p);
    }
}

static void test_blocks(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 4}, {4, 1}, {2, 3}, {12, 24}, {1, 1}};
    struct dense d;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct pattern *p;
        float score[SIZE];
        bool keep[SIZE] = {false};
        const int h = sizes[round % 5][0], w = sizes[round % 5][1];
        const int across = COLS / w, blocks = ROWS / h * across,
                  most = (int)(round * 3) % (blocks + 1);
        make(round, &p, score, &d);
        assert_int_equal(ot_keep_blocks(p, score, h, w, most, keep, NULL), OT_OK);
        struct dense norms = {{0}, {false}};
        int at[SIZE];
        for (int b = 0; b < SIZE; b++) norms.score[b] = -1; /* blocks without slots */
        for (int b = 0; b < blocks; b++) at[b] = b;
        for (int i = 0; i < SIZE; i++)
            if (d.score[i] >= 0) norms.score[i / COLS / h * across + i % COLS / w] = 0;
        for (int i = 0; i < SIZE; i++)
            if (d.score[i] >= 0)
                norms.score[i / COLS / h * across + i % COLS / w] += d.score[i] * d.score[i];
        mark_best(&norms, at, blocks, most);
        for (int i = 0; i < SIZE; i++) d.keep[i] = norms.keep[i / COLS / h * across + i % COLS / w];
        compare(p, keep, &d);
        ot_pattern_unref(p);
    }
}

/* Scores below zero: the largest stays, before the places that have none. */
static void test_negative_blocks(void **state) {
    (void)state;
    const int64_t position[] = {1, 3};
    const float score[] = {-2, -1};
    bool keep[2];
    struct pattern *p;
    assert_int_equal(ot_pattern_new(NULL, 1, 4, false, position, 2, NULL, &p, NULL), OT_OK);
    assert_int_equal(ot_keep_blocks(p, score, 1, 1, 1, keep, NULL), OT_OK);
    assert_true(!keep[0] && keep[1]);
    ot_pattern_unref(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fan_in),
        cmocka_unit_test(test_nm),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_negative_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
