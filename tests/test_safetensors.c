/* test_safetensors.c - JSON, CRC-32, and safetensors files: round trip, damage, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/crc32.h"
#include "runtime/base/json.h"
#include "runtime/base/safetensors.h"
#include "tests/counter.h"

/* ---- JSON ---- */

static ot_status read_json(struct arena *a, const char *text, struct json_tree *tree) {
    ot_error err;
    ot_arena_init(a, NULL, 0);
    return ot_json_read(a, text, strlen(text), tree, &err);
}

static void json_reads_what_the_standard_allows(void **state) {
    (void)state;
    struct arena a;
    struct json_tree t;
    static const char good[] = " {\"a\": [1, -2.5e+3, true, null], \"b\":{}, \"\":\"\"} ";
    assert_int_equal(read_json(&a, good, &t), 0);
    assert_int_equal(t.n, 8);
    assert_int_equal(t.value[0].count, 3);
    assert_int_equal(t.value[1].count, 4);
    assert_int_equal(t.value[1].after, 6);
    assert_string_equal(t.value[3].text, "-2.5e+3");
    assert_int_equal(t.value[4].kind, OT_JSON_TRUE);
    assert_int_equal(ot_json_find(&t, 0, "b"), 6);
    assert_int_equal(ot_json_find(&t, 0, "c"), -1);
    ot_arena_free(&a);
    assert_int_equal(read_json(&a, "\"\\u00e9\\ud83d\\ude00\\n\\/\"", &t), 0);
    assert_string_equal(t.value[0].text, "\xc3\xa9\xf0\x9f\x98\x80\n/");
    ot_arena_free(&a);
}

static void json_refuses_what_it_does_not(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\u0000\"",
        "\"\n\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "1 1",
        "[1]]",
        "[}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "[1]x",
        "/**/1",
    };
    struct arena a;
    struct json_tree t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_json(&a, bad[i], &t) != OT_ERROR_PARSE) fail_msg("accepted: %s", bad[i]);
        ot_arena_free(&a);
    }
    char deep[101] = {0};
    memset(deep, '[', 100);
    assert_int_equal(read_json(&a, deep, &t), OT_ERROR_PARSE);
    ot_arena_free(&a);
    /* the same key in different objects is fine */
    assert_int_equal(read_json(&a, "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", &t), 0);
    ot_arena_free(&a);
}

static void json_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {{"0", true},
                 {"18446744073709551615", true},
                 {"18446744073709551616", false},
                 {"-1", false},
                 {"1.0", false},
                 {"1e2", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = 7;
        struct json v = {.kind = OT_JSON_NUMBER, .text = cases[i].text};
        assert_int_equal(ot_json_u64(&v, &n), cases[i].ok);
    }
}

static void crc32_of_the_standard_check_value(void **state) {
    (void)state;
    struct crc32 c;
    ot_crc32_init(&c);
    ot_crc32_add(&c, "12345", 5);
    ot_crc32_add(&c, "6789", 4);
    assert_int_equal(c.value, 0xcbf43926);
}

/* ---- files ---- */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/safetensors-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const float w[6] = {1, -2, 3.5f, 0, -0.0f, 1e-30f};
static const int32_t col[3] = {0, 7, 2147483647};
static const uint8_t flags[5] = {1, 0, 1, 1, 0};
static const double rate = 0.1;
static const struct safetensor tensors[] = {
    {"flags \"\\\x12\xc3\xa9", OT_BOOL, 1, {5}, flags},
    {"w", OT_FLOAT, 2, {2, 3}, w},
    {"w.col", OT_INT32, 1, {3}, col},
    {"rate", OT_DOUBLE, 0, {0}, &rate},
    {"none", OT_FLOAT, 2, {0, 9}, NULL},
};
static const ot_note notes[] = {{"epoch", "3"}, {"empty", ""}};
enum { N = sizeof tensors / sizeof *tensors };

/* Writes the sample and reads its bytes; free() them. */
static char *sample(size_t *size) {
    ot_error err = {0};
    ot_allocator a = ot_allocator_or_default(NULL);
    const char *path = in_folder("a");
    if (ot_safetensors_write(&a, path, tensors, N, notes, 2, &err)) fail_msg("%s", err.message);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = aligned_alloc(64, 4096);
    *size = fread(bytes, 1, 4096, f);
    fclose(f);
    unlink(path);
    return bytes;
}

