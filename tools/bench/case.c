/* case.c - one layer at one sparsity and batch: ours by the profile of a training session,
 * oneDNN's dense one beside it, in turns. */
#include "tools/bench/bench.h"
#include "tools/bench/model_writer.h"
#include "tools/model.h"
#include "tools/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_ROUNDS = 31 };

/* ---- a model of one layer -------------------------------------------------------------------- */

/* Whether a weight is kept depends on its place alone: masks are the same in every run. */
static float *make_weight(struct bench_case *c, int64_t count, struct failure *f) {
    float *w = ot_take((size_t)count, sizeof *w, f);
    float *keep = ot_take((size_t)count, sizeof *keep, f);
    c->nonzeros = 0;
    if (w && keep) {
        ot_fill_uniform(w, count, 2);
        ot_fill_uniform(keep, count, 3);
        for (int64_t i = 0; i < count; i++) {
            if (keep[i] * 0.5f + 0.5f < (float)c->sparsity) w[i] = 0;
            c->nonzeros += w[i] != 0;
        }
    }
    free(keep);
    if (w && keep) return w;
    free(w);
    return NULL;
}

/* The channels of x are scaled by trainable numbers first, so that a gradient of x is wanted. */
static int write_model(struct bench_case *c, unsigned char **bytes, size_t *size,
                       struct failure *f) {
    const struct layer_shape *l = &c->layer;
    const int64_t out = ot_layer_out(l), pad = l->k / 2, channels[] = {l->c, 1, 1};
    const int64_t x[] = {l->n, l->c, l->size, l->size}, y[] = {l->n, l->m, out, out};
    const int64_t w[] = {l->m, l->c, l->k, l->k};
    const bool conv = l->size > 0;
    const struct writer_attribute window[] = {{"kernel_shape", true, 2, {l->k, l->k}},
                                              {"strides", true, 2, {l->stride, l->stride}},
                                              {"pads", true, 4, {pad, pad, pad, pad}},
                                              {0}};
    const struct writer_attribute transposed[] = {{"transB", false, 1, {1}}, {0}};
    float *weight = make_weight(c, l->m * l->c * l->k * l->k, f);
    float *scale = ot_take((size_t)l->c, sizeof *scale, f);
    if (!weight || !scale) {
        free(weight);
        free(scale);
        return f->code;
    }
    ot_fill_uniform(scale, l->c, 6);
    struct model_writer writer;
    ot_writer_begin(&writer);
    ot_writer_input(&writer, "x", conv ? 4 : 2, x);
    ot_writer_floats(&writer, "scale", conv ? 3 : 1, channels, scale);
    ot_writer_floats(&writer, "w", conv ? 4 : 2, w, weight);
    ot_writer_node(&writer, "Mul", "x", "scale", "scaled", NULL);
    ot_writer_node(&writer, conv ? "Conv" : "Gemm", "scaled", "w", "y", conv ? window : transposed);
    ot_writer_output(&writer, "y", conv ? 4 : 2, y);
    free(weight);
    free(scale);
    return ot_writer_finish(&writer, 13, bytes, size, f);
}

/* ---- our side ------------------------------------------------------------------------------ */

struct sparse_layer {
    ot_session *session;
    ot_tensor x, target;
    float *data[2];
};

/* A step far too small to change what a weight is. */
static const ot_optimizer_options tiny_sgd = {
    .size = sizeof tiny_sgd, .kind = OT_SGD, .lr = 1e-12f};

static int set_up(struct sparse_layer *s, const struct bench_case *c, const ot_options *options,
                  const unsigned char *bytes, size_t size, struct failure *f) {
    const struct layer_shape *l = &c->layer;
    const int64_t out = ot_layer_out(l), pixels = l->size ? l->size * l->size : 1;
    const int64_t floats[2] = {l->n * l->c * pixels, l->n * l->m * out * out};
    const ot_loss_options mse = {.size = sizeof mse, .kind = OT_LOSS_MSE};
    const int rank = l->size ? 4 : 2;
    ot_error err = {0};
    if (ot_open_buffer(bytes, size, options, &s->session, &err) ||
        ot_set_loss(s->session, &mse, &err) || ot_set_optimizer(s->session, &tiny_sgd, &err))
        return ot_refuse_status(f, EXIT_RUNTIME, &err);
    for (int i = 0; i < 2; i++) {
        s->data[i] = ot_take((size_t)floats[i], sizeof(float), f);
        if (!s->data[i]) return f->code;
        ot_fill_uniform(s->data[i], floats[i], (uint64_t)i + 4);
    }
    s->x = (ot_tensor){
        .type = OT_FLOAT, .rank = rank, .data = s->data[0], .dim = {l->n, l->c, l->size, l->size}};
    s->target = (ot_tensor){
        .type = OT_FLOAT, .rank = rank, .data = s->data[1], .dim = {l->n, l->m, out, out}};
    return 0;
}

static void tear_down(struct sparse_layer *s) {
    ot_close(s->session);
    free(s->data[0]);
    free(s->data[1]);
}

struct measured {
    double pass[PASSES], reorder;
};

static void take_step(void *context, const ot_profile_step *step) {
    struct measured *m = context;
    if (strcmp(step->op, "Conv") == 0 || strcmp(step->op, "Gemm") == 0)
        m->pass[strcmp(step->what, "forward") == 0    ? PASS_FORWARD
                : strcmp(step->what, "backward") == 0 ? PASS_DATA
                                                      : PASS_WEIGHT] += step->seconds;
    else if (strcmp(step->op, "Reorder") == 0)
        m->reorder += step->seconds;
}

