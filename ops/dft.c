/* dft.c - DFT: y[k] = sum over j of x[j] exp(-2 pi i j k / N) along one axis of complex numbers, or
 * real ones, which stand along the last axis; inverse: exp(+...) / N. x is cut or filled with zeros
 * to N. With turns the other way dx is the transform of dy.
 *
 * N is taken apart into its prime factors r: r transforms of N / r numbers, then r of these at a
 * time (Cooley, Tukey, "An algorithm for the machine calculation of complex Fourier series",
 * 1965). */
#include <math.h>

#include "ops/op.h"

struct number {
    double re, im;
};

struct state {
    int64_t size;          /* N */
    int64_t outer, inner;  /* lines along the axis are [outer][length][inner][parts] */
    int axis;
    bool inverse;
    struct number *turn; /* exp(2 pi i k / N) */
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
    if (count > 1) return ot_op_fail(n, err, OT_ERROR_INVALID, "%d axes, not one", count);
    OT_TRY(ot_op_axis(n, count ? value[0] : ot_attr_int(n->node, "axis", old ? 1 : -2), rank, axis,
                      err));
    if (*axis == rank - 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "axis %d is that of the parts", *axis);
    return OT_OK;
}

static ot_status read_size(const struct op_node *n, int axis, int64_t *size, ot_error *err) {
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, 1, &value, &count, err));
    *size = count ? value[0] : n->x[0]->dim[axis];
    if (count > 1 || *size < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "a transform of %lld numbers",
                          (long long)*size);
    return OT_OK;
}

static ot_status make_turns(struct op_node *n, ot_error *err) {
    struct state *s = n->state;
    s->turn = ot_arena_alloc(n->arena, (size_t)s->size, sizeof *s->turn);
    if (!s->turn) return ot_op_fail(n, err, OT_ERROR_NO_MEMORY, "out of memory");
    for (int64_t k = 0; k < s->size; k++) {
        const double angle = 6.283185307179586 * (double)k / (double)s->size;
        s->turn[k] = (struct number){cos(angle), sin(angle)};
    }
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[0];
    struct state *s = n->state;
    const bool half = ot_attr_int(n->node, "onesided", 0) != 0;
    int64_t dim[OT_MAX_RANK];
    OT_TRY(ot_op_type(n, 0, OT_FLOAT, err));
    if (x->rank < 2 || x->dim[x->rank - 1] < 1 || x->dim[x->rank - 1] > 2)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "the last axis is not one of 1 or 2 parts");
    s->inverse = ot_attr_int(n->node, "inverse", 0) != 0;
    if (half && (s->inverse || x->dim[x->rank - 1] == 2))
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "one side of what is not real");
    OT_TRY(read_axis(n, &s->axis, err));
    OT_TRY(read_size(n, s->axis, &s->size, err));
    s->outer = s->inner = 1;
    for (int i = 0; i < x->rank - 1; i++) {
        dim[i] = i != s->axis ? x->dim[i] : half ? s->size / 2 + 1 : s->size;
        if (i < s->axis) s->outer *= dim[i];
        if (i > s->axis) s->inner *= dim[i];
    }
    dim[x->rank - 1] = 2;
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, x->rank, dim, err));
    OT_TRY(make_turns(n, err));
    n->forward_scratch_size = (size_t)(BUFFERS * s->size * ot_pool_workers(n->pool)) *
                              sizeof(struct number);
    n->backward_scratch_size = n->forward_scratch_size;
    return OT_OK;
}

/* ---- one line ---- */

static int64_t least_factor(int64_t n) {
    for (int64_t r = 2; r * r <= n; r++)
        if (n % r == 0) return r;
    return n;
}

