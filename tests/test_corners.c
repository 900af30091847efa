/* test_corners.c - sessions on models and in orders of calls that are legal and rare, or wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/api/session.h"
#include "runtime/base/rng.h"
#include "tests/model.h"

enum { N = 3, C = 4, MOST = 4096 };

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Normal numbers; a share of 1 - density is zero. Never all of them. */
static void weight(struct test_model *m, const char *name, int rank, const int64_t *dim,
                   double density) {
    float v[MOST];
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dim[i];
    for (size_t i = 0; i < n; i++)
        v[i] = !i || ot_random_float(3, (uint64_t)name[0], i) < density
                   ? 0.5f * ot_random_normal(4, (uint64_t)name[0], i)
                   : 0;
    model_floats(m, name, rank, dim, v);
}

static ot_session *opened(struct test_model *m, const ot_options *o, ot_status *status) {
    ot_session *s = NULL;
    ot_error err = {OT_OK, ""};
    ot_status got = model_open(m, o, &s, &err);
    if (status)
        *status = got;
    else if (got)
        fail_msg("%s", err.message);
    return s;
}

static ot_tensor floats(const float *data, int rank, const int64_t *dim) {
    ot_tensor t = {.type = OT_FLOAT, .rank = rank, .data = data};
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    return t;
}

static float in[MOST];
static const int64_t label[N] = {0, 2, 1};
static const ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {N}, .data = label};

static void fill_input(void) {
    for (int i = 0; i < MOST; i++) in[i] = ot_random_normal(5, 1, (uint64_t)i);
}

static void must(ot_status status, const ot_error *err) {
    if (status) fail_msg("%d: %s", status, err->message);
}

static void set_optimizer(ot_session *s, ot_optimizer_options o) {
    ot_error err;
    must(ot_set_optimizer(s, &o, &err), &err);
}

static double train(ot_session *s, const ot_tensor *x, const ot_tensor *t) {
    ot_error err;
    ot_result r;
    must(ot_train_step(s, x, 1, t, &r, &err), &err);
    return r.loss;
}

static int find(ot_session *s, const char *name) {
    ot_parameter_info info;
    for (int i = 0; !ot_get_parameter(s, i, &info, NULL); i++)
        if (!strcmp(info.name, name)) return i;
    fail_msg("no parameter '%s'", name);
    return -1;
}

/* y = x w + b; w sparse. */
static ot_session *linear(const ot_options *o) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    weight(&m, "w", 2, DIMS(20, C), 0.3);
    weight(&m, "b", 1, DIMS(C), 1);
    model_node(&m, "Gemm", "x w b", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    return opened(&m, o, NULL);
}

/* ---- orders of calls ---- */

static void an_optimizer_set_between_steps_starts_afresh(void **state) {
    (void)state;
    ot_session *s = linear(NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_error err;
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
    train(s, &x, &target);
    set_optimizer(s, (ot_optimizer_options){.kind = OT_ADAM, .lr = 0.1f});
    must(ot_optimizer_step(s, &err), &err);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f, .momentum = 0.9f});
    train(s, &x, &target);
    must(ot_optimizer_step(s, &err), &err);
    ot_close(s);
}

static void bias_alone_trains_as_with_dense_kernels(void **state) {
    (void)state;
    float g[2][C];
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    for (int k = 0; k < 2; k++) {
        ot_session *s = linear(&(ot_options){.sparse = k ? OT_SPARSE_NEVER : OT_SPARSE_ALWAYS});
        set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
        assert_int_equal(ot_set_trainable(s, "w", 0, NULL), OT_OK);
        train(s, &x, &target);
        train(s, &x, &target);
        assert_int_equal(ot_get_gradient(s, find(s, "b"), g[k], NULL), OT_OK);
        ot_close(s);
    }
    for (int i = 0; i < C; i++) assert_float_equal(g[0][i], g[1][i], 1e-5);
}

