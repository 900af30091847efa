/* resize.c - Resize and Upsample: y = x interpolated to other extents, an axis after the other
 * (ONNX Upsample-7, 9; Resize-10, 11, 13, 18, 19); of integers too, and the nearest of bools.
 *
 * The gradient takes the transposed maps in the opposite order. In between, images of all axes but
 * some resized ones live in two halves of scratch memory.
 */
#include <math.h>
#include <string.h>

#include "ops/number.h"
#include "ops/walk/resample.h"

struct pass {
    struct taps taps, back;
    int64_t outer, inner; /* elements before and behind the axis, in memory */
};

struct resize_plan {
    int passes;
    struct pass pass[OT_MAX_RANK];
    size_t half;     /* elements of half the scratch memory: floats, of integers `between` */
    ot_type between; /* type of integers between two passes: double, or the same for nearest */
    float outside;   /* value of outputs without taps */
    bool has_outside;
};

/* What is asked for, by axis of x. */
struct wanted {
    double scale[OT_MAX_RANK];
    int64_t size[OT_MAX_RANK];
    float roi[OT_MAX_RANK][2];
};

static const char *attribute(const struct op_node *n, const char *name, const char *otherwise) {
    return ot_attr_string(n->node, name, otherwise);
}

/* A constant list of floats; absent or empty: 0 of them. */
static ot_status floats(const struct op_node *n, int i, const float **list, int *count,
                        ot_error *err) {
    *count = 0;
    if (i >= n->n_in || !n->x[i] || ot_elements(n->x[i]) == 0) return OT_OK;
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (n->x[i]->role != OT_ROLE_CONST)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is not a constant", i);
    if (n->x[i]->rank != 1 || n->x[i]->dim[0] > 2 * OT_MAX_RANK)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a short list", i);
    *list = ot_f(n->x[i]);
    *count = (int)n->x[i]->dim[0];
    return OT_OK;
}

/* The axes that scales, sizes and roi speak of. */
static ot_status read_axes(const struct op_node *n, int *axis, int *count, ot_error *err) {
    const int rank = n->x[0]->rank;
    const int64_t *list = ot_attr_ints(n->node, "axes", count);
    uint32_t seen = 0;
    if (!list) *count = rank;
    if (*count > rank)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'axes' has %d axes, more than input 0", *count);
    for (int i = 0; i < *count; i++) {
        OT_TRY(ot_op_axis(n, list ? list[i] : i, rank, &axis[i], err));
        if (seen >> axis[i] & 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is given twice", axis[i]);
        seen |= 1u << axis[i];
    }
    return OT_OK;
}

static ot_status read_scales(const struct op_node *n, const float *scale, const int *axis, int axes,
                             struct wanted *w, ot_error *err) {
    for (int i = 0; i < axes; i++) {
        const int64_t in = n->x[0]->dim[axis[i]];
        const float out = floorf((float)in * scale[i]);
        if (!(scale[i] > 0 && out < 0x1p40f))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "the scale %g is invalid for axis %d of extent %lld",
                              (double)scale[i], axis[i], (long long)in);
        w->scale[axis[i]] = (double)scale[i];
        w->size[axis[i]] = (int64_t)out;
    }
    return OT_OK;
}

/* keep_aspect_ratio_policy: one scale for all axes, the smallest or the largest. */
static ot_status keep_ratio(const struct op_node *n, const int *axis, int axes, struct wanted *w,
                            ot_error *err) {
    const char *policy = attribute(n, "keep_aspect_ratio_policy", "stretch");
    const bool larger = !strcmp(policy, "not_smaller");
    if (!strcmp(policy, "stretch")) return OT_OK;
    if (!larger && strcmp(policy, "not_larger") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'keep_aspect_ratio_policy' is '%.40s', expected 'stretch', "
                          "'not_larger' or 'not_smaller'",
                          policy);
    double scale = larger ? 0 : INFINITY;
    for (int i = 0; i < axes; i++)
        scale = larger ? fmax(scale, w->scale[axis[i]]) : fmin(scale, w->scale[axis[i]]);
    for (int i = 0; i < axes; i++) {
        const double out = floor(scale * (double)n->x[0]->dim[axis[i]] + 0.5);
        if (!(out < 0x1p40))
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d cannot be resized from %lld to %g",
                              axis[i], (long long)n->x[0]->dim[axis[i]], out);
        w->scale[axis[i]] = scale;
        w->size[axis[i]] = (int64_t)out;
    }
    return OT_OK;
}

