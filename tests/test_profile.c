/* test_profile.c - clocks around the steps of a plan: what they name, count and leave alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/onnxtrain.h"
#include "tests/model.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

enum { BATCH = 17, INPUTS = 12, HIDDEN = 20, CLASSES = 5, MOST = INPUTS * HIDDEN };

static void weight(struct test_model *m, const char *name, int rows, int cols, int keep_every) {
    float v[MOST];
    for (int i = 0; i < rows * cols; i++)
        v[i] = i % keep_every ? 0 : 0.01f * (float)((i * 37) % 101 - 50) + 0.001f;
    model_floats(m, name, 2, DIMS(rows, cols), v);
}

static ot_session *open_mlp(const ot_options *options) {
    struct test_model m;
    float bias[HIDDEN] = {0};
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 2, DIMS(-1, INPUTS));
    weight(&m, "w1", HIDDEN, INPUTS, 7);
    model_floats(&m, "b1", 1, DIMS(HIDDEN), bias);
    weight(&m, "w2", CLASSES, HIDDEN, 4);
    model_node(&m, "Gemm", "x w1 b1", "h", "transB=1");
    model_node(&m, "Relu", "h", "a", "");
    model_node(&m, "Gemm", "a w2", "y", "transB=1");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(-1, CLASSES));
    ot_session *s = NULL;
    assert_int_equal(model_open(&m, options, &s, NULL), OT_OK);
    const ot_optimizer_options sgd = {.kind = OT_SGD, .lr = 0.1f};
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

static void train(ot_session *s) {
    float x[BATCH * INPUTS];
    int64_t label[BATCH];
    for (int i = 0; i < BATCH * INPUTS; i++) x[i] = 0.1f * (float)(i % 23) - 1;
    for (int i = 0; i < BATCH; i++) label[i] = i % CLASSES;
    const ot_tensor in = {.type = OT_FLOAT, .rank = 2, .dim = {BATCH, INPUTS}, .data = x};
    const ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {BATCH}, .data = label};
    assert_int_equal(ot_train_step(s, &in, 1, &target, NULL, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
}

struct count {
    int steps, timed, forward, backward, weight, optimizer, loss, reorder;
    double flops, seconds;
    int64_t calls;
};

static void count(void *context, const ot_profile_step *s) {
    struct count *c = context;
    c->steps++;
    c->timed += s->seconds > 0;
    c->forward += !strcmp(s->what, "forward") && !strcmp(s->op, "Gemm");
    c->backward += !strcmp(s->what, "backward") && !strcmp(s->op, "Gemm");
    c->weight += !strcmp(s->what, "backward weight");
    c->optimizer += !strcmp(s->what, "optimizer");
    c->loss += !strcmp(s->what, "loss");
    c->reorder += !strcmp(s->op, "Reorder");
    c->flops += s->flops;
    c->seconds += s->seconds;
    c->calls = s->calls;
    assert_true(s->bytes > 0);
}

static void clocks_tell_parts_apart(void **state) {
    (void)state;
    const ot_sparse_mode modes[] = {OT_SPARSE_ALWAYS, OT_SPARSE_NEVER, OT_SPARSE_LIVE};
    for (int k = 0; k < 3; k++) {
        const ot_options options = {.threads = 1, .sparse = modes[k]};
        ot_session *s = open_mlp(&options);
        struct count c = {0};
        ot_set_profile(s, 1);
        for (int i = 0; i < 3; i++) train(s);
        assert_int_equal(ot_get_profile(s, count, &c, NULL), OT_OK);
        assert_int_equal(c.timed, c.steps);
        assert_int_equal(c.forward, 2);
        assert_int_equal(c.backward, 1); /* nobody wants the gradient of x */
        assert_int_equal(c.weight, 2);
        assert_int_equal(c.loss, 1);
        assert_int_equal(c.optimizer, 1);
        assert_int_equal(c.calls, 3);
        assert_int_equal(c.reorder > 0, modes[k] == OT_SPARSE_ALWAYS);
        const int nnz1 = (HIDDEN * INPUTS + 6) / 7, nnz2 = (CLASSES * HIDDEN + 3) / 4;
        if (modes[k] == OT_SPARSE_ALWAYS)
            assert_true(c.flops == 2.0 * BATCH * (2 * nnz1 + 3 * nnz2));
        ot_close(s);
    }
}