/* A weight that no gradient reaches stays as it is, weight decay or not, as PyTorch has it. */
static void decay_leaves_unreached_weights_alone(void **state) {
    (void)state;
    struct test_model m;
    float one[C] = {1, 1, 1, 1}, zero[C] = {0}, now[C];
    model_begin(&m, 15);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    weight(&m, "w", 2, DIMS(20, C), 0.3);
    weight(&m, "u", 2, DIMS(20, C), 1);
    const char *const names[] = {"scale", "var", "shift", "mean"};
    for (int i = 0; i < 4; i++) model_floats(&m, names[i], 1, DIMS(C), i < 2 ? one : zero);
    model_node(&m, "MatMul", "x w", "h", "");
    model_node(&m, "BatchNormalization", "h scale shift mean var", "y", "");
    model_node(&m, "MatMul", "x u", "other", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    model_output(&m, "other", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    ot_session *s = opened(&m, &(ot_options){.bn = OT_BN_FROZEN}, NULL);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.5f});
    float u[20 * C], after[20 * C];
    ot_read_parameter(s, find(s, "u"), u, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    for (int i = 0; i < 3; i++) {
        train(s, &x, &target);
        assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    }
    ot_read_parameter(s, find(s, "scale"), now, NULL);
    assert_memory_equal(now, one, sizeof one);
    ot_read_parameter(s, find(s, "u"), after, NULL);
    assert_memory_equal(u, after, sizeof u);
    ot_close(s);
}

static void null_is_refused(void **state) {
    (void)state;
    ot_session *s = linear(NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_tensor y;
    ot_value_info value;
    ot_parameter_info info;
    float v[20 * C];
    const ot_status bad = OT_ERROR_ARGUMENT;
    assert_int_equal(ot_open(NULL, NULL, &s, NULL), bad);
    assert_int_equal(ot_get_input(NULL, 0, &value, NULL), bad);
    assert_int_equal(ot_get_output(s, 0, NULL, NULL), bad);
    assert_int_equal(ot_get_parameter(NULL, 0, &info, NULL), bad);
    assert_int_equal(ot_get_parameter(s, 0, NULL, NULL), bad);
    assert_int_equal(ot_read_parameter(NULL, 0, v, NULL), bad);
    assert_int_equal(ot_write_parameter(NULL, 0, v, NULL), bad);
    assert_int_equal(ot_get_gradient(NULL, 0, v, NULL), bad);
    assert_int_equal(ot_set_loss(NULL, &(ot_loss_options){0}, NULL), bad);
    assert_int_equal(ot_set_optimizer(NULL, &(ot_optimizer_options){0}, NULL), bad);
    assert_int_equal(ot_set_trainable(NULL, "*", 1, NULL), bad);
    assert_int_equal(ot_new_head(NULL, 3, NULL, NULL), bad);
    assert_int_equal(ot_prepare(NULL, 0, &x, 1, NULL, NULL), bad);
    assert_int_equal(ot_train_step(NULL, &x, 1, &target, NULL, NULL), bad);
    assert_int_equal(ot_eval_step(NULL, &x, 1, &target, NULL, NULL), bad);
    assert_int_equal(ot_optimizer_step(NULL, NULL), bad);
    assert_int_equal(ot_run(NULL, &x, 1, &y, 1, NULL), bad);
    assert_int_equal(ot_run(s, &x, 1, NULL, 1, NULL), bad);
    assert_int_equal(ot_run(s, &x, 1, &y, -1, NULL), bad);
    assert_int_equal(ot_save_checkpoint(NULL, "/tmp/x", NULL, 0, NULL), bad);
    assert_int_equal(ot_load_checkpoint(NULL, "/tmp/x", NULL, NULL, NULL), bad);
    assert_int_equal(ot_export_onnx(NULL, "/tmp/x", NULL, NULL), bad);
    ot_close(s);
}

static void targets_are_checked(void **state) {
    (void)state;
    ot_session *s = linear(NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_result r;
    ot_error err;
    ot_tensor t = target;
    t.rank = 1 << 20;
    assert_int_equal(ot_eval_step(s, &x, 1, &t, &r, &err), OT_ERROR_ARGUMENT);
    t = target;
    t.data = (const char *)label + 4;
    assert_int_equal(ot_eval_step(s, &x, 1, &t, &r, &err), OT_ERROR_ARGUMENT);
    ot_close(s);
}

static void a_masked_class_costs_nothing(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 2));
    model_node(&m, "Identity", "x", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 2));
    ot_session *s = opened(&m, NULL, NULL);
    const float logits[2] = {1, -INFINITY};
    const int64_t zero = 0;
    const ot_tensor x = floats(logits, 2, DIMS(1, 2));
    ot_result r;
    ot_error err;
    const ot_tensor t = {.type = OT_INT64, .rank = 1, .dim = {1}, .data = &zero};
    must(ot_eval_step(s, &x, 1, &t, &r, &err), &err);
    assert_true(r.loss == 0);
    ot_close(s);
}

