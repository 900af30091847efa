/* test_kernels.c - every kernel of every instruction set against plain loops, between unreadable
 * pages. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "ops/kernels/kernels.h"
#include "runtime/base/rng.h"
#include "tests/sparse_case.h"

enum { ROWS = 9, ENTRIES = 56, CHANNELS = 5, IN_LINES = 4, LINE = 20, STEP = 2 };

/* Rows of 0 to 21 entries, every mix of first and last; their values stand the other way round. */
struct job {
    int h, w;
    float value[ENTRIES];
    int32_t row[ROWS], ptr[ROWS + 1], at[ROWS], offset[ENTRIES];
    struct entries e;
    size_t in_size, image_size; /* image: ROWS x 2 lines of w units, STEP units apart */
    struct place place;
    float *in, *image, *part;
};

static float noise(uint64_t stream, uint64_t i) { return ot_random_float(9, stream, i) - 0.5f; }

static void job_make(struct job *j, int h, int w, bool back) {
    static const int lengths[ROWS] = {0, 1, 2, 3, 4, 5, 21, 7, 6};
    j->h = h;
    j->w = w;
    j->in_size = (size_t)CHANNELS * IN_LINES * LINE * OT_UNIT;
    const size_t line = ((size_t)(w - 1) * STEP + 1) * OT_UNIT;
    j->place = (struct place){line * (size_t)h, line, STEP * OT_UNIT};
    j->image_size = ROWS * j->place.pitch;
    j->in = guarded(j->in_size, back);
    j->image = guarded(j->image_size, back);
    j->part = guarded((size_t)(ROWS * h * w) * OT_UNIT, back);
    for (size_t i = 0; i < j->in_size; i++) j->in[i] = noise(1, i);
    for (size_t i = 0; i < j->image_size; i++) j->image[i] = noise(2, i);
    for (int i = 0; i < ROWS * h * w * OT_UNIT; i++) j->part[i] = noise(3, (uint64_t)i);
    int n = 0;
    for (int i = 0; i < ROWS; i++) {
        j->row[i] = (i * 4 % ROWS) << OT_ROW_SHIFT | i % 4;
        j->ptr[i] = n;
        j->at[i] = ENTRIES - n - lengths[i];
        for (int k = 0; k < lengths[i]; k++, n++) {
            uint32_t r = ot_random_u32(9, 4, (uint64_t)n);
            int channel = (int)(r % CHANNELS), y = (int)(r / 8 % (uint32_t)(IN_LINES - h + 1));
            int x = (int)(r / 64 % (uint32_t)(LINE - w + 1));
            j->offset[n] = ((channel * IN_LINES + y) * LINE + x) * OT_UNIT;
        }
    }
    j->ptr[ROWS] = n;
    for (int i = 0; i < ENTRIES; i++) j->value[i] = noise(5, (uint64_t)i);
    j->e = (struct entries){ROWS, j->row, j->ptr, j->at, j->offset};
}

static void job_free(struct job *j, bool back) {
    guarded_free(j->in, j->in_size, back);
    guarded_free(j->image, j->image_size, back);
    guarded_free(j->part, (size_t)(ROWS * j->h * j->w) * OT_UNIT, back);
}

static size_t image_at(const struct job *j, int row, int y, int x) {
    return (size_t)row * j->place.pitch + (size_t)y * j->place.line + (size_t)x * j->place.step;
}

