/* test_readers.c - files that claim what they do not hold, and files that are no files. */
#include "tests/sanitized.h"
#include "tools/data/data.h"
#include "tools/data/image.h"
#include "tools/data/inflate.h"
#include "tools/data/proto.h"
#include "tools/data/zip.h"
#include "tools/file.h"
#include "tools/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>
#include <zlib.h>

static const struct data_request one_input = {.n_inputs = 1, .input = {"x"}, .output = "y"};

static int make_folder(void **state) {
    static char folder[] = "/tmp/test_readers_XXXXXX";
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
    assert_int_equal(fclose(file), 0);
}

/* What a small file claims must be refused before memory is asked for, so that there is little of
 * it here. Sanitizers map their own memory and cannot be limited this way. */
static void limit_memory(bool on) {
#ifndef OT_SANITIZED
    static struct rlimit before;
    struct rlimit small;
    if (on) assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    small = before;
    small.rlim_cur = (rlim_t)512 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, on ? &small : &before), 0);
#else
    (void)on;
#endif
}

/* The data set at `path` is refused with this text. */
static void refuse_data(const char *path, const char *text) {
    struct data_source d;
    struct failure f = {0};
    limit_memory(true);
    const int code = ot_data_open(&d, path, SPLIT_AUTO, &one_input, &f);
    limit_memory(false);
    if (code != EXIT_DATA || !strstr(f.text, text)) print_error("%s\n", f.text);
    assert_int_equal(code, EXIT_DATA);
    assert_non_null(strstr(f.text, text));
}

/* ---- zip and gzip ---- */

/* Three members, of which the last begins 2 GiB behind the end of the file. */
static void refuses_members_outside_the_file(void **state) {
    (void)state;
    static const unsigned char end[22] = {'P', 'K', 5, 6, 0, 0, 0, 0, 3, 0, 3, 0, 153, 0, 0, 0, 30};
    static const uint32_t local[3] = {0, 0x10000000, 0x80000000};
    unsigned char zip[30 + 3 * 51 + 22] = {'P', 'K', 3, 4};
    for (int i = 0; i < 3; i++) {
        unsigned char *p = zip + 30 + 51 * i;
        memcpy(p, "PK\1\2", 4);
        p[28] = 5; /* length of the name */
        for (int k = 0; k < 4; k++) p[42 + k] = (unsigned char)(local[i] >> (8 * k));
        memcpy(p + 46, (const char *[]){"x.npy", "y.npy", "z.npy"}[i], 5);
    }
    memcpy(zip + 30 + 3 * 51, end, sizeof end);
    write_file("outside.npz", zip, sizeof zip);
    refuse_data("outside.npz", "outside the file");
}

/* A raw deflate stream, or a gzip file, of `n` zeros. */
static unsigned char *pack_zeros(size_t n, bool gzip, size_t *size) {
    z_stream z = {0};
    unsigned char *zeros = calloc(n, 1), *out = malloc(n / 500 + 4096);
    assert_true(zeros && out);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, gzip ? 31 : -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = zeros;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)(n / 500 + 4096);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *size = z.total_out;
    deflateEnd(&z);
    free(zeros);
    return out;
}

/* Exactly what is announced, or nothing; beyond what a file may claim, memory grows. */
static void unpacks_what_is_announced(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 70000, 66 << 20};
    for (size_t i = 0; i < 3; i++)
        for (int gzip = 0; gzip < (i < 2 ? 2 : 1); gzip++) {
            struct failure f = {0};
            unsigned char *out;
            size_t packed;
            unsigned char *in = pack_zeros(sizes[i], gzip, &packed);
            assert_int_equal(ot_inflate(in, packed, gzip, sizes[i], &out, &f), 0);
            assert_int_equal(out[0] + out[sizes[i] - 1], 0);
            free(out);
            assert_int_equal(ot_inflate(in, packed, gzip, sizes[i] - 1, &out, &f), EXIT_DATA);
            assert_int_equal(ot_inflate(in, packed, gzip, sizes[i] + 1, &out, &f), EXIT_DATA);
            assert_int_equal(ot_inflate(in, packed - 1, gzip, sizes[i], &out, &f), EXIT_DATA);
            limit_memory(true);
            const int code = ot_inflate(in, packed, gzip, (uint64_t)1 << 40, &out, &f);
            limit_memory(false);
            assert_int_equal(code, EXIT_DATA);
            assert_null(out);
            free(in);
        }
}

/* A gzipped IDX file of n zeros that claims `claimed` of them, `cut` bytes shorter. */
static void write_idx_gz(const char *path, size_t n, uint32_t claimed, int cut) {
    unsigned char head[8] = {0, 0, 8, 1};
    for (int k = 0; k < 4; k++) head[4 + k] = (unsigned char)(claimed >> (24 - 8 * k));
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, head, 8), 8);
    for (size_t i = 0; i < n; i++) assert_int_equal(gzputc(file, 0), 0);
    assert_int_equal(gzclose(file), Z_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - cut), 0);
}

