/* image.h - 8-bit images: JPEG and PNG files, grey and RGB, resizing as Pillow does it. */
#ifndef OT_TOOLS_DATA_IMAGE_H
#define OT_TOOLS_DATA_IMAGE_H

#include "tools/tool.h"

struct image {
    int64_t width, height;
    int channels;    /* 1 or 3 */
    uint8_t *pixels; /* malloc'ed, [height][width][channels] */
};

/* Reads a JPEG or PNG file, by its bytes and not its name. 16-bit PNGs lose their low bytes,
 * palettes become RGB, alpha is dropped. EXIT_DATA with the path for everything broken. */
int ot_image_read(const char *path, struct image *image, struct failure *f);

/* Refuses what a file of `size` bytes may not make a decoder take: a header can claim anything.
 * needed: bytes of the pixels and of the decoder itself. */
int ot_image_afford(uint64_t needed, size_t size, const char *name, struct failure *f);

/* The decoders; `name` is for messages. */
int ot_jpeg_decode(const unsigned char *bytes, size_t size, const char *name, struct image *image,
                   struct failure *f);
int ot_png_decode(const unsigned char *bytes, size_t size, const char *name, struct image *image,
                  struct failure *f);

/* Sets the size and takes memory; refuses more than 100 million pixels. */
int ot_image_make(struct image *image, uint64_t width, uint64_t height, int channels,
                  const char *name, struct failure *f);

/* Replaces the image by one of 1 channel (ITU-R 601 luma) or of 3 equal ones. */
int ot_image_convert(struct image *image, int channels, struct failure *f);

/* Replaces the image by one of another size: antialiased bilinear filter. */
int ot_image_resize(struct image *image, int64_t width, int64_t height, struct failure *f);

#endif