/* far: written past the caches, and with a look at places that do not exist. */
static void check_spmm(const struct kernels *k, int h, int w, bool back, bool into_l2) {
    struct job j, was;
    float bias[ROWS];
    job_make(&j, h, w, back);
    job_make(&was, h, w, back);
    for (int i = 0; i < ROWS; i++) bias[i] = noise(6, (uint64_t)i);
    const size_t tile = (size_t)(h * w) * OT_UNIT;
    struct prefetches prefetch = {.in = {.at = 64,
                                         .unit = 64,
                                         .line = 1 << 12,
                                         .channel = 1 << 20,
                                         .units = 3,
                                         .lines = 2,
                                         .per_row = 2,
                                         .left = 5},
                                  .out = 1 << 30};
    assert_int_equal((uintptr_t)j.image % (OT_UNIT * sizeof(float)), 0);
    const struct spmm a = {j.e,
                           j.value,
                           j.in,
                           LINE * OT_UNIT,
                           bias,
                           j.part,
                           j.image,
                           tile,
                           j.place,
                           into_l2,
                           into_l2 ? &prefetch : NULL};
    k->spmm[h - 1][w - 1](&a);
    assert_int_equal(prefetch.in.left, into_l2 ? 0 : 5);
    for (int i = 0; i < ROWS; i++) {
        const int row = j.row[i] >> OT_ROW_SHIFT;
        for (int u = 0; u < h * w * OT_UNIT; u++) {
            int y = u / OT_UNIT / w, x = u / OT_UNIT % w, lane = u % OT_UNIT;
            size_t p = (size_t)row * tile + (size_t)u;
            size_t q = image_at(&j, row, y, x) + (size_t)lane;
            double sum = j.row[i] & OT_ROW_FIRST ? bias[row] : was.part[p];
            for (int n = j.ptr[i]; n < j.ptr[i + 1]; n++)
                sum += (double)j.value[j.at[i] + n - j.ptr[i]] *
                       j.in[j.offset[n] + (y * LINE + x) * OT_UNIT + lane];
            const bool last = j.row[i] & OT_ROW_LAST;
            assert_true(fabs(sum - (double)(last ? j.image[q] : j.part[p])) < 1e-5);
            assert_true(last ? j.part[p] == was.part[p] : j.image[q] == was.image[q]);
        }
    }
    job_free(&j, back);
    job_free(&was, back);
}

/* look: fetch from places that do not exist. */
static void check_sddmm(const struct kernels *k, int h, int w, bool back, bool look) {
    struct job j;
    struct prefetches prefetch = {.in = {.at = 64, .units = 2, .lines = 1, .per_row = 1, .left = 3},
                                  .dy = {.at = 64,
                                         .unit = 64,
                                         .line = 1 << 12,
                                         .channel = 1 << 20,
                                         .units = 3,
                                         .lines = 2,
                                         .per_row = 1,
                                         .left = 12}};
    float *sum = guarded(ENTRIES, back), bias[ROWS];
    double want[ENTRIES], want_bias[ROWS];
    job_make(&j, h, w, back);
    for (int i = 0; i < ENTRIES; i++) want[i] = sum[i] = noise(7, (uint64_t)i);
    for (int i = 0; i < ROWS; i++) want_bias[i] = bias[i] = noise(8, (uint64_t)i);
    const struct sddmm a = {j.e, j.in, LINE * OT_UNIT,          j.image, j.place,
                            sum, bias, look ? &prefetch : NULL, look};
    k->sddmm[h - 1][w - 1](&a);
    assert_int_equal(prefetch.in.left, look ? 0 : 3);
    assert_int_equal(prefetch.dy.left, look ? 12 - ROWS : 12);
    for (int i = 0; i < ROWS; i++)
        for (int u = 0; u < h * w * OT_UNIT; u++) {
            int y = u / OT_UNIT / w, x = u / OT_UNIT % w, lane = u % OT_UNIT;
            const int row = j.row[i] >> OT_ROW_SHIFT;
            double dy = j.image[image_at(&j, row, y, x) + (size_t)lane];
            if (j.row[i] & OT_ROW_FIRST) want_bias[row] += dy;
            for (int n = j.ptr[i]; n < j.ptr[i + 1]; n++)
                want[j.at[i] + n - j.ptr[i]] +=
                    dy * j.in[j.offset[n] + (y * LINE + x) * OT_UNIT + lane];
        }
    for (int i = 0; i < ENTRIES; i++) assert_true(fabs(want[i] - (double)sum[i]) < 1e-4);
    for (int i = 0; i < ROWS; i++) assert_true(fabs(want_bias[i] - (double)bias[i]) < 1e-4);
    job_free(&j, back);
    guarded_free(sum, ENTRIES, back);
}

