/* stft.c - STFT: the transforms y[b, f, k] = sum over j of w[j] x[b, f step + j]
 * exp(-2 pi i j k / N) of frames of N samples, N / 2 + 1 of them where one side is enough. The
 * gradient of a sample is the sum over the frames that hold it, that of w the sum over all frames,
 * in their order. */
#include <string.h>

#include "ops/walk/fourier.h"

enum { X, STEP, WINDOW, LENGTH, BUFFERS = 3 };

struct stft_plan {
    struct fourier fourier;
    int64_t frames, step, bins, parts; /* parts of a sample: 1 or 2 */
};

/* ---- prepare ---- */

/* The one number of a constant input; `otherwise` where it is absent. */
static ot_status read_number(const struct op_node *n, int i, int64_t otherwise, int64_t *number,
                             ot_error *err) {
    const int64_t *value;
    int count;
    OT_TRY(ot_op_ints(n, i, &value, &count, err));
    *number = count ? value[0] : otherwise;
    if (count > 1 || *number < 1)
        return ot_op_fail(n, err, OT_ERROR_INVALID, "input %d is not a single number of at least 1",
                          i);
    return OT_OK;
}

static ot_status check_window(const struct op_node *n, int64_t size, ot_error *err) {
    const struct tensor *w = n->n_in > WINDOW ? n->x[WINDOW] : NULL;
    if (!w) return OT_OK;
    OT_TRY(ot_op_type(n, WINDOW, OT_FLOAT, err));
    if (w->rank != 1 || w->dim[0] != size)
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the window has %lld elements, but the frames have %lld",
                          (long long)ot_elements(w), (long long)size);
    return OT_OK;
}

static ot_status prepare(struct op_node *n, ot_error *err) {
    const struct tensor *x = n->x[X];
    const bool has_window = n->n_in > WINDOW && n->x[WINDOW];
    struct stft_plan *plan = ot_op_plan(n);
    int64_t size;
    OT_TRY(ot_op_type(n, X, OT_FLOAT, err));
    if (x->rank < 2 || x->rank > 3 || (x->rank == 3 && (x->dim[2] < 1 || x->dim[2] > 2)))
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "the signal has another shape than [N, samples, 1 or 2 parts]");
    OT_TRY(read_number(n, STEP, 0, &plan->step, err));
    OT_TRY(read_number(n, LENGTH, has_window ? ot_elements(n->x[WINDOW]) : 0, &size, err));
    OT_TRY(check_window(n, size, err));
    const bool half = ot_attr_int(n->node, "onesided", 1) != 0;
    plan->parts = x->rank == 3 ? x->dim[2] : 1;
    if (half && plan->parts == 2)
        return ot_op_fail(n, err, OT_ERROR_UNSUPPORTED, "a one-sided transform needs a real input");
    if (size > x->dim[1])
        return ot_op_fail(n, err, OT_ERROR_INVALID,
                          "frames of %lld samples do not fit a signal of %lld samples",
                          (long long)size, (long long)x->dim[1]);
    plan->frames = (x->dim[1] - size) / plan->step + 1;
    plan->bins = half ? size / 2 + 1 : size;
    const int64_t dim[] = {x->dim[0], plan->frames, plan->bins, 2};
    if (x->dim[0] > INT32_MAX / plan->frames)
        return ot_op_fail(n, err, OT_ERROR_LIMIT, "the result has more than 2^31 frames");
    OT_TRY(ot_op_set(n, n->y[0], OT_FLOAT, 4, dim, err));
    OT_TRY(ot_fourier_make(n, size, &plan->fourier, err));
    n->flops = (double)(x->dim[0] * plan->frames) * ot_fourier_flops(&plan->fourier);
    n->forward_scratch_size = (size_t)(BUFFERS * size * n->workers) * sizeof(struct number);
    n->backward_scratch_size = n->forward_scratch_size;
    return OT_OK;
}

/* ---- one frame ---- */

static float *gradient(const struct op_node *n, int i) {
    return i < n->n_in && n->dx[i] ? ot_f(n->dx[i]) : NULL;
}

static struct number *buffer(const struct op_node *n, int worker) {
    const struct stft_plan *plan = n->plan;
    return (struct number *)n->scratch + worker * BUFFERS * plan->fourier.size;
}

static double weight(const struct op_node *n, int64_t j) {
    return n->n_in > WINDOW && n->x[WINDOW] ? (double)ot_f(n->x[WINDOW])[j] : 1;
}

/* Where the frame begins in x. */
static int64_t first_sample(const struct op_node *n, int64_t frame) {
    const struct stft_plan *plan = n->plan;
    return (frame / plan->frames * n->x[X]->dim[1] + frame % plan->frames * plan->step) *
           plan->parts;
}

