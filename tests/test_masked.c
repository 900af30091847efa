/* test_masked.c - masks that are tensors of the graph: a weight gets their pattern, trains as where
 * the masks are inputs of the model, for ordinary operators, and is written back as it stood. */
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

enum { BATCH = 5, STEPS = 4, MOST = 2048, TENSORS = 4 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* A network from x to y, "Op inputs > output ; attributes" a line. Tensors w and v are weights, s
 * is a factor of any numbers, o of ones, e of zeros; the others are masks: floats, b of booleans, n
 * what b closes, i of int64. Each is filled by its name. */
static const struct net {
    const char *name, *nodes;
    int slots; /* of w, in percent of what the mask m alone lets through; -1: w has no pattern */
    int64_t x[4];
    struct {
        const char *name;
        int64_t dim[4];
    } tensor[TENSORS];
} nets[] = {
    {"right",
     "Mul w m > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"left", "Mul m w > a\nMatMul x a > y", 100, {BATCH, 10}, {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"select",
     "Where b w zero > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"b", {10, 12}}}},
    {"reject",
     "Where n zeros w > a\nGemm x a > y",
     100,
     {BATCH, 10},
     {{"w", {10, 12}}, {"n", {10, 12}}}},
    {"cast",
     "Cast b > c ; to=1\nMul w c > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"b", {10, 12}}}},
    {"not",
     "Not n > t\nCast t > c ; to=1\nIdentity c > d\nMul d w > a\nMatMul x a > y",
     100,
     {BATCH, 10},
     {{"w", {10, 12}}, {"n", {10, 12}}}},
    {"compared",
     "Cast i > f ; to=1\nGreater f half > t\nCast t > c ; to=1\nMul w c > a\n"
     "Gemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"i", {10, 12}}}},
    {"rows",
     "Mul w m > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 1}}}},
    {"columns",
     "Mul w m > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {12}}}},
    {"lifted",
     "Unsqueeze m one > c\nMul c w > a\nGemm x a > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10}}}},
    {"filters",
     "Mul w m > a\nConv x a > y ; pads=1,1,1,1",
     100,
     {BATCH, 3, 5, 5},
     {{"w", {6, 3, 3, 3}}, {"m", {6, 1, 1, 1}}}},
    {"channels",
     "Mul w m > a\nConv x a > y",
     100,
     {BATCH, 4, 5, 5},
     {{"w", {6, 4, 3, 3}}, {"m", {1, 4, 1, 1}}}},
    {"twice",
     "Mul w m > a\nMul k a > b2\nGemm x b2 > y ; transB=1",
     40,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}, {"k", {10, 12}}}},
    {"moved first",
     "Transpose w > t ; perm=1,0\nMul t m > a\nMatMul x a > y",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {12, 10}}}},
    {"moved then",
     "Mul w m > a\nTranspose a > t ; perm=1,0\nMatMul x t > y",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"halves",
     "Slice w i0 i5 i0 > p\nSlice w i5 i10 i0 > q\nMul p m > a\nMul q k > c\n"
     "Concat a c > d ; axis=0\nGemm x d > y ; transB=1",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {5, 12}}, {"k", {5, 12}}}},
    {"shared mask",
     "Mul w m > a\nMul v m > c\nGemm x a > t ; transB=1\nRelu t > r\n"
     "MatMul r c > y",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"v", {10, 12}}, {"m", {10, 12}}}},
    {"shared weight",
     "Mul w m > a\nMul w m > c\nGemm x a > t ; transB=1\nRelu t > r\n"
     "MatMul r c > y",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"two masks",
     "Mul w m > a\nMul w k > c\nGemm x a > t ; transB=1\nRelu t > r\n"
     "MatMul r c > y",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}, {"k", {10, 12}}}},
    {"also bare",
     "Mul w m > a\nGemm x a > t ; transB=1\nRelu t > r\nMatMul r w > y",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"soft",
     "Mul w s > a\nGemm x a > y ; transB=1",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"s", {10, 12}}}},
    {"ones",
     "Mul w o > a\nGemm x a > y ; transB=1",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"o", {10, 12}}}},
    {"closed",
     "Mul w e > a\nGemm x a > y ; transB=1",
     0,
     {BATCH, 12},
     {{"w", {10, 12}}, {"e", {10, 12}}}},
    {"shown",
     "Mul w m > a\nGemm x a > t ; transB=1\nMatMul t a > y",
     100,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10, 12}}}},
    {"bias",
     "Mul v m > c\nGemm x w c > y ; transB=1",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"v", {10}}, {"m", {10}}}},
    {"gate",
     "Gemm x w > t ; transB=1\nMul t m > y",
     -1,
     {BATCH, 12},
     {{"w", {10, 12}}, {"m", {10}}}},
};

