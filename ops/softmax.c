/* softmax.c - Softmax y = exp(x - max) / sum of exp(x - max), and LogSoftmax, its logarithm, along
 * one axis; before opset 13 along all axes from `axis` on, taken as one.
 *
 * Backward: dx = y (dy - sum of dy y), and for the logarithm dx = dy - exp(y) sum of dy.
 *
 * A tensor is seen as [outer][length][inner]; in lanes inner has the L lanes in it. Work is cut
 * into columns of inner, at most COLUMNS side by side.
 */
#include <math.h>
#include <string.h>

#include "ops/op.h"

enum { COLUMNS = 64, GRAIN = 8192 };

struct state {
    bool logarithm;
    int64_t outer, length, inner;
    int64_t strips; /* of COLUMNS columns, in inner */
};

static ot_status find_axis(const struct op_node *n, int *axis, ot_error *err) {
    int rank = n->x[0]->rank;
    bool one = n->node->opset >= 13;
    int64_t given = ot_attr_int(n->node, "axis", one ? -1 : 1);
    if (!one && given == rank) { /* a last part of no axes: every element by itself */
        *axis = rank;
        return OT_OK;
    }
    return ot_op_axis(n, given, rank, axis, err);
}

static bool lanes(const struct op_node *n, int lane_rank) {
    int axis;
    return !find_axis(n, &axis, NULL) && axis >= lane_rank && axis < n->x[0]->rank;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    const struct tensor *x = n->x[0];
    int axis;
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    OT_TRY(find_axis(n, &axis, err));
    ot_op_like(n->y[0], x);
    int end = n->node->opset >= 13 ? axis + 1 : x->rank;
    s->logarithm = !strcmp(n->op->name, "LogSoftmax");
    s->length = ot_dims_product(x, axis, end);
    s->inner = ot_dims_product(x, end, x->rank) * (x->lanes ? x->lanes : 1);
    s->outer = s->length && s->inner ? ot_count(x) / (s->length * s->inner) : 0;
    s->strips = (s->inner + COLUMNS - 1) / COLUMNS;
    return OT_OK;
}

/* One column strip: m columns at distance 1, elements of a column at distance `pitch`. */
static void value(const struct state *s, const float *x, float *y, int64_t m) {
    float most[COLUMNS], sum[COLUMNS] = {0};
    int64_t pitch = s->inner;
    memcpy(most, x, (size_t)m * sizeof *x);
    for (int64_t k = 1; k < s->length; k++)
        for (int64_t j = 0; j < m; j++)
            if (!(x[k * pitch + j] <= most[j])) most[j] = x[k * pitch + j];
    for (int64_t k = 0; k < s->length; k++)
        for (int64_t j = 0; j < m; j++) {
            float e = expf(x[k * pitch + j] - most[j]);
            sum[j] += e;
            y[k * pitch + j] = s->logarithm ? x[k * pitch + j] - most[j] : e;
        }
    for (int64_t j = 0; j < m; j++) sum[j] = s->logarithm ? logf(sum[j]) : 1 / sum[j];
    for (int64_t k = 0; k < s->length; k++)
        for (int64_t j = 0; j < m; j++) {
            float v = y[k * pitch + j];
            y[k * pitch + j] = s->logarithm ? v - sum[j] : v * sum[j];
        }
}

static void gradient(const struct state *s, const float *y, const float *dy, float *dx, int64_t m) {
    float sum[COLUMNS] = {0};
    int64_t pitch = s->inner;
    for (int64_t k = 0; k < s->length; k++)
        for (int64_t j = 0; j < m; j++)
            sum[j] += dy[k * pitch + j] * (s->logarithm ? 1 : y[k * pitch + j]);
    for (int64_t k = 0; k < s->length; k++)
        for (int64_t j = 0; j < m; j++) {
            int64_t i = k * pitch + j;
            dx[i] = s->logarithm ? dy[i] - expf(y[i]) * sum[j] : y[i] * (dy[i] - sum[j]);
        }
}

struct work {
    const struct op_node *n;
    bool backward;
    int64_t grain;
};

