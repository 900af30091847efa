/* lrn.c - LRN: y = x d^-beta, d = bias + alpha / size * sum of x^2 over `size` neighbouring
 * channels (Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional
 * neural networks", 2012). With t = dy y / d,
 * dx = dy d^-beta - 2 alpha beta / size x * sum of t over the channels whose window x is in. */
#include <math.h>

#include "ops/walk/strips.h"

struct lrn_plan {
    struct strips strips;
    float alpha, beta, bias;
    int64_t before, behind; /* channels of the window on both sides of its own */
};

static bool lanes(const struct op_node *n, int lane_rank) {
    return lane_rank == 1 && n->x[0]->rank >= 2;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct lrn_plan *plan = ot_op_plan(n);
    const struct tensor *x = n->x[0];
    const int64_t size = ot_attr_int(n->node, "size", 0);
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank < 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 0 has rank %d, expected at least 2",
                          x->rank);
    if (size < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "attribute 'size' is %lld, expected at least 1",
                          (long long)size);
    plan->alpha = ot_attr_float(n->node, "alpha", 1e-4f) / (float)size;
    plan->beta = ot_attr_float(n->node, "beta", 0.75f);
    plan->bias = ot_attr_float(n->node, "bias", 1);
    plan->before = (size - 1) / 2;
    plan->behind = size - 1 - plan->before;
    ot_op_like(n->y[0], x);
    ot_strips_of(x, 1, 2, &plan->strips);
    n->save_size = ot_bytes(x);
    n->flops = 2.0 * (double)ot_count(x) * (double)(size < x->dim[1] ? size : x->dim[1]);
    return OT_OK;
}

/* d^-beta; 0.75 is what networks use. */
static inline float power(float d, float beta) {
    return beta == 0.75f ? 1 / (sqrtf(d) * sqrtf(sqrtf(d))) : powf(d, -beta);
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void value_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct lrn_plan *plan = n->plan;
    const struct strips *t = &plan->strips;
    const float *x = ot_f(n->x[0]) + at;
    float *d = (float *)n->save + at, *y = ot_f(n->y[0]) + at;
    for (int64_t c = 0; c < t->length; c++) {
        const int64_t end = least(c + plan->behind, t->length - 1);
        float sum[OT_STRIP] = {0};
        for (int64_t i = most(c - plan->before, 0); i <= end; i++)
            for (int64_t j = 0; j < columns; j++)
                sum[j] += x[i * t->inner + j] * x[i * t->inner + j];
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = c * t->inner + j;
            d[k] = plan->bias + plan->alpha * sum[j];
            y[k] = x[k] * power(d[k], plan->beta);
        }
    }
}

static void gradient_strip(void *arg, int64_t at, int64_t columns) {
    const struct op_node *n = arg;
    const struct lrn_plan *plan = n->plan;
    const struct strips *t = &plan->strips;
    const float *x = ot_f(n->x[0]) + at, *y = ot_f(n->y[0]) + at, *dy = ot_f(n->dy[0]) + at;
    const float *d = (const float *)n->save + at;
    float *dx = ot_f(n->dx[0]) + at;
    for (int64_t c = 0; c < t->length; c++) {
        const int64_t end = least(c + plan->before, t->length - 1);
        float sum[OT_STRIP] = {0};
        for (int64_t i = most(c - plan->behind, 0); i <= end; i++)
            for (int64_t j = 0; j < columns; j++) {
                const int64_t k = i * t->inner + j;
                sum[j] += dy[k] * y[k] / d[k];
            }
        for (int64_t j = 0; j < columns; j++) {
            const int64_t k = c * t->inner + j;
            dx[k] = dy[k] * power(d[k], plan->beta) - 2 * plan->alpha * plan->beta * x[k] * sum[j];
        }
    }
}

static void forward(struct op_node *n) {
    const struct lrn_plan *plan = n->plan;
    ot_strips_each(n->pool, &plan->strips, value_strip, n);
    ot_op_clear_spare(n->y[0]);
}

static void backward(struct op_node *n) {
    const struct lrn_plan *plan = n->plan;
    if (!n->dx[0]) return;
    ot_strips_each(n->pool, &plan->strips, gradient_strip, n);
    ot_op_clear_spare(n->dx[0]);
}

static const char *const cases[] = {
    "X[2,7,3,5] size=3 alpha=0.5 lanes -> Y[2,7,3,5]",
    "X[2,3,3,5] size=4 alpha=2 beta=0.5 bias=2 lanes -> Y[2,3,3,5]",
    "X[2,3,70] size=9 alpha=1 -> Y[2,3,70]",
    "X[3,4] size=1 alpha=1 lanes -> Y[3,4]",
    "f[1,3]{1,2,3} size=2 alpha=1 beta=1 -> f[1,3]{0.28571429,0.26666667,0.54545455}",
    "X[2,3] -> error: attribute 'size' is 0",
    "X[3] size=3 -> error: rank 1",
    NULL,
};

const struct op ot_op_LRN = {
    .name = "LRN",
    .since = 1,
    .min_in = 1,
    .max_in = 1,
    .min_out = 1,
    .max_out = 1,
    .attributes = "alpha:f beta:f bias:f size:i",
    .needs = OT_X(0) | OT_Y(0),
    .plan_size = sizeof(struct lrn_plan),
    .lanes = lanes,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .cases = cases,
};