/* to[k] = sum over j of from[j step] turn^(jk), for n numbers that turn by size / n. */
static void transform(const struct state *s, double sign, int64_t n, int64_t step,
                      const struct number *from, struct number *to, struct number *some) {
    const int64_t r = least_factor(n), m = n / r, jump = s->size / n;
    if (n == 1) {
        *to = *from;
        return;
    }
    for (int64_t q = 0; q < r; q++)
        transform(s, sign, m, step * r, from + q * step, to + q * m, some);
    for (int64_t k = 0; k < m; k++) {
        for (int64_t q = 0; q < r; q++) some[q] = to[q * m + k];
        for (int64_t at = k; at < n; at += m) {
            struct number sum = {0, 0};
            for (int64_t q = 0, angle = 0; q < r; q++, angle += at * jump) {
                if (angle >= s->size) angle -= s->size;
                const double re = s->turn[angle].re, im = sign * s->turn[angle].im;
                sum.re += some[q].re * re - some[q].im * im;
                sum.im += some[q].re * im + some[q].im * re;
            }
            to[at] = sum;
        }
    }
}

static void load(const struct state *s, const struct tensor *t, int64_t line, struct number *to) {
    const int64_t length = t->dim[s->axis], parts = t->dim[t->rank - 1];
    const float *from =
        ot_f(t) + (line / s->inner * length * s->inner + line % s->inner) * parts;
    for (int64_t k = 0; k < s->size; k++, from += s->inner * parts) {
        const bool there = k < length;
        to[k] = (struct number){there ? (double)from[0] : 0,
                                there && parts == 2 ? (double)from[1] : 0};
    }
}

static void store(const struct state *s, const struct number *from, double scale, int64_t line,
                  struct tensor *t) {
    const int64_t length = t->dim[s->axis], parts = t->dim[t->rank - 1];
    float *to = ot_f(t) + (line / s->inner * length * s->inner + line % s->inner) * parts;
    for (int64_t k = 0; k < length; k++, to += s->inner * parts) {
        const bool there = k < s->size;
        to[0] = there ? (float)(scale * from[k].re) : 0;
        if (parts == 2) to[1] = there ? (float)(scale * from[k].im) : 0;
    }
}

/* ---- all lines ---- */

static int64_t grain(const struct state *s) { return s->size < GRAIN ? GRAIN / s->size : 1; }

static void run_lines(void *arg, int task, int worker) {
    const struct work *w = arg;
    const struct state *s = w->n->state;
    struct number *from = (struct number *)w->n->scratch + worker * BUFFERS * s->size;
    struct number *to = from + s->size, *some = to + s->size;
    int64_t line, end;
    ot_task_range(s->outer * s->inner, grain(s), task, &line, &end);
    for (; line < end; line++) {
        load(s, w->from, line, from);
        transform(s, w->sign, s->size, 1, from, to, some);
        store(s, to, w->scale, line, w->to);
    }
}

static void run(struct op_node *n, const struct tensor *from, struct tensor *to, bool back) {
    const struct state *s = n->state;
    const int64_t lines = s->outer * s->inner;
    struct work w = {n, from, to, s->inverse != back ? 1 : -1,
                     s->inverse ? 1 / (double)s->size : 1};
    if (lines) ot_parallel_for(n->pool, ot_task_count(lines, grain(s)), run_lines, &w);
}

static void forward(struct op_node *n) { run(n, n->x[0], n->y[0], false); }
static void backward(struct op_node *n) {
    if (n->dx[0]) run(n, n->dy[0], n->dx[0], true);
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
    "X[2,4,3] -> error: 1 or 2 parts",
    "X[2,4,2] onesided=1 -> error: not real",
    "X[2,4,2] axis=2 -> error: axis 2 is that of the parts",
    "X[2,4,1] i64(0) -> error: a transform of 0 numbers",
    NULL,
};

const struct op ot_op_DFT = {
    .name = "DFT", .since = 17, .min_in = 1, .max_in = 3, .min_out = 1, .max_out = 1,
    .attributes = "axis:i inverse:i onesided:i", .state_size = sizeof(struct state),
    .prepare = prepare, .forward = forward, .backward = backward,
    .limits = "constant length and axis", .cases = cases,
};
