/* test_trained.c - the rule for what is trained, row by row: names and shapes are those that
 * exporters write, PyTorch's (2.13, dynamo=True, and TorchScript), tf2onnx's and Paddle's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/rng.h"
#include "runtime/model/made_up.h"
#include "runtime/onnxtrain.h"
#include "tests/model.h"

enum { BATCH = 2, TIME = 6, WIDTH = 8, MOST = 4096 };

/* Inputs: x [2,6,8], image [2,8,4,4], ids [2,6], t [2] (integers), and the output is y.
 * nodes: "Op inputs > outputs ; attributes", one a line.
 * constants: "name[dims]=contents", contents: random where there are none, ones, zeros, mask (zeros
 * and ones), closed (zeros and -inf), far (zeros and -1e9), up (zeros and 1e9), nan, inf, sqrt2,
 * half; "*" before a name: a Constant node makes it; "!" a parameter and "~" a buffer by the file's
 * note. want: "name:reason", "-" for what is no weight at all. */
static const struct row {
    const char *what, *nodes, *constants, *want;
} rows[] = {
    {"operands of Where", "MatMul x q > s\nWhere causal s fill > m\nSoftmax m > y",
     "q[8,8] fill[]=inf causal?[6,8]", "q:trained fill:constant"},
    {"operands of Where, larger", "MatMul x q > s\nWhere causal s fill > m\nSoftmax m > y",
     "q[8,8] fill[6,8] causal?[6,8]", "q:trained fill:constant"},
    {"operands of Where, a Constant", "MatMul x q > s\nWhere causal fill s > m\nSoftmax m > y",
     "q[8,8] *fill[6,8] causal?[6,8]", "q:trained fill:-"},
    {"a parameter in Where", "MatMul x q > s\nWhere causal s token > y",
     "q[8,8] !token[8] causal?[6,1]", "q:trained token:trained"},
    {"a weight behind Where", "Where causal w zero > v\nMatMul x v > y",
     "w[8,8] zero[] causal?[8,8]", "w:trained zero:constant"},
    {"a weight and its mask", "Mul w mask > v\nMatMul x v > y", "w[8,8] mask[8,8]=mask",
     "w:trained mask:-"}, /* folded into w */
    {"a folded weight and its mask", "Mul onnx::Mul_1 onnx::Mul_2 > v\nMatMul x v > y",
     "onnx::Mul_1[8,8] onnx::Mul_2[8,8]=mask", "onnx::Mul_1:trained onnx::Mul_2:-"},
    {"weight normalisation", "Mul val_1 val_2 > v\nMul v two > w\nConv image w > y",
     "val_1[8,8,3,3] val_2[8,1,1,1] two[]", "val_1:trained val_2:trained two:constant"},
    {"a folded transpose", "MatMul x val_110 > a\nAdd a val_3 > y", "val_110[8,8] val_3[8]",
     "val_110:trained val_3:trained"},
    {"TorchScript", "MatMul x onnx::MatMul_12 > a\nAdd encoder.0.bias a > y",
     "onnx::MatMul_12[8,8] encoder.0.bias[8]", "onnx::MatMul_12:trained encoder.0.bias:trained"},
    {"tf2onnx",
     "MatMul x dense/MatMul/ReadVariableOp:0 > a\nAdd a const_fold_opt__9 > b\n"
     "Mul b model/mul/y:0 > y",
     "dense/MatMul/ReadVariableOp:0[8,8] const_fold_opt__9[8] model/mul/y:0[6,8]",
     "dense/MatMul/ReadVariableOp:0:trained const_fold_opt__9:trained model/mul/y:0:table"},
    {"Paddle", "Conv image conv2d_0.w_0 > a\nAdd a Constant_4 > b\nMul b p2o.Reshape.3 > y",
     "conv2d_0.w_0[8,8,1,1] Constant_4[1,8,1,1] p2o.Reshape.3[1,1,4,4]",
     "conv2d_0.w_0:trained Constant_4:trained p2o.Reshape.3:table"},
    {"Constant nodes", "MatMul x w > a\nAdd a b > c\nGemm c v d > y", "*w[8,8] *b[8] *v[8,8] *d[8]",
     "w:trained b:- v:trained d:trained"},
    {"scalars", "Mul x half > a\nAdd a one > b\nMatMul b w > y", "half[] one[1] w[8,8]",
     "half:constant one:constant w:trained"},
    {"made-up scalars", "Mul x val_64 > a\nAdd a /Constant_output_0 > b\nMatMul b w > y",
     "val_64[] /Constant_output_0[1] w[8,8]", "val_64:- /Constant_output_0:- w:trained"},
    {"a scalar parameter", "Mul x s > a\nMatMul a w > y", "!s[] w[8,8]", "s:trained w:trained"},
    {"the bias of one feature", "MatMul x w > a\nAdd a b > y", "w[8,1] b[1]",
     "w:trained b:trained"},
    {"a number for all features", "MatMul x w > a\nAdd a b > y", "w[1,8] b[1]",
     "w:trained b:constant"},
    {"not finite", "MatMul x w > a\nAdd a b > c\nMatMul c v > y", "w[8,8] !b[8]=nan v[8,8]=nan",
     "w:trained b:constant v:constant"},
    {"a mask that is added", "MatMul x w > a\nAdd a mask > b\nSoftmax b > y",
     "w[8,8] mask[6,8]=closed", "w:trained mask:mask"},
    {"a mask that is subtracted", "MatMul x w > a\nSub a mask > b\nSoftmax b > y",
     "w[8,8] mask[6,8]=up", "w:trained mask:mask"},
    {"a mask by Gather", "Gather mask ids > m\nMatMul x w > a\nAdd a m > b\nSoftmax b > y",
     "w[8,8] mask[6,8]=closed", "w:trained mask:mask"},
    {"a mask by Gather, of ones", "Gather mask ids > m\nMatMul x w > a\nMul a m > y",
     "w[8,8] mask[6,8]=mask", "w:trained mask:mask"},
    {"a mask that multiplies", "MatMul x w > a\nMul a mask > y", "w[8,8] mask[6,8]=mask",
     "w:trained mask:mask"},
    {"a mask by a fraction", "Div w mask > v\nMatMul x v > y", "w[8,8] mask[8,8]",
     "w:trained mask:trained"},
    {"the second bias", "Gemm x w b > a\nAdd a view > y", "w[8,8] b[8] view[8]=mask",
     "w:trained b:trained view:table"},
    {"scale and bias behind a product",
     "Conv image w b > a\nMul a unsqueeze_1 > c\n"
     "Add c val_2 > y",
     "w[8,8,1,1] b[8] unsqueeze_1[8,1,1] val_2[8,1,1]",
     "w:trained b:trained unsqueeze_1:trained val_2:table"},
    {"cos and sin of positions",
     "MatMul x val_1 > q\nMul q unsqueeze_14 > a\n"
     "Mul unsqueeze_15 q > b\nAdd a b > y",
     "val_1[8,8] unsqueeze_14[1,6,8] unsqueeze_15[1,6,8]",
     "val_1:trained unsqueeze_14:table unsqueeze_15:table"},
    {"frequencies of time steps",
     "Cast t > f ; to=1\nUnsqueeze f one > u\nMul u unsqueeze_1 > a\n"
     "Sin a > b\nMatMul b w > y",
     "unsqueeze_1[1,8] one#[1] w[8,8]", "unsqueeze_1:table w:trained"},
    {"frequencies of positions by a product",
     "Cast t > f ; to=1\nUnsqueeze f one > u\n"
     "MatMul expand_2 u > a\nCos a > b\nMatMul w b > y",
     "expand_2[2,4,1] one#[1] w[8,4]", "expand_2:table w:trained"},
    {"positions under a module's name", "MatMul x w > a\nAdd a pos_embed > y",
     "w[8,8] pos_embed[1,6,8]", "w:trained pos_embed:trained"},
    {"folded positions", "Gather embed.weight ids > a\nAdd a embedding_1 > y",
     "embed.weight[10,8] embedding_1[1,6,8]", "embed.weight:trained embedding_1:table"},
    {"positions of a file with notes", "MatMul x w > a\nAdd a p > b\nAdd b pos.weight > y",
     "!w[8,8] p[6,8] pos.weight[6,8]", "w:trained p:table pos.weight:trained"},
    {"a token", "MatMul x w > a\nConcat expand a > y ; axis=1", "w[8,8] expand[1,1,8]",
     "w:trained expand:trained"},
    {"a token for each sample", "MatMul x w > a\nConcat expand a > y ; axis=1",
     "w[8,8] expand[2,1,8]", "w:trained expand:table"},
    {"filling up", "MatMul x w > a\nConcat full_1 a > y ; axis=1", "w[8,8] full_1[1,1,8]=zeros",
     "w:trained full_1:table"},
    {"an embedding", "Gather onnx::Gather_5 ids > a\nMatMul a w > y", "onnx::Gather_5[10,8] w[8,8]",
     "onnx::Gather_5:trained w:trained"},
    {"an embedding by a Constant", "Gather e ids > a\nMatMul a w > y", "*e[10,8] w[8,8]",
     "e:trained w:trained"},
    {"a GroupNormalization spelled out",
     "Reshape image three > a\nInstanceNormalization a val_17 val_20 > b\nReshape b four > c\n"
     "Mul c val_30 > d\nAdd d val_32 > y",
     "val_17[2]=ones val_20[2]=zeros val_30[8,1,1]=ones val_32[8,1,1]=zeros three#[3] four#[4]",
     "val_17:constant val_20:constant val_30:trained val_32:trained"},
    {"several of them",
     "Reshape image three > a\nInstanceNormalization a val_17 val_20 > b\nReshape b four > c\n"
     "Mul c val_30 > d\nReshape d three > e\nInstanceNormalization e val_17 val_20 > y",
     "val_17[2]=ones val_20[2]=zeros val_30[8,1,1] three#[3] four#[4]",
     "val_17:constant val_20:constant val_30:trained"},
    {"norms that learn",
     "InstanceNormalization image norm.weight norm.bias > a\n"
     "InstanceNormalization a val_1 val_2 > y",
     "norm.weight[8]=ones norm.bias[8]=zeros val_1[8]=ones val_2[8]",
     "norm.weight:trained norm.bias:trained val_1:trained val_2:trained"},
    {"a norm that does not", "LayerNormalization x val_1 > a\nMatMul a w > y",
     "val_1[8]=ones w[8,8]", "val_1:constant w:trained"},
    {"a norm of roots", "Mul x x > p\nReduceMean p > m\nSqrt m > r\nDiv x r > a\nMul add_12 a > y",
     "add_12[8]", "add_12:trained"},
    {"statistics", "BatchNormalization image s b m v > y", "s[8] b[8] m[8] v[8]",
     "s:trained b:trained m:statistic v:statistic"},
    {"buffers", "MatMul x w > a\nMul a p > b\nAdd b c > d\nAdd d mask > y",
     "!w[8,8] ~p[6,8] ~c[1] ~mask[6,8]=far", "w:trained p:table c:constant mask:mask"},
    {"buffers as weights", "MatMul x w > y", "~w[8,8]", "w:table"},
    {"parameters elsewhere", "Sigmoid g > s\nMul x s > a\nMatMul a w > y", "!g[8] w[8,8]",
     "g:trained w:trained"},
    {"functions of weights", "Exp block.A_log > s\nExp val_1 > u\nMul x s > a\nMul a u > y",
     "block.A_log[6,8] val_1[6,8]", "block.A_log:trained val_1:-"},
    {"numbers that decide a shape", "Floor scales > f\nCast f > s ; to=7\nReshape x s > y",
     "scales[2]", "scales:-"},
    {"halves of floats", "Cast w > v ; to=1\nMatMul x v > y", "w[8,8]", "w:trained"},
};