static void what_goes_in_comes_out(void **state) {
    (void)state;
    ot_error err = {0};
    ot_allocator a = ot_allocator_or_default(NULL);
    const char *path = in_folder("a");
    struct safetensors s;
    if (ot_safetensors_write(&a, path, tensors, N, notes, 2, &err)) fail_msg("%s", err.message);
    if (ot_safetensors_read(&a, path, 4096, &s, &err)) fail_msg("%s", err.message);
    assert_int_equal(s.n, N);
    for (int i = 0; i < N; i++) {
        const struct safetensor *t = ot_safetensors_find(&s, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, tensors[i].type);
        assert_int_equal(t->rank, tensors[i].rank);
        assert_memory_equal(t->dim, tensors[i].dim, (size_t)t->rank * sizeof *t->dim);
    }
    assert_memory_equal(ot_safetensors_find(&s, "w")->data, w, sizeof w);
    assert_memory_equal(ot_safetensors_find(&s, "w.col")->data, col, sizeof col);
    assert_memory_equal(ot_safetensors_find(&s, "rate")->data, &rate, sizeof rate);
    assert_null(ot_safetensors_find(&s, "v"));
    assert_string_equal(ot_safetensors_note(&s, "epoch"), "3");
    assert_string_equal(ot_safetensors_note(&s, "empty"), "");
    assert_null(ot_safetensors_note(&s, "crc32"));
    ot_safetensors_free(&s);
    assert_int_equal(ot_safetensors_read(&a, path, 100, &s, &err), OT_ERROR_LIMIT);
    unlink(path);
}

static void the_same_tensors_give_the_same_bytes(void **state) {
    (void)state;
    size_t m, n;
    char *a = sample(&m), *b = sample(&n);
    assert_int_equal(m, n);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static ot_status view(const void *bytes, size_t size) {
    struct safetensors s;
    ot_error err;
    ot_allocator a = ot_allocator_or_default(NULL);
    ot_status status = ot_safetensors_view(&a, bytes, size, &s, &err);
    ot_safetensors_free(&s);
    return status;
}

static void C01_every_bit_flip_is_refused(void **state) {
    (void)state;
    size_t size;
    char *bytes = sample(&size);
    assert_int_equal(view(bytes, size), OT_OK);
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (char)(1 << i % 8);
        if (!view(bytes, size)) fail_msg("bit %zu of byte %zu does not count", i % 8, i / 8);
        bytes[i / 8] ^= (char)(1 << i % 8);
    }
    free(bytes);
}

static void C02_truncated_or_extended_is_refused(void **state) {
    (void)state;
    size_t size;
    char *bytes = sample(&size);
    for (size_t n = 0; n < size; n++) assert_int_not_equal(view(bytes, n), OT_OK);
    bytes[size] = 0;
    for (size_t n = 1; n < 9; n++) assert_int_not_equal(view(bytes, size + n), OT_OK);
    free(bytes);
}

static ot_status view_header(const char *header, size_t data) {
    char *bytes = aligned_alloc(64, 4096);
    memset(bytes, 0, 4096);
    uint64_t n = (strlen(header) + 7) / 8 * 8;
    memcpy(bytes, &n, 8);
    memset(bytes + 8, ' ', n);
    memcpy(bytes + 8, header, strlen(header));
    ot_status status = view(bytes, 8 + n + data);
    free(bytes);
    return status;
}

static void C03_lies_in_the_header_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "[]",
        "1",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{\"__metadata__\":[]}",
        "{\"__metadata__\":{\"a\":1}}",
        /* beyond the file, holes, overlaps, wrong size, overflow, unaligned */
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,18446744073709551615]}}",
        "{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[[2]],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,[8]]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"
        "\"data_offsets\":[0,8]}}",
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"a\":{\"dtype\":\"I8\",\"shape\":[7],\"data_offsets\":[1,8]},"
        "\"a\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[8,8]}}",
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
        "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[4,12]}}",
        /* right but for the checksum */
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"__metadata__\":{\"crc32\":\"00000000\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!view_header(bad[i], 8)) fail_msg("accepted: %s", bad[i]);
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, 1u << 31, 4096, 2, 0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t bytes[8] = {lengths[i]};
        assert_int_not_equal(view(bytes, sizeof bytes), OT_OK);
    }
}

