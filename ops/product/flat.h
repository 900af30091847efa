/* flat.h - units along the image, for few samples that stay in rows.
 *
 * The lines of an image stand one behind the other, `pitch` floats apart and with zeros between
 * them. So all positions of an image are one run of floats, a tap of the kernel is one distance,
 * and a unit is any OT_UNIT neighbours: the kernels need not know. Positions between the lines are
 * computed with the others, and left behind on the way back. With a stride, every residue class of
 * input positions is such a run, a plane.
 */
#ifndef OT_OPS_PRODUCT_FLAT_H
#define OT_OPS_PRODUCT_FLAT_H

#include "ops/kernels/kernels.h"
#include "ops/product/pack.h"

struct flat {
    int samples;       /* one behind the other; 0: not this form */
    int lines;         /* from sample to sample */
    int pitch;         /* from line to line, in floats */
    int height, width; /* of the output image */
    int reach;         /* floats from a position to the farthest that a tap reads */
    size_t plane;      /* floats of a plane */
};

/* Part of an image that a plane holds: its lines [top, bottom) and columns [left, right) come from
 * the image, from position `from` on; the others are zeros. */
struct flat_part {
    int top, bottom, left, right;
    size_t from, line, step;
};

/* For output images of height x width pixels. Extends the runs of both axes to them; of n samples
 * so many are taken together that they fill a tile of `tile` units. *units: those of an output
 * image, 0 if there is none. false: out of range. */
bool ot_flat_init(struct flat *f, struct axis *lines, struct axis *columns, int height, int width,
                  int64_t n, int tile, int *units);
/* Sets the size of planes for so many units. */
void ot_flat_tile(struct flat *f, int units);

/* What the plane of residues (i, j) holds of an image of this shape. */
struct flat_part ot_flat_part(const struct axis *lines, int i, const struct axis *columns, int j,
                              const struct image *image);
/* One plane, `size` floats, of so many samples, which stand `sample` floats apart. */
void ot_flat_pack(const struct flat *f, const struct flat_part *part, const float *x, size_t sample,
                  int samples, float *out, size_t size);

/* Positions [from, from + count) of some rows, which stand `pitch` floats apart in `in`, to their
 * places in images of height x width: pixel (i, j) of sample s is at
 * y[s * sample + row * place.pitch + i * place.line + j * place.step]. */
struct flat_rows {
    const float *in;
    size_t pitch;
    int from, count, rows;
    int height, width, samples;
    float *y;
    size_t sample;
    struct place place;
};
void ot_flat_unpack(const struct flat *f, const struct flat_rows *a);

#endif