/* ---- models ---- */

static int rank_of(const int64_t *dim) {
    int rank = 0;
    while (rank < 4 && dim[rank]) rank++;
    return rank;
}

static int count_of(const int64_t *dim) {
    int n = 1;
    for (int i = 0; i < 4 && dim[i]; i++) n *= (int)dim[i];
    return n;
}

static bool is_open(const char *name, int i) {
    return ot_random_float(11, (uint64_t)*name, (uint64_t)i) < 0.4f;
}

/* Fills what has this name; the size of an element. */
static size_t fill(const char *name, int n, void *data, int *type) {
    float *f = data;
    *type = strchr("bn", *name) ? OT_BOOL : *name == 'i' ? OT_INT64 : OT_FLOAT;
    for (int i = 0; i < n; i++) {
        if (strchr("wvs", *name))
            f[i] = ot_random_normal(4, (uint64_t)*name, (uint64_t)i);
        else if (strchr("oe", *name))
            f[i] = (float)(*name == 'o');
        else if (*name == 'i')
            ((int64_t *)data)[i] = is_open("m", i);
        else if (*name == 'b')
            ((uint8_t *)data)[i] = is_open("m", i);
        else if (*name == 'n')
            ((uint8_t *)data)[i] = !is_open("m", i);
        else
            f[i] = is_open(name, i);
    }
    if (strchr("wv", *name) && n > 1) f[1] = 0; /* under a one, it is a value */
    return *type == OT_BOOL ? 1 : *type == OT_INT64 ? 8 : 4;
}

static void add_tensor(struct test_model *m, const char *name, const int64_t *dim) {
    int64_t data[MOST];
    int type;
    const int n = count_of(dim);
    const size_t size = fill(name, n, data, &type);
    wire_open_tensor(&m->wire, 5, name, type, rank_of(dim), dim);
    wire_bytes(&m->wire, 9, data, (size_t)n * size);
    wire_end(&m->wire);
}

static void add_nodes(struct test_model *m, const char *nodes) {
    char buffer[1024], *next = NULL;
    snprintf(buffer, sizeof buffer, "%s", nodes);
    for (char *line = strtok_r(buffer, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *in = strchr(line, ' '), *out = strstr(line, " > "), *attributes = strstr(line, " ; ");
        *in++ = *out = 0;
        if (attributes) *attributes = 0;
        model_node(m, line, in, out + 3, attributes ? attributes + 3 : "");
    }
}

static bool is_weight(const char *name) { return *name == 'w' || *name == 'v'; }

/* fed: masks are inputs. */
static struct bytes model(const struct net *net, bool fed) {
    static const float zeros[120];
    struct test_model m;
    struct bytes b;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, rank_of(net->x), net->x);
    for (int i = 0; i < TENSORS && net->tensor[i].name; i++) {
        const char *name = net->tensor[i].name;
        const int64_t *dim = net->tensor[i].dim;
        int64_t data[MOST];
        int type;
        fill(name, 0, data, &type);
        if (fed && !is_weight(name))
            model_input(&m, name, type, rank_of(dim), dim);
        else
            add_tensor(&m, name, dim);
    }
    model_ints(&m, "i0", 1, DIMS(0));
    model_ints(&m, "i5", 1, DIMS(5));
    model_ints(&m, "i10", 1, DIMS(10));
    model_ints(&m, "one", 1, DIMS(1));
    model_floats(&m, "zero", 0, NULL, zeros);
    model_floats(&m, "half", 0, NULL, (const float[]){0.5f});
    model_floats(&m, "zeros", 2, DIMS(10, 12), zeros);
    add_nodes(&m, net->nodes);
    model_output(&m, "y", OT_FLOAT, -1, NULL);
    if (!strcmp(net->name, "shown")) model_output(&m, "a", OT_FLOAT, -1, NULL);
    b.data = model_finish(&m, &b.size);
    return b;
}

