/* transform.c - decides how samples become a model's input, and does it. */
#include "tools/data/transform.h"
#include "tools/data/image.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t ot_element_size(ot_type type) {
    switch (type) {
    case OT_FLOAT:
    case OT_INT32: return 4;
    case OT_INT64: return 8;
    case OT_UINT8:
    case OT_BOOL: return 1;
    default: return 0;
    }
}

/* Channels, height, width of a sample and the steps between them, in elements. */
struct view {
    int64_t channels, height, width, step[3];
};

static bool is_colour(int64_t n) { return n == 1 || n == 3; }

/* How a sample of this shape lies in memory. Anything that is no picture is one long row. */
static struct view look_at(int rank, const int64_t *dim) {
    if (rank == 2) return (struct view){1, dim[0], dim[1], {0, dim[1], 1}};
    if (rank == 3 && (is_colour(dim[0]) || !is_colour(dim[2])))
        return (struct view){dim[0], dim[1], dim[2], {dim[1] * dim[2], dim[2], 1}};
    if (rank == 3) return (struct view){dim[2], dim[0], dim[1], {1, dim[1] * dim[2], dim[2]}};
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    return (struct view){1, 1, n, {0, 0, 1}};
}

static void print_dims(char *out, size_t size, int rank, const int64_t *dim) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && used + 24 < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ",%" PRId64 : "%" PRId64, dim[i]);
    snprintf(out + used, size - used, "]");
}

static int misfit(const ot_value_info *input, int rank, const int64_t *dim, struct failure *f) {
    char have[128], want[128];
    print_dims(have, sizeof have, rank, dim);
    print_dims(want, sizeof want, input->rank > 0 ? input->rank - 1 : 0, input->dim + 1);
    return ot_refuse(f, EXIT_DATA,
                     "a sample of shape %s does not fit input '%s', whose samples "
                     "have %s",
                     have, input->name, want);
}

/* ---- deciding ----------------------------------------------------------------------------- */

/* Size after resizing and cropping, from the user's words and the model's fixed size. */
static int plan_size(struct transform *t, const struct settings *s, const struct view *v,
                     bool folder, struct failure *f) {
    const char *size = ot_text(s, OPTION_size), *crop = ot_text(s, OPTION_crop);
    int64_t w = 0, h = 0, cw = 0, ch = 0;
    if (size && !ot_parse_extent(size, &w, &h))
        return ot_refuse(f, EXIT_USAGE, "size: '%s' is neither N nor WxH", size);
    if (crop && !ot_parse_extent(crop, &cw, &ch))
        return ot_refuse(f, EXIT_USAGE, "crop: '%s' is neither N nor WxH", crop);
    if (crop && !ch) ch = cw;
    const bool fixed = t->height > 0 && t->width > 0;
    if (!size && !fixed && folder) {
        w = 224;
        snprintf(t->note, sizeof t->note,
                 "resized to 224x224 (the model leaves the size free; size= sets it)");
    }
    if (!size && fixed && !crop && (t->height != v->height || t->width != v->width || folder)) {
        w = t->width;
        h = folder && t->width == t->height ? 0 : t->height;
        snprintf(t->note, sizeof t->note,
                 "resized to %" PRId64 "x%" PRId64 ", the size that the model requires", t->width,
                 t->height);
    }
    t->side = w && !h ? w : 0;
    t->resize_width = h ? w : 0;
    t->resize_height = h;
    if (!crop && w) {
        cw = fixed && folder ? t->width : w;
        ch = fixed && folder ? t->height : h ? h : w;
    } else if (!crop) {
        cw = v->width;
        ch = v->height;
    }
    if (fixed && (cw != t->width || ch != t->height))
        return ot_refuse(f, EXIT_USAGE,
                         "size and crop give %" PRId64 "x%" PRId64 ", the model requires %" PRId64
                         "x%" PRId64,
                         cw, ch, t->width, t->height);
    t->width = cw;
    t->height = ch;
    return 0;
}

