/* kernels.h - the contract of every hot loop; one table of them per instruction set.
 *
 * Kernels are single-threaded, allocate nothing, cannot fail, and take pointers and sizes. All
 * instruction sets compute the same sums; the order of additions may differ between instruction
 * sets, never between calls.
 *
 * The unit of all sparse products is OT_UNIT floats side by side: 16 samples of one pixel, or 16
 * lanes of one feature. A tile is h x w units of the output image, held in registers. The input is
 * packed (see ops/product/pack.h), so that unit (i, j) of the tile reads
 * in[offset + i * in_line + j * OT_UNIT] for a nonzero with this offset.
 */
#ifndef OT_OPS_KERNELS_KERNELS_H
#define OT_OPS_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/kernels/gates.h"
#include "ops/kernels/loss.h"

enum { OT_UNIT = 16, OT_TILE_LINES = 2, OT_TILE_UNITS = 16 };

enum { OT_PAST_CACHE = 16 << 20 }; /* bytes of an output that no cache holds until it is read */

/* Bits of entries.row: the row is met for the first time, for the last time. */
enum { OT_ROW_FIRST = 1, OT_ROW_LAST = 2, OT_ROW_SHIFT = 2 };

/* The nonzeros of some rows, at least one: row[i] has offset[ptr[i]] up to offset[ptr[i + 1]], and
 * behind the last one stands another number. Their values, or the sums that belong to them, stand
 * side by side as well, from number at[i] on. */
struct entries {
    int rows;
    const int32_t *row;    /* row << OT_ROW_SHIFT | bits */
    const int32_t *ptr;    /* rows + 1 */
    const int32_t *at;     /* rows */
    const int32_t *offset; /* floats into the packed tile */
};

/* Where tile unit (i, j) of a row stands: base + row * pitch + i * line + j * step (floats). */
struct place {
    size_t pitch, line, step;
};

/* Pieces of an image, to be prefetched line by line: what is left of them. */
struct prefetch {
    uintptr_t at;               /* the next line */
    size_t unit, line, channel; /* bytes from unit to unit, from line to line, from the last line of
                                 * a channel to the first of the next */
    int units, lines, line_at;  /* units in a line, lines in a channel, lines done in this one */
    int left, per_row;          /* lines in all, lines that a row of a tile takes along */
};

/* What the next tile will read and write, prefetched into the second-level cache meanwhile: with
 * each row of this tile some of its input and of its dy, and what lies `out` bytes behind the row's
 * own output. These places need not exist. */
struct prefetches {
    struct prefetch in, dy;
    ptrdiff_t out;
};

/* sum = (first ? bias[row] : part) + sum over the row's entries of value * in; it goes to `out` if
 * this is the last time, else to `part`, where a row's units stand side by side. */
struct spmm {
    struct entries e;
    const float *value; /* as e.at numbers them */
    const float *in;
    size_t in_line;
    const float *bias; /* NULL: zero */
    float *part, *out;
    size_t part_pitch;           /* of rows, in floats */
    struct place place;          /* in out */
    bool past_cache;             /* out is too large to be found there again; then it is aligned */
    struct prefetches *prefetch; /* NULL: nothing */
};

/* sum[k] += sum over the tile of dy[row] * in, k the number of a nonzero by e.at; and where `bias`
 * is not NULL, bias[row] += sum over the tile of dy[row] for rows met for the first time. */
struct sddmm {
    struct entries e;
    const float *in;
    size_t in_line;
    const float *dy;
    struct place place;
    float *sum, *bias;
    struct prefetches *prefetch; /* NULL: nothing */
    bool dy_in_l2;               /* dy is in the second-level cache: its rows need no prefetch */
};

enum { OT_FEWS = 4 }; /* widths of struct few: 1, 2, 4, 8 samples */