static ot_session *open_bytes(struct bytes b, const ot_options *options) {
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    if (ot_open_buffer(b.data, b.size, options, &s, &err)) fail_msg("%s", err.message);
    const ot_loss_options loss = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.05f, .momentum = 0.9f};
    assert_int_equal(ot_set_loss(s, &loss, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

/* The loss of a training step. */
static double step(ot_session *s, const struct net *net) {
    static float x[MOST], y[MOST];
    static int64_t data[TENSORS][MOST];
    ot_tensor in[1 + TENSORS] = {{OT_FLOAT, rank_of(net->x), {0}, x}}, target;
    ot_result result;
    ot_error err = {OT_OK, ""};
    const int n = ot_input_count(s);
    memcpy(in[0].dim, net->x, sizeof net->x);
    for (int i = 0; i < MOST; i++) x[i] = ot_random_normal(5, 1, (uint64_t)i);
    for (int i = 0; i < MOST; i++) y[i] = ot_random_normal(6, 1, (uint64_t)i);
    for (int i = 0, k = 1; k < n; i++) {
        if (is_weight(net->tensor[i].name)) continue;
        int type;
        fill(net->tensor[i].name, count_of(net->tensor[i].dim), data[i], &type);
        in[k] = (ot_tensor){(ot_type)type, rank_of(net->tensor[i].dim), {0}, data[i]};
        memcpy(in[k++].dim, net->tensor[i].dim, sizeof net->tensor[i].dim);
    }
    if (ot_run(s, in, n, &target, 1, &err)) fail_msg("%s: %s", net->name, err.message);
    target.data = y;
    if (ot_train_step(s, in, n, &target, &result, &err)) fail_msg("%s: %s", net->name, err.message);
    if (ot_optimizer_step(s, &err)) fail_msg("%s: %s", net->name, err.message);
    return result.loss;
}

static const struct net *net_named(const char *name) {
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if (!strcmp(nets[i].name, name)) return &nets[i];
    fail_msg("there is no net '%s'", name);
    return NULL;
}

static int find(const ot_session *s, const char *name, ot_parameter_info *info) {
    for (int i = 0; i < ot_parameter_count(s); i++)
        if (!ot_get_parameter(s, i, info, NULL) && !strcmp(info->name, name)) return i;
    return -1;
}

/* ---- tests ---- */

static void each_net(void (*check)(const struct net *net)) {
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) check(&nets[k]);
}

static void has_the_pattern(const struct net *net) {
    struct bytes b = model(net, false);
    ot_session *s = open_bytes(b, NULL);
    ot_parameter_info info;
    assert_true(find(s, "w", &info) >= 0);
    if ((info.structure == OT_STRUCTURE_MASK) != (net->slots >= 0))
        fail_msg("%s: w has structure by %s", net->name, ot_structure_name(info.structure));
    const double share = (double)info.nonzeros / (double)info.elements / 0.4;
    if (net->slots >= 0 && fabs(share - net->slots / 100.0) > 0.5)
        fail_msg("%s: %d slots", net->name, (int)info.nonzeros);
    if (net->slots >= 0) assert_true(info.mask && strchr("mknbie", *info.mask));
    assert_true(info.is_trainable);
    for (const char *mask = "mkbnioe"; *mask; mask++) /* none is trained */
        if (find(s, (const char[]){*mask, 0}, &info) >= 0)
            assert_int_equal(info.fixed, OT_FIXED_MASK);
    ot_close(s);
    free(b.data);
}

static void weights_have_the_pattern(void **state) {
    (void)state;
    each_net(has_the_pattern);
}

/* As where the same masks are inputs, for ordinary operators. */
static void steps_as_ordinary_operators(const struct net *net) {
    if (*net->tensor[1].name == 's') return; /* s is trained where it is no input */
    for (int sparse = OT_SPARSE_AUTO; sparse <= OT_SPARSE_LIVE; sparse++) {
        const ot_options options = {.threads = 2, .sparse = (ot_sparse_mode)sparse};
        struct bytes a = model(net, false), b = model(net, true);
        ot_session *s = open_bytes(a, &options), *ordinary = open_bytes(b, &options);
        assert_int_equal(ot_set_trainable(ordinary, "[wv]", 1, NULL), OT_OK);
        for (int i = 0; i < STEPS; i++) {
            const double is = step(s, net), want = step(ordinary, net);
            if (!(fabs(is - want) <= 1e-5 * fabs(want)))
                fail_msg("%s: loss %.9g, not %.9g, in step %d", net->name, is, want, i);
        }
        ot_close(s);
        ot_close(ordinary);
        free(a.data);
        free(b.data);
    }
}

static void steps_are_those_of_ordinary_operators(void **state) {
    (void)state;
    each_net(steps_as_ordinary_operators);
}

/* In the file, masks are as they were, and the weight where it is closed; elsewhere it is trained,
 * and the file computes what the session did. */
static void file_keeps_what_is_masked(const struct net *net) {
    struct bytes b = model(net, false);
    ot_session *s = open_bytes(b, NULL);
    ot_parameter_info info;
    const int w = find(s, "w", &info);
    float now[MOST];
    ot_error err = {OT_OK, ""};
    for (int i = 0; i < STEPS; i++) step(s, net);
    assert_int_equal(ot_read_parameter(s, w, now, NULL), OT_OK);
    if (ot_export_onnx(s, target(), NULL, &err)) fail_msg("%s", err.message);
    struct bytes out = slurp(target());
    unlink(target());
    Onnx__ModelProto *was = unpack(b), *is = unpack(out);
    assert_int_equal(is->graph->n_node, was->graph->n_node);
    for (size_t i = 0; i < was->graph->n_initializer; i++) {
        const Onnx__TensorProto *from = was->graph->initializer[i];
        const Onnx__TensorProto *to = initializer(is, from->name);
        if (strchr("wvs", *from->name)) continue;
        assert_memory_equal(from->raw_data.data, to->raw_data.data, from->raw_data.len);
    }
    const float *f = (const void *)initializer(was, "w")->raw_data.data;
    const float *t = (const void *)initializer(is, "w")->raw_data.data;
    int kept = 0;
    for (int i = 0; i < info.elements; i++) {
        if (now[i] == 0 && net->slots >= 0)
            assert_true(t[i] == f[i]);
        else
            assert_true(t[i] == now[i]);
        kept += t[i] == f[i];
    }
    if (net->slots >= 0) assert_int_equal(kept, info.elements - info.nonzeros);
    onnx__model_proto__free_unpacked(was, NULL);
    onnx__model_proto__free_unpacked(is, NULL);
    ot_session *again = open_bytes(out, NULL);
    const double after = step(again, net), want = step(s, net);
    if (!(fabs(after - want) <= 1e-6 * fabs(want))) fail_msg("%s", net->name);
    ot_close(again);
    ot_close(s);
    free(b.data);
    free(out.data);
}

static void files_keep_what_is_masked(void **state) {
    (void)state;
    each_net(file_keeps_what_is_masked);
}

/* `!w` leaves the mask to an ordinary operator; a new head has no mask to go with it. */
static void masks_can_be_left_aside(void **state) {
    (void)state;
    const struct net *net = net_named("right");
    const ot_options options = {.mask = "!w"};
    struct bytes b = model(net, false), fed = model(net, true);
    ot_session *s = open_bytes(b, &options), *ordinary = open_bytes(fed, NULL);
    ot_parameter_info info;
    ot_error err;
    find(s, "w", &info);
    assert_int_equal(info.structure, OT_STRUCTURE_NONE);
    assert_true(find(s, "m", &info) >= 0 && info.fixed == OT_FIXED_MASK);
    for (int i = 0; i < STEPS; i++) assert_true(fabs(step(s, net) - step(ordinary, net)) < 1e-5);
    ot_close(s);
    ot_close(ordinary);
    s = open_bytes(b, NULL);
    assert_int_equal(ot_new_head(s, 3, NULL, &err), OT_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "the mask 'm' of the weight 'w'"));
    ot_close(s);
    free(b.data);
    free(fed.data);
}

