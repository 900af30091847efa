/* test_follow.c - plans that follow other patterns of their weights: the same bits as of plans that
 * are made for these patterns, and the results of dense weights. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/counter.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

enum { WEIGHTS = 2, MOST = 1 << 15 };

/* A network from x to y with weights w0, w1; nodes: "Op inputs > output ; attributes", one a line.
 */
static const struct net {
    const char *name, *nodes;
    int64_t x[4]; /* x[batch] is replaced */
    int batch;
    ot_type type;
    enum { IN_PLACE, MOVED, ANEW } how; /* plans follow; numbers of slots are moved; or neither */
    struct {
        int64_t dim[4];
    } w[WEIGHTS];
} nets[] = {
    {"Gemm", "Gemm x w0 > y ; transB=1", {1, 40}, 0, OT_FLOAT, IN_PLACE, {{{30, 40}}}},
    {"Gemm, transposed", "Gemm x w0 > y", {1, 40}, 0, OT_FLOAT, IN_PLACE, {{{40, 30}}}},
    {"MatMul", "MatMul x w0 > y", {1, 5, 20}, 0, OT_FLOAT, IN_PLACE, {{{20, 30}}}},
    {"Linear",
     "MatMul x w0 > t\nAdd t w1 > y",
     {1, 5, 20},
     0,
     OT_FLOAT,
     IN_PLACE,
     {{{20, 30}}, {{30}}}},
    {"Conv", "Conv x w0 > y ; pads=1,1,1,1", {1, 6, 5, 7}, 0, OT_FLOAT, IN_PLACE, {{{8, 6, 3, 3}}}},
    {"Conv, groups",
     "Conv x w0 > t ; group=2 strides=2,2 pads=1,1,1,1\nConv t w1 > y ; strides=1,2",
     {1, 6, 8, 7},
     0,
     OT_FLOAT,
     IN_PLACE,
     {{{8, 3, 3, 3}}, {{4, 8, 1, 1}}}},
    {"ConvTranspose",
     "ConvTranspose x w0 > y ; group=2 strides=2,1 pads=0,1,1,2",
     {1, 4, 3, 4},
     0,
     OT_FLOAT,
     IN_PLACE,
     {{{4, 3, 2, 3}}}},
    {"Gather", "Gather w0 x > y", {1, 3}, 0, OT_INT64, IN_PLACE, {{{9, 12}}}},
    {"LSTM",
     "LSTM x w0 w1 > t ; hidden_size=6 direction=bidirectional\nFlatten t > y ; axis=2",
     {4, 1, 5},
     1,
     OT_FLOAT,
     IN_PLACE,
     {{{2, 24, 5}}, {{2, 24, 6}}}},
    {"GRU",
     "GRU x w0 w1 > t ; hidden_size=6\nFlatten t > y ; axis=2",
     {4, 1, 5},
     1,
     OT_FLOAT,
     IN_PLACE,
     {{{1, 18, 5}}, {{1, 18, 6}}}},
    {"RNN",
     "RNN x w0 w1 > t ; hidden_size=7\nFlatten t > y ; axis=2",
     {4, 1, 5},
     1,
     OT_FLOAT,
     IN_PLACE,
     {{{1, 7, 5}}, {{1, 7, 7}}}},
    {"slices",
     "Slice w0 i0 i4 i0 > a\nSlice w0 i4 i8 i0 > b\nConcat b w1 a > c ; axis=0\n"
     "Transpose c > d ; perm=1,0\nMatMul x d > y",
     {1, 36},
     0,
     OT_FLOAT,
     MOVED,
     {{{8, 36}}, {{4, 36}}}},
    {"gates",
     "Slice w0 i0 i4 i0 > a\nSlice w0 i4 i16 i0 > b\nConcat b a > d ; axis=0\n"
     "Unsqueeze d i0 > w\nUnsqueeze w1 i0 > r\n"
     "LSTM x w r > t ; hidden_size=4\nFlatten t > y ; axis=2",
     {4, 1, 6},
     1,
     OT_FLOAT,
     MOVED,
     {{{16, 6}}, {{16, 4}}}},
    {"a half",
     "Split w0 > a b ; axis=0\nGemm x b > y ; transB=1",
     {1, 36},
     0,
     OT_FLOAT,
     ANEW,
     {{{10, 36}}}},
};
enum { NETS = sizeof nets / sizeof *nets };
static const int batches[] = {1, 2, 17, 64};

static int rank_of(const int64_t *dim) {
    int rank = 0;
    while (rank < 4 && dim[rank]) rank++;
    return rank;
}

/* A fifth of a weight is not zero; another fifth for each version. */
static void weight(int i, int64_t n, int version, float *v) {
    for (int64_t k = 0; k < n; k++) {
        const int64_t from = (k + version * 17) % n;
        v[k] = ot_random_u32(3, (uint64_t)i, (uint64_t)from) % 5
                   ? 0
                   : 0.5f + ot_random_float(4, (uint64_t)(i + version), (uint64_t)k);
    }
}