/* ---- graphs ---- */

/* Weights as outputs come out whole, also when something else computes with them. */
static void a_weight_may_be_an_output(void **state) {
    (void)state;
    struct test_model m;
    float dense[20 * C];
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    weight(&m, "w", 2, DIMS(20, C), 0.3);
    model_node(&m, "MatMul", "x w", "y", "");
    model_output(&m, "w", OT_FLOAT, 2, DIMS(20, C));
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    ot_session *s = opened(&m, &(ot_options){.sparse = OT_SPARSE_ALWAYS}, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_tensor y[2];
    ot_error err;
    must(ot_run(s, &x, 1, y, 2, &err), &err);
    ot_read_parameter(s, 0, dense, NULL);
    assert_memory_equal(y[0].data, dense, sizeof dense);
    /* and a loss may look at it: its gradient is that of the loss alone */
    must(ot_set_loss(s, &(ot_loss_options){.kind = OT_LOSS_MSE, .output = "w"}, &err), &err);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
    const float zero[20 * C] = {0};
    const ot_tensor t = floats(zero, 2, DIMS(20, C));
    train(s, &x, &t);
    float g[20 * C];
    must(ot_get_gradient(s, 0, g, &err), &err);
    for (int i = 0; i < 20 * C; i++) assert_float_equal(g[i], 2 * dense[i] / (20 * C), 1e-6);
    ot_close(s);
}

/* The loss after one step of training. */
static double second_loss(struct test_model *m, ot_sparse_mode sparse, const ot_tensor *x) {
    ot_session *s = opened(m, &(ot_options){.sparse = sparse}, NULL);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
    train(s, x, &target);
    assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    double loss = train(s, x, &target);
    ot_close(s);
    return loss;
}

/* x (u w): the left factor of the inner product does not change with the batch. */
static void sparse_weights_multiply_one_another(void **state) {
    (void)state;
    double loss[2];
    for (int k = 0; k < 2; k++) {
        struct test_model m;
        model_begin(&m, 13);
        model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
        weight(&m, "u", 2, DIMS(20, 24), 0.3);
        weight(&m, "w", 2, DIMS(24, C), 0.3);
        model_node(&m, "MatMul", "u w", "h", "");
        model_node(&m, "MatMul", "x h", "y", "");
        model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
        fill_input();
        const ot_tensor x = floats(in, 2, DIMS(N, 20));
        loss[k] = second_loss(&m, k ? OT_SPARSE_NEVER : OT_SPARSE_ALWAYS, &x);
    }
    assert_float_equal(loss[0], loss[1], 1e-5);
}

/* The same matrix as weight and as addend of one Gemm. */
static void a_sparse_weight_may_be_added(void **state) {
    (void)state;
    double loss[2];
    for (int k = 0; k < 2; k++) {
        struct test_model m;
        model_begin(&m, 13);
        model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 1));
        weight(&m, "w", 2, DIMS(1, 40), 0.3);
        model_node(&m, "Gemm", "x w w", "y", "");
        model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 40));
        fill_input();
        const ot_tensor x = floats(in, 2, DIMS(N, 1));
        loss[k] = second_loss(&m, k ? OT_SPARSE_NEVER : OT_SPARSE_ALWAYS, &x);
    }
    assert_float_equal(loss[0], loss[1], 1e-5);
}

/* A weight is turned, or given another shape, before it multiplies: its zeros stay zeros. */
static void a_moved_weight_keeps_its_mask(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct test_model m;
        float before[40], after[40];
        ot_error err;
        model_begin(&m, 13);
        model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 10));
        weight(&m, "w", 2, DIMS(C, 10), 0.4);
        model_node(&m, "Transpose", "w", "t", "perm=1,0");
        model_node(&m, "Flatten", "w", "f", "");
        if (k == 2)
            model_node(&m, "Gemm", "x f", "y", "transB=1");
        else
            model_node(&m, k ? "MatMul" : "Gemm", "x t", "y", "");
        model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
        fill_input();
        const ot_tensor x = floats(in, 2, DIMS(N, 10));
        ot_session *s = opened(&m, &(ot_options){.sparse = OT_SPARSE_ALWAYS}, NULL);
        const int w = find(s, "w");
        must(ot_read_parameter(s, w, before, &err), &err);
        set_optimizer(s, (ot_optimizer_options){.kind = OT_SGD, .lr = 0.1});
        train(s, &x, &target);
        must(ot_optimizer_step(s, &err), &err);
        must(ot_read_parameter(s, w, after, &err), &err);
        bool moved = false;
        for (int i = 0; i < 40; i++) {
            assert_true(before[i] != 0 || after[i] == 0);
            moved |= before[i] != after[i];
        }
        assert_true(moved);
        ot_close(s);
    }
}