/* A model's picture input [N,C,H,W] or [N,H,W,C]: true, and sizes where it fixes them. */
static bool is_picture(struct transform *t, const ot_value_info *input) {
    if (input->rank != 4) return false;
    const int64_t *dim = input->dim;
    t->last = is_colour(dim[3]) && !is_colour(dim[1]);
    t->channels = t->last ? dim[3] : dim[1];
    t->height = t->last ? dim[1] : dim[2];
    t->width = t->last ? dim[2] : dim[3];
    return true;
}

static void set_picture_dims(struct transform *t) {
    const int64_t first[3] = {t->channels, t->height, t->width};
    const int64_t last[3] = {t->height, t->width, t->channels};
    t->rank = 3;
    memcpy(t->dim, t->last ? last : first, sizeof first);
    t->elements = t->channels * t->height * t->width;
}

/* The model's own shape where it is fixed, else the data's with the model's fixed parts. */
static int plan_flat(struct transform *t, const ot_value_info *input, const struct sample *sample,
                     struct failure *f) {
    int64_t have = 1, want = 1, *open = NULL;
    for (int i = 0; i < sample->rank; i++) have *= sample->dim[i];
    t->rank = input->rank < 1 ? sample->rank : input->rank - 1;
    for (int i = 0; i < t->rank; i++) {
        t->dim[i] = input->rank < 1 ? sample->dim[i] : input->dim[i + 1];
        if (t->dim[i] < 0 && t->rank == sample->rank) t->dim[i] = sample->dim[i];
        if (t->dim[i] < 0 && open) return misfit(input, sample->rank, sample->dim, f);
        if (t->dim[i] < 0)
            open = &t->dim[i];
        else
            want *= t->dim[i];
    }
    if (open && want) want *= *open = have / want;
    if (want != have) return misfit(input, sample->rank, sample->dim, f);
    t->elements = have;
    t->channels = t->height = 1;
    t->width = have;
    return 0;
}

static int take_constants(struct transform *t, const struct settings *s, bool bytes,
                          struct failure *f) {
    double mean[MAX_LIST] = {0}, std[MAX_LIST];
    const int n = ot_list(s, OPTION_mean, mean), m = ot_list(s, OPTION_std, std);
    t->scale = ot_number(s, OPTION_scale, bytes ? 1.0 / 255 : 1);
    if ((n > 1 && n != t->channels) || (m > 1 && m != t->channels))
        return ot_refuse(f, EXIT_USAGE,
                         "mean has %d and std %d values; the data have %" PRId64 " channels", n, m,
                         t->channels);
    if (t->channels > MAX_CHANNELS && (n > 1 || m > 1))
        return ot_refuse(f, EXIT_USAGE, "mean and std: at most %d channels", MAX_CHANNELS);
    for (int c = 0; c < MAX_CHANNELS; c++) {
        t->mean[c] = n ? (float)mean[n > 1 && c < n ? c : 0] : 0;
        t->std[c] = m ? (float)std[m > 1 && c < m ? c : 0] : 1;
        if (t->std[c] == 0 || !isfinite(t->std[c]) || !isfinite(t->mean[c]))
            return ot_refuse(f, EXIT_USAGE, "std of channel %d is %g; values would not be finite",
                             c, (double)t->std[c]);
    }
    return 0;
}

/* Samples that need no geometry: the element counts agree with the model's. */
static bool needs_image(const struct transform *t, const struct settings *s, const struct view *v,
                        const struct data_source *d) {
    return d->file || ot_is_given(s, OPTION_size) || ot_is_given(s, OPTION_crop) ||
           (t->height > 0 && t->height != v->height) || (t->width > 0 && t->width != v->width) ||
           (t->channels > 0 && t->channels != v->channels);
}