static void refuses_lying_gzip(void **state) {
    (void)state;
    struct data_source d;
    struct failure f;
    write_idx_gz("good.gz", 1000, 1000, 0);
    assert_int_equal(ot_data_open(&d, "good.gz", SPLIT_AUTO, &one_input, &f), 0);
    assert_int_equal(d.count, 1000);
    ot_data_close(&d);
    write_idx_gz("more.gz", 1000, 2000000000, 0);
    refuse_data("more.gz", "its header announces");
    write_idx_gz("trailer.gz", 1000, 1000, 8);
    refuse_data("trailer.gz", "its header announces");
    write_idx_gz("cut.gz", 1000, 1000, 9);
    refuse_data("cut.gz", "its header announces");
    write_file("plain.idx", "\0\0\10\1\167\65\224\0some", 12);
    refuse_data("plain.idx", "its header announces");
}

/* ---- TensorProto, images ---- */

/* 37 bytes whose shape has 2.2 billion elements and whose only payload has another type. */
static void refuses_lying_tensors(void **state) {
    (void)state;
    static const unsigned char lying[] = {
        0x09, 0x04, 0x38, 0x38, 0x38, 0x38, 0x38, 0x01, 0x01, 0x01, 0x37, 0x00, 0xfc,
        0x00, 0x08, 0x01, 0x00, 0x04, 0x15, 0x4a, 0x14, 0x4a, 0x10, 0x4d, 0x49, 0x65,
        0x61, 0x28, 0x10, 0x01, 0x15, 0xbe, 0x4a, 0xf4, 0x00, 0x10, 0x04};
    /* dims 2^31 (a varint of five bytes), type, and four bytes of its own field */
    static const struct {
        unsigned char bytes[16];
        size_t n;
        const char *text;
    } cases[] = {
        {"\10\200\200\200\200\10\20\1\42\4\0\0\0\0", 14, "4 bytes for 2147483648 elements"},
        {"\10\200\200\200\200\10\20\1\112\4\0\0\0\0", 14, "4 bytes for 2147483648 elements"},
        {"\10\200\200\200\200\10\20\7\72\4\0\0\0\0", 14, "fewer elements than its shape"},
        {"\10\200\200\200\200\10\20\12\52\4\0\0\0\0", 14, "fewer elements than its shape"},
        {"\10\200\200\200\200\10\20\7", 8, "has no elements"}};
    assert_int_equal(mkdir("pb", 0700), 0);
    write_file("pb/input_0.pb", lying, sizeof lying);
    refuse_data("pb", "'pb/input_0.pb'");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file("pb/input_0.pb", cases[i].bytes, cases[i].n);
        refuse_data("pb", cases[i].text);
    }
}

/* Headers of 9000 x 9000 pixels with nothing behind them. */
static void refuses_lying_images(void **state) {
    (void)state;
    static const unsigned char side[2] = {9000 >> 8, 9000 & 255};
    unsigned char png[57] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    memcpy(png + 18, side, 2);
    memcpy(png + 22, side, 2);
    png[24] = 8; /* bits, of grey */
    const uint32_t crc = (uint32_t)crc32(0, png + 12, 17);
    for (int k = 0; k < 4; k++) png[29 + k] = (unsigned char)(crc >> (24 - 8 * k));
    memcpy(png + 37, "IDAT", 4); /* without bytes */
    memcpy(png + 49, "IEND", 4);
    /* a baseline and a progressive frame of one component, then the beginning of a scan */
    unsigned char jpeg[] = {0xff,    0xd8,    0xff, 0xc0, 0,    11, 8,    side[0], side[1],
                            side[0], side[1], 1,    1,    0x11, 0,  0xff, 0xda,    0,
                            8,       1,       1,    0,    0,    63, 0};
    struct failure f = {0};
    struct image image = {0};
    for (int i = 0; i < 3; i++) {
        if (i == 2) jpeg[3] = 0xc2;
        write_file("big", i ? jpeg : png, i ? sizeof jpeg : sizeof png);
        limit_memory(true);
        const int code = ot_image_read("big", &image, &f);
        limit_memory(false);
        assert_int_equal(code, EXIT_DATA);
        if (!strstr(f.text, "the limit for this size is")) print_error("%s\n", f.text);
        assert_non_null(strstr(f.text, "'big'"));
        assert_non_null(strstr(f.text, "the limit for this size is"));
    }
}

/* ---- what is no file ---- */