/* Conditions are no floats and come in rows; what they choose from stands in lanes. */
static void conditions_meet_lanes(void **state) {
    (void)state;
    float y[2][N * C];
    for (int k = 0; k < 2; k++) {
        struct test_model m;
        model_begin(&m, 13);
        model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
        weight(&m, "w", 2, DIMS(20, C), 0.3);
        weight(&m, "v", 2, DIMS(20, C), 1);
        model_floats(&m, "zero", 0, NULL, (const float[]){0});
        model_node(&m, "MatMul", "x w", "h", "");
        model_node(&m, "MatMul", "x v", "d", "");
        model_node(&m, "Greater", "d zero", "rows", "");
        model_node(&m, "Greater", "h zero", "lanes", "");
        model_node(&m, "Where", "rows h d", "a", "");
        model_node(&m, "Cast", "lanes", "f", "to=1");
        model_node(&m, "Add", "a f", "y", "");
        model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
        model_output(&m, "lanes", OT_BOOL, 2, DIMS(-1, C));
        fill_input();
        ot_session *s =
            opened(&m, &(ot_options){.sparse = k ? OT_SPARSE_NEVER : OT_SPARSE_ALWAYS}, NULL);
        const ot_tensor x = floats(in, 2, DIMS(N, 20));
        ot_tensor out[2];
        ot_error err;
        must(ot_run(s, &x, 1, out, 2, &err), &err);
        memcpy(y[k], out[0].data, sizeof y[k]);
        set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
        train(s, &x, &target);
        ot_close(s);
    }
    for (int i = 0; i < N * C; i++) assert_float_equal(y[0][i], y[1][i], 1e-5);
}

static void a_computed_scale_meets_lanes(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 17);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    weight(&m, "w", 2, DIMS(20, C), 0.3);
    weight(&m, "g", 1, DIMS(C), 1);
    model_node(&m, "Mul", "g g", "scale", "");
    model_node(&m, "MatMul", "x w", "h", "");
    model_node(&m, "LayerNormalization", "h scale", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    ot_session *s = opened(&m, &(ot_options){.sparse = OT_SPARSE_ALWAYS}, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_tensor y;
    ot_error err;
    must(ot_run(s, &x, 1, &y, 1, &err), &err);
    ot_close(s);
}

/* The mean has a gradient that backward does not compute: no wrong one, and no crash. */
static void gradients_through_other_outputs_are_refused(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 17);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    weight(&m, "w", 2, DIMS(20, C), 0.3);
    weight(&m, "g", 1, DIMS(C), 1);
    weight(&m, "v", 2, DIMS(1, C), 1);
    model_node(&m, "MatMul", "x w", "h", "");
    model_node(&m, "LayerNormalization", "h g", "z mean", "");
    model_node(&m, "MatMul", "mean v", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    ot_session *s = opened(&m, NULL, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_result r;
    ot_error err;
    must(ot_eval_step(s, &x, 1, &target, &r, &err), &err);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
    assert_int_equal(ot_train_step(s, &x, 1, &target, &r, &err), OT_ERROR_UNSUPPORTED);
    must(ot_set_trainable(s, "*", 0, &err), &err);
    must(ot_set_trainable(s, "v", 1, &err), &err);
    must(ot_train_step(s, &x, 1, &target, &r, &err), &err);
    ot_close(s);
}

static void an_absent_first_output_is_refused(void **state) {
    (void)state;
    static const char *const nodes[][2] = {
        {"Dropout", "x"}, {"LayerNormalization", "x g"}, {"MaxPool", "x"}};
    for (int i = 0; i < 3; i++) {
        struct test_model m;
        ot_status status;
        model_begin(&m, 17);
        model_input(&m, "x", OT_FLOAT, 3, DIMS(-1, 20, C));
        weight(&m, "g", 1, DIMS(C), 1);
        model_node(&m, nodes[i][0], nodes[i][1], "- y", i == 2 ? "kernel_shape=2," : "");
        model_output(&m, "y", i == 0 ? OT_BOOL : i == 2 ? OT_INT64 : OT_FLOAT, 3, DIMS(-1, 20, C));
        ot_session *s = opened(&m, NULL, &status);
        assert_int_equal(status, OT_ERROR_INVALID);
        assert_null(s);
    }
}

/* A head that something else computes with too cannot change its shape. */
static void a_tied_head_stays(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, C));
    weight(&m, "w", 2, DIMS(C, C), 0.5);
    model_node(&m, "MatMul", "x w", "h", "");
    model_node(&m, "MatMul", "h w", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    fill_input();
    ot_session *s = opened(&m, NULL, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, C));
    ot_result r;
    ot_error err;
    assert_int_equal(ot_new_head(s, 2, NULL, &err), OT_ERROR_UNSUPPORTED);
    must(ot_eval_step(s, &x, 1, &target, &r, &err), &err);
    ot_close(s);
}