/* A sparse matrix of `rows` rows times the features of some samples, a width of them side by side,
 * zeros where there are fewer samples. Row r has the nonzeros [begin[r], end[r]) of col and value,
 * whose columns differ; rows [from, to) are done.
 * Forward: y[s * rows + r] = bias[r] + sum of value * x[col * width + s].
 * Backward: pairs has for each column the features, where dvalue is wanted, and their gradients,
 * where `data` is set: dvalue = <dy, features>, gradient += value * dy. */
struct few {
    const int32_t *begin, *end, *col;
    const uint16_t *col16; /* col in 16 bits, which forward of width 1 reads; NULL: col is read */
    const float *value;
    int from, to, samples;
    int nnz;           /* nonzeros in all */
    int prefetch_rows; /* distance to the row whose columns are prefetched; 0: none is */
    size_t rows;
    const float *bias, *x; /* bias NULL: zero */
    float *y;
    const float *dy;
    bool data;
    float *pairs, *dvalue; /* dvalue NULL: not wanted */
};

enum { OT_INTERLEAVE = 8 }; /* channels that are copied side by side */

/* How a copy goes through memory. What stands `distance` floats behind the units that are copied,
 * and need not exist, is prefetched into the first-level cache, or with into_l2 into the second. */
struct pack_way {
    ptrdiff_t distance;
    bool into_l2;
    bool interleave; /* OT_ABREAST channels at once, else one after the other */
};

/* Copies a rectangle of units of some channels (channel NULL: the first ones): `top` lines of
 * zeros, `lines` lines of which each is `left` units of zeros, `units` units of `in` that stand
 * in_step apart, `right` units of zeros, then `bottom` lines of zeros. */
struct pack {
    const float *in;
    float *out;
    const int32_t *mask; /* units x OT_UNIT: -1 where a lane is copied, 0 where zero stands for the
                          * lane; NULL: all lanes are copied */
    const int32_t *channel;
    int channels;
    size_t in_channel, in_line, in_step, out_channel, out_line;
    int top, lines, bottom, left, units, right;
    struct pack_way way;
};

/* From one place of an image to another: in floats, and in positions. */
struct hop {
    size_t x;
    int32_t position;
};

/* y = the largest of lines x columns places for each of some outputs and lanes (a multiple of
 * OT_UNIT), at = its position: the first of equal ones, the last of NaN. */
struct max_pool {
    const float *x; /* the first place of the first output */
    int32_t position;
    struct hop line, column, next; /* from there to the other places, and to the next output */
    int lines, columns, outputs;
    size_t lanes;
    float *y;
    int32_t *at; /* NULL: nobody asks */
};

/* Units convolved by taps of their own, OT_DEPTHWISE_TAPS at most, line by line:
 * y = bias + sum over k of tap[k] * x[offset[k]], of n places in each line; all in floats.
 * depthwise_weight: sum[k] += y * x[offset[k]], y being a gradient; then that of the bias. */
enum { OT_DEPTHWISE_TAPS = 49 };

struct depthwise {
    int taps, lines, n;
    const int32_t *offset; /* taps */
    const float *tap;      /* taps x OT_UNIT */
    const float *bias;     /* OT_UNIT */
    const float *x;
    size_t x_line, x_step; /* from line to line, from place to place */
    float *y;
    size_t y_line, y_step;
    bool past_cache; /* y is too large to be found there again; then it is aligned */
    float *sum;      /* (taps + 1) x OT_UNIT */
};

/* Pieces of a tensor: out = g factor, sum += g x, over the units of a piece and, with `one` factor
 * for all of it, `rest` floats behind them. NULL: g and x are one, out and sum not wanted. */
struct scale {
    int pieces;
    size_t piece, pitch; /* from piece to piece, from unit to unit */
    size_t units, rest;
    const float *g, *x;
    const float *factor; /* of the first piece: one float, or OT_UNIT */
    size_t factor_step;
    bool one;
    float *out;
    bool past_cache; /* out is too large to be found there again; then it is aligned */
    float *sum;      /* OT_UNIT floats a piece */
};

/* out[column][row] = in[row][column]; pitches in floats. */
struct transpose {
    const float *in;
    float *out;
    size_t in_pitch, out_pitch;
    int rows, columns;
};

