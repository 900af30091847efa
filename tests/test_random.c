/* test_random.c - random small graphs: sparse as dense, fused as apart, the same for any number of
 * threads, the gradient as the slope of the loss. Seeds are fixed; a failure names its seed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { SEEDS = 60, BATCH = 5, CLASSES = 4, SIDE = 6, VALUES = 64, MOST = 1 << 14, STEPS = 2 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

struct made {
    char name[16];
    int64_t c, h, w; /* of one sample; h = 0: [N, c] */
};

struct maker {
    struct test_model m;
    uint64_t seed, draws;
    struct made value[VALUES];
    int n, weights;
    bool apart; /* an Identity behind each node: no two of them are neighbours */
};

static int draw(struct maker *k, int n) {
    return (int)(ot_random_u32(k->seed, 0, k->draws++) % (unsigned)n);
}

/* A new weight; its name. About a third of it is not zero where it is sparse. */
static const char *weight(struct maker *k, int rank, const int64_t *dim, double scale, bool sparse,
                          char *name) {
    static float v[MOST];
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dim[i];
    if (n > MOST) fail_msg("seed %d: a weight of %zu", (int)k->seed, n);
    snprintf(name, 16, "w%d", k->weights++);
    for (size_t i = 0; i < n; i++) {
        bool kept = !sparse || ot_random_u32(k->seed, k->draws, i) % 3 == 0;
        v[i] = kept ? (float)scale * ot_random_normal(k->seed + 1, k->draws, i) : 0;
    }
    k->draws++;
    model_floats(&k->m, name, rank, dim, v);
    return name;
}

/* Another value that fits `a` up to its channels, or a itself. */
static const struct made *partner(struct maker *k, const struct made *a, bool same_channels) {
    int from = draw(k, k->n);
    for (int i = 0; i < k->n; i++) {
        const struct made *b = &k->value[(from + i) % k->n];
        if (b->h == a->h && b->w == a->w && (!same_channels || b->c == a->c)) return b;
    }
    return a;
}

static struct made *add(struct maker *k, int64_t c, int64_t h, int64_t w) {
    struct made *v = &k->value[k->n];
    *v = (struct made){.c = c, .h = h, .w = w};
    snprintf(v->name, sizeof v->name, "v%d", k->n++);
    return v;
}

static void node(struct maker *k, const char *op, const char *inputs, const char *outputs,
                 const char *format, ...) {
    char attributes[128], other[64], first[32];
    va_list args;
    va_start(args, format);
    vsnprintf(attributes, sizeof attributes, format, args);
    va_end(args);
    if (!k->apart) {
        model_node(&k->m, op, inputs, outputs, attributes);
        return;
    }
    const int length = (int)strcspn(outputs, " ");
    snprintf(first, sizeof first, "%.*s", length, outputs);
    snprintf(other, sizeof other, "%s_%s", first, outputs + length);
    model_node(&k->m, op, inputs, other, attributes);
    snprintf(other, sizeof other, "%s_", first);
    model_node(&k->m, "Identity", other, first, "");
}

static void conv(struct maker *k, const struct made *a) {
    char w[16], b[16], in[64];
    int size = draw(k, 2) ? 3 : 1, group = a->c % 2 == 0 && draw(k, 3) == 0 ? 2 : 1;
    int stride = a->h > 3 && draw(k, 3) == 0 ? 2 : 1, pad = size / 2;
    int64_t c = draw(k, 3) < 2 ? 2 * (1 + draw(k, 4)) : 16; /* 16: lanes of channels */
    double scale = 1.5 / sqrt((double)(a->c / group * size * size));
    weight(k, 4, DIMS(c, a->c / group, size, size), scale, draw(k, 4) > 0, w);
    weight(k, 1, DIMS(c), 0.2, false, b);
    snprintf(in, sizeof in, "%s %s %s", a->name, w, b);
    struct made *y =
        add(k, c, (a->h + 2 * pad - size) / stride + 1, (a->w + 2 * pad - size) / stride + 1);
    node(k, "Conv", in, y->name, "strides=%d,%d pads=%d,%d,%d,%d group=%d", stride, stride, pad,
         pad, pad, pad, group);
}

