/* dft.c - DFT: y[k] = sum over j of x[j] exp(-2 pi i j k / N) along one axis of complex numbers, or
 * real ones, which stand along the last axis; inverse: exp(+...) / N. x is cut or filled with zeros
 * to N. With turns the other way dx is the transform of dy.
 *
 * One side: of a real x, only y[0] to y[N / 2], for the others are their mirror images; inverse: x
 * is that side, and y is real. Then what stands on both sides gets its gradient twice. */
#include "ops/walk/fourier.h"

struct dft_plan {
    struct fourier fourier;
    int64_t outer, inner; /* lines along the axis are [outer][length][inner][parts] */
    int axis;
    bool inverse, mirrored; /* mirrored: x is one side of what is transformed */
};

/* One direction: lines of `from` to lines of `to`. */
struct work {
    const struct op_node *n;
    const struct tensor *from;
    struct tensor *to;
    double sign, scale;
};

enum { GRAIN = 8192, BUFFERS = 3 }; /* numbers of a task; of a worker: from, to, r of them */

/* ---- prepare ---- */

static ot_status read_axis(const struct op_node *n, int *axis, ot_error *err) {
    const int rank = n->x[0]->rank;
    const bool old = n->node->opset < 20;
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, 2, &value, &count, err));
    if (count > 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input 2 has %d axes, expected one", count);
    OT_TRY(ot_op_axis(n, count ? value[0] : ot_attr_int(n->node, "axis", old ? 1 : -2), rank, axis,
                      err));
    if (*axis == rank - 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "axis %d is the last one, which has the real and imaginary parts", *axis);
    return OT_OK;
}

static ot_status read_size(const struct op_node *n, int axis, int64_t *size, ot_error *err) {
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, 1, &value, &count, err));
    const int64_t length = n->x[0]->dim[axis];
    const bool mirrored = ((const struct dft_plan *)n->plan)->mirrored;
    *size = count ? value[0] : mirrored ? 2 * (length - 1) : length;
    if (count > 1 || *size < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the transform has length %lld, expected at least 1", (long long)*size);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct dft_plan *plan = ot_op_plan(n);
    const bool half = ot_attr_int(n->node, "onesided", 0) != 0;
    int64_t size, dim[OT_MAX_RANK];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank < 2 || x->dim[x->rank - 1] < 1 || x->dim[x->rank - 1] > 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the last axis of input 0 has neither 1 nor 2 elements");
    plan->inverse = ot_attr_int(n->node, "inverse", 0) != 0;
    if (half && plan->inverse != (x->dim[x->rank - 1] == 2))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          plan->inverse ? "an inverse one-sided transform needs imaginary parts"
                                        : "a one-sided transform needs a real input");
    plan->mirrored = half && plan->inverse;
    OT_TRY(read_axis(n, &plan->axis, err));
    ot_op_along(n, plan->axis);
    OT_TRY(read_size(n, plan->axis, &size, err));
    plan->outer = plan->inner = 1;
    for (int i = 0; i < x->rank - 1; i++) {
        dim[i] = i != plan->axis ? x->dim[i] : half && !plan->inverse ? size / 2 + 1 : size;
        if (i < plan->axis) plan->outer *= dim[i];
        if (i > plan->axis) plan->inner *= dim[i];
    }
    dim[x->rank - 1] = plan->mirrored ? 1 : 2;
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, x->rank, dim, err));
    OT_TRY(ot_fourier_make(n, size, &plan->fourier, err));
    n->flops = (double)(plan->outer * plan->inner) * ot_fourier_flops(&plan->fourier);
    n->forward_scratch_size = (size_t)(BUFFERS * size * n->workers) * sizeof(struct number);
    n->backward_scratch_size = n->forward_scratch_size;
    return OT_OK;
}

/* ---- one line ---- */

/* The other side of 0 to N / 2. */
static void mirror_half(const struct dft_plan *plan, struct number *to) {
    for (int64_t k = plan->fourier.size / 2 + 1; k < plan->fourier.size; k++) {
        const struct number other = to[plan->fourier.size - k];
        to[k] = (struct number){other.re, -other.im};
    }
}

static void load(const struct dft_plan *plan, const struct tensor *t, int64_t line,
                 struct number *to) {
    const int64_t length = t->dim[plan->axis], parts = t->dim[t->rank - 1];
    const float *from =
        ot_f(t) + (line / plan->inner * length * plan->inner + line % plan->inner) * parts;
    for (int64_t k = 0; k < plan->fourier.size; k++, from += plan->inner * parts) {
        const bool there = k < length;
        to[k] =
            (struct number){there ? (double)from[0] : 0, there && parts == 2 ? (double)from[1] : 0};
    }
    if (plan->mirrored && parts == 2) mirror_half(plan, to);
}

