/* pack.h - copies the input of one tile into a small contiguous buffer.
 *
 * A tile of the output image reads, per channel, a few lines of the input. Packed, they stand side
 * by side with zeros where the image ends, so that a nonzero of the weight is one offset and every
 * load of a kernel is unit stride. With a stride, packed positions are grouped by their residue,
 * and residues that no tap reads are left out.
 */
#ifndef OT_OPS_PRODUCT_PACK_H
#define OT_OPS_PRODUCT_PACK_H

#include "ops/kernels/kernels.h"
#include "runtime/base/arena.h"

/* Packed positions of one residue class: base + k holds input position
 * output * step + first + from + k * step, 0 <= k < count, for a tile that begins at `output`. */
struct axis_run {
    int from, count, base;
};

/* One axis (lines or columns) of a packed tile. */
struct axis {
    int size;  /* of the image */
    int step;  /* input positions per output position */
    int first; /* input position that the first tap reads for output position 0; may be < 0 */
    int reach; /* packed positions without the tile: length = reach + runs * tile */
    int length;
    int runs;
    struct axis_run *run;
};

/* An axis for these taps: output position o reads input positions o * step + tap[i], i < n. Runs
 * come from the arena. false: out of memory or out of range. */
bool ot_axis_init(struct axis *a, struct arena *arena, int64_t size, int step, const int64_t *tap,
                  int n);
/* Sets the lengths for tiles of this size. */
void ot_axis_tile(struct axis *a, int tile);
/* The run that a tap reads, and its position there for the first output position of a tile, behind
 * the run's base. */
int ot_axis_run(const struct axis *a, int64_t tap);
int ot_axis_base(const struct axis *a, int64_t tap);
/* The positions k of a run whose input lies inside the image: [*from, *to). Returns the input
 * position of k = 0. */
int64_t ot_axis_clip(const struct axis *a, const struct axis_run *run, int output, int *from,
                     int *to);

/* Where the channels of an image stand, in floats. Each pixel is OT_UNIT floats. */
struct image {
    size_t channel, line, pixel;
};

/* out[i][line][column][OT_UNIT] = the inputs of channel[i], i < n, for the tile that begins at
 * output (oy, ox). way: struct pack_way. */
void ot_pack(const struct kernels *k, const struct axis *lines, const struct axis *columns,
             const struct image *image, const float *x, const int32_t *channel, int n,
             struct pack_way way, int oy, int ox, float *out);

#endif