/* ---- models ---- */

struct constant {
    char name[64], contents[16], kind; /* 0, or one of *!~?# */
    int rank;
    int64_t dim[8];
};

static void read_constant(const char *text, struct constant *c) {
    *c = (struct constant){.kind = strchr("*!~", *text) ? *text : 0};
    if (c->kind) text++;
    const char *open = strrchr(text, '['), *close = strrchr(text, ']');
    size_t n = (size_t)(open - text);
    if (strchr("?#", text[n - 1])) c->kind = text[--n];
    memcpy(c->name, text, n);
    for (char *s = (char *)(uintptr_t)open + 1; s < close; s += *s == ',')
        c->dim[c->rank++] = strtoll(s, &s, 10);
    strcpy(c->contents, *++close == '=' ? close + 1 : "random");
}

static float element(const struct constant *c, int64_t i, int64_t n) {
    const char *s = c->contents;
    const bool odd = i % 2;
    if (!strcmp(s, "ones") || !strcmp(s, "mask")) return *s == 'o' || odd;
    if (!strcmp(s, "zeros")) return 0;
    if (!strcmp(s, "closed")) return odd ? -INFINITY : 0;
    if (!strcmp(s, "far") || !strcmp(s, "up")) return odd ? *s == 'u' ? 1e9f : -1e9f : 0;
    if (!strcmp(s, "nan") && i == n / 2) return NAN;
    if (!strcmp(s, "inf")) return -INFINITY;
    if (!strcmp(s, "sqrt2") || !strcmp(s, "half")) return *s == 's' ? 1.41421356f : 0.5f;
    return ot_random_normal(3, (uint64_t)c->name[0], (uint64_t)i);
}

