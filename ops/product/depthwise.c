/* depthwise.c - convolutions whose groups are single channels.
 *
 * Kernels work on units (kernels.h): 16 samples of a channel where x is in lanes of samples, else
 * 16 channels of a sample, which in rows are turned into units and back in passing. An image goes
 * by in bands of lines that stay in a cache, copied with the zeros around them, so that kernels
 * know no edges.
 *
 * The data gradient is the same sum over dy: of the taps that reach an element of dx, which are
 * those of one residue of the stride. Sums of the weight gradient go over units and bands in their
 * order, in double.
 */
#include "ops/product/depthwise.h"

#include <string.h>

#include "ops/kernels/kernels.h"

enum {
    BAND = 96 << 10,     /* bytes of input lines */
    LEAST_CHANNELS = 8,  /* in rows */
    MOST_UNITS = 1 << 20 /* of input that a line of output needs */
};

/* One axis of the data gradient: element i = r + stride * m of dx, r < stride, meets tap k at
 * element m + (r + pad - k * dilation) / stride of dy, where this is whole. */
struct axis {
    int stride, dilation, pad, taps;
    int64_t size;      /* of dx */
    int64_t low, high; /* the least and the largest of these quotients */
};

struct job {
    const struct op_node *n;
    const struct conv_shape *s;
    const float *bias;
    float *dx, *dw, *dbias;
    int lanes;
    bool samples; /* a unit is 16 samples of a channel */
    int64_t groups, units;
    struct axis rows, columns;
    int lines, data_lines; /* of y in a band; of dx, in strides */
};

/* Lines of an image with zeros around, copied into units. */
struct band {
    int64_t from, lines; /* from may lie before the image, and the end behind it */
    int64_t left, width; /* columns of zeros before the image (negative: it is cropped); in all */
};

/* ---- sizes ---- */

static struct axis make_axis(int stride, int dilation, int pad, int taps, int64_t size) {
    struct axis a = {.stride = stride,
                     .dilation = dilation,
                     .pad = pad,
                     .taps = taps,
                     .size = size,
                     .low = INT64_MAX,
                     .high = INT64_MIN};
    for (int r = 0; r < stride; r++)
        for (int k = 0; k < taps; k++) {
            const int64_t at = (int64_t)r + pad - (int64_t)k * dilation;
            if (at % stride) continue;
            a.low = at / stride < a.low ? at / stride : a.low;
            a.high = at / stride > a.high ? at / stride : a.high;
        }
    return a;
}

static int64_t strides_of(const struct axis *a) { return (a->size + a->stride - 1) / a->stride; }

static int64_t span(int taps, int dilation) { return (int64_t)(taps - 1) * dilation + 1; }

static int64_t input_width(const struct conv_shape *s) {
    return (s->ow - 1) * s->stride_w + span(s->kw, s->dilation_w);
}
static int64_t input_lines(const struct conv_shape *s, int64_t lines) {
    return (lines - 1) * s->stride_h + span(s->kh, s->dilation_h);
}
static int64_t gradient_width(const struct job *job) {
    return strides_of(&job->columns) + job->columns.high - job->columns.low;
}
static int64_t gradient_lines(const struct job *job, int64_t lines) {
    return lines + job->rows.high - job->rows.low;
}

static int at_most(int64_t lines, int64_t line_floats, int64_t per_line, int64_t all) {
    int64_t n = BAND / (int64_t)sizeof(float) / (line_floats * per_line) - lines;
    n = n < 1 ? 1 : n;
    return (int)(n < all ? n : all);
}

static struct job job_of(const struct op_node *n, const struct conv_shape *s) {
    const struct tensor *x = n->x[0];
    struct job job = {.n = n, .s = s, .lanes = x->lanes, .samples = x->lane_rank == 1};
    job.groups = job.samples ? s->c : (s->c + OT_UNIT - 1) / OT_UNIT;
    job.units = job.samples ? ot_lane_blocks(x) * (x->lanes / OT_UNIT) : s->n;
    job.rows = make_axis(s->stride_h, s->dilation_h, s->pad_top, s->kh, s->h);
    job.columns = make_axis(s->stride_w, s->dilation_w, s->pad_left, s->kw, s->w);
    job.lines = at_most(span(s->kh, s->dilation_h) / s->stride_h, input_width(s) * OT_UNIT,
                        s->stride_h, s->oh);
    job.data_lines = at_most(job.rows.high - job.rows.low, gradient_width(&job) * OT_UNIT, 1,
                             strides_of(&job.rows));
    return job;
}

