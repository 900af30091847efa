/* seeds_image.c - small JPEG and PNG files of every kind. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

enum { SIDE = 9 };

static void seed_jpeg(const char *name, J_COLOR_SPACE space, int channels, bool progressive) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL, row[4 * SIDE];
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &size);
    jpeg.image_width = jpeg.image_height = SIDE;
    jpeg.input_components = channels;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    if (progressive) jpeg_simple_progression(&jpeg);
    jpeg.restart_interval = progressive ? 0 : 2;
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < SIDE; y++) {
        JSAMPROW line = row;
        for (size_t i = 0; i < sizeof row; i++) row[i] = (unsigned char)(i * 7 + (size_t)y * 31);
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    seed_write("image", name, bytes, size);
    free(bytes);
}

struct sink {
    unsigned char bytes[4096];
    size_t n;
};

static void take(png_structp png, png_bytep p, size_t n) {
    struct sink *s = png_get_io_ptr(png);
    if (n > sizeof s->bytes - s->n) png_error(png, "a large seed");
    memcpy(s->bytes + s->n, p, n);
    s->n += n;
}

static void flush(png_structp png) { (void)png; }

static void seed_png(const char *name, int color, int bits, int interlace) {
    struct sink s = {.n = 0};
    unsigned char row[8 * SIDE];
    png_color palette[4] = {{0, 0, 0}, {255, 0, 0}, {0, 255, 0}, {9, 9, 9}};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) fuzz_fail("no libpng");
    png_set_write_fn(png, &s, take, flush);
    png_set_IHDR(png, info, SIDE, SIDE, bits, color, interlace, PNG_COMPRESSION_TYPE_BASE,
                 PNG_FILTER_TYPE_BASE);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
    png_write_info(png, info);
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (int y = 0; y < SIDE; y++) {
            memset(row, color == PNG_COLOR_TYPE_PALETTE ? 0x11 : y * 20, sizeof row);
            png_write_row(png, row);
        }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    seed_write("image", name, s.bytes, s.n);
}

void seed_images(void) {
    static const int colors[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_PALETTE,
                                 PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB_ALPHA};
    static const char *const words[] = {"IHDR",     "PLTE",     "IDAT",     "IEND",     "tRNS",
                                        "gAMA",     "iCCP",     "zTXt",     "sBIT",     "\xff\xc0",
                                        "\xff\xc2", "\xff\xc4", "\xff\xda", "\xff\xdb", "\xff\xdd",
                                        "\xff\xd9", "Adobe"};
    for (int progressive = 0; progressive < 2; progressive++) {
        seed_jpeg(progressive ? "gray-progressive" : "gray", JCS_GRAYSCALE, 1, progressive);
        seed_jpeg(progressive ? "rgb-progressive" : "rgb", JCS_RGB, 3, progressive);
        seed_jpeg(progressive ? "cmyk-progressive" : "cmyk", JCS_CMYK, 4, progressive);
    }
    for (int i = 0; i < 5; i++)
        for (int bits = 1; bits <= 16; bits *= 2)
            for (int interlace = 0; interlace < 2; interlace++) {
                char name[32];
                const bool palette = colors[i] == PNG_COLOR_TYPE_PALETTE;
                if ((bits < 8 && i > 0 && !palette) || (palette && (bits < 2 || bits > 4)))
                    continue;
                snprintf(name, sizeof name, "png-%d-%d-%d", colors[i], bits, interlace);
                seed_png(name, colors[i], bits, interlace);
            }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        seed_word("image", words[i], strlen(words[i]));
}