static int make_picture(struct transform *t, const struct settings *s, const ot_value_info *input,
                        const struct data_source *d, const struct sample *first,
                        struct failure *f) {
    const struct view v = look_at(first->rank, first->dim);
    t->channels = t->channels > 0 ? t->channels : v.channels;
    t->as_image = needs_image(t, s, &v, d);
    if (t->as_image &&
        (first->type != OT_UINT8 || !is_colour(t->channels) || !is_colour(v.channels)))
        return misfit(input, first->rank, first->dim, f);
    t->reversed = t->channels == 3 && ot_integer(s, OPTION_channels, 0) == 1;
    if (!t->as_image) {
        t->height = v.height;
        t->width = v.width;
    } else {
        const int code = plan_size(t, s, &v, d->file != NULL, f);
        if (code) return code;
    }
    set_picture_dims(t);
    return 0;
}

int ot_transform_make(struct transform *t, const struct settings *s, const ot_value_info *input,
                      const struct data_source *d, int k, struct failure *f) {
    struct sample first;
    int code = ot_data_read(d, 0, k, &first, f);
    if (code) return code;
    *t = (struct transform){.type = input->type == OT_FLOAT16 || input->type == OT_DOUBLE ||
                                            input->type == OT_BFLOAT16
                                        ? OT_FLOAT
                                        : input->type};
    int64_t have = 1, want = 1;
    for (int i = 0; i < first.rank; i++) have *= first.dim[i];
    for (int i = 1; i < input->rank; i++) want *= input->dim[i] > 0 ? input->dim[i] : 0;
    const bool picture = first.rank >= 2 && is_picture(t, input);
    if (!ot_element_size(t->type))
        code =
            ot_refuse(f, EXIT_MODEL, "input '%s' has an element type that no data set can provide",
                      input->name);
    else if (t->type != OT_FLOAT && first.type == OT_FLOAT)
        code = ot_refuse(f, EXIT_DATA, "input '%s' requires integers, but the data are floats",
                         input->name);
    else if (picture && (first.rank == 2 || first.rank == 3))
        code = make_picture(t, s, input, d, &first, f);
    else if (d->file && have != want)
        code = misfit(input, first.rank, first.dim, f);
    else
        code = plan_flat(t, input, &first, f);
    if (!code) code = take_constants(t, s, first.type == OT_UINT8, f);
    free(first.owned);
    return code;
}

/* ---- doing -------------------------------------------------------------------------------- */

static double load(const struct sample *s, int64_t i) {
    if (s->type == OT_UINT8) return ((const uint8_t *)s->data)[i];
    return s->type == OT_FLOAT ? ((const float *)s->data)[i]
                               : (double)((const int64_t *)s->data)[i];
}

static void copy_integers(const struct transform *t, const struct sample *s, void *out) {
    for (int64_t i = 0; i < t->elements; i++) {
        const int64_t v =
            s->type == OT_UINT8 ? ((const uint8_t *)s->data)[i] : ((const int64_t *)s->data)[i];
        if (t->type == OT_INT64)
            ((int64_t *)out)[i] = v;
        else if (t->type == OT_INT32)
            ((int32_t *)out)[i] = (int32_t)v;
        else
            ((uint8_t *)out)[i] = t->type == OT_BOOL ? v != 0 : (uint8_t)v;
    }
}

/* One channel plane: (value * scale - mean) / std in float, as frameworks compute it. */
static bool copy_plane(const struct transform *t, const struct sample *s, const struct view *v,
                       int64_t offset, int64_t c, float *out) {
    const float mean = t->mean[c < MAX_CHANNELS ? c : 0], std = t->std[c < MAX_CHANNELS ? c : 0];
    const int64_t step = t->last ? t->channels : 1;
    float *to = t->last ? out + c : out + c * t->height * t->width;
    float sum = 0;
    for (int64_t y = 0; y < t->height; y++) {
        int64_t i = offset + y * v->step[1];
        for (int64_t x = 0; x < t->width; x++, i += v->step[2], to += step) {
            *to = ((float)(load(s, i) * t->scale) - mean) / std;
            sum += *to - *to; /* 0, or NaN for what is not finite */
        }
    }
    return sum == 0;
}