static void test_tiles(void **state) {
    (void)state;
    for (int i = 0; ot_kernels_at(i); i++) {
        const struct kernels *k = ot_kernels_at(i);
        for (int h = 1; h <= OT_TILE_LINES; h++)
            for (int w = 1; w <= OT_TILE_UNITS; w++) {
                const bool there = k->spmm[h - 1][w - 1] != NULL;
                assert_int_equal(there, h * w <= k->tile);
                assert_int_equal(there, k->sddmm[h - 1][w - 1] != NULL);
                for (int back = 0; there && back < 2; back++) {
                    check_spmm(k, h, w, back, false);
                    check_spmm(k, h, w, back, true);
                    check_sddmm(k, h, w, back, false);
                    check_sddmm(k, h, w, back, true);
                }
            }
    }
}

/* The pattern of zeros that a rectangle is packed between. */
enum { TOP = 1, LINES = 2, BOTTOM = 2, LEFT = 1, UNITS = 5, RIGHT = 3 };
enum { PACKED_LINES = TOP + LINES + BOTTOM, PACKED_UNITS = LEFT + UNITS + RIGHT };

/* What stands at float k of the packed channel whose lines begin at `in`; mask: as in struct pack.
 */
static float packed_value(const float *in, size_t in_line, size_t k, const int32_t *mask) {
    const int unit = (int)(k / OT_UNIT);
    const int y = unit / PACKED_UNITS - TOP, x = unit % PACKED_UNITS - LEFT;
    const bool inside = y >= 0 && y < LINES && x >= 0 && x < UNITS;
    if (!inside || (mask && !mask[(size_t)x * OT_UNIT + k % OT_UNIT])) return 0;
    return in[(size_t)y * in_line + (size_t)x * STEP * OT_UNIT + k % OT_UNIT];
}

/* How check_pack packs. */
enum { BACK = 1, ALL = 2, INTERLEAVE = 4, INTO_L2 = 8, MASKED = 16, WAYS = 32 };

/* Some channels of an image, last one first, or all of them: of each, two lines of 5 units that
 * stand 2 apart. */
static void check_pack(const struct kernels *k, int way) {
    enum { CHANNEL_COUNT = 2 * OT_INTERLEAVE + 3 };
    const bool back = way & BACK, all = way & ALL;
    int32_t mask[UNITS * OT_UNIT];
    for (int i = 0; i < UNITS * OT_UNIT; i++) mask[i] = i % 7 < 4 ? -1 : 0;
    int32_t channel[CHANNEL_COUNT - 1];
    const int n = all ? CHANNEL_COUNT : CHANNEL_COUNT - 1;
    for (int i = 0; i < n && !all; i++) channel[i] = CHANNEL_COUNT - 1 - i;
    const size_t in_line = ((UNITS - 1) * STEP + 1) * OT_UNIT, in_channel = LINES * in_line;
    const size_t in_size = CHANNEL_COUNT * in_channel;
    const size_t out_channel = PACKED_LINES * PACKED_UNITS * OT_UNIT;
    const size_t out_size = (size_t)n * out_channel;
    float *in = guarded(in_size, back), *out = guarded(out_size, back);
    for (size_t i = 0; i < in_size; i++) in[i] = noise(1, i);
    for (size_t i = 0; i < out_size; i++) out[i] = NAN;
    const struct pack a = {
        .in = in,
        .out = out,
        .mask = way & MASKED ? mask : NULL,
        .channel = all ? NULL : channel,
        .channels = n,
        .in_channel = in_channel,
        .in_line = in_line,
        .in_step = STEP * OT_UNIT,
        .out_channel = out_channel,
        .out_line = PACKED_UNITS * OT_UNIT,
        .top = TOP,
        .lines = LINES,
        .bottom = BOTTOM,
        .left = LEFT,
        .units = UNITS,
        .right = RIGHT,
        .way = {1 << 28, .into_l2 = way & INTO_L2, .interleave = way & INTERLEAVE}};
    k->pack(&a);
    for (size_t i = 0; i < out_size; i++) {
        const size_t c = i / out_channel, from = all ? c : (size_t)channel[c];
        assert_true(out[i] ==
                    packed_value(in + from * in_channel, in_line, i % out_channel, a.mask));
    }
    guarded_free(in, in_size, back);
    guarded_free(out, out_size, back);
}

