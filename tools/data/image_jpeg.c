/* image_jpeg.c - JPEG files through libjpeg, which reports errors by longjmp here. */
#include "tools/data/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>

enum { MOST_SCANS = 100 }; /* a progressive file can make the decoder repeat itself for hours */

struct decoder {
    struct jpeg_error_mgr errors; /* first: libjpeg hands out a pointer to it */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf escape;
    char text[JMSG_LENGTH_MAX];
    bool damaged;
    struct image *image;
    struct failure *f;
    const char *name;
};

static void leave(j_common_ptr common) {
    struct decoder *d = (struct decoder *)common->err;
    common->err->format_message(common, d->text);
    longjmp(d->escape, 1);
}

/* libjpeg fills what is missing with grey and calls it a warning; other warnings are harmless. */
static void note_damage(j_common_ptr common, int level) {
    struct decoder *d = (struct decoder *)common->err;
    const int code = common->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) d->damaged = true;
}

static void watch_scans(j_common_ptr common) {
    struct decoder *d = (struct decoder *)common->err;
    if (d->jpeg.input_scan_number <= MOST_SCANS) return;
    snprintf(d->text, sizeof d->text, "more than %d scans", MOST_SCANS);
    longjmp(d->escape, 1);
}

/* Everything between setjmp and the end; a failure of our own comes back as a code. */
static int decode(struct decoder *d, const unsigned char *bytes, size_t size) {
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &d->progress;
    jpeg_mem_src(jpeg, bytes, size);
    jpeg_read_header(jpeg, TRUE);
    const bool gray = jpeg->jpeg_color_space == JCS_GRAYSCALE;
    jpeg->out_color_space = gray ? JCS_GRAYSCALE : JCS_RGB; /* CMYK fails here, with a message */
    /* a progressive file's coefficients are kept, 16 bits each */
    const uint64_t samples = (uint64_t)jpeg->image_width * jpeg->image_height *
                             (uint64_t)(jpeg->num_components > 3 ? jpeg->num_components : 3);
    int code =
        ot_image_afford((jpeg_has_multiple_scans(jpeg) ? 3 : 1) * samples, size, d->name, d->f);
    if (code) return code;
    jpeg_start_decompress(jpeg);
    code = ot_image_make(d->image, jpeg->output_width, jpeg->output_height, gray ? 1 : 3, d->name,
                         d->f);
    if (code) return code;
    const size_t row = (size_t)d->image->width * (size_t)d->image->channels;
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW line = d->image->pixels + jpeg->output_scanline * row;
        jpeg_read_scanlines(jpeg, &line, 1);
    }
    jpeg_finish_decompress(jpeg);
    if (d->damaged)
        return ot_refuse(d->f, EXIT_DATA, "'%s': the JPEG is cut short or damaged", d->name);
    return 0;
}

int ot_jpeg_decode(const unsigned char *bytes, size_t size, const char *name, struct image *image,
                   struct failure *f) {
    struct decoder *d = ot_take(1, sizeof *d, f);
    if (!d) return f->code;
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = leave;
    d->errors.emit_message = note_damage;
    d->progress.progress_monitor = watch_scans;
    d->image = image;
    d->name = name;
    d->f = f;
    int code;
    if (setjmp(d->escape) == 0)
        code = decode(d, bytes, size);
    else
        code = ot_refuse(f, EXIT_DATA, "'%s': %s", d->name, d->text);
    jpeg_destroy_decompress(&d->jpeg);
    free(d);
    return code;
}