/* Where it is large enough, sparse kernels compute with the weight, and it takes their memory. */
static void sparse_kernels_run(void **state) {
    (void)state;
    enum { N = 256 };
    static float w[N * N], x[64 * N];
    static uint8_t mask[N * N];
    for (int i = 0; i < N * N; i++) w[i] = ot_random_normal(1, 2, (uint64_t)i);
    for (int i = 0; i < N * N; i++) mask[i] = ot_random_float(1, 3, (uint64_t)i) < 0.05f;
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(64, N));
    model_floats(&m, "w", 2, DIMS(N, N), w);
    wire_open_tensor(&m.wire, 5, "b", OT_BOOL, 2, DIMS(N, N));
    wire_bytes(&m.wire, 9, mask, sizeof mask);
    wire_end(&m.wire);
    add_nodes(&m, "Cast b > c ; to=1\nMul w c > a\nMatMul x a > y");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(64, N));
    struct bytes b;
    b.data = model_finish(&m, &b.size);
    ot_session *s = open_bytes(b, NULL);
    const ot_tensor in = {OT_FLOAT, 2, {64, N}, x};
    ot_parameter_info info;
    ot_memory_info memory;
    ot_result result;
    assert_int_equal(ot_train_step(s, &in, 1, &in, &result, NULL), OT_OK);
    assert_int_equal(ot_parameter_count(s), 1);
    assert_int_equal(ot_get_parameter(s, 0, &info, NULL), OT_OK);
    assert_true(info.is_sparse && info.structure == OT_STRUCTURE_MASK);
    ot_get_memory_info(s, &memory);
    assert_int_equal(memory.gradients, info.nonzeros * 4);
    ot_close(s);
    free(b.data);
}