static void note(struct test_model *m, const struct constant *c) {
    struct wire *w = &m->wire;
    wire_begin(w, 13);
    wire_string(w, 1, c->name);
    wire_entry(w, 4, "pkg.torch.export.graph_signature.InputSpec.kind",
               c->kind == '!' ? "PARAMETER" : "BUFFER");
    wire_end(w);
}

static void add_constant(struct test_model *m, const struct constant *c) {
    static const int64_t numbers[] = {1, 1, 1, 1, 1, 1, 1, 1};
    float value[MOST];
    bool truth[MOST];
    int64_t n = 1;
    for (int i = 0; i < c->rank; i++) n *= c->dim[i];
    assert_true(n <= MOST);
    for (int64_t i = 0; i < n; i++) {
        value[i] = element(c, i, n);
        truth[i] = value[i] > 0 || !c->rank || i % c->dim[c->rank - 1] == 0;
    }
    if (c->kind == '#') {
        model_ints(m, c->name, (int)n, numbers);
    } else if (c->kind == '?') {
        wire_open_tensor(&m->wire, 5, c->name, OT_BOOL, c->rank, c->dim);
        wire_bytes(&m->wire, 9, truth, (size_t)n);
        wire_end(&m->wire);
    } else if (c->kind == '*') {
        wire_open_node(&m->wire, "Constant", "", c->name);
        wire_begin(&m->wire, 5);
        wire_string(&m->wire, 1, "value");
        wire_floats(&m->wire, 5, "", c->rank, c->dim, value);
        wire_int(&m->wire, 20, 4);
        wire_end(&m->wire);
        wire_end(&m->wire);
    } else {
        model_floats(m, c->name, c->rank, c->dim, value);
    }
    if (c->kind && strchr("!~", c->kind)) note(m, c);
}

