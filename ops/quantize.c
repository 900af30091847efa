/* quantize.c - QuantizeLinear: y = x / scale rounded to the nearest integer, halves to the even
 * one, plus the zero point, saturated; DequantizeLinear: y = (x - zero point) scale. Scale and zero
 * point are one for the tensor, one for each place of an axis, or one for each block along it.
 *
 * Rounding passes its gradient straight through (Bengio, Leonard, Courville, arXiv 1308.3432),
 * saturation lets none through: QuantizeLinear dx = dy / scale inside the range, else 0;
 * DequantizeLinear dx = dy scale. The gradient of the integers between them is float.
 *
 * A weight that the file holds as integers is a weight of floats here, already times the scale:
 * DequantizeLinear rounds it to what the integers can say, dx = dy inside their range.
 */
#include "ops/quantize.h"

#include "ops/number.h"
#include "ops/walk/strips.h"

enum { X, SCALE, ZERO };

struct quantize_plan {
    struct strips strips;
    int64_t block;  /* places of the axis that share a scale; 0: all elements share one */
    int64_t blocks; /* scales along the axis */
    bool inner;     /* neighbours of a strip have scales of their own */
    struct range range;
    bool master; /* x is a weight of floats */
};

/* ---- prepare ---- */

static const struct tensor *zero_point(const struct op_node *n) {
    return n->n_in > ZERO ? n->x[ZERO] : NULL;
}

/* One scale for each block of `size` along the axis. */
static ot_status read_blocks(const struct op_node *n, int axis, int64_t size,
                             struct quantize_plan *plan, ot_error *err) {
    const struct tensor *x = n->x[X], *scale = n->x[SCALE];
    char text[128];
    bool fits = scale->rank == x->rank && size > 0;
    for (int i = 0; fits && i < x->rank; i++)
        fits = scale->dim[i] == (i == axis ? (x->dim[i] + size - 1) / size : x->dim[i]);
    if (!fits)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the scale has shape %s, which does not fit blocks of %lld on axis %d",
                          ot_shape_text(scale, text, sizeof text), (long long)size, axis);
    plan->block = size;
    plan->blocks = scale->dim[axis];
    plan->inner = true;
    return OT_OK;
}

static ot_status read_granularity(const struct op_node *n, struct quantize_plan *plan,
                                  ot_error *err) {
    const struct tensor *x = n->x[X], *scale = n->x[SCALE];
    const int64_t block = ot_attr_int(n->node, "block_size", 0);
    int axis;
    if (!block && ot_elements(scale) == 1) {
        const int64_t count = ot_count(x);
        plan->strips = (struct strips){1, 1, count, (count + OT_STRIP - 1) / OT_STRIP};
        return OT_OK;
    }
    OT_TRY(ot_op_axis(n, ot_attr_int(n->node, "axis", 1), x->rank, &axis, err));
    if (axis < x->lane_rank)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "scales along axis %d are not supported",
                          axis);
    ot_strips_of(x, axis, axis + 1, &plan->strips);
    if (block) return read_blocks(n, axis, block, plan, err);
    if (scale->rank != 1 || scale->dim[0] != x->dim[axis])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the scale has %lld elements for axis %d of extent %lld",
                          (long long)ot_elements(scale), axis, (long long)x->dim[axis]);
    plan->block = 1;
    plan->blocks = x->dim[axis];
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    const struct tensor *x = n->x[X];
    int axis;
    if (n->x[SCALE]->role != OT_ROLE_CONST || ot_attr_int(n->node, "block_size", 0)) return false;
    if (x->rank < lane_rank || ot_elements(n->x[SCALE]) == 1) return x->rank >= lane_rank;
    return !ot_op_axis(n, ot_attr_int(n->node, "axis", 1), x->rank, &axis, NULL) &&
           axis >= lane_rank;
}

/* type: what the scale may be instead of float. */
static ot_status check_parameters(struct op_node *n, ot_type type, ot_error *err) {
    struct quantize_plan *plan = ot_op_plan(n);
    const struct tensor *zero = zero_point(n);
    if (n->x[SCALE]->type != type) OT_TRY(ot_op_type(n, SCALE, OT_FLOAT, err));
    if (ot_training_wants(n, SCALE))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "the scale needs a gradient, which is not supported");
    OT_TRY(read_granularity(n, plan, err));
    if (zero && ot_elements(zero) != ot_elements(n->x[SCALE]))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the zero point has %lld elements, but the scale has %lld",
                          (long long)ot_elements(zero), (long long)ot_elements(n->x[SCALE]));
    return OT_OK;
}

