/* resize.c - antialiased bilinear resizing of 8-bit images.
 *
 * The triangle filter f(t) = max(0, 1 - |t|) is stretched by the scale where the image shrinks.
 * Rows are filtered first, then columns, each rounded to 8 bits, with weights of 22 fractional
 * bits: the arithmetic of Pillow's Image.resize(BILINEAR), so that results agree with it.
 */
#include "tools/data/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRACTION = 22 };

/* For every output position: the first input, the number of inputs, their weights. */
struct filter {
    int64_t taps; /* weights per position */
    int64_t *first, *count;
    int32_t *weight;
};

static void free_filter(struct filter *filter) {
    free(filter->first);
    free(filter->count);
    free(filter->weight);
}

static int make_filter(struct filter *filter, int64_t in, int64_t out, struct failure *f) {
    const double scale = (double)in / (double)out, stretch = scale < 1 ? 1 : scale;
    filter->taps = (int64_t)ceil(stretch) * 2 + 1;
    filter->first = ot_take((size_t)out, sizeof(int64_t), f);
    filter->count = ot_take((size_t)out, sizeof(int64_t), f);
    filter->weight = ot_take((size_t)out, (size_t)filter->taps * sizeof(int32_t), f);
    double *w = ot_take((size_t)filter->taps, sizeof *w, f);
    if (!filter->first || !filter->count || !filter->weight || !w) {
        free(w);
        return f->code;
    }
    for (int64_t i = 0; i < out; i++) {
        const double center = ((double)i + 0.5) * scale;
        int64_t from = (int64_t)(center - stretch + 0.5), to = (int64_t)(center + stretch + 0.5);
        from = from < 0 ? 0 : from;
        to = to > in ? in : to;
        double sum = 0;
        for (int64_t k = from; k < to; k++) {
            const double t = fabs(((double)k - center + 0.5) / stretch);
            w[k - from] = t < 1 ? 1 - t : 0;
            sum += w[k - from];
        }
        for (int64_t k = 0; k < to - from; k++)
            filter->weight[i * filter->taps + k] =
                (int32_t)(0.5 + (sum > 0 ? w[k] / sum : 0) * (1 << FRACTION));
        filter->first[i] = from;
        filter->count[i] = to - from;
    }
    free(w);
    return 0;
}

/* Filters along one axis. An image is [outer][axis][inner]; `out` has out_axis positions. */
static void apply(const struct filter *filter, const uint8_t *in, uint8_t *out, int64_t outer,
                  int64_t axis, int64_t out_axis, int64_t inner) {
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < out_axis; i++) {
            const uint8_t *from = in + (o * axis + filter->first[i]) * inner;
            const int32_t *w = filter->weight + i * filter->taps;
            uint8_t *to = out + (o * out_axis + i) * inner;
            for (int64_t c = 0; c < inner; c++) {
                int32_t sum = 1 << (FRACTION - 1);
                for (int64_t k = 0; k < filter->count[i]; k++) sum += from[k * inner + c] * w[k];
                sum >>= FRACTION;
                to[c] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
            }
        }
}

/* One axis: rows (horizontal) or columns. */
static int resize_axis(struct image *image, int64_t size, bool horizontal, struct failure *f) {
    const int64_t old = horizontal ? image->width : image->height;
    if (old == size) return 0;
    struct filter filter = {0};
    struct image fresh = {0};
    int code = make_filter(&filter, old, size, f);
    if (!code)
        code = ot_image_make(&fresh, (uint64_t)(horizontal ? size : image->width),
                             (uint64_t)(horizontal ? image->height : size), image->channels,
                             "resized image", f);
    if (!code) {
        const int64_t c = image->channels;
        if (horizontal)
            apply(&filter, image->pixels, fresh.pixels, image->height, old, size, c);
        else
            apply(&filter, image->pixels, fresh.pixels, 1, old, size, image->width * c);
        free(image->pixels);
        *image = fresh;
    }
    free_filter(&filter);
    return code;
}

int ot_image_resize(struct image *image, int64_t width, int64_t height, struct failure *f) {
    const int code = resize_axis(image, width, true, f);
    return code ? code : resize_axis(image, height, false, f);
}