static void add_constants(struct test_model *m, const char *text) {
    char copy[512], *rest = NULL;
    struct constant c;
    strcpy(copy, text);
    for (char *s = strtok_r(copy, " ", &rest); s; s = strtok_r(NULL, " ", &rest)) {
        read_constant(s, &c);
        add_constant(m, &c);
    }
}

static void add_nodes(struct test_model *m, const char *text) {
    char copy[512], *rest = NULL;
    strcpy(copy, text);
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *attributes = strstr(line, " ; ");
        char *outputs = strstr(line, " > "), *inputs = strchr(line, ' ');
        if (attributes) *attributes = 0;
        *outputs = *inputs = 0;
        model_node(m, line, inputs + 1, outputs + 3, attributes ? attributes + 3 : "");
    }
}

static ot_session *opened(const struct row *row) {
    static const int64_t x[] = {BATCH, TIME, WIDTH}, image[] = {BATCH, WIDTH, 4, 4};
    struct test_model m;
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    model_begin(&m, 17);
    model_input(&m, "x", OT_FLOAT, 3, x);
    model_input(&m, "image", OT_FLOAT, 4, image);
    model_input(&m, "ids", OT_INT64, 2, x);
    model_input(&m, "t", OT_INT64, 1, x);
    add_constants(&m, row->constants);
    add_nodes(&m, row->nodes);
    model_output(&m, "y", OT_FLOAT, 3, x);
    if (model_open(&m, NULL, &s, &err)) fail_msg("%s: %s", row->what, err.message);
    return s;
}

