/* test_base.c - arena, pattern, pool, random numbers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/arena.h"
#include "runtime/base/pattern.h"
#include "runtime/base/pool.h"
#include "runtime/base/rng.h"
#include "runtime/base/siphash.h"
#include "runtime/base/tensor.h"

static void arena_blocks_are_zeroed_aligned_and_budgeted(void **state) {
    (void)state;
    struct arena a;
    ot_arena_init(&a, NULL, 1 << 20);
    for (size_t n = 0; n < 3000; n += 37) {
        unsigned char *p = ot_arena_alloc(&a, n, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < 3 * n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, 3 * n);
    }
    assert_null(ot_arena_alloc(&a, 1 << 20, 1));
    assert_null(ot_arena_alloc(&a, SIZE_MAX / 2, 3));
    assert_non_null(ot_arena_alloc(&a, 100000, 1)); /* a chunk of its own */
    assert_non_null(ot_arena_alloc(&a, 1, 1));
    ot_arena_free(&a);
    assert_int_equal(a.used, 0);
}

static void pattern_keeps_both_orientations(void **state) {
    (void)state;
    /* 3 x 4 in the file:  . 1 . 2 / . . . . / 3 . 4 5 */
    const int64_t position[] = {1, 3, 8, 10, 11};
    const float dense[12] = {0, 1, 0, 2, 0, 0, 0, 0, 3, 0, 4, 5};
    for (int transposed = 0; transposed < 2; transposed++) {
        struct pattern *p = NULL;
        int slot[5];
        float value[5], back[12];
        assert_int_equal(ot_pattern_new(NULL, 3, 4, transposed, position, 5, slot, &p, NULL),
                         OT_OK);
        assert_int_equal(p->rows, transposed ? 4 : 3);
        assert_int_equal(p->cols, transposed ? 3 : 4);
        ot_pattern_gather(p, dense, value);
        for (int i = 0; i < 5; i++) assert_true(value[slot[i]] == dense[position[i]]);
        ot_pattern_scatter(p, value, back);
        assert_memory_equal(back, dense, sizeof dense);
        for (int r = 0; r < p->rows; r++)
            for (int s = p->row[r] + 1; s < p->row[r + 1]; s++)
                assert_true(p->col[s] > p->col[s - 1]);
        ot_pattern_unref(p);
    }
}

static void pattern_refuses_bad_positions(void **state) {
    (void)state;
    const int64_t outside[] = {1, 12}, negative[] = {-1}, twice[] = {3, 3}, falling[] = {4, 2};
    struct pattern *p = NULL;
    ot_error err;
    assert_int_equal(ot_pattern_new(NULL, 3, 4, 0, outside, 2, NULL, &p, &err), OT_ERROR_INVALID);
    assert_non_null(strstr(err.message, "12"));
    assert_int_equal(ot_pattern_new(NULL, 3, 4, 0, negative, 1, NULL, &p, &err), OT_ERROR_INVALID);
    assert_int_equal(ot_pattern_new(NULL, 3, 4, 0, twice, 2, NULL, &p, &err), OT_ERROR_INVALID);
    assert_int_equal(ot_pattern_new(NULL, 3, 4, 0, falling, 2, NULL, &p, &err), OT_ERROR_INVALID);
    assert_int_equal(ot_pattern_new(NULL, (int64_t)1 << 40, 1 << 30, 0, NULL, 0, NULL, &p, &err),
                     OT_ERROR_LIMIT);
    assert_null(p);
}

static void count_task(void *arg, int task, int worker) {
    int *counts = arg;
    assert_true(worker >= 0 && worker < 8);
    counts[task]++;
}

static void pool_runs_every_task_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *pool = NULL;
        assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
        for (int tasks = 0; tasks < 200; tasks += 7) {
            int counts[200] = {0};
            ot_parallel_for(pool, tasks, count_task, counts);
            for (int i = 0; i < 200; i++) assert_int_equal(counts[i], i < tasks);
        }
        ot_pool_free(pool);
    }
    ot_pool_free(NULL);
}

static void slow_task(void *arg, int task, int worker) {
    if (task < 3) usleep(2000);
    count_task(arg, task, worker);
}

/* The workers have gone to sleep before each call; one share takes longer than all others. */
static void pool_wakes_its_threads_and_shares_what_is_left(void **state) {
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        struct pool *pool = NULL;
        assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
        for (int call = 0; call < 20; call++) {
            int counts[40] = {0};
            usleep(2000);
            ot_parallel_for(pool, 40, call % 2 ? slow_task : count_task, counts);
            for (int i = 0; i < 40; i++) assert_int_equal(counts[i], 1);
        }
        ot_pool_free(pool);
    }
}

