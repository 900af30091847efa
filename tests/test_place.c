/* test_place.c - buffers that live at the same time stand apart, and close together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/compile/place.h"

static void place(struct buffer *b, int n, int steps, size_t *block, size_t *bound) {
    const ot_allocator al = ot_allocator_or_default(NULL);
    ot_error err;
    if (ot_place(&al, b, n, steps, block, bound, &err)) fail_msg("%s", err.message);
}

static bool alive(const struct buffer *b, int step) {
    return (step >= b->first && step <= b->rest) || (step >= b->again && step <= b->last);
}

/* Step by step, which is how nothing in place.c looks at it. Returns the fullest step's bytes. */
static size_t check(const struct buffer *b, int n, int steps, size_t block) {
    size_t most = 0;
    for (int s = 0; s < steps; s++) {
        size_t sum = 0;
        for (int i = 0; i < n; i++) {
            if (!alive(&b[i], s)) continue;
            sum += b[i].bytes;
            assert_true(b[i].offset + b[i].bytes <= block);
            for (int k = i + 1; k < n; k++)
                if (alive(&b[k], s) && b[k].offset < b[i].offset + b[i].bytes)
                    assert_true(b[k].offset + b[k].bytes <= b[i].offset);
        }
        if (sum > most) most = sum;
    }
    return most;
}

static struct buffer once(int first, int last, size_t bytes) {
    return (struct buffer){
        .bytes = bytes, .first = first, .last = last, .rest = last, .again = first};
}

static int draw(uint64_t stream, int i, int below) {
    return (int)(ot_random_u32(7, stream, (uint64_t)i) % (uint32_t)below);
}

static void random_buffers_stand_apart(void **state) {
    (void)state;
    enum { N = 60, STEPS = 50 };
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct buffer b[N];
        for (int i = 0; i < N; i++) {
            const int first = draw(4 * seed, i, STEPS), left = STEPS - first;
            const int last = first + draw(4 * seed + 1, i, left);
            b[i] = once(first, last, 64 * (size_t)(1 + draw(4 * seed + 2, i, 30)));
            if (last - first < 4 || draw(4 * seed + 3, i, 3)) continue;
            b[i].rest = first + 1; /* two lives */
            b[i].again = last - draw(4 * seed + 3, i + N, 2);
        }
        b[3] = once(STEPS, -1, 1 << 20); /* not used */
        size_t block, bound;
        place(b, N, STEPS, &block, &bound);
        assert_int_equal(bound, check(b, N, STEPS, block));
        assert_true(block <= bound + bound / 4);
    }
}

/* Something small lives in the gap between the two lives of something large. */
static void a_gap_in_time_is_used(void **state) {
    (void)state;
    struct buffer b[] = {once(0, 9, 640), once(3, 6, 640)};
    size_t block, bound;
    b[0].rest = 2;
    b[0].again = 7;
    place(b, 2, 10, &block, &bound);
    assert_int_equal(bound, 640);
    assert_int_equal(block, 640);
    b[1].last = b[1].rest = 7;
    place(b, 2, 10, &block, &bound);
    assert_int_equal(block, 1280);
}

/* A chain trained: layer i keeps its output until its backward step, scratch and gradients are
 * short. 100,000 buffers must not take the square of their number, nor much more than they need. */
static void a_long_chain_is_packed_quickly(void **state) {
    (void)state;
    enum { LAYERS = 33334, STEPS = 2 * LAYERS };
    struct buffer *b = malloc(3 * LAYERS * sizeof *b);
    assert_non_null(b);
    for (int i = 0; i < LAYERS; i++) {
        const size_t bytes = 64 * (size_t)(1 + draw(0, i, 40));
        const int back = STEPS - 1 - i;
        b[3 * i] = once(i, back, bytes);
        b[3 * i + 1] = once(i, i, 64 * (size_t)draw(1, i, 100));
        b[3 * i + 2] = once(back, back + 1 < STEPS ? back + 1 : back, bytes);
    }
    size_t block, bound;
    const clock_t start = clock();
    place(b, 3 * LAYERS, STEPS, &block, &bound);
    assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
    assert_true(block <= bound + bound / 33);
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_buffers_stand_apart),
        cmocka_unit_test(a_gap_in_time_is_used),
        cmocka_unit_test(a_long_chain_is_packed_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