static ot_status quantize_prepare(struct op_node *n, ot_error *err) {
    struct quantize_plan *plan = ot_op_plan(n);
    const struct tensor *zero = zero_point(n);
    const int64_t asked = ot_attr_int(n->node, "output_dtype", 0);
    const ot_type type = zero ? zero->type : asked > 0 && asked < 255 ? (ot_type)asked : OT_UINT8;
    if (n->x[X]->type != OT_INT32) OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (!ot_is_quantized(type))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "type %s (%d) is not supported for the result", ot_type_name(type),
                          (int)type);
    OT_TRY(check_parameters(n, OT_INT32, err));
    ot_op_like(n->y[0], n->x[X]);
    n->y[0]->type = type;
    n->rounds = true;
    plan->range = ot_range_of(type);
    return OT_OK;
}

static ot_status dequantize_prepare(struct op_node *n, ot_error *err) {
    struct quantize_plan *plan = ot_op_plan(n);
    const struct tensor *zero = zero_point(n);
    plan->master = n->x[X]->type == OT_FLOAT && zero;
    const ot_type type = plan->master ? zero->type : n->x[X]->type;
    if (!ot_is_quantized(type) && type != OT_INT32)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input 0 is %s, which is not supported",
                          ot_type_name(type));
    if (zero) OT_TRY(ot_op_type(n, ZERO, type, err));
    plan->range = ot_range_of(type);
    n->rounds = plan->master;
    OT_TRY(check_parameters(n, OT_FLOAT, err));
    ot_op_like(n->y[0], n->x[X]);
    n->y[0]->type = OT_FLOAT;
    return OT_OK;
}

/* ---- strips ---- */

struct factors {
    float scale[OT_STRIP], zero[OT_STRIP];
};

/* Scales and zero points of `columns` elements at place k of the strip that starts at `at`. */
static void load_factors(const struct op_node *n, int64_t at, int64_t k, int64_t columns,
                         struct factors *f) {
    const struct quantize_plan *plan = n->plan;
    const struct tensor *zero = zero_point(n);
    const int64_t column = ot_strips_column(&plan->strips, at);
    int64_t first = plan->block ? k / plan->block : 0;
    if (plan->inner)
        first = (column / plan->strips.inner * plan->blocks + first) * plan->strips.inner +
                column % plan->strips.inner;
    for (int64_t j = 0; j < columns; j++) {
        if (j && !plan->inner) {
            f->scale[j] = f->scale[0];
            f->zero[j] = f->zero[0];
            continue;
        }
        f->scale[j] = (float)ot_load_number(n->x[SCALE]->data, n->x[SCALE]->type, first + j);
        f->zero[j] = zero ? (float)ot_load_integer(zero->data, zero->type, first + j) : 0;
    }
}

static inline float rounded(float x, const struct factors *f, int64_t j) {
    return ot_nearest(x / f->scale[j]) + f->zero[j];
}

/* The gradient g of x, which passes inside the range. */
static inline float passed(const struct quantize_plan *plan, float x, const struct factors *f,
                           int64_t j, float g) {
    const float v = rounded(x, f, j);
    return ((v >= plan->range.low) & (v <= plan->range.high)) ? g : 0;
}

#define LOAD(T)                                                                                    \
    for (int64_t i = 0; i < n; i++) out[i] = (float)((const T *)t->data)[at + i]
#define STORE(T)                                                                                   \
    for (int64_t i = 0; i < n; i++) ((T *)t->data)[at + i] = (T)(int32_t)in[i]

/* n elements as floats. */
static void load(const struct tensor *t, int64_t at, int64_t n, float *out) {
    switch (t->type) {
    case OT_UINT8: LOAD(uint8_t); break;
    case OT_INT8: LOAD(int8_t); break;
    case OT_UINT16: LOAD(uint16_t); break;
    case OT_INT16: LOAD(int16_t); break;
    case OT_INT32: LOAD(int32_t); break;
    default: LOAD(float); break;
    }
}

