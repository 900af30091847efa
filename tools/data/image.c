/* image.c - reads JPEG and PNG files, converts between grey and RGB. */
#include "tools/data/image.h"
#include "tools/file.h"

#include <stdlib.h>
#include <string.h>

int ot_image_afford(uint64_t needed, size_t size, const char *name, struct failure *f) {
    if (needed <= ot_most_claimed(size)) return 0;
    return ot_refuse(f, EXIT_DATA,
                     "'%s': a file of %zu bytes claims an image of %llu bytes; the limit for this "
                     "size is %llu",
                     name, size, (unsigned long long)needed,
                     (unsigned long long)ot_most_claimed(size));
}

int ot_image_make(struct image *image, uint64_t width, uint64_t height, int channels,
                  const char *name, struct failure *f) {
    const uint64_t most = 100000000;
    if (width < 1 || height < 1 || width > most || height > most / width)
        return ot_refuse(f, EXIT_DATA, "'%s' has %llu x %llu pixels; the limit is 100 million",
                         name, (unsigned long long)width, (unsigned long long)height);
    *image = (struct image){(int64_t)width, (int64_t)height, channels, NULL};
    image->pixels = ot_take((size_t)(width * height), (size_t)channels, f);
    return image->pixels ? 0 : f->code;
}

int ot_image_read(const char *path, struct image *image, struct failure *f) {
    unsigned char *bytes;
    size_t size;
    *image = (struct image){0};
    int code = ot_read_file(path, EXIT_DATA, &bytes, &size, f);
    if (code) return code;
    if (size > 3 && bytes[0] == 0xff && bytes[1] == 0xd8)
        code = ot_jpeg_decode(bytes, size, path, image, f);
    else if (size > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        code = ot_png_decode(bytes, size, path, image, f);
    else
        code = ot_refuse(f, EXIT_DATA, "'%s' is neither JPEG nor PNG", path);
    free(bytes);
    if (code) {
        free(image->pixels);
        *image = (struct image){0};
    }
    return code;
}

int ot_image_convert(struct image *image, int channels, struct failure *f) {
    struct image fresh;
    if (image->channels == channels) return 0;
    const int code = ot_image_make(&fresh, (uint64_t)image->width, (uint64_t)image->height,
                                   channels, "image", f);
    if (code) return code;
    const int64_t n = image->width * image->height;
    const uint8_t *p = image->pixels;
    for (int64_t i = 0; i < n && channels == 3; i++) memset(fresh.pixels + 3 * i, p[i], 3);
    /* luma 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, rounded (ITU-R BT.601-2) */
    for (int64_t i = 0; i < n && channels == 1; i++, p += 3)
        fresh.pixels[i] = (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768u) >> 16);
    free(image->pixels);
    *image = fresh;
    return 0;
}