static void pool_survives_a_fork(void **state) {
    (void)state;
    struct pool *pool = NULL;
    assert_int_equal(ot_pool_new(NULL, 3, NULL, NULL, &pool, NULL), OT_OK);
    pid_t child = fork();
    if (!child) {
        int counts[50] = {0}, sum = 0;
        alarm(5); /* a hang is a failure */
        ot_parallel_for(pool, 50, count_task, counts);
        ot_pool_free(pool);
        for (int i = 0; i < 50; i++) sum += counts[i];
        _exit(sum == 50 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    ot_pool_free(pool);
}

static void host_loop(void *context, int tasks, ot_task_fn *task, void *arg) {
    (*(int *)context)++;
    for (int i = tasks - 1; i >= 0; i--) task(arg, i, 0);
}

static void pool_uses_the_host(void **state) {
    (void)state;
    struct pool *pool = NULL;
    int calls = 0, counts[9] = {0};
    assert_int_equal(ot_pool_new(NULL, 4, host_loop, &calls, &pool, NULL), OT_OK);
    ot_parallel_for(pool, 9, count_task, counts);
    for (int i = 0; i < 9; i++) assert_int_equal(counts[i], 1);
    assert_int_equal(calls, 1);
    ot_pool_free(pool);
}

/* Inside a task, no pool at all runs everything on the thread of the task. */
static void nested_task(void *arg, int task, int worker) {
    (void)worker;
    assert_int_equal(ot_pool_workers(NULL), 1);
    ot_parallel_for(NULL, 30, count_task, (int *)arg + (size_t)task * 30);
}

static void pool_runs_tasks_within_tasks(void **state) {
    (void)state;
    struct pool *pool = NULL;
    int counts[2 * 30] = {0};
    assert_int_equal(ot_pool_new(NULL, 2, NULL, NULL, &pool, NULL), OT_OK);
    ot_parallel_for(pool, 2, nested_task, counts);
    for (int i = 0; i < 2 * 30; i++) assert_int_equal(counts[i], 1);
    ot_pool_free(pool);
}

static void *soiled_alloc(void *context, size_t size, size_t align) {
    if (*(bool *)context) return NULL;
    void *p = aligned_alloc(align, (size + align) / align * align);
    return p ? memset(p, 0x5a, size + 1) : NULL;
}

static void soiled_free(void *context, void *p) {
    (void)context;
    free(p);
}

/* Pieces that threads clear meet without a gap, and nothing beyond the block is touched. */
static void pool_clears_blocks(void **state) {
    (void)state;
    static const size_t sizes[] = {
        1, 4095, 4 << 20, (4 << 20) + 1, (12 << 20) - 1, (16 << 20) + 64};
    bool fails = false;
    const ot_allocator al = {soiled_alloc, soiled_free, &fails};
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *pool = NULL;
        assert_int_equal(ot_pool_new(NULL, threads, NULL, NULL, &pool, NULL), OT_OK);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const char *p = ot_pool_block_alloc(pool, &al, sizes[i]);
            assert_non_null(p);
            assert_true(!*p && !memcmp(p, p + 1, sizes[i] - 1));
            assert_int_equal(p[sizes[i]], 0x5a);
            ot_block_free(&al, (void *)p);
        }
        fails = true;
        assert_null(ot_pool_block_alloc(pool, &al, 64));
        fails = false;
        ot_pool_free(pool);
    }
}

/* Known answers of Random123's kat_vectors, philox4x32 10. */
static void philox_gives_the_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        ot_philox(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].answer, sizeof out);
    }
}

static void lanes_count_whole_blocks(void **state) {
    (void)state;
    struct tensor t = {.type = OT_FLOAT, .rank = 3, .dim = {17, 5, 2}, .lanes = 16, .lane_rank = 1};
    char text[64];
    assert_int_equal(ot_lane_blocks(&t), 2);
    assert_int_equal(ot_count(&t), 2 * 10 * 16);
    t.lane_rank = 2;
    assert_int_equal(ot_lane_blocks(&t), 6);
    assert_string_equal(ot_shape_text(&t, text, sizeof text), "[17,5,2]");
    int64_t n, zero_hides[] = {0, (int64_t)1 << 62, (int64_t)1 << 62};
    assert_false(ot_shape_count(zero_hides, 3, (int64_t)1 << 40, &n));
}

/* The vector of the paper: key 00 .. 0f, message 00 .. 0e. */
static void siphash_is_siphash(void **state) {
    (void)state;
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    const unsigned char rest[7] = {8, 9, 10, 11, 12, 13, 14};
    assert_true(ot_siphash(key, 0x0706050403020100, rest, sizeof rest) == 0xa129ca6149be45e5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_siphash),
        cmocka_unit_test(arena_blocks_are_zeroed_aligned_and_budgeted),
        cmocka_unit_test(pattern_keeps_both_orientations),
        cmocka_unit_test(pattern_refuses_bad_positions),
        cmocka_unit_test(pool_runs_every_task_once),
        cmocka_unit_test(pool_wakes_its_threads_and_shares_what_is_left),
        cmocka_unit_test(pool_survives_a_fork),
        cmocka_unit_test(pool_uses_the_host),
        cmocka_unit_test(pool_runs_tasks_within_tasks),
        cmocka_unit_test(pool_clears_blocks),
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(lanes_count_whole_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
