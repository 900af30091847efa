/* test_data.c - readers of data sets: what they understand, and broken files. */
#include "tools/data/batch.h"
#include "tools/data/data.h"
#include "tools/data/npy_write.h"
#include "tools/data/zip.h"
#include "tools/train/loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

static const struct data_request one_input = {.n_inputs = 1, .input = {"x"}, .output = "y"};

static int make_folder(void **state) {
    static char folder[32];
    strcpy(folder, "/tmp/test_data_XXXXXX");
    *state = mkdtemp(folder);
    return *state && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", (const char *)*state);
    return system(command);
}

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static int open_data(struct data_source *d, const char *path, enum split split, struct failure *f) {
    *f = (struct failure){0};
    return ot_data_open(d, path, split, &one_input, f);
}

/* ---- .npy --------------------------------------------------------------------------------- */

/* Parses a .npy 1.0 file with this header text and these data bytes. */
static int parse(const char *header, const void *data, size_t size, struct array *a,
                 struct failure *f) {
    unsigned char file[1024] = "\x93NUMPY\1";
    const size_t length = strlen(header);
    file[8] = (unsigned char)length;
    file[9] = (unsigned char)(length >> 8);
    memcpy(file + 10, header, length);
    if (size) memcpy(file + 10 + length, data, size);
    *a = (struct array){0};
    *f = (struct failure){0};
    return ot_npy_parse(file, 10 + length + size, "test", a, f);
}