/* ---- limits ---- */

static void constants_count_against_the_memory_limit(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, 20));
    model_ints(&m, "shape", 2, DIMS(1 << 20, 1 << 20));
    model_node(&m, "ConstantOfShape", "shape", "huge", "");
    model_node(&m, "ReduceSum", "huge", "sum", "");
    model_node(&m, "Add", "x sum", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, 20));
    ot_session *s = opened(&m, &(ot_options){.limits = {.memory_bytes = 1 << 24}}, NULL);
    const ot_tensor x = floats(in, 2, DIMS(N, 20));
    ot_tensor y;
    ot_error err;
    assert_int_equal(ot_run(s, &x, 1, &y, 1, &err), OT_ERROR_LIMIT);
    ot_close(s);
}

static void inputs_have_a_limit(void **state) {
    (void)state;
    ot_error err;
    ot_session *s = linear(NULL);
    const ot_tensor x = floats(in, 2, DIMS((int64_t)1 << 50, 20));
    assert_int_equal(ot_prepare(s, 0, &x, 1, NULL, &err), OT_ERROR_LIMIT);
    ot_close(s);
}

static void indices_of_a_batch_are_checked(void **state) {
    (void)state;
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_INT64, 1, DIMS(-1));
    weight(&m, "e", 2, DIMS(5, C), 1);
    model_node(&m, "Gather", "e x", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, C));
    ot_session *s = opened(&m, NULL, NULL);
    set_optimizer(s, (ot_optimizer_options){.lr = 0.1f});
    int64_t index[N] = {4, -5, 0};
    const ot_tensor x = {.type = OT_INT64, .rank = 1, .dim = {N}, .data = index};
    ot_error err;
    ot_result r;
    train(s, &x, &target);
    index[1] = 5;
    assert_int_equal(ot_train_step(s, &x, 1, &target, &r, &err), OT_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "index"));
    index[1] = INT64_MIN;
    assert_int_equal(ot_eval_step(s, &x, 1, &target, &r, &err), OT_ERROR_ARGUMENT);
    index[1] = 0;
    train(s, &x, &target);
    ot_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_optimizer_set_between_steps_starts_afresh),
        cmocka_unit_test(bias_alone_trains_as_with_dense_kernels),
        cmocka_unit_test(decay_leaves_unreached_weights_alone),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(targets_are_checked),
        cmocka_unit_test(a_masked_class_costs_nothing),
        cmocka_unit_test(a_weight_may_be_an_output),
        cmocka_unit_test(sparse_weights_multiply_one_another),
        cmocka_unit_test(a_sparse_weight_may_be_added),
        cmocka_unit_test(a_moved_weight_keeps_its_mask),
        cmocka_unit_test(conditions_meet_lanes),
        cmocka_unit_test(a_computed_scale_meets_lanes),
        cmocka_unit_test(gradients_through_other_outputs_are_refused),
        cmocka_unit_test(an_absent_first_output_is_refused),
        cmocka_unit_test(a_tied_head_stays),
        cmocka_unit_test(constants_count_against_the_memory_limit),
        cmocka_unit_test(inputs_have_a_limit),
        cmocka_unit_test(indices_of_a_batch_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