/* Integers behind DequantizeLinear, which the mask follows. */
static void integers(void **state) {
    (void)state;
    enum { R = 8, C = 6 };
    static const float scale = 0.125f;
    static const int8_t zero;
    int8_t w[R * C];
    float mask[R * C], x[4 * C], y[4 * R];
    for (int i = 0; i < R * C; i++) w[i] = (int8_t)(i * 7 % 50 - 20);
    for (int i = 0; i < R * C; i++) mask[i] = (float)(i % 3 == 1);
    for (int i = 0; i < 4 * C; i++) x[i] = (float)(i % 5) - 2;
    for (int i = 0; i < 4 * R; i++) y[i] = (float)(i % 7) * 4;
    Onnx__ModelProto *m = new_model(8, 13);
    add_input(m, "x", -1, C);
    add_raw(m, "w", OT_INT8, R, C, w, sizeof w);
    add_raw(m, "s", OT_FLOAT, 1, 0, &scale, sizeof scale);
    add_raw(m, "z", OT_INT8, 1, 0, &zero, sizeof zero);
    add_raw(m, "m", OT_FLOAT, R, C, mask, sizeof mask);
    add_node(m, "DequantizeLinear", "w s z", "f");
    add_node(m, "Mul", "f m", "a");
    add_int(add_node(m, "Gemm", "x a", "y"), "transB", 1);
    add_output(m, "y", -1, R);
    struct bytes b = pack_built(m);
    ot_session *s = open_bytes(b, NULL);
    const ot_tensor in = {OT_FLOAT, 2, {4, C}, x}, out = {OT_FLOAT, 2, {4, R}, y};
    ot_parameter_info info;
    ot_result result;
    ot_error err = {OT_OK, ""};
    assert_int_equal(ot_parameter_count(s), 1);
    assert_int_equal(ot_get_parameter(s, 0, &info, NULL), OT_OK);
    assert_int_equal(info.structure, OT_STRUCTURE_MASK);
    assert_int_equal(info.nonzeros, R * C / 3);
    for (int i = 0; i < STEPS; i++) {
        if (ot_train_step(s, &in, 1, &out, &result, &err)) fail_msg("%s", err.message);
        assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    }
    if (ot_export_onnx(s, target(), NULL, &err)) fail_msg("%s", err.message);
    struct bytes made = slurp(target());
    unlink(target());
    Onnx__ModelProto *is = unpack(made);
    const int8_t *now = (const void *)initializer(is, "w")->raw_data.data;
    int changed = 0;
    for (int i = 0; i < R * C; i++) {
        if (mask[i] == 0) assert_int_equal(now[i], w[i]);
        changed += now[i] != w[i];
    }
    assert_true(changed > R * C / 6);
    onnx__model_proto__free_unpacked(is, NULL);
    ot_close(s);
    free(b.data);
    free(made.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_have_the_pattern),
        cmocka_unit_test(steps_are_those_of_ordinary_operators),
        cmocka_unit_test(files_keep_what_is_masked),
        cmocka_unit_test(masks_can_be_left_aside),
        cmocka_unit_test(sparse_kernels_run),
        cmocka_unit_test(integers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