static void clocks_that_are_off_stand(void **state) {
    (void)state;
    const ot_options options = {.threads = 1};
    ot_session *s = open_mlp(&options);
    struct count c = {0};
    assert_int_equal(ot_get_profile(s, count, &c, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_get_profile(s, NULL, NULL, NULL), OT_ERROR_ARGUMENT);
    ot_set_profile(s, 1);
    train(s);
    ot_set_profile(s, 0);
    train(s);
    assert_int_equal(ot_get_profile(s, count, &c, NULL), OT_OK);
    assert_true(c.steps > 0);
    assert_true(c.seconds == 0);
    ot_close(s);
}

static void a_profile_changes_no_bit(void **state) {
    (void)state;
    const ot_sparse_mode modes[] = {OT_SPARSE_ALWAYS, OT_SPARSE_NEVER, OT_SPARSE_LIVE};
    for (int k = 0; k < 3; k++) {
        const ot_options options = {.threads = 2, .sparse = modes[k]};
        float w[2][MOST];
        for (int on = 0; on < 2; on++) {
            ot_session *s = open_mlp(&options);
            ot_set_profile(s, on);
            for (int i = 0; i < 3; i++) train(s);
            assert_int_equal(ot_read_parameter(s, 0, w[on], NULL), OT_OK);
            ot_close(s);
        }
        assert_memory_equal(w[0], w[1], INPUTS * HIDDEN * sizeof(float));
    }
}

/* ---- a product whose gradients come from one pass: 1x1, and y has more than 16 MiB ---- */

enum { IMAGES = 16, SIDE = 64, WIDE = 70, NARROW = 3 };

static void sparse_weight(struct test_model *m, const char *name, int rows, int cols) {
    float v[WIDE * NARROW] = {0};
    for (int i = 0; i < rows * cols; i += 2) v[i] = 0.05f * (float)(i % 11 - 5) + 0.01f;
    model_floats(m, name, 4, DIMS(rows, cols, 1, 1), v);
}

static ot_session *open_wide(void) {
    struct test_model m;
    model_begin(&m, 13);
    model_input(&m, "x", OT_FLOAT, 4, DIMS(IMAGES, NARROW, SIDE, SIDE));
    sparse_weight(&m, "w1", NARROW, NARROW);
    sparse_weight(&m, "w2", WIDE, NARROW);
    model_node(&m, "Conv", "x w1", "h", "");
    model_node(&m, "Conv", "h w2", "wide", "");
    model_node(&m, "GlobalAveragePool", "wide", "mean", "");
    model_node(&m, "Flatten", "mean", "y", "");
    model_output(&m, "y", OT_FLOAT, 2, DIMS(IMAGES, WIDE));
    const ot_options options = {.threads = 2, .sparse = OT_SPARSE_ALWAYS};
    ot_session *s = NULL;
    assert_int_equal(model_open(&m, &options, &s, NULL), OT_OK);
    const ot_optimizer_options sgd = {.kind = OT_SGD, .lr = 0.1f};
    assert_int_equal(ot_set_optimizer(s, &sgd, NULL), OT_OK);
    return s;
}

static void train_wide(ot_session *s) {
    const size_t floats = (size_t)IMAGES * NARROW * SIDE * SIDE;
    float *x = malloc(floats * sizeof *x);
    int64_t label[IMAGES];
    assert_non_null(x);
    for (size_t i = 0; i < floats; i++) x[i] = 0.1f * (float)(i % 23) - 1;
    for (int i = 0; i < IMAGES; i++) label[i] = i;
    const ot_tensor in = {
        .type = OT_FLOAT, .rank = 4, .dim = {IMAGES, NARROW, SIDE, SIDE}, .data = x};
    const ot_tensor target = {.type = OT_INT64, .rank = 1, .dim = {IMAGES}, .data = label};
    assert_int_equal(ot_train_step(s, &in, 1, &target, NULL, NULL), OT_OK);
    assert_int_equal(ot_optimizer_step(s, NULL), OT_OK);
    free(x);
}

/* Both halves of a joint pass take time, and dy counts in the first one alone. */
static void joint(void *context, const ot_profile_step *s) {
    int *seen = context;
    const double dy = 4.0 * IMAGES * WIDE * SIDE * SIDE;
    if (strcmp(s->op, "Conv") != 0 || strcmp(s->what, "forward") == 0) return;
    assert_true(s->seconds > 0);
    if (strcmp(s->what, "backward") == 0) {
        assert_true(s->bytes > dy);
        ++*seen;
    } else {
        assert_true(s->bytes < dy);
    }
}

static void joint_passes_are_told_apart(void **state) {
    (void)state;
    float w[2][WIDE * NARROW];
    for (int on = 0; on < 2; on++) {
        ot_session *s = open_wide();
        int seen = 0;
        ot_set_profile(s, on);
        for (int i = 0; i < 2; i++) train_wide(s);
        if (on) assert_int_equal(ot_get_profile(s, joint, &seen, NULL), OT_OK);
        assert_int_equal(seen, on);
        assert_int_equal(ot_read_parameter(s, 1, w[on], NULL), OT_OK);
        ot_close(s);
    }
    assert_memory_equal(w[0], w[1], sizeof w[0]);
}

static void a_plan_knows_its_target(void **state) {
    (void)state;
    const ot_options options = {.threads = 1};
    ot_session *s = open_mlp(&options);
    ot_tensor target;
    size_t bytes;
    const ot_tensor in = {.type = OT_FLOAT, .rank = 2, .dim = {BATCH, INPUTS}};
    assert_int_equal(ot_get_target(s, &target, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_prepare(s, 0, &in, 1, &bytes, NULL), OT_OK);
    assert_int_equal(ot_get_target(s, &target, NULL), OT_ERROR_STATE);
    assert_int_equal(ot_prepare(s, 1, &in, 1, &bytes, NULL), OT_OK);
    assert_int_equal(ot_get_target(s, &target, NULL), OT_OK);
    assert_int_equal(target.type, OT_INT64);
    assert_int_equal(target.rank, 1);
    assert_int_equal(target.dim[0], BATCH);
    ot_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_tell_parts_apart),  cmocka_unit_test(clocks_that_are_off_stand),
        cmocka_unit_test(a_profile_changes_no_bit), cmocka_unit_test(joint_passes_are_told_apart),
        cmocka_unit_test(a_plan_knows_its_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