/* Are bands of one line, and offsets in them, small enough? */
static bool bands_fit(const struct conv_shape *s) {
    const int64_t lines = span(s->kh, s->dilation_h), width = input_width(s);
    const int64_t columns = s->w + span(s->kw, s->dilation_w);
    return lines < MOST_UNITS && width < MOST_UNITS && columns < MOST_UNITS &&
           lines * width < MOST_UNITS && lines * columns < MOST_UNITS;
}

bool ot_is_depthwise(const struct conv_shape *s, const struct tensor *x) {
    return s->groups == s->c && s->c == s->m && s->kh * s->kw <= OT_DEPTHWISE_TAPS &&
           !s->depth.in && (x->lanes || s->c >= LEAST_CHANNELS) && bands_fit(s);
}

/* Floats of a band of input lines, and of the lines that belong to it in rows. */
static int64_t forward_room(const struct job *job) {
    const struct conv_shape *s = job->s;
    return (input_lines(s, job->lines) * input_width(s) + (job->lanes ? 0 : job->lines * s->ow)) *
           OT_UNIT;
}
static int64_t data_room(const struct job *job) {
    const int64_t lines = (int64_t)job->data_lines * job->s->stride_h;
    return (gradient_lines(job, job->data_lines) * gradient_width(job) +
            (job->lanes ? 0 : lines * job->s->w)) *
           OT_UNIT;
}

static int64_t scratch_floats(const struct job *job) {
    const int64_t forward = forward_room(job), data = data_room(job);
    return forward > data ? forward : data;
}

void ot_depthwise_prepare(struct op_node *n, const struct conv_shape *s) {
    const struct job job = job_of(n, s);
    const size_t workers = (size_t)n->workers;
    n->kernel = "depthwise";
    n->flops = 2.0 * (double)ot_elements(n->x[1]) * (double)(s->n * s->oh * s->ow);
    n->forward_scratch_size = workers * (size_t)forward_room(&job) * sizeof(float);
    n->backward_scratch_size = workers * (size_t)scratch_floats(&job) * sizeof(float);
}

static float *worker_room(const struct job *job, int64_t floats, int worker) {
    return (float *)job->n->scratch + floats * worker;
}

/* ---- images and bands ---- */

/* Unit u of group g in a tensor whose channels have `area` places. */
static float *unit_of(const struct job *job, const float *p, int64_t area, int64_t g, int64_t u) {
    const int64_t c = job->s->c;
    if (!job->lanes) return (float *)p + (u * c + g * OT_UNIT) * area;
    if (!job->samples) return (float *)p + (u * job->groups + g) * area * OT_UNIT;
    const int64_t units = job->lanes / OT_UNIT, block = u / units;
    return (float *)p + (block * c + g) * area * job->lanes + u % units * OT_UNIT;
}

/* From place to place of a unit in lanes; its channels that are there in rows. */
static size_t unit_pitch(const struct job *job) {
    return job->samples ? (size_t)job->lanes : OT_UNIT;
}
static int channels_of(const struct job *job, int64_t g) {
    const int64_t left = job->s->c - g * OT_UNIT;
    return left < OT_UNIT ? (int)left : OT_UNIT;
}

/* n places from number `at` on. */
static void read_places(const struct job *job, const float *unit, int64_t g, int64_t area,
                        int64_t at, int64_t n, float *out) {
    const size_t pitch = unit_pitch(job);
    if (!job->lanes) {
        const struct transpose t = {.in = unit + at,
                                    .out = out,
                                    .in_pitch = (size_t)area,
                                    .out_pitch = OT_UNIT,
                                    .rows = channels_of(job, g),
                                    .columns = (int)n};
        if (t.rows < OT_UNIT) memset(out, 0, (size_t)n * OT_UNIT * sizeof *out);
        job->n->kernels->transpose(&t);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * OT_UNIT, unit + (size_t)(at + i) * pitch, OT_UNIT * sizeof *out);
}

static void write_places(const struct job *job, float *unit, int64_t g, int64_t area, int64_t at,
                         int64_t n, const float *in) {
    const struct transpose t = {.in = in,
                                .out = unit + at,
                                .in_pitch = OT_UNIT,
                                .out_pitch = (size_t)area,
                                .rows = (int)n,
                                .columns = channels_of(job, g)};
    job->n->kernels->transpose(&t);
}

