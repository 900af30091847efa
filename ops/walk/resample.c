/* resample.c - taps of interpolation (ONNX Resize-19: nearest, linear, cubic; all coordinates). */
#include "ops/walk/resample.h"

#include <math.h>
#include <string.h>

#include "ops/number.h"

enum { GRAIN = 16384, MOST_TAPS = 1 << 28 };

/* ---- where an output lies among the inputs ---- */

static const char *const coordinate_names[] = {
    "half_pixel",           "pytorch_half_pixel",   "align_corners",     "asymmetric",
    "half_pixel_symmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
enum coordinates {
    HALF,
    PYTORCH_HALF,
    ALIGN,
    ASYMMETRIC,
    SYMMETRIC,
    TF_NEAREST,
    CROP,
    COORDINATES
};

static const char *const rounding_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                             "ceil"};
enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL, ROUNDINGS };

struct mapping {
    const struct resample *r;
    enum coordinates coordinates;
    enum rounding rounding;
    int64_t in, out;
    double scale;
    const float *roi;
};

static int name_index(const char *name, const char *const *names, int n) {
    int i = 0;
    while (i < n && strcmp(name, names[i]) != 0) i++;
    return i;
}

static double source_position(const struct mapping *m, int64_t x) {
    const double in = (double)m->in, length = m->scale * in; /* of the output, not rounded */
    switch (m->coordinates) {
    case ASYMMETRIC: return (double)x / m->scale;
    case TF_NEAREST: return ((double)x + 0.5) / m->scale;
    case ALIGN: return length == 1 ? 0 : (double)x * (in - 1) / (length - 1);
    case SYMMETRIC:
        return in / 2 * (1 - (double)m->out / length) + ((double)x + 0.5) / m->scale - 0.5;
    case CROP: {
        const double from = (double)m->roi[0], to = (double)m->roi[1];
        if (m->out == 1) return (from + to) / 2 * (in - 1);
        return from * (in - 1) + (double)x * (to - from) * (in - 1) / ((double)m->out - 1);
    }
    case PYTORCH_HALF:
        if (m->out == 1) return -0.5;
        break;
    default: break;
    }
    return ((double)x + 0.5) / m->scale - 0.5;
}

/* ---- the taps of one output ---- */

static double cubic(double a, double x) {
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

/* How far the filter reaches, in inputs. */
static double filter_width(const struct mapping *m) {
    const double width = m->r->mode == OT_CUBIC ? 2 : 1;
    return m->r->antialias && m->scale < 1 ? width / m->scale : width;
}

static int64_t most_taps(const struct mapping *m) {
    return m->r->mode == OT_NEAREST ? 1 : 2 * (int64_t)ceil(filter_width(m));
}

static int64_t round_by(enum rounding rounding, double x) {
    switch (rounding) {
    case FLOOR: return (int64_t)floor(x);
    case CEIL: return (int64_t)ceil(x);
    case PREFER_CEIL: return (int64_t)floor(x + 0.5);
    default: return (int64_t)ceil(x - 0.5);
    }
}

static int64_t clamp(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

/* Adds a tap, or to the last one where that reads the same input. */
static void add_tap(struct taps *t, int32_t from, int32_t *n, int64_t index, double weight) {
    if (*n > from && t->index[*n - 1] == index) {
        t->weight[*n - 1] += (float)weight;
        return;
    }
    t->index[*n] = (int32_t)index;
    t->weight[(*n)++] = (float)weight;
}

/* Weights come from the distance to x, and their sum is made 1. */
static void put_filter(const struct mapping *m, double x, struct taps *t, int32_t *n) {
    const struct resample *r = m->r;
    const double far = filter_width(m), shrink = r->antialias && m->scale < 1 ? m->scale : 1;
    const int64_t half = (int64_t)ceil(far), base = (int64_t)floor(x);
    const int32_t from = *n;
    double sum = 0;
    for (int64_t i = base - half + 1; i <= base + half; i++) {
        const double d = ((double)i - x) * shrink;
        const bool outside = i < 0 || i >= m->in;
        const double linear = fabs(d) < 1 ? 1 - fabs(d) : 0;
        const double w = r->mode == OT_CUBIC ? cubic((double)r->cubic, d) : linear;
        if (r->exclude_outside && outside) continue;
        sum += w;
        add_tap(t, from, n, clamp(i, m->in), w);
    }
    for (int32_t k = from; k < *n; k++) t->weight[k] = (float)((double)t->weight[k] / sum);
}

static void put_output(const struct mapping *m, int64_t j, struct taps *t, int32_t *n) {
    const double x = source_position(m, j);
    if (m->coordinates == CROP && !(x >= 0 && x <= (double)(m->in - 1))) return;
    if (m->r->mode == OT_NEAREST)
        add_tap(t, *n, n, clamp(round_by(m->rounding, x), m->in), 1);
    else
        put_filter(m, x, t, n);
}

static ot_status allocate(struct op_node *n, struct taps *t, int64_t count, ot_error *err) {
    t->first = ot_arena_alloc(n->arena, (size_t)t->out + 1, sizeof *t->first);
    t->index = ot_arena_alloc(n->arena, (size_t)count, sizeof *t->index);
    t->weight = ot_arena_alloc(n->arena, (size_t)count, sizeof *t->weight);
    if (t->first && t->index && t->weight) return OT_OK;
    return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
}

ot_status ot_taps_make(struct op_node *n, const struct resample *r, int64_t in, int64_t out,
                       double scale, const float roi[2], struct taps *t, ot_error *err) {
    struct mapping m = {r,
                        (enum coordinates)name_index(r->coordinates, coordinate_names, COORDINATES),
                        (enum rounding)name_index(r->rounding, rounding_names, ROUNDINGS),
                        in,
                        out,
                        scale,
                        roi};
    int32_t count = 0;
    if (m.coordinates == COORDINATES)
        return ot_op_fail(
            n, err, OT_ERROR_INVALID,
            "attribute 'coordinate_transformation_mode' is '%.40s', which is not a known mode",
            r->coordinates);
    if (m.rounding == ROUNDINGS)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'nearest_mode' is '%.40s', which is not a known mode",
                          r->rounding);
    if (in > INT32_MAX || out > MOST_TAPS || !(filter_width(&m) < MOST_TAPS) ||
        (double)out * (double)most_taps(&m) > MOST_TAPS)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "an axis cannot be resized from %lld to %lld",
                          (long long)in, (long long)out);
    *t = (struct taps){.in = in, .out = out};
    OT_TRY(allocate(n, t, out * most_taps(&m), err));
    for (int64_t j = 0; j < out; j++) {
        t->first[j] = count;
        put_output(&m, j, t, &count);
    }
    t->first[out] = count;
    return OT_OK;
}