/* Floats that the integer type holds. */
static void store(const struct tensor *t, int64_t at, int64_t n, const float *in) {
    switch (t->type) {
    case OT_UINT8: STORE(uint8_t); break;
    case OT_INT8: STORE(int8_t); break;
    case OT_UINT16: STORE(uint16_t); break;
    default: STORE(int16_t); break;
    }
}

static void quantize_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct quantize_plan *plan = n->plan;
    struct factors f;
    for (int64_t k = 0; k < plan->strips.length; k++) {
        const int64_t place = at + k * plan->strips.inner;
        float v[OT_STRIP];
        load_factors(n, at, k, columns, &f);
        load(n->x[X], place, columns, v);
        for (int64_t j = 0; j < columns; j++) v[j] = ot_within(plan->range, rounded(v[j], &f, j));
        store(n->y[0], place, columns, v);
    }
}

static void quantize_gradient(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct quantize_plan *plan = n->plan;
    struct factors f;
    for (int64_t k = 0; k < plan->strips.length; k++) {
        const int64_t place = at + k * plan->strips.inner;
        const float *x = ot_f(n->x[X]) + place, *dy = ot_f(n->dy[0]) + place;
        float *dx = ot_f(n->dx[X]) + place;
        load_factors(n, at, k, columns, &f);
        for (int64_t j = 0; j < columns; j++) dx[j] = passed(plan, x[j], &f, j, dy[j] / f.scale[j]);
    }
}

static void dequantize_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct quantize_plan *plan = n->plan;
    struct factors f;
    for (int64_t k = 0; k < plan->strips.length; k++) {
        const int64_t place = at + k * plan->strips.inner;
        float v[OT_STRIP], *y = ot_f(n->y[0]) + place;
        load_factors(n, at, k, columns, &f);
        load(n->x[X], place, columns, v);
        for (int64_t j = 0; plan->master && j < columns; j++)
            v[j] = ot_within(plan->range, rounded(v[j], &f, j));
        for (int64_t j = 0; j < columns; j++) y[j] = (v[j] - f.zero[j]) * f.scale[j];
    }
}

static void dequantize_gradient(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct quantize_plan *plan = n->plan;
    struct factors f;
    for (int64_t k = 0; k < plan->strips.length; k++) {
        const int64_t place = at + k * plan->strips.inner;
        const float *x = ot_f(n->x[X]) + place, *dy = ot_f(n->dy[0]) + place;
        float *dx = ot_f(n->dx[X]) + place;
        load_factors(n, at, k, columns, &f);
        for (int64_t j = 0; plan->master && j < columns; j++)
            dx[j] = passed(plan, x[j], &f, j, dy[j]);
        for (int64_t j = 0; !plan->master && j < columns; j++) dx[j] = dy[j] * f.scale[j];
    }
}

static void run_strips(struct op_node *n, ot_strip_fn *fn) {
    ot_strips_each(n->pool, &((const struct quantize_plan *)n->plan)->strips, fn, n);
}

static void quantize_forward(struct op_node *n) { run_strips(n, quantize_strip); }
static void quantize_backward(struct op_node *n) {
    if (!n->dx[X]) return;
    run_strips(n, quantize_gradient);
    ot_op_clear_spare(n->dx[X]);
}
static void dequantize_forward(struct op_node *n) { run_strips(n, dequantize_strip); }
static void dequantize_backward(struct op_node *n) {
    if (!n->dx[X]) return;
    run_strips(n, dequantize_gradient);
    ot_op_clear_spare(n->dx[X]);
}

/* ---- records ---- */

