/* test_payload.c - contents of tensors: every field that may hold them, every way to be wrong;
 * sparse weights, and tensors whose data lies in other files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx/open_under.h"
#include "tests/hostile.h"

enum { FLOATS = 4, INT32S = 5, STRINGS = 6, INT64S = 7, RAW = 9, DOUBLES = 10, UINT64S = 11 };

/* An initializer of this type and shape whose field holds n values (bytes, for RAW) of `value`. */
struct payload {
    const char *id;
    int type, rank;
    int64_t dim[4];
    int field; /* 0: none */
    int n;
    int64_t value;
    ot_status status;
    const char *text;
};

#define BIG      ((int64_t)1 << 32)
#define HUGE_DIM ((int64_t)1 << 62)

static const struct payload payloads[] = {
    {"T01 2^32 x 2^32", OT_FLOAT, 2, {BIG, BIG}, RAW, 4, 0, INVALID, "too large"},
    {"T01 2^42+1 x 2^22", OT_FLOAT, 2, {((int64_t)1 << 42) + 1, 1 << 22}, RAW, 4, 0, INVALID, ""},
    {"T02 2^61 floats", OT_FLOAT, 1, {(int64_t)1 << 61}, RAW, 4, 0, INVALID, "too large"},
    {"T02 2^41 floats", OT_FLOAT, 1, {(int64_t)1 << 41}, RAW, 4, 0, LIMIT, "elements"},
    {"T03 a dim of -1", OT_FLOAT, 1, {-1}, RAW, 4, 0, INVALID, "dims[0] is -1"},
    {"T04 [0] of nothing", OT_FLOAT, 1, {0}, 0, 0, 0, OT_OK, ""},
    {"T04 [5,0,3] of nothing", OT_FLOAT, 3, {5, 0, 3}, 0, 0, 0, OT_OK, ""},
    {"T04 [0] of something", OT_FLOAT, 1, {0}, RAW, 4, 0, INVALID, "4 bytes of data, 0"},
    {"T05 zero hides an overflow", OT_FLOAT, 3, {0, HUGE_DIM, HUGE_DIM}, 0, 0, 0, INVALID, ""},
    {"T06 a scalar", OT_FLOAT, 0, {0}, RAW, 4, 0, OT_OK, ""},
    {"T06 a scalar of two", OT_FLOAT, 0, {0}, FLOATS, 2, 0, INVALID, "2 values, 1 expected"},
    {"T07 raw_data too short", OT_FLOAT, 1, {4}, RAW, 12, 0, INVALID, "12 bytes of data, 16"},
    {"T07 raw_data too long", OT_FLOAT, 1, {4}, RAW, 20, 0, INVALID, "20 bytes of data, 16"},
    {"T07 raw_data of half a value", OT_FLOAT, 1, {4}, RAW, 15, 0, INVALID, "15 bytes"},
    {"T08 float_data", OT_FLOAT, 1, {4}, FLOATS, 4, 1, OT_OK, ""},
    {"T08 float_data too short", OT_FLOAT, 1, {4}, FLOATS, 3, 1, INVALID, "3 values, 4"},
    {"T08 int32_data too short", OT_INT32, 1, {4}, INT32S, 3, 1, INVALID, "3 values, 4"},
    {"T08 int64_data too long", OT_INT64, 1, {4}, INT64S, 5, 1, INVALID, "5 values, 4"},
    {"T08 double_data too long", OT_DOUBLE, 1, {4}, DOUBLES, 5, 1, INVALID, "5 values, 4"},
    {"T08 uint64_data too short", OT_UINT64, 1, {4}, UINT64S, 1, 1, INVALID, "1 values, 4"},
    {"T09 no data", OT_FLOAT, 1, {4}, 0, 0, 0, INVALID, "0 bytes of data, 16"},
    {"T10 FLOAT in int32_data", OT_FLOAT, 1, {4}, INT32S, 4, 1, INVALID, "not for type float"},
    {"T10 FLOAT16 in float_data", OT_FLOAT16, 1, {4}, FLOATS, 4, 1, INVALID, "not for type"},
    {"T11 70000 as FLOAT16", OT_FLOAT16, 1, {4}, INT32S, 4, 70000, INVALID, "70000"},
    {"T11 -1 as UINT8", OT_UINT8, 1, {4}, INT32S, 4, -1, INVALID, "-1"},
    {"T11 200 as INT8", OT_INT8, 1, {4}, INT32S, 4, 200, INVALID, "200"},
    {"T11 2^32 as UINT32", OT_UINT32, 1, {4}, UINT64S, 4, BIG, INVALID, "uint32"},
    {"T12 BOOL of 255", OT_BOOL, 1, {4}, RAW, 4, 255, OT_OK, ""},
    {"T13 INT4", 22, 1, {4}, RAW, 2, 0, UNSUPPORTED, "22"},
    {"T14 STRING in raw_data", OT_STRING, 1, {4}, RAW, 4, 0, UNSUPPORTED, "string"},
    {"T14 COMPLEX64", 14, 1, {4}, FLOATS, 8, 0, UNSUPPORTED, "complex64"},
    {"T14 FLOAT8", 17, 1, {4}, RAW, 4, 0, UNSUPPORTED, "17"},
    {"T15 type 0", 0, 1, {4}, RAW, 16, 0, INVALID, "data_type 0"},
    {"W20 type 9999", 9999, 1, {4}, RAW, 16, 0, INVALID, "9999"},
    {"W20 type -5", -5, 1, {4}, RAW, 16, 0, INVALID, "-5"},
};