static void add_nodes(struct test_model *m, const char *nodes) {
    char buffer[512], *next = NULL;
    snprintf(buffer, sizeof buffer, "%s", nodes);
    for (char *line = strtok_r(buffer, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *in = strchr(line, ' '), *out = strstr(line, " > "), *attributes = strstr(line, " ; ");
        *in++ = *out = 0;
        if (attributes) *attributes = 0;
        model_node(m, line, in, out + 3, attributes ? attributes + 3 : "");
    }
}

struct run {
    ot_session *s;
    const struct net *net;
    int batch;
    float y[MOST];
    double loss;
};

/* changes: masks are to change. */
static void open_run(struct run *r, const struct net *net, int batch, int version,
                     ot_sparse_mode mode, bool changes, const ot_options *more) {
    struct test_model m;
    int64_t x[4];
    static float v[MOST];
    ot_options options = *more;
    ot_error err = {OT_OK, ""};
    *r = (struct run){.net = net, .batch = batch};
    memcpy(x, net->x, sizeof x);
    x[net->batch] = -1;
    model_begin(&m, 13);
    model_input(&m, "x", net->type, rank_of(net->x), x);
    for (int i = 0; i < WEIGHTS && net->w[i].dim[0]; i++) {
        const int rank = rank_of(net->w[i].dim);
        int64_t n = 1;
        for (int k = 0; k < rank; k++) n *= net->w[i].dim[k];
        weight(i, n, rank > 1 ? version : 0, v);
        model_floats(&m, (const char[]){'w', (char)('0' + i), 0}, rank, net->w[i].dim, v);
    }
    model_ints(&m, "i0", 1, DIMS(0));
    model_ints(&m, "i4", 1, DIMS(4));
    model_ints(&m, "i8", 1, DIMS(8));
    model_ints(&m, "i16", 1, DIMS(16));
    add_nodes(&m, net->nodes);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    options.sparse = mode;
    if (model_open(&m, &options, &r->s, &err)) fail_msg("%s: %s", net->name, err.message);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.1f};
    assert_int_equal(ot_set_loss(r->s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(r->s, &sgd, NULL), OT_OK);
    r->s->topology.is_set = changes;
    r->s->topology.rule.every = changes;
}

/* The outputs of an inference, then the loss and the gradients of a training step. */
static ot_status try_run(struct run *r, ot_error *err) {
    static float x[MOST], target[MOST];
    static int64_t index[MOST];
    ot_tensor in = {
        r->net->type, rank_of(r->net->x), {0}, r->net->type == OT_FLOAT ? (void *)x : index};
    ot_tensor y;
    ot_result result;
    memcpy(in.dim, r->net->x, sizeof r->net->x);
    in.dim[r->net->batch] = r->batch;
    for (int i = 0; i < MOST && !target[MOST - 1]; i++) { /* once for all runs */
        x[i] = ot_random_normal(5, 1, (uint64_t)i);
        target[i] = ot_random_normal(6, 1, (uint64_t)i);
    }
    for (int i = 0; i < 3 * r->batch; i++)
        index[i] = ot_random_u32(5, 2, (uint64_t)i) % (uint32_t)r->net->w[0].dim[0];
    OT_TRY(ot_run(r->s, &in, 1, &y, 1, err));
    int64_t n = 1;
    for (int i = 0; i < y.rank; i++) n *= y.dim[i];
    assert_true(n <= MOST);
    memcpy(r->y, y.data, (size_t)n * sizeof *r->y);
    y.data = target;
    OT_TRY(ot_clear_gradients(r->s, err));
    OT_TRY(ot_train_step(r->s, &in, 1, &y, &result, err));
    r->loss = result.loss;
    return OT_OK;
}

static void run(struct run *r) {
    ot_error err = {OT_OK, ""};
    if (try_run(r, &err)) fail_msg("%s: %s", r->net->name, err.message);
}

static void gradient(const struct run *r, int i, float *g) {
    assert_int_equal(ot_get_gradient(r->s, i, g, NULL), OT_OK);
}

/* The same bits, or nearly the same numbers, of b at the slots of a. */
static void compare(const struct run *a, const struct run *b, bool bits) {
    static float ga[MOST], gb[MOST];
    if (bits) assert_memory_equal(a->y, b->y, sizeof a->y);
    if (!(fabs(a->loss - b->loss) <= (bits ? 0 : 1e-4) * fabs(b->loss)))
        fail_msg("%s, %d: loss %.9g, not %.9g", a->net->name, a->batch, a->loss, b->loss);
    for (int i = 0; i < a->s->model->n_parameters; i++) {
        const struct tensor *t = &a->s->model->parameter[i].t;
        float largest = 0;
        gradient(a, i, ga);
        gradient(b, i, gb);
        for (int64_t k = 0; k < ot_elements(t); k++) largest = fmaxf(largest, fabsf(gb[k]));
        for (int64_t k = 0; k < ot_elements(t); k++)
            if (!(fabsf(ga[k] - gb[k]) <= (bits ? 0 : 1e-4f) * largest))
                fail_msg("%s, %d: gradient %d[%d] is %g, not %g", a->net->name, a->batch, i, (int)k,
                         (double)ga[k], (double)gb[k]);
    }
}

/* Patterns and values of b's weights. */
static void take_weights(struct run *a, const struct run *b) {
    struct model *m = a->s->model;
    for (int i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &b->s->model->parameter[i];
        if (p->t.pattern) ot_model_set_pattern(m, i, ot_pattern_ref(p->t.pattern));
        memcpy(ot_weights_at(a->s->context.weights, &m->parameter[i]),
               ot_weights_at(b->s->context.weights, p), ot_bytes(&p->t));
    }
}

static int count_plans(const struct run *r) {
    int n = 0;
    for (const struct plan *p = r->s->plan; p; p = p->next) n++;
    return n;
}

/* Plans for version 0 follow to the next ones; `skip`: all at once. */
static void check_plans(const struct net *net, int batch, ot_sparse_mode mode, int threads,
                        bool skip) {
    enum { VERSIONS = 3 };
    struct run a, fresh[VERSIONS], dense;
    struct counter counter = {0};
    const ot_options plain = {.threads = threads};
    const ot_options counted = {.threads = threads, .allocator = counting_allocator(&counter)};
    open_run(&a, net, batch, 0, mode, true, &counted);
    run(&a);
    for (int v = 1; v < VERSIONS; v++) {
        open_run(&fresh[v], net, batch, v, mode, true, &plain);
        const long requests = counter.requests;
        const struct plan *plan = a.s->plan;
        take_weights(&a, &fresh[v]);
        if (skip && v + 1 < VERSIONS) continue;
        run(&a);
        assert_int_equal(count_plans(&a), 2);
        if (net->how != ANEW) assert_ptr_equal(a.s->plan, plan);
        if (net->how == IN_PLACE) assert_int_equal(counter.requests, requests);
        run(&fresh[v]);
        compare(&a, &fresh[v], true);
        open_run(&dense, net, batch, v, OT_SPARSE_NEVER, false, &plain);
        run(&dense);
        compare(&a, &dense, false);
        ot_close(dense.s);
    }
    ot_close(a.s);
    for (int v = 1; v < VERSIONS; v++) ot_close(fresh[v].s);
    assert_int_equal(counter.live, 0);
}

static void plans(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++)
        for (int n = 0; n < 4; n++)
            for (ot_sparse_mode mode = OT_SPARSE_AUTO; mode <= OT_SPARSE_LIVE; mode++)
                check_plans(&nets[i], batches[n], mode, 1 + n % 2, n == 3);
}