/* Is what is written in lanes too large to be found in a cache again? */
static bool past_cache(const struct job *job, const float *whole, const struct tensor *t) {
    return job->lanes && ot_bytes(t) > OT_PAST_CACHE &&
           (uintptr_t)whole % (OT_UNIT * sizeof(float)) == 0;
}

static void zero_places(float *out, int64_t n) {
    memset(out, 0, (size_t)n * OT_UNIT * sizeof *out);
}

static void read_band(const struct job *job, const float *unit, int64_t g, int64_t h, int64_t w,
                      const struct band *b, float *out) {
    const int64_t skip = b->left < 0 ? -b->left : 0, begin = b->left > 0 ? b->left : 0;
    const int64_t before = begin < b->width ? begin : b->width;
    int64_t n = b->width - before < w - skip ? b->width - before : w - skip;
    if (n < 0) n = 0;
    for (int64_t i = 0; i < b->lines; i++, out += b->width * OT_UNIT) {
        const int64_t line = b->from + i;
        if (line < 0 || line >= h) {
            zero_places(out, b->width);
            continue;
        }
        zero_places(out, before);
        read_places(job, unit, g, h * w, line * w + skip, n, out + before * OT_UNIT);
        zero_places(out + (before + n) * OT_UNIT, b->width - before - n);
    }
}

/* The input lines of `lines` lines of y from number o on. */
static void read_input(const struct job *job, int64_t g, int64_t u, int64_t o, int64_t lines,
                       float *out) {
    const struct conv_shape *s = job->s;
    const struct band b = {.from = o * s->stride_h - s->pad_top,
                           .lines = input_lines(s, lines),
                           .left = s->pad_left,
                           .width = input_width(s)};
    read_band(job, unit_of(job, ot_f(job->n->x[0]), s->h * s->w, g, u), g, s->h, s->w, &b, out);
}

/* ---- taps ---- */

/* Tap k of the channels of a group, side by side. */
static void spread_tap(const struct job *job, int64_t g, int k, float *out) {
    const int taps = job->s->kh * job->s->kw;
    const float *w = ot_f(job->n->x[1]);
    for (int i = 0; i < OT_UNIT; i++) {
        const int64_t c = job->samples ? g : g * OT_UNIT + i;
        out[i] = c < job->s->c ? w[c * taps + k] : 0;
    }
}

static void spread_bias(const struct job *job, int64_t g, float *out) {
    for (int i = 0; i < OT_UNIT; i++) {
        const int64_t c = job->samples ? g : g * OT_UNIT + i;
        out[i] = job->bias && c < job->s->c ? job->bias[c] : 0;
    }
}

/* Where the taps stand in a band of the input. */
static void input_offsets(const struct conv_shape *s, int32_t *offset) {
    for (int i = 0; i < s->kh; i++)
        for (int j = 0; j < s->kw; j++)
            offset[i * s->kw + j] =
                (int32_t)((i * s->dilation_h * input_width(s) + j * s->dilation_w) * OT_UNIT);
}

/* ---- forward ---- */

static void forward_unit(void *arg, int task, int worker) {
    const struct job *job = arg;
    const struct conv_shape *s = job->s;
    const int64_t g = task / job->units, u = task % job->units, area = s->oh * s->ow;
    float tap[OT_DEPTHWISE_TAPS * OT_UNIT], bias[OT_UNIT];
    int32_t offset[OT_DEPTHWISE_TAPS];
    float *const in = worker_room(job, forward_room(job), worker);
    float *const turned = in + input_lines(s, job->lines) * input_width(s) * OT_UNIT;
    float *const y = unit_of(job, ot_f(job->n->y[0]), area, g, u);
    const size_t pitch = unit_pitch(job);
    struct depthwise a = {.taps = s->kh * s->kw,
                          .n = (int)s->ow,
                          .offset = offset,
                          .tap = tap,
                          .bias = bias,
                          .x = in,
                          .y_line = (size_t)s->ow * pitch,
                          .y_step = pitch,
                          .x_line = (size_t)(s->stride_h * input_width(s) * OT_UNIT),
                          .x_step = (size_t)s->stride_w * OT_UNIT};
    a.past_cache = past_cache(job, ot_f(job->n->y[0]), job->n->y[0]);
    for (int k = 0; k < a.taps; k++) spread_tap(job, g, k, tap + (size_t)k * OT_UNIT);
    spread_bias(job, g, bias);
    input_offsets(s, offset);
    for (int64_t o = 0; o < s->oh; o += a.lines) {
        a.lines = (int)(s->oh - o < job->lines ? s->oh - o : job->lines);
        read_input(job, g, u, o, a.lines, in);
        a.y = job->lanes ? y + (size_t)(o * s->ow) * pitch : turned;
        job->n->kernels->depthwise(&a);
        if (!job->lanes) write_places(job, y, g, area, o * s->ow, a.lines * s->ow, turned);
    }
}