static void unusable_arguments_are_refused(void **state) {
    (void)state;
    static const struct safetensor bad[] = {
        {"", OT_FLOAT, 0, {0}, w},     {NULL, OT_FLOAT, 0, {0}, w},
        {"\xff", OT_FLOAT, 0, {0}, w}, {"__metadata__", OT_FLOAT, 0, {0}, w},
        {"s", OT_STRING, 0, {0}, w},   {"r", OT_FLOAT, 17, {0}, w},
        {"d", OT_FLOAT, 1, {-1}, w},   {"o", OT_FLOAT, 2, {INT64_MAX, 8}, w},
    };
    static const ot_note bad_notes[] = {{"crc32", "0"}, {"a", "\xff"}, {"a", NULL}};
    ot_allocator a = ot_allocator_or_default(NULL);
    ot_error err;
    const char *path = in_folder("a");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ot_safetensors_write(&a, path, &bad[i], 1, NULL, 0, &err),
                         OT_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof bad_notes / sizeof *bad_notes; i++)
        assert_int_equal(ot_safetensors_write(&a, path, NULL, 0, &bad_notes[i], 1, &err),
                         OT_ERROR_ARGUMENT);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    ot_error err;
    const char *path = in_folder("a");
    ot_status status = OT_ERROR_NO_MEMORY;
    for (int k = 0; status; k++) {
        struct counter f = {.fail_at = k + 1};
        ot_allocator a = counting_allocator(&f);
        struct safetensors s = {0};
        status = ot_safetensors_write(&a, path, tensors, N, notes, 2, &err);
        if (!status) status = ot_safetensors_read(&a, path, 4096, &s, &err);
        if (status) assert_int_equal(status, OT_ERROR_NO_MEMORY);
        ot_safetensors_free(&s);
        assert_int_equal(f.live, 0);
        assert_true(k < 100);
    }
    unlink(path);
}

/* Lookups of names that are there and that are not take some 0.1 s here; one by one through the
 * list they took a minute. */
static void names_are_found_in_a_large_file(void **state) {
    (void)state;
    enum { MANY = 60000, LENGTH = 16 };
    static const float one = 1;
    struct safetensor *list = calloc(MANY, sizeof *list);
    const char *path = in_folder("many");
    char(*name)[LENGTH] = calloc(MANY, sizeof *name), other[LENGTH];
    struct safetensors s;
    ot_error err = {0};
    ot_allocator al = ot_allocator_or_default(NULL);
    assert_true(list && name);
    for (int i = 0; i < MANY; i++) { /* 7919 is prime: every number comes once, in no order */
        snprintf(name[i], LENGTH, "w%lld", 7919LL * i % MANY);
        list[i] = (struct safetensor){.name = name[i], .type = OT_FLOAT, .data = &one};
    }
    if (ot_safetensors_write(&al, path, list, MANY, NULL, 0, &err)) fail_msg("%s", err.message);
    if (ot_safetensors_read(&al, path, 1 << 30, &s, &err)) fail_msg("%s", err.message);
    const clock_t start = clock();
    for (int i = 0; i < MANY; i++) {
        snprintf(other, sizeof other, "v%d", i);
        assert_null(ot_safetensors_find(&s, other));
        const struct safetensor *t = ot_safetensors_find(&s, name[i]);
        assert_true(t && !strcmp(t->name, name[i]));
    }
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5);
    ot_safetensors_free(&s);
    free(list);
    free(name);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_reads_what_the_standard_allows),
        cmocka_unit_test(json_refuses_what_it_does_not),
        cmocka_unit_test(json_numbers),
        cmocka_unit_test(crc32_of_the_standard_check_value),
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(the_same_tensors_give_the_same_bytes),
        cmocka_unit_test(C01_every_bit_flip_is_refused),
        cmocka_unit_test(C02_truncated_or_extended_is_refused),
        cmocka_unit_test(C03_lies_in_the_header_are_refused),
        cmocka_unit_test(unusable_arguments_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(names_are_found_in_a_large_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