static ot_status read_sizes(const struct op_node *n, const int64_t *size, const int *axis, int axes,
                            struct wanted *w, ot_error *err) {
    for (int i = 0; i < axes; i++) {
        const int64_t in = n->x[0]->dim[axis[i]];
        const bool batch = axis[i] == 0 && in == n->batch_to && size[i] == n->batch_from;
        w->size[axis[i]] = batch && !n->x[3]->derived ? in : size[i];
        if (size[i] < 1 || in < 1)
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "axis %d cannot be resized from %lld to %lld", axis[i], (long long)in,
                              (long long)size[i]);
        w->scale[axis[i]] = (double)w->size[axis[i]] / (double)in;
    }
    return keep_ratio(n, axis, axes, w, err);
}

static ot_status read_roi(const struct op_node *n, const int *axis, int axes, struct wanted *w,
                          ot_error *err) {
    const float *roi;
    int count;
    OT_TRY(floats(n, 1, &roi, &count, err));
    if (count != 2 * axes)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 'roi' has %d numbers for %d axes, expected two for each axis",
                          count, axes);
    for (int i = 0; i < axes; i++) {
        w->roi[axis[i]][0] = roi[i];
        w->roi[axis[i]][1] = roi[i + axes];
        if (!(fabsf(roi[i]) < 0x1p30f && fabsf(roi[i + axes]) < 0x1p30f))
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 'roi' contains %g and %g, expected numbers below 2^30",
                              (double)roi[i], (double)roi[i + axes]);
    }
    return OT_OK;
}

/* Scales are input 2, sizes input 3; before opset 11 there are scales alone, as input 1 or as the
 * attribute of Upsample-7. */
static ot_status read_wanted(const struct op_node *n, struct wanted *w, ot_error *err) {
    const struct tensor *x = n->x[0];
    const struct attr *a = ot_attr(n->node, "scales");
    const int64_t *size;
    const float *scale = NULL;
    int axis[OT_MAX_RANK], axes, scales = 0, sizes = 0;
    const bool crop =
        !strcmp(attribute(n, "coordinate_transformation_mode", ""), "tf_crop_and_resize");
    for (int i = 0; i < x->rank; i++) {
        w->scale[i] = 1;
        w->size[i] = x->dim[i];
        w->roi[i][0] = 0;
        w->roi[i][1] = 1;
    }
    OT_TRY(read_axes(n, axis, &axes, err));
    OT_TRY(floats(n, n->node->opset < 11 || n->op->max_in == 2 ? 1 : 2, &scale, &scales, err));
    if (a) {
        scale = a->floats;
        scales = (int)a->n;
    }
    OT_TRY(ot_op_ints(n, 3, &size, &sizes, err));
    if ((scales != axes && sizes != axes) || (scales && sizes))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the node has %d scales and %d sizes for %d axes, expected one of the "
                          "two for each axis",
                          scales, sizes, axes);
    if (crop) OT_TRY(read_roi(n, axis, axes, w, err));
    return scales ? read_scales(n, scale, axis, axes, w, err)
                  : read_sizes(n, size, axis, axes, w, err);
}

/* Before opset 11, and in Upsample, there is one way. */
static ot_status read_form(const struct op_node *n, struct resample *r, ot_error *err) {
    const bool old = n->node->opset < 11 || n->op->max_in == 2;
    const char *mode = attribute(n, "mode", "nearest");
    *r = (struct resample){
        .coordinates =
            old ? "asymmetric" : attribute(n, "coordinate_transformation_mode", "half_pixel"),
        .rounding = old ? "floor" : attribute(n, "nearest_mode", "round_prefer_floor"),
        .antialias = ot_attr_int(n->node, "antialias", 0) != 0,
        .exclude_outside = ot_attr_int(n->node, "exclude_outside", 0) != 0,
        .cubic = ot_attr_float(n->node, "cubic_coeff_a", -0.75f)};
    if (!strcmp(mode, "nearest"))
        r->mode = OT_NEAREST;
    else if (!strcmp(mode, "linear") || !strcmp(mode, "bilinear"))
        r->mode = OT_LINEAR;
    else if (!strcmp(mode, "cubic") && !old)
        r->mode = OT_CUBIC;
    else
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'nearest', 'linear' or 'cubic'",
                          mode);
    return OT_OK;
}