/* out[pixels][OT_UNIT]: lane l is lane[l] of unit[l] of the `units` in `in`, which are like it, or
 * fill[l] where unit[l] is -1. */
struct pick {
    const float *in[OT_UNIT];
    int units;
    int32_t unit[OT_UNIT], lane[OT_UNIT];
    float fill[OT_UNIT];
    float *out;
    size_t pixels;
};

typedef void depthwise_fn(const struct depthwise *a);
typedef void scale_fn(const struct scale *a);
typedef void transpose_fn(const struct transpose *a);
typedef void pack_fn(const struct pack *a);
typedef void pick_fn(const struct pick *a);
typedef void spmm_fn(const struct spmm *a);
typedef void sddmm_fn(const struct sddmm *a);
typedef void few_fn(const struct few *a);
typedef void max_pool_fn(const struct max_pool *a);

/* What holds for each of OT_UNIT channels side by side. */
struct norm_unit {
    float x0[OT_UNIT], gain[OT_UNIT], shift[OT_UNIT], slope[OT_UNIT], rest[OT_UNIT];
};

/* What follows a normalisation. */
enum follow { OT_FOLLOW_NOTHING, OT_FOLLOW_RELU, OT_FOLLOW_SWISH, OT_FOLLOW_HARD_SWISH };

/* A piece of a channel that is normalised, and the function f that follows:
 * v = (x - x0) * gain + shift + z, y = f(v). y may be x or z. unit: a piece of OT_UNIT channels,
 * element i of channel i % OT_UNIT, that has x0, gain and so on there. */
struct norm {
    const struct norm_unit *unit; /* NULL: one channel */
    const float *x, *z;           /* z NULL: zero */
    float x0, gain, shift;
    enum follow follow;
    float alpha; /* of Swish */
    float *y;
    bool past_cache; /* y is too large to be found there again; then it is aligned */
};

/* Its gradient: g = (dy + more) f'(v), which with Relu is 0 where y is not positive;
 * dx = gain * g, and with x + slope * (x - x0) + rest; dz = g. dx may be x or dy, dz may be dy. */
struct norm_gradient {
    const struct norm_unit *unit;
    const float *dy, *more; /* more NULL: zero */
    const float *x, *y;     /* y, of Relu, NULL: without z, it can be made from x again */
    float x0, gain, shift;
    enum follow follow;
    float alpha;
    bool batch; /* dx depends on x */
    float slope, rest;
    float *dx, *dz; /* NULL: not wanted */
};

/* Sums over n floats, n >= 1 and at most a thousand or so, for they add up in float:
 * moments: *mean, and *square = sum of (x - mean)^2;
 * norm_sums: *sum = sum of g, *product = sum of g * (x - x0).
 * unit_moments, and norm_sums with a unit: these of OT_UNIT channels, n a multiple of OT_UNIT. */
typedef void moments_fn(const float *x, size_t n, float *mean, float *square);
typedef void norm_sums_fn(const struct norm_gradient *a, size_t n, float *sum, float *product);
typedef void norm_fn(const struct norm *a, size_t n);
typedef void norm_gradient_fn(const struct norm_gradient *a, size_t n);

/* Functions of one float, with the parameters that some have:
 * Sigmoid(x) = 1 / (1 + exp(-x)); Swish: x Sigmoid(a x); HardSigmoid: a x + b, at least 0 and at
 * most 1; HardSwish: x HardSigmoid(x) with a = 1/6, b = 1/2; Elu: x, below 0 a b (exp(x) - 1) and
 * b x above; Celu: x, below 0 a (exp(x / a) - 1). Their errors are those of exponential.h. */
enum function {
    OT_EXP,
    OT_SIGMOID,
    OT_ERF,
    OT_GELU,
    OT_GELU_TANH,
    OT_SWISH,
    OT_TANH,
    OT_MISH,
    OT_ELU,
    OT_CELU,
    OT_HARD_SIGMOID,
    OT_HARD_SWISH,
    OT_FROM_SIGMOID, /* gradients of Sigmoid and Tanh, x being their value */
    OT_FROM_TANH,
    OT_FUNCTIONS
};
struct params {
    float a, b;
};

