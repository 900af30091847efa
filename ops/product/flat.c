/* flat.c - units along the image: images to runs of floats, and back. */
#include "ops/product/flat.h"

#include <string.h>

/* Positions from one line (or sample) to the next: what one has in front of its data may be what
 * its neighbour has behind, since both are zeros. */
static int64_t line_pitch(const struct axis *a, int outputs) {
    int64_t pitch = outputs;
    for (int i = 0; i < a->runs; i++) {
        int from, to;
        ot_axis_clip(a, &a->run[i], 0, &from, &to);
        if (to > pitch) pitch = to;
        if (a->run[i].count - from > pitch) pitch = a->run[i].count - from;
    }
    return pitch;
}

/* Extends the runs to all outputs; returns the farthest distance along the axis. */
static int64_t extend(struct axis *a, int outputs) {
    int64_t reach = 0;
    for (int i = 0; i < a->runs; i++) {
        if (a->run[i].count > reach) reach = a->run[i].count;
        a->run[i].count += outputs;
    }
    return reach;
}

bool ot_flat_init(struct flat *f, struct axis *lines, struct axis *columns, int height, int width,
                  int64_t n, int tile, int *units) {
    const int64_t reach_y = extend(lines, height), reach_x = extend(columns, width);
    const int64_t pitch = line_pitch(columns, width), all = line_pitch(lines, height);
    const int64_t most = INT32_MAX / 8, reach = reach_y * pitch + reach_x;
    int64_t samples = 1, positions = 0;
    if (pitch > most || all > most || all * pitch > most || reach > most) return false;
    if (height > 0 && width > 0) {
        const int64_t fit = (int64_t)tile * OT_UNIT / (all * pitch);
        const int64_t groups = fit ? (n + fit - 1) / fit : n;
        if (groups > 0) samples = (n + groups - 1) / groups;
        positions = ((samples - 1) * all + height - 1) * pitch + width;
    }
    *f = (struct flat){.samples = (int)samples,
                       .lines = (int)all,
                       .pitch = (int)pitch,
                       .height = height,
                       .width = width,
                       .reach = (int)reach};
    *units = (int)((positions + OT_UNIT - 1) / OT_UNIT);
    return true;
}

void ot_flat_tile(struct flat *f, int units) {
    const size_t floats = (size_t)units * OT_UNIT + (size_t)f->reach;
    f->plane = (floats + OT_UNIT - 1) / OT_UNIT * OT_UNIT;
}

struct flat_part ot_flat_part(const struct axis *lines, int i, const struct axis *columns, int j,
                              const struct image *image) {
    struct flat_part p = {.line = (size_t)lines->step * image->line,
                          .step = (size_t)columns->step * image->pixel};
    const int64_t y = ot_axis_clip(lines, &lines->run[i], 0, &p.top, &p.bottom);
    const int64_t x = ot_axis_clip(columns, &columns->run[j], 0, &p.left, &p.right);
    if (p.top == p.bottom || p.left == p.right) {
        p.top = p.bottom = 0;
        return p;
    }
    p.from = (size_t)(y + (int64_t)p.top * lines->step) * image->line +
             (size_t)(x + (int64_t)p.left * columns->step) * image->pixel;
    return p;
}

static void zero(float *from, const float *to) {
    while (from < to) *from++ = 0;
}

static void copy_strided(float *to, size_t to_step, const float *from, size_t from_step, size_t n) {
    if (to_step == 1 && from_step == 1)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
}

void ot_flat_pack(const struct flat *f, const struct flat_part *part, const float *x, size_t sample,
                  int samples, float *out, size_t size) {
    const size_t n = (size_t)(part->right - part->left);
    float *end = out;
    for (int s = 0; s < samples; s++)
        for (int l = part->top; l < part->bottom; l++) {
            const float *in =
                x + (size_t)s * sample + part->from + (size_t)(l - part->top) * part->line;
            float *to = out + ((size_t)s * (size_t)f->lines + (size_t)l) * (size_t)f->pitch +
                        (size_t)part->left;
            zero(end, to);
            copy_strided(to, 1, in, part->step, n);
            end = to + n;
        }
    zero(end, out + size);
}

/* A row: what of its positions lies in lines of the image, from line `line` of the run on. */
static void unpack_row(const struct flat *f, const struct flat_rows *a, int line, const float *in,
                       float *y) {
    const int to = a->from + a->count;
    int sample = line / f->lines, i = line % f->lines;
    for (int first = line * f->pitch; first < to && sample < a->samples; first += f->pitch) {
        const int from = first < a->from ? a->from : first;
        const int end = first + a->width < to ? first + a->width : to;
        if (i < a->height && from < end)
            copy_strided(y + (size_t)sample * a->sample + (size_t)i * a->place.line +
                             (size_t)(from - first) * a->place.step,
                         a->place.step, in + (from - a->from), 1, (size_t)(end - from));
        if (++i < f->lines) continue;
        i = 0;
        sample++;
    }
}

void ot_flat_unpack(const struct flat *f, const struct flat_rows *a) {
    const int line = f->pitch ? a->from / f->pitch : 0;
    for (int r = 0; r < a->rows; r++)
        unpack_row(f, a, line, a->in + (size_t)r * a->pitch, a->y + (size_t)r * a->place.pitch);
}