static void norm(struct maker *k, const struct made *a) {
    static const float one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, zero[16];
    char in[96], out[64], mean[16], var[16], s[16], b[16];
    if (a->c > 16) return;
    weight(k, 1, DIMS(a->c), 1, false, s);
    weight(k, 1, DIMS(a->c), 0.2, false, b);
    snprintf(mean, sizeof mean, "m%d", k->n);
    snprintf(var, sizeof var, "s%d", k->n);
    model_floats(&k->m, mean, 1, DIMS(a->c), zero);
    model_floats(&k->m, var, 1, DIMS(a->c), one);
    snprintf(in, sizeof in, "%s %s %s %s %s", a->name, s, b, mean, var);
    struct made *y = add(k, a->c, a->h, a->w);
    snprintf(out, sizeof out, "%s %s_ %s_", y->name, mean, var);
    node(k, "BatchNormalization", in, out, "training_mode=1 epsilon=0.1");
}

static void dense(struct maker *k, const struct made *a) {
    char w[16], b[16], in[64];
    int form = draw(k, 3); /* MatMul, Gemm, Gemm with transB */
    int64_t c = 2 * (2 + draw(k, 8));
    weight(k, 2, form == 2 ? DIMS(c, a->c) : DIMS(a->c, c), 1.2 / sqrt((double)a->c),
           draw(k, 4) > 0, w);
    weight(k, 1, DIMS(c), 0.2, false, b);
    snprintf(in, sizeof in, "%s %s %s", a->name, w, form ? b : "");
    struct made *y = add(k, c, 0, 0);
    if (form)
        node(k, "Gemm", in, y->name, "transB=%d", form == 2);
    else
        node(k, "MatMul", in, y->name, "%s", "");
}

/* What residual networks are made of: a convolution that keeps the shape, normalised, and behind it
 * perhaps a sum, perhaps Relu. */
static void residual(struct maker *k, const struct made *a) {
    char w[16], in[64];
    const struct made from = *a;
    weight(k, 4, DIMS(a->c, a->c, 1, 1), 1 / sqrt((double)a->c), draw(k, 4) > 0, w);
    snprintf(in, sizeof in, "%s %s", a->name, w);
    node(k, "Conv", in, add(k, from.c, from.h, from.w)->name, "%s", "");
    norm(k, &k->value[k->n - 1]);
    const int form = draw(k, 4); /* 1: sum, 2: Relu, 3: both */
    snprintf(in, sizeof in, "%s %s", k->value[k->n - 1].name, from.name);
    if (form & 1) node(k, "Add", in, add(k, from.c, from.h, from.w)->name, "%s", "");
    snprintf(in, sizeof in, "%s", k->value[k->n - 1].name);
    if (form & 2) node(k, "Relu", in, add(k, from.c, from.h, from.w)->name, "%s", "");
}

static void unary(struct maker *k, const struct made *a) {
    static const char *const ops[] = {"Tanh", "Relu", "Sigmoid"};
    struct made *y = add(k, a->c, a->h, a->w);
    node(k, ops[draw(k, 3)], a->name, y->name, "%s", "");
}

static void sum(struct maker *k, const struct made *a) {
    char in[64];
    const struct made *b = partner(k, a, true);
    snprintf(in, sizeof in, "%s %s", a->name, b->name);
    node(k, b == a || draw(k, 3) ? "Add" : "Sub", in, add(k, a->c, a->h, a->w)->name, "%s", "");
}

static void concat(struct maker *k, const struct made *a) {
    char in[64];
    const struct made *b = partner(k, a, false);
    if (a->c + b->c > 24) return;
    snprintf(in, sizeof in, "%s %s", a->name, b->name);
    node(k, "Concat", in, add(k, a->c + b->c, a->h, a->w)->name, "axis=1");
}

static void split(struct maker *k, const struct made *a) {
    char out[64];
    if (a->c % 2) return;
    const struct made *p = add(k, a->c / 2, a->h, a->w), *q = add(k, a->c / 2, a->h, a->w);
    snprintf(out, sizeof out, "%s %s", p->name, q->name);
    node(k, "Split", a->name, out, "axis=1");
}

static void pool(struct maker *k, const struct made *a) {
    if (a->h < 2 || a->w < 2) return;
    node(k, draw(k, 2) ? "MaxPool" : "AveragePool", a->name, add(k, a->c, a->h / 2, a->w / 2)->name,
         "kernel_shape=2,2 strides=2,2");
}

static void turn(struct maker *k, const struct made *a) {
    if (a->h != a->w) return;
    node(k, "Transpose", a->name, add(k, a->c, a->w, a->h)->name, "perm=0,1,3,2");
}