static bool lanes(const struct op_node *n, int lane_rank) {
    struct wanted w;
    if (ot_attr(n->node, "extrapolation_value") || read_wanted(n, &w, NULL)) return false;
    for (int i = 0; i < lane_rank; i++)
        if (w.size[i] != n->x[0]->dim[i] || w.scale[i] != 1) return false;
    return true;
}

/* From the last axis to the first: rows get shorter, or longer, one after the other. */
static ot_status make_passes(struct op_node *n, struct resize_plan *plan, const struct resample *r,
                             const struct wanted *w, ot_error *err) {
    const struct tensor *x = n->x[0];
    int64_t inner = x->lanes ? x->lanes : 1;
    for (int i = x->rank - 1; i >= x->lane_rank; i--) {
        struct pass *p = &plan->pass[plan->passes];
        OT_TRY(ot_taps_make(n, r, x->dim[i], w->size[i], w->scale[i], w->roi[i], &p->taps, err));
        if (ot_taps_identity(&p->taps)) {
            inner *= x->dim[i];
            continue;
        }
        OT_TRY(ot_taps_transpose(n, &p->taps, &p->back, err));
        p->outer = ot_lane_blocks(x) * ot_dims_product(x, x->lane_rank, i);
        p->inner = inner;
        inner *= w->size[i];
        for (int64_t j = 0; j < w->size[i]; j++)
            plan->has_outside |= p->taps.first[j] == p->taps.first[j + 1];
        n->flops += 2.0 * (double)p->taps.first[w->size[i]] * (double)p->outer * (double)p->inner;
        plan->passes++;
    }
    return OT_OK;
}

/* Both halves of scratch hold what comes out of any pass but the last. */
static ot_status size_scratch(struct op_node *n, struct resize_plan *plan, ot_error *err) {
    for (int k = 0; k + 1 < plan->passes; k++) {
        const struct pass *p = &plan->pass[k];
        int64_t count;
        if (!ot_shape_count((int64_t[]){p->outer, p->taps.out, p->inner}, 3, (int64_t)1 << 40,
                            &count))
            return ot_op_fail(n, err, OT_ERROR_LIMIT,
                              "an intermediate result has more than 2^40 elements");
        if ((size_t)count > plan->half) plan->half = (size_t)count;
    }
    n->forward_scratch_size = n->backward_scratch_size =
        2 * plan->half * ot_type_size(plan->between);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct resize_plan *plan = ot_op_plan(n);
    struct resample r;
    struct wanted w;
    OT_TRY(read_form(n, &r, err));
    if (!ot_is_integer(x->type) && !(x->type == OT_BOOL && r.mode == OT_NEAREST))
        OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    plan->between = x->type == OT_FLOAT || r.mode == OT_NEAREST ? x->type : OT_DOUBLE;
    OT_TRY(read_wanted(n, &w, err));
    OT_TRY(ot_op_set(n, n->y[0], x->type, x->rank, w.size, err));
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] < 1 && w.size[i] > 0)
            return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d has no elements", i);
    plan->outside = ot_attr_float(n->node, "extrapolation_value", 0);
    OT_TRY(make_passes(n, plan, &r, &w, err));
    return size_scratch(n, plan, err);
}

/* ---- running ---- */

/* Where pass k of the passes writes: into one half of scratch, the last one into `end`. */
static float *pass_output(const struct op_node *n, int k, float *end) {
    const struct resize_plan *plan = n->plan;
    return k == plan->passes - 1 ? end : (float *)n->scratch + (size_t)(k & 1) * plan->half;
}

/* Rows only: an output is outside where one of its axes is. */
static bool is_outside(const struct resize_plan *plan, int64_t i) {
    for (int k = 0; k < plan->passes; k++) {
        const struct pass *p = &plan->pass[k];
        const int64_t j = i / p->inner % p->taps.out;
        if (p->taps.first[j] == p->taps.first[j + 1]) return true;
    }
    return false;
}

