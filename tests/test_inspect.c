/* test_inspect.c - listing a model's weights takes the memory of the model: no step is planned. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/model.h"
#include "tests/sanitized.h"
#include "tools/command.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* In place of the C library's, which the library takes all of its memory from. */
static size_t largest;

#ifndef OT_SANITIZED
int posix_memalign(void **p, size_t align, size_t size) {
    if (size > largest) largest = size;
    *p = aligned_alloc(align, (size + align - 1) / align * align);
    return *p ? 0 : ENOMEM;
}
#endif

static char path[] = "/tmp/inspect-XXXXXX";

/* x [N,3,256,256] through a Conv of 8 channels: 64 MiB for one value of a step of 32 samples. */
static int write_model(void **state) {
    static float w[8 * 3 * 9];
    struct test_model m;
    size_t size;
    (void)state;
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = (float)i / 256;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(-1, 3, 256, 256));
    model_floats(&m, "w", 4, DIMS(8, 3, 3, 3), w);
    model_node(&m, "Conv", "x w", "c", "");
    model_node(&m, "Relu", "c", "r", "");
    model_node(&m, "GlobalAveragePool", "r", "p", "");
    model_node(&m, "Flatten", "p", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 8));
    unsigned char *bytes = model_finish(&m, &size);
    const int fd = mkstemp(path);
    const bool good = fd >= 0 && write(fd, bytes, size) == (ssize_t)size;
    free(bytes);
    return good && close(fd) == 0 ? 0 : -1;
}

static int remove_model(void **state) {
    (void)state;
    return unlink(path);
}

/* The largest block that was asked for. */
static size_t inspect(int argc, char **argv) {
    struct settings s = {.command = INSPECT, .name = "inspect"};
    struct failure f = {0};
    largest = 0;
    assert_int_equal(ot_settings_parse(&s, argc, argv, &f), 0);
    if (ot_run_inspect(&s, &f)) fail_msg("%s", f.text);
    ot_settings_free(&s);
    return largest;
}

static void a_list_needs_no_step(void **state) {
    (void)state;
    assert_true(inspect(1, (char *[]){path}) < 1 << 20);
    assert_true(inspect(2, (char *[]){path, "json=1"}) < 1 << 20);
}

static void a_plan_takes_memory(void **state) {
    (void)state;
#ifdef OT_SANITIZED
    skip(); /* its own posix_memalign is there */
#endif
    assert_true(inspect(2, (char *[]){path, "plan=1"}) > 32 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_needs_no_step),
        cmocka_unit_test(a_plan_takes_memory),
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
