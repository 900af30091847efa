/* image_png.c - PNG files through libpng, which reports errors by longjmp here. */
#include "tools/data/image.h"
#include "runtime/base/range.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

struct decoder {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    char text[160];
    const unsigned char *bytes;
    size_t size;
    struct image *image;
    struct failure *f;
    const char *name;
};

static void leave(png_structp png, png_const_charp text) {
    struct decoder *d = png_get_error_ptr(png);
    snprintf(d->text, sizeof d->text, "%s", text);
    longjmp(d->escape, 1);
}

static void keep_silent(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void take_bytes(png_structp png, png_bytep out, size_t n) {
    struct decoder *d = png_get_io_ptr(png);
    if (n > d->size) png_error(png, "the file ends early");
    memcpy(out, d->bytes, n);
    d->bytes += n;
    d->size -= n;
}

/* libpng takes memory for a chunk on the word of its length: all chunks must be there, up to IEND.
 */
static bool has_chunks(const unsigned char *p, size_t size) {
    for (size_t at = 8; ot_is_inside(at, 12, size);) {
        const size_t length =
            (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 | (size_t)p[at + 2] << 8 | p[at + 3];
        if (!ot_is_inside(at + 12, length, size)) return false;
        if (!memcmp(p + at + 4, "IEND", 4)) return true;
        at += 12 + length;
    }
    return false;
}

/* Asks libpng for 8 bits, no palette, no alpha; grey stays grey. How often rows come. */
static int set_transforms(struct decoder *d) {
    png_set_expand(d->png);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    const int passes = png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    return passes;
}

static int decode(struct decoder *d) {
    const size_t size = d->size;
    png_set_read_fn(d->png, d, take_bytes);
    png_set_user_limits(d->png, 100000000, 100000000);
    png_set_chunk_malloc_max(d->png, 8 << 20); /* a zTXt chunk may unpack to anything */
    png_read_info(d->png, d->info);
    const png_uint_32 width = png_get_image_width(d->png, d->info);
    const png_uint_32 height = png_get_image_height(d->png, d->info);
    /* libpng has two rows as they stand in the file, of at most 8 bytes a pixel */
    int code =
        ot_image_afford(3 * (uint64_t)width * height + 16 * (uint64_t)width, size, d->name, d->f);
    if (code) return code;
    const int passes = set_transforms(d);
    const int channels = png_get_channels(d->png, d->info);
    code = ot_image_make(d->image, width, height, channels == 1 ? 1 : 3, d->name, d->f);
    if (code) return code;
    const size_t row = (size_t)width * (size_t)d->image->channels;
    if (png_get_rowbytes(d->png, d->info) != row)
        return ot_refuse(d->f, EXIT_DATA, "'%s': unknown PNG colour type", d->name);
    for (int pass = 0; pass < passes; pass++)
        for (png_uint_32 i = 0; i < height; i++)
            png_read_row(d->png, d->image->pixels + i * row, NULL);
    png_read_end(d->png, NULL);
    return 0;
}

int ot_png_decode(const unsigned char *bytes, size_t size, const char *name, struct image *image,
                  struct failure *f) {
    if (!has_chunks(bytes, size))
        return ot_refuse(f, EXIT_DATA, "'%s': the PNG is cut short", name);
    struct decoder *d = ot_take(1, sizeof *d, f);
    if (!d) return f->code;
    *d = (struct decoder){.bytes = bytes, .size = size, .image = image, .f = f, .name = name};
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, leave, keep_silent);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    int code;
    if (!d->info)
        code = ot_refuse(f, EXIT_MEMORY, "'%s': cannot start libpng", d->name);
    else if (setjmp(d->escape) == 0)
        code = decode(d);
    else
        code = ot_refuse(f, EXIT_DATA, "'%s': %s", d->name, d->text);
    png_destroy_read_struct(&d->png, &d->info, NULL);
    free(d);
    return code;
}