static void fill_outside(struct op_node *n) {
    const struct resize_plan *plan = n->plan;
    const struct tensor *y = n->y[0];
    for (int64_t i = 0, count = ot_elements(y); i < count; i++)
        if (is_outside(plan, i)) ot_store_number(y->data, y->type, i, (double)plan->outside);
}

static void forward_integers(struct op_node *n) {
    const struct resize_plan *plan = n->plan;
    const size_t half = plan->half * ot_type_size(plan->between);
    ot_type type = n->x[0]->type;
    const void *from = n->x[0]->data;
    for (int k = 0; k < plan->passes; k++) {
        const struct pass *p = &plan->pass[k];
        const bool last = k == plan->passes - 1;
        const ot_type to_type = last ? n->y[0]->type : plan->between;
        void *to = last ? n->y[0]->data : (char *)n->scratch + (size_t)(k & 1) * half;
        ot_taps_run_numbers(&p->taps, p->outer, p->inner, type, from, to_type, to);
        type = to_type;
        from = to;
    }
}

static void forward(struct op_node *n) {
    const struct resize_plan *plan = n->plan;
    const float *from = ot_f(n->x[0]);
    if (!plan->passes) memcpy(n->y[0]->data, n->x[0]->data, ot_bytes(n->y[0]));
    if (n->x[0]->type != OT_FLOAT) forward_integers(n);
    for (int k = 0; k < plan->passes && n->x[0]->type == OT_FLOAT; k++) {
        const struct pass *p = &plan->pass[k];
        float *to = pass_output(n, k, ot_f(n->y[0]));
        ot_taps_run(n->pool, &p->taps, p->outer, p->inner, from, to);
        from = to;
    }
    if (plan->has_outside) fill_outside(n);
}

static void backward(struct op_node *n) {
    const struct resize_plan *plan = n->plan;
    const float *from = ot_f(n->dy[0]);
    if (!n->dx[0]) return;
    if (!plan->passes) memcpy(n->dx[0]->data, n->dy[0]->data, ot_bytes(n->dx[0]));
    for (int k = 0; k < plan->passes; k++) {
        const struct pass *p = &plan->pass[plan->passes - 1 - k];
        float *to = pass_output(n, k, ot_f(n->dx[0]));
        ot_taps_run(n->pool, &p->back, p->outer, p->inner, from, to);
        from = to;
    }
}