ot_status ot_taps_transpose(struct op_node *n, const struct taps *t, struct taps *back,
                            ot_error *err) {
    const int32_t count = t->first[t->out];
    *back = (struct taps){.in = t->out, .out = t->in};
    OT_TRY(allocate(n, back, count, err));
    for (int32_t k = 0; k < count; k++) back->first[t->index[k] + 1]++;
    for (int64_t i = 0; i < t->in; i++) back->first[i + 1] += back->first[i];
    for (int64_t j = 0; j < t->out; j++)
        for (int32_t k = t->first[j]; k < t->first[j + 1]; k++) {
            const int32_t to = back->first[t->index[k]]++;
            back->index[to] = (int32_t)j;
            back->weight[to] = t->weight[k];
        }
    for (int64_t i = t->in; i > 0; i--) back->first[i] = back->first[i - 1];
    back->first[0] = 0;
    return OT_OK;
}

bool ot_taps_identity(const struct taps *t) {
    if (t->in != t->out) return false;
    for (int64_t j = 0; j < t->out; j++) {
        double rest = 0; /* of weights that should be 0 */
        for (int32_t k = t->first[j]; k < t->first[j + 1]; k++)
            rest += fabs((double)t->weight[k] - (t->index[k] == j));
        if (t->first[j] == t->first[j + 1] || rest > 0) return false;
    }
    return true;
}

/* ---- running ---- */

struct pass {
    const struct taps *taps;
    int64_t outer, inner, grain;
    const float *from;
    float *to;
};

/* All outputs of one line, whose elements stand side by side. */
static void pass_line(const struct taps *t, const float *from, float *to) {
    for (int64_t j = 0; j < t->out; j++) {
        float sum = 0;
        for (int32_t k = t->first[j]; k < t->first[j + 1]; k++)
            sum += t->weight[k] * from[t->index[k]];
        to[j] = sum;
    }
}

/* One output of many lines side by side. */
static void pass_row(const struct taps *t, int64_t j, int64_t inner, const float *from, float *to) {
    memset(to, 0, (size_t)inner * sizeof *to);
    for (int32_t k = t->first[j]; k < t->first[j + 1]; k++) {
        const float *x = from + t->index[k] * inner, w = t->weight[k];
        for (int64_t i = 0; i < inner; i++) to[i] += w * x[i];
    }
}

static void pass_task(void *arg, int task, int worker) {
    (void)worker;
    const struct pass *p = arg;
    const struct taps *t = p->taps;
    int64_t from, to;
    ot_task_range(p->inner == 1 ? p->outer : p->outer * t->out, p->grain, task, &from, &to);
    for (int64_t i = from; i < to; i++) {
        if (p->inner == 1) {
            pass_line(t, p->from + i * t->in, p->to + i * t->out);
        } else {
            const float *x = p->from + i / t->out * t->in * p->inner;
            pass_row(t, i % t->out, p->inner, x, p->to + i * p->inner);
        }
    }
}

void ot_taps_run(struct pool *pool, const struct taps *t, int64_t outer, int64_t inner,
                 const float *from, float *to) {
    const int64_t items = inner == 1 ? outer : outer * t->out;
    const int64_t work = inner == 1 ? t->out : inner;
    struct pass p = {t, outer, inner, 1 + GRAIN / (work + 1), from, to};
    if (items > 0 && work > 0) ot_parallel_for(pool, ot_task_count(items, p.grain), pass_task, &p);
}

/* Output j of the line whose first input is element `at` of `from`, `inner` apart. */
static double weighted_sum(const struct taps *t, int64_t j, int64_t inner, ot_type type,
                           const void *from, int64_t at) {
    double sum = 0;
    for (int32_t k = t->first[j]; k < t->first[j + 1]; k++)
        sum += (double)t->weight[k] * ot_load_number(from, type, at + t->index[k] * inner);
    return sum;
}

void ot_taps_run_numbers(const struct taps *t, int64_t outer, int64_t inner, ot_type from_type,
                         const void *from, ot_type to_type, void *to) {
    const size_t size = ot_type_size(to_type);
    for (int64_t i = 0; i < outer * t->out * inner; i++) {
        const int64_t j = i / inner % t->out;
        const int64_t at = i / inner / t->out * t->in * inner + i % inner;
        const int32_t k = t->first[j];
        if (from_type == to_type && t->first[j + 1] == k + 1 && t->weight[k] == 1) {
            const size_t source = (size_t)(at + t->index[k] * inner);
            memcpy((char *)to + (size_t)i * size, (const char *)from + source * size, size);
            continue;
        }
        const double v = weighted_sum(t, j, inner, from_type, from, at);
        ot_store_number(to, to_type, i, to_type == OT_DOUBLE ? v : nearbyint(v));
    }
}