static void store(const struct dft_plan *plan, const struct number *from, double scale,
                  int64_t line, struct tensor *t) {
    const int64_t length = t->dim[plan->axis], parts = t->dim[t->rank - 1];
    float *to = ot_f(t) + (line / plan->inner * length * plan->inner + line % plan->inner) * parts;
    for (int64_t k = 0; k < length; k++, to += plan->inner * parts) {
        const bool side = plan->mirrored && parts == 2;
        const bool there = side ? k <= plan->fourier.size / 2 : k < plan->fourier.size;
        const double factor = side && k && 2 * k != plan->fourier.size ? 2 * scale : scale;
        to[0] = there ? (float)(factor * from[k].re) : 0;
        if (parts == 2) to[1] = there ? (float)(factor * from[k].im) : 0;
    }
}

/* ---- all lines ---- */

static int64_t grain(const struct dft_plan *plan) {
    return plan->fourier.size < GRAIN ? GRAIN / plan->fourier.size : 1;
}

static void run_lines(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct dft_plan *plan = w->n->plan;
    const int64_t size = plan->fourier.size;
    struct number *from = (struct number *)w->n->scratch + worker * BUFFERS * size;
    struct number *to = from + size;
    int64_t line, end;
    ot_task_range(plan->outer * plan->inner, grain(plan), task, &line, &end);
    for (; line < end; line++) {
        load(plan, w->from, line, from);
        ot_fourier_run(&plan->fourier, w->sign, from, to, to + size);
        store(plan, to, w->scale, line, w->to);
    }
}

static void transform(struct op_node *n, const struct tensor *from, struct tensor *to, bool back) {
    const struct dft_plan *plan = n->plan;
    const int64_t lines = plan->outer * plan->inner;
    struct work w = {n, from, to, plan->inverse != back ? 1 : -1,
                     plan->inverse ? 1 / (double)plan->fourier.size : 1};
    if (lines) ot_parallel_for(n->pool, ot_task_count(lines, grain(plan)), run_lines, &w);
}

static void forward(struct op_node *n) { transform(n, n->x[0], n->y[0], false); }
static void backward(struct op_node *n) {
    if (n->dx[0]) transform(n, n->dy[0], n->dx[0], true);
}

static const char *const cases[] = {
    "X[2,6,3,1] -> Y[2,6,3,2]",
    "X[2,5,3,2] axis=2 -> Y[2,5,3,2]",
    "X[2,12,2] axis=-2 inverse=1 -> Y[2,12,2]",
    "X[3,12,1] onesided=1 @20 -> Y[3,7,2]",
    "X[3,7,1] i64(5) - onesided=1 @20 -> Y[3,3,2]",
    "X[5,2,2] i32(9) i64{-3} inverse=1 @20 -> Y[9,2,2]",
    "X[40,30,1] -> Y[40,30,2]",
    "f[1,4,1]{1,2,3,4} -> f[1,4,2]{10,0,-2,2,-2,0,-2,-2}",
    "f[3,2]{1,0,0,1,-1,2} - i64(0) @20 -> f[3,2]{0,3,0.6339746,-2.3660254,2.3660254,-0.6339746}",
    "f[1,4,2]{10,0,-2,2,-2,0,-2,-2} inverse=1 -> f[1,4,2]{1,0,2,0,3,0,4,0}",
    "X[0,4,1] -> Y[0,4,2]",
    "X[2,4,3] -> error: the last axis of input 0 has neither 1 nor 2 elements",
    "X[2,4,2] inverse=1 onesided=1 @20 -> Y[2,6,1]",
    "X[2,4,2] i64(7) inverse=1 onesided=1 @20 -> Y[2,7,1]",
    "X[2,3,2,2] i64(4) - axis=1 inverse=1 onesided=1 -> Y[2,4,2,1]",
    "X[2,3,2] i64(8) inverse=1 onesided=1 @20 -> Y[2,8,1]",
    "f[1,3,2]{10,0,-2,2,-2,0} inverse=1 onesided=1 -> f[1,4,1]{1,2,3,4}",
    "X[2,4,2] onesided=1 -> error: a one-sided transform needs a real input",
    "X[2,4,1] onesided=1 inverse=1 -> error: imaginary",
    "X[2,4,2] axis=2 -> error: axis 2 is the last one, which has the real and imaginary parts",
    "X[2,4,1] i64(0) -> error: the transform has length 0",
    "X[2,4,1] i64(16777217) -> error: the transform has length 16777217, expected at most 16777216",
    NULL,
};

const struct op ot_op_DFT = {
    .name = "DFT",
    .since = 17,
    .min_in = 1,
    .max_in = 3,
    .min_out = 1,
    .max_out = 1,
    .attributes = "axis:i inverse:i onesided:i",
    .plan_size = sizeof(struct dft_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "dft_length and axis must be constant",
    .cases = cases,
};