static const char *const cases[] = {
    "X[2,3,4,5] - f{1,1,2,2} lanes -> Y[2,3,8,10]",
    "X[2,3,4,5] - f{1,1,2,2} coordinate_transformation_mode=asymmetric nearest_mode=floor lanes "
    "-> Y[2,3,8,10]",
    "X[2,3,4,5] - - i64{2,3,7,4} mode=linear lanes -> Y[2,3,7,4]",
    "X[17,2,5,4] - - i64{17,2,3,6} mode=linear coordinate_transformation_mode=align_corners lanes "
    "-> Y[17,2,3,6]",
    "X[2,2,4,5] - f{1,1,1.6,0.6} mode=cubic coordinate_transformation_mode=pytorch_half_pixel "
    "lanes -> Y[2,2,6,3]",
    "X[1,2,4,5] - f{1,1,1.6,0.6} mode=cubic cubic_coeff_a=-0.5 exclude_outside=1 -> Y[1,2,6,3]",
    "X[1,1,6,7] - f{0.6,0.5} mode=cubic antialias=1 axes=2,-1 @18 lanes -> Y[1,1,3,3]",
    "X[1,1,6,7] - - i64{3,12} mode=linear antialias=1 axes=3,2 @18 -> Y[1,1,12,3]",
    "X[1,1,3,4] - - i64{7,8} axes=2,3 keep_aspect_ratio_policy=not_larger @18 -> Y[1,1,6,8]",
    "X[1,1,3,4] - - i64{7,8} axes=2,3 keep_aspect_ratio_policy=not_smaller @18 -> Y[1,1,7,9]",
    "X[1,1,4,4] f{0,0,0.4,0.6,1,1,1.2,1.7} - i64{1,1,3,3} mode=linear "
    "coordinate_transformation_mode=tf_crop_and_resize extrapolation_value=10 -> Y[1,1,3,3]",
    "X[1,1,4,3] - f{1,1,1,1.5} coordinate_transformation_mode=half_pixel_symmetric mode=linear "
    "@19 -> Y[1,1,4,4]",
    "X[2,3,4] f{1,1,1.5} mode=linear @10 lanes -> Y[2,3,6]",
    "X[4,2,3] - - i64{1,2,6} batch=1,4 -> Y[4,2,6]",
    "X[2,3,4] - f{1,1,1} lanes -> Y[2,3,4]",
    "f[1,1,2,4]{1,2,3,4,5,6,7,8} - f{1,1,0.6,0.6} mode=linear -> f[1,1,1,2]{2.6666665,4.3333331}",
    "f[1,1,1,4]{1,2,3,4} - f{1,1,1,0.8} mode=cubic -> f[1,1,1,3]{1.09424,2.4043,3.70557}",
    "i64[1,1,2,2]{-7,3,8,9007199254740993} - - i64{1,1,3,3} -> "
    "i64[1,1,3,3]{-7,-7,3,-7,-7,3,8,8,9007199254740993}",
    "b[1,2]{0,1} - f{1,2} -> b[1,4]{0,0,1,1}",
    "i32[1,1,2,2]{-7,3,8,100} - - i64{1,1,3,3} mode=linear -> "
    "i32[1,1,3,3]{-7,-2,3,0,26,52,8,54,100}",
    "u8[1,1,2,2]{7,3,8,100} - - i64{1,1,3,3} mode=cubic -> u8[1,1,3,3]{8,1,0,4,30,55,0,58,117}",
    "i8[1,1,1,4]{-7,3,8,100} - - i64{1,1,1,3} mode=linear antialias=1 @18 -> "
    "i8[1,1,1,3]{-4,6,75}",
    "i8[1,1,1,2]{-128,127} - - i64{1,1,1,4} mode=cubic -> i8[1,1,1,4]{-128,-70,69,127}",
    "i32[2]{1,2} f{0.5,1.5} - i64{3} mode=linear coordinate_transformation_mode=tf_crop_and_resize "
    "extrapolation_value=7 -> i32{2,2,7}",
    "b[1,2]{0,1} - f{1,2} mode=linear -> error: input 0 is bool",
    "X[2,3] - f{1,-2} -> error: scale -2",
    "X[2,3] - f{1,2,2} -> error: 3 scales",
    "X[2,3] - - i64{2,0} -> error: from 3 to 0",
    "X[2,3] - f{1,2} mode=area -> error: 'area'",
    "X[2,3] - f{1,2} coordinate_transformation_mode=round -> error: 'round'",
    "X[2,3] - f{1,2} nearest_mode=round -> error: 'round'",
    "X[2,3] - S[2] -> error: input 2 is not a constant",
    "X[2,3] - f{1,1000000000000} -> error: scale 1e+12",
    NULL};

static const char *const upsample_cases[] = {
    "X[2,3,4,5] scales=1,1,2,2 @7 lanes -> Y[2,3,8,10]",
    "X[2,3,4,5] f{1,1,1.5,2} mode=linear @9 lanes -> Y[2,3,6,10]",
    "f[1,1,2,2]{1,2,3,4} f{1,1,2,3} @9 -> "
    "f[1,1,4,6]{1,1,1,2,2,2,1,1,1,2,2,2,3,3,3,4,4,4,3,3,3,4,4,4}",
    "i32[1,2]{16777217,2} f{1,2} @9 -> i32[1,4]{16777217,16777217,2,2}",
    "X[2,3,4,5] @7 -> error: 0 scales",
    NULL};

const struct op ot_op_Resize = {
    .name = "Resize",
    .since = 10,
    .min_in = 1,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .attributes = "mode:s coordinate_transformation_mode:s nearest_mode:s cubic_coeff_a:f "
                  "exclude_outside:i extrapolation_value:f antialias:i axes:I "
                  "keep_aspect_ratio_policy:s",
    .plan_size = sizeof(struct resize_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "sizes, scales and roi must be constant",
    .cases = cases,
};

const struct op ot_op_Upsample = {
    .name = "Upsample",
    .since = 7,
    .min_in = 1,
    .max_in = 2,
    .min_out = 1,
    .max_out = 1,
    .attributes = "mode:s scales:F",
    .plan_size = sizeof(struct resize_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "scales must be constant",
    .cases = upsample_cases,
};