/* Of rows: turned into [N, 2, c / 2], turned, and back: lanes cannot follow. */
static void shuffle(struct maker *k, const struct made *a) {
    char in[64], to[32], turned[32], shape[2][16];
    if (a->c % 2) return;
    for (int i = 0; i < 2; i++) snprintf(shape[i], sizeof shape[i], "i%d_%d", k->n, i);
    model_ints(&k->m, shape[0], 3, DIMS(0, 2, a->c / 2));
    model_ints(&k->m, shape[1], 2, DIMS(0, -1));
    struct made *y = add(k, a->c, 0, 0);
    snprintf(to, sizeof to, "%s_a", y->name);
    snprintf(turned, sizeof turned, "%s_b", y->name);
    snprintf(in, sizeof in, "%s %s", a->name, shape[0]);
    node(k, "Reshape", in, to, "%s", "");
    node(k, "Transpose", to, turned, "perm=0,2,1");
    snprintf(in, sizeof in, "%s %s", turned, shape[1]);
    node(k, "Reshape", in, y->name, "%s", "");
}

typedef void make_fn(struct maker *k, const struct made *a);

static unsigned char *random_model(uint64_t seed, bool apart, size_t *size) {
    static make_fn *const images[] = {conv,   conv,  conv, norm, unary,    sum,
                                      concat, split, pool, turn, residual, residual};
    static make_fn *const rows[] = {dense, dense, norm, unary, sum, concat, split, shuffle};
    struct maker k = {.seed = seed, .apart = apart};
    char in[64], w[16];
    model_begin(&k.m, 15);
    model_input(&k.m, "v0", OT_FLOAT, 4, DIMS(-1, 2, SIDE, SIDE));
    add(&k, 2, SIDE, SIDE);
    for (int i = 4 + draw(&k, 7); i > 0; i--)
        images[draw(&k, sizeof images / sizeof *images)](
            &k, &k.value[k.n - 1 - draw(&k, k.n < 3 ? k.n : 3)]);
    const struct made *last = &k.value[k.n - 1];
    node(&k, "Flatten", last->name, add(&k, last->c * last->h * last->w, 0, 0)->name, "axis=1");
    int first = k.n - 1;
    for (int i = 3 + draw(&k, 6); i > 0; i--) {
        int from = first + draw(&k, k.n - first);
        rows[draw(&k, sizeof rows / sizeof *rows)](&k, &k.value[from]);
    }
    last = &k.value[k.n - 1];
    weight(&k, 2, DIMS(last->c, CLASSES), 1 / sqrt((double)last->c), true, w);
    snprintf(in, sizeof in, "%s %s", last->name, w);
    node(&k, "MatMul", in, "y", "%s", "");
    model_output(&k.m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    return model_finish(&k.m, size);
}

/* ---- training ---- */

struct run {
    ot_session *s;
    float x[BATCH * 2 * SIDE * SIDE];
    int64_t label[BATCH];
    ot_tensor in, target;
};

static void must(uint64_t seed, ot_status status, const ot_error *err) {
    if (status) fail_msg("seed %d: %s", (int)seed, err->message);
}

static void start(struct run *r, uint64_t seed, bool apart, const ot_options *o) {
    size_t size;
    ot_error err = {OT_OK, ""};
    unsigned char *file = random_model(seed, apart, &size);
    ot_status status = ot_open_buffer(file, size, o, &r->s, &err);
    free(file);
    must(seed, status, &err);
    for (size_t i = 0; i < sizeof r->x / sizeof *r->x; i++) r->x[i] = ot_random_normal(seed, 7, i);
    for (int i = 0; i < BATCH; i++) r->label[i] = i % CLASSES;
    r->in = (ot_tensor){OT_FLOAT, 4, {BATCH, 2, SIDE, SIDE}, r->x};
    r->target = (ot_tensor){OT_INT64, 1, {BATCH}, r->label};
    const ot_optimizer_options sgd = {.lr = 0.02f, .momentum = 0.9f};
    must(seed, ot_set_optimizer(r->s, &sgd, &err), &err);
}

static double step(struct run *r, uint64_t seed) {
    ot_error err;
    ot_result result;
    must(seed, ot_train_step(r->s, &r->in, 1, &r->target, &result, &err), &err);
    return result.loss;
}

static void train(uint64_t seed, bool apart, const ot_options *o, double *loss) {
    struct run r;
    ot_error err;
    start(&r, seed, apart, o);
    for (int i = 0; i < STEPS; i++) {
        loss[i] = step(&r, seed);
        must(seed, ot_optimizer_step(r.s, &err), &err);
    }
    loss[STEPS] = step(&r, seed);
    ot_close(r.s);
}

static void layouts_and_threads_agree(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double sparse[STEPS + 1], more[STEPS + 1], never[STEPS + 1];
        train(seed, false, &(ot_options){.threads = 1, .sparse = OT_SPARSE_ALWAYS}, sparse);
        train(seed, false, &(ot_options){.threads = 3, .sparse = OT_SPARSE_ALWAYS}, more);
        train(seed, false, &(ot_options){.threads = 2, .sparse = OT_SPARSE_NEVER}, never);
        if (memcmp(sparse, more, sizeof sparse))
            fail_msg("seed %d: %.17g with one thread, %.17g with three", (int)seed, sparse[STEPS],
                     more[STEPS]);
        for (int i = 0; i <= STEPS; i++)
            if (!(fabs(sparse[i] - never[i]) <= 1e-4 * fabs(never[i])))
                fail_msg("seed %d: step %d: %.9g sparse, %.9g dense", (int)seed, i, sparse[i],
                         never[i]);
    }
}

