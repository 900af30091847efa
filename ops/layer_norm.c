/* layer_norm.c - LayerNormalization: y = scale (x - mean) / sqrt(variance + epsilon) + bias, over
 * the axes from `axis` on; outputs mean and 1 / sqrt(variance + epsilon) where asked for
 * (LayerNormalization-17; Ba, Kiros, Hinton, arXiv 1607.06450).
 *
 * With g = dy scale and z = (x - mean) / deviation:
 * dx = (g - mean of g - z mean of g z) / deviation, dscale = sum of dy z, dbias = sum of dy.
 *
 * A tensor is seen as [outer][length][inner]: inner is 1 in rows and L in lanes.
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"

enum { COLUMNS = 64, GRAIN = 8192 };

struct state {
    float epsilon;
    int64_t outer, length, inner;
    int64_t full;     /* outer rows whose lanes are all in use; those behind use `used` */
    int64_t used;
};

struct work {
    const struct op_node *n;
    int64_t grain;
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    return ot_op_axis(n, ot_attr_int(n->node, "axis", -1), n->x[0]->rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    for (int i = 1; i < n->n_in; i++)
        if (n->x[i] && n->x[i]->role != OT_ROLE_CONST && n->x[i]->role != OT_ROLE_PARAM)
            return false; /* a computed scale has no samples */
    return !find_axis(n, &axis, NULL) && axis == lane_rank;
}

/* scale and bias: float, in the shape of the normalized axes. */
static ot_status check_affine(const struct op_node *n, int i, int axis, ot_error *err) {
    const struct tensor *x = n->x[0], *t = i < n->n_in ? n->x[i] : NULL;
    if (!t) return OT_OK;
    OT_TRY(ot_op_type(n, i, OT_FLOAT, err));
    if (t->lanes)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "input %d is neither weight nor constant",
                          i);
    if (t->rank != x->rank - axis ||
        memcmp(t->dim, x->dim + axis, (size_t)t->rank * sizeof *t->dim)) {
        char text[128];
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "input %d is %s, not the shape of the axes from %d on", i,
                          ot_shape_text(t, text, sizeof text), axis);
    }
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    const struct tensor *x = n->x[0];
    int axis;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    OT_TRY(check_affine(n, 1, axis, err));
    OT_TRY(check_affine(n, 2, axis, err));
    ot_op_like(n->y[0], x);
    for (int i = 1; i < n->n_out; i++) {
        if (!n->y[i]) continue;
        ot_op_like(n->y[i], x);
        for (int d = axis; d < x->rank; d++) n->y[i]->dim[d] = 1;
    }
    s->epsilon = ot_attr_float(n->node, "epsilon", 1e-5f);
    s->length = ot_dims_product(x, axis, x->rank);
    if (!s->length)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the axes from %d on have no elements", axis);
    s->inner = x->lanes ? x->lanes : 1;
    s->outer = ot_count(x) / (s->length * s->inner);
    s->used = x->lanes ? ot_lane_samples(x) % x->lanes : 0;
    s->full = s->outer - (s->used != 0);
    n->save_size = (size_t)(s->outer * s->inner) * 2 * sizeof(float);
    return OT_OK;
}

/* Mean and inverse deviation of outer row r, lane j, as forward left them. */
static float *mean_of(const struct op_node *n, int64_t r) {
    const struct state *s = n->state;
    return (float *)n->save + r * 2 * s->inner;
}
static float *inverse_of(const struct op_node *n, int64_t r) {
    const struct state *s = n->state;
    return mean_of(n, r) + s->inner;
}

/* Two passes, so that a large mean does not eat the variance. */
static void statistics(const struct state *s, const float *x, float *mean, float *inverse) {
    for (int64_t j = 0; j < s->inner; j++) {
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < s->length; k++) sum += (double)x[k * s->inner + j];
        double m = sum / (double)s->length;
        for (int64_t k = 0; k < s->length; k++) {
            double d = (double)x[k * s->inner + j] - m;
            squares += d * d;
        }
        mean[j] = (float)m;
        inverse[j] = (float)(1 / sqrt(squares / (double)s->length + (double)s->epsilon));
    }
}

static void forward_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    const struct state *s = n->state;
    const float *scale = ot_f(n->x[1]);
    const float *bias = n->n_in > 2 && n->x[2] ? ot_f(n->x[2]) : NULL;
    int64_t r, to;
    (void)worker;
    ot_task_range(s->outer, w->grain, task, &r, &to);
    for (; r < to; r++) {
        const float *x = ot_f(n->x[0]) + r * s->length * s->inner;
        float *y = ot_f(n->y[0]) + r * s->length * s->inner;
        float *mean = mean_of(n, r), *inverse = inverse_of(n, r);
        statistics(s, x, mean, inverse);
        for (int64_t k = 0; k < s->length; k++)
            for (int64_t j = 0; j < s->inner; j++)
                y[k * s->inner + j] = (x[k * s->inner + j] - mean[j]) * inverse[j] * scale[k] +
                                      (bias ? bias[k] : 0);
        size_t bytes = (size_t)s->inner * sizeof(float);
        if (n->n_out > 1 && n->y[1]) memcpy(ot_f(n->y[1]) + r * s->inner, mean, bytes);
        if (n->n_out > 2 && n->y[2]) memcpy(ot_f(n->y[2]) + r * s->inner, inverse, bytes);
    }
}