static void task_strips(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct op_node *n = w->n;
    const struct state *s = n->state;
    int64_t from, to;
    (void)worker;
    ot_task_range(s->outer * s->strips, w->grain, task, &from, &to);
    for (; from < to; from++) {
        int64_t column = from % s->strips * COLUMNS;
        int64_t at = from / s->strips * s->length * s->inner + column;
        int64_t m = s->inner - column < COLUMNS ? s->inner - column : COLUMNS;
        if (w->backward)
            gradient(s, ot_f(n->y[0]) + at, ot_f(n->dy[0]) + at, ot_f(n->dx[0]) + at, m);
        else
            value(s, ot_f(n->x[0]) + at, ot_f(n->y[0]) + at, m);
    }
}

static void run(struct op_node *n, bool backwards) {
    const struct state *s = n->state;
    int64_t strip = s->length * (s->inner < COLUMNS ? s->inner : COLUMNS);
    struct work w = {n, backwards, strip > GRAIN ? 1 : GRAIN / (strip ? strip : 1)};
    ot_parallel_for(n->pool, ot_task_count(s->outer * s->strips, w.grain), task_strips, &w);
}

static void forward(struct op_node *n) { run(n, false); }
static void backward(struct op_node *n) {
    if (n->dx[0]) run(n, true);
}

static const char *const softmax_cases[] = {
    "X[4,10] lanes -> Y[4,10]",
    "X[2,3,4] axis=1 lanes -> Y[2,3,4]",
    "X[2,3,4] axis=0 -> Y[2,3,4]",
    "X[2,3,70] axis=1 lanes -> Y[2,3,70]",
    "X[2,3,4] @11 lanes -> Y[2,3,4]",
    "X[2,3,4] @6 axis=2 lanes -> Y[2,3,4]",
    "X[2,3] @11 axis=2 -> Y[2,3]",
    "f{0,0,1000} -> f{0,0,1}",
    "f[2,2,2]{0,0,0,0,1,1,1,1} @11 -> f[2,2,2]{.25,.25,.25,.25,.25,.25,.25,.25}",
    "f[1,2,2]{0,1,0,1} axis=1 -> f[1,2,2]{.5,.5,.5,.5}",
    "X[0,3] -> Y[0,3]",
    "X[2,0] -> Y[2,0]",
    "X[2,3] axis=2 -> error: axis 2",
    "X[2,3] axis=-3 -> error: axis -3",
    "f[2,3,2]{-1.5,0.5,1.1,0.5,1.7,-1.8,0.1,-0.2,-1.8,0.6,1.4,0.4} axis=1 -> f[2,3,"
    "2]{0.02564348,0.4761318,0.3452571,0.4761318,0.6290994,0.04773642,0.2075177,0.1981116,"
    "0.03103815,0.4409055,0.7614441,0.3609829}",
    "f[2,2,2]{-1,1.4,0,0,1,-1.4,1.3,0.7} axis=1 @11 -> f[2,2,2]{0.05727461,0.6313483,"
    "0.1556886,0.1556886,0.3143275,0.02851516,0.4242978,0.2328596}",
    NULL,
};
static const char *const log_softmax_cases[] = {
    "X[4,10] lanes -> Y[4,10]",
    "X[2,3,4] axis=1 lanes -> Y[2,3,4]",
    "X[2,3,4] @11 lanes -> Y[2,3,4]",
    "f{0,0} -> f{-0.6931472,-0.6931472}",
    "f{0,1000} -> f{-1000,0}",
    NULL,
};

#define SOFTMAX(word, list)                                                                    \
    const struct op ot_op_##word = {                                                           \
        .name = #word, .since = 1, .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1,       \
        .attributes = "axis:i", .needs = OT_Y(0), .state_size = sizeof(struct state),          \
        .lanes = lanes, .prepare = prepare, .forward = forward, .backward = backward,          \
        .cases = list,                                                                         \
    }
SOFTMAX(Softmax, softmax_cases);
SOFTMAX(LogSoftmax, log_softmax_cases);
