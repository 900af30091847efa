/* roi_align.c - RoiAlign: the mean, or the maximum, of bilinear samples in each bin of a region
 * (ONNX RoiAlign-10, 16, 22). Regions get no gradient.
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"

struct roi_align_plan {
    int64_t channels, height, width, regions, bins_h, bins_w;
    bool largest, half_pixel;
    int64_t samples; /* sampling_ratio; 0: by the size of the region */
    float scale;
};

static ot_status read_form(const struct op_node *n, struct roi_align_plan *plan, ot_error *err) {
    const char *mode = ot_attr_string(n->node, "mode", "avg");
    const char *half = ot_attr_string(n->node, "coordinate_transformation_mode", "half_pixel");
    plan->largest = !strcmp(mode, "max");
    plan->half_pixel = n->node->opset >= 16 && !strcmp(half, "half_pixel");
    plan->samples = ot_attr_int(n->node, "sampling_ratio", 0);
    plan->scale = ot_attr_float(n->node, "spatial_scale", 1.0f);
    plan->bins_h = ot_attr_int(n->node, "output_height", 1);
    plan->bins_w = ot_attr_int(n->node, "output_width", 1);
    if (!plan->largest && strcmp(mode, "avg") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'mode' is '%.40s', expected 'avg' or 'max'", mode);
    if (strcmp(half, "half_pixel") != 0 && strcmp(half, "output_half_pixel") != 0)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'coordinate_transformation_mode' is '%.40s', expected "
                          "'half_pixel' or 'output_half_pixel'",
                          half);
    if (plan->samples < 0 || plan->samples > 4096)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "attribute 'sampling_ratio' is %lld, expected 0 to 4096",
                          (long long)plan->samples);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0], *rois = n->x[1], *batch = n->x[2];
    struct roi_align_plan *plan = ot_op_plan(n);
    for (int i = 0; i < 2; i++) OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    OT_TRY(ot_op_type(n, 2, OT_INT64, err));
    OT_TRY(read_form(n, plan, err));
    if (ot_training_wants(n, 1))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED,
                          "input 1 needs a gradient, which is not supported");
    if (x->rank != 4 || ot_elements(x) < 1 || rois->rank != 2 || rois->dim[1] != 4 ||
        batch->rank != 1 || batch->dim[0] != rois->dim[0])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input 0 has rank %d and the regions have rank %d, expected 4 and 2 that "
                          "fit each other",
                          x->rank, rois->rank);
    plan->channels = x->dim[1];
    plan->height = x->dim[2];
    plan->width = x->dim[3];
    plan->regions = rois->dim[0];
    for (int64_t r = 0; batch->role == OT_ROLE_CONST && r < plan->regions; r++) {
        const int64_t b = ((const int64_t *)batch->data)[r];
        if (b < 0 || b >= x->dim[0])
            return ot_op_fail(n, err, OT_ERROR_INVALID,
                              "input 2 contains batch index %lld, but input 0 has %lld samples",
                              (long long)b, (long long)x->dim[0]);
    }
    const int64_t dim[] = {plan->regions, plan->channels, plan->bins_h, plan->bins_w};
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, dim, err));
    /* four pixels a sample; where regions say how many samples, as many as the image has pixels */
    const int64_t samples = plan->samples * plan->samples * plan->bins_h * plan->bins_w;
    n->flops = 8.0 * (double)(plan->regions * plan->channels) *
               (double)(plan->samples ? samples : plan->height * plan->width);
    return OT_OK;
}

/* ---- samples ---- */

/* A sample: four elements of a channel and their weights; outside all weights are 0. */
struct sample {
    int64_t at[4];
    float weight[4];
};

/* Neighbours along one axis. */
static bool neighbours(float x, int64_t size, int64_t at[2], float weight[2]) {
    if (!(x >= -1 && x <= (float)size)) return false;
    x = x > 0 ? x : 0;
    at[0] = (int64_t)x < size - 1 ? (int64_t)x : size - 1;
    at[1] = at[0] < size - 1 ? at[0] + 1 : at[0];
    weight[1] = at[0] < size - 1 ? x - (float)at[0] : 0;
    weight[0] = 1 - weight[1];
    return true;
}