static int run_sparse(struct sparse_layer *s, struct measured *m, struct failure *f) {
    ot_error err = {0};
    *m = (struct measured){0};
    ot_set_profile(s->session, 1);
    if (ot_train_step(s->session, &s->x, 1, &s->target, NULL, &err) ||
        ot_optimizer_step(s->session, &err) || ot_get_profile(s->session, take_step, m, &err))
        return ot_refuse_status(f, EXIT_RUNTIME, &err);
    return 0;
}

/* ---- both ---------------------------------------------------------------------------------- */

struct rounds {
    double sparse[PASSES][MOST_ROUNDS], dense[PASSES][MOST_ROUNDS], reorder[MOST_ROUNDS];
};

/* Idle threads of OpenMP spin for about a millisecond, on the cores that the other side needs. */
static void let_threads_sleep(const struct bench_case *c) {
    if (c->threads > 1) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* One round: a step of ours, then the three dense passes. */
static int run_round(const struct bench_case *c, struct sparse_layer *s, struct dense_layer *d,
                     struct rounds *r, int round, struct failure *f) {
    struct measured m;
    let_threads_sleep(c);
    int code = run_sparse(s, &m, f);
    let_threads_sleep(c);
    for (int pass = 0; pass < PASSES && !code; pass++) {
        if (m.pass[pass] <= 0)
            return ot_refuse(f, EXIT_RUNTIME,
                             "internal error: the profile of the layer lacks a step");
        r->sparse[pass][round] = m.pass[pass];
        code = ot_dense_layer_run(d, (enum pass)pass, &r->dense[pass][round], f);
    }
    r->reorder[round] = m.reorder;
    return code;
}

static void take_medians(struct bench_case *c, struct rounds *r) {
    double sparse = 0, dense = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        sparse += c->ms[pass] = 1e3 * ot_median(r->sparse[pass], c->rounds);
        dense += c->dense_ms[pass] = 1e3 * ot_median(r->dense[pass], c->rounds);
    }
    c->reorder_ms = 1e3 * ot_median(r->reorder, c->rounds);
    c->ratio = sparse > 0 ? dense / sparse : 0;
}

/* Seven rounds, and more of what is over quickly. */
static int run_rounds(struct bench_case *c, struct sparse_layer *s, struct dense_layer *d,
                      struct failure *f) {
    const double enough = 0.25;
    struct rounds r;
    int code = run_round(c, s, d, &r, 0, f); /* to warm up */
    const double start = ot_now();
    c->rounds = 0;
    while (!code && (c->rounds < 7 || (c->rounds < MOST_ROUNDS && ot_now() - start < enough)))
        code = run_round(c, s, d, &r, c->rounds++, f);
    if (!code) take_medians(c, &r);
    return code;
}

/* Forward, and backward, take as long as their multiply-adds, which load an operand each, or as
 * reading and writing x, y and their gradients once, whichever is longer. Images that a cache may
 * keep from pass to pass cost nothing. */
static double limit_of(const struct bench_case *c, const struct limits *limits) {
    const double kept = 8 << 20, image = sizeof(float) * (double)c->layer.n;
    const int64_t size = c->layer.size ? c->layer.size : 1, out = ot_layer_out(&c->layer);
    const double x = image * (double)(c->layer.c * size * size);
    const double y = image * (double)(c->layer.m * out * out);
    const double move = x + y > kept ? 1e-6 / limits->gb_per_s : 0; /* ms a byte */
    const double compute = 1e-6 * ot_bench_case_flops(c) / limits->load_gflops;
    double dense = 0;
    for (int pass = 0; pass < PASSES; pass++) dense += c->dense_ms[pass];
    const double ms = fmax(compute, move * (x + y)) + fmax(2 * compute, move * (2 * x + y));
    return ms > 0 ? dense / ms : 0;
}

int ot_bench_case_run(struct bench_case *c, const struct limits *limits, struct failure *f) {
    const ot_options options = {
        .size = sizeof options, .threads = c->threads, .isa = c->isa, .sparse = OT_SPARSE_ALWAYS};
    struct sparse_layer s = {0};
    struct dense_layer *d = NULL;
    unsigned char *bytes = NULL;
    size_t size = 0;
    int code = write_model(c, &bytes, &size, f);
    if (!code) code = set_up(&s, c, &options, bytes, size, f);
    free(bytes);
    if (!code) code = ot_dense_layer_open(&c->layer, c->threads, &d, f);
    if (!code) code = run_rounds(c, &s, d, f);
    if (!code) c->limit = limit_of(c, limits);
    ot_dense_layer_close(d);
    tear_down(&s);
    return code;
}

static double positions(const struct bench_case *c) {
    const int64_t out = ot_layer_out(&c->layer);
    return (double)c->layer.n * (double)(out * out);
}

double ot_bench_case_flops(const struct bench_case *c) {
    return 2 * (double)c->nonzeros * positions(c);
}

double ot_bench_case_dense_flops(const struct bench_case *c) {
    const struct layer_shape *l = &c->layer;
    return 2 * (double)(l->m * l->c * l->k * l->k) * positions(c);
}
