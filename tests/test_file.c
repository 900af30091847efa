/* test_file.c - SHA-256 against FIPS 180-4's examples; files that appear whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/file.h"
#include "runtime/base/pool.h"
#include "runtime/base/range.h"
#include "runtime/base/sha256.h"
#include "runtime/base/sha256_x86.h"

static char folder[] = "/tmp/onnxtrain-file-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int entries(void) {
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static void assert_hash(const char *bytes, size_t n, const char *expected) {
    uint8_t hash[32];
    char text[65];
    ot_sha256(bytes, n, hash);
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(text, expected);
}

static void test_sha256_fips_examples(void **state) {
    (void)state;
    assert_hash("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_hash("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    assert_hash(million, 1000000,
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

/* Both ways add any number of blocks to any hash value alike. */
static void test_sha256_instructions(void **state) {
    enum { BLOCKS = 40 };
    uint32_t plain[8] = {0}, fast[8] = {0};
    uint8_t bytes[64 * BLOCKS];
    (void)state;
    if (!ot_sha256_x86_runs()) skip();
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * i >> 3 ^ i);
    for (size_t n = 0; n <= BLOCKS; n++) {
        ot_sha256_portable(plain, bytes + 64 * (BLOCKS - n), n);
        ot_sha256_x86(fast, bytes + 64 * (BLOCKS - n), n);
        assert_memory_equal(plain, fast, sizeof plain);
    }
}

static void test_ranges(void **state) {
    const uint64_t most = UINT64_MAX;
    (void)state;
    assert_true(ot_is_inside(0, 0, 0));
    assert_true(ot_is_inside(0, 10, 10));
    assert_true(ot_is_inside(10, 0, 10));
    assert_true(ot_is_inside(most - 1, 1, most));
    assert_false(ot_is_inside(0, 11, 10));
    assert_false(ot_is_inside(11, 0, 10));
    assert_false(ot_is_inside(1, most, most));
    assert_false(ot_is_inside(most, most, most));
    assert_false(ot_is_inside(most - 5, 10, 100)); /* the sum is 4 */
}

static void test_write_then_read(void **state) {
    (void)state;
    struct file_writer w;
    ot_error err;
    void *bytes;
    size_t size;
    ot_allocator al = ot_allocator_or_default(NULL);
    const char *path = in_folder("a");
    for (int round = 0; round < 2; round++) { /* the second one replaces the first */
        assert_int_equal(ot_file_begin(&w, path, &err), OT_OK);
        assert_int_equal(ot_file_write(&w, "hello ", 6, &err), OT_OK);
        assert_int_equal(ot_file_write(&w, "there", 5, &err), OT_OK);
        assert_int_equal(ot_file_commit(&w, &err), OT_OK);
    }
    assert_int_equal(entries(), 1);
    assert_int_equal(ot_file_read(&al, NULL, path, 11, &bytes, &size, &err), OT_OK);
    assert_int_equal(size, 11);
    assert_memory_equal(bytes, "hello there", 11);
    ot_block_free(&al, bytes);
    struct pool *pool;
    assert_int_equal(ot_pool_new(NULL, 2, NULL, NULL, &pool, &err), OT_OK);
    assert_int_equal(ot_file_read(&al, pool, path, 11, &bytes, &size, &err), OT_OK);
    assert_int_equal(size, 11);
    assert_memory_equal(bytes, "hello there", 11);
    ot_block_free(&al, bytes);
    ot_pool_free(pool);
    assert_int_equal(ot_file_read(&al, NULL, path, 10, &bytes, &size, &err), OT_ERROR_LIMIT);
    unlink(path);
}

static void test_abort_leaves_nothing(void **state) {
    (void)state;
    struct file_writer w;
    assert_int_equal(ot_file_begin(&w, in_folder("b"), NULL), OT_OK);
    assert_int_equal(ot_file_write(&w, "x", 1, NULL), OT_OK);
    ot_file_abort(&w);
    assert_int_equal(entries(), 0);
    assert_int_equal(ot_file_write(&w, "x", 1, NULL), OT_ERROR_IO);
    assert_int_equal(ot_file_commit(&w, NULL), OT_ERROR_IO);
}

/* What the file holds is read again: bytes that changed under way, and bytes that are missing. */
static void test_bytes_that_do_not_read_back(void **state) {
    (void)state;
    struct file_writer w;
    ot_error err;
    char bytes[10000] = "all of it";
    for (size_t at = 0; at < sizeof bytes; at += 1111) {
        assert_int_equal(ot_file_begin(&w, in_folder("r"), &err), OT_OK);
        assert_int_equal(ot_file_write(&w, bytes, 777, &err), OT_OK);
        assert_int_equal(ot_file_write(&w, bytes + 777, sizeof bytes - 777, &err), OT_OK);
        if (at < 9 * 1111)
            assert_int_equal(pwrite(w.fd, "\1", 1, (off_t)at), 1);
        else
            assert_int_equal(ftruncate(w.fd, (off_t)at - 1), 0);
        assert_int_equal(ot_file_commit(&w, &err), OT_ERROR_IO);
        assert_non_null(strstr(err.message, "read back"));
        assert_int_equal(entries(), 0);
    }
}

static void test_targets_that_are_no_files(void **state) {
    (void)state;
    struct file_writer w;
    ot_error err;
    assert_int_equal(ot_file_begin(&w, folder, &err), OT_ERROR_PATH);
    assert_int_equal(symlink("elsewhere", in_folder("link")), 0);
    assert_int_equal(ot_file_begin(&w, in_folder("link"), &err), OT_ERROR_PATH);
    unlink(in_folder("link"));
    assert_int_equal(ot_file_begin(&w, in_folder("missing/c"), &err), OT_ERROR_IO);
    assert_int_equal(entries(), 0);
}

static void test_W21_sources_that_are_no_files(void **state) {
    (void)state;
    ot_error err;
    void *bytes;
    size_t size;
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    const char *const path[] = {folder, in_folder("fifo"), "/dev/zero", "/proc/self/mem",
                                "/nonexistent"};
    for (size_t i = 0; i < sizeof path / sizeof *path; i++)
        assert_int_equal(ot_file_read(NULL, NULL, path[i], 1 << 20, &bytes, &size, &err),
                         OT_ERROR_IO);
    unlink(in_folder("fifo"));
}

static int make_folder(void **state) {
    (void)state;
    return !mkdtemp(folder);
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_sha256_fips_examples),
        cmocka_unit_test(test_sha256_instructions),
        cmocka_unit_test(test_write_then_read),
        cmocka_unit_test(test_abort_leaves_nothing),
        cmocka_unit_test(test_bytes_that_do_not_read_back),
        cmocka_unit_test(test_targets_that_are_no_files),
        cmocka_unit_test(test_W21_sources_that_are_no_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