static struct sample sample_at(const struct roi_align_plan *plan, float y, float x) {
    struct sample p = {{0}, {0}};
    int64_t row[2], column[2];
    float wy[2], wx[2];
    if (!neighbours(y, plan->height, row, wy) || !neighbours(x, plan->width, column, wx)) return p;
    for (int k = 0; k < 4; k++) {
        p.at[k] = row[k / 2] * plan->width + column[k % 2];
        p.weight[k] = wy[k / 2] * wx[k % 2];
    }
    return p;
}

/* A region on the map: where it begins, its bins, and the samples in each. */
struct region {
    int64_t sample; /* of the batch */
    float top, left, bin_h, bin_w;
    int64_t grid_h, grid_w;
};

/* As many samples as a bin has rows; a region much larger than the map would have too many. */
static int64_t grid_of(const struct roi_align_plan *plan, float bin, int64_t size) {
    if (plan->samples) return plan->samples;
    const float n = ceilf(bin);
    return n >= 1 ? n < (float)size ? (int64_t)n : size : 0;
}

static struct region region_at(const struct op_node *n, int64_t number) {
    const struct roi_align_plan *plan = n->plan;
    const float *roi = ot_f(n->x[1]) + number * 4, offset = plan->half_pixel ? 0.5f : 0;
    const int64_t b = ((const int64_t *)n->x[2]->data)[number], batch = n->x[0]->dim[0];
    struct region r = {.sample = b < 0 ? 0 : b >= batch ? batch - 1 : b};
    float height = (roi[3] - roi[1]) * plan->scale, width = (roi[2] - roi[0]) * plan->scale;
    if (!plan->half_pixel) {
        height = height > 1 ? height : 1;
        width = width > 1 ? width : 1;
    }
    r.left = roi[0] * plan->scale - offset;
    r.top = roi[1] * plan->scale - offset;
    r.bin_h = height / (float)plan->bins_h;
    r.bin_w = width / (float)plan->bins_w;
    r.grid_h = grid_of(plan, r.bin_h, plan->height);
    r.grid_w = grid_of(plan, r.bin_w, plan->width);
    return r;
}

static struct sample sample_of(const struct roi_align_plan *plan, const struct region *r,
                               int64_t bin, int64_t i) {
    const float row = (float)(i / r->grid_w) + 0.5f, column = (float)(i % r->grid_w) + 0.5f;
    return sample_at(
        plan, r->top + ((float)(bin / plan->bins_w) + row / (float)r->grid_h) * r->bin_h,
        r->left + ((float)(bin % plan->bins_w) + column / (float)r->grid_w) * r->bin_w);
}

/* ---- passes ---- */

/* The largest weighted element of all samples of a bin, and where it is. */
static float largest(const struct roi_align_plan *plan, const struct region *r, int64_t bin,
                     const float *x, int64_t *at, float *weight) {
    float most = 0;
    *at = -1;
    for (int64_t i = 0; i < r->grid_h * r->grid_w; i++) {
        const struct sample p = sample_of(plan, r, bin, i);
        for (int k = 0; k < 4; k++) {
            const float v = p.weight[k] * x[p.at[k]];
            if (*at >= 0 && !(v > most)) continue;
            most = v;
            *at = p.at[k];
            *weight = p.weight[k];
        }
    }
    return most;
}

static float mean_of_bin(const struct roi_align_plan *plan, const struct region *r, int64_t bin,
                         const float *x) {
    const int64_t count = r->grid_h * r->grid_w;
    float sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct sample p = sample_of(plan, r, bin, i);
        for (int k = 0; k < 4; k++) sum += p.weight[k] * x[p.at[k]];
    }
    return sum / (float)(count > 1 ? count : 1);
}

static void forward_region(void *arg, int number, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct roi_align_plan *plan = n->plan;
    const struct region r = region_at(n, number);
    const int64_t bins = plan->bins_h * plan->bins_w;
    float *y = ot_f(n->y[0]) + number * plan->channels * bins, weight;
    for (int64_t i = 0; i < plan->channels * bins; i++) {
        const float *x =
            ot_f(n->x[0]) + (r.sample * plan->channels + i / bins) * plan->height * plan->width;
        int64_t at;
        y[i] = plan->largest ? largest(plan, &r, i % bins, x, &at, &weight)
                             : mean_of_bin(plan, &r, i % bins, x);
    }
}