static void reads_no_fifo(void **state) {
    (void)state;
    static const char *const names[] = {"f", "f.npy", "f.npz", "f.bin", "f.jpg"};
    unsigned char *bytes, head[4];
    size_t n;
    struct failure f = {0};
    struct zip *zip;
    struct image image;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(mkfifo(names[i], 0600), 0);
        refuse_data(names[i], "is not a regular file");
    }
    assert_int_equal(ot_read_file("f", EXIT_DATA, &bytes, &n, &f), EXIT_DATA);
    assert_int_equal(ot_read_head("f", EXIT_USAGE, head, 4, &n, &n, &f), EXIT_USAGE);
    assert_int_equal(ot_zip_open("f", &zip, &f), EXIT_DATA);
    assert_int_equal(ot_image_read("f", &image, &f), EXIT_DATA);
    assert_int_equal(ot_read_file("/dev/zero", EXIT_DATA, &bytes, &n, &f), EXIT_DATA);
    assert_int_equal(ot_read_file(".", EXIT_DATA, &bytes, &n, &f), EXIT_DATA);
    assert_int_equal(ot_read_file("/proc/self/mem", EXIT_DATA, &bytes, &n, &f), EXIT_DATA);
    struct settings *s = calloc(1, sizeof *s);
    assert_int_equal(ot_settings_read(s, "f", &f), EXIT_USAGE);
    free(s);
}

/* Members of a data set that are FIFOs: labels, a part, class names, a tensor. */
static void reads_no_fifo_in_folders(void **state) {
    (void)state;
    static const char *const names[][2] = {{"idx", "train-images-idx3-ubyte"},
                                           {"cifar", "data_batch_1.bin"},
                                           {"onnx", "input_0.pb"},
                                           {"images", "a.png"}};
    char path[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(mkdir(names[i][0], 0700), 0);
        snprintf(path, sizeof path, "%s/%s", names[i][0], names[i][1]);
        assert_int_equal(mkfifo(path, 0600), 0);
        if (i < 3) refuse_data(names[i][0], "is not a regular file");
    }
    struct data_source d;
    struct sample s;
    struct failure f = {0};
    assert_int_equal(ot_data_open(&d, "images", SPLIT_AUTO, &one_input, &f), 0);
    assert_int_equal(ot_data_read(&d, 0, 0, &s, &f), EXIT_DATA);
    ot_data_close(&d);
}

/* ---- one bad file of many ---- */

static char told[1024];

static void take_line(const char *line) {
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", line);
}

static void write_png(const char *path, size_t cut) {
    unsigned char pixel[4] = {1, 2, 3, 4}, bytes[256];
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = 2, .height = 2, .format = PNG_FORMAT_GRAY};
    png_alloc_size_t size = sizeof bytes;
    assert_true(png_image_write_to_memory(&image, bytes, &size, 0, pixel, 0, NULL));
    write_file(path, bytes, size - cut);
}

/* All are told of, in their order, whatever the threads; what is left keeps its labels. */
static void leaves_out_broken_images(void **state) {
    (void)state;
    char path[64];
    struct data_source d;
    struct failure f = {0};
    for (int i = 0; i < 40; i++) {
        if (i % 20 == 0) assert_int_equal(mkdir(i ? "set/b" : "set", 0700), 0);
        if (i == 0) assert_int_equal(mkdir("set/a", 0700), 0);
        snprintf(path, sizeof path, "set/%c/%02d.png", i < 20 ? 'a' : 'b', i);
        write_png(path, i == 7 || i == 33 ? 20 : 0);
    }
    struct data_request request = one_input;
    request.check = true;
    request.tell = take_line;
    for (request.threads = 1; request.threads < 5; request.threads++) {
        told[0] = '\0';
        request.skip_broken = false;
        assert_int_equal(ot_data_open(&d, "set", SPLIT_AUTO, &request, &f), EXIT_DATA);
        assert_non_null(strstr(f.text, "2 of 40 images"));
        const char *first = strstr(told, "'set/a/07.png'"),
                   *second = strstr(told, "'set/b/33.png'");
        assert_true(first && second && first < second);
        request.skip_broken = true;
        assert_int_equal(ot_data_open(&d, "set", SPLIT_AUTO, &request, &f), 0);
        assert_int_equal(d.count, 38);
        assert_int_equal(d.left_out, 2);
        assert_int_equal(d.target.dim[0], 38);
        assert_string_equal(d.file[7], "set/a/08.png");
        assert_int_equal(((int64_t *)d.target.data)[18], 0);
        assert_int_equal(((int64_t *)d.target.data)[19], 1);
        assert_string_equal(d.file[37], "set/b/39.png");
        ot_data_close(&d);
    }
    write_png("set/a/broken.png", 60);
    assert_int_equal(mkdir("all", 0700), 0);
    assert_int_equal(rename("set/a/broken.png", "all/broken.png"), 0);
    assert_int_equal(ot_data_open(&d, "all", SPLIT_AUTO, &request, &f), EXIT_DATA);
    assert_non_null(strstr(f.text, "1 of 1 images"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_members_outside_the_file),
        cmocka_unit_test(unpacks_what_is_announced),
        cmocka_unit_test(refuses_lying_gzip),
        cmocka_unit_test(refuses_lying_tensors),
        cmocka_unit_test(refuses_lying_images),
        cmocka_unit_test(reads_no_fifo),
        cmocka_unit_test(reads_no_fifo_in_folders),
        cmocka_unit_test(leaves_out_broken_images),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