static void reads_every_element_type(void **state) {
    (void)state;
    static const struct {
        const char *descr, *bytes;
        size_t size;
        ot_type type;
        double value; /* of the second element */
    } cases[] = {{"<f4", "\0\0\0\0\0\0\xc0\x3f", 8, OT_FLOAT, 1.5},
                 {">f4", "\0\0\0\0\x3f\xc0\0\0", 8, OT_FLOAT, 1.5},
                 {"<f8", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xf8\x3f", 16, OT_FLOAT, 1.5},
                 {"<f2", "\0\0\0\x3e", 4, OT_FLOAT, 1.5},
                 {"<f2", "\0\0\1\x80", 4, OT_FLOAT, -5.9604644775390625e-8},
                 {"|u1", "\0\xff", 2, OT_UINT8, 255},
                 {"|i1", "\0\xff", 2, OT_INT64, -1},
                 {"<i2", "\0\0\xfe\xff", 4, OT_INT64, -2},
                 {">i4", "\0\0\0\0\0\0\1\0", 8, OT_INT64, 256},
                 {"<u8", "\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 16, OT_INT64, 7},
                 {"|b1", "\0\1", 2, OT_INT64, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[128];
        struct array a;
        struct failure f;
        snprintf(header, sizeof header,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }\n", cases[i].descr);
        assert_int_equal(parse(header, cases[i].bytes, cases[i].size, &a, &f), 0);
        assert_int_equal(a.type, cases[i].type);
        const double value = a.type == OT_FLOAT   ? (double)((float *)a.data)[1]
                             : a.type == OT_UINT8 ? ((uint8_t *)a.data)[1]
                                                  : (double)((int64_t *)a.data)[1];
        assert_float_equal(value, cases[i].value, 0);
        free(a.data);
    }
}

static void transposes_columns(void **state) {
    (void)state;
    struct array a;
    struct failure f;
    assert_int_equal(
        parse("{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}", "adbecf", 6, &a, &f), 0);
    assert_memory_equal(a.data, "abcdef", 6);
    free(a.data);
}

static void refuses_broken_npy(void **state) {
    (void)state;
    static const char *const headers[] = {
        "",
        "{",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)",
        "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<U4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': ()}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 9)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2)}",
        "{'descr': '<f99999999999', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2)}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct array a;
        struct failure f;
        if (parse(headers[i], "ab", 2, &a, &f) != EXIT_DATA) fail_msg("accepted: %s", headers[i]);
        assert_true(f.text[0] && !a.data);
    }
    struct failure f;
    struct array a;
    assert_int_equal(
        ot_npy_parse((const unsigned char *)"\x93NUMPY\4\0\0\0\0\0\0\0\0", 14, "v4", &a, &f),
        EXIT_DATA);
    assert_int_equal(ot_npy_parse((const unsigned char *)"\x93NUMPY\2\0\xff\xff\xff\xff\0\0", 14,
                                  "long", &a, &f),
                     EXIT_DATA);
}

/* ---- .npz --------------------------------------------------------------------------------- */

static void write_npz(const char *path, const char *x, const char *y) {
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t labels[3] = {0, 2, 1};
    const ot_tensor t[2] = {{OT_FLOAT, 2, {3, 2}, values}, {OT_INT64, 1, {3}, labels}};
    const char *const names[2] = {x, y};
    struct failure f;
    assert_int_equal(ot_npz_write(path, t, names, 2, &f), 0);
}

static void reads_archives(void **state) {
    (void)state;
    struct data_source d;
    struct failure f;
    struct sample s;
    write_npz("a.npz", "x", "y");
    assert_int_equal(open_data(&d, "a.npz", SPLIT_AUTO, &f), 0);
    assert_int_equal(d.count, 3);
    assert_int_equal(d.classes, 3);
    assert_int_equal(ot_data_read(&d, 1, 0, &s, &f), 0);
    assert_true(s.rank == 1 && s.dim[0] == 2 && ((const float *)s.data)[1] == 4);
    ot_data_close(&d);
    write_npz("b.npz", "z", "y");
    assert_int_equal(open_data(&d, "b.npz", SPLIT_AUTO, &f), EXIT_DATA);
    assert_non_null(strstr(f.text, "no array 'x'"));
    write_npz("c.npz", "../x", "y");
    assert_int_equal(open_data(&d, "c.npz", SPLIT_AUTO, &f), EXIT_DATA);
}

/* One member "x.npy", deflated, in a zip of `size` bytes; returns the size. */
static size_t make_zip(unsigned char *zip, const void *data, size_t n) {
    unsigned char packed[4096];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (uInt)n,
                  .next_out = packed,
                  .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const uint32_t k = (uint32_t)z.total_out, crc = (uint32_t)crc32(0, data, (uInt)n);
    deflateEnd(&z);
    const uint32_t size = (uint32_t)n, directory = 35 + k;
    memset(zip, 0, 35 + k + 51 + 22);
    memcpy(zip, "PK\3\4\24\0\0\0\10\0", 10);
    memcpy(zip + 14, &crc, 4);
    memcpy(zip + 18, &k, 4);
    memcpy(zip + 22, &size, 4);
    memcpy(zip + 26, "\5\0\0\0x.npy", 9);
    memcpy(zip + 35, packed, k);
    unsigned char *p = zip + directory;
    memcpy(p, "PK\1\2\24\0\24\0\0\0\10\0", 12);
    memcpy(p + 16, &crc, 4);
    memcpy(p + 20, &k, 4);
    memcpy(p + 24, &size, 4);
    memcpy(p + 28, "\5", 1);
    memcpy(p + 46, "x.npy", 5);
    memcpy(p + 51, "PK\5\6\0\0\0\0\1\0\1\0\x33\0\0\0", 16);
    memcpy(p + 67, &directory, 4);
    return directory + 51 + 22;
}

static size_t make_npy(unsigned char *npy) {
    static const char header[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (200, 2), }\n";
    memcpy(npy, "\x93NUMPY\1\0", 8);
    npy[8] = sizeof header - 1;
    npy[9] = 0;
    memcpy(npy + 10, header, sizeof header - 1);
    memset(npy + 10 + sizeof header - 1, 7, 400);
    return 10 + sizeof header - 1 + 400;
}

static void survives_broken_archives(void **state) {
    (void)state;
    unsigned char npy[1024], zip[2048];
    const size_t size = make_zip(zip, npy, make_npy(npy));
    struct data_source d;
    struct failure f;
    write_file("good.npz", zip, size);
    assert_int_equal(open_data(&d, "good.npz", SPLIT_AUTO, &f), 0);
    assert_int_equal(d.count, 200);
    ot_data_close(&d);
    for (size_t n = 0; n < size; n++) {
        write_file("cut.npz", zip, n);
        assert_int_equal(open_data(&d, "cut.npz", SPLIT_AUTO, &f), EXIT_DATA);
    }
    for (size_t i = 0; i < size; i++) {
        zip[i] ^= 0x5a;
        write_file("damaged.npz", zip, size);
        zip[i] ^= 0x5a;
        if (open_data(&d, "damaged.npz", SPLIT_AUTO, &f) == 0)
            ot_data_close(&d); /* a byte that nobody reads */
    }
}

/* Sets bytes of the good archive and expects a refusal with this text. */
static void expect_zip(size_t at, const void *bytes, size_t n, const char *text) {
    unsigned char npy[1024], zip[2048];
    const size_t size = make_zip(zip, npy, make_npy(npy));
    const size_t directory = size - 22 - 51;
    struct data_source d;
    struct failure f;
    memcpy(zip + directory + at, bytes, n);
    write_file("lie.npz", zip, size);
    assert_int_equal(open_data(&d, "lie.npz", SPLIT_AUTO, &f), EXIT_DATA);
    if (!strstr(f.text, text)) fail_msg("%s", f.text);
}

static void refuses_lying_archives(void **state) {
    (void)state;
    expect_zip(24, "\xff\xff\xff\x7f", 4, "two sizes differ"); /* unpacked size */
    expect_zip(10, "\x63", 1, "method 99");
    expect_zip(8, "\1", 1, "encrypted");
    expect_zip(16, "\1\2\3\4", 4, "damaged"); /* CRC */
    expect_zip(42, "\1", 1, "overlap");       /* offset of the local header */
    expect_zip(46, "y", 1, "two names differ");
}

/* ---- IDX, CIFAR, ONNX --------------------------------------------------------------------- */

static void write_idx(const char *images, const char *labels, int n) {
    unsigned char bytes[64] = {0, 0, 8, 3, 0, 0, 0, (unsigned char)n, 0, 0, 0, 2, 0, 0, 0, 2};
    for (int i = 0; i < 4 * n; i++) bytes[16 + i] = (unsigned char)i;
    write_file(images, bytes, 16 + 4 * (size_t)n);
    unsigned char label[32] = {0, 0, 8, 1, 0, 0, 0, (unsigned char)n, 1, 0, 2};
    write_file(labels, label, 8 + (size_t)n);
}

static void reads_idx_folders(void **state) {
    (void)state;
    struct data_source d;
    struct failure f;
    struct sample s;
    mkdir("idx", 0777);
    write_idx("idx/train-images-idx3-ubyte", "idx/train-labels-idx1-ubyte", 3);
    write_idx("idx/t10k-images-idx3-ubyte", "idx/t10k-labels-idx1-ubyte", 2);
    assert_int_equal(open_data(&d, "idx", SPLIT_TRAIN, &f), 0);
    assert_true(d.has_parts && d.count == 3 && d.classes == 3);
    assert_int_equal(ot_data_read(&d, 2, 0, &s, &f), 0);
    assert_true(s.type == OT_UINT8 && s.rank == 2 && ((const uint8_t *)s.data)[3] == 11);
    ot_data_close(&d);
    assert_int_equal(open_data(&d, "idx", SPLIT_AUTO, &f), 0);
    assert_int_equal(d.count, 2);
    ot_data_close(&d);
    assert_int_equal(open_data(&d, "idx/train-images-idx3-ubyte", SPLIT_VAL, &f), EXIT_DATA);
    write_idx("idx/t10k-images-idx3-ubyte", "idx/other", 3);
    assert_int_equal(open_data(&d, "idx", SPLIT_AUTO, &f), EXIT_DATA); /* 3 images, 2 labels */
    write_file("cut-images-idx3-ubyte", "\0\0\10\3\0\0\0\3\0\0\0\2\0\0\0\2abc", 19);
    assert_int_equal(open_data(&d, "cut-images-idx3-ubyte", SPLIT_AUTO, &f), EXIT_DATA);
    write_file("long.idx", "\0\0\10\1\0\0\0\1ab", 10);
    assert_int_equal(open_data(&d, "long.idx", SPLIT_AUTO, &f), EXIT_DATA);
    write_file("huge.idx", "\0\0\10\3\377\377\377\377\377\377\377\377\377\377\377\377", 16);
    assert_int_equal(open_data(&d, "huge.idx", SPLIT_AUTO, &f), EXIT_DATA);
    write_file("type.idx", "\0\0\7\1\0\0\0\1a", 9);
    assert_int_equal(open_data(&d, "type.idx", SPLIT_AUTO, &f), EXIT_DATA);
}

static void reads_cifar_records(void **state) {
    (void)state;
    static unsigned char record[2 * 3073];
    struct data_source d;
    struct failure f;
    record[0] = 3;
    record[3073] = 9;
    record[3074] = 77;
    mkdir("cifar", 0777);
    write_file("cifar/data_batch_1.bin", record, 2 * 3073);
    write_file("cifar/test_batch.bin", record, 3073);
    assert_int_equal(open_data(&d, "cifar", SPLIT_TRAIN, &f), 0);
    assert_true(d.count == 2 && d.classes == 10 && d.has_parts);
    assert_int_equal(((uint8_t *)d.target.data)[1], 9);
    assert_int_equal(((uint8_t *)d.input[0].data)[3072], 77);
    ot_data_close(&d);
    record[0] = 10;
    write_file("cifar/test_batch.bin", record, 3073);
    assert_int_equal(open_data(&d, "cifar", SPLIT_AUTO, &f), EXIT_DATA);
    write_file("cifar/test_batch.bin", record, 3000);
    assert_int_equal(open_data(&d, "cifar", SPLIT_AUTO, &f), EXIT_DATA);
}

static void reads_onnx_test_data(void **state) {
    (void)state;
    static const char x[] = "\10\2\10\2\20\1\x4a\20\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40";
    static const char y[] = "\12\1\2\20\7\x3a\2\1\0"; /* packed dims, int64_data */
    struct data_source d;
    struct failure f;
    mkdir("onnx", 0777);
    mkdir("onnx/test_data_set_0", 0777);
    write_file("onnx/test_data_set_0/input_0.pb", x, sizeof x - 1);
    write_file("onnx/test_data_set_0/output_0.pb", y, sizeof y - 1);
    assert_int_equal(open_data(&d, "onnx", SPLIT_AUTO, &f), 0);
    assert_true(d.count == 2 && d.input[0].dim[1] == 2 && ((float *)d.input[0].data)[3] == 4);
    assert_int_equal(((int64_t *)d.target.data)[0], 1);
    ot_data_close(&d);
    for (size_t n = 0; n + 1 < sizeof x; n++) {
        write_file("onnx/test_data_set_0/input_0.pb", x, n);
        assert_int_equal(open_data(&d, "onnx", SPLIT_AUTO, &f), EXIT_DATA);
    }
}

/* ---- folders of images; batches ----------------------------------------------------------- */

static void names_the_broken_image(void **state) {
    (void)state;
    struct data_source d;
    struct failure f;
    struct sample s;
    mkdir("photos", 0777);
    mkdir("photos/b", 0777);
    mkdir("photos/a\n", 0777);
    write_file("photos/b/1.jpg", "no JPEG", 7);
    write_file("photos/a\n/2.png", "\x89PNG\r\n\x1a\n", 8);
    write_file("photos/a\n/readme.txt", "", 0);
    assert_int_equal(open_data(&d, "photos", SPLIT_AUTO, &f), 0);
    assert_true(d.count == 2 && d.classes == 2 && d.classes_exact);
    assert_string_equal(d.class_name[1], "b");
    assert_int_equal(ot_data_read(&d, 0, 0, &s, &f), EXIT_DATA);
    assert_non_null(strstr(f.text, "photos/a\\x0a/2.png"));
    assert_int_equal(ot_data_read(&d, 1, 0, &s, &f), EXIT_DATA);
    ot_data_close(&d);
    mkdir("photos/c", 0777);
    assert_int_equal(open_data(&d, "photos", SPLIT_AUTO, &f), EXIT_DATA);
    mkdir("nothing", 0777);
    assert_int_equal(open_data(&d, "nothing", SPLIT_AUTO, &f), EXIT_DATA);
    assert_int_equal(open_data(&d, "missing", SPLIT_AUTO, &f), EXIT_DATA);
}

/* A feed of the folder's IDX data for a model's input of this shape. */
static int make_feed(struct feed *feed, struct data_source *d, const char *line,
                     const ot_value_info *input, struct failure *f) {
    static const ot_loss_info loss = {.kind = OT_LOSS_CROSS_ENTROPY,
                                      .class_axis = 1,
                                      .classes = 3,
                                      .tokens = -1,
                                      .target = {OT_INT64, 1, {1}, NULL}};
    static struct settings s;
    struct model m = {.n_inputs = 1, .input = {*input}};
    char copy[256], *argv[8];
    int n = 0;
    ot_settings_free(&s);
    s = (struct settings){.command = EVAL, .name = "eval"};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) argv[n++] = word;
    assert_int_equal(ot_settings_parse(&s, n, argv, f), 0);
    const int code = ot_loss_feed_more(feed, &s, &m, d, &loss, f);
    ot_settings_free(&s);
    return code;
}

static void preprocesses(void **state) {
    (void)state;
    static const ot_value_info picture = {"x", OT_FLOAT, 4, {-1, 1, 2, 2}};
    static const ot_value_info flat = {"x", OT_FLOAT, 2, {-1, 4}};
    static const ot_value_info colour = {"x", OT_FLOAT, 4, {-1, 3, 4, 4}};
    static const ot_value_info wrong = {"x", OT_FLOAT, 2, {-1, 5}};
    struct data_source d;
    struct failure f;
    struct feed feed;
    struct batch b;
    const int64_t index[2] = {2, 0};
    write_idx("p-images-idx3-ubyte", "p-labels-idx1-ubyte", 3);
    assert_int_equal(open_data(&d, "p-images-idx3-ubyte", SPLIT_AUTO, &f), 0);
    assert_int_equal(make_feed(&feed, &d, "mean=0.5 std=2", &picture, &f), 0);
    assert_int_equal(ot_batch_make(&b, &feed, 2, &f), 0);
    assert_int_equal(ot_batch_fill(&b, &feed, index, 2, &f), 0);
    assert_true(b.input[0].rank == 4 && b.input[0].dim[0] == 2 && b.input[0].dim[3] == 2);
    const float *x = b.input[0].data;
    assert_float_equal(x[0], (8.0f / 255 - 0.5f) / 2, 1e-7);
    assert_float_equal(x[5], (1.0f / 255 - 0.5f) / 2, 1e-7);
    assert_int_equal(((const int64_t *)b.target.data)[0], 2);
    assert_int_equal(((const int64_t *)b.target.data)[1], 1);
    ot_batch_free(&b);
    assert_int_equal(make_feed(&feed, &d, "scale=1", &flat, &f), 0);
    assert_int_equal(feed.input[0].elements, 4);
    assert_int_equal(make_feed(&feed, &d, "mean=1,2,3 std=1", &colour, &f), 0);
    assert_true(feed.input[0].as_image && feed.input[0].elements == 48);
    assert_non_null(strstr(feed.input[0].note, "4x4"));
    assert_int_equal(make_feed(&feed, &d, "mean=0", &wrong, &f), EXIT_DATA);
    assert_int_equal(make_feed(&feed, &d, "std=0", &picture, &f), EXIT_USAGE);
    assert_int_equal(make_feed(&feed, &d, "mean=1,2", &picture, &f), EXIT_USAGE);
    ot_data_close(&d);
}

static void refuses_labels_out_of_range(void **state) {
    (void)state;
    static const ot_value_info input = {"x", OT_FLOAT, 2, {-1, 2}};
    static const float values[4] = {0, 0, 0, NAN};
    static const int64_t labels[2] = {0, 3};
    const ot_tensor t[2] = {{OT_FLOAT, 2, {2, 2}, values}, {OT_INT64, 1, {2}, labels}};
    const ot_tensor floats[2] = {t[0], {OT_FLOAT, 1, {2}, values}};
    const char *const names[2] = {"x", "y"};
    const int64_t index[2] = {0, 1};
    struct data_source d;
    struct failure f;
    struct feed feed;
    struct batch b;
    assert_int_equal(ot_npz_write("l.npz", t, names, 2, &f), 0);
    assert_int_equal(open_data(&d, "l.npz", SPLIT_AUTO, &f), 0);
    assert_int_equal(make_feed(&feed, &d, "a b", &input, &f), EXIT_DATA);
    assert_non_null(strstr(f.text, "label 3 of sample 1"));
    ((int64_t *)d.target.data)[1] = 2;
    assert_int_equal(make_feed(&feed, &d, "a b", &input, &f), 0);
    assert_int_equal(ot_batch_make(&b, &feed, 2, &f), 0);
    assert_int_equal(ot_batch_fill(&b, &feed, index, 2, &f), EXIT_DATA); /* the NaN */
    ot_batch_free(&b);
    ot_data_close(&d);
    assert_int_equal(ot_npz_write("f.npz", floats, names, 2, &f), 0);
    assert_int_equal(open_data(&d, "f.npz", SPLIT_AUTO, &f), 0);
    assert_int_equal(make_feed(&feed, &d, "a b", &input, &f), EXIT_DATA);
    ot_data_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_every_element_type),
                                       cmocka_unit_test(transposes_columns),
                                       cmocka_unit_test(refuses_broken_npy),
                                       cmocka_unit_test(reads_archives),
                                       cmocka_unit_test(survives_broken_archives),
                                       cmocka_unit_test(refuses_lying_archives),
                                       cmocka_unit_test(reads_idx_folders),
                                       cmocka_unit_test(reads_cifar_records),
                                       cmocka_unit_test(reads_onnx_test_data),
                                       cmocka_unit_test(names_the_broken_image),
                                       cmocka_unit_test(preprocesses),
                                       cmocka_unit_test(refuses_labels_out_of_range)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