/* ---- fused and apart ---- */

static void count_fused(void *context, const char *line) {
    static const char *const names[] = {"BatchNormalization+Relu ", "BatchNormalization+Add ",
                                        "BatchNormalization+Add+Relu ", " Add+Relu "};
    int *found = context;
    for (int i = 0; i < 4; i++) found[i] += strstr(line, names[i]) != NULL;
}

static void neighbours_are_fused_without_a_trace(void **state) {
    (void)state;
    int found[4] = {0}, none[4] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double loss[2][STEPS + 1];
        for (int apart = 0; apart < 2; apart++) {
            struct run r;
            const ot_options o = {.threads = 2, .sparse = OT_SPARSE_ALWAYS};
            train(seed, apart, &o, loss[apart]);
            start(&r, seed, apart, &o);
            step(&r, seed);
            assert_int_equal(ot_print_plan(r.s, count_fused, apart ? none : found, NULL), OT_OK);
            ot_close(r.s);
        }
        for (int i = 0; i <= STEPS; i++)
            if (!(fabs(loss[0][i] - loss[1][i]) <= 1e-5 * fabs(loss[1][i])))
                fail_msg("seed %d: step %d: %.9g fused, %.9g apart", (int)seed, i, loss[0][i],
                         loss[1][i]);
    }
    for (int i = 0; i < 4; i++) {
        if (!found[i]) fail_msg("form %d was not fused in any graph", i);
        assert_int_equal(none[i], 0);
    }
}

/* ---- the gradient ---- */

/* w += h g for all weights. */
static void move(ot_session *s, int i, int64_t n, const float *g, double h) {
    static float w[MOST];
    ot_read_parameter(s, i, w, NULL);
    for (int64_t k = 0; k < n; k++) w[k] += (float)(h * g[k]);
    assert_int_equal(ot_write_parameter(s, i, w, NULL), OT_OK);
}

static void the_gradient_is_the_slope(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct run r;
        static float gradient[64][MOST];
        double square = 0;
        start(&r, seed, false, &(ot_options){.threads = 1, .sparse = OT_SPARSE_ALWAYS});
        step(&r, seed);
        const int n = ot_parameter_count(r.s);
        ot_parameter_info info[64];
        for (int i = 0; i < n; i++) {
            ot_get_parameter(r.s, i, &info[i], NULL);
            if (ot_get_gradient(r.s, i, gradient[i], NULL)) info[i].elements = 0; /* unreached */
            for (int64_t k = 0; k < info[i].elements; k++)
                square += (double)gradient[i][k] * gradient[i][k];
        }
        if (!(square > 0)) fail_msg("seed %d: the gradient is %g", (int)seed, square);
        const double h = 2e-3 / sqrt(square);
        double loss[2];
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < n; i++)
                move(r.s, i, info[i].elements, gradient[i], side ? -2 * h : h);
            loss[side] = step(&r, seed);
        }
        const double slope = (loss[0] - loss[1]) / (2 * h);
        if (!(fabs(slope - square) <= 0.05 * square + 1e-5))
            fail_msg("seed %d: slope %g, square of the gradient %g", (int)seed, slope, square);
        ot_close(r.s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_and_threads_agree),
        cmocka_unit_test(neighbours_are_fused_without_a_trace),
        cmocka_unit_test(the_gradient_is_the_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