/* y = z f(x), z NULL: one. dx = dy z f'(x), dz = dy f(x). What is written stands apart from what is
 * read. */
struct function_value {
    const float *x, *z;
    float *y;
    struct params p;
    bool past_cache; /* what is written is too large to be found there again; then it is aligned */
};
struct function_gradient {
    const float *x, *z, *dy;
    float *dx, *dz; /* with z, NULL: not wanted */
    struct params p;
    bool past_cache;
};
typedef void value_fn(const struct function_value *a, size_t n);
typedef void gradient_fn(const struct function_gradient *a, size_t n);
/* Copies past the caches, to an aligned place. The last of some copies orders them all before what
 * follows. */
typedef void copy_past_fn(const float *from, float *to, size_t n, bool last);

/* LayerNormalization of samples side by side, [length][lanes] with lanes a multiple of OT_UNIT, or
 * of one in a row (lanes == 1). Forward: mean and inverse deviation of each, and y. Backward: y is
 * dx, or NULL; dscale and dbias, of `length` elements, are added to; lanes from `used` on are not
 * in these sums. */
struct layer_norm {
    size_t length, lanes, used;
    bool centred; /* false: 0 stands for the mean, and for that of the gradient */
    float epsilon;
    const float *x, *dy, *scale, *bias; /* bias NULL: zero */
    float *mean, *inverse, *y, *dscale, *dbias;
};
typedef void layer_norm_fn(const struct layer_norm *a);

/* x = softmax(x + bias), bias NULL: zero; dy = gain y (dy - sum of y dy). */
typedef void softmax_row_fn(float *x, const float *bias, size_t n);
typedef void softmax_row_back_fn(const float *y, float *dy, float gain, size_t n);

/* log_sum and best of x. */
typedef void loss_log_sums_fn(const struct loss_strip *a);
/* g = (exp(x - log_sum) total - share - rest t) scale. */
typedef void loss_gradient_fn(const struct loss_strip *a);

struct kernels {
    const char *name; /* "generic", "avx2", "avx512" */
    int width;        /* floats in a vector */
    int tile;         /* most units in a tile; h * w <= tile */
    pack_fn *pack;
    pick_fn *pick;
    moments_fn *moments, *unit_moments;
    norm_fn *norm;
    norm_sums_fn *norm_sums;
    norm_gradient_fn *norm_gradient;
    max_pool_fn *max_pool;
    depthwise_fn *depthwise, *depthwise_weight;
    scale_fn *scale;
    transpose_fn *transpose;
    layer_norm_fn *norm_lanes, *norm_lanes_back, *norm_row, *norm_row_back;
    softmax_row_fn *softmax_row;
    softmax_row_back_fn *softmax_row_back;
    loss_log_sums_fn *loss_log_sums;
    loss_gradient_fn *loss_gradient;
    value_fn *value[OT_FUNCTIONS];
    gradient_fn *gradient[OT_FUNCTIONS];
    copy_past_fn *copy_past;
    gate_apply_fn *gate_apply;
    lstm_fn *lstm_forward, *lstm_back;
    gru_fn *gru_reset, *gru_state, *gru_state_back, *gru_reset_back;
    rnn_fn *rnn_forward, *rnn_back;
    row_sums_fn *row_sums;
    /* [h - 1][w - 1]; NULL where h * w > tile */
    spmm_fn *spmm[OT_TILE_LINES][OT_TILE_UNITS];
    sddmm_fn *sddmm[OT_TILE_LINES][OT_TILE_UNITS];
    few_fn *few_forward[OT_FEWS], *few_backward[OT_FEWS]; /* [log2 of the width] */
};

/* The tables that this machine runs, best first; NULL behind the last. */
const struct kernels *ot_kernels_at(int i);

#endif