static void test_pack(void **state) {
    (void)state;
    for (int i = 0; ot_kernels_at(i); i++)
        for (int way = 0; way < WAYS; way++) check_pack(ot_kernels_at(i), way);
}

/* ---- normalisation ---- */

enum { NORM_MOST = 131 };

/* Pieces of one length, each between guards. */
struct pieces {
    size_t n;
    bool back;
    float *x, *z, *y, *dy, *more, *dx, *dz;
};

static float *piece(const struct pieces *p, int stream) {
    float *v = guarded(p->n, p->back);
    for (size_t j = 0; j < p->n; j++) v[j] = noise((unsigned)stream, j);
    return v;
}

/* `channels` side by side: 1 or OT_UNIT. */
static void check_moments(const struct kernels *k, const struct pieces *p, size_t channels) {
    float mean[OT_UNIT], found[OT_UNIT];
    (channels > 1 ? k->unit_moments : k->moments)(p->x, p->n, mean, found);
    for (size_t c = 0; c < channels; c++) {
        double sum = 0, square = 0;
        for (size_t i = c; i < p->n; i += channels) sum += (double)p->x[i];
        const double m = sum * (double)channels / (double)p->n;
        for (size_t i = c; i < p->n; i += channels)
            square += ((double)p->x[i] - m) * ((double)p->x[i] - m);
        assert_true(fabs(m - (double)mean[c]) < 1e-6);
        assert_true(fabs(square - (double)found[c]) < 1e-5 * (1 + square));
    }
}

static struct norm_unit some_unit(void) {
    struct norm_unit u;
    for (int c = 0; c < OT_UNIT; c++) {
        const float f = (float)c / 64;
        u.x0[c] = 0.25f - f;
        u.gain[c] = 3 - f;
        u.shift[c] = 0.1f + f;
        u.slope[c] = 2 - f;
        u.rest[c] = 0.3f + f;
    }
    return u;
}

/* What follows the normalisation; *slope: its derivative. */
static float follow(enum follow f, float alpha, float v, float *slope) {
    const float s = 1 / (1 + expf(-alpha * v)), h = fmaxf(0, fminf(1, v / 6 + 0.5f));
    *slope = 1;
    if (f == OT_FOLLOW_NOTHING) return v;
    if (f == OT_FOLLOW_SWISH)
        *slope = s + alpha * v * s * (1 - s);
    else if (f == OT_FOLLOW_HARD_SWISH)
        *slope = v <= -3 ? 0 : v >= 3 ? 1 : v / 3 + 0.5f;
    else
        *slope = v > 0;
    return f == OT_FOLLOW_SWISH ? v * s : f == OT_FOLLOW_RELU ? fmaxf(v, 0) : v * h;
}

/* y, then its gradient; bits of form: z, more, batch, dz, y past the caches if aligned, then what
 * follows. */
static void check_norm(const struct kernels *k, const struct pieces *p, int form, size_t channels) {
    const enum follow f = (enum follow)(form >> 5);
    const bool z = form & 1 && f <= OT_FOLLOW_RELU, more = form & 2, batch = form & 4;
    const struct norm_unit u = some_unit(), *unit = channels > 1 ? &u : NULL;
    const struct norm a = {.unit = unit,
                           .x = p->x,
                           .z = z ? p->z : NULL,
                           .x0 = u.x0[0],
                           .gain = u.gain[0],
                           .shift = u.shift[0],
                           .follow = f,
                           .alpha = 0.7f,
                           .y = p->y,
                           .past_cache = form & 16 && !p->back};
    assert_true(!a.past_cache || (uintptr_t)p->y % (OT_UNIT * sizeof(float)) == 0);
    const struct norm_gradient g = {.unit = unit,
                                    .dy = p->dy,
                                    .more = more ? p->more : NULL,
                                    .x = p->x,
                                    .y = z && f ? p->y : NULL,
                                    .x0 = u.x0[0],
                                    .gain = u.gain[0],
                                    .shift = u.shift[0],
                                    .follow = f,
                                    .alpha = 0.7f,
                                    .batch = batch,
                                    .slope = u.slope[0],
                                    .rest = u.rest[0],
                                    .dx = p->dx,
                                    .dz = form & 8 ? p->dz : NULL};
    double sum[OT_UNIT] = {0}, product[OT_UNIT] = {0};
    float found[OT_UNIT], found_product[OT_UNIT];
    k->norm(&a, p->n);
    k->norm_sums(&g, p->n, found, found_product);
    k->norm_gradient(&g, p->n);
    for (size_t j = 0; j < p->n; j++) {
        const size_t c = j % channels;
        const float d = p->x[j] - u.x0[c], v = d * u.gain[c] + u.shift[c] + (z ? p->z[j] : 0);
        float slope;
        const float y = follow(f, 0.7f, v, &slope);
        const float dy = slope * (p->dy[j] + (more ? p->more[j] : 0));
        const float dx = u.gain[c] * dy + (batch ? u.slope[c] * d + u.rest[c] : 0);
        assert_true(fabsf(y - p->y[j]) < 1e-6f);
        assert_true(fabsf(dx - p->dx[j]) < 2e-6f);
        if (g.dz) assert_true(fabsf(p->dz[j] - dy) < 1e-6f);
        sum[c] += (double)dy;
        product[c] += (double)dy * (double)d;
    }
    for (size_t c = 0; c < channels; c++) {
        assert_true(fabs(sum[c] - (double)found[c]) < 1e-5);
        assert_true(fabs(product[c] - (double)found_product[c]) < 1e-5);
    }
}