static void data_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    const struct state *s = n->state;
    const float *scale = ot_f(n->x[1]);
    int64_t r, to;
    (void)worker;
    ot_task_range(s->outer, w->grain, task, &r, &to);
    for (; r < to; r++)
        for (int64_t j = 0; j < s->inner; j++) {
            int64_t at = r * s->length * s->inner + j;
            const float *x = ot_f(n->x[0]) + at, *dy = ot_f(n->dy[0]) + at;
            float *dx = ot_f(n->dx[0]) + at, mean = mean_of(n, r)[j], inverse = inverse_of(n, r)[j];
            double sum = 0, dot = 0;
            for (int64_t k = 0; k < s->length; k++) {
                float g = dy[k * s->inner] * scale[k];
                sum += (double)g;
                dot += (double)(g * (x[k * s->inner] - mean) * inverse);
            }
            float sum_mean = (float)(sum / (double)s->length);
            float dot_mean = (float)(dot / (double)s->length);
            for (int64_t k = 0; k < s->length; k++) {
                float z = (x[k * s->inner] - mean) * inverse;
                dx[k * s->inner] =
                    inverse * (dy[k * s->inner] * scale[k] - sum_mean - z * dot_mean);
            }
        }
}

/* Gradients of scale and bias for a range of positions k; every sum runs over r in order. */
static void affine_task(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    const struct state *s = n->state;
    double dscale[COLUMNS] = {0}, dbias[COLUMNS] = {0};
    int64_t from, to;
    (void)worker;
    ot_task_range(s->length, COLUMNS, task, &from, &to);
    for (int64_t r = 0; r < s->outer; r++) {
        const float *mean = mean_of(n, r), *inverse = inverse_of(n, r);
        int64_t m = r < s->full ? s->inner : s->used;
        for (int64_t k = from; k < to; k++) {
            const float *x = ot_f(n->x[0]) + (r * s->length + k) * s->inner;
            const float *dy = ot_f(n->dy[0]) + (r * s->length + k) * s->inner;
            for (int64_t j = 0; j < m; j++) {
                dscale[k - from] += (double)(dy[j] * (x[j] - mean[j]) * inverse[j]);
                dbias[k - from] += (double)dy[j];
            }
        }
    }
    for (int64_t k = from; k < to; k++) {
        if (n->dx[1]) ot_f(n->dx[1])[k] = (float)dscale[k - from];
        if (n->n_in > 2 && n->dx[2]) ot_f(n->dx[2])[k] = (float)dbias[k - from];
    }
}

static void run_rows(struct op_node *n, ot_task_fn *fn) {
    const struct state *s = n->state;
    int64_t row = s->length * s->inner;
    struct work w = {n, row > GRAIN ? 1 : GRAIN / row};
    ot_parallel_for(n->pool, ot_task_count(s->outer, w.grain), fn, &w);
}

static void forward(struct op_node *n) { run_rows(n, forward_task); }

static void backward(struct op_node *n) {
    const struct state *s = n->state;
    struct work w = {n, COLUMNS};
    if (n->dx[0]) run_rows(n, data_task);
    if (n->dx[1] || (n->n_in > 2 && n->dx[2]))
        ot_parallel_for(n->pool, ot_task_count(s->length, COLUMNS), affine_task, &w);
}

static const char *const cases[] = {
    "X[4,10] S[10]:p B[10]:p lanes -> Y[4,10]",
    "X[2,3,10] S[10]:p B[10]:p lanes -> Y[2,3,10]",
    "X[2,9,70] S[70]:p lanes -> Y[2,9,70]",
    "X[2,3,4] S[3,4]:p B[3,4]:p axis=1 epsilon=0.1 lanes -> Y[2,3,4]",
    "X[2,3,4] S[4]:p B[4]:p -> Y[2,3,4] M[2,3,1]:n D[2,3,1]:n",
    "X[2,3,4] S[4]:p - -> Y[2,3,4] - D[2,3,1]:n",
    "f{1,3} f{1,2} f{0,5} epsilon=0.0 -> f{-1,7} f{2} f{1}",
    "f[1,2]{5,5} f{1,1} -> f[1,2]{0,0}",
    "X[4,0] S[0]:p -> error: no elements",
    "X[4,10] S[9]:p -> error: input 1 is [9]",
    "X[4,10] S[10]:p axis=2 -> error: axis 2",
    "f[2,2,2]{1.4,1.4,1.5,-0.1,-0.9,-2,0.6,0.9} f[2,2]{1.3,-0.9,-1.1,0.6} f[2,2]{1.2,1.9,"
    "-1.4,-0.1} axis=1 -> f[2,2,2]{1.88399,1.426468,-2.144121,-1.13726,0.5896932,3.16756,"
    "-2.291987,0.540182}",
    NULL,
};

const struct op ot_op_LayerNormalization = {
    .name = "LayerNormalization", .since = 17, .min_in = 2, .max_in = 3, .min_out = 1,
    .max_out = 3, .attributes = "axis:i epsilon:f stash_type:i", .needs = OT_X(0) | OT_X(1),
    .parameters = 6, .state_size = sizeof(struct state), .lanes = lanes, .prepare = prepare,
    .forward = forward, .backward = backward, .cases = cases,
    .again = forward,
};