void ot_depthwise_forward(const struct op_node *n, const struct conv_shape *s, const float *bias) {
    struct job job = job_of(n, s);
    job.bias = bias;
    ot_parallel_for(n->pool, (int)(job.groups * job.units), forward_unit, &job);
}

/* ---- the data gradient ---- */

/* Elements r + stride * m of an axis, from <= m < to, that are there. */
static int64_t count_elements(const struct axis *a, int r, int64_t from, int64_t to) {
    const int64_t all = r < a->size ? (a->size - 1 - r) / a->stride + 1 : 0;
    return all < from ? 0 : (all < to ? all : to) - from;
}

/* Is element r of a stride met by tap k, and at which element of dy, counted from the lowest? */
static bool meets(const struct axis *a, int r, int k, int64_t *at) {
    const int64_t whole = (int64_t)r + a->pad - (int64_t)k * a->dilation;
    if (whole % a->stride) return false;
    *at = whole / a->stride - a->low;
    return true;
}

/* The taps that meet dx at residues (r, q) of the strides. */
static void residue_taps(const struct job *job, int64_t g, int r, int q, struct depthwise *a,
                         int32_t *offset, float *tap) {
    const struct conv_shape *s = job->s;
    int64_t line, column;
    a->taps = 0;
    for (int i = 0; i < s->kh; i++)
        for (int j = 0; j < s->kw; j++) {
            if (!meets(&job->rows, r, i, &line) || !meets(&job->columns, q, j, &column)) continue;
            offset[a->taps] = (int32_t)((line * gradient_width(job) + column) * OT_UNIT);
            spread_tap(job, g, i * s->kw + j, tap + (size_t)a->taps++ * OT_UNIT);
        }
}

/* Strides [m, m + lines) of dx, of which dy's band is there; out: where they begin. */
static void data_band(const struct job *job, int64_t g, int64_t m, int64_t lines, const float *dy,
                      float *out, size_t pitch) {
    static const float no_bias[OT_UNIT] = {0};
    const struct conv_shape *s = job->s;
    float tap[OT_DEPTHWISE_TAPS * OT_UNIT];
    int32_t offset[OT_DEPTHWISE_TAPS];
    struct depthwise a = {.offset = offset,
                          .tap = tap,
                          .bias = no_bias,
                          .x = dy,
                          .x_line = (size_t)gradient_width(job) * OT_UNIT,
                          .x_step = OT_UNIT,
                          .y_line = (size_t)(s->stride_h * s->w) * pitch,
                          .y_step = (size_t)s->stride_w * pitch};
    a.past_cache = past_cache(job, job->dx, job->n->x[0]);
    for (int r = 0; r < s->stride_h; r++)
        for (int q = 0; q < s->stride_w; q++) {
            residue_taps(job, g, r, q, &a, offset, tap);
            a.lines = (int)count_elements(&job->rows, r, m, m + lines);
            a.n = (int)count_elements(&job->columns, q, 0, strides_of(&job->columns));
            a.y = out + (size_t)(r * s->w + q) * pitch;
            job->n->kernels->depthwise(&a);
        }
}

