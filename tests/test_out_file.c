/* test_out_file.c - what commands write is read back before it gets its name. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/out_file.h"

static char folder[64];

static int enter(void **state) {
    (void)state;
    strcpy(folder, "/tmp/out-file-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state) {
    (void)state;
    return chdir("/") || rmdir(folder);
}

static int count_files(void) {
    int n = 0;
    DIR *d = opendir(".");
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

/* More than the stream's buffer, in calls of several sizes, with its place asked for in between. */
static void write_some(struct out_file *o) {
    static const char bytes[10000] = {1, 2, 3};
    for (size_t n = 1, sum = 0; n < sizeof bytes; n *= 3) {
        assert_int_equal(ftell(o->file), (long)sum);
        assert_int_equal(fwrite(bytes, 1, n, o->file), n);
        sum += n;
    }
}

static void all_bytes_arrive(void **state) {
    struct failure f = {0};
    struct out_file o;
    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(ot_out_begin(&o, "a", &f), 0);
        write_some(&o);
        assert_int_equal(ot_out_finish(&o, true, &f), 0);
        assert_int_equal(count_files(), 1);
    }
    FILE *file = fopen("a", "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_int_equal(ftell(file), (19683 - 1) / 2);
    fclose(file);
    assert_int_equal(unlink("a"), 0);
}

/* A byte more, a byte less, another byte in the temporary: the old file stays. */
static void bytes_that_differ_are_refused(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct failure f = {0};
        struct out_file o;
        FILE *old = fopen("a", "wb");
        assert_int_equal(fputs("old", old), 1);
        fclose(old);
        assert_int_equal(ot_out_begin(&o, "a", &f), 0);
        write_some(&o);
        assert_int_equal(fflush(o.file), 0);
        const int fd = open(o.temporary, O_WRONLY);
        assert_true(fd >= 0);
        assert_int_equal(kind == 0   ? pwrite(fd, "x", 1, 100) - 1
                         : kind == 1 ? ftruncate(fd, 5000)
                                     : ftruncate(fd, 1 << 20),
                         0);
        close(fd);
        assert_int_equal(ot_out_finish(&o, true, &f), EXIT_RUNTIME);
        assert_string_equal(f.text, "cannot write 'a': its bytes read back differently");
        assert_int_equal(count_files(), 1);
        assert_int_equal(unlink("a"), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_arrive),
        cmocka_unit_test(bytes_that_differ_are_refused),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