static int copy_floats(const struct transform *t, const struct sample *s, const struct view *v,
                       int64_t offset, float *out, const char *name, struct failure *f) {
    for (int64_t c = 0; c < t->channels; c++) {
        const int64_t from = t->reversed ? t->channels - 1 - c : c;
        if (!copy_plane(t, s, v, offset + from * v->step[0], c, out))
            return ot_refuse(f, EXIT_DATA,
                             "sample %s: a value of channel %" PRId64 " is not finite", name, c);
    }
    return 0;
}

/* The sample as an image of its own, channels last. */
static int to_image(const struct sample *s, struct image *image, struct failure *f) {
    const struct view v = look_at(s->rank, s->dim);
    const int code =
        ot_image_make(image, (uint64_t)v.width, (uint64_t)v.height, (int)v.channels, "sample", f);
    if (code) return code;
    uint8_t *to = image->pixels;
    for (int64_t y = 0; y < v.height; y++)
        for (int64_t x = 0; x < v.width; x++)
            for (int64_t c = 0; c < v.channels; c++)
                *to++ = ((const uint8_t *)s->data)[c * v.step[0] + y * v.step[1] + x * v.step[2]];
    return 0;
}

/* Resizes so that the shorter side is t->side; the longer one is cut down to a whole number. */
static int resize(const struct transform *t, struct image *image, struct failure *f) {
    int64_t w = t->resize_width ? t->resize_width : image->width;
    int64_t h = t->resize_height ? t->resize_height : image->height;
    if (t->side && image->width <= image->height) {
        w = t->side;
        h = t->side * image->height / image->width;
    } else if (t->side) {
        h = t->side;
        w = t->side * image->width / image->height;
    }
    return ot_image_resize(image, w, h, f);
}

/* Where a centred crop begins: half of the rest, rounded to the even neighbour. */
static int64_t crop_start(int64_t rest) { return rest / 2 + (rest % 2 && rest / 2 % 2); }

static int apply_image(const struct transform *t, const struct sample *sample, float *out,
                       const char *name, struct failure *f) {
    struct image image = {0};
    int code = to_image(sample, &image, f);
    if (!code) code = ot_image_convert(&image, (int)t->channels, f);
    if (!code) code = resize(t, &image, f);
    if (!code && (image.width < t->width || image.height < t->height))
        code = ot_refuse(f, EXIT_DATA,
                         "sample %s: %" PRId64 "x%" PRId64 " pixels are too few for "
                         "%" PRId64 "x%" PRId64 "; resize with size=",
                         name, image.width, image.height, t->width, t->height);
    if (!code) {
        const struct sample s = {.type = OT_UINT8, .data = image.pixels};
        const int64_t c = image.channels, row = image.width * c;
        const struct view v = {c, image.height, image.width, {1, row, c}};
        const int64_t offset =
            crop_start(image.height - t->height) * row + crop_start(image.width - t->width) * c;
        code = copy_floats(t, &s, &v, offset, out, name, f);
    }
    free(image.pixels);
    return code;
}

int ot_transform_apply(const struct transform *t, const struct sample *sample, void *out,
                       const char *name, struct failure *f) {
    if (t->type != OT_FLOAT) {
        copy_integers(t, sample, out);
        return 0;
    }
    if (t->as_image) return apply_image(t, sample, out, name, f);
    const struct view flat = {1, 1, t->elements, {0, 0, 1}};
    const bool picture = t->rank == 3 && t->elements != t->width;
    const struct view v = picture ? look_at(sample->rank, sample->dim) : flat;
    return copy_floats(t, sample, &v, 0, out, name, f);
}