static const char *const quantize_cases[] = {
    "f{0,2,3,1000,-254,-1000} f(2) u8(128) @10 -> u8{128,129,130,255,1,0}",
    "f{0.5,1.5,-2.5,300,-300,nan} f(1) i8(0) -> i8{0,2,-2,127,-128,-128}",
    "f{1,-1} f(1) -> u8{1,0}",
    "f{100000,-100000,7} f(1) i16(1) @21 -> i16{32767,-32768,8}",
    "f{3,-3} f(1) output_dtype=3 @21 -> i8{3,-3}",
    "i32{7,-9} f(2) i8(1) -> i8{5,-3}",
    "i32{7,-9} i32(2) i8(1) @19 -> i8{5,-3}",
    "f[1,3,2]{-162,10,-100,232,-20,-50} f{2,4,5} u8{84,24,196} -> u8[1,3,2]{3,89,0,82,192,186}",
    "f[2,3]{1,2,3,4,5,6} f{1,2} i8{0,0} axis=0 -> i8[2,3]{1,2,3,2,2,3}",
    "f[1,5]{1,2,3,4,8} f[1,3]{1,2,4} i8[1,3]{0,1,0} axis=1 block_size=2 @21 -> i8[1,5]{1,2,3,3,2}",
    "f[4,2]{1,2,3,4,5,6,7,8} f[2,2]{1,2,1,4} axis=0 block_size=2 output_dtype=3 @21 -> "
    "i8[4,2]{1,1,3,2,5,2,7,2}",
    "X[3,4,5] f(0.1) i8(3):c lanes -> Y[3,4,5]:i8",
    "X[3,4,5] f{0.1,0.2,0.3,0.1} i8{0,1,2,3} lanes -> Y[3,4,5]:i8",
    "X[3,4] f{1,2} -> error: the scale has 2 elements for axis 1 of extent 4",
    "X[3,4] f[3,1]{1,1,1} block_size=2 @21 -> error: the scale has shape [3,1]",
    "X[3] f(1) i32(0) -> error: type int32 (6) is not supported for the result",
    "X[3] f(1) i8{0,0} -> error: the zero point has 2 elements, but the scale has 1",
    NULL,
};
static const char *const dequantize_cases[] = {
    "u8{0,3,128,255} f(2) u8(128) @10 -> f{-256,-250,0,254}",
    "i32{-3,70000} f(0.5) -> f{-1.5,35000}",
    "u16{30000,31000} f(2) u16(32767) @21 -> f{-5534,-3534}",
    "i8[1,3,2]{3,89,0,-82,19,86} f{2,4,5} i8{8,-24,96} -> "
    "f[1,3,2]{-10,162,96,-232,-385,-50}",
    "i8[1,5]{1,2,3,4,8} f[1,3]{1,2,4} i8[1,3]{0,1,0} block_size=2 @21 -> f[1,5]{1,2,4,6,32}",
    "X[3,4,5]:i8 f{0.1,0.2,0.3,0.1} i8{0,1,2,3} lanes -> Y[3,4,5]",
    "f[1,3]{0.5,0.29,-50} f{0.1,0.2,0.4} i8{0,1,-10} -> f[1,3]{0.5,0.2,-47.2}",
    "f{0.9,-1.2,70,-70} f(0.5) i8(3) -> f{1,-1,62,-65.5}",
    "f{0.9,-1.2,70,-70} f(0.5) i32(0) -> f{1,-1,70,-70}",
    "f{0.9} f(0.5) -> error: input 0 is float",
    "X[3]:i8 f(1) u8(0) -> error: input 2 is uint8, expected int8",
    "X[3]:i64 f(1) -> error: input 0 is int64",
    NULL,
};

#define QUANTIZATION(word, fn, list, reads, weights, texts)                                        \
    const struct op ot_op_##word = {                                                               \
        .name = #word,                                                                             \
        .since = 10,                                                                               \
        .min_in = 2,                                                                               \
        .max_in = 3,                                                                               \
        .min_out = 1,                                                                              \
        .max_out = 1,                                                                              \
        .attributes = list,                                                                        \
        .needs = reads,                                                                            \
        .parameters = weights,                                                                     \
        .straight = OT_STRAIGHT_MADE,                                                              \
        .plan_size = sizeof(struct quantize_plan),                                                 \
        .lanes = lanes,                                                                            \
        .prepare = fn##_prepare,                                                                   \
        .forward = fn##_forward,                                                                   \
        .backward = fn##_backward,                                                                 \
        .cases = texts,                                                                            \
    }
QUANTIZATION(QuantizeLinear, quantize, "axis:i saturate:i block_size:i output_dtype:i precision:i",
             OT_X(X) | OT_X(SCALE) | OT_X(ZERO), OT_X(X), quantize_cases);
QUANTIZATION(DequantizeLinear, dequantize, "axis:i block_size:i output_dtype:i",
             OT_X(X) | OT_X(SCALE) | OT_X(ZERO), OT_X(X), dequantize_cases);