static void threads(void **state) {
    (void)state;
    static const int several[] = {1, 2, 3, 4, 7};
    for (int i = 0; i < NETS; i++)
        for (int k = 0; k < 5; k++) check_plans(&nets[i], 17, OT_SPARSE_ALWAYS, several[k], false);
}

/* Where masks were not said to change, or memory for the work is missing, plans are made anew. */
static void anew(void **state) {
    (void)state;
    struct run a, fresh;
    const ot_options plain = {.threads = 2};
    open_run(&a, &nets[0], 17, 0, OT_SPARSE_AUTO, false, &plain);
    open_run(&fresh, &nets[0], 17, 1, OT_SPARSE_AUTO, false, &plain);
    run(&a);
    take_weights(&a, &fresh);
    run(&a);
    run(&fresh);
    compare(&a, &fresh, true);
    assert_int_equal(count_plans(&a), 2);
    ot_close(a.s);
    ot_close(fresh.s);
}

/* The n-th allocation after an update fails, for all n: the session goes on. */
static void failing(const struct net *net) {
    struct run a, fresh;
    const ot_options plain = {.threads = 2};
    ot_status status = OT_ERROR_NO_MEMORY;
    open_run(&fresh, net, 17, 1, OT_SPARSE_ALWAYS, true, &plain);
    run(&fresh);
    for (long n = 1; status; n++) {
        struct counter counter = {0};
        ot_error err = {OT_OK, ""};
        const ot_options counted = {.threads = 2, .allocator = counting_allocator(&counter)};
        open_run(&a, net, 17, 0, OT_SPARSE_ALWAYS, true, &counted);
        run(&a);
        take_weights(&a, &fresh);
        counter.fail_at = counter.requests + n;
        status = try_run(&a, &err);
        assert_true(status == OT_OK || status == OT_ERROR_NO_MEMORY);
        if (counter.requests >= counter.fail_at) status = OT_ERROR_NO_MEMORY; /* try the next one */
        counter.fail_at = 0;
        run(&a);
        compare(&a, &fresh, true);
        ot_close(a.s);
        assert_int_equal(counter.live, 0);
    }
    ot_close(fresh.s);
}

static void no_memory_to_follow(void **state) {
    (void)state;
    for (int i = 0; i < NETS; i++)
        if (nets[i].how != IN_PLACE) failing(&nets[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),
        cmocka_unit_test(threads),
        cmocka_unit_test(anew),
        cmocka_unit_test(no_memory_to_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