static void forward(struct op_node *n) {
    const struct roi_align_plan *plan = n->plan;
    for (int64_t r = 0; r < plan->regions; r++) {
        const int64_t b = ((const int64_t *)n->x[2]->data)[r];
        if (b < 0 || b >= n->x[0]->dim[0]) ot_op_bad_index(n, r);
    }
    ot_parallel_for(n->pool, (int)plan->regions, forward_region, n);
}

static void back_bin(const struct roi_align_plan *plan, const struct region *r, int64_t bin,
                     const float *x, float dy, float *dx) {
    const int64_t count = r->grid_h * r->grid_w;
    int64_t at;
    float weight = 0;
    if (plan->largest) {
        largest(plan, r, bin, x, &at, &weight);
        if (at >= 0) dx[at] += dy * weight;
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const struct sample p = sample_of(plan, r, bin, i);
        for (int k = 0; k < 4; k++) dx[p.at[k]] += dy / (float)count * p.weight[k];
    }
}

/* One channel, in all samples: regions one after the other. */
static void backward_channel(void *arg, int channel, int worker) {
    (void)worker;
    const struct op_node *n = arg;
    const struct roi_align_plan *plan = n->plan;
    const int64_t plane = plan->height * plan->width, bins = plan->bins_h * plan->bins_w;
    for (int64_t b = 0; b < n->x[0]->dim[0]; b++)
        memset(ot_f(n->dx[0]) + (b * plan->channels + channel) * plane, 0,
               (size_t)plane * sizeof(float));
    for (int64_t number = 0; number < plan->regions; number++) {
        const struct region r = region_at(n, number);
        const int64_t at = (r.sample * plan->channels + channel) * plane;
        const float *dy = ot_f(n->dy[0]) + (number * plan->channels + channel) * bins;
        for (int64_t bin = 0; bin < bins; bin++)
            back_bin(plan, &r, bin, ot_f(n->x[0]) + at, dy[bin], ot_f(n->dx[0]) + at);
    }
}

static void backward(struct op_node *n) {
    const struct roi_align_plan *plan = n->plan;
    if (n->dx[0]) ot_parallel_for(n->pool, (int)plan->channels, backward_channel, n);
}

static const char *const cases[] = {
    "X[2,3,6,7] f[3,4]{0.5,1,4,5,2,0,6.5,3,-3,-2,9,8} i64{0,1,0} output_height=2 output_width=3 "
    "sampling_ratio=2 -> Y[3,3,2,3]",
    "X[2,2,6,7] f[2,4]{1,2,8,12,4,0,13,6} i64{1,7}:x output_height=2 output_width=2 "
    "spatial_scale=0.5 @10 -> Y[2,2,2,2]",
    "X[1,2,6,7] f[2,4]{0.5,1,4,5,2,0,6.5,3} i64{0,0} output_height=2 output_width=2 mode=max "
    "sampling_ratio=1 coordinate_transformation_mode=output_half_pixel distinct -> Y[2,2,2,2]",
    "X[1,2,6,7] f[1,4]{0,0,nan,1e30} i64{0} output_height=2 output_width=2 -> Y[1,2,2,2]",
    "X[1,2,6,7] f[1,4]{0,0,1,1} i64{1} -> error: batch index 1",
    "X[1,2,6,7] f[1,4]{0,0,1,1} i64{0} mode=sum -> error: 'sum'",
    "X[1,2,6,7] f[1,5]{0,0,1,1,2} i64{0} -> error: input 0 has rank 4 and the regions have rank 2",
    NULL};

const struct op ot_op_RoiAlign = {
    .name = "RoiAlign",
    .since = 10,
    .min_in = 3,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "coordinate_transformation_mode:s mode:s output_height:i output_width:i "
                  "sampling_ratio:i spatial_scale:f",
    .needs = OT_X(0) | OT_X(1) | OT_X(2),
    .plan_size = sizeof(struct roi_align_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
