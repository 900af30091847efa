/* test_image.c - resizing against Pillow's results, grey conversion, broken JPEG and PNG files. */
#include "tools/data/data.h"
#include "tools/data/image.h"
#include "tools/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>

static uint64_t take(const unsigned char **p, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)(*p)[i] << (8 * i);
    *p += n;
    return v;
}

static void resizes_as_pillow(void **state) {
    (void)state;
    struct failure f = {0};
    unsigned char *bytes;
    size_t size;
    const char *path = OT_TESTS_DIR "/golden/resize.bin";
    assert_int_equal(ot_read_file(path, EXIT_DATA, &bytes, &size, &f), 0);
    const unsigned char *p = bytes;
    int cases = 0;
    for (; p < bytes + size; cases++) {
        struct image image;
        const int channels = (int)take(&p, 1);
        const uint64_t w = take(&p, 2), h = take(&p, 2), w2 = take(&p, 2), h2 = take(&p, 2);
        assert_int_equal(ot_image_make(&image, w, h, channels, "case", &f), 0);
        memcpy(image.pixels, p, w * h * (size_t)channels);
        p += w * h * (size_t)channels;
        assert_int_equal(ot_image_resize(&image, (int64_t)w2, (int64_t)h2, &f), 0);
        for (size_t i = 0; i < w2 * h2 * (size_t)channels; i++)
            if (abs(image.pixels[i] - p[i]) > 0)
                fail_msg("case %d, byte %zu: %d, Pillow has %d", cases, i, image.pixels[i], p[i]);
        p += w2 * h2 * (size_t)channels;
        free(image.pixels);
    }
    assert_int_equal(cases, 8);
    free(bytes);
}

static void converts_grey_and_colour(void **state) {
    (void)state;
    struct failure f = {0};
    struct image image;
    assert_int_equal(ot_image_make(&image, 2, 1, 3, "case", &f), 0);
    memcpy(image.pixels, "\xff\x00\x00\x0a\x14\x1e", 6);
    assert_int_equal(ot_image_convert(&image, 1, &f), 0);
    assert_int_equal(image.pixels[0], 76); /* 0.299 * 255 */
    assert_int_equal(image.pixels[1], 18); /* 0.299 * 10 + 0.587 * 20 + 0.114 * 30 */
    assert_int_equal(ot_image_convert(&image, 3, &f), 0);
    assert_memory_equal(image.pixels, "\x4c\x4c\x4c\x12\x12\x12", 6);
    free(image.pixels);
}

static void refuses_too_many_pixels(void **state) {
    (void)state;
    struct failure f = {0};
    struct image image;
    assert_int_equal(ot_image_make(&image, 20000, 5001, 1, "big", &f), EXIT_DATA);
    assert_int_equal(ot_image_make(&image, UINT64_MAX, 2, 1, "big", &f), EXIT_DATA);
    assert_int_equal(ot_image_make(&image, 0, 2, 1, "none", &f), EXIT_DATA);
}

/* A JPEG of 16x16 pixels in fresh memory. */
static unsigned char *make_jpeg(unsigned long *size) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL, row[48];
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, size);
    jpeg.image_width = jpeg.image_height = 16;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < 16; y++) {
        JSAMPROW line = row;
        memset(row, 16 * y, sizeof row);
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return bytes;
}

/* A PNG of 16x16 grey pixels in fresh memory. */
static unsigned char *make_png(png_alloc_size_t *size) {
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = 16, .height = 16, .format = PNG_FORMAT_GRAY};
    unsigned char pixels[256];
    for (int i = 0; i < 256; i++) pixels[i] = (unsigned char)i;
    *size = 0;
    assert_true(png_image_write_to_memory(&image, NULL, size, 0, pixels, 0, NULL));
    unsigned char *bytes = malloc(*size);
    assert_true(png_image_write_to_memory(&image, bytes, size, 0, pixels, 0, NULL));
    return bytes;
}

typedef int decode_fn(const unsigned char *bytes, size_t size, const char *name,
                      struct image *image, struct failure *f);

/* The file cut at every length is refused; damaged bytes end in an image or a message. */
static void attack(decode_fn *decode, unsigned char *bytes, size_t size) {
    struct failure f = {0};
    struct image image = {0};
    assert_int_equal(decode(bytes, size, "good", &image, &f), 0);
    assert_int_equal(image.width, 16);
    free(image.pixels);
    for (size_t n = 0; n < size; n++) {
        image = (struct image){0};
        f.text[0] = '\0';
        const int code = decode(bytes, n, "cut", &image, &f);
        assert_true(code == EXIT_DATA || (code == 0 && n + 2 >= size)); /* an end marker lost */
        assert_true(code == 0 || strstr(f.text, "cut") != NULL);
        free(image.pixels);
    }
    for (size_t i = 0; i < size; i++) {
        const unsigned char kept = bytes[i];
        image = (struct image){0};
        bytes[i] ^= 0xff;
        decode(bytes, size, "damaged", &image, &f);
        bytes[i] = kept;
        free(image.pixels);
    }
}

static void survives_broken_jpegs(void **state) {
    (void)state;
    unsigned long size = 0;
    unsigned char *bytes = make_jpeg(&size);
    attack(ot_jpeg_decode, bytes, size);
    free(bytes);
}

static void survives_broken_pngs(void **state) {
    (void)state;
    png_alloc_size_t size;
    unsigned char *bytes = make_png(&size);
    attack(ot_png_decode, bytes, size);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizes_as_pillow), cmocka_unit_test(converts_grey_and_colour),
        cmocka_unit_test(refuses_too_many_pixels), cmocka_unit_test(survives_broken_jpegs),
        cmocka_unit_test(survives_broken_pngs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