static int number_of(const ot_session *s, const char *name, ot_parameter_info *info) {
    for (int i = 0; i < ot_parameter_count(s); i++)
        if (!ot_get_parameter(s, i, info, NULL) && !strcmp(info->name, name)) return i;
    return -1;
}

/* ---- steps ---- */

struct feed {
    ot_tensor in[4];
};

/* All inputs of the model; mse, SGD with weight decay. */
static void begin(ot_session *s, struct feed *f, const float *x) {
    const ot_loss_options mse = {.kind = OT_LOSS_MSE};
    const ot_optimizer_options sgd = {.lr = 0.1f, .weight_decay = 0.1f};
    f->in[0] = (ot_tensor){OT_FLOAT, 3, {BATCH, TIME, WIDTH}, x};
    f->in[1] = (ot_tensor){OT_FLOAT, 4, {BATCH, WIDTH, 4, 4}, calloc(BATCH * WIDTH * 16, 4)};
    f->in[2] = (ot_tensor){OT_INT64, 2, {BATCH, TIME}, calloc(BATCH * TIME, 8)};
    f->in[3] = (ot_tensor){OT_INT64, 1, {BATCH}, calloc(BATCH, 8)};
    assert_int_equal(ot_set_loss(s, &mse, NULL), OT_OK);
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
}

static void end(struct feed *f) {
    for (int i = 1; i < 4; i++) free((void *)(uintptr_t)f->in[i].data);
}

/* A training step with x as target, and the loss before it. */
static double step(ot_session *s, const struct feed *f) {
    ot_result result;
    ot_error err = {OT_OK, ""};
    if (ot_train_step(s, f->in, 4, &f->in[0], &result, &err) || ot_optimizer_step(s, &err))
        fail_msg("%s", err.message);
    return result.loss;
}

/* The first element of the output. */
static float run(ot_session *s, const struct feed *f) {
    ot_tensor y;
    assert_int_equal(ot_run(s, f->in, 4, &y, 1, NULL), OT_OK);
    return *(const float *)y.data;
}

static const char *path(void) {
    static char name[64];
    snprintf(name, sizeof name, "/tmp/test_trained.%d", (int)getpid());
    return name;
}

/* ---- tests ---- */

