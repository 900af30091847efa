/* test_moved.c - weights that are sliced, joined and turned on their way to the operator: they get
 * the gradients that they get where a product by one hides them, and keep their masks and forms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/export_case.h"
#include "tests/model.h"

enum { BATCH = 3, STEPS = 5, WIDTH = 6, MOST = 1024, WEIGHTS = 4 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* A network from x to y. nodes: "Op inputs > output ; attributes", one a line. A weight is w0, w1
 * and so on; v0 is what takes its place. */
struct net {
    const char *name, *nodes;
    int moved; /* weights that the plan moves by their slots */
    int64_t x[4];
    struct {
        int64_t dim[4];
    } w[WEIGHTS];
};

static const struct net nets[] = {
    {"gates",
     "Slice v0 i0 i4 i0 > a\nSlice v0 i4 i8 i0 > b\nConcat b v1 a > c ; axis=0\n"
     "Transpose c > d ; perm=1,0\nMatMul x d > y",
     1,
     {BATCH, WIDTH},
     {{{8, 6}}, {{4, 6}}}},
    {"twice", "Concat v0 v0 > a ; axis=1\nMatMul x a > y", 1, {BATCH, WIDTH}, {{{6, 5}}}},
    {"part", "Split v0 > a b ; axis=0\nGemm x b > y ; transB=1", 1, {BATCH, WIDTH}, {{{10, 6}}}},
    {"kernel", "Reshape v0 shape > a\nConv x a > y ; pads=1,1,1,1", 1, {16, 2, 5, 5}, {{{4, 18}}}},
    {"table",
     "Slice v0 i4 i8 i0 > a\nGemm x a > t ; transB=1\nTranspose v0 > b ; perm=1,0\n"
     "MatMul t factor > u\nMatMul u b > y",
     2,
     {BATCH, WIDTH},
     {{{8, 6}}}},
    {"lstm",
     "Slice v0 i0 i4 i0 > a\nSlice v0 i4 i8 i0 > b\nSlice v0 i8 i16 i0 > c\n"
     "Concat a c b > d ; axis=0\nUnsqueeze d i0 > w\nUnsqueeze v1 i0 > r\n"
     "LSTM x w r > t ; hidden_size=4\nReshape t flat > y",
     2,
     {STEPS, BATCH, WIDTH},
     {{{16, 6}}, {{16, 4}}}},
    {"dense",
     "Transpose v0 > a ; perm=1,0\nSlice a i0 i4 i0 > b\nGemm x b > y ; transB=1",
     0,
     {BATCH, WIDTH},
     {{{6, 5}}}},
};

static void constants(struct test_model *m) {
    model_ints(m, "i0", 1, DIMS(0));
    model_ints(m, "i4", 1, DIMS(4));
    model_ints(m, "i8", 1, DIMS(8));
    model_ints(m, "i16", 1, DIMS(16));
    model_ints(m, "shape", 4, DIMS(4, 2, 3, 3));
    model_ints(m, "flat", 2, DIMS(-1, 4));
    float c[4 * WIDTH];
    for (int i = 0; i < 4 * WIDTH; i++) c[i] = ot_random_normal(7, 0, (uint64_t)i);
    model_floats(m, "factor", 2, DIMS(4, WIDTH), c);
    model_floats(m, "one", 0, NULL, (const float[]){1});
}

/* Normal numbers, a third of them not zero; all, of the net "dense". */
static int weight(const struct net *net, int i, float *v) {
    const int64_t *d = net->w[i].dim;
    int n = 1;
    for (int k = 0; k < 4 && d[k]; k++) n *= (int)d[k];
    for (int k = 0; k < n; k++)
        v[k] = strcmp(net->name, "dense") && ot_random_float(3, (uint64_t)i, (uint64_t)k) > 0.33f
                   ? 0
                   : 0.5f * ot_random_normal(4, (uint64_t)i, (uint64_t)k);
    return n;
}

static int rank_of(const int64_t *dim) {
    int rank = 0;
    while (rank < 4 && dim[rank]) rank++;
    return rank;
}

static void add_nodes(struct test_model *m, const char *nodes, bool hidden) {
    char buffer[1024], *next = NULL;
    snprintf(buffer, sizeof buffer, "%s", nodes);
    for (char *c = buffer; *c; c++) /* v0 is w0, or h0 = w0 * 1 */
        if (*c == 'v' && c[1] >= '0' && c[1] <= '9') *c = hidden ? 'h' : 'w';
    for (char *line = strtok_r(buffer, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *in = strchr(line, ' '), *out = strstr(line, " > "), *attributes = strstr(line, " ; ");
        *in++ = *out = 0;
        if (attributes) *attributes = 0;
        model_node(m, line, in, out + 3, attributes ? attributes + 3 : "");
    }
}

static struct bytes model(const struct net *net, bool hidden) {
    struct test_model m;
    float v[MOST];
    struct bytes b;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, rank_of(net->x), net->x);
    constants(&m);
    for (int i = 0; i < WEIGHTS && net->w[i].dim[0]; i++) {
        const char w[] = {'w', (char)('0' + i), 0}, h[] = {'h', (char)('0' + i), 0};
        const char both[] = {'w', (char)('0' + i), ' ', 'o', 'n', 'e', 0};
        weight(net, i, v);
        model_floats(&m, w, rank_of(net->w[i].dim), net->w[i].dim, v);
        if (hidden) model_node(&m, "Mul", both, h, "");
    }
    add_nodes(&m, net->nodes, hidden);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    b.data = model_finish(&m, &b.size);
    return b;
}