static void data_unit(void *arg, int task, int worker) {
    const struct job *job = arg;
    const struct conv_shape *s = job->s;
    const int64_t g = task / job->units, u = task % job->units, area = s->h * s->w;
    const int64_t all = strides_of(&job->rows);
    float *const in = worker_room(job, scratch_floats(job), worker);
    float *const turned = in + gradient_lines(job, job->data_lines) * gradient_width(job) * OT_UNIT;
    float *const dx = unit_of(job, job->dx, area, g, u);
    const float *dy = unit_of(job, ot_f(job->n->dy[0]), s->oh * s->ow, g, u);
    const size_t pitch = unit_pitch(job);
    for (int64_t m = 0; m < all; m += job->data_lines) {
        const int64_t lines = all - m < job->data_lines ? all - m : job->data_lines;
        const int64_t first = m * s->stride_h, left = s->h - first;
        const int64_t here = left < lines * s->stride_h ? left : lines * s->stride_h;
        const struct band b = {.from = m + job->rows.low,
                               .lines = gradient_lines(job, lines),
                               .left = -job->columns.low,
                               .width = gradient_width(job)};
        read_band(job, dy, g, s->oh, s->ow, &b, in);
        data_band(job, g, m, lines, in, job->lanes ? dx + (size_t)(first * s->w) * pitch : turned,
                  pitch);
        if (!job->lanes) write_places(job, dx, g, area, first * s->w, here * s->w, turned);
    }
}

/* ---- the weight gradient ---- */

/* Adds what a band summed up to the sums of channels. */
static void add_sums(const struct job *job, int64_t u, const float *part, double *sum) {
    const int taps = job->s->kh * job->s->kw;
    const int64_t left = ot_lane_samples(job->n->x[0]) - u * OT_UNIT;
    const int used = !job->samples ? OT_UNIT : left < 0 ? 0 : left < OT_UNIT ? (int)left : OT_UNIT;
    for (int k = 0; k <= taps; k++)
        for (int i = 0; i < used; i++)
            sum[k * OT_UNIT + (job->samples ? 0 : i)] += (double)part[k * OT_UNIT + i];
}

static void weight_unit(const struct job *job, int64_t g, int64_t u, float *in, double *sum) {
    const struct conv_shape *s = job->s;
    const int64_t area = s->oh * s->ow;
    float part[(OT_DEPTHWISE_TAPS + 1) * OT_UNIT];
    int32_t offset[OT_DEPTHWISE_TAPS];
    float *const turned = in + input_lines(s, job->lines) * input_width(s) * OT_UNIT;
    float *const dy = unit_of(job, ot_f(job->n->dy[0]), area, g, u);
    const size_t pitch = unit_pitch(job);
    struct depthwise a = {.taps = s->kh * s->kw,
                          .n = (int)s->ow,
                          .offset = offset,
                          .x = in,
                          .x_line = (size_t)(s->stride_h * input_width(s) * OT_UNIT),
                          .x_step = (size_t)s->stride_w * OT_UNIT,
                          .sum = part,
                          .y_line = (size_t)s->ow * pitch,
                          .y_step = pitch};
    input_offsets(s, offset);
    for (int64_t o = 0; o < s->oh; o += a.lines) {
        a.lines = (int)(s->oh - o < job->lines ? s->oh - o : job->lines);
        read_input(job, g, u, o, a.lines, in);
        a.y = job->lanes ? dy + (size_t)(o * s->ow) * pitch : turned;
        if (!job->lanes) read_places(job, dy, g, area, o * s->ow, a.lines * s->ow, turned);
        memset(part, 0, sizeof part);
        job->n->kernels->depthwise_weight(&a);
        add_sums(job, u, part, sum);
    }
}

static void weight_group(void *arg, int task, int worker) {
    const struct job *job = arg;
    const int taps = job->s->kh * job->s->kw, channels = job->samples ? 1 : channels_of(job, task);
    const int64_t first = (int64_t)task * (job->samples ? 1 : OT_UNIT);
    double sum[(OT_DEPTHWISE_TAPS + 1) * OT_UNIT] = {0};
    for (int64_t u = 0; u < job->units; u++)
        weight_unit(job, task, u, worker_room(job, scratch_floats(job), worker), sum);
    for (int i = 0; i < channels; i++) {
        for (int k = 0; job->dw && k < taps; k++)
            job->dw[(first + i) * taps + k] = (float)sum[k * OT_UNIT + i];
        if (job->dbias) job->dbias[first + i] = (float)sum[taps * OT_UNIT + i];
    }
}

void ot_depthwise_backward(const struct op_node *n, const struct conv_shape *s, float *dx,
                           float *dw, float *dbias) {
    struct job job = job_of(n, s);
    job.dx = dx;
    job.dw = dw;
    job.dbias = dbias;
    if (dw || dbias) ot_parallel_for(n->pool, (int)job.groups, weight_group, &job);
    if (dx) ot_parallel_for(n->pool, (int)(job.groups * job.units), data_unit, &job);
}