static void each_row(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ot_session *s = opened(&rows[i]);
        char copy[512], *rest = NULL;
        strcpy(copy, rows[i].want);
        for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
            char *reason = strrchr(w, ':');
            ot_parameter_info info;
            *reason++ = 0;
            const bool listed = number_of(s, w, &info) >= 0;
            const char *is = listed ? ot_fixed_reason_name(info.fixed) : "-";
            if (strcmp(is, reason) != 0)
                fail_msg("%s: '%s' is %s, not %s", rows[i].what, w, is, reason);
            if (listed) assert_int_equal(info.is_trainable, info.fixed == OT_TRAINED);
        }
        ot_close(s);
    }
}

/* ot_set_trainable wins over the rule, but not over infinities. */
static void on_demand(void **state) {
    (void)state;
    const struct row row = {"on demand",
                            "MatMul x w > a\nMul a unsqueeze_1 > b\nAdd b far > c\n"
                            "Add c lost > y",
                            "w[8,8] unsqueeze_1[6,8] far[6,8]=far lost[6,8]=closed", ""};
    ot_session *s = opened(&row);
    ot_parameter_info info;
    assert_int_equal(ot_set_trainable(s, "unsqueeze_1", 1, NULL), OT_OK);
    number_of(s, "unsqueeze_1", &info);
    assert_int_equal(info.fixed, OT_TRAINED);
    assert_int_equal(ot_set_trainable(s, "w", 0, NULL), OT_OK);
    number_of(s, "w", &info);
    assert_int_equal(info.fixed, OT_FIXED_FROZEN);
    assert_int_equal(ot_set_trainable(s, "far", 0, NULL), OT_OK);
    number_of(s, "far", &info);
    assert_int_equal(info.fixed, OT_FIXED_MASK);
    assert_int_equal(ot_set_trainable(s, "lost", 1, NULL), OT_ERROR_ARGUMENT);
    assert_int_equal(ot_set_trainable(s, "*", 1, NULL), OT_OK);
    number_of(s, "lost", &info);
    assert_int_equal(info.fixed, OT_FIXED_MASK);
    number_of(s, "w", &info);
    assert_int_equal(info.fixed, OT_TRAINED);
    ot_close(s);
}

/* A number of a formula is folded; once somebody trains or writes it, it is a weight, saved and
 * exported. A Gelu with a factor of its own is none that an operator stands for. */
static void numbers_on_demand(void **state) {
    (void)state;
    const struct row row = {"number",
                            "Div x root > a\nErf a > b\nAdd b one > c\nMul x c > d\n"
                            "Mul d half > e\nMatMul e w > y",
                            "root[]=sqrt2 one[]=ones half[]=half w[8,8]", ""};
    float x[BATCH * TIME * WIDTH], half, loaded;
    for (int i = 0; i < BATCH * TIME * WIDTH; i++) x[i] = ot_random_normal(4, 0, (uint64_t)i);
    double loss[2][3];
    for (int wanted = 0; wanted < 2; wanted++) {
        struct feed feed;
        ot_session *s = opened(&row), *t = opened(&row);
        ot_parameter_info info;
        ot_model_info model;
        const int k = number_of(s, "half", &info);
        assert_int_equal(info.fixed, OT_FIXED_CONSTANT);
        ot_get_model_info(s, &model);
        assert_int_equal(model.parameters, WIDTH * WIDTH);
        begin(s, &feed, x);
        step(s, &feed); /* a plan that has folded it */
        if (wanted) assert_int_equal(ot_set_trainable(s, "half", 1, NULL), OT_OK);
        for (int i = 0; i < 3; i++) loss[wanted][i] = step(s, &feed);
        assert_int_equal(ot_read_parameter(s, k, &half, NULL), OT_OK);
        assert_int_equal(half != 0.5f, wanted);
        assert_int_equal(ot_save_checkpoint(s, path(), NULL, 0, NULL), OT_OK);
        assert_int_equal(ot_load_checkpoint(t, path(), NULL, NULL, NULL), OT_OK);
        unlink(path());
        assert_int_equal(ot_read_parameter(t, k, &loaded, NULL), OT_OK);
        assert_true(loaded == half);
        assert_true(run(t, &feed) == run(s, &feed));
        assert_int_equal(ot_export_onnx(s, path(), NULL, NULL), OT_OK);
        ot_close(t);
        assert_int_equal(ot_open(path(), NULL, &t, NULL), OT_OK);
        unlink(path());
        assert_true(run(t, &feed) == run(s, &feed));
        const float twice = 1;
        assert_int_equal(ot_write_parameter(t, k, &twice, NULL), OT_OK);
        /* with another half the nodes run one by one: the same function, rounded elsewhere */
        if (!wanted) assert_true(fabs(run(t, &feed) / (2 * run(s, &feed)) - 1) < 1e-6);
        ot_close(t);
        ot_close(s);
        end(&feed);
    }
    assert_true(fabs(loss[0][0] - loss[1][0]) < 1e-6 && fabs(loss[0][2] - loss[1][2]) > 1e-6);
}