static ot_session *open_bytes(struct bytes b, ot_sparse_mode sparse) {
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    const ot_options options = {.threads = 2, .sparse = sparse};
    if (ot_open_buffer(b.data, b.size, &options, &s, &err)) fail_msg("%s", err.message);
    free(b.data);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.1f, .weight_decay = 0.1f};
    assert_int_equal(ot_set_loss(s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

/* The loss of a training step. */
static double step(ot_session *s, const struct net *net) {
    static float x[MOST], y[4 * MOST];
    ot_tensor in = {OT_FLOAT, rank_of(net->x), {0}, x}, target;
    ot_result result;
    ot_error err = {OT_OK, ""};
    memcpy(in.dim, net->x, sizeof net->x);
    for (int i = 0; i < MOST; i++) x[i] = ot_random_normal(5, 1, (uint64_t)i);
    for (int i = 0; i < 4 * MOST; i++) y[i] = ot_random_normal(6, 1, (uint64_t)i);
    if (ot_run(s, &in, 1, &target, 1, &err)) fail_msg("%s: %s", net->name, err.message);
    target.data = y;
    if (ot_train_step(s, &in, 1, &target, &result, &err))
        fail_msg("%s: %s", net->name, err.message);
    return result.loss;
}

static void count_moved(void *context, const char *line) {
    *(int *)context += strstr(line, " forward  Moved ") != NULL;
}

static int find(const ot_session *s, const char *name) {
    ot_parameter_info info;
    for (int i = 0; i < ot_parameter_count(s); i++) {
        assert_int_equal(ot_get_parameter(s, i, &info, NULL), OT_OK);
        if (!strcmp(info.name, name)) return i;
    }
    fail_msg("'%s' is no weight", name);
    return -1;
}

static void compare(const struct net *net, ot_session *a, ot_session *b) {
    const double la = step(a, net), lb = step(b, net);
    if (fabs(la - lb) > 1e-5 * fabs(lb)) fail_msg("%s: loss %g, not %g", net->name, la, lb);
    for (int i = 0; i < WEIGHTS && net->w[i].dim[0]; i++) {
        const char name[] = {'w', (char)('0' + i), 0};
        float v[MOST], ga[MOST], gb[MOST], largest = 0;
        const int n = weight(net, i, v);
        assert_int_equal(ot_get_gradient(a, find(a, name), ga, NULL), OT_OK);
        assert_int_equal(ot_get_gradient(b, find(b, name), gb, NULL), OT_OK);
        for (int k = 0; k < n; k++) largest = fmaxf(largest, fabsf(gb[k]));
        for (int k = 0; k < n; k++) {
            const float want = v[k] != 0 ? gb[k] : 0;
            if (!(fabsf(ga[k] - want) <= 1e-5f * largest))
                fail_msg("%s: gradient of %s[%d] is %g, not %g", net->name, name, k, (double)ga[k],
                         (double)want);
        }
    }
}

static void gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        for (ot_sparse_mode mode = OT_SPARSE_AUTO; mode <= OT_SPARSE_NEVER; mode++) {
            ot_session *a = open_bytes(model(&nets[i], false), mode);
            ot_session *b = open_bytes(model(&nets[i], true), mode);
            int moved = 0;
            compare(&nets[i], a, b);
            assert_int_equal(ot_print_plan(a, count_moved, &moved, NULL), OT_OK);
            if (moved != nets[i].moved)
                fail_msg("%s: %d weights moved, not %d", nets[i].name, moved, nets[i].moved);
            ot_close(a);
            ot_close(b);
        }
}

/* Steps change the slots alone, and the file has its weights as it had them. */
static void exported(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        ot_session *s = open_bytes(model(&nets[i], false), OT_SPARSE_AUTO);
        for (int k = 0; k < 3; k++) {
            step(s, &nets[i]);
            assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
        }
        assert_int_equal(ot_export_onnx(s, target(), NULL, NULL), OT_OK);
        ot_close(s);
        struct bytes b = slurp(target());
        unlink(target());
        Onnx__ModelProto *m = unpack(b);
        for (int j = 0; j < WEIGHTS && nets[i].w[j].dim[0]; j++) {
            const Onnx__TensorProto *t = initializer(m, (const char[]){'w', (char)('0' + j), 0});
            float v[MOST], w[MOST];
            const int n = weight(&nets[i], j, v);
            int changed = 0;
            assert_non_null(t);
            assert_int_equal(t->n_dims, rank_of(nets[i].w[j].dim));
            assert_int_equal(t->raw_data.len, (size_t)n * sizeof *w);
            memcpy(w, t->raw_data.data, t->raw_data.len);
            for (int k = 0; k < n; k++) {
                if ((v[k] != 0) != (w[k] != 0)) fail_msg("%s: the mask changed", nets[i].name);
                changed += v[k] != w[k];
            }
            assert_true(changed > 0);
        }
        onnx__model_proto__free_unpacked(m, NULL);
        free(b.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients),
        cmocka_unit_test(exported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