static void put_field(struct wire *w, int field, int n, int64_t value) {
    wire_begin(w, (unsigned)field);
    for (int i = 0; i < n; i++) {
        const uint8_t byte = (uint8_t)value;
        const float f = (float)value;
        const double d = (double)value;
        if (field == RAW)
            wire_put(w, &byte, 1);
        else if (field == FLOATS)
            wire_put(w, &f, sizeof f);
        else if (field == DOUBLES)
            wire_put(w, &d, sizeof d);
        else
            wire_varint(w, (uint64_t)value);
    }
    wire_end(w);
}

static void finish(struct wire *w) {
    wire_node(w, "Relu", "x", "y");
    wire_value(w, 11, "x", OT_FLOAT, 1, (int64_t[]){4});
    wire_value(w, 12, "y", OT_FLOAT, 1, (int64_t[]){4});
    wire_close_model(w);
}

static void run_payload(void **state) {
    const struct payload *p = *state;
    struct wire w = {0};
    wire_open_model(&w);
    wire_open_tensor(&w, 5, "w", p->type, p->rank, p->dim);
    if (p->field) put_field(&w, p->field, p->n, p->value);
    wire_end(&w);
    finish(&w);
    check_hostile(&w, p->status, p->text);
    wire_free(&w);
}

static void initializer(struct wire *w, const char *name) {
    wire_floats(w, 5, name, 1, (int64_t[]){1}, (float[]){1});
}
static void both_fields(struct wire *w) {
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, 1, (int64_t[]){1});
    put_field(w, RAW, 4, 0);
    put_field(w, FLOATS, 1, 0);
    wire_end(w);
    finish(w);
}
static void no_name(struct wire *w) {
    wire_open_model(w);
    initializer(w, "");
    finish(w);
}
static void same_name(struct wire *w) {
    wire_open_model(w);
    initializer(w, "w");
    initializer(w, "w");
    finish(w);
}
static void name_of_output(struct wire *w) {
    wire_open_model(w);
    initializer(w, "y");
    finish(w);
}
static void input_of_other_shape(struct wire *w) {
    wire_open_model(w);
    initializer(w, "w");
    wire_value(w, 11, "w", OT_FLOAT, 1, (int64_t[]){2});
    finish(w);
}
static void input_of_same_shape(struct wire *w) {
    wire_open_model(w);
    initializer(w, "w");
    wire_value(w, 11, "w", OT_FLOAT, 1, (int64_t[]){-1});
    finish(w);
}
static void rank(struct wire *w, int n) {
    const int64_t dim[17] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, n, dim);
    put_field(w, RAW, 4, 0);
    wire_end(w);
    finish(w);
}
static void rank_16(struct wire *w) { rank(w, 16); }
static void rank_17(struct wire *w) { rank(w, 17); }
static void segment(struct wire *w) {
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, 1, (int64_t[]){1});
    put_field(w, RAW, 4, 0);
    wire_bytes(w, 3, "", 0);
    wire_end(w);
    finish(w);
}
static void location_9(struct wire *w) {
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, 1, (int64_t[]){1});
    wire_int(w, 14, 9);
    wire_end(w);
    finish(w);
}
static void external_and_inline(struct wire *w) {
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, 1, (int64_t[]){1});
    put_field(w, RAW, 4, 0);
    wire_int(w, 14, 1);
    wire_entry(w, 13, "location", "w.bin");
    wire_end(w);
    finish(w);
}
static void external_in_memory(struct wire *w) {
    wire_open_model(w);
    wire_open_tensor(w, 5, "w", OT_FLOAT, 1, (int64_t[]){1});
    wire_int(w, 14, 1);
    wire_entry(w, 13, "location", "w.bin");
    wire_end(w);
    finish(w);
}