/* Weight decay times an infinity would be an infinity, and times zero NaN. */
static void infinities_stay(void **state) {
    (void)state;
    float x[BATCH * TIME * WIDTH];
    for (int i = 0; i < BATCH * TIME * WIDTH; i++) x[i] = ot_random_normal(4, 0, (uint64_t)i);
    for (int r = 0; r < 3; r++) {
        struct feed feed;
        ot_session *s = opened(&rows[r]);
        double before = 0;
        begin(s, &feed, x);
        for (int i = 0; i < 3; i++) {
            const double loss = step(s, &feed);
            assert_true(isfinite(loss) && loss != before);
            before = loss;
        }
        ot_close(s);
        end(&feed);
    }
}

static void names(void **state) {
    (void)state;
    static const char *const made_up[] = {"127",
                                          "onnx::MatMul_12",
                                          "/attn/Slice_output_0",
                                          "/Constant_output_0",
                                          "val_110",
                                          "tmp_3",
                                          "unsqueeze_14",
                                          "where",
                                          "_to_copy_2",
                                          "slice_tensor_3",
                                          "index_select",
                                          "embedding_1",
                                          "mul",
                                          "cumsum_1",
                                          "c_lifted_tensor_0",
                                          "_tensor_constant0",
                                          "const_fold_opt__55",
                                          "zero__7",
                                          "model/add/y:0",
                                          "model/Const_2:0",
                                          "p2o.Reshape.3",
                                          "assign_0.tmp_0",
                                          "ortshared_1_0_1_0_token_12",
                                          "Constant_5",
                                          "Constant318",
                                          "Plus214_Output_0",
                                          "view",
                                          "Reshape_7",
                                          "slice_scatter_1",
                                          "lift_fresh_copy"};
    static const char *const given[] = {"encoder.0.bias",
                                        "pos_embed",
                                        "dense/BiasAdd/ReadVariableOp:0",
                                        "conv2d_0.w_0",
                                        "Parameter194",
                                        "W",
                                        "b",
                                        "fc1_weight",
                                        "gamma",
                                        "embeddings.position_embeddings.weight",
                                        "positions",
                                        "embedding.weight",
                                        "w_1",
                                        "pos_1",
                                        "scale",
                                        "cls_token",
                                        "conv1",
                                        "l2.mul.w",
                                        "A_log",
                                        "relative_position_bias_table",
                                        "batch_norm_0.w_1",
                                        "logit_scale",
                                        "fill_value"};
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++)
        if (!ot_name_is_made_up(made_up[i])) fail_msg("'%s' is made up", made_up[i]);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (ot_name_is_made_up(given[i])) fail_msg("'%s' is not made up", given[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),
        cmocka_unit_test(on_demand),
        cmocka_unit_test(numbers_on_demand),
        cmocka_unit_test(infinities_stay),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
