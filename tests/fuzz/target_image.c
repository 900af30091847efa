/* target_image.c - JPEG and PNG files, and what is done with the image. */
#include "tests/fuzz/fuzz.h"
#include "tools/data/image.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Gives the chunks of a PNG the checksums that they have now. */
static void mend_png(uint8_t *p, size_t n) {
    for (size_t at = 8; at + 12 <= n;) {
        const size_t length = (size_t)p[at] << 24 | (size_t)p[at + 1] << 16 |
                              (size_t)p[at + 2] << 8 | (size_t)p[at + 3];
        if (length > n - at - 12) return;
        const uint32_t crc = (uint32_t)crc32(0, p + at + 4, (uInt)length + 4);
        for (int k = 0; k < 4; k++) p[at + 8 + length + (size_t)k] = (uint8_t)(crc >> (24 - 8 * k));
        at += 12 + length;
    }
}

static void read_image(const uint8_t *bytes, size_t size) {
    struct image image;
    struct failure f = {0};
    const int code = ot_image_read(fuzz_file(bytes, size), &image, &f);
    if (code) {
        if (code != f.code || !*f.text || image.pixels) fuzz_fail("code %d '%s'", code, f.text);
        return;
    }
    if ((image.channels != 1 && image.channels != 3) || image.width < 1 || image.height < 1)
        fuzz_fail("%d channels", image.channels);
    if (!ot_image_convert(&image, 4 - image.channels, &f)) ot_image_resize(&image, 5, 3, &f);
    free(image.pixels);
}

void fuzz_image(const uint8_t *bytes, size_t size) {
    uint8_t *mended = fuzz_copy(bytes, size);
    if (size > 8 && bytes[0] == 0x89) mend_png(mended, size);
    read_image(mended, size);
    free(mended);
}