static void check_pieces(const struct kernels *k, const struct pieces *p, size_t channels) {
    check_moments(k, p, channels);
    for (int form = 0; form < 128; form++) check_norm(k, p, form, channels);
}

/* Pieces of every length around some vectors; whole units also as channels side by side. */
static void test_norm(void **state) {
    (void)state;
    for (int i = 0; ot_kernels_at(i); i++)
        for (size_t n = 1; n <= NORM_MOST; n++) {
            struct pieces p = {.n = n, .back = n % 4 < 2};
            float **const all[] = {&p.x, &p.z, &p.y, &p.dy, &p.more, &p.dx, &p.dz};
            for (size_t k = 0; k < sizeof all / sizeof *all; k++) *all[k] = piece(&p, (int)k);
            check_pieces(ot_kernels_at(i), &p, 1);
            if (n % OT_UNIT == 0) check_pieces(ot_kernels_at(i), &p, OT_UNIT);
            for (size_t k = 0; k < sizeof all / sizeof *all; k++) guarded_free(*all[k], n, p.back);
        }
}

/* 3 outputs of 2 x 2 places, 2 apart, in 2 units; some places are NaN, some alike. */
static void test_max_pool(void **state) {
    (void)state;
    enum { LANES = 2 * OT_UNIT, WIDE = 6, OUTPUTS = 3, IN = 2 * WIDE * LANES };
    for (int t = 0; ot_kernels_at(t); t++) {
        float *x = guarded(IN, true), y[OUTPUTS * LANES];
        int32_t at[OUTPUTS * LANES];
        for (int i = 0; i < IN; i++) {
            const uint32_t r = ot_random_u32(9, 1, (uint64_t)i) % 8;
            x[i] = r ? (float)r : NAN;
        }
        const struct max_pool a = {.x = x,
                                   .line = {WIDE * LANES, WIDE},
                                   .column = {LANES, 1},
                                   .next = {2 * LANES, 2},
                                   .lines = 2,
                                   .columns = 2,
                                   .outputs = OUTPUTS,
                                   .lanes = LANES,
                                   .y = y,
                                   .at = at};
        ot_kernels_at(t)->max_pool(&a);
        for (int i = 0; i < OUTPUTS * LANES; i++) {
            int best = i / LANES * 2;
            for (int k = 1; k < 4; k++) {
                const int p = i / LANES * 2 + k / 2 * WIDE + k % 2;
                const float v = x[p * LANES + i % LANES];
                if (v > x[best * LANES + i % LANES] || isnan(v)) best = p;
            }
            assert_int_equal(at[i], best);
            assert_memory_equal(&y[i], &x[best * LANES + i % LANES], sizeof *y);
        }
        guarded_free(x, IN, true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles), cmocka_unit_test(test_pack),
                                       cmocka_unit_test(test_norm),
                                       cmocka_unit_test(test_max_pool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
