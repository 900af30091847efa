/* test_opening.c - what opening a model holds at once stays within the memory limit. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/networks.h"

enum { WIDTH = 512, SLACK = 256 << 10 }; /* SLACK: begun chunks of arenas, and the session itself */

struct meter {
    size_t live, peak;
};

static void *meter_alloc(void *context, size_t size, size_t align) {
    struct meter *m = context;
    void *p = NULL;
    if (posix_memalign(&p, align, size)) return NULL;
    m->live += malloc_usable_size(p);
    if (m->live > m->peak) m->peak = m->live;
    return p;
}

static void meter_free(void *context, void *p) {
    ((struct meter *)context)->live -= malloc_usable_size(p);
    free(p);
}

/* One MatMul with a dense weight of 1 MiB. */
static unsigned char *make_model(size_t *size) {
    struct test_model m;
    float *w = malloc(sizeof(float) * WIDTH * WIDTH);
    for (int i = 0; i < WIDTH * WIDTH; i++) w[i] = (float)(i % 7 + 1);
    model_begin(&m, 17);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, WIDTH));
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, WIDTH));
    model_floats(&m, "w", 2, DIMS(WIDTH, WIDTH), w);
    model_node(&m, "MatMul", "x w", "y", "");
    free(w);
    return model_finish(&m, size);
}

static void the_peak_is_within_the_limit(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = make_model(&size);
    int opened = 0, refused = 0;
    for (size_t limit = 256 << 10; limit <= 8 << 20; limit += 256 << 10) {
        struct meter m = {0};
        const ot_options o = {.threads = 1,
                              .limits = {.memory_bytes = limit},
                              .allocator = {meter_alloc, meter_free, &m}};
        ot_session *s = NULL;
        ot_error err;
        const ot_status status = ot_open_buffer(bytes, size, &o, &s, &err);
        if (status && status != OT_ERROR_LIMIT) fail_msg("%s", err.message);
        if (m.peak > limit + SLACK)
            fail_msg("limit %zu: %zu bytes, status %d", limit, m.peak, (int)status);
        status ? refused++ : opened++;
        ot_close(s);
        assert_int_equal(m.live, 0);
    }
    assert_true(opened > 0 && refused > 0);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_peak_is_within_the_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