static void forward_frame(void *arg, int frame, int worker) {
    const struct op_node *n = arg;
    const struct stft_plan *plan = n->plan;
    const int64_t size = plan->fourier.size;
    struct number *from = buffer(n, worker), *to = from + size;
    const float *x = ot_f(n->x[X]) + first_sample(n, frame);
    for (int64_t j = 0; j < size; j++, x += plan->parts)
        from[j] = (struct number){weight(n, j) * (double)x[0],
                                  plan->parts == 2 ? weight(n, j) * (double)x[1] : 0};
    ot_fourier_run(&plan->fourier, -1, from, to, to + size);
    float *y = ot_f(n->y[0]) + frame * plan->bins * 2;
    for (int64_t k = 0; k < plan->bins; k++) {
        y[2 * k] = (float)to[k].re;
        y[2 * k + 1] = (float)to[k].im;
    }
}

static void backward_frame(const struct op_node *n, int64_t frame, struct number *from) {
    const struct stft_plan *plan = n->plan;
    const int64_t size = plan->fourier.size;
    struct number *to = from + size;
    const float *dy = ot_f(n->dy[0]) + frame * plan->bins * 2;
    memset(from, 0, (size_t)size * sizeof *from);
    for (int64_t k = 0; k < plan->bins; k++)
        from[k] = (struct number){(double)dy[2 * k], (double)dy[2 * k + 1]};
    ot_fourier_run(&plan->fourier, 1, from, to, to + size);
    const float *x = ot_f(n->x[X]);
    float *dx = gradient(n, X), *dw = gradient(n, WINDOW);
    for (int64_t j = 0, at = first_sample(n, frame); j < size; j++)
        for (int part = 0; part < plan->parts; part++, at++) {
            const double d = part ? to[j].im : to[j].re;
            if (dx) dx[at] += (float)(weight(n, j) * d);
            if (dw) dw[j] += (float)((double)x[at] * d);
        }
}

static void backward_signal(void *arg, int signal, int worker) {
    const struct op_node *n = arg;
    const struct stft_plan *plan = n->plan;
    const int64_t size = n->x[X]->dim[1] * plan->parts;
    if (n->dx[X]) memset(ot_f(n->dx[X]) + signal * size, 0, (size_t)size * sizeof(float));
    for (int64_t f = 0; f < plan->frames; f++)
        backward_frame(n, signal * plan->frames + f, buffer(n, worker));
}

static void forward(struct op_node *n) {
    const struct stft_plan *plan = n->plan;
    ot_parallel_for(n->pool, (int)(n->x[X]->dim[0] * plan->frames), forward_frame, n);
}

/* A window that is trained has one gradient for all signals. */
static void backward(struct op_node *n) {
    const int signals = (int)n->x[X]->dim[0];
    float *dw = gradient(n, WINDOW);
    if (dw) memset(dw, 0, ot_bytes(n->dx[WINDOW]));
    for (int i = 0; dw && i < signals; i++) backward_signal(n, i, 0);
    if (!dw && n->dx[X]) ot_parallel_for(n->pool, signals, backward_signal, n);
}

static const char *const cases[] = {
    "X[2,20,1] i64(4) W[8]:c -> Y[2,4,5,2]",
    "X[3,14,2] i64(3) W[5]:p onesided=0 -> Y[3,4,5,2]",
    "X[3,11] i32{3} - i64(5) onesided=0 -> Y[3,3,5,2]",
    "X[2,9,2] i64(2) W[6]:c i64{6} onesided=0 -> Y[2,2,6,2]",
    "f[1,5,1]{1,2,3,4,5} i64(1) f{1,2,1,2} i64(4) -> f[1,2,3,2]{16,0,-2,4,-8,0,22,0,-2,4,-10,0}",
    "X[2,20,1] i64(0) W[8]:c -> error: input 1 is not a single number of at least 1",
    "X[2,20,1] i64(4) W[8]:c i64(9) -> error: the window has 8 elements",
    "X[2,20,1] i64(4) - i64(21) -> error: frames of 21 samples do not fit a signal of 20 samples",
    "X[2,20,1] i64(4) - -> error: input 3 is not a single number of at least 1",
    "X[2,20,2] i64(4) - i64(8) -> error: a one-sided transform needs a real input",
    NULL,
};

const struct op ot_op_STFT = {
    .name = "STFT",
    .since = 17,
    .min_in = 2,
    .max_in = 4,
    .min_out = 1,
    .max_out = 1,
    .attributes = "onesided:i",
    .needs = OT_X(X) | OT_X(WINDOW),
    .plan_size = sizeof(struct stft_plan),
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .limits = "frame_step and frame_length must be constant",
    .cases = cases,
};