static const struct hostile tensors[] = {
    {"T09 raw_data and float_data", INVALID, "raw_data and in another", both_fields},
    {"T16 no name", INVALID, "name is missing", no_name},
    {"T16 the same name", INVALID, "twice", same_name},
    {"T16 name of a node's output", INVALID, "already used", name_of_output},
    {"T17 input of another shape", INVALID, "shape", input_of_other_shape},
    {"T17 input of the same shape", OT_OK, "", input_of_same_shape},
    {"T18 rank 16", OT_OK, "", rank_16},
    {"T18 rank 17", LIMIT, "the rank is 17", rank_17},
    {"T22 segment", UNSUPPORTED, "segment", segment},
    {"T23 data_location 9", INVALID, "9", location_9},
    {"T23 external and inline data", INVALID, "external and inline", external_and_inline},
    {"X17 external data of a buffer", OT_ERROR_PATH, "not a file", external_in_memory},
};

/* ---- external data: a folder with a file of 64 bytes, links and stranger things ---- */

static char folder[] = "/tmp/onnxtrain-external-XXXXXX";

struct external {
    const char *id, *location, *offset, *length, *key, *value;
    ot_status status;
    const char *text;
};

#define PATH OT_ERROR_PATH
static const struct external externals[] = {
    {"X00 plain", "w.bin", NULL, NULL, NULL, NULL, OT_OK, ""},
    {"X00 folder", "sub/w.bin", "0", "64", NULL, NULL, OT_OK, ""},
    {"X00 part", "long.bin", "13", "64", NULL, NULL, OT_OK, ""},
    {"X01 ../w", "../w.bin", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 a/../../w", "sub/../../w.bin", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 absolute", "/etc/passwd", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 //x", "//x", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 .", ".", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 empty", "", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 a/", "sub/", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X01 a/..", "sub/..", NULL, NULL, NULL, NULL, PATH, "beneath"},
    {"X02 backslashes", "\\\\host\\share", NULL, NULL, NULL, NULL, OT_ERROR_IO, ""},
    {"X02 URL", "file:///etc/passwd", NULL, NULL, NULL, NULL, PATH, ""},
    {"X02 tilde", "~root/.ssh", NULL, NULL, NULL, NULL, OT_ERROR_IO, ""},
    {"X03 marker of ORT", "*/_ORT_MEM_ADDR_/*", "4096", NULL, NULL, NULL, OT_ERROR_IO, ""},
    {"X04 link", "link.bin", NULL, NULL, NULL, NULL, PATH, "symbolic link"},
    {"X04 link as folder", "link/w.bin", NULL, NULL, NULL, NULL, PATH, ""},
    {"X04 dangling link", "dangling", NULL, NULL, NULL, NULL, PATH, ""},
    {"X05 hard link", "hard.bin", NULL, NULL, NULL, NULL, PATH, "more than one name"},
    {"X08 folder as file", "sub", NULL, NULL, NULL, NULL, PATH, ""},
    {"X08 FIFO", "fifo", NULL, NULL, NULL, NULL, PATH, ""},
    {"X09 missing", "nothing.bin", NULL, NULL, NULL, NULL, OT_ERROR_IO, "nothing.bin"},
    {"X10 offset -1", "w.bin", "-1", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 offset abc", "w.bin", "abc", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 offset 1e3", "w.bin", "1e3", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 offset with blank", "w.bin", " 5", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 offset 0x10", "w.bin", "0x10", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 offset 2^64", "w.bin", "18446744073709551616", NULL, NULL, NULL, INVALID, "offset"},
    {"X10 no length, more to come", "long.bin", NULL, NULL, NULL, NULL, INVALID, "not end with"},
    {"X11 offset beyond", "w.bin", "65", "64", NULL, NULL, INVALID, "64 bytes, 64 from 65"},
    {"X11 end beyond", "w.bin", "1", "64", NULL, NULL, INVALID, "64 from 1"},
    {"X11 end overflows", "w.bin", "9223372036854775807", "64", NULL, NULL, INVALID, ""},
    {"X12 wrong length", "w.bin", "0", "60", NULL, NULL, INVALID, "length is 60"},
    {"X15 unknown key", "w.bin", NULL, NULL, "evil", "1", INVALID, "'evil' is unknown"},
    {"X15 location twice", "w.bin", NULL, NULL, "location", "w.bin", INVALID, "given twice"},
    {"X15 no location", NULL, "0", NULL, NULL, NULL, INVALID, "location is missing"},
    {"X16 malformed checksum", "w.bin", NULL, NULL, "checksum", "xyz", INVALID, "SHA-1"},
};

static const char *in_folder(const char *name) {
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, const void *bytes, size_t n) {
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void run_external(void **state) {
    const struct external *x = *state;
    struct wire w = {0};
    struct counter c = {0};
    struct graph *g = NULL;
    ot_error err = {0};
    wire_open_model(&w);
    wire_open_tensor(&w, 5, "w", OT_FLOAT, 1, (int64_t[]){16});
    wire_int(&w, 14, 1);
    if (x->location) wire_entry(&w, 13, "location", x->location);
    if (x->offset) wire_entry(&w, 13, "offset", x->offset);
    if (x->length) wire_entry(&w, 13, "length", x->length);
    if (x->key) wire_entry(&w, 13, x->key, x->value);
    wire_end(&w);
    finish(&w);
    write_file("model.onnx", w.p, w.n);
    wire_free(&w);
    const struct import_options options = import_defaults(&c);
    const int fd = dup(0);
    close(fd);
    ot_status status = ot_import_file(in_folder("model.onnx"), &options, &g, &err);
    if (status != x->status) print_error("%s\n", err.message);
    assert_int_equal(status, x->status);
    assert_non_null(strstr(err.message, x->text));
    if (!status) {
        const float *f = g->value[0].constant->data;
        for (int i = 0; i < 16; i++) assert_true(f[i] == (float)i);
    }
    ot_graph_free(g);
    assert_int_equal(c.live, 0);
    const int again = dup(0); /* no descriptor stayed open */
    assert_int_equal(again, fd);
    close(again);
}

/* The way without openat2 gives the same answers. */
static void test_X07_stepwise(void **state) {
    (void)state;
    const int at = open(folder, O_PATH | O_DIRECTORY);
    assert_true(at >= 0);
    for (size_t i = 0; i < sizeof externals / sizeof *externals; i++) {
        const char *path = externals[i].location;
        int a = -1, b = -1;
        if (!path) continue;
        ot_status expected = ot_open_under(at, path, &a, NULL);
        assert_int_equal(ot_open_under_stepwise(at, path, &b, NULL), expected);
        if (expected) continue;
        struct stat one, other;
        assert_int_equal(fstat(a, &one) | fstat(b, &other), 0);
        assert_int_equal(one.st_ino, other.st_ino);
        close(a);
        close(b);
    }
    close(at);
}

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return 1;
    float data[20] = {0};
    for (int i = 0; i < 16; i++) data[i] = (float)i;
    mkdir(in_folder("sub"), 0700);
    write_file("w.bin", data, 64);
    write_file("sub/w.bin", data, 64);
    char shifted[80] = {0};
    memcpy(shifted + 13, data, 64);
    write_file("long.bin", shifted, sizeof shifted);
    write_file("hard1", data, 64);
    return link(in_folder("hard1"), in_folder("hard.bin")) |
           symlink("w.bin", in_folder("link.bin")) | symlink("sub", in_folder("link")) |
           symlink("nowhere", in_folder("dangling")) | mkfifo(in_folder("fifo"), 0600);
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"model.onnx", "w.bin",    "sub/w.bin", "sub",
                                        "long.bin",   "hard1",    "hard.bin",  "link.bin",
                                        "link",       "dangling", "fifo"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove(in_folder(names[i]));
    return rmdir(folder);
}

int main(void) {
    enum {
        PAYLOADS = sizeof payloads / sizeof *payloads,
        TENSORS = sizeof tensors / sizeof *tensors,
        EXTERNALS = sizeof externals / sizeof *externals
    };
    static struct CMUnitTest tests[PAYLOADS + TENSORS + EXTERNALS + 1];
    struct CMUnitTest *t = tests;
    for (int i = 0; i < PAYLOADS; i++)
        *t++ = (struct CMUnitTest){payloads[i].id, run_payload, NULL, NULL, (void *)&payloads[i]};
    for (int i = 0; i < TENSORS; i++)
        *t++ = (struct CMUnitTest){tensors[i].id, run_hostile, NULL, NULL, (void *)&tensors[i]};
    for (int i = 0; i < EXTERNALS; i++)
        *t++ =
            (struct CMUnitTest){externals[i].id, run_external, NULL, NULL, (void *)&externals[i]};
    *t = (struct CMUnitTest)cmocka_unit_test(test_X07_stepwise);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
